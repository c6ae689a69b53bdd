//! Workloads: what the actors do through a strategy.
//!
//! A script is drawn from the run's seed, one for each actor. An actor changes its own transactions only, so what it
//! must read follows from its own script and the outcomes of its steps. Actors share the pages, the locks and the log.

pub mod schema;

use rand::{Rng, RngExt};
use seawall_harness::actor::Actor;
use seawall_harness::oracle::table::TxnState;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Inserts a transaction of `parts` rows, in the version that is the step's number.
    Insert {
        /// How many rows.
        parts: u32,
        /// Bytes of payload in each.
        payload_bytes: u32,
    },
    /// Updates all rows of an earlier transaction to the version that is this step's number.
    Update {
        /// The number of the step that inserted it.
        txn: u32,
    },
    /// Deletes all rows of an earlier transaction.
    Delete {
        /// The number of the step that inserted it.
        txn: u32,
    },
    /// Reads the whole table.
    Read,
    /// Keeps a snapshot open for some milliseconds of the run's time.
    LongRead {
        /// Milliseconds.
        ms: u32,
    },
    /// Runs a checkpoint.
    Checkpoint(CheckpointMode),
    /// Does nothing for some milliseconds of the run's time.
    Pause {
        /// Milliseconds.
        ms: u32,
    },
}

/// The modes of `PRAGMA wal_checkpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckpointMode {
    /// As much as is possible without waiting.
    Passive,
    /// Waits for writers and readers.
    Full,
    /// Waits also for the readers of the log, so that the next writer starts at its beginning.
    Restart,
    /// As `Restart`, and truncates the log.
    Truncate,
}

impl CheckpointMode {
    const ALL: [Self; 4] = [Self::Passive, Self::Full, Self::Restart, Self::Truncate];

    /// The pragma's argument.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passive => "PASSIVE",
            Self::Full => "FULL",
            Self::Restart => "RESTART",
            Self::Truncate => "TRUNCATE",
        }
    }
}

impl Step {
    /// The transaction that the step at `index` of its script changes, and the state that it leads to; `None` for a
    /// step that changes nothing.
    pub fn intent(&self, index: u32) -> Option<(u32, TxnState)> {
        match *self {
            Self::Insert { .. } => Some((index, TxnState::Whole(index))),
            Self::Update { txn } => Some((txn, TxnState::Whole(index))),
            Self::Delete { txn } => Some((txn, TxnState::Absent)),
            Self::Read | Self::LongRead { .. } | Self::Checkpoint(_) | Self::Pause { .. } => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert { parts: 1, .. } => f.write_str("insert a row"),
            Self::Insert { parts, .. } => write!(f, "insert {parts} rows"),
            Self::Update { txn } => write!(f, "update transaction {txn}"),
            Self::Delete { txn } => write!(f, "delete transaction {txn}"),
            Self::Read => f.write_str("read"),
            Self::LongRead { ms } => write!(f, "read for {ms} ms"),
            Self::Checkpoint(mode) => write!(f, "{} checkpoint", mode.word().to_lowercase()),
            Self::Pause { ms } => write!(f, "pause {ms} ms"),
        }
    }
}

/// What the actors of a run do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workload {
    /// All kinds of steps.
    #[default]
    Mixed,
    /// The first two threads of each process read, one snapshot after the other, so that one of the two is always open;
    /// the other threads insert. Checkpoints are due after [`CHECKPOINT_PAGES`].
    OverlappingReads,
}

/// After how many pages in the log a commit runs a checkpoint, where reads overlap.
pub const CHECKPOINT_PAGES: u32 = 16;

/// Milliseconds between two insertions beside overlapping reads.
const INSERT_PAUSE_MS: u32 = 5;

impl Workload {
    /// The script of one actor.
    pub fn script(self, seed: Seed, actor: Actor, length: u32) -> Vec<Step> {
        match self {
            Self::Mixed => script(seed, actor, length),
            Self::OverlappingReads => overlapping(seed, actor, length),
        }
    }
}

/// Both readers read for as long; the second one begins in the middle of the first one's snapshots.
fn overlapping(seed: Seed, actor: Actor, length: u32) -> Vec<Step> {
    let mut rng = seed.stream("workload").stream(&actor.to_string()).rng();
    let step = |index: u32, rng: &mut dyn Rng| match (actor.thread, index) {
        (1 | 2, 0) => insert(rng),
        (2, 1) => Step::LongRead { ms: 35 },
        (1 | 2, _) => Step::LongRead { ms: 70 },
        (_, index) if index % 2 == 0 => Step::Insert { parts: 2, payload_bytes: rng.random_range(1500..3000) },
        _ => Step::Pause { ms: INSERT_PAUSE_MS },
    };
    (0..length).map(|index| step(index, &mut rng)).collect()
}

/// The script of an actor with all kinds of steps.
fn script(seed: Seed, actor: Actor, length: u32) -> Vec<Step> {
    let mut rng = seed.stream("workload").stream(&actor.to_string()).rng();
    let mut inserted = Vec::new();
    let mut steps = Vec::new();
    // A read looks at everything that was written, so in a long script there are fewer of them.
    let reads_percent = (14 * 64 / length.max(64)).max(1);
    for index in 0..length {
        // The first step writes, so that every script measures something.
        let step = if index == 0 { insert(&mut rng) } else { draw(&mut rng, &inserted, reads_percent) };
        if matches!(step, Step::Insert { .. }) {
            inserted.push(index);
        }
        steps.push(step);
    }
    steps
}

fn draw(rng: &mut impl Rng, inserted: &[u32], reads_percent: u32) -> Step {
    let earlier = |rng: &mut dyn Rng| inserted[rng.random_range(0..inserted.len())];
    if rng.random_ratio(reads_percent, 100) {
        return Step::Read;
    }
    match rng.random_range(0..100_u32) {
        0..63 => insert(rng),
        63..78 => Step::Update { txn: earlier(rng) },
        78..85 => Step::Delete { txn: earlier(rng) },
        85..93 => Step::Checkpoint(CheckpointMode::ALL[rng.random_range(0..4)]),
        _ => Step::Pause { ms: rng.random_range(1..200) },
    }
}

fn insert(rng: &mut (impl Rng + ?Sized)) -> Step {
    Step::Insert { parts: rng.random_range(1..=6), payload_bytes: rng.random_range(8..900) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTOR: Actor = Actor { process: 1, thread: 1 };

    #[test]
    fn a_script_repeats_and_differs_by_actor() {
        let other = Actor { process: 2, thread: 1 };
        assert_eq!(script(Seed(5), ACTOR, 50), script(Seed(5), ACTOR, 50));
        assert_ne!(script(Seed(5), ACTOR, 50), script(Seed(5), other, 50));
    }

    #[test]
    fn steps_refer_to_earlier_insertions() {
        for seed in 0..50 {
            let steps = script(Seed(seed), ACTOR, 40);
            assert!(matches!(steps[0], Step::Insert { .. }));
            for (index, step) in steps.iter().enumerate() {
                if let Step::Update { txn } | Step::Delete { txn } = step {
                    assert!((*txn as usize) < index && matches!(steps[*txn as usize], Step::Insert { .. }));
                }
            }
        }
    }
}
