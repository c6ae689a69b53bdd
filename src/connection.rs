//! One open connection as it lies on its seat, with what has to be known about it.

use crate::builder::Settings;
use crate::ffi::{self, Watch, has_moved};
use crate::hygiene;
use crate::open::{LockingMode, Opened, Role, set_up};
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The connection that is lent to one closure after the other.
pub(crate) struct Lent {
    pub(crate) conn: Connection,
    pub(crate) locking: LockingMode,
    role: Role,
    watch: Watch,
    address: usize,
    /// The generation of the slot's connections that it belongs to.
    pub(crate) generation: u64,
    opened_at: Duration,
    used_at: Duration,
    checked_at: Duration,
    /// Between -512 and 511: how much longer than others it lives, in 5120ths.
    jitter: i32,
}

impl Lent {
    pub(crate) fn new(opened: Opened, role: Role, generation: u64, serial: u64, now: Duration) -> Lent {
        let Opened { conn, locking, .. } = opened;
        let watch = Watch::install(&conn);
        let address = ffi::address(&conn);
        // Fibonacci hashing: consecutive serials end up far from each other.
        let jitter = (serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as i32 - 512;
        Lent { conn, locking, role, watch, address, generation, opened_at: now, used_at: now, checked_at: now, jitter }
    }

    /// Whether it has had its time, or has lain about for too long.
    pub(crate) fn is_spent(&self, settings: &Settings, now: Duration) -> bool {
        let is_over = |limit: Option<Duration>, since: Duration| {
            limit.is_some_and(|limit| now.saturating_sub(since) >= self.jittered(limit))
        };
        is_over(settings.lifetime, self.opened_at) || self.is_idle(settings, now)
    }

    /// Whether nobody has used it for too long. The writer may lie about as long as it likes.
    pub(crate) fn is_idle(&self, settings: &Settings, now: Duration) -> bool {
        self.role == Role::Reader
            && settings.idle.is_some_and(|idle| now.saturating_sub(self.used_at) >= self.jittered(idle))
    }

    pub(crate) fn used(&mut self, now: Duration) {
        self.used_at = now;
    }

    /// Whether the file under the connection has lost its name to another one, or altogether. Asks the system if it
    /// has not been asked for this long.
    pub(crate) fn has_moved_since(&mut self, interval: Duration, now: Duration) -> bool {
        if now.saturating_sub(self.checked_at) < interval {
            return false;
        }
        self.checked_at = now;
        has_moved(&self.conn)
    }

    /// Puts the settings in order that a borrower has changed. False if it cannot be trusted with that.
    pub(crate) fn clean(&mut self, settings: &Settings) -> bool {
        if ffi::address(&self.conn) != self.address {
            return false;
        }
        // SQLite does not tell when it is changed through the interface rather than a pragma, and setting it is cheap.
        ffi::set_busy_timeout(&self.conn, settings.busy_timeout);
        match self.watch.take() {
            0 => true,
            changed if changed & hygiene::DOUBTFUL != 0 => false,
            _ => {
                // A statement that is kept would change the setting again without being prepared again.
                self.conn.flush_prepared_statement_cache();
                // A panic in `on_connect` is not for the borrower, who has his result.
                let set_up = catch_unwind(AssertUnwindSafe(|| set_up(&self.conn, self.role, settings)));
                self.watch.take();
                matches!(set_up, Ok(Ok(())))
            }
        }
    }

    /// Closes the connection; gives it back if SQLite refuses.
    pub(crate) fn close(self) -> Result<(), Box<(Lent, rusqlite::Error)>> {
        let Lent { conn, locking, role, watch, address, generation, opened_at, used_at, checked_at, jitter } = self;
        conn.close().map_err(|(conn, error)| {
            let lent = Lent { conn, locking, role, watch, address, generation, opened_at, used_at, checked_at, jitter };
            Box::new((lent, error))
        })
    }

    fn jittered(&self, limit: Duration) -> Duration {
        let part = limit / 5120 * self.jitter.unsigned_abs();
        if self.jitter < 0 { limit - part } else { limit.saturating_add(part) }
    }
}
