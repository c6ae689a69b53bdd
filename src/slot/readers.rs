//! The readers of one database: connections that read beside the writer, each on a seat of its own.
//!
//! They are guests of the writer. It opens the database, creates what is missing and finds out whether the wal-index
//! serves; only then are they *welcome*. Whenever it has to open again, it first sends them away: their connections
//! would stand in the way of an exclusive one, or belong to a file that has been replaced. A *generation* says which
//! connections are still good; one of an older generation is closed as soon as nobody uses it.
//!
//! A reader that fails does not judge the database. Its call goes to the writer, which finds out, and the readers are
//! not welcome for a while.

use crate::connection::Lent;
use crate::os::Os;
use crate::seat::{BorrowKind, Borrower, Occupied, Seat, Seated};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, Ordering, fence};
use std::panic::Location;
use std::time::Duration;

/// A waiting caller looks again after so long even if nobody has called him.
const WAIT_SLICE: Duration = Duration::from_millis(50);

pub(crate) struct Readers {
    seats: Box<[Seat<Option<Lent>>]>,
    is_welcome: AtomicBool,
    /// Until when they are not welcome whatever the writer says, in nanoseconds.
    banned_until_ns: AtomicU64,
    generation: AtomicU64,
    /// Callers who found no free seat.
    waiting: AtomicU32,
    queue: Mutex<()>,
    freed: Condvar,
}

impl Readers {
    pub(crate) fn new(count: usize) -> Readers {
        Readers {
            seats: (0..count).map(|_| Seat::new(BorrowKind::Reader, None)).collect(),
            is_welcome: AtomicBool::new(false),
            banned_until_ns: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            queue: Mutex::new(()),
            freed: Condvar::default(),
        }
    }

    /// Whether reads may go to them.
    pub(crate) fn are_welcome(&self, os: &dyn Os) -> bool {
        if self.seats.is_empty() || !self.is_welcome.load(Ordering::Acquire) {
            return false;
        }
        match self.banned_until_ns.load(Ordering::Relaxed) {
            0 => true,
            until_ns => os.now() >= Duration::from_nanos(until_ns),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The writer is open, in a way that leaves room for others.
    pub(crate) fn welcome(&self) {
        self.is_welcome.store(true, Ordering::Release);
    }

    /// One of them has failed.
    pub(crate) fn ban(&self, until: Duration) {
        self.banned_until_ns.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// Closes all that nobody uses, and makes the others be closed when they are given back.
    pub(crate) fn send_away(&self) {
        self.is_welcome.store(false, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
        for seat in &self.seats {
            if let Some(mut lent) = seat.peek() {
                *lent = None;
            }
        }
    }

    /// Whether somebody has borrowed one.
    pub(crate) fn are_out(&self) -> bool {
        self.seats.iter().any(|seat| seat.peek().is_none())
    }

    /// Closes those that nobody uses and for which `is_over` holds.
    pub(crate) fn close_if(&self, is_over: impl Fn(&Lent) -> bool) {
        for seat in &self.seats {
            if let Some(mut lent) = seat.peek() {
                lent.take_if(|lent| is_over(lent));
            }
        }
    }

    /// Waits until all are given back, so long at most; whoever is free meanwhile is closed. Returns who is left.
    pub(crate) fn drain(&self, os: &dyn Os, until: Duration) -> Vec<Borrower> {
        self.send_away();
        let mut left = Vec::new();
        for seat in &self.seats {
            match seat.peek_for(until.saturating_sub(os.now())) {
                Some(mut lent) => *lent = None,
                None => left.extend(seat.borrower(os.now())),
            }
        }
        left
    }

    /// Takes a free seat, preferring the one that the thread had before; waits so long at most.
    pub(crate) fn take(
        &self,
        os: &dyn Os,
        wait: Duration,
        location: &'static Location<'static>,
    ) -> Result<Seated<'_, Option<Lent>>, Occupied> {
        if let Some(seated) = self.try_take(os, location) {
            return Ok(seated);
        }
        // Nobody else would ever give one back.
        if let Some(own) = self.seats.iter().map(|seat| seat.is_mine(os)).reduce(Option::and).flatten() {
            return Err(Occupied::BySelf(own));
        }
        let until = os.now().saturating_add(wait);
        let mut queue = self.queue.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // Whoever gives a seat back either sees that somebody waits, or has done it before this looks.
        fence(Ordering::SeqCst);
        let result = loop {
            if let Some(seated) = self.try_take(os, location) {
                break Ok(seated);
            }
            let left = until.saturating_sub(os.now());
            if left.is_zero() {
                break Err(Occupied::By(self.oldest(os.now())));
            }
            self.freed.wait_for(&mut queue, left.min(WAIT_SLICE));
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        result
    }

    /// A seat has been given back.
    pub(crate) fn gave_back(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let _queue = self.queue.lock();
            self.freed.notify_one();
        }
    }

    /// Where the calling thread has borrowed one, if it has.
    pub(crate) fn is_mine(&self, os: &dyn Os) -> Option<&'static Location<'static>> {
        self.seats.iter().find_map(|seat| seat.is_mine(os))
    }

    pub(crate) fn borrowers(&self, now: Duration) -> impl Iterator<Item = Borrower> {
        self.seats.iter().filter_map(move |seat| seat.borrower(now))
    }

    pub(crate) fn newly_overdue(&self, now: Duration, after: Duration) -> impl Iterator<Item = Borrower> {
        self.seats.iter().filter_map(move |seat| seat.newly_overdue(now, after))
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> u32 {
        let is_open = |seat: &&Seat<Option<Lent>>| seat.peek().is_none_or(|lent| lent.is_some());
        self.seats.iter().filter(is_open).count() as u32
    }

    /// Forgets the connections without closing them: they belong to another process.
    pub(crate) fn forget(&mut self) {
        for seat in &mut self.seats {
            std::mem::forget(seat.get_mut().take());
        }
    }

    fn try_take(&self, os: &dyn Os, location: &'static Location<'static>) -> Option<Seated<'_, Option<Lent>>> {
        // Threads spread over the seats, and each comes back to its own: its pages are in that connection's cache.
        let first = (os.thread().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % self.seats.len();
        let (before, from) = self.seats.split_at(first);
        from.iter().chain(before).find_map(|seat| seat.try_take(os, location))
    }

    fn oldest(&self, now: Duration) -> Option<Borrower> {
        self.borrowers(now).max_by_key(|borrower| borrower.age)
    }
}
