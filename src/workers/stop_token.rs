//! A token that cancels loops: cancelled once, seen by all copies.

use crate::os::Os;
use crate::sync::{Arc, AtomicBool, Ordering};
use std::time::Duration;

/// Cancels loops. All copies share one state, and a cancellation cannot be taken back.
///
/// Nothing is interrupted: a loop at work completes its piece of work, and a loop that waits ends within
/// [`StopToken::LATENCY_MAX`].
///
/// ```
/// use seawall::{StopToken, SystemOs};
/// use std::time::Duration;
///
/// let stop = StopToken::new();
/// let token = stop.clone();
/// let ended = std::thread::spawn(move || {
///     let mut rounds = 0;
///     while !token.wait(&SystemOs::new(), Duration::from_millis(1)) {
///         rounds += 1;
///     }
///     rounds
/// });
/// stop.cancel();
/// ended.join().unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopToken {
    is_cancelled: Arc<AtomicBool>,
}

impl StopToken {
    /// The longest time until a waiting loop sees the cancellation. Waiting goes through [`Os::sleep`], so that any
    /// clock works; the cost is one load of a flag ten times a second.
    pub const LATENCY_MAX: Duration = Duration::from_millis(100);

    /// A token that has not been cancelled.
    pub fn new() -> StopToken {
        StopToken::default()
    }

    /// Cancels all loops that hold a copy.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
    }

    /// Whether the token was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }

    /// Sleeps for `pause`, or until the token is cancelled; true if it was cancelled.
    pub fn wait(&self, os: &dyn Os, pause: Duration) -> bool {
        self.wait_with(os, pause, || {})
    }

    /// As [`StopToken::wait`], with a function that runs between the slices of the sleep.
    pub(crate) fn wait_with(&self, os: &dyn Os, pause: Duration, mut between: impl FnMut()) -> bool {
        let until = os.now().saturating_add(pause);
        // The slept time counts too: a clock that stands still, or is too coarse, must not block the loop.
        let mut unslept = pause;
        loop {
            let left = until.saturating_sub(os.now()).min(unslept);
            if self.is_cancelled() || left.is_zero() {
                return self.is_cancelled();
            }
            let slice = left.min(StopToken::LATENCY_MAX);
            os.sleep(slice);
            unslept -= slice;
            between();
        }
    }
}
