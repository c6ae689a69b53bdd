//! A case: everything that an execution consists of. It is drawn from a seed, or read from a file; the file is JSON
//! that a person can read and change.

use super::{Step, find, policy};
use crate::case_file::{self, CaseFileError};
use seawall_harness::actor::Actor;
use seawall_harness::engine::CheckpointMode;
use seawall_harness::fault::Rule;
use seawall_harness::record::Finding;
use seawall_harness::sched::Preemption;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The format of the files. Another number is refused.
pub const FORMAT: u32 = 1;

/// The field with the format.
pub const FORMAT_FIELD: &str = "format";

/// Everything that an execution consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The scenario: what the database holds, and what is checked at the end.
    pub scenario: String,
    /// The version of SQLite, or `PATH#HASH` of a library.
    pub sqlite: String,
    /// The randomness of the machine and of the faults comes from it.
    #[serde(with = "hexadecimal")]
    pub seed: Seed,
    /// The layout of the database file.
    pub layout: Layout,
    /// The settings of the connections.
    pub settings: Settings,
    /// The fault rules, armed for the whole execution.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Rule>,
    /// The actors and their steps.
    pub actors: Vec<ActorPlan>,
    /// Which actor runs when.
    pub schedule: Schedule,
}

/// Which actor runs when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// A policy decides, from a seed of its own.
    Policy {
        /// Its name.
        name: String,
        /// Its seed.
        #[serde(with = "hexadecimal")]
        seed: Seed,
    },
    /// These preemptions, and no others.
    Preemptions(Vec<Preemption>),
}

/// The layout of a database file: settings that must be there before its first table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Layout {
    /// `PRAGMA page_size`
    pub page_bytes: u32,
    /// `PRAGMA auto_vacuum`
    pub auto_vacuum: u8,
}

/// The settings of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `PRAGMA journal_mode`
    pub journal: Journal,
    /// `PRAGMA synchronous`
    pub synchronous: Synchronous,
    /// `PRAGMA cache_size`
    pub cache_pages: u32,
    /// `PRAGMA wal_autocheckpoint`
    pub autocheckpoint: u32,
    /// `PRAGMA mmap_size`
    pub mmap_bytes: u32,
    /// `PRAGMA temp_store`
    pub temp_store: u8,
}

/// The journal mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words of PRAGMA journal_mode")]
pub enum Journal {
    Wal,
    Delete,
    Truncate,
    Persist,
}

/// The level of `synchronous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words of PRAGMA synchronous")]
pub enum Synchronous {
    Off,
    Normal,
    Full,
    Extra,
}

/// One actor and its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorPlan {
    /// The actor.
    pub actor: Actor,
    /// True if it shares one connection with the other actors of its process that have this flag.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// The steps, in this order.
    pub steps: Vec<Numbered>,
}

/// A step with its number, which it keeps when other steps are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// From 1, increasing. Preemptions refer to it.
    pub number: u32,
    /// The step.
    #[serde(flatten)]
    pub step: Step,
}

/// What a write transaction changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Inserts rows, or updates or deletes those of an earlier transaction of this actor. Which one follows from the
    /// step's number and from the actor's commits.
    Any,
    /// Inserts rows.
    New,
}

/// The BEGIN of a write transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begin {
    /// BEGIN IMMEDIATE
    Immediate,
    /// BEGIN: the lock is taken by the first write.
    Deferred,
}

/// The mode of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words of PRAGMA wal_checkpoint")]
pub enum Checkpoint {
    Passive,
    Full,
    Restart,
    Truncate,
}

impl Checkpoint {
    pub(super) fn mode(self) -> CheckpointMode {
        match self {
            Self::Passive => CheckpointMode::Passive,
            Self::Full => CheckpointMode::Full,
            Self::Restart => CheckpointMode::Restart,
            Self::Truncate => CheckpointMode::Truncate,
        }
    }

    pub(super) fn word(self) -> &'static str {
        ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][self as usize]
    }
}

impl Begin {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Immediate => "BEGIN IMMEDIATE",
            Self::Deferred => "BEGIN",
        }
    }
}

impl Journal {
    pub(super) fn word(self) -> &'static str {
        ["WAL", "DELETE", "TRUNCATE", "PERSIST"][self as usize]
    }
}

impl Layout {
    /// The first statements on a new database.
    pub(super) fn sql(self) -> String {
        let Self { page_bytes, auto_vacuum } = self;
        format!("PRAGMA page_size = {page_bytes}; PRAGMA auto_vacuum = {auto_vacuum};")
    }
}

impl Settings {
    /// The statements that configure a connection. The mode WAL is stored in the database file; the other modes belong
    /// to the connection.
    pub(super) fn sql(self) -> String {
        let Self { journal, synchronous, cache_pages, autocheckpoint, mmap_bytes, temp_store } = self;
        let synchronous = ["OFF", "NORMAL", "FULL", "EXTRA"][synchronous as usize];
        let journal = match journal {
            Journal::Wal => String::new(),
            other => format!(" PRAGMA journal_mode = {};", other.word()),
        };
        format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA cache_size = {cache_pages};
             PRAGMA wal_autocheckpoint = {autocheckpoint}; PRAGMA mmap_size = {mmap_bytes};
             PRAGMA temp_store = {temp_store};{journal}"
        )
    }
}

impl ActorPlan {
    /// A plan whose steps are numbered from 1.
    pub(super) fn new(actor: Actor, steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = (1..).zip(steps).map(|(number, step)| Numbered { number, step });
        Self { actor, shared: false, steps: steps.collect() }
    }
}

/// A case with its results: the content of a file. A file that was made by hand has only the case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseFile {
    /// [`FORMAT`]
    pub format: u32,
    /// The token of the execution, if the case follows from one.
    pub token: Option<String>,
    /// What the oracles found, worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Checksum over all calls.
    pub digest: Option<String>,
    /// The case.
    pub case: Case,
    /// The calls, one a line: actor, call, file, arguments, outcome. If there are too many, the last ones.
    #[serde(default)]
    pub calls: Vec<String>,
}

impl CaseFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is of another format, or has no actors, or names a scenario or a policy that there is not.
    pub fn read(path: &Path) -> Result<Self, CaseFileError> {
        let file: Self = case_file::read(path, FORMAT_FIELD, FORMAT)?;
        let case = &file.case;
        let invalid = |reason: String| CaseFileError::Invalid { path: path.to_owned(), reason };
        if case.actors.is_empty() {
            return Err(invalid("`actors` is empty; a case needs at least one".to_owned()));
        }
        if find(&case.scenario).is_none() {
            return Err(invalid(format!("there is no scenario `{}`", case.scenario)));
        }
        match &case.schedule {
            Schedule::Policy { name, .. } if policy(name).is_err() => {
                Err(invalid(format!("there is no policy `{name}`")))
            }
            _ => Ok(file),
        }
    }

    /// Writes the file, and its folder if there is none.
    ///
    /// # Errors
    /// [`CaseFileError::Unwritable`], with the path.
    pub fn write(&self, path: &Path) -> Result<(), CaseFileError> {
        case_file::write(path, self)
    }
}

/// Seeds as `"0x2a"`: many readers of JSON would lose digits of a number.
mod hexadecimal {
    use seawall_harness::seed::Seed;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(seed: &Seed, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:#x}", seed.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Seed, D::Error> {
        seawall_harness::seed::text::deserialize(deserializer).map(Seed)
    }
}
