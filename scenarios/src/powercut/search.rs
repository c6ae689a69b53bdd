//! The search of one cell: case after case is recorded, cut and judged, until the budget is spent.

use super::case::Case;
use super::cell::{CellSettings, Subject};
use super::judge::Judge;
use super::recording::Recorder;
use super::strategy::{self, Opener};
use super::survey::Survey;
use super::token::TokenSubject;
use super::witness::Witness;
use super::{PowercutError, SamplesOf};
use crate::engines;
use crate::expectations::Expectations;
use crate::run::simulated::Simulator;
use crate::run::spec::SIM;
use seawall_harness::media::sim::durability::Device;
use seawall_harness::oracle::durability::Promise;
use seawall_harness::seed::Seed;
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is searched, and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// What is cut off.
    pub subject: Subject,
    /// The version of SQLite, or the path of a library; for a strategy, the linked one.
    pub sqlite: String,
    /// The device, in words.
    pub device: String,
    /// The seeds of the cases follow from it.
    #[serde(with = "seawall_harness::seed::text")]
    pub seed: u64,
    /// Distinct images at most.
    pub images_max: u64,
    /// Cases at most.
    pub cases_max: u64,
    /// Wall-clock milliseconds at most.
    pub time_max_ms: Option<u64>,
    /// Which images of a cut are looked at.
    pub samples: SamplesOf,
    /// How often the recovery is cut off as well.
    pub depth: u8,
}

/// The result of a cell, as it is printed: field names are a contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// What was cut off: `journal_mode` and `synchronous`, or `strategy` and `faults`.
    #[serde(flatten)]
    pub subject: Subject,
    /// What became of the data, at worst.
    pub verdict: Verdict,
    /// Moments at which the power was cut.
    pub cuts: u64,
    /// Images that were put together.
    pub images: u64,
    /// Those that differ.
    pub distinct: u64,
    /// Pairs of an image and a state of the ledger in which an acknowledged commit is gone.
    pub lost_runs: u64,
    /// Acknowledged commits that are gone in one image, at most.
    pub lost_commits_max: u32,
    /// Pairs in which the integrity check or a read complains.
    pub corrupt: u64,
    /// Pairs in which the database is as after no commit.
    pub atomicity: u64,
    /// The image to the verdict, if it is worse than `survived`.
    pub token: Option<String>,
    /// The first image of each class of findings: lost, corrupt, torn.
    #[serde(default)]
    pub findings: Vec<CellFinding>,
    /// Pairs of an image and a state of the ledger that were judged.
    pub judged: u64,
    /// Cases that were recorded.
    pub cases: u64,
    /// Cuts at which all subsets of what was pending were looked at.
    pub complete: u64,
    /// Cuts at which those were left out that are the same by the checksums of the log.
    pub pruned: u64,
    /// Cuts at which a sample was looked at.
    pub sampled: u64,
    /// Cuts whose images were not all put together, because the budget was spent.
    pub unfinished: u64,
    /// Distinct images until the last class of findings was met: lost, corrupt, torn.
    #[serde(default)]
    pub needed: u64,
    /// What SQLite's documentation promises.
    pub promise: Promise,
    /// The worst that is expected.
    pub expected: Verdict,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// An image in which something is gone or broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellFinding {
    /// What became of the data.
    pub verdict: Verdict,
    /// The oracle that says so.
    pub oracle: String,
    /// What was found, in words.
    pub detail: String,
    /// The token of the image.
    pub token: String,
}

impl CellResult {
    pub(super) fn new(search: &Search, device: Device) -> Self {
        Self {
            subject: search.subject.clone(),
            verdict: Verdict::NotMeasured,
            cuts: 0,
            images: 0,
            distinct: 0,
            lost_runs: 0,
            lost_commits_max: 0,
            corrupt: 0,
            atomicity: 0,
            token: None,
            findings: Vec::new(),
            judged: 0,
            cases: 0,
            complete: 0,
            pruned: 0,
            sampled: 0,
            unfinished: 0,
            needed: 0,
            promise: search.promise(),
            expected: search.expected(device),
            seconds: 0.0,
        }
    }

    /// True if it is worse than predicted.
    pub fn is_news(&self) -> bool {
        self.verdict > self.expected
    }
}

/// Told of progress: distinct images so far.
pub type OnProgress<'a> = dyn Fn(u64) + 'a;

