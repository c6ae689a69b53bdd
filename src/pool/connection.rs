//! One open connection of the pool, and what the pool knows about it.

use super::files::{Files, Finding};
use crate::error::{BorrowKind, Loss};
use crate::ffi::{self, Kept, OwnedConnection, Watch, has_moved, pragmas};
use crate::open::{LockingMode, Opened, set_up};
use crate::os::Os;
use crate::settings::Settings;
use crate::sync::Arc;
use rusqlite::{CachedStatement, Connection, StatementStatus, TransactionBehavior};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A statement that is kept with each connection and depends on nothing in the database.
const CANARY: &str = "SELECT 'seawall' WHERE 0";

/// The connection that the closures borrow one after another.
pub(crate) struct PooledConnection {
    pub(crate) conn: OwnedConnection,
    pub(crate) locking: LockingMode,
    /// Which files it has open, where that is known.
    pub(super) files: Option<Arc<Files>>,
    /// Whether the present call has committed something. It is acknowledged once the names have been looked at.
    pub(super) has_written: Cell<bool>,
    role: BorrowKind,
    watch: Watch,
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
        // It runs once, so that a later look finds out whether it had to be prepared again. If it cannot run, that look
        // says so.
        let _ = is_still_prepared(&conn);
        watch.take();
        // Fibonacci hashing: consecutive serials end up far from each other.
        let jitter = (serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as i32 - 512;
        PooledConnection {
            conn: OwnedConnection::new(conn),
            locking,
            files: None,
            has_written: Cell::new(false),
            role,
            watch,
            generation,
            opened_at: now,
            used_at: now,
            checked_at: now,
            jitter,
        }
    }

    /// Keeps which files it has open, where that is known. Its commits look at their names before they checkpoint.
    pub(super) fn identified(&mut self, files: Option<Files>, os: Arc<dyn Os>) {
        self.files = files.map(Arc::new);
        let files = self.files.clone();
        self.watch.permit_checkpoints(Box::new(move |conn| finding(conn, files.as_deref(), &*os).is_none()));
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
        finding(&self.conn, self.files.as_deref(), os)
    }

    /// Resets the settings that a borrower has changed. False if the connection cannot be trusted any more.
    pub(crate) fn clean(&mut self, settings: &Settings) -> bool {
        let bits = self.watch.take();
        // Else the borrower had the connection by `&mut`, or ended the transaction: it may have done anything to it.
        let is_calm = bits & pragmas::CALM != 0;
        let is_untouched = is_calm || self.watch.is_of(&self.conn) && self.watch.has_its_hooks(&self.conn);
        if !is_untouched {
            return false;
        }
        if bits & pragmas::DOUBTFUL != 0 {
            return false;
        }
        if ffi::has_running_statement(&self.conn) && !ffi::reset_running_statements(&self.conn) {
            return false;
        }
        // SQLite does not report these changes, and setting them is cheap.
        ffi::set_busy_timeout(&self.conn, settings.busy_timeout);
        self.watch.restore_limits(&self.conn);
        self.conn.set_prepared_statement_cache_capacity(settings.statement_cache);
        if !self.watch.has_its_file_settings(&self.conn, self.role == BorrowKind::Reader) {
            return false;
        }
        if bits & pragmas::CONFIGURED != 0 && !self.set_up_again(settings) {
            return false;
        }
        if bits == pragmas::CALM {
            return true;
        }
        // SQLite may want to prepare them again, which would be mistaken for a change by the next borrower.
        self.conn.forget_statements();
        if is_calm {
            return is_still_prepared(&self.conn).is_ok();
        }
        let is_explained = bits & (pragmas::SCHEMA | pragmas::CONFIGURED) != 0;
        let is_suspect = bits & pragmas::REPREPARED != 0 && !is_explained;
        !is_suspect && self.is_as_it_was(is_explained)
    }

    fn set_up_again(&self, settings: &Settings) -> bool {
        // A cached statement would change the setting again without being prepared again.
        self.conn.flush_prepared_statement_cache();
        // A panic in `on_connect` must not reach the borrower, which has its result.
        let set_up = catch_unwind(AssertUnwindSafe(|| set_up(&self.conn, self.role, settings)));
        self.watch.rearm(&self.conn);
        self.watch.take();
        matches!(set_up, Ok(Ok(()))) && is_still_prepared(&self.conn).is_ok()
    }

    /// Whether it has its settings and its authorizer.
    ///
    /// SQLite prepares all statements again after a change of `sqlite3_db_config`, of the authorizer, of a function
    /// or a
    /// collation, and after a change of the schema. So a statement that need not be prepared again says that there was
    /// none of these. `is_explained`: the borrower has run a statement that has this effect.
    fn is_as_it_was(&mut self, is_explained: bool) -> bool {
        self.conn.set_transaction_behavior(TransactionBehavior::Deferred);
        match is_still_prepared(&self.conn) {
            Ok(Some(true)) => true,
            Ok(Some(false)) if !is_explained => false,
            Ok(_) => self.watch.has_its_flags(&self.conn) && self.is_watched(),
            Err(_) => false,
        }
    }

    /// Whether the authorizer is still the one of the watch.
    fn is_watched(&self) -> bool {
        self.watch.take();
        // It has no effect: the setting is the one in force.
        let is_prepared = self.conn.prepare("PRAGMA foreign_keys = ON").is_ok();
        is_prepared && self.watch.take() & pragmas::CONFIGURED != 0
    }

    /// Whether the borrower has attached a file or made something temporary, or changed a setting of that kind.
    pub(crate) fn has_touched_other_files(&self) -> bool {
        self.watch.bits() & pragmas::DOUBTFUL != 0
    }

    /// What is noted about it while it is borrowed.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Ends the transaction with a statement that was prepared before the borrower had the connection.
    pub(crate) fn conclude(&self, kept: Kept) -> rusqlite::Result<()> {
        let is_calm = self.conn.run(kept)?;
        self.watch.note(if is_calm { pragmas::CALM } else { pragmas::REPREPARED });
        Ok(())
    }

    /// Closes the connection; returns it if SQLite refuses.
    pub(crate) fn close(mut self) -> Result<(), Box<(PooledConnection, rusqlite::Error)>> {
        self.conn.close().map_err(|error| Box::new((self, error)))
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

/// Whether SQLite had no reason to prepare the kept statement again since it last ran; `None` if it has not run before,
/// or was flushed.
fn is_still_prepared(conn: &Connection) -> rusqlite::Result<Option<bool>> {
    let mut canary = conn.prepare_cached(CANARY)?;
    let count = |canary: &CachedStatement<'_>, status| canary.get_status(status);
    let (runs, before) = (count(&canary, StatementStatus::Run), count(&canary, StatementStatus::RePrepare));
    canary.query([])?.next()?;
    Ok((runs > 0).then(|| count(&canary, StatementStatus::RePrepare) == before))
}
