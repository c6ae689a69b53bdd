//! What is known about one database, as a value.
//!
//! Health is judged on the live connection. It never opens a second one: a probe beside a live connection can run into
//! half-finished work of others, and its honest answers would be "busy" or "gone", never "corrupt".

use crate::breaker::{Breaker, BreakerCounters, BreakerMode, BreakerState};
use crate::builder::JournalMode;
use crate::checkpoint::Checkpoint;
use crate::classify::{Operation, code_name};
use crate::error::Error;
use crate::os::{FileId, FileSystem};
use crate::seat::{BorrowKind, Borrower};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A snapshot of one database, as [`Cache::health`](crate::Cache::health) sees it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = seawall::Store::open(dir.path().join("x.db"))?;
/// use seawall::health::{Probe, State};
///
/// store.write(|tx| tx.execute_batch("CREATE TABLE t (x)"))?;
/// let health = store.health();
/// assert_eq!((health.state, health.probe), (State::Healthy, Probe::Passed));
/// assert!(health.wal.unwrap().frames > 0 && health.oldest_snapshot().is_none());
/// assert_eq!((health.opens, health.calls.failed, health.events["opened"]), (1, 0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The canonical path; the path as asked for if nothing has been opened under it.
    pub path: PathBuf,
    /// The judgement.
    pub state: State,
    /// Why it runs in exclusive mode, while it does.
    pub degraded_reason: Option<DegradedReason>,
    /// What the live connection answered just now.
    pub probe: Probe,
    /// The circuit breaker.
    pub breaker: BreakerState,
    /// What the circuit breaker may do.
    pub breaker_mode: BreakerMode,
    /// The breaker's generation: how many times its state has changed.
    pub breaker_generation: u64,
    /// Consecutive availability failures that the breaker has counted.
    pub breaker_failures: u32,
    /// What the circuit breaker has seen so far. Calls that it let through are all calls that were made.
    pub breaker_counters: BreakerCounters,
    /// The journal mode that was asked for.
    pub journal_mode_configured: JournalMode,
    /// The journal mode that the last opened connection really had; `wal` unless SQLite refused it.
    pub journal_mode: Option<String>,
    /// The log, if the live connection could be asked and is in WAL mode.
    pub wal: Option<WalHealth>,
    /// The last checkpoint that was asked for through this crate. SQLite's own, after every 1000 frames, show in
    /// [`wal`](Health::wal).
    pub last_checkpoint: Option<LastCheckpoint>,
    /// Who has a connection now.
    pub borrowers: Vec<Borrower>,
    /// Connections that serve reads now, beside the writer.
    pub readers_open: u32,
    /// Whether a write has met a full disk and none has gone through since.
    pub is_disk_full: bool,
    /// The file system that the database is on, where the system tells.
    pub file_system: Option<FileSystem>,
    /// The version of the SQLite that is linked.
    pub sqlite_version: &'static str,
    /// Connections opened so far, exclusive ones included.
    pub opens: u64,
    /// Completed init closures: 0 or 1 per process and file.
    pub inits: u64,
    /// Connections thrown away because they could not be trusted any more.
    pub discards: u64,
    /// Calls that got a connection, and calls that did not: refused by the breaker, timed out, failed to open.
    pub calls: Calls,
    /// How many events of each kind there have been, by [name](crate::EventKind::name).
    pub events: BTreeMap<&'static str, u64>,
    /// Events that subscribers had no room for.
    pub events_missed: u64,
    /// The last availability failure, as text. It stays after recovery.
    pub last_error: Option<String>,
}

impl Health {
    /// The read that has been going on for longest: the log cannot be checkpointed beyond its snapshot.
    pub fn oldest_snapshot(&self) -> Option<Borrower> {
        let readers = self.borrowers.iter().filter(|borrower| borrower.kind == BorrowKind::Reader);
        readers.max_by_key(|borrower| borrower.age).copied()
    }
}

/// How much is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalHealth {
    /// The size of the file. It does not shrink at a checkpoint: the log is written again from its start.
    pub bytes: u64,
    /// Frames that count.
    pub frames: u32,
    /// How many of them are in the database already.
    pub frames_checkpointed: u32,
}

/// How the last checkpoint went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastCheckpoint {
    /// How long ago it was.
    pub age: Duration,
    /// What it came to.
    pub checkpoint: Checkpoint,
}

/// How often something went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// The circuit was open.
    pub refused: u64,
    /// Somebody else kept the connection for too long.
    pub timed_out: u64,
    /// It failed, for whatever reason.
    pub failed: u64,
    /// Its outcome is unknown.
    pub unknown: u64,
    /// A closure left its transaction open.
    pub dangling: u64,
    /// A file had lost its name.
    pub moved: u64,
}

/// The judgement over a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Nothing has been opened, or it has been closed on request: nothing is known.
    Unopened,
    /// It serves.
    Healthy,
    /// It serves, one call at a time with the file locked for everybody else: the wal-index cannot be used.
    Degraded,
    /// It does not serve: the circuit is not closed, the last attempt to open failed, or the live connection does not
    /// answer.
    Unavailable,
}

