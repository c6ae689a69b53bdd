//! The wish to end: asked for once, seen by everybody who holds a copy.

use crate::os::Os;
use crate::sync::{Arc, AtomicBool, Ordering};
use std::time::Duration;

/// Asks loops to end. Copies are one and the same wish; it cannot be taken back.
///
/// Nothing is interrupted: whoever is at work ends his piece of work, and whoever waits notices within
/// [`Stop::LATENCY_MAX`].
///
/// ```
/// use seawall::{Os, Stop, SystemOs};
/// use std::time::Duration;
///
/// let stop = Stop::new();
/// let loop_of_somebody = stop.clone();
/// let ended = std::thread::spawn(move || {
///     let mut turns = 0;
///     while !loop_of_somebody.wait(&SystemOs::new(), Duration::from_millis(1)) {
///         turns += 1;
///     }
///     turns
/// });
/// stop.ask();
/// ended.join().unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stop {
    is_asked: Arc<AtomicBool>,
}

impl Stop {
    /// A waiting loop notices the wish at the latest after so long. Waiting goes through [`Os::sleep`], so that any
    /// clock will do; the price is a look at a flag ten times a second.
    pub const LATENCY_MAX: Duration = Duration::from_millis(100);

    /// A wish that nobody has uttered yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks all who hold a copy to end.
    pub fn ask(&self) {
        self.is_asked.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::SeqCst)
    }

    /// Sleeps so long, or until somebody asks; true if somebody did.
    pub fn wait(&self, os: &dyn Os, pause: Duration) -> bool {
        self.wait_with(os, pause, || {})
    }

    /// As [`Stop::wait`], with something to do between the slices of the sleep.
    pub(crate) fn wait_with(&self, os: &dyn Os, pause: Duration, mut between: impl FnMut()) -> bool {
        let until = os.now().saturating_add(pause);
        // What was slept counts as well: a clock that stands still, or is too coarse, does not hold anybody up.
        let mut unslept = pause;
        loop {
            let left = until.saturating_sub(os.now()).min(unslept);
            if self.is_asked() || left.is_zero() {
                return self.is_asked();
            }
            let slice = left.min(Stop::LATENCY_MAX);
            os.sleep(slice);
            unslept -= slice;
            between();
        }
    }
}
