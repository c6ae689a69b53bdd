//! Results as data: what one run, one cell and one soak came to.
//!
//! The renderers of `seawall-reports` read nothing but these types, and a saved record renders to the same page again.
//! Field names are a contract: they appear in `soak --format json` as they stand here.

mod power;

pub use power::{DiskFile, DiskPart, DiskStep, DiskStepKind, LosingRun, PartState, PowerCell, PowerRecord};

use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the JSON layout below. It grows when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA: u32 = 1;

/// What one invocation of `seawall soak` measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoakRecord {
    /// Version of this layout, [`SCHEMA`].
    pub schema: u32,
    /// The seed from which the seed of every run was derived.
    #[serde(with = "crate::seed::text")]
    pub seed: u64,
    /// The SQLite library's version, `3.x.y`.
    pub sqlite: String,
    /// Where the databases of the runs lay, and on what kind of file system.
    pub scratch: String,
    /// Operating system and architecture, `linux x86_64`.
    pub platform: String,
    /// Wall-clock seconds the runs took.
    pub seconds: f64,
    /// True if the soak was interrupted before its time was up.
    pub interrupted: bool,
    /// One entry for each strategy under each fault on each medium, strategies outermost, in table order.
    pub matrix: Vec<Cell>,
    /// The shares of the runs that are in the matrix, so that records can be merged; empty in a record of before.
    #[serde(default)]
    pub shares: Vec<Share>,
}

/// A share of the runs of a soak, as one process executed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Which one, from 1.
    pub number: u64,
    /// Of how many.
    pub of: u64,
    /// Where the databases of the runs lay.
    pub scratch: String,
    /// Operating system and architecture.
    pub platform: String,
    /// Wall-clock seconds the runs took.
    pub seconds: f64,
    /// True if it was interrupted before its time was up.
    pub interrupted: bool,
    /// Its cells, without samples.
    pub cells: Vec<Cell>,
}

/// A run that lost something, or left the database corrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HarmedRun {
    /// The number of the run in its cell, from which its seed follows.
    pub number: u64,
    /// Acknowledged transactions that were lost.
    pub lost: u64,
    /// True if the verdict is `corrupt`.
    pub corrupt: bool,
}

/// One strategy under one fault on one medium.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The strategy's name.
    pub strategy: String,
    /// The fault's name in the matrix, or the rules themselves if they came from the command line.
    pub fault: String,
    /// One sentence on what the fault does.
    pub fault_summary: String,
    /// `real` or `sim`.
    pub medium: String,
    /// The worst verdict of the runs.
    pub verdict: Verdict,
    /// What the reviewed table expects: verdicts joined by `|`, or empty where it has no entry.
    pub expected: String,
    /// True if `verdict` is among the expected ones, or nothing is expected.
    pub as_expected: bool,
    /// Number of runs.
    pub runs: u64,
    /// Transactions whose COMMIT returned success, over all runs.
    pub acked: u64,
    /// Operations that ended in an error without having tried to commit.
    pub refused: u64,
    /// Transactions whose COMMIT returned an error, or whose process died before it answered.
    pub indeterminate: u64,
    /// Acknowledged transactions that were gone or changed afterwards.
    pub lost: u64,
    /// Runs whose verdict is `corrupt`.
    pub corrupt: u64,
    /// Runs in which rows were lost while every integrity check said ok.
    pub lost_silently: u64,
    /// xOpen calls on the main database file.
    pub opens: u64,
    /// Schema initialisations that the strategy carried out.
    pub schema_inits: u64,
    /// VFS and file method calls.
    pub calls: u64,
    /// Faults that fired.
    pub faults_fired: u64,
    /// Number of runs by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Error messages that the callers saw, with their counts, most frequent first (at most 8).
    pub errors: Vec<ErrorCount>,
    /// Only where a strategy of the layer lost more, or left more databases corrupt, than plain SQLite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worse_than_plain: Option<Comparison>,
    /// The numbers of the runs: the first and the last one of each sequence, in ascending order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<(u64, u64)>,
    /// The runs that lost something, or left the database corrupt, in ascending order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub harmed: Vec<HarmedRun>,
    /// The number of the run shown in `sample`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_number: Option<u64>,
    /// Token of the run shown in `sample`.
    pub token: String,
    /// The first of the worst runs, with its timeline.
    pub sample: Option<RunRecord>,
}

/// A strategy of the layer beside plain SQLite: sums over the runs of the cell that both executed, from the same seeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// The strategy that is plain SQLite.
    pub plain: String,
    /// Number of runs that both executed.
    pub runs: u64,
    /// Acknowledged transactions that the layer lost.
    pub lost: u64,
    /// Those that plain SQLite lost.
    pub plain_lost: u64,
    /// Runs of the layer whose verdict is `corrupt`.
    pub corrupt: u64,
    /// Those of plain SQLite.
    pub plain_corrupt: u64,
}

