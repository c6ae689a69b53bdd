//! The full enumeration against the pruned one and against random samples, on workloads so small that all subsets of
//! what is pending can be looked at.

use super::case::Case;
use super::cell::{CellSettings, JournalMode, Level, Subject};
use super::recording::Recorder;
use super::search::{CellResult, Search};
use super::{PowercutError, SamplesOf};
use crate::engines;
use seawall_harness::media::sim::durability::FULL_MAX;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

/// The cells whose workloads are taken in turn.
const CELLS: [(JournalMode, Level); 5] = [
    (JournalMode::Delete, Level::Full),
    (JournalMode::Delete, Level::Normal),
    (JournalMode::Wal, Level::Normal),
    (JournalMode::Truncate, Level::Normal),
    (JournalMode::Persist, Level::Normal),
];

/// The three ways, in the order of the columns.
pub const WAYS: [SamplesOf; 3] = [SamplesOf::Full, SamplesOf::Pruned, SamplesOf::Random];

/// Seeds that are tried for one workload.
const SEEDS_MAX: u64 = 5_000;

/// A workload, looked at in three ways. Field names are a contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Journal mode and level.
    #[serde(flatten)]
    pub settings: CellSettings,
    /// The seed that `powercut --seed … --workloads 1` takes for the same workload.
    #[serde(with = "seawall_harness::seed::text")]
    pub seed: u64,
    /// What the full enumeration found, the pruned one, and random samples.
    pub ways: Vec<Way>,
}

/// What one way found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Which way.
    pub samples: SamplesOf,
    /// The classes of findings: `lost`, `corrupt`, `torn`.
    pub classes: Vec<String>,
    /// Distinct images that were opened.
    pub distinct: u64,
    /// Distinct images until all classes had been found.
    pub needed: u64,
    /// True if every cut was looked at as this way means to.
    pub is_whole: bool,
}

impl Compared {
    /// True if all ways have found the same classes.
    pub fn agrees(&self) -> bool {
        self.ways.iter().all(|way| way.classes == self.ways[0].classes)
    }
}

/// The searches for so many workloads, three for each.
///
/// # Errors
/// If a workload cannot be recorded.
pub fn searches(
    (sqlite, device): (&str, &str),
    seed: Seed,
    (workloads, images_max): (u64, u64),
) -> Result<Vec<Search>, PowercutError> {
    let mut recorder = Recorder::new(engines::resolve(sqlite)?)?;
    let mut searches = Vec::new();
    let mut seeds = seed.stream("compare");
    for number in 0..workloads {
        let (journal_mode, synchronous) = CELLS[number as usize % CELLS.len()];
        let settings = CellSettings { journal_mode, synchronous };
        seeds = seeds.stream("next");
        let Some(seed) = small(&mut recorder, settings, (sqlite, device), seeds)? else { continue };
        searches.extend(WAYS.map(|samples| Search {
            subject: Subject::Sql(settings),
            sqlite: sqlite.to_owned(),
            device: device.to_owned(),
            seed,
            images_max,
            cases_max: 1,
            time_max_ms: None,
            samples,
            depth: 0,
        }));
    }
    Ok(searches)
}

/// A seed whose workload commits, and never has more pending than the full enumeration takes.
fn small(
    recorder: &mut Recorder,
    settings: CellSettings,
    (sqlite, device): (&str, &str),
    seeds: Seed,
) -> Result<Option<u64>, PowercutError> {
    for number in 0..SEEDS_MAX {
        let seed = seeds.nth(number);
        // The seed of the first workload of a search.
        let recorded = recorder.record(&Case::draw(settings, sqlite, device, seed.nth(0)))?;
        let mut state = recorded.disk.base.clone();
        let mut pending_max = 0;
        for event in &recorded.disk.events {
            state.apply(event);
            pending_max = pending_max.max(state.pending().len());
        }
        if recorded.models.len() > 1 && (4..=FULL_MAX).contains(&pending_max) {
            return Ok(Some(seed.0));
        }
    }
    Ok(None)
}

/// The workloads of these searches and results.
pub fn compare(searches: &[Search], results: &[CellResult]) -> Vec<Compared> {
    let pairs: Vec<(&Search, &CellResult)> = searches.iter().zip(results).collect();
    let compared = |pairs: &[(&Search, &CellResult)]| {
        let Subject::Sql(settings) = pairs[0].0.subject else { return None };
        let ways = pairs.iter().map(|(search, result)| way(search.samples, result)).collect();
        Some(Compared { settings, seed: pairs[0].0.seed, ways })
    };
    pairs.chunks_exact(WAYS.len()).filter_map(compared).collect()
}

fn way(samples: SamplesOf, result: &CellResult) -> Way {
    let classes = [("lost", result.lost_runs), ("corrupt", result.corrupt), ("torn", result.atomicity)];
    let classes = classes.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name.to_owned()).collect();
    let is_whole = result.unfinished == 0 && (samples != SamplesOf::Full || result.sampled == 0);
    Way { samples, classes, distinct: result.distinct, needed: result.needed, is_whole }
}