impl Search {
    /// Searches until the budget is spent or `stop` is set.
    ///
    /// # Errors
    /// If the engine cannot be had, or the lab is broken.
    pub fn execute(&self, stop: &AtomicBool, progress: &OnProgress<'_>) -> Result<CellResult, PowercutError> {
        let limits = Limits { begun: Instant::now(), stop, progress };
        let device: Device = self.device.parse()?;
        let mut result = CellResult::new(self, device);
        match &self.subject {
            Subject::Sql(settings) => self.search_sql(*settings, device, &limits, &mut result)?,
            Subject::Strategy { strategy, faults } => {
                self.search_strategy((strategy, faults), device, &limits, &mut result)?;
            }
        }
        result.seconds = limits.begun.elapsed().as_secs_f64();
        Ok(result)
    }

    fn search_sql(
        &self,
        settings: CellSettings,
        device: Device,
        limits: &Limits<'_>,
        result: &mut CellResult,
    ) -> Result<(), PowercutError> {
        let engine = engines::resolve(&self.sqlite)?;
        let mut recorder = Recorder::new(engine.clone())?;
        let judge = Judge::new(engine, device, self.pragmas(settings))?;
        for number in 0..self.cases_max {
            if self.is_over(result, limits) {
                break;
            }
            let seed = Seed(self.seed).nth(number);
            let case = Case::draw(settings, &self.sqlite, &self.device, seed);
            let recorded = recorder.record(&case)?;
            let witness = Witness::of_sql(&judge, &recorded);
            let subject = (TokenSubject::Sql(settings), seed);
            Survey::new(self, witness, (&recorded, recorded.known()), subject, self.end(limits)).find(result);
            result.cases += 1;
            (limits.progress)(result.distinct);
        }
        Ok(())
    }

    fn search_strategy(
        &self,
        (strategy, faults): (&str, &[String]),
        device: Device,
        limits: &Limits<'_>,
        result: &mut CellResult,
    ) -> Result<(), PowercutError> {
        let mut simulator = Simulator::new()?;
        let opener = Opener::new(device)?;
        for number in 0..self.cases_max {
            if self.is_over(result, limits) || faults.is_empty() {
                break;
            }
            let seed = Seed(self.seed).nth(number);
            let fault = &faults[number as usize % faults.len()];
            let spec = strategy::spec(strategy, fault, seed)?;
            let (recorded, ledgers) = strategy::record(&mut simulator, &spec, device)?;
            let known = strategy::known(recorded.disk.events.len(), &ledgers);
            let witness = Witness::Strategy { opener: &opener, ledgers: &ledgers };
            let subject = TokenSubject::Strategy { strategy: strategy.to_owned(), fault: fault.clone() };
            Survey::new(self, witness, (&recorded, known), (subject, seed), self.end(limits)).find(result);
            result.cases += 1;
            (limits.progress)(result.distinct);
        }
        Ok(())
    }

    /// What is promised; of a strategy, that its acknowledged commits are there.
    fn promise(&self) -> Promise {
        match &self.subject {
            Subject::Sql(settings) => settings.promise(),
            Subject::Strategy { .. } => Promise::Every,
        }
    }

    fn expected(&self, device: Device) -> Verdict {
        match &self.subject {
            Subject::Sql(settings) => settings.prediction(device.directory),
            Subject::Strategy { strategy, .. } => {
                let expected = Expectations::reviewed().of(strategy, "power-cut", SIM);
                expected.worst().unwrap_or(Verdict::Survived)
            }
        }
    }

    /// A recovery that is cut off goes by the application's settings.
    fn pragmas(&self, settings: CellSettings) -> String {
        if self.depth == 0 { String::new() } else { settings.sql() }
    }

    fn end<'a>(&self, limits: &Limits<'a>) -> (Option<Instant>, &'a AtomicBool) {
        (self.time_max_ms.map(|ms| limits.begun + Duration::from_millis(ms)), limits.stop)
    }

    fn is_over(&self, result: &CellResult, limits: &Limits<'_>) -> bool {
        let (end, stop) = self.end(limits);
        let is_late = end.is_some_and(|end| Instant::now() >= end);
        is_late || stop.load(Ordering::Relaxed) || result.distinct >= self.images_max
    }
}

/// When a search ends, and who is told of it.
struct Limits<'a> {
    begun: Instant,
    stop: &'a AtomicBool,
    progress: &'a OnProgress<'a>,
}
