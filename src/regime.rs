//! Shared or exclusive: which way to connect next, from what the wal-index has done so far.
//!
//! A pure state machine like the breaker. Opening finds most wal-index failures by itself, in its first read. Some show
//! only later, when the index has to grow or a writer takes its lock: those are *strikes*. After two of them without a
//! successful write between, the next connection is an exclusive one, or writes would fail for ever while reads go
//! well.

use crate::events::EventKind;
use crate::health::DegradedReason;
use crate::open::LockingMode;
use std::time::Duration;

const STRIKES_MAX: u32 = 2;

/// How one database is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Regime {
    strikes: u32,
    last_strike: Option<DegradedReason>,
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
pub(crate) enum Plan {
    /// Shared, with retries.
    Healthy,
    /// The wal-index has failed; begin with this mode.
    Degraded { first: LockingMode, reason: DegradedReason },
}

impl Regime {
    /// What to do at `now`. While degraded, the shared mode is tried first once per interval.
    pub(crate) fn plan(&self, now: Duration, probe_interval: Duration) -> Plan {
        match (&self.degraded, self.last_strike) {
            (Some(degraded), _) => {
                let is_probe_due = now.saturating_sub(degraded.probed_at) >= probe_interval;
                let first = if is_probe_due { LockingMode::Shared } else { LockingMode::Exclusive };
                Plan::Degraded { first, reason: degraded.reason }
            }
            (None, Some(reason)) if self.strikes >= STRIKES_MAX => {
                Plan::Degraded { first: LockingMode::Exclusive, reason }
            }
            (None, _) => Plan::Healthy,
        }
    }

    /// A connection was opened by `plan`; `degraded` says why, if it is an exclusive one.
    pub(crate) fn opened(&mut self, plan: Plan, degraded: Option<DegradedReason>, now: Duration) -> Option<EventKind> {
        match (degraded, &mut self.degraded) {
            (None, None) => None,
            (None, Some(since)) => {
                let degraded_for = now.saturating_sub(since.since);
                self.degraded = None;
                // It serves readers. Whether it serves writers, the first of them will tell, and one more strike is
                // enough.
                self.strikes = self.strikes.min(STRIKES_MAX - 1);
                Some(EventKind::Restored { degraded_for })
            }
            (Some(reason), None) => {
                self.degraded = Some(Degraded { reason, since: now, probed_at: now });
                Some(EventKind::Degraded { reason })
            }
            (Some(_), Some(degraded)) => {
                if matches!(plan, Plan::Degraded { first: LockingMode::Shared, .. }) {
                    degraded.probed_at = now;
                }
                None
            }
        }
    }

    /// The wal-index failed under a connection that had been opened well.
    pub(crate) fn strike(&mut self, reason: DegradedReason) {
        self.strikes += 1;
        self.last_strike = Some(reason);
    }

    /// A write went through the wal-index.
    pub(crate) fn forgive(&mut self) {
        self.strikes = 0;
        self.last_strike = None;
    }

    pub(crate) fn has_strikes(&self) -> bool {
        self.strikes > 0
    }

    pub(crate) fn degraded_reason(&self) -> Option<DegradedReason> {
        self.degraded.as_ref().map(|degraded| degraded.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Operation;

    const REASON: DegradedReason = DegradedReason { code: 4874, operation: Operation::Write };
    const EXCLUSIVE: Plan = Plan::Degraded { first: LockingMode::Exclusive, reason: REASON };
    const PROBE: Plan = Plan::Degraded { first: LockingMode::Shared, reason: REASON };

    #[track_caller]
    fn check(regime: &Regime, now_secs: u64, expected: Plan) {
        assert_eq!(regime.plan(Duration::from_secs(now_secs), Duration::from_secs(5)), expected);
    }

    #[test]
    fn two_strikes_without_a_write_between_degrade() {
        let mut regime = Regime::default();
        regime.strike(REASON);
        check(&regime, 0, Plan::Healthy);
        regime.forgive();
        regime.strike(REASON);
        check(&regime, 0, Plan::Healthy);
        regime.strike(REASON);
        check(&regime, 0, EXCLUSIVE);
    }

    #[test]
    fn the_shared_mode_is_probed_once_per_interval() {
        let secs = Duration::from_secs;
        let mut regime = Regime::default();
        assert_eq!(regime.opened(Plan::Healthy, Some(REASON), secs(10)), Some(EventKind::Degraded { reason: REASON }));
        check(&regime, 14, EXCLUSIVE);
        check(&regime, 15, PROBE);
        assert_eq!(regime.opened(PROBE, Some(REASON), secs(15)), None);
        check(&regime, 19, EXCLUSIVE);
        assert_eq!(regime.opened(PROBE, None, secs(20)), Some(EventKind::Restored { degraded_for: secs(10) }));
        check(&regime, 20, Plan::Healthy);
    }

    #[test]
    fn after_a_restoration_one_strike_is_enough() {
        let mut regime = Regime::default();
        regime.strike(REASON);
        regime.strike(REASON);
        regime.opened(EXCLUSIVE, Some(REASON), Duration::ZERO);
        regime.opened(PROBE, None, Duration::from_secs(5));
        check(&regime, 5, Plan::Healthy);
        regime.strike(REASON);
        check(&regime, 5, EXCLUSIVE);
    }
}
