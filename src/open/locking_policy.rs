//! Shared or exclusive: how to open the next connection, from the failures of the wal-index so far.
//!
//! A pure state machine like the breaker. Opening finds most wal-index failures by itself, in its first read. Some
//! appear only later, when the index has to grow or a writer takes its lock: those are counted here. After two of them
//! without a successful write between, the next connection is exclusive. Otherwise writes would fail for ever while
//! reads succeed.

use super::LockingMode;
use crate::error::DegradedReason;
use crate::events::EventKind;
use std::time::Duration;

const FAILURES_MAX: u32 = 2;

/// The locking mode of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LockingPolicy {
    failures: u32,
    last_failure: Option<DegradedReason>,
    degraded: Option<Degraded>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Degraded {
    reason: DegradedReason,
    since: Duration,
    probed_at: Duration,
}

/// How to open the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenPlan {
    /// Shared, with retries.
    Healthy,
    /// The wal-index has failed; begin with this mode.
    Degraded { first: LockingMode, reason: DegradedReason },
}

impl LockingPolicy {
    /// How to open at `now`. While degraded, the shared mode is tried first once per interval.
    pub(crate) fn plan(&self, now: Duration, probe_interval: Duration) -> OpenPlan {
        match (&self.degraded, self.last_failure) {
            (Some(degraded), _) => {
                let is_probe_due = now.saturating_sub(degraded.probed_at) >= probe_interval;
                let first = if is_probe_due { LockingMode::Shared } else { LockingMode::Exclusive };
                OpenPlan::Degraded { first, reason: degraded.reason }
            }
            (None, Some(reason)) if self.failures >= FAILURES_MAX => {
                OpenPlan::Degraded { first: LockingMode::Exclusive, reason }
            }
            (None, _) => OpenPlan::Healthy,
        }
    }

    /// A connection was opened by `plan`; `degraded` says why, if it is an exclusive one.
    pub(crate) fn opened(
        &mut self,
        plan: OpenPlan,
        degraded: Option<DegradedReason>,
        now: Duration,
    ) -> Option<EventKind> {
        match (degraded, &mut self.degraded) {
            (None, None) => None,
            (None, Some(since)) => {
                let degraded_for = now.saturating_sub(since.since);
                self.degraded = None;
                // Reads work. The first write shows whether writes work, and one more failure is enough.
                self.failures = self.failures.min(FAILURES_MAX - 1);
                Some(EventKind::Restored { degraded_for })
            }
            (Some(reason), None) => {
                self.degraded = Some(Degraded { reason, since: now, probed_at: now });
                Some(EventKind::Degraded { reason })
            }
            (Some(_), Some(degraded)) => {
                if matches!(plan, OpenPlan::Degraded { first: LockingMode::Shared, .. }) {
                    degraded.probed_at = now;
                }
                None
            }
        }
    }

    /// The wal-index failed under a connection that had opened without an error.
    pub(crate) fn record_failure(&mut self, reason: DegradedReason) {
        self.failures += 1;
        self.last_failure = Some(reason);
    }

    /// A write through the wal-index succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.last_failure = None;
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.failures > 0
    }

    pub(crate) fn degraded_reason(&self) -> Option<DegradedReason> {
        self.degraded.as_ref().map(|degraded| degraded.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;

    const REASON: DegradedReason = DegradedReason { code: 4874, operation: Operation::Write };
    const EXCLUSIVE: OpenPlan = OpenPlan::Degraded { first: LockingMode::Exclusive, reason: REASON };
    const PROBE: OpenPlan = OpenPlan::Degraded { first: LockingMode::Shared, reason: REASON };

    #[track_caller]
    fn check(policy: &LockingPolicy, now_secs: u64, expected: OpenPlan) {
        assert_eq!(policy.plan(Duration::from_secs(now_secs), Duration::from_secs(5)), expected);
    }

    #[test]
    fn two_failures_without_a_write_between_degrade() {
        let mut policy = LockingPolicy::default();
        policy.record_failure(REASON);
        check(&policy, 0, OpenPlan::Healthy);
        policy.reset();
        policy.record_failure(REASON);
        check(&policy, 0, OpenPlan::Healthy);
        policy.record_failure(REASON);
        check(&policy, 0, EXCLUSIVE);
    }

    #[test]
    fn the_shared_mode_is_probed_once_per_interval() {
        let secs = Duration::from_secs;
        let mut policy = LockingPolicy::default();
        assert_eq!(
            policy.opened(OpenPlan::Healthy, Some(REASON), secs(10)),
            Some(EventKind::Degraded { reason: REASON })
        );
        check(&policy, 14, EXCLUSIVE);
        check(&policy, 15, PROBE);
        assert_eq!(policy.opened(PROBE, Some(REASON), secs(15)), None);
        check(&policy, 19, EXCLUSIVE);
        assert_eq!(policy.opened(PROBE, None, secs(20)), Some(EventKind::Restored { degraded_for: secs(10) }));
        check(&policy, 20, OpenPlan::Healthy);
    }

    #[test]
    fn after_a_restoration_one_failure_is_enough() {
        let mut policy = LockingPolicy::default();
        policy.record_failure(REASON);
        policy.record_failure(REASON);
        policy.opened(EXCLUSIVE, Some(REASON), Duration::ZERO);
        policy.opened(PROBE, None, Duration::from_secs(5));
        check(&policy, 5, OpenPlan::Healthy);
        policy.record_failure(REASON);
        check(&policy, 5, EXCLUSIVE);
    }
}
