//! A guard for full disks: after a write has met one, the next writes fail at once for a moment.
//!
//! A write that fails for lack of space has often written half of its pages to the log first, and each such attempt
//! takes the write lock and makes the log longer. Reads need no space and are not refused. The guard is not the
//! breaker: a database on a full disk answers.

use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct DiskGuard {
    /// Until when writes are refused, in nanoseconds; 0 while nothing is known against the disk.
    until_ns: AtomicU64,
}

impl DiskGuard {
    /// How long writes are still refused.
    pub(crate) fn refusal(&self, now: impl FnOnce() -> Duration) -> Option<Duration> {
        let until = match self.until_ns.load(Ordering::Relaxed) {
            0 => return None,
            until_ns => Duration::from_nanos(until_ns),
        };
        until.checked_sub(now()).filter(|left| !left.is_zero())
    }

    /// A write met a full disk. True if the disk was not known to be full.
    pub(crate) fn full(&self, now: Duration, pause: Duration) -> bool {
        let until_ns = u64::try_from(now.saturating_add(pause).as_nanos()).unwrap_or(u64::MAX).max(1);
        self.until_ns.swap(until_ns, Ordering::Relaxed) == 0
    }

    /// A write succeeded. True if the disk was known to be full.
    pub(crate) fn has_room(&self) -> bool {
        self.until_ns.load(Ordering::Relaxed) != 0 && self.until_ns.swap(0, Ordering::Relaxed) != 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.until_ns.load(Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_refused_for_a_moment_and_a_full_disk_is_reported_once() {
        let (guard, second) = (DiskGuard::default(), Duration::from_secs(1));
        assert_eq!(guard.refusal(|| unreachable!("the time is not needed")), None);
        assert!(guard.full(second, second));
        assert_eq!(guard.refusal(|| second * 3 / 2), Some(second / 2));
        assert_eq!(guard.refusal(|| second * 2), None);
        assert!(!guard.full(second * 2, second), "known already");
        assert!(guard.is_full() && guard.has_room());
        assert!(!guard.has_room() && !guard.is_full());
    }
}
