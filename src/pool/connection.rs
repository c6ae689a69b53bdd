//! One open connection of the pool, and what the pool knows about it.

use super::files::{Files, Finding};
use crate::error::{BorrowKind, Loss};
use crate::ffi::{self, Watch, has_moved, pragmas};
use crate::open::{LockingMode, Opened, set_up};
use crate::os::Os;
use crate::settings::Settings;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The connection that the closures borrow one after another.
pub(crate) struct PooledConnection {
    pub(crate) conn: Connection,
    pub(crate) locking: LockingMode,
    /// Which files it has open, where that is known.
    pub(crate) files: Option<Files>,
    role: BorrowKind,
    watch: Watch,
    address: usize,
    /// The generation of the database's connections that it belongs to.
    pub(crate) generation: u64,
    opened_at: Duration,
    used_at: Duration,
    checked_at: Duration,
    /// Between -512 and 511: how much longer than others it lives, in 5120ths.
    jitter: i32,
}

impl PooledConnection {
    pub(crate) fn new(
        opened: Opened,
        role: BorrowKind,
        generation: u64,
        serial: u64,
        now: Duration,
    ) -> PooledConnection {
        let Opened { conn, locking, .. } = opened;
        let watch = Watch::install(&conn);
        let address = ffi::address(&conn);
        // Fibonacci hashing: consecutive serials end up far from each other.
        let jitter = (serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as i32 - 512;
        PooledConnection {
            conn,
            locking,
            files: None,
            role,
            watch,
            address,
            generation,
            opened_at: now,
            used_at: now,
            checked_at: now,
            jitter,
        }
    }

    /// Whether it has reached its lifetime, or was idle for too long.
    pub(crate) fn is_expired(&self, settings: &Settings, now: Duration) -> bool {
        let is_over = |limit: Option<Duration>, since: Duration| {
            limit.is_some_and(|limit| now.saturating_sub(since) >= self.jittered(limit))
        };
        is_over(settings.lifetime, self.opened_at) || self.is_idle(settings, now)
    }

    /// Whether it was unused for too long. The writer may be idle for any time.
    pub(crate) fn is_idle(&self, settings: &Settings, now: Duration) -> bool {
        self.role == BorrowKind::Reader
            && settings.idle.is_some_and(|idle| now.saturating_sub(self.used_at) >= self.jittered(idle))
    }

    pub(crate) fn used(&mut self, now: Duration) {
        self.used_at = now;
    }

    /// What is wrong with the names of its files, if anything is. Asks the system if it has not been asked for this
    /// long.
    pub(crate) fn finding_since(&mut self, interval: Duration, now: Duration, os: &dyn Os) -> Option<Finding> {
        if now.saturating_sub(self.checked_at) < interval {
            return None;
        }
        self.checked_at = now;
        let finding = self.finding(os);
        if let Some(files) = self.files.as_ref().filter(|_| finding.is_none()) {
            files.refresh(&self.conn, os);
        }
        finding
    }

    /// What is wrong with the names of its files, if anything is.
    pub(crate) fn finding(&self, os: &dyn Os) -> Option<Finding> {
        finding(&self.conn, self.files.as_ref(), os)
    }

    /// Resets the settings that a borrower has changed. False if the connection cannot be trusted any more.
    pub(crate) fn clean(&mut self, settings: &Settings) -> bool {
        if ffi::address(&self.conn) != self.address {
            return false;
        }
        // SQLite does not report a change through the C interface, and setting it is cheap.
        ffi::set_busy_timeout(&self.conn, settings.busy_timeout);
        match self.watch.take() {
            0 => true,
            changed if changed & pragmas::DOUBTFUL != 0 => false,
            _ => {
                // A cached statement would change the setting again without being prepared again.
                self.conn.flush_prepared_statement_cache();
                // A panic in `on_connect` must not reach the borrower, which has its result.
                let set_up = catch_unwind(AssertUnwindSafe(|| set_up(&self.conn, self.role, settings)));
                self.watch.take();
                matches!(set_up, Ok(Ok(())))
            }
        }
    }

    /// Closes the connection; returns it if SQLite refuses.
    pub(crate) fn close(self) -> Result<(), Box<(PooledConnection, rusqlite::Error)>> {
        self.conn.close().map_err(|(conn, error)| Box::new((PooledConnection { conn, ..self }, error)))
    }

    fn jittered(&self, limit: Duration) -> Duration {
        let part = limit / 5120 * self.jitter.unsigned_abs();
        if self.jitter < 0 { limit - part } else { limit.saturating_add(part) }
    }
}

/// What is wrong with the names of a connection's files. Where it is not known which they are, SQLite is asked.
pub(crate) fn finding(conn: &Connection, files: Option<&Files>, os: &dyn Os) -> Option<Finding> {
    match files {
        Some(files) => files.check(conn, os),
        None => has_moved(conn).then_some(Finding::Lost(Loss::Database)),
    }
}
