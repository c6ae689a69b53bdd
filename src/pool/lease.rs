//! A mutex that records its holder: one connection, one borrower at a time.
//!
//! Without contention, acquiring costs one lock, one clock read and three atomic stores. The holder writes the record;
//! callers that time out read it, so that their error names the borrower. The record is not synchronised with the lock:
//! it may show a borrower that has just released the lease.

use crate::error::{BorrowKind, Borrower};
use crate::ffi::StaticRef;
use crate::os::Os;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use std::panic::Location;
use std::time::Duration;

/// See the module's documentation.
pub(crate) struct TrackedMutex<C> {
    kind: BorrowKind,
    value: Mutex<C>,
    location: StaticRef<Location<'static>>,
    since_ns: AtomicU64,
    thread: AtomicU64,
    /// The `since_ns` of the borrow that has been reported as overdue, so that it is reported once.
    overdue_ns: AtomicU64,
}

/// The held mutex; dropping it releases it.
pub(crate) struct Lease<'a, C> {
    mutex: &'a TrackedMutex<C>,
    pub(crate) value: MutexGuard<'a, C>,
    /// When it was acquired.
    pub(crate) since: Duration,
}

/// Why a mutex was not acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcquireError {
    /// The calling thread holds it itself and would wait for ever.
    Reentrant(&'static Location<'static>),
    /// The caller waited for too long. `None` if no holder is recorded.
    Timeout(Option<Borrower>),
}

impl<C> TrackedMutex<C> {
    pub(crate) fn new(kind: BorrowKind, value: C) -> TrackedMutex<C> {
        TrackedMutex {
            kind,
            value: Mutex::new(value),
            location: StaticRef::none(),
            since_ns: AtomicU64::new(0),
            thread: AtomicU64::new(0),
            overdue_ns: AtomicU64::new(u64::MAX),
        }
    }

    /// Acquires the mutex; waits up to `wait`.
    pub(crate) fn take(
        &self,
        os: &dyn Os,
        wait: Duration,
        location: &'static Location<'static>,
    ) -> Result<Lease<'_, C>, AcquireError> {
        if let Some(value) = self.value.try_lock() {
            return Ok(self.grant(os, value, location));
        }
        if let Some(own) = self.held_by_caller(os) {
            return Err(AcquireError::Reentrant(own));
        }
        match self.value.try_lock_for(wait) {
            Some(value) => Ok(self.grant(os, value, location)),
            None => Err(AcquireError::Timeout(self.borrower(os.now()))),
        }
    }

    /// Acquires the mutex if it is free.
    pub(crate) fn try_take(&self, os: &dyn Os, location: &'static Location<'static>) -> Option<Lease<'_, C>> {
        Some(self.grant(os, self.value.try_lock()?, location))
    }

    /// Locks a free mutex without recording a holder.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, C>> {
        self.value.try_lock()
    }

    /// Waits up to `wait` for the mutex and locks it without recording a holder.
    pub(crate) fn try_lock_for(&self, wait: Duration) -> Option<MutexGuard<'_, C>> {
        self.value.try_lock_for(wait)
    }

    /// The value, through exclusive access.
    pub(crate) fn get_mut(&mut self) -> &mut C {
        self.value.get_mut()
    }

    /// The current borrower.
    pub(crate) fn borrower(&self, now: Duration) -> Option<Borrower> {
        let location = self.location.load()?;
        let since = Duration::from_nanos(self.since_ns.load(Ordering::Relaxed));
        Some(Borrower { kind: self.kind, location, age: now.saturating_sub(since) })
    }

    /// When it was last acquired.
    pub(crate) fn since(&self) -> Duration {
        Duration::from_nanos(self.since_ns.load(Ordering::Relaxed))
    }

    /// The borrower that has held it for at least `after`, unless it was reported already.
    pub(crate) fn newly_overdue(&self, now: Duration, after: Duration) -> Option<Borrower> {
        let since_ns = self.since_ns.load(Ordering::Relaxed);
        let borrower = self.borrower(now).filter(|borrower| borrower.age >= after)?;
        (self.overdue_ns.swap(since_ns, Ordering::Relaxed) != since_ns).then_some(borrower)
    }

    /// Where the calling thread acquired it, if it holds it.
    pub(crate) fn held_by_caller(&self, os: &dyn Os) -> Option<&'static Location<'static>> {
        self.location.load().filter(|_| self.thread.load(Ordering::Relaxed) == os.thread())
    }

    fn grant<'a>(
        &'a self,
        os: &dyn Os,
        value: MutexGuard<'a, C>,
        location: &'static Location<'static>,
    ) -> Lease<'a, C> {
        let since = os.now();
        self.since_ns.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.thread.store(os.thread(), Ordering::Relaxed);
        self.location.store(Some(location));
        Lease { mutex: self, value, since }
    }
}

impl<C> Drop for Lease<'_, C> {
    fn drop(&mut self) {
        // Before the lock is released, which the drop of the field does after this.
        self.mutex.location.store(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemOs;

    fn here() -> &'static Location<'static> {
        Location::caller()
    }

    #[test]
    fn a_timed_out_caller_gets_the_borrower() {
        let (os, mutex) = (SystemOs::new(), TrackedMutex::new(BorrowKind::Writer, 1));
        let location = here();
        let lease = mutex.take(&os, Duration::ZERO, location).unwrap_or_else(|_| panic!("it is free"));
        assert_eq!(mutex.held_by_caller(&os), Some(location));
        assert!(matches!(mutex.take(&os, Duration::MAX, here()), Err(AcquireError::Reentrant(at)) if at == location));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let wait = Duration::from_millis(5);
                let Err(AcquireError::Timeout(Some(borrower))) = mutex.take(&os, wait, here()) else { panic!("taken") };
                assert_eq!((borrower.kind, borrower.location), (BorrowKind::Writer, location));
                assert!(borrower.age >= wait, "{borrower}");
                assert!(borrower.to_string().contains("lease.rs"), "{borrower}");
            });
        });
        drop(lease);
        assert_eq!(mutex.borrower(os.now()), None);
        assert!(mutex.try_take(&os, here()).is_some());
    }

    #[test]
    fn an_overdue_borrow_is_reported_once() {
        let (os, mutex) = (SystemOs::new(), TrackedMutex::new(BorrowKind::Reader, ()));
        let lease = mutex.try_take(&os, here());
        let later = os.now() + Duration::from_secs(60);
        assert_eq!(mutex.newly_overdue(later, Duration::from_secs(90)), None);
        assert!(mutex.newly_overdue(later, Duration::from_secs(30)).is_some());
        assert_eq!(mutex.newly_overdue(later, Duration::from_secs(30)), None);
        drop(lease);
        let _lease = mutex.try_take(&os, here());
        assert!(mutex.newly_overdue(later * 2, Duration::from_secs(30)).is_some(), "another borrow");
    }
}