/// What the live connection said to a trivial read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// There is no live connection to ask.
    NotOpen,
    /// Somebody is using it right now.
    InUse,
    /// It answered.
    Passed,
    /// It answered that somebody else holds a lock.
    Busy,
    /// It did not answer.
    Failed {
        /// The extended result code.
        code: i32,
    },
}

/// The wal-index failure that made exclusive mode necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DegradedReason {
    /// The extended result code.
    pub code: i32,
    /// The step that met it.
    pub operation: Operation,
}

impl fmt::Display for DegradedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) in {}", code_name(self.code), self.code, self.operation)
    }
}

/// What the last call has shown about a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Unopened,
    Serving,
    Failed,
}

/// The running record behind [`Health`], written when something changes and never on the good path.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    standing: Standing,
    degraded_reason: Option<DegradedReason>,
    journal_mode: Option<String>,
    opens: u64,
    inits: u64,
    discards: u64,
    last_error: Option<String>,
    last_checkpoint: Option<(Duration, Checkpoint)>,
    pub(crate) calls: Calls,
    /// Which file the connections have open.
    pub(crate) file_id: Option<FileId>,
}

/// What [`Vitals`] cannot know by themselves.
pub(crate) struct Now<'a> {
    pub(crate) time: Duration,
    pub(crate) probe: Probe,
    pub(crate) breaker: &'a Breaker,
    pub(crate) breaker_counters: BreakerCounters,
    pub(crate) journal_mode: JournalMode,
    pub(crate) wal: Option<WalHealth>,
    pub(crate) borrowers: Vec<Borrower>,
    pub(crate) readers_open: u32,
    pub(crate) is_disk_full: bool,
    pub(crate) file_system: Option<FileSystem>,
    pub(crate) events: BTreeMap<&'static str, u64>,
    pub(crate) events_missed: u64,
}

impl Vitals {
    /// Returns whether the journal mode differs from the last known one.
    pub(crate) fn opened(&mut self, journal_mode: &str, degraded_reason: Option<DegradedReason>) -> bool {
        self.opens += 1;
        self.standing = Standing::Serving;
        self.degraded_reason = degraded_reason;
        let is_news = self.journal_mode.as_deref() != Some(journal_mode);
        if is_news {
            self.journal_mode = Some(journal_mode.to_owned());
        }
        is_news
    }

    pub(crate) fn reader_opened(&mut self) {
        self.opens += 1;
    }

    pub(crate) fn is_wal(&self) -> bool {
        self.journal_mode.as_deref() == Some("wal")
    }

    pub(crate) fn initialised(&mut self) {
        self.inits += 1;
    }

    pub(crate) fn checkpointed(&mut self, now: Duration, checkpoint: Checkpoint) {
        self.last_checkpoint = Some((now, checkpoint));
    }

    pub(crate) fn discarded(&mut self) {
        self.discards += 1;
    }

    pub(crate) fn failed(&mut self, error: &Error) {
        self.standing = Standing::Failed;
        self.last_error = Some(error.to_string());
    }

    pub(crate) fn closed(&mut self) {
        self.standing = Standing::Unopened;
    }

    pub(crate) fn health(&self, path: &Path, now: Now<'_>) -> Health {
        let breaker_state = now.breaker.state(now.time);
        let is_failing = self.standing == Standing::Failed || matches!(now.probe, Probe::Failed { .. });
        // A breaker that only watches keeps nobody out, whatever it thinks.
        let is_refusing = now.breaker.mode() != BreakerMode::MetricsOnly && breaker_state != BreakerState::Closed;
        let state = if is_failing || is_refusing {
            State::Unavailable
        } else if self.standing == Standing::Unopened {
            State::Unopened
        } else if self.degraded_reason.is_some() {
            State::Degraded
        } else {
            State::Healthy
        };
        let last = |(at, checkpoint)| LastCheckpoint { age: now.time.saturating_sub(at), checkpoint };
        Health {
            path: path.to_owned(),
            state,
            degraded_reason: self.degraded_reason,
            probe: now.probe,
            breaker: breaker_state,
            breaker_mode: now.breaker.mode(),
            breaker_generation: now.breaker.generation(),
            breaker_failures: now.breaker.failures(),
            breaker_counters: now.breaker_counters,
            journal_mode_configured: now.journal_mode,
            journal_mode: self.journal_mode.clone(),
            wal: now.wal,
            last_checkpoint: self.last_checkpoint.map(last),
            borrowers: now.borrowers,
            readers_open: now.readers_open,
            is_disk_full: now.is_disk_full,
            file_system: now.file_system,
            sqlite_version: rusqlite::version(),
            opens: self.opens,
            inits: self.inits,
            discards: self.discards,
            calls: self.calls,
            events: now.events,
            events_missed: now.events_missed,
            last_error: self.last_error.clone(),
        }
    }
}
