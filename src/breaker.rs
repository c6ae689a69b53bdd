//! The circuit breaker: a pure state machine without locks, without a clock, without side effects.
//!
//! ```text
//!             failures_max consecutive failures
//!   Closed ───────────────────────────────────────► Open
//!      ▲                                           │    ▲
//!      │ a probe succeeds          cooldown is over │    │ a probe fails
//!      │                       and somebody asks    ▼    │
//!      └──────────────────────────────────────── HalfOpen
//!                                             (N permits at a time)
//! ```
//!
//! Every change of state starts a new *generation*. A result that belongs to an older generation, or to a permit whose
//! deadline has passed, changes nothing: it describes a world that is gone. Every change is returned as a
//! [`Transition`] by the one call that caused it, so it can be announced exactly once, and outside of any lock.
//!
//! Time is a parameter. The caller must not let it run backwards.

use std::time::Duration;

/// When to stop asking a database that does not answer, and how to find out that it is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many consecutive availability failures open the circuit; 0 counts as 1.
    pub failures_max: u32,
    /// So long nobody passes.
    pub cooldown: Duration,
    /// So many callers probe at a time after the cooldown; 0 counts as 1.
    pub half_open_permits: u32,
    /// A probe that has not reported by then loses its permit to the next caller.
    pub permit_deadline: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> BreakerPolicy {
        BreakerPolicy {
            failures_max: 3,
            cooldown: Duration::from_secs(30),
            half_open_permits: 1,
            permit_deadline: Duration::from_secs(30),
        }
    }
}

/// The breaker of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    policy: BreakerPolicy,
    phase: Phase,
    generation: u64,
    leases_given: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Duration },
    HalfOpen { leases: Vec<Lease> },
}

/// A permit in use while half-open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    serial: u64,
    deadline: Duration,
}

/// The right to try once. Hand it back through [`Breaker::success`], [`Breaker::failure`] or [`Breaker::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    generation: u64,
    lease: Option<u64>,
}

impl Permit {
    /// A permit of a closed breaker, for callers that know the generation and that it is closed.
    pub(crate) fn of_closed(generation: u64) -> Permit {
        Permit { generation, lease: None }
    }

    /// The generation of the breaker that gave it.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The circuit is open, or all permits are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Asking earlier than this is in vain, unless a probe succeeds before.
    pub retry_after: Duration,
}

/// A change of state, returned exactly once. It carries the generation that it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Closed or half-open to open.
    Tripped {
        /// The generation begun.
        generation: u64,
    },
    /// Open to half-open: the cooldown is over and a caller came.
    HalfOpened {
        /// The generation begun.
        generation: u64,
    },
    /// Half-open to closed: a probe succeeded.
    Recovered {
        /// The generation begun.
        generation: u64,
    },
}

/// The breaker as seen at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everybody passes.
    Closed,
    /// Nobody passes for so long; at zero, the next caller makes it half-open.
    Open {
        /// What is left of the cooldown.
        remaining: Duration,
    },
    /// Probing.
    HalfOpen {
        /// So many more callers pass now.
        permits_free: u32,
    },
}

impl Breaker {
    /// A closed breaker of generation 0.
    pub fn new(policy: BreakerPolicy) -> Breaker {
        Breaker { policy, phase: Phase::Closed { failures: 0 }, generation: 0, leases_given: 0 }
    }

    /// Asks to pass. The transition, if any, is the one from open to half-open.
    pub fn admit(&mut self, now: Duration) -> (Result<Permit, Refusal>, Option<Transition>) {
        match self.phase {
            Phase::Closed { .. } => (Ok(Permit { generation: self.generation, lease: None }), None),
            Phase::Open { until } if now < until => (Err(Refusal { retry_after: until - now }), None),
            Phase::Open { .. } => {
                self.enter(Phase::HalfOpen { leases: Vec::new() });
                let transition = Transition::HalfOpened { generation: self.generation };
                (self.lease(now), Some(transition))
            }
            Phase::HalfOpen { .. } => (self.lease(now), None),
        }
    }

    /// Whether a report on this permit would still count.
    pub fn is_current(&self, permit: Permit, now: Duration) -> bool {
        if permit.generation != self.generation {
            return false;
        }
        match (&self.phase, permit.lease) {
            (Phase::Closed { .. }, None) => true,
            (Phase::HalfOpen { leases }, Some(serial)) => {
                leases.iter().any(|lease| lease.serial == serial && now < lease.deadline)
            }
            _ => false,
        }
    }

