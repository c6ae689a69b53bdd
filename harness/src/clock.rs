//! The clock of a run: what SQLite's `xSleep` and `xCurrentTime`, a breaker's cooldown and a fault's `stall` go by.
//!
//! Field constants are long (a cooldown of 30 s, a busy timeout of 5 s), runs are short. So the run's time is the wall
//! clock's times a *scale*: at scale 20 a sleep of 5 s takes 250 ms, and all of the run agrees that 5 s have
//! passed. At scale 0 the time is *virtual*: it moves only by sleeping, and then at once. That is right where one actor
//! runs at a time, since no other one could use the time, and it makes the run independent of the machine's speed.

use crate::runtime;
use crate::shared_state::SharedState;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Handle to the clock on a shared state.
#[derive(Clone, Debug)]
pub struct Clock {
    shared_state: Arc<SharedState>,
}

impl Clock {
    /// The clock of the run with this shared state.
    pub fn new(shared_state: Arc<SharedState>) -> Self {
        Self { shared_state }
    }

    /// Sets how many seconds of the run pass in one second; 0 makes the time virtual. For the run's creator, before it
    /// starts.
    pub fn set_scale(&self, scale: u32) {
        self.shared_state.clock_scale().store(u64::from(scale), Ordering::Relaxed);
    }

    /// How many calls the run has made.
    pub(crate) fn calls(&self) -> u64 {
        self.shared_state.calls()
    }

    /// Time since the run began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.shared_state.run_time_ns())
    }

    /// Lets `duration` of the run's time pass. For an actor of a simulated execution, others run meanwhile.
    pub fn sleep(&self, duration: Duration) {
        if runtime::sleep(duration) {
            return;
        }
        match u32::try_from(self.scale()) {
            Ok(0) => self.advance(duration),
            Ok(scale) => std::thread::sleep(duration / scale),
            Err(_) => {}
        }
    }

    /// Moves the clock forward without waiting, for the whole run.
    pub fn advance(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.shared_state.clock_offset_ns().fetch_add(ns, Ordering::Relaxed);
    }

    /// Sets virtual time, in microseconds. For the scheduler, which alone knows what time it is where actors take
    /// turns.
    #[inline]
    pub(crate) fn set_us(&self, now_us: u64) {
        self.shared_state.clock_offset_ns().store(now_us.saturating_mul(1000), Ordering::Relaxed);
    }

    fn scale(&self) -> u64 {
        self.shared_state.clock_scale().load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_moves_by_sleeping_alone() {
        let clock = Clock::new(Arc::new(SharedState::private(2)));
        clock.set_scale(0);
        assert_eq!(clock.now(), Duration::ZERO);
        clock.sleep(Duration::from_secs(3600));
        assert_eq!(clock.now(), Duration::from_secs(3600));
    }

    #[test]
    fn scaled_time_runs_faster_than_the_wall() {
        let clock = Clock::new(Arc::new(SharedState::private(2)));
        clock.set_scale(1000);
        clock.sleep(Duration::from_secs(5));
        let now = clock.now();
        assert!(now >= Duration::from_secs(5), "{now:?}");
        clock.advance(Duration::from_secs(60));
        assert!(clock.now() >= Duration::from_secs(65));
    }
}
