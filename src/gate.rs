//! The breaker as threads share it: a lock around the state machine, and a pulse that mostly spares the lock.
//!
//! While the breaker is closed without a counted failure, passing and succeeding change nothing. One atomic word says
//! so together with the generation, and the good path needs no more than that.

use crate::breaker::{Breaker, BreakerPolicy, Permit, Refusal, Transition};
use crate::error::Error;
use crate::events::{EventKind, Notes};
use crate::os::Os;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

pub(crate) struct Gate {
    breaker: Mutex<Breaker>,
    /// `generation << 1 | calm`, written under the breaker's lock.
    pulse: AtomicU64,
}

impl Gate {
    pub(crate) fn new(policy: BreakerPolicy) -> Gate {
        let breaker = Breaker::new(policy);
        let pulse = AtomicU64::new(pulse_of(&breaker));
        Gate { breaker: Mutex::new(breaker), pulse }
    }

    pub(crate) fn admit(&self, os: &dyn Os, notes: &mut Notes) -> Result<Permit, Refusal> {
        if let Some(generation) = self.calm_generation() {
            return Ok(Permit::of_closed(generation));
        }
        let mut breaker = self.breaker.lock();
        let (permit, transition) = breaker.admit(os.now());
        self.publish(breaker);
        note(transition, None, notes);
        permit
    }

    pub(crate) fn is_current(&self, permit: Permit, os: &dyn Os) -> bool {
        self.calm_generation() == Some(permit.generation()) || self.breaker.lock().is_current(permit, os.now())
    }

    pub(crate) fn succeed(&self, permit: Permit, os: &dyn Os, notes: &mut Notes) {
        if self.calm_generation() == Some(permit.generation()) {
            return;
        }
        let mut breaker = self.breaker.lock();
        let transition = breaker.success(permit, os.now());
        self.publish(breaker);
        note(transition, None, notes);
    }

    pub(crate) fn fail(&self, permit: Permit, error: &Error, os: &dyn Os, notes: &mut Notes) {
        let mut breaker = self.breaker.lock();
        let transition = breaker.failure(permit, os.now());
        self.publish(breaker);
        note(transition, Some(error), notes);
    }

    pub(crate) fn release(&self, permit: Permit) {
        if self.calm_generation() != Some(permit.generation()) {
            self.breaker.lock().release(permit);
        }
    }

    /// A copy to look at.
    pub(crate) fn snapshot(&self) -> Breaker {
        self.breaker.lock().clone()
    }

    fn calm_generation(&self) -> Option<u64> {
        let pulse = self.pulse.load(Ordering::Acquire);
        (pulse & 1 == 1).then_some(pulse >> 1)
    }

    fn publish(&self, breaker: MutexGuard<'_, Breaker>) {
        self.pulse.store(pulse_of(&breaker), Ordering::Release);
    }
}

fn pulse_of(breaker: &Breaker) -> u64 {
    breaker.generation() << 1 | u64::from(breaker.is_calm())
}

fn note(transition: Option<Transition>, error: Option<&Error>, notes: &mut Notes) {
    let Some(transition) = transition else { return };
    notes.add(match transition {
        Transition::Tripped { generation } => {
            EventKind::BreakerTripped { generation, error: error.map(Error::to_string).unwrap_or_default() }
        }
        Transition::HalfOpened { generation } => EventKind::BreakerHalfOpened { generation },
        Transition::Recovered { generation } => EventKind::BreakerRecovered { generation },
    });
}