    /// The database answered: closed forgets its failures, half-open closes.
    pub fn success(&mut self, permit: Permit, now: Duration) -> Option<Transition> {
        if !self.is_current(permit, now) {
            return None;
        }
        match &mut self.phase {
            Phase::Closed { failures } => {
                *failures = 0;
                None
            }
            Phase::HalfOpen { .. } => {
                self.enter(Phase::Closed { failures: 0 });
                Some(Transition::Recovered { generation: self.generation })
            }
            Phase::Open { .. } => None,
        }
    }

    /// The database did not answer: closed counts and may trip, half-open opens again.
    pub fn failure(&mut self, permit: Permit, now: Duration) -> Option<Transition> {
        if !self.is_current(permit, now) {
            return None;
        }
        if let Phase::Closed { failures } = &mut self.phase {
            *failures += 1;
            if *failures < self.policy.failures_max.max(1) {
                return None;
            }
        }
        self.enter(Phase::Open { until: now.saturating_add(self.policy.cooldown) });
        Some(Transition::Tripped { generation: self.generation })
    }

    /// The try proved nothing either way, for example because the database was busy: only the permit comes back.
    pub fn release(&mut self, permit: Permit) {
        if permit.generation == self.generation
            && let Phase::HalfOpen { leases } = &mut self.phase
        {
            leases.retain(|lease| Some(lease.serial) != permit.lease);
        }
    }

