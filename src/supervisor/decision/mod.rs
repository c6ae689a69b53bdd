//! What to do about a backend, decided from its failures and its probes: a pure state machine, no clock, no I/O.
//!
//! The same table stands in the documentation of [`supervisor`](super); here it is carried out.

use super::backend::Probe;
use super::policy::SupervisorPolicy;
use std::fmt;
use std::time::Duration;

/// Which of the two backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The backend proper.
    Primary,
    /// What stands in for it.
    Fallback,
}

/// The outcome of an item, as far as the backend is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    /// It succeeded.
    Success,
    /// The backend failed it.
    BackendFailure,
    /// It failed, and the backend had no part in it: a locked database, a faulty item.
    Exempt,
}

/// How to go on after an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// With the next item.
    GoOn,
    /// With the same item on the fallback.
    FallBack,
    /// Not in this batch: the circuit broke.
    EndBatch,
}

/// What was found after a batch. Every check is made after every batch, whatever the others say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// So many failures in a row that the batch was ended early.
    pub circuit_broken: bool,
    /// Of the items that were attempted and that the backend had a part in, too many failed.
    pub fail_ratio_high: bool,
    /// No item was finished for so long that the batch was ended early.
    pub stalled: bool,
}

impl Findings {
    /// Whether anything was found. If not, there is no reason to probe.
    pub fn any(self) -> bool {
        self.circuit_broken || self.fail_ratio_high || self.stalled
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: run the next batch.
    Continue,
    /// Wait, then the next batch.
    Pause(Duration),
    /// Restart the backend; [`BackendMonitor::restarted`] judges what comes of it.
    Restart,
    /// Use the fallback from here on.
    FallBack,
    /// No further batch.
    Stop(StopReason),
}

/// Why there is no further batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The token was cancelled.
    Cancelled,
    /// The circuit broke although the backend answers its probes: a restart would not help.
    CircuitBroken,
    /// The backend is dead, and may not be restarted, or has been too often.
    Dead,
    /// The backend has answered neither work nor probes for long, and may not be restarted, or has been too often.
    Hung,
    /// The backend was restarted and did not come back in time.
    NotRecovered,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::Cancelled => "asked to stop",
            StopReason::CircuitBroken => {
                "the backend answers its probes and fails every item: look at its log and at the requests"
            }
            StopReason::Dead => "the backend is dead and may not be restarted (again): start it by hand",
            StopReason::Hung => "the backend hangs and may not be restarted (again): restart it by hand",
            StopReason::NotRecovered => "the backend was restarted and did not come back in time: look at its log",
        })
    }
}

/// What to do about a primary while its fallback works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryCheck {
    /// It answers: go back to it.
    Return,
    /// It is dead: restart it, and do not wait for it.
    Restart,
    /// Leave it alone.
    Stay,
}

/// The monitor of one supervisor's backends.
///
/// ```
/// use seawall::supervisor::decision::{BackendMonitor, Decision, ItemOutcome};
/// use seawall::supervisor::{Probe, SupervisorPolicy};
///
/// let policy = SupervisorPolicy::default();
/// let mut monitor = BackendMonitor::new(policy.clone(), false);
/// monitor.begin_batch();
/// for _ in 0..5 {
///     monitor.item(ItemOutcome::BackendFailure);
/// }
/// assert!(monitor.findings().fail_ratio_high);
/// assert_eq!(monitor.decide(Probe::Alive), Decision::Pause(policy.pause));
/// ```
#[derive(Clone, Debug)]
pub struct BackendMonitor {
    policy: SupervisorPolicy,
    has_fallback: bool,
    side: Side,
    primary: SideRecord,
    fallback: SideRecord,
    batch: Batch,
}

/// The record of one side.
#[derive(Clone, Debug, Default)]
struct SideRecord {
    /// Failures since the last success or recovery.
    consecutive: u32,
    /// Judgements in a row for which the probe timed out.
    timeouts: u32,
    /// Restarts since the last success.
    restarts: u32,
}

/// The record of the batch, since its beginning or since the change of sides.
#[derive(Clone, Debug, Default)]
struct Batch {
    successes: u64,
    failures: u64,
    findings: Findings,
}

impl BackendMonitor {
    /// A monitor that has seen nothing.
    pub fn new(policy: SupervisorPolicy, has_fallback: bool) -> BackendMonitor {
        let (primary, fallback, batch) = (SideRecord::default(), SideRecord::default(), Batch::default());
        BackendMonitor { policy, has_fallback, side: Side::Primary, primary, fallback, batch }
    }

    /// The side in use.
    pub fn side(&self) -> Side {
        self.side
    }

