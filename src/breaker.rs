//! The circuit breaker: a pure state machine without locks, without a clock, without side effects.
//!
//! ```text
//!          failures_max consecutive failures,
//!        or too large a share of failures in the window
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
//! A [`BreakerMode`] takes the decision out of the machine's hands. Each change of mode starts a new generation too,
//! closed and with nothing counted, so that results from before it change nothing either.
//!
//! Time is a parameter. It should not run backwards; if it does, nothing panics, and waits get longer.

mod window;

pub use window::WindowCounts;

use std::fmt;
use std::time::Duration;
use window::Window;

/// When to stop asking a database that does not answer, and how to find out that it is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many consecutive availability failures open the circuit, however far apart; 0 counts as 1. With `u32::MAX`,
    /// only the rate decides.
    pub failures_max: u32,
    /// Also opens the circuit if failures are not consecutive but frequent. `None` spares every call a lock.
    pub rate: Option<RateThreshold>,
    /// So long nobody passes.
    pub cooldown: Duration,
    /// So many callers probe at a time after the cooldown; 0 counts as 1.
    pub half_open_permits: u32,
    /// A probe that has not reported by then loses its permit to the next caller.
    pub permit_deadline: Duration,
    /// The mode to begin with.
    pub mode: BreakerMode,
}

impl Default for BreakerPolicy {
    fn default() -> BreakerPolicy {
        BreakerPolicy {
            failures_max: 3,
            rate: None,
            cooldown: Duration::from_secs(30),
            half_open_permits: 1,
            permit_deadline: Duration::from_secs(30),
            mode: BreakerMode::Enforcing,
        }
    }
}

/// Too large a share of failures. It is looked at with each failure, never with a success, and what was counted before
/// the circuit last closed is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateThreshold {
    /// How far back results count. Time is cut into tenths of it, so a result is forgotten after nine to ten tenths.
    pub window: Duration,
    /// With fewer results than that in the window there is no rate; 0 counts as 1.
    pub calls_min: u32,
    /// From this share on the circuit opens, in percent of the results in the window; cut to 1..=100.
    pub failures_percent: u8,
}

impl RateThreshold {
    fn is_reached(self, counts: WindowCounts) -> bool {
        let percent = u128::from(self.failures_percent.clamp(1, 100));
        counts.calls >= u64::from(self.calls_min.max(1))
            && u128::from(counts.failures) * 100 >= percent * u128::from(counts.calls)
    }
}

/// Who decides whether a call passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerMode {
    /// The machine.
    #[default]
    Enforcing,
    /// Nobody passes until the mode is changed.
    ForcedOpen,
    /// Everybody passes, and nothing is counted.
    Disabled,
    /// The machine runs, counts and announces as if it decided, but everybody passes. Callers that it would have turned
    /// away get permits that count for nothing.
    MetricsOnly,
}

impl fmt::Display for BreakerMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BreakerMode::Enforcing => "enforcing",
            BreakerMode::ForcedOpen => "forced open",
            BreakerMode::Disabled => "disabled",
            BreakerMode::MetricsOnly => "metrics only",
        })
    }
}

/// What has happened at a breaker since it was made. Nothing is counted while it is disabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerCounters {
    /// Callers that passed.
    pub admitted: u64,
    /// Callers that were turned away; in metrics-only mode, those that would have been.
    pub refused: u64,
    /// Successes that came in time to count.
    pub successes: u64,
    /// Failures that came in time to count.
    pub failures: u64,
    /// Changes from closed or half-open to open by failures; to force it open is none.
    pub trips: u64,
}

/// The breaker of one database.
///
/// ```
/// use seawall::breaker::{Breaker, BreakerPolicy, BreakerState, Transition};
/// use std::time::Duration;
///
/// let mut breaker = Breaker::new(BreakerPolicy { failures_max: 2, ..BreakerPolicy::default() });
/// let at = Duration::from_secs;
/// for now in [at(0), at(1)] {
///     let (permit, _) = breaker.admit(now);
///     breaker.failure(permit.unwrap(), now);
/// }
/// assert_eq!(breaker.state(at(1)), BreakerState::Open { remaining: at(30) });
/// assert_eq!(breaker.admit(at(11)).0.unwrap_err().retry_after, Some(at(20)));
///
/// let (permit, transition) = breaker.admit(at(31));
/// assert_eq!(transition, Some(Transition::HalfOpened { generation: 2 }));
/// assert_eq!(breaker.success(permit.unwrap(), at(32)), Some(Transition::Recovered { generation: 3 }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    policy: BreakerPolicy,
    mode: BreakerMode,
    phase: Phase,
    generation: u64,
    leases_given: u64,
    counters: BreakerCounters,
}

