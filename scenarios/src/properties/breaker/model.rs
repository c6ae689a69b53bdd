//! The model: what a breaker must do, computed from its whole history.
//!
//! It has no counters, no buckets and no leases. It keeps every permit, every result that counted and every change, and
//! computes each answer from all of them.

use seawall::BreakerState;
use seawall::breaker::{BreakerCounters, BreakerMode, BreakerPolicy, Transition, WindowCounts};
use std::time::Duration;

/// The number of slices of a window.
const SLICES: u128 = 10;

pub(super) struct Model {
    policy: BreakerPolicy,
    mode: BreakerMode,
    pub(super) now: Duration,
    /// All changes that were announced, with their times.
    changes: Vec<(Transition, Duration)>,
    given: Vec<Given>,
    results: Vec<Counted>,
    refusals: u64,
}

/// A permit as the model remembers it.
#[derive(Clone, Copy)]
struct Given {
    generation: u64,
    right: Right,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    /// Of a closed circuit.
    Free,
    /// Of a disabled breaker.
    Unwatched,
    /// Of a probe, until the deadline.
    Probe { deadline: Duration },
    /// Of a probe that has returned it.
    Returned,
    /// Of a caller that an enforcing breaker would have refused.
    Void,
}

/// A result that counted.
#[derive(Clone, Copy)]
struct Counted {
    generation: u64,
    at: Duration,
    is_failure: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Duration },
    HalfOpen,
}

