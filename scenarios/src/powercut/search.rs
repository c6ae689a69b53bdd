//! The search of one cell: case after case is recorded, cut and judged, until the budget is spent.

use super::bench::oracle_of;
use super::case::{Case, CutText};
use super::cell::CellSettings;
use super::cuts::{self, Cut};
use super::fates;
use super::judge::{self, Judge, Observation};
use super::recording::{Known, Recorded, Recorder};
use super::token::PowercutToken;
use super::{PowercutError, SamplesOf};
use crate::engines;
use seawall_harness::media::sim::durability::{Choices, Coverage, Device, Enumeration, Fate, Image, Recording};
use seawall_harness::oracle::durability::{AfterCut, Promise};
use seawall_harness::seed::Seed;
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is searched, and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Journal mode and level.
    pub settings: CellSettings,
    /// The version of SQLite, or the path of a library.
    pub sqlite: String,
    /// The device, in words.
    pub device: String,
    /// The seeds of the cases follow from it.
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
    /// Journal mode and level.
    #[serde(flatten)]
    pub settings: CellSettings,
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
    /// What SQLite's documentation promises.
    pub promise: Promise,
    /// The worst that is expected.
    pub expected: Verdict,
    /// What was found, in words.
    pub detail: Option<String>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl CellResult {
    pub(super) fn new(search: &Search, device: Device) -> Self {
        Self {
            settings: search.settings,
            verdict: Verdict::NotMeasured,
            cuts: 0,
            images: 0,
            distinct: 0,
            lost_runs: 0,
            lost_commits_max: 0,
            corrupt: 0,
            atomicity: 0,
            token: None,
            judged: 0,
            cases: 0,
            complete: 0,
            pruned: 0,
            sampled: 0,
            unfinished: 0,
            promise: search.settings.promise(),
            expected: search.settings.prediction(device.directory),
            detail: None,
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
        let begun = Instant::now();
        let engine = engines::resolve(&self.sqlite)?;
        let device: Device = self.device.parse()?;
        let mut recorder = Recorder::new(engine.clone())?;
        let judge = Judge::new(engine, device, self.pragmas())?;
        let end = self.time_max_ms.map(|ms| begun + Duration::from_millis(ms));
        let mut result = CellResult::new(self, device);
        for number in 0..self.cases_max {
            if stop.load(Ordering::Relaxed) || self.is_spent(&result, end) {
                break;
            }
            let seed = Seed(self.seed).nth(number);
            let case = Case::draw(self.settings, &self.sqlite, &self.device, seed);
            let recorded = recorder.record(&case)?;
            let mut survey = Survey::new(self, &judge, &recorded, (seed, end, stop));
            survey.find(&mut result);
            result.cases += 1;
            progress(result.distinct);
        }
        result.seconds = begun.elapsed().as_secs_f64();
        Ok(result)
    }

    /// A recovery that is cut off goes by the application's settings.
    pub(super) fn pragmas(&self) -> String {
        if self.depth == 0 { String::new() } else { self.settings.sql() }
    }

    fn is_spent(&self, result: &CellResult, end: Option<Instant>) -> bool {
        result.distinct >= self.images_max || end.is_some_and(|end| Instant::now() >= end)
    }
}

/// The images of one recording.
pub(super) struct Survey<'a> {
    search: &'a Search,
    judge: &'a Judge,
    recorded: &'a Recorded,
    fingerprints: BTreeMap<u32, u64>,
    seed: Seed,
    end: Option<Instant>,
    stop: &'a AtomicBool,
    /// What was found in each image, by its checksum.
    seen: BTreeMap<u64, Observation>,
    judged: BTreeSet<(u64, Known)>,
    /// Ends the survey with the first image of such a verdict and oracle.
    pub(super) wanted: Option<(Verdict, &'a str)>,
    /// The cuts to that image.
    pub(super) found: Option<(Vec<CutText>, AfterCut)>,
}

/// Images that are looked at in the recovery from one image.
const RECOVERY_IMAGES_MAX: u64 = 40;

impl<'a> Survey<'a> {
    pub(super) fn new(
        search: &'a Search,
        judge: &'a Judge,
        recorded: &'a Recorded,
        (seed, end, stop): (Seed, Option<Instant>, &'a AtomicBool),
    ) -> Self {
        let fingerprints = recorded.models.iter().map(|(number, model)| (*number, model.fingerprint())).collect();
        let (seen, judged) = Default::default();
        Self { search, judge, recorded, fingerprints, seed, end, stop, seen, judged, wanted: None, found: None }
    }

    /// Looks at the images of all cuts, within the budget of the search.
    pub(super) fn find(&mut self, result: &mut CellResult) {
        let mut cuts = cuts::cuts(self.recorded);
        // Several cases are to share the budget, and all cuts of a case.
        let budget = self.search.images_max.saturating_sub(result.distinct);
        let of_case =
            if self.search.samples == SamplesOf::All { budget } else { budget.min(self.search.images_max / 8 + 64) };
        let goal = result.distinct + of_case;
        let count = cuts.len() as u64;
        for (nth, cut) in (0..).zip(cuts.drain(..)) {
            let left = goal.saturating_sub(result.distinct);
            let share =
                if self.search.samples == SamplesOf::All { left } else { (left / (count - nth)).max(24).min(left) };
            if share == 0 || self.is_over(result) {
                result.unfinished += 1;
                continue;
            }
            result.cuts += 1;
            match self.visit(&cut, share, result) {
                Coverage::Complete => result.complete += 1,
                Coverage::Pruned => result.pruned += 1,
                Coverage::Sampled => result.sampled += 1,
                _ => result.unfinished += 1,
            }
            if self.found.is_some() {
                return;
            }
        }
    }

    fn is_over(&self, result: &CellResult) -> bool {
        result.distinct >= self.search.images_max
            || self.stop.load(Ordering::Relaxed)
            || self.end.is_some_and(|end| Instant::now() >= end)
    }

    fn choices(&self, position: usize) -> Choices {
        let enumeration = match self.search.samples {
            SamplesOf::All => Enumeration::Exhaustive,
            SamplesOf::Pruned => Enumeration::Pruned,
            SamplesOf::Random => Enumeration::Sampled,
        };
        Choices { enumeration, samples: 200, seed: self.seed.stream("images").nth(position as u64) }
    }

    /// The images of one cut, up to so many new ones.
    fn visit(&mut self, cut: &Cut, share: u64, result: &mut CellResult) -> Coverage {
        let goal = result.distinct + share;
        // What is put together and known already costs time as well.
        let images_max = result.images + share * 20 + 100;
        let choices = self.choices(cut.position);
        choices.visit(&cut.state, &mut |fates| {
            result.images += 1;
            let image = cut.state.image(fates);
            self.examine(&image, cut.known, &[(cut.position, fates)], result);
            let is_over = result.images % 64 == 0 && self.is_over(result);
            if self.found.is_some() || is_over || result.distinct >= goal || result.images >= images_max {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    }

    /// Opens an image, unless it was opened before, and judges it, unless it was judged by the same state.
    fn examine(&mut self, image: &Image, known: Known, path: &[(usize, &[Fate])], result: &mut CellResult) {
        let hash = image.hash();
        if !self.judged.insert((hash, known)) {
            return;
        }
        if !self.seen.contains_key(&hash) {
            result.distinct += 1;
            let recovery = if path.len() <= usize::from(self.search.depth) {
                let (observation, recovery) = self.judge.observe_recovery(image);
                self.seen.insert(hash, observation);
                recovery.filter(|recovery| !recovery.events.is_empty())
            } else {
                self.seen.insert(hash, self.judge.observe(image));
                None
            };
            if let Some(recovery) = recovery {
                self.cut_recovery(&recovery, known, path, result);
            }
        }
        result.judged += 1;
        let after = judge::after_cut(&self.fingerprints, known, &self.seen[&hash]);
        self.note(after, path, result);
    }

    /// The power is cut again while the fresh process recovers.
    fn cut_recovery(&mut self, recovery: &Recording, known: Known, path: &[(usize, &[Fate])], result: &mut CellResult) {
        let mut state = recovery.base.clone();
        let mut left = RECOVERY_IMAGES_MAX;
        for (position, event) in recovery.events.iter().enumerate() {
            state.apply(event);
            let choices = self.choices(position);
            choices.visit(&state, &mut |fates| {
                let image = state.image(fates);
                result.images += 1;
                left -= 1;
                let longer: Vec<(usize, &[Fate])> = path.iter().copied().chain([(position + 1, fates)]).collect();
                self.examine(&image, known, &longer, result);
                if left == 0 || self.found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if left == 0 || self.found.is_some() {
                return;
            }
        }
    }

    fn note(&mut self, after: AfterCut, path: &[(usize, &[Fate])], result: &mut CellResult) {
        let verdict = after.verdict();
        match verdict {
            Verdict::Lost => {
                result.lost_runs += 1;
                result.lost_commits_max = result.lost_commits_max.max(after.lost());
            }
            Verdict::Corrupt if after.complaint.is_some() => result.corrupt += 1,
            Verdict::Corrupt => result.atomicity += 1,
            _ => {}
        }
        let is_wanted = self.wanted == Some((verdict, oracle_of(&after)));
        if verdict <= result.verdict && !is_wanted {
            return;
        }
        result.verdict = result.verdict.max(verdict);
        if verdict == Verdict::Survived {
            return;
        }
        let cuts: Vec<CutText> = path
            .iter()
            .map(|(position, fates)| CutText { position: *position, fates: fates::to_text(fates) })
            .collect();
        result.detail = Some(after.sentence());
        let Search { settings, sqlite, device, .. } = self.search;
        let (sqlite, device) = (sqlite.clone(), device.clone());
        let token = PowercutToken { settings: *settings, sqlite, device, seed: self.seed, cuts: cuts.clone() };
        result.token = Some(token.to_string());
        if is_wanted {
            self.found = Some((cuts, after));
        }
    }
}
