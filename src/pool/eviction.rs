//! Closing a database that is not in use, to make room for others.

use super::Database;
use crate::open::LockingMode;
use crate::sync::Ordering;
use std::time::Duration;

impl Database {
    /// Notes that it is used, by the clock of its cache.
    pub(crate) fn note_use(&self, time: u64) {
        // Reading a shared value is cheaper than writing it.
        if self.last_use.load(Ordering::Relaxed) != time {
            self.last_use.store(time, Ordering::Relaxed);
        }
    }

    /// The last use, by the clock of its cache.
    pub(crate) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Whether it is open, and no connection has been borrowed for longer than `max_idle`.
    pub(crate) fn is_idle(&self) -> bool {
        let now = self.settings.os.now();
        let is_over = |idle| now.saturating_sub(self.writer.since()) >= idle;
        self.is_live() && self.settings.idle.is_some_and(is_over) && self.readers.open() == 0
    }

    /// Closes its connections, unless one is borrowed. Returns whether it is closed: what cannot be closed, for example
    /// because its rows are not safe yet, stays open and loses nothing.
    pub(crate) fn close_unused(&self) -> bool {
        if self.writer.try_lock().is_none() || self.readers.are_borrowed() {
            return false;
        }
        let is_closed = self.close(Duration::ZERO, false).is_ok();
        if !is_closed
            && let Some(state) = self.writer.try_lock()
            && state.connection.as_ref().is_some_and(|connection| connection.locking == LockingMode::Shared)
            && self.record.lock().is_wal()
        {
            // A call came in between. It has found the readers disabled, and the writer is as it was.
            self.readers.enable();
        }
        is_closed
    }
}
