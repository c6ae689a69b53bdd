//! The readers of one database: connections that read beside the writer.
//!
//! The writer controls them. It opens the database, creates what is missing and finds out whether the wal-index works;
//! only then are the readers *enabled*. Before it opens again, it *invalidates* them: their connections would block an
//! exclusive one, or belong to a file that has been replaced. A *generation* says which connections are still valid;
//! one of an older generation is closed as soon as it is returned.
//!
//! A reader that fails decides nothing about the database. Later reads go to the writer, which finds out, and the
//! readers are *suspended* for a while.

use super::connection::PooledConnection;
use super::lease::{AcquireError, Lease, TrackedMutex};
use crate::error::{BorrowKind, Borrower};
use crate::os::Os;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, Ordering, fence};
use std::panic::Location;
use std::time::Duration;

/// A waiting caller tries again after this time even without a notification.
const WAIT_SLICE: Duration = Duration::from_millis(50);

/// How often a borrower who is held back looks.
pub(super) const HOLD_POLL: Duration = Duration::from_millis(1);

/// How often at most: for a tenth of a second.
pub(super) const HOLD_POLLS_MAX: u32 = 100;

/// New borrowers wait, until this is dropped.
pub(crate) struct Hold<'a> {
    readers: &'a Readers,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.readers.held_until_ns.store(0, Ordering::Relaxed);
    }
}

pub(crate) struct Readers {
    connections: Box<[TrackedMutex<Option<PooledConnection>>]>,
    is_enabled: AtomicBool,
    /// Until when they are suspended, in nanoseconds.
    suspended_until_ns: AtomicU64,
    generation: AtomicU64,
    /// Until when new borrowers wait, in nanoseconds; 0 if they do not.
    held_until_ns: AtomicU64,
    /// Callers that found no free reader.
    waiting: AtomicU32,
    queue: Mutex<()>,
    freed: Condvar,
}

impl Readers {
    pub(crate) fn new(count: usize) -> Readers {
        Readers {
            connections: (0..count).map(|_| TrackedMutex::new(BorrowKind::Reader, None)).collect(),
            is_enabled: AtomicBool::new(false),
            suspended_until_ns: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            held_until_ns: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            queue: Mutex::new(()),
            freed: Condvar::default(),
        }
    }

