//! Power cuts as data: what each journal mode and level of `synchronous` lost, and one losing run of each, step by
//! step.

use super::Finding;
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// What one invocation of `seawall powercut` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerRecord {
    /// Version of this layout, [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The seed from which the workloads were derived.
    #[serde(with = "crate::seed::text")]
    pub seed: u64,
    /// The SQLite library's version, `3.x.y`.
    pub sqlite: String,
    /// The simulated device, in words.
    pub device: String,
    /// The cells, row by row.
    pub cells: Vec<PowerCell>,
}

/// One journal mode at one level, or one strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerCell {
    /// The row: the journal mode, or the strategy.
    pub row: String,
    /// The column: the level of `synchronous`; empty for a strategy.
    pub column: String,
    /// The worst verdict.
    pub verdict: Verdict,
    /// The worst that is expected.
    pub expected: Verdict,
    /// Moments at which the power was cut.
    pub cuts: u64,
    /// Images that were put together.
    pub images: u64,
    /// Those that differ.
    pub distinct: u64,
    /// Pairs of an image and a state of the ledger in which an acknowledged commit is gone.
    pub lost: u64,
    /// Acknowledged commits that are gone in one image, at most.
    pub lost_commits_max: u32,
    /// Pairs in which the integrity check or a read complains.
    pub corrupt: u64,
    /// Pairs in which the database is as after no commit.
    pub torn: u64,
    /// The shortest losing run, if there is a finding.
    pub losing: Option<LosingRun>,
}

/// A run in which the power is cut, and what a fresh process finds then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LosingRun {
    /// What `seawall replay` takes: a token, or the file of the shrunk case.
    pub replay: String,
    /// What the oracle found.
    pub finding: Finding,
    /// Steps before the first one that is shown.
    pub omitted: u64,
    /// The steps, in order.
    pub steps: Vec<DiskStep>,
}

/// One step of a losing run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskStep {
    /// Who; `None` for the cut and for what follows it.
    pub actor: Option<String>,
    /// What kind of step it is.
    pub kind: DiskStepKind,
    /// What happened.
    pub text: String,
    /// The files after it; empty if nothing has happened to the disk.
    pub files: Vec<DiskFile>,
}

/// The kinds of steps of a losing run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskStepKind {
    /// A statement begins.
    Statement,
    /// A commit is acknowledged.
    Commit,
    /// Bytes, a length or a name change, and are not durable yet.
    Change,
    /// A sync makes changes durable.
    Sync,
    /// The power is cut.
    Cut,
}

/// A file on the disk, as parts that differ in what a power cut does to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFile {
    /// Its name, without the folder.
    pub name: String,
    /// What is to be said of its name or length: `created, not durable`. Often empty.
    pub note: String,
    /// Its parts, in order; they do not overlap.
    pub parts: Vec<DiskPart>,
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPart {
    /// The first byte.
    pub from: u64,
    /// The byte behind the last one.
    pub to: u64,
    /// What is true of them.
    pub state: PartState,
}

/// What is true of bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// They are on the disk.
    Durable,
    /// Every process sees them, and a power cut may take them.
    Visible,
    /// They were not durable, and the power cut has left them there.
    Kept,
    /// They were not durable, and the power cut has taken them.
    Lost,
}

impl DiskFile {
    /// How long the file is, with what was lost.
    pub fn len(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.to)
    }

    /// True if it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