/// What the machine is in; closed and empty for as long as the mode does not let it run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Closed { failures: u32, window: Option<Window> },
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
    /// Whether it was given past the machine, which has not counted it.
    is_uncounted: bool,
}

impl Permit {
    /// A permit of a closed breaker, for callers that know the generation and that it is closed. Whoever gives it
    /// counts it.
    pub(crate) fn uncounted(generation: u64) -> Permit {
        Permit { is_uncounted: true, ..Permit::of_closed(generation) }
    }

    /// Whether nobody has counted it so far.
    pub(crate) fn is_uncounted(self) -> bool {
        self.is_uncounted
    }

    fn of_closed(generation: u64) -> Permit {
        Permit { generation, lease: None, is_uncounted: false }
    }

    /// The generation of the breaker that gave it.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The circuit is open, or all permits are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Asking earlier than this is in vain, unless a probe succeeds before. `None` if no waiting helps: the circuit is
    /// forced open until somebody changes the mode.
    pub retry_after: Option<Duration>,
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
    /// Somebody has set another mode. The circuit is closed, unless that mode forces it open.
    ModeChanged {
        /// The generation begun.
        generation: u64,
        /// The mode set.
        mode: BreakerMode,
    },
}

/// The breaker as seen at one moment. In metrics-only mode it is what the machine would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everybody passes; so it is called too while the breaker is disabled.
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
    /// Nobody passes until the mode is changed.
    ForcedOpen,
}

impl Breaker {
    /// A breaker of generation 0: closed, unless the policy's mode forces it open.
    pub fn new(policy: BreakerPolicy) -> Breaker {
        let phase = closed(&policy);
        let mode = policy.mode;
        Breaker { policy, mode, phase, generation: 0, leases_given: 0, counters: BreakerCounters::default() }
    }

    /// Asks to pass. The transition, if any, is the one from open to half-open.
    pub fn admit(&mut self, now: Duration) -> (Result<Permit, Refusal>, Option<Transition>) {
        match self.mode {
            BreakerMode::Disabled => return (Ok(Permit::of_closed(self.generation)), None),
            BreakerMode::ForcedOpen => {
                self.counters.refused += 1;
                return (Err(Refusal { retry_after: None }), None);
            }
            BreakerMode::Enforcing | BreakerMode::MetricsOnly => {}
        }
        let (answer, transition) = self.decide(now);
        match answer {
            Ok(_) => self.counters.admitted += 1,
            Err(_) => self.counters.refused += 1,
        }
        // Without a lease, the permit counts for nothing unless the circuit is closed, and then nobody is refused.
        let is_enforced = self.mode == BreakerMode::Enforcing;
        let answer = answer.or_else(|no| if is_enforced { Err(no) } else { Ok(Permit::of_closed(self.generation)) });
        (answer, transition)
    }

    /// Sets the mode. If it is another one, a new generation begins, closed and with nothing counted, and the change is
    /// returned.
    pub fn set_mode(&mut self, mode: BreakerMode) -> Option<Transition> {
        if mode == self.mode {
            return None;
        }
        self.mode = mode;
        self.enter(closed(&self.policy));
        Some(Transition::ModeChanged { generation: self.generation, mode })
    }

    /// Whether the permit is still good: a report on it would count, or, while disabled, as much as any.
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

    /// The database answered: closed ends the row of failures, half-open closes.
    pub fn success(&mut self, permit: Permit, now: Duration) -> Option<Transition> {
        if !self.counts(permit, now) {
            return None;
        }
        self.counters.successes += 1;
        match &mut self.phase {
            Phase::Closed { failures, window } => {
                *failures = 0;
                if let Some(window) = window {
                    window.add(now, false);
                }
                None
            }
            Phase::HalfOpen { .. } => {
                self.enter(closed(&self.policy));
                Some(Transition::Recovered { generation: self.generation })
            }
            Phase::Open { .. } => None,
        }
    }