    /// Whether reads may use them.
    pub(crate) fn are_enabled(&self, os: &dyn Os) -> bool {
        if self.connections.is_empty() || !self.is_enabled.load(Ordering::Acquire) {
            return false;
        }
        match self.suspended_until_ns.load(Ordering::Relaxed) {
            0 => true,
            until_ns => os.now() >= Duration::from_nanos(until_ns),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The writer is open in shared mode: reads may use the readers.
    pub(crate) fn enable(&self) {
        self.is_enabled.store(true, Ordering::Release);
    }

    /// A reader has failed: reads use the writer until then.
    pub(crate) fn suspend(&self, until: Duration) {
        self.suspended_until_ns.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// Disables the readers and closes the idle ones; the borrowed ones are closed when they are returned.
    pub(crate) fn invalidate(&self) {
        self.is_enabled.store(false, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
        for reader in &self.connections {
            if let Some(mut connection) = reader.try_lock() {
                *connection = None;
            }
        }
    }

    /// Whether a reader is borrowed.
    pub(crate) fn are_borrowed(&self) -> bool {
        self.connections.iter().any(|reader| reader.try_lock().is_none())
    }

    /// Closes the idle readers for which `is_over` holds.
    pub(crate) fn close_if(&self, is_over: impl Fn(&PooledConnection) -> bool) {
        for reader in &self.connections {
            if let Some(mut connection) = reader.try_lock() {
                connection.take_if(|connection| is_over(connection));
            }
        }
    }

    /// Waits until all are returned, at most until `until`, and closes them. Returns the borrowers that are left.
    pub(crate) fn drain(&self, os: &dyn Os, until: Duration) -> Vec<Borrower> {
        self.invalidate();
        let mut left = Vec::new();
        for reader in &self.connections {
            match reader.try_lock_for(until.saturating_sub(os.now())) {
                Some(mut connection) => *connection = None,
                None => left.extend(reader.borrower(os.now())),
            }
        }
        left
    }

    /// Takes a free reader, by preference the one that the thread had before. Waits up to `wait`.
    pub(crate) fn take(
        &self,
        os: &dyn Os,
        wait: Duration,
        location: &'static Location<'static>,
    ) -> Result<Lease<'_, Option<PooledConnection>>, AcquireError> {
        if self.held_until_ns.load(Ordering::Relaxed) != 0 {
            self.wait_for_release(os);
        }
        if let Some(lease) = self.try_take(os, location) {
            return Ok(lease);
        }
        // The thread holds all of them itself, so none would ever be returned.
        if let Some(own) = self.connections.iter().map(|reader| reader.held_by_caller(os)).reduce(Option::and).flatten()
        {
            return Err(AcquireError::Reentrant(own));
        }
        let until = os.now().saturating_add(wait);
        let mut queue = self.queue.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // A thread that returns a reader either sees the waiting caller, or has returned it before the next attempt.
        fence(Ordering::SeqCst);
        let result = loop {
            if let Some(lease) = self.try_take(os, location) {
                break Ok(lease);
            }
            let left = until.saturating_sub(os.now());
            if left.is_zero() {
                break Err(AcquireError::Timeout(self.oldest(os.now())));
            }
            self.freed.wait_for(&mut queue, left.min(WAIT_SLICE));
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        result
    }

    /// Lets new borrowers wait until then, or until the answer is dropped.
    pub(crate) fn hold(&self, until: Duration) -> Hold<'_> {
        self.held_until_ns.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        Hold { readers: self }
    }

    fn wait_for_release(&self, os: &dyn Os) {
        // A thread that reads already is one that the others wait for.
        if self.held_by_caller(os).is_some() {
            return;
        }
        // Counted as well: a clock may stand still.
        for _ in 0..HOLD_POLLS_MAX {
            if os.now() >= Duration::from_nanos(self.held_until_ns.load(Ordering::Relaxed)) {
                return;
            }
            os.sleep(HOLD_POLL);
        }
    }

    /// A reader was returned.
    pub(crate) fn notify_released(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let _queue = self.queue.lock();
            self.freed.notify_one();
        }
    }

    /// Where the calling thread borrowed a reader, if it did.
    pub(crate) fn held_by_caller(&self, os: &dyn Os) -> Option<&'static Location<'static>> {
        self.connections.iter().find_map(|reader| reader.held_by_caller(os))
    }

    pub(crate) fn borrowers(&self, now: Duration) -> impl Iterator<Item = Borrower> {
        self.connections.iter().filter_map(move |reader| reader.borrower(now))
    }

    pub(crate) fn newly_overdue(&self, now: Duration, after: Duration) -> impl Iterator<Item = Borrower> {
        self.connections.iter().filter_map(move |reader| reader.newly_overdue(now, after))
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u32 {
        let is_open = |reader: &&TrackedMutex<Option<PooledConnection>>| {
            reader.try_lock().is_none_or(|connection| connection.is_some())
        };
        self.connections.iter().filter(is_open).count() as u32
    }

    /// Leaks the connections without closing them: they belong to another process.
    pub(crate) fn forget(&mut self) {
        for reader in &mut self.connections {
            std::mem::forget(reader.get_mut().take());
        }
    }

    fn try_take(
        &self,
        os: &dyn Os,
        location: &'static Location<'static>,
    ) -> Option<Lease<'_, Option<PooledConnection>>> {
        // Threads spread over the readers, and each returns to its own: its pages are in that connection's cache.
        let first = (os.thread().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % self.connections.len();
        let (before, from) = self.connections.split_at(first);
        from.iter().chain(before).find_map(|reader| reader.try_take(os, location))
    }

    fn oldest(&self, now: Duration) -> Option<Borrower> {
        self.borrowers(now).max_by_key(|borrower| borrower.age)
    }
}
