//! The results of the last while, counted in slices of time: the same few bytes for ten calls and for ten million.
//!
//! The clock is cut into slices of a tenth of the window. A result counts while its slice is among the ten newest: for
//! nine tenths of the window in any case, and never for longer than the window. A clock that goes back stands still
//! here: what comes then goes into the newest slice.

use std::time::Duration;

/// How finely a window is cut.
const SLICES: usize = 10;

/// Results within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Successes and failures.
    pub calls: u64,
    /// Failures.
    pub failures: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    slice_nanos: u128,
    /// The number of the newest slice, counted from the zero of the clock.
    newest: u128,
    /// Slice `n` stands at `n % SLICES`.
    slices: [WindowCounts; SLICES],
}

impl Window {
    /// An empty window. Its slices are at least a nanosecond long.
    pub(super) fn new(span: Duration) -> Window {
        let slice_nanos = (span.as_nanos() / SLICES as u128).max(1);
        Window { slice_nanos, newest: 0, slices: Default::default() }
    }

    pub(super) fn add(&mut self, now: Duration, is_failure: bool) {
        self.advance(now);
        let slice = &mut self.slices[(self.newest % SLICES as u128) as usize];
        slice.calls += 1;
        slice.failures += u64::from(is_failure);
    }

    pub(super) fn counts(&self, now: Duration) -> WindowCounts {
        let mut then = self.clone();
        then.advance(now);
        then.slices.iter().fold(WindowCounts::default(), |sum, slice| WindowCounts {
            calls: sum.calls + slice.calls,
            failures: sum.failures + slice.failures,
        })
    }

    /// Forgets the slices that have become too old; all of them after a long jump.
    fn advance(&mut self, now: Duration) {
        let number = now.as_nanos() / self.slice_nanos;
        let begun = number.saturating_sub(self.newest).min(SLICES as u128);
        for nth in 1..=begun {
            self.slices[((self.newest + nth) % SLICES as u128) as usize] = WindowCounts::default();
        }
        self.newest = self.newest.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Failures at these moments, and how many of them a window of 100 ms still sees at the end.
    #[track_caller]
    fn check(failures_at_ms: &[u64], now_ms: u64, expected: u64) {
        let mut window = Window::new(Duration::from_millis(100));
        for at in failures_at_ms {
            window.add(Duration::from_millis(*at), true);
        }
        let counts = window.counts(Duration::from_millis(now_ms));
        assert_eq!(counts, WindowCounts { calls: expected, failures: expected }, "{failures_at_ms:?} at {now_ms}");
    }

    #[test]
    fn a_result_counts_for_nine_tenths_of_the_window_and_never_longer_than_it() {
        check(&[10, 19], 10 + 90, 2);
        check(&[10], 19 + 90, 1);
        check(&[10, 19], 10 + 100, 0);
        check(&[10, 20, 119], 119, 2);
        check(&[0, 50, 120, 130], 130, 3);
    }

    #[test]
    fn a_long_jump_forgets_everything_and_a_clock_that_goes_back_stands_still() {
        check(&[0, 5, 99], 1_000_003, 0);
        check(&[0, u64::MAX], u64::MAX, 1);
        check(&[500, 0, 450], 500, 3);
        check(&[500, 0], 595, 2);
    }

    #[test]
    fn the_longest_and_the_shortest_window_work() {
        let mut window = Window::new(Duration::MAX);
        window.add(Duration::ZERO, true);
        window.add(Duration::MAX / 2, false);
        assert_eq!(window.counts(Duration::MAX / 2), WindowCounts { calls: 2, failures: 1 });
        let mut window = Window::new(Duration::ZERO);
        window.add(Duration::from_nanos(1), true);
        assert_eq!(window.counts(Duration::from_nanos(10)).calls, 1);
        assert_eq!(window.counts(Duration::from_nanos(11)).calls, 0);
        assert_eq!(window.counts(Duration::MAX).calls, 0);
    }
}