    /// The database did not answer: closed counts and may trip, half-open opens again.
    pub fn failure(&mut self, permit: Permit, now: Duration) -> Option<Transition> {
        if !self.counts(permit, now) {
            return None;
        }
        self.counters.failures += 1;
        if let Phase::Closed { failures, window } = &mut self.phase {
            *failures = failures.saturating_add(1);
            let mut is_over = *failures >= self.policy.failures_max.max(1);
            if let (Some(window), Some(rate)) = (window, self.policy.rate) {
                window.add(now, true);
                is_over |= rate.is_reached(window.counts(now));
            }
            if !is_over {
                return None;
            }
        }
        self.counters.trips += 1;
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
        if self.mode == BreakerMode::ForcedOpen {
            return BreakerState::ForcedOpen;
        }
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
            Phase::Closed { failures, .. } => failures,
            Phase::Open { .. } | Phase::HalfOpen { .. } => 0,
        }
    }

    /// What the rate threshold sees at `now`; `None` without one, and while the circuit is not closed.
    pub fn window(&self, now: Duration) -> Option<WindowCounts> {
        match &self.phase {
            Phase::Closed { window: Some(window), .. } => Some(window.counts(now)),
            _ => None,
        }
    }

    /// Who decides.
    pub fn mode(&self) -> BreakerMode {
        self.mode
    }

    /// What has happened so far. Each number only grows.
    pub fn counters(&self) -> BreakerCounters {
        self.counters
    }

    /// How many times the state or the mode has changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it was made with.
    pub fn policy(&self) -> &BreakerPolicy {
        &self.policy
    }

    /// Closed, without a counted failure and without a window: passing and succeeding would change nothing but the
    /// counters.
    pub(crate) fn is_calm(&self) -> bool {
        self.is_running() && matches!(self.phase, Phase::Closed { failures: 0, window: None })
    }

    /// Whether the mode lets the machine see what happens.
    fn is_running(&self) -> bool {
        matches!(self.mode, BreakerMode::Enforcing | BreakerMode::MetricsOnly)
    }

    fn counts(&self, permit: Permit, now: Duration) -> bool {
        self.is_running() && self.is_current(permit, now)
    }

    fn decide(&mut self, now: Duration) -> (Result<Permit, Refusal>, Option<Transition>) {
        match self.phase {
            Phase::Closed { .. } => (Ok(Permit::of_closed(self.generation)), None),
            Phase::Open { until } if now < until => (Err(Refusal { retry_after: Some(until - now) }), None),
            Phase::Open { .. } => {
                self.enter(Phase::HalfOpen { leases: Vec::new() });
                let transition = Transition::HalfOpened { generation: self.generation };
                (self.lease(now), Some(transition))
            }
            Phase::HalfOpen { .. } => (self.lease(now), None),
        }
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
            return Err(Refusal { retry_after: Some(first.saturating_sub(now)) });
        }
        self.leases_given += 1;
        leases.push(Lease { serial: self.leases_given, deadline });
        Ok(Permit { lease: Some(self.leases_given), ..Permit::of_closed(self.generation) })
    }

    fn permits_max(&self) -> usize {
        self.policy.half_open_permits.max(1) as usize
    }
}

