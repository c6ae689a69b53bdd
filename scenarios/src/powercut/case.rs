//! A case: everything that a recording consists of. It is drawn from a seed, or it was shrunk and is read from a file.

use super::cell::{CellSettings, JournalMode};
use crate::case_file::{self, CaseFileError};
use rand::{Rng, RngExt};
use seawall_harness::record::Finding;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

/// The format of the files. Another number is refused.
pub const FORMAT: u32 = 1;

/// The field with the format.
pub const FORMAT_FIELD: &str = "powercut_format";

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Journal mode and level.
    #[serde(flatten)]
    pub settings: CellSettings,
    /// The version of SQLite, or `PATH#HASH` of a library.
    pub sqlite: String,
    /// The device, in words.
    pub device: String,
    /// The randomness of machine and schedule comes from it.
    #[serde(with = "seawall_harness::seed::text")]
    pub seed: u64,
    /// `PRAGMA page_size`
    pub page_bytes: u32,
    /// `PRAGMA cache_size`
    pub cache_pages: u32,
    /// `PRAGMA wal_autocheckpoint`
    pub autocheckpoint: u32,
    /// The processes and their steps, in order.
    pub processes: Vec<Vec<Numbered>>,
}

/// A step with its number, which it keeps when other steps are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// From 1.
    pub number: u32,
    /// The step.
    #[serde(flatten)]
    pub step: Step,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// A write transaction.
    Write {
        /// Rows inserted.
        inserts: u8,
        /// Rows updated.
        updates: u8,
        /// Rows deleted.
        deletes: u8,
        /// Bytes of a row.
        payload_bytes: u16,
        /// More is done in a savepoint and rolled back.
        savepoint: bool,
        /// It ends in ROLLBACK.
        rollback: bool,
    },
    /// A checkpoint.
    Checkpoint {
        /// The word of the pragma.
        mode: CheckpointWord,
    },
    /// Reads all rows.
    Read,
    /// Begins a transaction and reads; it stays open until the next step but one.
    Hold,
    /// Closes the connection and opens another one.
    Reopen,
}

/// The mode of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words of PRAGMA wal_checkpoint")]
pub enum CheckpointWord {
    Passive,
    Full,
    Restart,
    Truncate,
}

impl CheckpointWord {
    const ALL: [Self; 4] = [Self::Passive, Self::Full, Self::Restart, Self::Truncate];

    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Self::Full => "PRAGMA wal_checkpoint(FULL)",
            Self::Restart => "PRAGMA wal_checkpoint(RESTART)",
            Self::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        }
    }
}

impl Case {
    /// The case that follows from a seed: one process, sometimes two or three.
    pub fn draw(settings: CellSettings, sqlite: &str, device: &str, seed: Seed) -> Self {
        let mut rng = seed.stream("case").rng();
        let page_bytes = pick(&mut rng, &[512, 1024, 1024, 1024, 4096]);
        let cache_pages = pick(&mut rng, &[200, 200, 10]);
        let autocheckpoint = pick(&mut rng, &[1000, 1000, 4, 12]);
        let processes = pick(&mut rng, &[1, 1, 1, 2, 2, 3]);
        let processes = (0..processes).map(|process| draw_steps(&mut rng, settings, process > 0)).collect();
        let (sqlite, device) = (sqlite.to_owned(), device.to_owned());
        Self { settings, sqlite, device, seed: seed.0, page_bytes, cache_pages, autocheckpoint, processes }
    }

    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.processes.iter().map(Vec::len).sum()
    }

    /// How many processes have steps.
    pub fn busy_processes(&self) -> usize {
        self.processes.iter().filter(|steps| !steps.is_empty()).count()
    }

    /// Leaves out the steps at these positions, counted over all processes.
    pub(super) fn leave_out(&mut self, positions: &Range<usize>) {
        let mut position = 0;
        for steps in &mut self.processes {
            steps.retain(|_| {
                position += 1;
                !positions.contains(&(position - 1))
            });
        }
    }
}

fn pick(rng: &mut impl Rng, from: &[u32]) -> u32 {
    from[rng.random_range(0..from.len())]
}

fn draw_steps(rng: &mut impl Rng, settings: CellSettings, is_beside: bool) -> Vec<Numbered> {
    let count = rng.random_range(if is_beside { 1..=3_u32 } else { 3..=7 });
    let step = |number| Numbered { number, step: draw_step(rng, settings, is_beside) };
    (1..=count).map(step).collect()
}

fn draw_step(rng: &mut impl Rng, settings: CellSettings, is_beside: bool) -> Step {
    // In the mode OFF a ROLLBACK does what it likes (pragma.html), without any power cut.
    let can_roll_back = settings.journal_mode != JournalMode::Off;
    match rng.random_range(if is_beside { 0..10_u8 } else { 0..20 }) {
        0 | 1 => Step::Read,
        2 | 3 if is_beside => Step::Hold,
        2 => Step::Reopen,
        4..=7 if settings.journal_mode == JournalMode::Wal => {
            Step::Checkpoint { mode: CheckpointWord::ALL[rng.random_range(0..4)] }
        }
        _ => Step::Write {
            inserts: rng.random_range(0..=3),
            updates: rng.random_range(0..=3),
            deletes: rng.random_range(0..=2),
            payload_bytes: [20, 200, 700, 1500][rng.random_range(0..4)],
            savepoint: can_roll_back && rng.random_bool(0.25),
            rollback: can_roll_back && rng.random_bool(0.12),
        },
    }
}

/// A case with one cut and one image: the content of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseFile {
    /// [`FORMAT`]
    pub powercut_format: u32,
    /// The case.
    pub case: Case,
    /// The cut, and the fates of what was pending; then those of a cut in the recovery, and so on.
    pub cuts: Vec<CutText>,
    /// What the oracles found, worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Checksum over all that happened.
    pub digest: Option<String>,
    /// What happened to the disk, one event a line.
    #[serde(default)]
    pub calls: Vec<String>,
}

/// A cut as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutText {
    /// Events before it.
    pub position: usize,
    /// The fates, see [`fates`](super::fates).
    pub fates: String,
}

impl CaseFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is of another format.
    pub fn read(path: &Path) -> Result<Self, CaseFileError> {
        case_file::read(path, FORMAT_FIELD, FORMAT)
    }
}
