//! The bound of the log.
//!
//! A commit that leaves more than 1000 frames in the log, or as many as `on_connect` says, is followed by a checkpoint
//! that waits for nothing, once the names of the files have been looked at ([`Watch`](crate::ffi::Watch)). Mostly that
//! keeps the log short, since the next commit begins it anew.
//!
//! SQLite restarts a log when all of it is in the database and no snapshot is in it. Short reads that overlap keep that
//! from ever happening: each new one joins the snapshot of a running one. So when the log is over its limit, new
//! readers of this store are held back for a moment, and once the running ones have ended, the log is emptied.
//!
//! The wait is bounded, since writers wait as well. If it was in vain, because a read is long or another process reads,
//! it is tried again after a pause, which grows to ten times that long. The second time in vain is reported.

use super::Database;
use super::WriterState;
use super::connection::PooledConnection;
use super::readers::{HOLD_POLL, HOLD_POLLS_MAX, Hold};
use crate::events::{EventKind, EventQueue};
use crate::ffi;
use crate::health::{CheckpointMode, run_checkpoint};
use crate::open::LockingMode;
use crate::os::beside;
use crate::sync::Ordering;
use rusqlite::Connection;
use std::time::Duration;

/// How long new reads wait, and the writers with them.
const HOLD_MAX: Duration = Duration::from_millis(100);
/// How long SQLite waits for the snapshots of other processes.
const OTHERS_WAIT: Duration = Duration::from_millis(50);
/// After the first attempt in vain; it doubles with each one.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// So many attempts in vain are a read that is long, and not a slow moment.
const VAIN_MAX: u32 = 2;

/// So many calls on the writer, and the file is looked at in any case: other processes write as well, and not every log
/// is watched.
const CALLS_MAX: u32 = 64;

/// When the log is looked at.
#[derive(Default)]
pub(super) struct LogWatch {
    /// Calls since the last look.
    calls: u32,
    /// An attempt before this would be in vain, too.
    not_before: Duration,
    /// Attempts in vain, one after another.
    vain: u32,
}

impl LogWatch {
    /// Whether to look now. `bytes`: how long a commit has left the log.
    fn is_due(&mut self, bytes: Option<u64>, limit: u64) -> bool {
        self.calls += 1;
        let is_due = bytes.is_some_and(|bytes| bytes > limit || self.vain > 0) || self.calls >= CALLS_MAX;
        if is_due {
            self.calls = 0;
        }
        is_due
    }

    fn fail(&mut self, now: Duration) {
        self.not_before = now + PAUSE_MAX.min(PAUSE_FIRST * (1 << self.vain.min(10)));
        self.vain += 1;
    }
}

impl Database {
    /// Empties the log if it is over its limit. The caller has the writer, and is in no transaction.
    pub(super) fn bound_log(&self, state: &mut WriterState, events: &mut EventQueue) {
        let (Some(pooled), Some(limit)) = (&state.connection, self.settings.wal_limit) else { return };
        if state.log.is_due(pooled.watch().take_log_bytes(), limit) {
            self.bound_log_now(state, events);
        }
    }

    /// The same, without waiting for the next look.
    pub(super) fn bound_log_now(&self, state: &mut WriterState, events: &mut EventQueue) {
        let Some(limit) = self.settings.wal_limit else { return };
        let Some(pooled) = &state.connection else { return };
        let PooledConnection { conn, locking: LockingMode::Shared, .. } = pooled else { return };
        let bytes = self.log_bytes();
        if bytes <= limit {
            state.log.vain = 0;
            self.is_log_over.store(false, Ordering::Relaxed);
            return;
        }
        let os = &*self.settings.os;
        if state.is_orphan || os.now() < state.log.not_before || pooled.finding(os).is_some() {
            return;
        }
        if self.empty_log(conn) && self.log_bytes() <= limit {
            state.log.vain = 0;
            self.is_log_over.store(false, Ordering::Relaxed);
            return;
        }
        state.log.fail(os.now());
        if state.log.vain >= VAIN_MAX && !self.is_log_over.swap(true, Ordering::Relaxed) {
            let borrower = self.readers.borrowers(os.now()).max_by_key(|borrower| borrower.age);
            events.add(EventKind::LogOverLimit { bytes, borrower, pids: self.log_users() });
        }
    }

    /// Holds new readers of this store back and waits for the running ones, both for a moment. `None` if the calling
    /// thread is reading itself, or the others go on for longer.
    pub(super) fn hold_readers(&self) -> Option<Hold<'_>> {
        let os = &*self.settings.os;
        if self.readers.held_by_caller(os).is_some() {
            return None;
        }
        let until = os.now().saturating_add(HOLD_MAX);
        let hold = self.readers.hold(until);
        // Counted as well: a clock may stand still.
        for _ in 0..HOLD_POLLS_MAX {
            if !self.readers.are_borrowed() {
                return Some(hold);
            }
            if os.now() >= until {
                return None;
            }
            os.sleep(HOLD_POLL);
        }
        None
    }

    fn empty_log(&self, conn: &Connection) -> bool {
        let Some(_hold) = self.hold_readers() else { return false };
        // SQLite waits while it has the write lock.
        ffi::set_busy_timeout(conn, OTHERS_WAIT.min(self.settings.busy_timeout));
        let result = run_checkpoint(conn, CheckpointMode::Truncate);
        ffi::set_busy_timeout(conn, self.settings.busy_timeout);
        if let Ok(checkpoint) = result {
            self.record.lock().checkpointed(self.settings.os.now(), checkpoint);
        }
        result.is_ok_and(|checkpoint| !checkpoint.was_blocked)
    }

    fn log_bytes(&self) -> u64 {
        self.settings.os.status(&self.wal_path).ok().flatten().map_or(0, |file| file.bytes)
    }

    /// Other processes that have the log open, as far as the system tells.
    fn log_users(&self) -> Vec<u32> {
        let os = &*self.settings.os;
        let files = [self.wal_path.clone(), beside(&self.path, "-shm")];
        let ids: Vec<_> = files.iter().filter_map(|path| Some(os.status(path).ok()??.id)).collect();
        os.holders(&ids).map(|holders| holders.pids).unwrap_or_default()
    }
}
