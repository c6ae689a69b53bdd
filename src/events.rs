//! What the crate tells about itself: typed events, each at most once, never from under a lock.
//!
//! While a call holds locks it only takes notes. They go to the sink after the last lock is released, so a sink may
//! call back into the cache, may block, and may even panic: it hurts nobody but its own caller's latency.

use crate::classify::code_name;
use crate::health::DegradedReason;
use crate::sync::Arc;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

/// Something happened to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The canonical path of the database.
    pub path: Arc<Path>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A shared connection was opened. Exclusive ones, opened for each call while degraded, are not announced one by
    /// one.
    Opened,
    /// The init closure succeeded; at most once per process and file.
    InitCompleted,
    /// Opening failed in a way that may pass, and was tried again within the same call.
    OpenRetried {
        /// Counts from 1.
        attempt: u32,
        /// The extended result code of the failed attempt.
        code: i32,
    },
    /// SQLite did not refuse WAL with an error, but did not grant it either.
    JournalModeRefused {
        /// The mode in force.
        effective: String,
    },
    /// The circuit opened.
    BreakerTripped {
        /// The breaker's generation begun.
        generation: u64,
        /// The failure that did it, as text.
        error: String,
    },
    /// The cooldown is over, and the first probe is on its way.
    BreakerHalfOpened {
        /// The breaker's generation begun.
        generation: u64,
    },
    /// A probe succeeded, and the circuit closed.
    BreakerRecovered {
        /// The breaker's generation begun.
        generation: u64,
    },
    /// The wal-index does not serve; calls run one at a time in exclusive mode from here on.
    Degraded {
        /// The failure that made it necessary.
        reason: DegradedReason,
    },
    /// The wal-index serves again; back in shared mode.
    Restored {
        /// How long exclusive mode lasted.
        degraded_for: Duration,
    },
    /// A connection could not be trusted any more and was closed.
    ConnectionDiscarded {
        /// The extended result code that was the reason; `None` if a rollback failed.
        code: Option<i32>,
    },
    /// A closure left a transaction open. It was rolled back, unless a discarded connection is announced beside this.
    DanglingTransaction,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.kind {
            EventKind::Opened => f.write_str("opened"),
            EventKind::InitCompleted => f.write_str("initialised"),
            EventKind::OpenRetried { attempt, code } => {
                write!(f, "opening failed with {} ({code}), attempt {attempt}; trying again", code_name(*code))
            }
            EventKind::JournalModeRefused { effective } => write!(f, "no WAL here; the journal mode is {effective}"),
            EventKind::BreakerTripped { generation, error } => {
                write!(f, "circuit open (generation {generation}): {error}")
            }
            EventKind::BreakerHalfOpened { generation } => write!(f, "circuit half-open (generation {generation})"),
            EventKind::BreakerRecovered { generation } => write!(f, "circuit closed (generation {generation})"),
            EventKind::Degraded { reason } => write!(f, "degraded to exclusive mode: {reason}"),
            EventKind::Restored { degraded_for } => write!(f, "restored to shared mode after {degraded_for:?}"),
            EventKind::ConnectionDiscarded { code: Some(code) } => {
                write!(f, "connection discarded after {} ({code})", code_name(*code))
            }
            EventKind::ConnectionDiscarded { code: None } => {
                f.write_str("connection discarded: it would not roll back")
            }
            EventKind::DanglingTransaction => f.write_str("a closure left its transaction open"),
        }
    }
}

/// Where events go.
pub type Sink = Arc<dyn Fn(&Event) + Send + Sync>;

/// Events of one call, waiting for its locks to be released.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    // An empty vector does not allocate, and almost every call leaves it empty.
    kinds: Vec<EventKind>,
}

impl Notes {
    pub(crate) fn add(&mut self, kind: EventKind) {
        self.kinds.push(kind);
    }

    /// Hands the events to the sink. The caller holds no lock.
    pub(crate) fn emit(self, path: &Arc<Path>, sink: Option<&Sink>) {
        let Some(sink) = sink else { return };
        for kind in self.kinds {
            let event = Event { path: Arc::clone(path), kind };
            // A sink that panics is the sink's trouble: the call it reports on is over and has its result.
            let _ = catch_unwind(AssertUnwindSafe(|| sink(&event)));
        }
    }
}