    /// A batch begins.
    pub fn begin_batch(&mut self) {
        self.batch = Batch::default();
    }

    /// An item is finished, with all of its retries.
    pub fn item(&mut self, outcome: ItemOutcome) -> NextStep {
        match outcome {
            ItemOutcome::Success => {
                self.batch.successes += 1;
                *self.record() = SideRecord::default();
                NextStep::GoOn
            }
            ItemOutcome::Exempt => NextStep::GoOn,
            ItemOutcome::BackendFailure => {
                self.batch.failures += 1;
                let record = self.record();
                record.consecutive = record.consecutive.saturating_add(1);
                let consecutive = record.consecutive;
                if self.may_fall_back() && consecutive >= self.policy.fallback_after.max(1) {
                    return NextStep::FallBack;
                }
                if consecutive < self.policy.breaker_failures_max.max(1) {
                    return NextStep::GoOn;
                }
                self.batch.findings.circuit_broken = true;
                NextStep::EndBatch
            }
        }
    }

    /// The batch was ended because no item was finished.
    pub fn stalled(&mut self) {
        self.batch.findings.stalled = true;
    }

    /// The findings about the batch.
    pub fn findings(&self) -> Findings {
        let Batch { successes, failures, findings } = &self.batch;
        // Items that were not attempted, and those that the backend had no part in, count on neither side.
        let is_high = failures.saturating_mul(100)
            >= (successes + failures).saturating_mul(u64::from(self.policy.fail_ratio_percent));
        Findings { fail_ratio_high: *failures > 0 && is_high, ..*findings }
    }

    /// What is to be done after the batch, given the probe that was made if there are [`Findings::any`].
    pub fn decide(&mut self, probe: Probe) -> Decision {
        let findings = self.findings();
        if !findings.any() {
            return Decision::Continue;
        }
        self.record().timeouts = if probe == Probe::TimedOut { self.record().timeouts.saturating_add(1) } else { 0 };
        match probe {
            Probe::Dead => self.restart_or(StopReason::Dead),
            Probe::TimedOut if findings.stalled || self.record().timeouts > self.policy.timeouts_max => {
                self.restart_or(StopReason::Hung)
            }
            // A timeout is not a death: the backend may be loading a model.
            Probe::TimedOut => Decision::Pause(self.policy.pause),
            Probe::Alive | Probe::Unwell if findings.circuit_broken => self.give_up(StopReason::CircuitBroken),
            Probe::Alive | Probe::Unwell => Decision::Pause(self.policy.pause),
        }
    }

    /// What is to be done after a restart.
    pub fn restarted(&mut self, is_recovered: bool) -> Decision {
        if !is_recovered {
            return self.give_up(StopReason::NotRecovered);
        }
        let restarts = self.record().restarts;
        *self.record() = SideRecord { restarts, ..SideRecord::default() };
        // The circuit's part is settled. The other check holds as well: a high ratio, and a backend that is alive.
        let findings = self.findings();
        if findings.circuit_broken && findings.fail_ratio_high {
            Decision::Pause(self.policy.pause)
        } else {
            Decision::Continue
        }
    }

    /// What is to be done about the primary, if the fallback is in use.
    pub fn check_primary(&mut self, probe: Probe) -> PrimaryCheck {
        match probe {
            Probe::Alive => PrimaryCheck::Return,
            Probe::Dead if self.policy.auto_restart && self.primary.restarts < self.policy.restarts_max => {
                self.primary.restarts += 1;
                PrimaryCheck::Restart
            }
            _ => PrimaryCheck::Stay,
        }
    }

    /// The side is changed. What the batch has seen so far is the other side's.
    pub fn change_to(&mut self, side: Side) {
        self.side = side;
        let restarts = self.record().restarts;
        *self.record() = SideRecord { restarts, ..SideRecord::default() };
        self.batch = Batch::default();
    }

    fn record(&mut self) -> &mut SideRecord {
        match self.side {
            Side::Primary => &mut self.primary,
            Side::Fallback => &mut self.fallback,
        }
    }

    fn may_fall_back(&self) -> bool {
        self.has_fallback && self.side == Side::Primary
    }

    fn restart_or(&mut self, reason: StopReason) -> Decision {
        if self.policy.auto_restart && self.record().restarts < self.policy.restarts_max {
            self.record().restarts += 1;
            Decision::Restart
        } else {
            self.give_up(reason)
        }
    }

    fn give_up(&self, reason: StopReason) -> Decision {
        if self.may_fall_back() { Decision::FallBack } else { Decision::Stop(reason) }
    }
}

#[cfg(test)]
mod tests;