    /// The state at `now`. Looking changes nothing: an open breaker stays open until a caller asks to pass.
    pub fn state(&self, now: Duration) -> BreakerState {
        match &self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { until } => BreakerState::Open { remaining: until.saturating_sub(now) },
            Phase::HalfOpen { leases } => {
                let taken = leases.iter().filter(|lease| now < lease.deadline).count();
                BreakerState::HalfOpen { permits_free: self.permits_max().saturating_sub(taken) as u32 }
            }
        }
    }

    /// Consecutive failures counted while closed; 0 in the other states.
    pub fn failures(&self) -> u32 {
        match self.phase {
            Phase::Closed { failures } => failures,
            Phase::Open { .. } | Phase::HalfOpen { .. } => 0,
        }
    }

    /// How many times the state has changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it was made with.
    pub fn policy(&self) -> &BreakerPolicy {
        &self.policy
    }

    /// Closed and without a counted failure: passing and succeeding would change nothing.
    pub(crate) fn is_calm(&self) -> bool {
        matches!(self.phase, Phase::Closed { failures: 0 })
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }

    fn lease(&mut self, now: Duration) -> Result<Permit, Refusal> {
        let permits_max = self.permits_max();
        let deadline = now.saturating_add(self.policy.permit_deadline);
        let Phase::HalfOpen { leases } = &mut self.phase else {
            unreachable!("leases exist only while half-open");
        };
        leases.retain(|lease| now < lease.deadline);
        if leases.len() >= permits_max {
            let first = leases.iter().map(|lease| lease.deadline).min().unwrap_or(now);
            return Err(Refusal { retry_after: first.saturating_sub(now) });
        }
        self.leases_given += 1;
        leases.push(Lease { serial: self.leases_given, deadline });
        Ok(Permit { generation: self.generation, lease: Some(self.leases_given) })
    }

    fn permits_max(&self) -> usize {
        self.policy.half_open_permits.max(1) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step of a story about a breaker with 3 failures, 30 s cooldown, 2 permits, 10 s permit deadline. Permits are
    /// named by the order in which they were given.
    #[derive(Debug)]
    enum Step {
        Admit,
        Refused,
        Success(usize),
        Failure(usize),
        Release(usize),
        WaitSecs(u64),
    }
    use Step::*;

    #[track_caller]
    fn check(story: &[Step], announced: &[Transition], state: BreakerState) {
        let mut breaker = Breaker::new(BreakerPolicy {
            failures_max: 3,
            cooldown: Duration::from_secs(30),
            half_open_permits: 2,
            permit_deadline: Duration::from_secs(10),
        });
        let mut now = Duration::ZERO;
        let mut permits = Vec::new();
        let mut transitions = Vec::new();
        for (index, step) in story.iter().enumerate() {
            match step {
                Admit => {
                    let (permit, transition) = breaker.admit(now);
                    permits.push(permit.unwrap_or_else(|refusal| panic!("step {index} refused: {refusal:?}")));
                    transitions.extend(transition);
                }
                Refused => {
                    let (permit, transition) = breaker.admit(now);
                    assert!(permit.is_err(), "step {index} was let through");
                    transitions.extend(transition);
                }
                Success(nth) => transitions.extend(breaker.success(permits[*nth], now)),
                Failure(nth) => transitions.extend(breaker.failure(permits[*nth], now)),
                Release(nth) => breaker.release(permits[*nth]),
                WaitSecs(secs) => now += Duration::from_secs(*secs),
            }
        }
        assert_eq!(transitions, announced);
        assert_eq!(breaker.state(now), state);
        assert_eq!(breaker.generation(), announced.len() as u64);
    }

    const TRIP: [Step; 4] = [Admit, Failure(0), Failure(0), Failure(0)];
    const TRIPPED: Transition = Transition::Tripped { generation: 1 };
    const HALF_OPENED: Transition = Transition::HalfOpened { generation: 2 };

    fn after_trip<const N: usize>(steps: [Step; N]) -> Vec<Step> {
        TRIP.into_iter().chain(steps).collect()
    }

    #[test]
    fn three_consecutive_failures_trip_and_a_success_between_forgives() {
        check(&[Admit, Failure(0), Failure(0)], &[], BreakerState::Closed);
        check(&[Admit, Failure(0), Failure(0), Success(0), Failure(0), Failure(0)], &[], BreakerState::Closed);
        check(&[Admit, Failure(0), Failure(0), Release(0), Failure(0)], &[TRIPPED], open(30));
        check(&TRIP, &[TRIPPED], open(30));
    }

    #[test]
    fn nobody_passes_before_the_cooldown_is_over() {
        check(&after_trip([Refused, WaitSecs(29), Refused]), &[TRIPPED], open(1));
        check(&after_trip([WaitSecs(31)]), &[TRIPPED], open(0));
    }

    #[test]
    fn half_open_lets_as_many_through_as_it_has_permits() {
        let steps = after_trip([WaitSecs(30), Admit, Admit, Refused]);
        check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 0 });
        let steps = after_trip([WaitSecs(30), Admit, Admit, Release(1), Admit, Refused]);
        check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 0 });
    }

    #[test]
    fn one_probe_decides_and_the_other_changes_nothing() {
        let recovered = [TRIPPED, HALF_OPENED, Transition::Recovered { generation: 3 }];
        check(&after_trip([WaitSecs(30), Admit, Admit, Success(1), Failure(2)]), &recovered, BreakerState::Closed);
        let tripped = [TRIPPED, HALF_OPENED, Transition::Tripped { generation: 3 }];
        check(&after_trip([WaitSecs(30), Admit, Admit, Failure(1), Success(2)]), &tripped, open(30));
    }

    #[test]
    fn results_of_an_older_generation_change_nothing() {
        check(&after_trip([Success(0), Failure(0)]), &[TRIPPED], open(30));
        let recovered = [TRIPPED, HALF_OPENED, Transition::Recovered { generation: 3 }];
        let steps = after_trip([WaitSecs(30), Admit, Success(1), Failure(0), Failure(0), Failure(0)]);
        check(&steps, &recovered, BreakerState::Closed);
        let steps = after_trip([WaitSecs(30), Admit, Success(0), Failure(0), Release(0)]);
        check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 1 });
    }

    #[test]
    fn a_probe_that_never_reports_gives_its_permit_back() {
        let steps = after_trip([WaitSecs(30), Admit, Admit, WaitSecs(9), Refused, WaitSecs(1), Admit]);
        check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 1 });
        // The late report of the expired probe is void, whether or not its permit has been given away.
        let steps = after_trip([WaitSecs(30), Admit, WaitSecs(10), Success(1)]);
        check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 2 });
    }

    #[test]
    fn zeros_in_the_policy_count_as_one() {
        let zero = BreakerPolicy { failures_max: 0, half_open_permits: 0, ..BreakerPolicy::default() };
        let mut breaker = Breaker::new(zero);
        let permit = breaker.admit(Duration::ZERO).0.unwrap();
        assert_eq!(breaker.failure(permit, Duration::ZERO), Some(TRIPPED));
        assert!(breaker.admit(Duration::from_secs(30)).0.is_ok());
        assert!(breaker.admit(Duration::from_secs(30)).0.is_err());
    }

    fn open(remaining_secs: u64) -> BreakerState {
        BreakerState::Open { remaining: Duration::from_secs(remaining_secs) }
    }
}
