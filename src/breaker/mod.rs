//! The circuit breaker: a pure state machine without locks, without a clock, without side effects.
//!
//! ```text
//!          failures_max consecutive failures,
//!        or too large a share of failures in the window
//!   Closed ───────────────────────────────────────► Open
//!      ▲                                           │    ▲
//!      │ a probe succeeds          cooldown is over │    │ a probe fails
//!      │                       and a caller asks    ▼    │
//!      └──────────────────────────────────────── HalfOpen
//!                                             (N permits at a time)
//! ```
//!
//! Every change of state starts a new *generation*. A result that belongs to an older generation, or to a permit whose
//! deadline has passed, changes nothing: it describes a past state. Every change is returned as a [`Transition`] by the
//! one call that caused it, so it can be announced exactly once, and outside of any lock.
//!
//! A [`BreakerMode`] overrides the machine's decision. Each change of mode starts a new generation too, closed and with
//! nothing counted, so that results from before it change nothing either.
//!
//! Time is a parameter. It should not run backwards; if it does, nothing panics, and waits get longer.

mod window;

pub use window::WindowCounts;

use std::fmt;
use std::time::Duration;
use window::Window;

/// When to stop calling a database that does not answer, and how to detect that it is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// The number of consecutive availability failures that opens the circuit, however far apart; 0 counts as 1. With
    /// `u32::MAX`, only the rate decides.
    pub failures_max: u32,
    /// Also opens the circuit if failures are not consecutive but frequent. `None` spares every call a lock.
    pub rate: Option<RateThreshold>,
    /// How long no call passes.
    pub cooldown: Duration,
    /// The number of callers that probe at a time after the cooldown; 0 counts as 1.
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

/// Whether the machine decides if a call passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerMode {
    /// The machine.
    #[default]
    Enforcing,
    /// No call passes until the mode is changed.
    ForcedOpen,
    /// Every call passes, and nothing is counted.
    Disabled,
    /// The machine runs, counts and announces as if it decided, but every call passes. Callers that it would have
    /// refused get permits that count for nothing.
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

/// The counts of a breaker since it was created. Nothing is counted while it is disabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerCounters {
    /// Callers that passed.
    pub admitted: u64,
    /// Callers that were refused; in metrics-only mode, those that would have been.
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
    leases_granted: u64,
    counters: BreakerCounters,
}

/// The machine's state; closed and empty while the mode does not let it run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Closed { failures: u32, window: Option<Window> },
    Open { until: Duration },
    HalfOpen { leases: Vec<ProbeLease> },
}

/// A permit in use while half-open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ProbeLease {
    serial: u64,
    deadline: Duration,
}

/// The permission to try once. Return it through [`Breaker::success`], [`Breaker::failure`] or [`Breaker::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    generation: u64,
    lease: Option<u64>,
    /// Whether it was given past the machine, which has not counted it.
    is_uncounted: bool,
}

impl Permit {
    /// A permit of a closed breaker, for callers that know the generation and that it is closed. The code that grants
    /// it counts it.
    pub(crate) fn uncounted(generation: u64) -> Permit {
        Permit { is_uncounted: true, ..Permit::of_closed(generation) }
    }

    /// Whether it has not been counted so far.
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
    /// A call before this is refused, unless a probe succeeds earlier. `None` if no waiting helps: the circuit is
    /// forced open until the mode is changed.
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
    /// The mode was changed. The circuit is closed, unless that mode forces it open.
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
    /// Every call passes; also while the breaker is disabled.
    Closed,
    /// No call passes; after the cooldown, the next caller makes it half-open.
    Open {
        /// What is left of the cooldown.
        remaining: Duration,
    },
    /// Probing.
    HalfOpen {
        /// How many more callers pass now.
        permits_free: u32,
    },
    /// No call passes until the mode is changed.
    ForcedOpen,
}

impl Breaker {
    /// A breaker of generation 0: closed, unless the policy's mode forces it open.
    pub fn new(policy: BreakerPolicy) -> Breaker {
        let phase = closed(&policy);
        let mode = policy.mode;
        Breaker { policy, mode, phase, generation: 0, leases_granted: 0, counters: BreakerCounters::default() }
    }

    /// Requests a permit. The transition, if any, is the one from open to half-open.
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
        // Without a lease, the permit counts for nothing unless the circuit is closed, and then no call is refused.
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

    /// The database answered: a closed circuit resets its failures, a half-open one closes.
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

    /// The call proved nothing, for example because the database was busy: only the permit comes back.
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

    /// The mode.
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
    pub(crate) fn can_skip_lock(&self) -> bool {
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
        self.leases_granted += 1;
        leases.push(ProbeLease { serial: self.leases_granted, deadline });
        Ok(Permit { lease: Some(self.leases_granted), ..Permit::of_closed(self.generation) })
    }

    fn permits_max(&self) -> usize {
        self.policy.half_open_permits.max(1) as usize
    }
}

fn closed(policy: &BreakerPolicy) -> Phase {
    Phase::Closed { failures: 0, window: policy.rate.map(|rate| Window::new(rate.window)) }
}

#[cfg(test)]
mod tests;
