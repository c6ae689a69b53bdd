//! Strategies: the ways to hand out connections that the lab tests, behind one trait.
//!
//! One file each, and one line in [`ALL`]; `docs/contributing/strategy.md` shows how to add one. A strategy is written
//! from its field report with the constants of the report. Its flaws are included, because they are what is measured.

use crate::workload::{CheckpointMode, schema};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use seawall_harness::clock::Clock;
use seawall_harness::oracle::economy::Promise;
use seawall_harness::oracle::integrity::says_corrupt;
use seawall_harness::shared_state::{Counter, SharedState};
use seawall_harness::suggest;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

pub use host::{Host, LayerOs, RealHost};
pub use opening::{open, open_and_init};

mod cached;
mod canary;
mod canary_files;
mod host;
mod openhuman;
mod opening;
mod percall;
mod seawall;
mod store;

/// What a caller wants done on a connection. A strategy may run it more than once.
pub type Work<'a> = dyn FnMut(&mut Connection) -> rusqlite::Result<()> + 'a;

/// What a caller wants read.
pub type Reading<'a> = dyn FnMut(&Connection) -> rusqlite::Result<()> + 'a;

/// What a caller wants written, inside a transaction that the strategy begins and ends.
pub type Writing<'a> = dyn FnMut(&Transaction<'_>) -> rusqlite::Result<()> + 'a;

/// One way to hand out connections to one database in one process.
pub trait Strategy: Send + Sync {
    /// Runs `work` on a connection.
    ///
    /// # Errors
    /// The error for the caller if there was no connection, or the error of `work`.
    fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure>;

    /// Runs `work` on a connection to read with.
    ///
    /// # Errors
    /// As for [`Self::with_connection`].
    fn read(&self, work: &mut Reading<'_>) -> Result<(), Failure> {
        self.with_connection(&mut |connection| work(connection))
    }

    /// Runs `work` in a write transaction, commits it, and says how far it got.
    fn write(&self, work: &mut Writing<'_>) -> Written {
        let mut phase = Phase::BeforeCommit;
        let result = self.with_connection(&mut |connection| {
            // The strategy may run this more than once. A COMMIT that was tried may have landed, even if a later
            // attempt fails.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            work(&transaction)?;
            phase = Phase::Committing;
            transaction.commit()?;
            phase = Phase::Committed;
            Ok(())
        });
        Written { result, phase }
    }

    /// Runs a checkpoint.
    ///
    /// # Errors
    /// As for [`Self::with_connection`].
    fn checkpoint(&self, mode: CheckpointMode) -> Result<(), Failure> {
        let sql = format!("PRAGMA wal_checkpoint({})", mode.word());
        self.with_connection(&mut |connection| connection.query_row(&sql, [], |_| Ok(())))
    }

    /// What the strategy has told about files since it was asked last, as the application's log would have it.
    fn announcements(&self) -> Vec<String> {
        Vec::new()
    }

    /// Closes what is open, as an orderly shutdown would.
    ///
    /// # Errors
    /// What the shutdown code would log.
    fn close(&self) -> Result<(), Failure>;
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The result for the caller.
    pub result: Result<(), Failure>,
    /// How far the transaction is known to have got.
    pub phase: Phase,
}

/// How far a transaction got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of it is in the database.
    BeforeCommit,
    /// It may be in the database.
    Committing,
    /// COMMIT returned success.
    Committed,
}

/// The error that a caller gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The message.
    pub message: String,
    /// SQLite's extended result code, if the message is about one.
    pub code: Option<i32>,
    /// True if it says that the database is corrupt.
    pub is_alarm: bool,
    /// True if it refuses service until a person has decided.
    #[serde(default)]
    pub is_refusal: bool,
}

impl Failure {
    /// A failure that is not an SQLite error.
    pub fn other(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None, is_alarm: false, is_refusal: false }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|e| e.extended_code);
        Self { message: error.to_string(), code, is_alarm: says_corrupt(&error), is_refusal: false }
    }
}

/// What a strategy is given: the database, the machine, and the run's clock and counters.
#[derive(Clone, Debug)]
pub struct Context {
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The database file.
    pub path: PathBuf,
    /// Name of the VFS to open it with.
    pub vfs: String,
    /// The run's clock: timeouts and cooldowns go by it.
    pub clock: Clock,
    /// The run's shared state, for counting.
    pub shared_state: Arc<SharedState>,
    /// After how many pages in the log a commit is to run a checkpoint, if not after SQLite's own number.
    pub checkpoint_pages: Option<u32>,
}

impl Context {
    /// Sets what belongs to each connection beside the strategy's own settings.
    ///
    /// # Errors
    /// What SQLite returned.
    pub fn configure(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(pages) = self.checkpoint_pages else { return Ok(()) };
        connection.pragma_update(None, "wal_autocheckpoint", pages)
    }

    /// How many bytes the log may have: twice the size after which a checkpoint is to run, else the layer's default.
    pub fn wal_limit(&self) -> u64 {
        self.checkpoint_pages.map_or(64 << 20, |pages| u64::from(pages) * 4096 * 2)
    }

    /// Sets up the application's schema and counts it.
    ///
    /// # Errors
    /// What SQLite returned.
    pub fn init_schema(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.shared_state.count(Counter::SchemaInits);
        schema::init(connection)
    }
}

/// A strategy in the list of the lab.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// How often it opens and initialises at most if nothing fails; `None` if it promises nothing.
    pub promise: Option<Promise>,
    /// True for a planted defect, which is not part of the matrix unless asked for.
    pub is_canary: bool,
    /// True for a strategy of this project's layer, and for a planted defect in its place: soak compares it with plain
    /// SQLite.
    pub is_layer: bool,
    /// Builds one for a process.
    pub build: fn(Context) -> Box<dyn Strategy>,
}

/// All strategies: those of the matrix in the order of its columns, then the canaries.
pub const ALL: &[Entry] = &[
    percall::ENTRY,
    openhuman::ENTRY,
    seawall::ENTRY,
    store::ENTRY,
    canary::INTEGRITY,
    canary::LEDGER,
    canary::ATOMICITY,
    canary::PROGRESS,
    canary::HYGIENE,
    canary::ECONOMY,
    canary::ALARM,
    canary_files::LOG_IDENTITY,
    canary_files::ORPHAN,
    canary_files::SUCCESSOR,
];

/// No strategy has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown strategy `{name}`\nhelp: {help}")]
pub struct UnknownStrategy {
    name: String,
    help: String,
}

/// The strategy with this name.
///
/// # Errors
/// [`UnknownStrategy`], with the nearest name.
pub fn find(name: &str) -> Result<&'static Entry, UnknownStrategy> {
    let known = || ALL.iter().map(|entry| entry.name);
    let unknown =
        || UnknownStrategy { name: name.to_owned(), help: suggest::help(name, "the strategies are", known()) };
    ALL.iter().find(|entry| entry.name == name).ok_or_else(unknown)
}
