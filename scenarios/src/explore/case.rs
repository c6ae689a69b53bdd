//! A case: everything that an execution consists of, in the open. It is drawn from a seed, or read from a file; the
//! file is JSON that a person can read and change.

use std::fs;
use std::path::Path;

use seawall_harness::actor::Actor;
use seawall_harness::engine::CheckpointMode;
use seawall_harness::fault::Rule;
use seawall_harness::record::Finding;
use seawall_harness::sched::Preemption;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

use super::bank::BankStep;
use super::canary::Canary;
use super::schema::SchemaStep;
use super::shared::SharedStep;
use crate::scratch;

/// The format of the files. Another number is refused.
pub const FORMAT: u32 = 1;

/// An execution before it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The scenario: what the database holds, and what is checked at the end.
    pub scenario: String,
    /// The version of SQLite, or the path of a library.
    pub sqlite: String,
    /// The machine's randomness and the dice of the faults come from it.
    #[serde(with = "hexadecimal")]
    pub seed: Seed,
    /// How the database file is laid out.
    pub layout: Layout,
    /// How connections are configured.
    pub settings: Settings,
    /// The fault rules, armed for the whole execution.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Rule>,
    /// Who does what.
    pub actors: Vec<ActorPlan>,
    /// Who runs when.
    pub schedule: Schedule,
}

/// Who runs when.
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

/// How the database file is laid out: what must be decided before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Layout {
    /// `PRAGMA page_size`
    pub page_bytes: u32,
    /// `PRAGMA auto_vacuum`
    pub auto_vacuum: u8,
}

/// How connections are configured.
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

/// What makes transactions atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words of PRAGMA journal_mode")]
pub enum Journal {
    Wal,
    Delete,
    Truncate,
    Persist,
}

/// How much is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words of PRAGMA synchronous")]
pub enum Synchronous {
    Off,
    Normal,
    Full,
}

/// What one actor is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorPlan {
    /// Who.
    pub actor: Actor,
    /// True if it shares one connection with the others of its process that do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// What, in this order.
    pub steps: Vec<Numbered>,
}

/// A step with its number, which it keeps when other steps are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// From 1, increasing. Preemptions refer to it.
    pub number: u32,
    /// What is done.
    #[serde(flatten)]
    pub step: Step,
}

/// One step of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Step {
    /// A transaction of so many changes.
    Write {
        /// Rows that are inserted, if any are.
        changes: u8,
        /// How the transaction begins.
        begin: Begin,
        /// Whether something is done and undone within it.
        savepoint: bool,
        /// Whether it is rolled back in the end.
        rollback: bool,
        /// Size of a row's payload.
        payload_bytes: u16,
        /// What is changed.
        target: Target,
    },
    /// A transaction that reads everything, twice.
    Read,
    /// A checkpoint.
    Checkpoint {
        /// Its mode.
        mode: Checkpoint,
    },
    /// Closes the connection and opens it again.
    Reopen,
    /// Of the scenario `bank`.
    Bank(BankStep),
    /// Of the scenario `schema`.
    Schema(SchemaStep),
    /// Of the scenario `shared`.
    Shared(SharedStep),
    /// Of a scenario that must fail.
    Canary(Canary),
}

/// What a write transaction changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Inserts rows, or updates or deletes those of an earlier transaction of this actor: which, follows from the
    /// step's number and from what the actor has committed.
    Any,
    /// Inserts rows.
    New,
}

/// How a transaction that will write begins.
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
    /// Begins the making of a database.
    pub(super) fn sql(self) -> String {
        let Self { page_bytes, auto_vacuum } = self;
        format!("PRAGMA page_size = {page_bytes}; PRAGMA auto_vacuum = {auto_vacuum};")
    }
}

impl Settings {
    /// Configures a connection. That a database is in WAL mode stands in its file; the other modes are the
    /// connection's own.
    pub(super) fn sql(self) -> String {
        let Self { journal, synchronous, cache_pages, autocheckpoint, mmap_bytes, temp_store } = self;
        let synchronous = ["OFF", "NORMAL", "FULL"][synchronous as usize];
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

/// A case with what came of it: the content of a file. One that was made by hand has only the case.
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
    /// The calls, one a line: who, what, on which file, arguments, outcome. Of very many only the last ones.
    #[serde(default)]
    pub calls: Vec<String>,
}

impl CaseFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A message with the path if it cannot be read, is of another format, or has nobody in it who does something.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| format!("{name} is no JSON, or not all of it: {error}"))?;
        let Some(format) = value.get("format") else {
            return Err(format!("{name} is JSON, but no case: it has neither a `format` nor a valid `run_format`"));
        };
        if *format != FORMAT {
            return Err(format!("{name} has the format {format}, not {FORMAT} as this version of seawall"));
        }
        // From the text, since only then does an error tell its line.
        let file: Self = serde_json::from_str(&text).map_err(|error| format!("cannot understand {name}: {error}"))?;
        if file.case.actors.is_empty() {
            return Err(format!("{name}: `actors` is empty; a case needs at least one"));
        }
        Ok(file)
    }

    /// Writes the file, and its folder if there is none.
    ///
    /// # Errors
    /// A message with the path.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        scratch::write_whole(path, &(text + "\n"))
    }
}

/// Seeds as `"0x2a"`: a JSON number would lose digits in many a reader.
mod hexadecimal {
    use seawall_harness::seed::Seed;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(seed: &Seed, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:#x}", seed.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Seed, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