/// How often callers saw one error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The message, with numbers and paths that vary from run to run taken out.
    pub message: String,
    /// How many operations ended in it.
    pub count: u64,
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The string that reproduces the run.
    pub token: String,
    /// The run's seed.
    #[serde(with = "crate::seed::text")]
    pub seed: u64,
    /// The strategy's name.
    pub strategy: String,
    /// The fault's name.
    pub fault: String,
    /// `real` or `sim`.
    pub medium: String,
    /// Who ran, and how their turns were given out.
    pub topology: Topology,
    /// The resolved fault rules, each in the grammar's text form, with the calls at which it fired.
    pub rules: Vec<RuleRecord>,
    /// The worst verdict among the findings, or `survived`, `degraded` or `not-measured` if there is none.
    pub verdict: Verdict,
    /// What the oracles found, worst first.
    pub findings: Vec<Finding>,
    /// The figures.
    pub counts: Counts,
    /// Error messages that the callers saw, with their counts, most frequent first.
    pub errors: Vec<ErrorCount>,
    /// True if integrity_check, quick_check and foreign_key_check all said ok at the end.
    pub integrity_ok: bool,
    /// Checksum over the calls, rulings and outcomes in their order; equal for equal executions. A racing run has
    /// none.
    pub trace_digest: Option<String>,
    /// What happened when, for drawing. Empty unless the run was chosen as a sample.
    pub timeline: Vec<TimelineEvent>,
}

/// Who ran in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Number of worker processes.
    pub processes: u16,
    /// Number of threads in each.
    pub threads: u16,
    /// `sequential` (one actor at a time, in an order drawn from the seed), `racing`, or `simulated` (one at a time,
    /// and any VFS call may be the end of a turn).
    pub schedule: String,
}

/// A fault rule of a run, and when it fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRecord {
    /// The rule in the grammar's text form.
    pub rule: String,
    /// Calls that matched the rule's method, role and actor while it was armed.
    pub matched: u64,
    /// Calls at which it fired.
    pub fired: u64,
    /// Numbers of the first calls at which it fired, in the run's call numbering (at most 16).
    pub fired_at: Vec<u64>,
}

/// One thing that an oracle found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The oracle's name.
    pub oracle: String,
    /// What the finding makes of the run.
    pub verdict: Verdict,
    /// What was found, in words and figures.
    pub detail: String,
}

/// The figures of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Transactions whose COMMIT returned success.
    pub acked: u64,
    /// Operations that ended in an error without having tried to commit.
    pub refused: u64,
    /// Transactions whose COMMIT returned an error, or whose process died before it answered.
    pub indeterminate: u64,
    /// Acknowledged transactions that were gone or changed at the end.
    pub lost: u64,
    /// Reads that succeeded.
    pub reads: u64,
    /// xOpen calls on the main database file.
    pub opens: u64,
    /// Schema initialisations that the strategy carried out.
    pub schema_inits: u64,
    /// VFS and file method calls.
    pub calls: u64,
    /// Faults that fired.
    pub faults_fired: u64,
    /// Worker processes that were killed.
    pub kills: u64,
    /// Worker processes that were started, the first ones included.
    pub starts: u64,
}

/// One mark on a run's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// Microseconds since the run began.
    pub at_us: u64,
    /// How long it took, in microseconds; 0 for a point.
    pub duration_us: u64,
    /// Who: `p1.t2`, or `p1` for a whole process, or `run`.
    pub actor: String,
    /// What kind of mark it is.
    pub kind: MarkKind,
    /// What happened, in a few words: `write@wal 4096 bytes at 32`.
    pub label: String,
}

/// The kinds of marks on a timeline.
///
/// A closed list: renderers draw every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// A VFS or file call that proceeded.
    Call,
    /// A call at which a fault fired.
    Fault,
    /// A transaction whose COMMIT was acknowledged.
    Commit,
    /// A successful read.
    Read,
    /// An operation that was refused with an error.
    Refused,
    /// A transaction whose outcome is unknown.
    Indeterminate,
    /// A process started.
    Start,
    /// A process was killed.
    Kill,
    /// The faults were switched off.
    Heal,
    /// An outsider acted on the files or on a process.
    Outside,
    /// A transaction whose COMMIT was acknowledged, and which is nowhere at the end.
    Lost,
}

/// How a finding came about: what is left of an execution after shrinking, in the order in which it happened. Each
/// event is one line of the story in words, and one arrow or box of the sequence diagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The string that reproduces the execution.
    pub token: String,
    /// What the actors worked on: `mixed on SQLite 3.51.1`, `openhuman under cantopen-once`.
    pub subject: String,
    /// What the oracle found.
    pub finding: Finding,
    /// Who takes part: the lanes of the diagram, from left to right.
    pub actors: Vec<String>,
    /// What happened.
    pub events: Vec<StoryEvent>,
}

/// One event of a story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryEvent {
    /// Number of VFS calls made before it, over all actors.
    pub at: u64,
    /// Who; `None` for what concerns them all, like the finding.
    pub actor: Option<String>,
    /// What kind of event it is.
    pub kind: StoryKind,
    /// What happened, without the actor's name: `INSERT INTO ledger … (3 rows)`, `at its 4th unfetch@db`.
    pub text: String,
}

/// The kinds of events of a story.
///
/// A closed list: renderers word every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoryKind {
    /// A statement or operation begins.
    Begin,
    /// The actor's statement or operation ended well.
    End,
    /// It ended with an error.
    Refused,
    /// A transaction was acknowledged.
    Commit,
    /// The actor is preempted in the middle of its statement; `text` says at which call.
    Paused,
    /// The actor goes on.
    Resumed,
    /// A fault fired at a call of the actor.
    Fault,
    /// The actor's process was killed.
    Kill,
    /// The actor's process started anew.
    Start,
    /// The state that matters, as it is now: `nBackfill 95 > mxFrame 30`.
    Observed,
    /// An outsider acted on the files, or the actor's process touched, stopped or forked: `an outsider unlinks app.db`.
    Outside,
    /// A transaction was acknowledged, and is nowhere at the end.
    Lost,
}