fn closed(policy: &BreakerPolicy) -> Phase {
    Phase::Closed { failures: 0, window: policy.rate.map(|rate| Window::new(rate.window)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step of a story. Permits are named by the order in which they were given.
    #[derive(Debug)]
    enum Step {
        Admit,
        Refused,
        Success(usize),
        Failure(usize),
        Release(usize),
        WaitSecs(u64),
        Set(BreakerMode),
    }
    use Step::*;

    /// 3 failures, 30 s cooldown, 2 permits, 10 s permit deadline.
    fn policy() -> BreakerPolicy {
        BreakerPolicy {
            failures_max: 3,
            cooldown: Duration::from_secs(30),
            half_open_permits: 2,
            permit_deadline: Duration::from_secs(10),
            ..BreakerPolicy::default()
        }
    }

    /// A quarter of failures among at least 4 results of the last 100 s; consecutive failures decide nothing.
    fn rate_policy() -> BreakerPolicy {
        let rate = RateThreshold { window: Duration::from_secs(100), calls_min: 4, failures_percent: 25 };
        BreakerPolicy { failures_max: u32::MAX, rate: Some(rate), ..policy() }
    }

    #[track_caller]
    fn run(policy: BreakerPolicy, story: &[Step], announced: &[Transition], state: BreakerState) -> Breaker {
        let mut breaker = Breaker::new(policy);
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
                Set(mode) => transitions.extend(breaker.set_mode(*mode)),
            }
        }
        assert_eq!(transitions, announced);
        assert_eq!(breaker.state(now), state);
        assert_eq!(breaker.generation(), announced.len() as u64);
        breaker
    }

    #[track_caller]
    fn check(story: &[Step], announced: &[Transition], state: BreakerState) {
        run(policy(), story, announced, state);
    }

    #[track_caller]
    fn check_rate(story: &[Step], announced: &[Transition], state: BreakerState) {
        run(rate_policy(), story, announced, state);
    }

    fn mode_changed(generation: u64, mode: BreakerMode) -> Transition {
        Transition::ModeChanged { generation, mode }
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

    #[test]
    fn a_share_of_failures_trips_though_they_are_not_consecutive() {
        let quarter = [Admit, Failure(0), Success(0), Success(0), Success(0), Failure(0)];
        check_rate(&quarter[..5], &[], BreakerState::Closed);
        check_rate(&quarter, &[TRIPPED], open(30));
        // One of five is a fifth.
        let fifth = [Admit, Success(0), Success(0), Success(0), Success(0), Failure(0)];
        check_rate(&fifth, &[], BreakerState::Closed);
        // Exactly a quarter is enough.
        check_rate(&[Admit, Success(0), Success(0), Success(0), Failure(0)], &[TRIPPED], open(30));
    }

    #[test]
    fn a_rate_needs_enough_results() {
        check_rate(&[Admit, Failure(0), Failure(0), Failure(0)], &[], BreakerState::Closed);
        check_rate(&[Admit, Failure(0), Failure(0), Failure(0), Failure(0)], &[TRIPPED], open(30));
        // What proved nothing is no result.
        let released = [Admit, Failure(0), Release(0), Release(0), Failure(0), Failure(0)];
        check_rate(&released, &[], BreakerState::Closed);
    }

    #[test]
    fn a_success_never_trips() {
        check_rate(&[Admit, Failure(0), Failure(0), Failure(0), Success(0)], &[], BreakerState::Closed);
    }

    #[test]
    fn results_older_than_the_window_are_forgotten() {
        let old = [Admit, Failure(0), Failure(0), Failure(0), WaitSecs(100), Failure(0)];
        check_rate(&old, &[], BreakerState::Closed);
        let young = [Admit, Failure(0), Failure(0), Failure(0), WaitSecs(90), Failure(0)];
        check_rate(&young, &[TRIPPED], open(30));
        let jump = [Admit, Failure(0), Failure(0), Failure(0), WaitSecs(1 << 60), Failure(0)];
        check_rate(&jump, &[], BreakerState::Closed);
    }

    #[test]
    fn a_circuit_that_closes_has_forgotten_the_rate() {
        let recover = [WaitSecs(30), Admit, Success(1), Admit, Failure(2), Failure(2), Failure(2)];
        let story = [Admit, Failure(0), Failure(0), Failure(0), Failure(0)].into_iter().chain(recover);
        let recovered = [TRIPPED, HALF_OPENED, Transition::Recovered { generation: 3 }];
        let breaker = run(rate_policy(), &story.collect::<Vec<_>>(), &recovered, BreakerState::Closed);
        assert_eq!(breaker.window(Duration::from_secs(30)), Some(WindowCounts { calls: 3, failures: 3 }));
    }

    #[test]
    fn consecutive_failures_and_the_rate_are_both_in_force() {
        let both = BreakerPolicy { failures_max: 2, ..rate_policy() };
        run(both.clone(), &[Admit, Failure(0), Failure(0)], &[TRIPPED], open(30));
        let story = [Admit, Success(0), Success(0), Failure(0), Success(0), Failure(0)];
        run(both, &story, &[TRIPPED], open(30));
    }

    #[test]
    fn percentages_are_cut_to_what_they_can_be() {
        let of = |calls_min, failures_percent| {
            let rate = RateThreshold { window: Duration::from_secs(100), calls_min, failures_percent };
            BreakerPolicy { rate: Some(rate), ..rate_policy() }
        };
        run(of(0, 0), &[Admit, Success(0)], &[], BreakerState::Closed);
        run(of(0, 0), &[Admit, Success(0), Failure(0)], &[TRIPPED], open(30));
        run(of(0, 200), &[Admit, Success(0), Failure(0)], &[], BreakerState::Closed);
        run(of(0, 200), &[Admit, Failure(0)], &[TRIPPED], open(30));
    }

    #[test]
    fn forced_open_lets_nobody_pass_until_told_otherwise() {
        let forced = mode_changed(1, BreakerMode::ForcedOpen);
        let story = [Admit, Set(BreakerMode::ForcedOpen), Refused, Success(0), WaitSecs(1 << 40), Refused];
        let mut breaker = run(policy(), &story, &[forced], BreakerState::ForcedOpen);
        assert_eq!(breaker.admit(Duration::MAX).0, Err(Refusal { retry_after: None }));
        let story = after_trip([Set(BreakerMode::ForcedOpen), Set(BreakerMode::Enforcing), Admit, Failure(0)]);
        let changes = [mode_changed(2, BreakerMode::ForcedOpen), mode_changed(3, BreakerMode::Enforcing)];
        check(&story, &[TRIPPED, changes[0], changes[1]], BreakerState::Closed);
        let from_the_start = BreakerPolicy { mode: BreakerMode::ForcedOpen, ..policy() };
        run(from_the_start, &[Refused], &[], BreakerState::ForcedOpen);
    }

    #[test]
    fn disabled_lets_everybody_pass_and_counts_nothing() {
        let disabled = BreakerPolicy { mode: BreakerMode::Disabled, ..rate_policy() };
        let story = [Admit, Failure(0), Failure(0), Failure(0), Failure(0), Success(0), Admit];
        let breaker = run(disabled, &story, &[], BreakerState::Closed);
        assert_eq!((breaker.failures(), breaker.counters()), (0, BreakerCounters::default()));
        assert_eq!(breaker.window(Duration::ZERO), Some(WindowCounts::default()));
        let changed = mode_changed(2, BreakerMode::Disabled);
        check(
            &after_trip([Set(BreakerMode::Disabled), Admit, Admit, Admit]),
            &[TRIPPED, changed],
            BreakerState::Closed,
        );
    }

    #[test]
    fn metrics_only_announces_everything_and_refuses_nobody() {
        let watched = BreakerPolicy { mode: BreakerMode::MetricsOnly, ..policy() };
        let open_passes = [Admit, Failure(1), Success(1), WaitSecs(30), Admit, Admit];
        let full_passes = [Admit, Failure(4), Success(4), Success(3)];
        let story: Vec<Step> = TRIP.into_iter().chain(open_passes).chain(full_passes).collect();
        let recovered = [TRIPPED, HALF_OPENED, Transition::Recovered { generation: 3 }];
        let breaker = run(watched, &story, &recovered, BreakerState::Closed);
        let expected = BreakerCounters { admitted: 3, refused: 2, successes: 1, failures: 3, trips: 1 };
        assert_eq!(breaker.counters(), expected);
    }

    #[test]
    fn a_change_of_mode_is_announced_once_and_begins_anew() {
        let to = |mode| [Set(mode), Set(mode)];
        let story: Vec<Step> = [Admit, Failure(0), Failure(0), Set(BreakerMode::Enforcing)]
            .into_iter()
            .chain(to(BreakerMode::MetricsOnly))
            .chain([Failure(0)])
            .chain(to(BreakerMode::Enforcing))
            .chain([Admit, Failure(1), Failure(1), Failure(0)])
            .collect();
        let changes = [mode_changed(1, BreakerMode::MetricsOnly), mode_changed(2, BreakerMode::Enforcing)];
        let breaker = run(policy(), &story, &changes, BreakerState::Closed);
        assert_eq!(breaker.failures(), 2);
    }

    #[test]
    fn everything_in_time_is_counted_once() {
        let story = after_trip([Refused, Failure(0), WaitSecs(30), Admit, Success(0), Failure(1), WaitSecs(30), Admit]);
        let twice = [TRIPPED, HALF_OPENED, Transition::Tripped { generation: 3 }];
        let announced = [twice[0], twice[1], twice[2], Transition::HalfOpened { generation: 4 }];
        let breaker = run(policy(), &story, &announced, BreakerState::HalfOpen { permits_free: 1 });
        let expected = BreakerCounters { admitted: 3, refused: 1, successes: 0, failures: 4, trips: 2 };
        assert_eq!(breaker.counters(), expected);
    }

    #[test]
    fn a_clock_that_goes_back_hurts_nobody() {
        let (later, earlier) = (Duration::from_secs(1000), Duration::ZERO);
        let mut breaker = Breaker::new(BreakerPolicy { failures_max: 2, half_open_permits: 1, ..rate_policy() });
        let permit = breaker.admit(later).0.unwrap();
        assert_eq!(breaker.failure(permit, later), None);
        assert_eq!(breaker.failure(permit, earlier), Some(TRIPPED));
        assert_eq!(breaker.admit(later).1, Some(HALF_OPENED));
        let wait = later + Duration::from_secs(10);
        assert_eq!(breaker.admit(earlier).0, Err(Refusal { retry_after: Some(wait) }));
    }

    fn open(remaining_secs: u64) -> BreakerState {
        BreakerState::Open { remaining: Duration::from_secs(remaining_secs) }
    }
}
