//! The running record behind [`Health`], and how a snapshot is made of it.

use super::{CallCounts, Checkpoint, Health, HealthState, LastCheckpoint, ProbeOutcome, WalHealth};
use crate::breaker::{Breaker, BreakerCounters, BreakerMode, BreakerState};
use crate::error::{Borrower, DegradedReason, Error};
use crate::os::{FileId, FileSystem, Rights};
use crate::settings::JournalMode;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The state of a database after its last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ServiceState {
    #[default]
    Unopened,
    Serving,
    Failed,
}

/// The running record behind [`Health`], written when something changes and never on the good path.
#[derive(Debug, Default)]
pub(crate) struct HealthRecord {
    service_state: ServiceState,
    degraded_reason: Option<DegradedReason>,
    journal_mode: Option<String>,
    opens: u64,
    inits: u64,
    discards: u64,
    last_error: Option<String>,
    last_checkpoint: Option<(Duration, Checkpoint)>,
    pub(crate) calls: CallCounts,
    /// Which file the connections have open.
    pub(crate) file_id: Option<FileId>,
    /// Who may use it.
    pub(crate) rights: Option<Rights>,
}

/// What [`HealthRecord`] cannot know by themselves.
pub(crate) struct HealthInputs<'a> {
    pub(crate) time: Duration,
    pub(crate) probe: ProbeOutcome,
    pub(crate) breaker: &'a Breaker,
    pub(crate) breaker_counters: BreakerCounters,
    pub(crate) journal_mode: JournalMode,
    pub(crate) wal: Option<WalHealth>,
    pub(crate) borrowers: Vec<Borrower>,
    pub(crate) readers_open: u32,
    pub(crate) is_disk_full: bool,
    pub(crate) is_log_over_limit: bool,
    pub(crate) file_system: Option<FileSystem>,
    pub(crate) events: BTreeMap<&'static str, u64>,
    pub(crate) events_missed: u64,
}

impl HealthRecord {
    /// Returns whether the journal mode differs from the last known one.
    pub(crate) fn opened(&mut self, journal_mode: &str, degraded_reason: Option<DegradedReason>) -> bool {
        self.opens += 1;
        self.service_state = ServiceState::Serving;
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
        self.service_state = ServiceState::Failed;
        self.last_error = Some(error.to_string());
    }

    pub(crate) fn closed(&mut self) {
        self.service_state = ServiceState::Unopened;
    }

    pub(crate) fn health(&self, path: &Path, now: HealthInputs<'_>) -> Health {
        let breaker_state = now.breaker.state(now.time);
        let is_failing = self.service_state == ServiceState::Failed || matches!(now.probe, ProbeOutcome::Failed { .. });
        // A breaker in metrics-only mode refuses no call, whatever its state.
        let is_refusing = now.breaker.mode() != BreakerMode::MetricsOnly && breaker_state != BreakerState::Closed;
        let state = if is_failing || is_refusing {
            HealthState::Unavailable
        } else if self.service_state == ServiceState::Unopened {
            HealthState::Unopened
        } else if self.degraded_reason.is_some() {
            HealthState::Degraded
        } else if now.is_log_over_limit {
            HealthState::LogOverLimit
        } else {
            HealthState::Healthy
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
            is_log_over_limit: now.is_log_over_limit,
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
