//! The health of one database, as a value.
//!
//! Health is judged on the live connection. No second one is opened: a probe beside a live connection can meet
//! half-finished work of others, so it could only answer "busy" or "gone", never "corrupt".

mod checkpoint;
mod record;

pub use checkpoint::{Checkpoint, CheckpointMode};
pub(crate) use checkpoint::{run_checkpoint, wal_extent};
pub(crate) use record::{HealthInputs, HealthRecord};

use crate::breaker::{BreakerCounters, BreakerMode, BreakerState};
use crate::error::{BorrowKind, Borrower, DegradedReason};
use crate::os::FileSystem;
use crate::settings::JournalMode;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A snapshot of one database, as [`Cache::health`](crate::Cache::health) sees it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = seawall::Store::open(dir.path().join("x.db"))?;
/// use seawall::health::{ProbeOutcome, HealthState};
///
/// store.write(|tx| tx.execute_batch("CREATE TABLE t (x)"))?;
/// let health = store.health();
/// assert_eq!((health.state, health.probe), (HealthState::Healthy, ProbeOutcome::Passed));
/// assert!(health.wal.unwrap().frames > 0 && health.oldest_snapshot().is_none());
/// assert_eq!((health.opens, health.calls.failed, health.events["opened"]), (1, 0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The canonical path; the path as asked for if nothing has been opened under it.
    pub path: PathBuf,
    /// The state.
    pub state: HealthState,
    /// Why it runs in exclusive mode, while it does.
    pub degraded_reason: Option<DegradedReason>,
    /// What the live connection answered just now.
    pub probe: ProbeOutcome,
    /// The circuit breaker.
    pub breaker: BreakerState,
    /// What the circuit breaker may do.
    pub breaker_mode: BreakerMode,
    /// The breaker's generation: how many times its state has changed.
    pub breaker_generation: u64,
    /// Consecutive availability failures that the breaker has counted.
    pub breaker_failures: u32,
    /// The counts of the circuit breaker so far. Admitted calls are all calls that were made.
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
    /// The borrowers of connections now.
    pub borrowers: Vec<Borrower>,
    /// Connections that serve reads now, beside the writer.
    pub readers_open: u32,
    /// Whether a write has met a full disk and none has gone through since.
    pub is_disk_full: bool,
    /// Whether the log is over its [limit](crate::Builder::wal_limit), and reads keep it from being restarted.
    pub is_log_over_limit: bool,
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
    pub calls: CallCounts,
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
    /// Its result.
    pub checkpoint: Checkpoint,
}

/// How many calls had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCounts {
    /// The circuit was open.
    pub refused: u64,
    /// Another caller kept the connection for too long.
    pub timed_out: u64,
    /// It failed, for any reason.
    pub failed: u64,
    /// Its outcome is unknown.
    pub unknown: u64,
    /// A closure left its transaction open.
    pub dangling: u64,
    /// A file had lost its name.
    pub moved: u64,
}

/// The state of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthState {
    /// Nothing has been opened, or it has been closed on request: nothing is known.
    Unopened,
    /// It serves.
    Healthy,
    /// It serves, one call at a time with the file locked against all other processes: the wal-index cannot be used.
    Degraded,
    /// It serves, and its log grows: reads keep it from being restarted. The event
    /// [`LogOverLimit`](crate::EventKind::LogOverLimit) says which.
    LogOverLimit,
    /// It does not serve: the circuit is not closed, the last attempt to open failed, or the live connection does not
    /// answer.
    Unavailable,
}

/// The answer of the live connection to a trivial read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// There is no live connection to ask.
    NotOpen,
    /// A call is using it now.
    InUse,
    /// It answered.
    Passed,
    /// It answered that another connection holds a lock.
    Busy,
    /// It did not answer.
    Failed {
        /// The extended result code.
        code: i32,
    },
}
