//! A seat: one connection's place, for one borrower at a time, with a name plate that tells who sits there.
//!
//! The lock is the seat's whole cost on the good path. The plate is written by whoever has taken the seat and read by
//! those who wait in vain, so that their error can say for whom they waited. It is a note, not a lock: a reader may see
//! the plate of a borrower who has just left.

use crate::ffi::StaticRef;
use crate::os::Os;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// What a borrower has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BorrowKind {
    /// The one connection that writes.
    Writer,
    /// One of those that only read.
    Reader,
}

/// Somebody who has borrowed a connection and not given it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Borrower {
    /// What he has.
    pub kind: BorrowKind,
    /// Where in the source he asked for it.
    pub location: &'static Location<'static>,
    /// For how long he has had it.
    pub age: Duration,
}

impl fmt::Display for Borrower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            BorrowKind::Writer => "the writer",
            BorrowKind::Reader => "a reader",
        };
        write!(f, "{kind} borrowed at {} {:?} ago", self.location, self.age)
    }
}

/// See the module's documentation.
pub(crate) struct Seat<C> {
    kind: BorrowKind,
    core: Mutex<C>,
    location: StaticRef<Location<'static>>,
    since_ns: AtomicU64,
    thread: AtomicU64,
    /// The `since_ns` of the borrow that has been reported as overdue, so that it is reported once.
    overdue_ns: AtomicU64,
}

/// A taken seat.
pub(crate) struct Seated<'a, C> {
    seat: &'a Seat<C>,
    pub(crate) core: MutexGuard<'a, C>,
    /// When it was taken.
    pub(crate) since: Duration,
}

/// Why a seat was not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occupied {
    /// By the asking thread itself: to wait would be to wait for ever.
    BySelf(&'static Location<'static>),
    /// By somebody, for longer than the caller would wait. Nobody, if he left at the last moment.
    By(Option<Borrower>),
}

impl<C> Seat<C> {
    pub(crate) fn new(kind: BorrowKind, core: C) -> Seat<C> {
        Seat {
            kind,
            core: Mutex::new(core),
            location: StaticRef::none(),
            since_ns: AtomicU64::new(0),
            thread: AtomicU64::new(0),
            overdue_ns: AtomicU64::new(u64::MAX),
        }
    }

    /// Takes the seat; waits so long at most.
    pub(crate) fn take(
        &self,
        os: &dyn Os,
        wait: Duration,
        location: &'static Location<'static>,
    ) -> Result<Seated<'_, C>, Occupied> {
        if let Some(core) = self.core.try_lock() {
            return Ok(self.sit(os, core, location));
        }
        if let Some(own) = self.is_mine(os) {
            return Err(Occupied::BySelf(own));
        }
        match self.core.try_lock_for(wait) {
            Some(core) => Ok(self.sit(os, core, location)),
            None => Err(Occupied::By(self.borrower(os.now()))),
        }
    }

    /// Takes the seat if it is free.
    pub(crate) fn try_take(&self, os: &dyn Os, location: &'static Location<'static>) -> Option<Seated<'_, C>> {
        Some(self.sit(os, self.core.try_lock()?, location))
    }

    /// Looks into a free seat without sitting down.
    pub(crate) fn peek(&self) -> Option<MutexGuard<'_, C>> {
        self.core.try_lock()
    }

    /// Waits for the seat and looks into it without sitting down.
    pub(crate) fn peek_for(&self, wait: Duration) -> Option<MutexGuard<'_, C>> {
        self.core.try_lock_for(wait)
    }

    /// The value, which nobody else can reach.
    pub(crate) fn get_mut(&mut self) -> &mut C {
        self.core.get_mut()
    }

    /// Who sits here.
    pub(crate) fn borrower(&self, now: Duration) -> Option<Borrower> {
        let location = self.location.load()?;
        let since = Duration::from_nanos(self.since_ns.load(Ordering::Relaxed));
        Some(Borrower { kind: self.kind, location, age: now.saturating_sub(since) })
    }

    /// Who has been sitting here for longer than this, unless that has been said of him already.
    pub(crate) fn newly_overdue(&self, now: Duration, after: Duration) -> Option<Borrower> {
        let since_ns = self.since_ns.load(Ordering::Relaxed);
        let borrower = self.borrower(now).filter(|borrower| borrower.age >= after)?;
        (self.overdue_ns.swap(since_ns, Ordering::Relaxed) != since_ns).then_some(borrower)
    }

    /// Where the calling thread has sat down here, if it has.
    pub(crate) fn is_mine(&self, os: &dyn Os) -> Option<&'static Location<'static>> {
        self.location.load().filter(|_| self.thread.load(Ordering::Relaxed) == os.thread())
    }

    fn sit<'a>(&'a self, os: &dyn Os, core: MutexGuard<'a, C>, location: &'static Location<'static>) -> Seated<'a, C> {
        let since = os.now();
        self.since_ns.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.thread.store(os.thread(), Ordering::Relaxed);
        self.location.store(Some(location));
        Seated { seat: self, core, since }
    }
}

impl<C> Drop for Seated<'_, C> {
    fn drop(&mut self) {
        // Before the lock is given back, which the field's own drop does after this.
        self.seat.location.store(None);
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
    fn who_waits_in_vain_learns_for_whom() {
        let (os, seat) = (SystemOs::new(), Seat::new(BorrowKind::Writer, 1));
        let location = here();
        let seated = seat.take(&os, Duration::ZERO, location).unwrap_or_else(|_| panic!("it is free"));
        assert_eq!(seat.is_mine(&os), Some(location));
        assert!(matches!(seat.take(&os, Duration::MAX, here()), Err(Occupied::BySelf(at)) if at == location));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let wait = Duration::from_millis(5);
                let Err(Occupied::By(Some(borrower))) = seat.take(&os, wait, here()) else { panic!("taken") };
                assert_eq!((borrower.kind, borrower.location), (BorrowKind::Writer, location));
                assert!(borrower.age >= wait, "{borrower}");
                assert!(borrower.to_string().contains("seat.rs"), "{borrower}");
            });
        });
        drop(seated);
        assert_eq!(seat.borrower(os.now()), None);
        assert!(seat.try_take(&os, here()).is_some());
    }

    #[test]
    fn an_overdue_borrow_is_told_once() {
        let (os, seat) = (SystemOs::new(), Seat::new(BorrowKind::Reader, ()));
        let seated = seat.try_take(&os, here());
        let later = os.now() + Duration::from_secs(60);
        assert_eq!(seat.newly_overdue(later, Duration::from_secs(90)), None);
        assert!(seat.newly_overdue(later, Duration::from_secs(30)).is_some());
        assert_eq!(seat.newly_overdue(later, Duration::from_secs(30)), None);
        drop(seated);
        let _seated = seat.try_take(&os, here());
        assert!(seat.newly_overdue(later * 2, Duration::from_secs(30)).is_some(), "another borrow");
    }
}