impl Model {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        let mode = policy.mode;
        let now = Duration::ZERO;
        Self { policy, mode, now, changes: Vec::new(), given: Vec::new(), results: Vec::new(), refusals: 0 }
    }

    /// Number of permits given so far.
    pub(super) fn given(&self) -> usize {
        self.given.len()
    }

    /// How many changes there have been.
    pub(super) fn generation(&self) -> u64 {
        self.changes.len() as u64
    }

    /// The change that came last, if it is later than the first `generation`.
    pub(super) fn change_after(&self, generation: u64) -> Option<Transition> {
        self.changes.get(generation as usize).map(|(transition, _)| *transition)
    }

    /// A caller asks for a permit. The error is how long to wait; `None` for ever.
    pub(super) fn admit(&mut self) -> Result<(), Option<Duration>> {
        if self.mode == BreakerMode::ForcedOpen {
            self.refusals += 1;
            return Err(None);
        }
        if let Phase::Open { until } = self.phase()
            && self.now >= until
        {
            let generation = self.generation() + 1;
            self.changes.push((Transition::HalfOpened { generation }, self.now));
        }
        self.take_back_late_probes();
        let right = match self.phase() {
            _ if self.mode == BreakerMode::Disabled => Ok(Right::Unwatched),
            Phase::Closed => Ok(Right::Free),
            Phase::Open { until } => Err(until - self.now),
            Phase::HalfOpen => match self.probes().into_iter().min() {
                Some(first) if self.probes().len() >= self.permits_max() => Err(first.saturating_sub(self.now)),
                _ => Ok(Right::Probe { deadline: self.now.saturating_add(self.policy.permit_deadline) }),
            },
        };
        let right = right.or_else(|wait| {
            self.refusals += 1;
            if self.mode == BreakerMode::MetricsOnly { Ok(Right::Void) } else { Err(Some(wait)) }
        })?;
        self.given.push(Given { generation: self.generation(), right });
        Ok(())
    }

    /// The holder of a permit reports. True if it counts.
    pub(super) fn report(&mut self, nth: usize, is_failure: bool) -> bool {
        if !self.is_current(nth) || self.mode == BreakerMode::Disabled {
            return false;
        }
        let generation = self.generation();
        // The clock of the window never goes back.
        let latest = self.results_of(generation).map(|result| result.at).max().unwrap_or_default();
        self.results.push(Counted { generation, at: self.now.max(latest), is_failure });
        let change = match (self.phase(), is_failure) {
            (Phase::HalfOpen, false) => Transition::Recovered { generation: generation + 1 },
            (Phase::HalfOpen, true) => Transition::Tripped { generation: generation + 1 },
            (_, true) if self.is_streak_too_long() || self.is_rate_too_high() => {
                Transition::Tripped { generation: generation + 1 }
            }
            _ => return true,
        };
        self.changes.push((change, self.now));
        true
    }

    /// The holder of a permit returns it without a result.
    pub(super) fn release(&mut self, nth: usize) {
        if matches!(self.given[nth].right, Right::Probe { .. }) {
            self.given[nth].right = Right::Returned;
        }
    }

    pub(super) fn set_mode(&mut self, mode: BreakerMode) {
        if mode != self.mode {
            self.mode = mode;
            let generation = self.generation() + 1;
            self.changes.push((Transition::ModeChanged { generation, mode }, self.now));
        }
    }

    pub(super) fn is_current(&self, nth: usize) -> bool {
        let Given { generation, right } = self.given[nth];
        generation == self.generation()
            && match right {
                Right::Free | Right::Unwatched => true,
                Right::Probe { deadline } => self.now < deadline,
                Right::Returned | Right::Void => false,
            }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.phase() {
            _ if self.mode == BreakerMode::ForcedOpen => BreakerState::ForcedOpen,
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } => BreakerState::Open { remaining: until.saturating_sub(self.now) },
            Phase::HalfOpen => {
                let free = self.permits_max().saturating_sub(self.probes().len());
                BreakerState::HalfOpen { permits_free: free as u32 }
            }
        }
    }

    /// Failures since the last success, while closed.
    pub(super) fn streak(&self) -> u32 {
        match self.phase() {
            Phase::Closed => {
                self.results_of(self.generation()).rev().take_while(|result| result.is_failure).count() as u32
            }
            Phase::Open { .. } | Phase::HalfOpen => 0,
        }
    }

    /// The results within the window, while closed.
    pub(super) fn window(&self) -> Option<WindowCounts> {
        let rate = self.policy.rate.filter(|_| self.phase() == Phase::Closed)?;
        let slice = |at: Duration| at.as_nanos() / (rate.window.as_nanos() / SLICES).max(1);
        let results = || self.results_of(self.generation());
        let latest = results().map(|result| result.at).max().unwrap_or_default();
        let newest = slice(self.now.max(latest));
        let within = || results().filter(|result| newest - slice(result.at) < SLICES);
        let failures = within().filter(|result| result.is_failure).count() as u64;
        Some(WindowCounts { calls: within().count() as u64, failures })
    }

    pub(super) fn counters(&self) -> BreakerCounters {
        let is_admitted = |given: &&Given| !matches!(given.right, Right::Unwatched | Right::Void);
        let failures = self.results.iter().filter(|result| result.is_failure).count() as u64;
        let trips = self.changes.iter().filter(|(change, _)| matches!(change, Transition::Tripped { .. }));
        BreakerCounters {
            admitted: self.given.iter().filter(is_admitted).count() as u64,
            refused: self.refusals,
            successes: self.results.len() as u64 - failures,
            failures,
            trips: trips.count() as u64,
        }
    }

    /// Follows from the last change.
    fn phase(&self) -> Phase {
        match self.changes.last() {
            Some((Transition::Tripped { .. }, at)) => Phase::Open { until: at.saturating_add(self.policy.cooldown) },
            Some((Transition::HalfOpened { .. }, _)) => Phase::HalfOpen,
            Some((Transition::Recovered { .. } | Transition::ModeChanged { .. }, _)) | None => Phase::Closed,
        }
    }

    /// A permit that has expired at a call stays so, even if the clock goes back.
    fn take_back_late_probes(&mut self) {
        for given in &mut self.given {
            if matches!(given.right, Right::Probe { deadline } if self.now >= deadline) {
                given.right = Right::Returned;
            }
        }
    }

    fn permits_max(&self) -> usize {
        self.policy.half_open_permits.max(1) as usize
    }

    /// The deadlines of the probes that are out.
    fn probes(&self) -> Vec<Duration> {
        let current = (0..self.given.len()).filter(|nth| self.is_current(*nth));
        let deadline = |nth: usize| match self.given[nth].right {
            Right::Probe { deadline } => Some(deadline),
            _ => None,
        };
        current.filter_map(deadline).collect()
    }

    fn results_of(&self, generation: u64) -> impl DoubleEndedIterator<Item = &Counted> {
        self.results.iter().filter(move |result| result.generation == generation)
    }

    fn is_streak_too_long(&self) -> bool {
        self.streak() >= self.policy.failures_max.max(1)
    }

    fn is_rate_too_high(&self) -> bool {
        let (Some(rate), Some(WindowCounts { calls, failures })) = (self.policy.rate, self.window()) else {
            return false;
        };
        let share_percent = failures as f64 * 100.0 / calls as f64;
        calls >= u64::from(rate.calls_min.max(1)) && share_percent >= f64::from(rate.failures_percent.clamp(1, 100))
    }
}
