//! The breaker as threads share it: a lock around the state machine, and a state word that makes the lock unnecessary
//! for most calls.
//!
//! While the breaker is closed without a counted failure and without a window, admissions and successes change only
//! counters. One atomic word holds that fact and the generation. The fast path reads it twice and increments a counter
//! at the end. With a rate threshold, or while the breaker is disabled or forced open, every call takes the lock.
//!
//! Transitions are queued as events, which the caller emits once it holds no lock. Two threads may emit theirs in
//! either order; the generations give the true order.

use crate::breaker::{Breaker, BreakerCounters, BreakerMode, BreakerPolicy, Permit, Refusal, Transition};
use crate::error::Error;
use crate::events::{EventKind, EventQueue};
use crate::os::Os;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

pub(crate) struct SharedBreaker {
    breaker: Mutex<Breaker>,
    /// `generation << 1 | can_skip_lock`, written under the breaker's lock.
    state_word: AtomicU64,
    fast_path: FastPathCounters,
}

/// What passed without the lock. It has its own cache lines: all threads write here, and read the state word.
#[derive(Default)]
#[repr(align(128))]
struct FastPathCounters {
    /// Admitted and succeeded without the lock: almost every call.
    passed: AtomicU64,
    /// Admitted without the lock; the outcome is counted under the lock, if at all.
    admitted: AtomicU64,
    /// Succeeded without the lock; the admission was counted under the lock.
    successes: AtomicU64,
}

impl SharedBreaker {
    pub(crate) fn new(policy: BreakerPolicy) -> SharedBreaker {
        let breaker = Breaker::new(policy);
        let state_word = AtomicU64::new(state_word_of(&breaker));
        SharedBreaker { breaker: Mutex::new(breaker), state_word, fast_path: FastPathCounters::default() }
    }

    pub(crate) fn admit(&self, os: &dyn Os, events: &mut EventQueue) -> Result<Permit, Refusal> {
        if let Some(generation) = self.fast_path_generation() {
            return Ok(Permit::uncounted(generation));
        }
        let mut breaker = self.breaker.lock();
        let (permit, transition) = breaker.admit(os.now());
        self.publish(breaker);
        queue(transition, None, events);
        permit
    }

    pub(crate) fn is_current(&self, permit: Permit, os: &dyn Os) -> bool {
        self.fast_path_generation() == Some(permit.generation()) || self.breaker.lock().is_current(permit, os.now())
    }

    pub(crate) fn succeed(&self, permit: Permit, os: &dyn Os, events: &mut EventQueue) {
        if self.fast_path_generation() == Some(permit.generation()) {
            let counter = if permit.is_uncounted() { &self.fast_path.passed } else { &self.fast_path.successes };
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.count(permit);
        let mut breaker = self.breaker.lock();
        let transition = breaker.success(permit, os.now());
        self.publish(breaker);
        queue(transition, None, events);
    }

    pub(crate) fn fail(&self, permit: Permit, error: &Error, os: &dyn Os, events: &mut EventQueue) {
        self.count(permit);
        let mut breaker = self.breaker.lock();
        let transition = breaker.failure(permit, os.now());
        self.publish(breaker);
        queue(transition, Some(error), events);
    }

    pub(crate) fn release(&self, permit: Permit) {
        self.count(permit);
        if self.fast_path_generation() != Some(permit.generation()) {
            self.breaker.lock().release(permit);
        }
    }

    pub(crate) fn set_mode(&self, mode: BreakerMode, events: &mut EventQueue) {
        let mut breaker = self.breaker.lock();
        let transition = breaker.set_mode(mode);
        self.publish(breaker);
        queue(transition, None, events);
    }

    /// A copy of the machine. Its counters lack what passed without the lock: see [`SharedBreaker::counters`].
    pub(crate) fn snapshot(&self) -> Breaker {
        self.breaker.lock().clone()
    }

    /// What has happened so far, with or without the lock. Each number only grows. Callers that passed without the lock
    /// are counted once they report.
    pub(crate) fn counters(&self) -> BreakerCounters {
        let mut counters = self.breaker.lock().counters();
        let passed = self.fast_path.passed.load(Ordering::Relaxed);
        counters.admitted += passed + self.fast_path.admitted.load(Ordering::Relaxed);
        counters.successes += passed + self.fast_path.successes.load(Ordering::Relaxed);
        counters
    }

    fn count(&self, permit: Permit) {
        if permit.is_uncounted() {
            self.fast_path.admitted.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fast_path_generation(&self) -> Option<u64> {
        let state_word = self.state_word.load(Ordering::Acquire);
        (state_word & 1 == 1).then_some(state_word >> 1)
    }

    fn publish(&self, breaker: MutexGuard<'_, Breaker>) {
        self.state_word.store(state_word_of(&breaker), Ordering::Release);
    }
}

fn state_word_of(breaker: &Breaker) -> u64 {
    breaker.generation() << 1 | u64::from(breaker.can_skip_lock())
}

fn queue(transition: Option<Transition>, error: Option<&Error>, events: &mut EventQueue) {
    let Some(transition) = transition else { return };
    events.add(match transition {
        Transition::Tripped { generation } => {
            EventKind::BreakerTripped { generation, error: error.map(Error::to_string).unwrap_or_default() }
        }
        Transition::HalfOpened { generation } => EventKind::BreakerHalfOpened { generation },
        Transition::Recovered { generation } => EventKind::BreakerRecovered { generation },
        Transition::ModeChanged { generation, mode } => EventKind::BreakerModeChanged { generation, mode },
    });
}

#[cfg(test)]
mod tests;
