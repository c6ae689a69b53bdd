//! What is known about one database, as a value.
//!
//! Health is judged on the live connection. It never opens a second one: a probe beside a live connection can run into
//! half-finished work of others, and its honest answers would be "busy" or "gone", never "corrupt".

use crate::breaker::{Breaker, BreakerState};
use crate::classify::{Operation, code_name};
use crate::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// A snapshot of one database, as [`Cache::health`](crate::Cache::health) sees it.
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
    /// The breaker's generation: how many times its state has changed.
    pub breaker_generation: u64,
    /// Consecutive availability failures that the breaker has counted.
    pub breaker_failures: u32,
    /// The journal mode that the last opened connection really had; `wal` unless SQLite refused it.
    pub journal_mode: Option<String>,
    /// Connections opened so far, exclusive ones included.
    pub opens: u64,
    /// Completed init closures: 0 or 1 per process and file.
    pub inits: u64,
    /// Connections thrown away because they could not be trusted any more.
    pub discards: u64,
    /// The last availability failure, as text. It stays after recovery.
    pub last_error: Option<String>,
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

    pub(crate) fn initialised(&mut self) {
        self.inits += 1;
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

    pub(crate) fn health(&self, path: &Path, probe: Probe, breaker_state: BreakerState, breaker: &Breaker) -> Health {
        let is_failing = self.standing == Standing::Failed || matches!(probe, Probe::Failed { .. });
        let state = if is_failing || breaker_state != BreakerState::Closed {
            State::Unavailable
        } else if self.standing == Standing::Unopened {
            State::Unopened
        } else if self.degraded_reason.is_some() {
            State::Degraded
        } else {
            State::Healthy
        };
        Health {
            path: path.to_owned(),
            state,
            degraded_reason: self.degraded_reason,
            probe,
            breaker: breaker_state,
            breaker_generation: breaker.generation(),
            breaker_failures: breaker.failures(),
            journal_mode: self.journal_mode.clone(),
            opens: self.opens,
            inits: self.inits,
            discards: self.discards,
            last_error: self.last_error.clone(),
        }
    }
}
