//! The health of a database, asked without waiting for a call in progress.

use super::{Database, PooledConnection};
use crate::error::{extended_code, is_busy_code};
use crate::ffi;
use crate::health::{Checkpoint, Health, HealthInputs, ProbeOutcome, WalHealth, wal_extent};
use crate::sync::Ordering;
use rusqlite::Connection;
use std::time::Duration;

impl Database {
    /// What is known, and what the live connection answers now if no call is using it.
    pub(crate) fn health(&self) -> Health {
        let os = &*self.settings.os;
        let (probe, mut wal) = self.probe();
        if let Some(wal) = &mut wal {
            wal.bytes = os.status(&self.wal_path).ok().flatten().map_or(0, |file| file.bytes);
        }
        let time = os.now();
        let now = HealthInputs {
            time,
            probe,
            breaker: &self.breaker.snapshot(),
            breaker_counters: self.breaker.counters(),
            journal_mode: self.settings.journal_mode,
            wal,
            borrowers: self.borrowers(time),
            readers_open: self.readers.open(),
            is_disk_full: self.disk.is_full(),
            is_log_over_limit: self.is_log_over.load(Ordering::Relaxed),
            file_system: os.file_system(&self.path),
            events: self.hub.counts(),
            events_missed: self.hub.missed(),
        };
        self.record.lock().health(&self.path, now)
    }

    fn probe(&self) -> (ProbeOutcome, Option<WalHealth>) {
        let Some(state) = self.writer.try_lock() else { return (ProbeOutcome::InUse, None) };
        let Some(PooledConnection { conn, .. }) = &state.connection else { return (ProbeOutcome::NotOpen, None) };
        // The probe must not wait: it holds the writer meanwhile.
        ffi::set_busy_timeout(conn, Duration::ZERO);
        let answer = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        ffi::set_busy_timeout(conn, self.settings.busy_timeout);
        match answer {
            Ok(()) => (ProbeOutcome::Passed, log_of(conn)),
            Err(error) => match extended_code(&error) {
                Some(code) if is_busy_code(code) => (ProbeOutcome::Busy, None),
                code => (ProbeOutcome::Failed { code: code.unwrap_or(rusqlite::ffi::SQLITE_ERROR) }, None),
            },
        }
    }
}

/// How many frames the log has, and how many of them are in the database.
fn log_of(conn: &Connection) -> Option<WalHealth> {
    let Checkpoint { frames, frames_checkpointed, .. } = wal_extent(conn)?;
    Some(WalHealth { bytes: 0, frames, frames_checkpointed })
}
