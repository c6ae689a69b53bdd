//! The circuit breaker against a model that was written from its description alone: the same answers, the same
//! announcements, the same state after every step.

mod model;

use self::model::Model;
use super::{Counterexample, fewest_steps};
use rand::{Rng, RngExt};
use seawall::breaker::{Breaker, BreakerMode, BreakerPolicy, BreakerState, Permit, RateThreshold, Transition};
use seawall_harness::seed::Seed;
use std::fmt;
use std::time::Duration;

const STEPS_MAX: usize = 80;
const TICK: Duration = Duration::from_nanos(1);
const MODES: [BreakerMode; 4] =
    [BreakerMode::Enforcing, BreakerMode::ForcedOpen, BreakerMode::Disabled, BreakerMode::MetricsOnly];

/// Draws a policy and up to 80 steps, and executes them.
///
/// # Errors
/// The fewest steps for which breaker and model differ.
pub fn case(seed: Seed) -> Result<(), Counterexample> {
    let (policy, steps) = draw(seed);
    judge(&policy, steps, Breaker::new)
}

/// One call of a breaker, or a change of the time. Permits are counted back from the newest; a step for a permit that
/// does not exist does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Admit,
    Success(usize),
    Failure(usize),
    Release(usize),
    Wait(Duration),
    GoBack(Duration),
    Set(BreakerMode),
}

fn judge(
    policy: &BreakerPolicy,
    steps: Vec<Step>,
    make: impl Fn(BreakerPolicy) -> Breaker,
) -> Result<(), Counterexample> {
    if BreakerRun::new(policy, &make).all(&steps, &mut |_| {}).is_ok() {
        return Ok(());
    }
    let steps = fewest_steps(steps, |steps| BreakerRun::new(policy, &make).all(steps, &mut |_| {}).is_err());
    let mut story = format!("{policy:?}\n");
    let verdict = BreakerRun::new(policy, &make).all(&steps, &mut |line| story += &format!("  {line}\n"));
    Err(Counterexample(format!("{story}{}", verdict.expect_err("it has just failed"))))
}

/// Breaker and model, side by side.
struct BreakerRun {
    breaker: Breaker,
    model: Model,
    permits: Vec<Permit>,
    permits_max: usize,
}

impl BreakerRun {
    fn new(policy: &BreakerPolicy, make: &impl Fn(BreakerPolicy) -> Breaker) -> Self {
        let permits_max = policy.half_open_permits.max(1) as usize;
        Self { breaker: make(policy.clone()), model: Model::new(policy.clone()), permits: Vec::new(), permits_max }
    }

    fn all(&mut self, steps: &[Step], log: &mut dyn FnMut(fmt::Arguments<'_>)) -> Result<(), Counterexample> {
        steps.iter().zip(1..).try_for_each(|(step, number)| {
            log(format_args!("{number}. at {:?}: {step:?}", self.model.now));
            let announced = self.step(*step)?;
            log(format_args!("   {announced:?}, {:?}", self.breaker.state(self.model.now)));
            self.compare()
        })
    }

    /// One step of both. They must answer the same and announce the same.
    fn step(&mut self, step: Step) -> Result<Option<Transition>, Counterexample> {
        let (before, generation) = (self.breaker.clone(), self.model.generation());
        let now = self.model.now;
        let mut is_void = false;
        let announced = match step {
            Step::Admit => {
                let (answer, announced) = self.breaker.admit(now);
                let expected = self.model.admit();
                same("answer", answer.map(|_| ()).map_err(|refusal| refusal.retry_after), expected)?;
                self.permits.extend(answer);
                announced
            }
            Step::Success(back) | Step::Failure(back) | Step::Release(back) => {
                let Some(nth) = self.permits.len().checked_sub(back + 1) else { return Ok(None) };
                let permit = self.permits[nth];
                match step {
                    Step::Release(_) => {
                        is_void = !self.model.is_current(nth) && before.generation() != permit.generation();
                        self.model.release(nth);
                        self.breaker.release(permit);
                        None
                    }
                    Step::Success(_) => {
                        is_void = !self.model.report(nth, false);
                        self.breaker.success(permit, now)
                    }
                    _ => {
                        is_void = !self.model.report(nth, true);
                        self.breaker.failure(permit, now)
                    }
                }
            }
            Step::Wait(span) => {
                self.model.now = now.saturating_add(span);
                None
            }
            Step::GoBack(span) => {
                self.model.now = now.saturating_sub(span);
                None
            }
            Step::Set(mode) => {
                self.model.set_mode(mode);
                self.breaker.set_mode(mode)
            }
        };
        same("announcement", announced, self.model.change_after(generation))?;
        if is_void {
            same("breaker after a report that is void", &self.breaker, &before)?;
        }
        Ok(announced)
    }

    fn compare(&self) -> Result<(), Counterexample> {
        let Self { breaker, model, permits, permits_max } = self;
        let now = model.now;
        same("generation", breaker.generation(), model.generation())?;
        same("state", breaker.state(now), model.state())?;
        same("row of failures", breaker.failures(), model.streak())?;
        same("window", breaker.window(now), model.window())?;
        same("counters", breaker.counters(), model.counters())?;
        same("number of permits", permits.len(), model.given())?;
        let mut current = 0;
        for (nth, permit) in permits.iter().enumerate() {
            same("currency of a permit", (nth, breaker.is_current(*permit, now)), (nth, model.is_current(nth)))?;
            current += usize::from(model.is_current(nth));
        }
        match breaker.state(now) {
            BreakerState::HalfOpen { .. } if current > *permits_max => {
                Err(Counterexample(format!("{current} permits are out")))
            }
            _ => Ok(()),
        }
    }
}

fn same<T: PartialEq + fmt::Debug>(what: &str, breaker: T, model: T) -> Result<(), Counterexample> {
    if breaker == model {
        return Ok(());
    }
    Err(Counterexample(format!("{what}: the breaker says {breaker:?}, the model says {model:?}")))
}

fn draw(seed: Seed) -> (BreakerPolicy, Vec<Step>) {
    let mut rng = seed.stream("breaker").rng();
    let policy = draw_policy(&mut rng);
    let mut mix = StepMix {
        failures_percent: 50,
        waits_percent: [0, 15, 30][rng.random_range(0..3)],
        modes_percent: [0, 0, 2, 10][rng.random_range(0..4)],
        has_wild_clock: rng.random_ratio(1, 4),
    };
    let length = rng.random_range(1..=STEPS_MAX);
    let steps = (0..length).map(|_| mix.step(&policy, &mut rng)).collect();
    (policy, steps)
}

fn draw_policy(rng: &mut impl Rng) -> BreakerPolicy {
    let rate = rng.random_ratio(1, 2).then(|| RateThreshold {
        window: span(rng),
        calls_min: rng.random_range(0..8),
        failures_percent: [0, 1, 10, 25, 33, 50, 66, 75, 100, 255][rng.random_range(0..10)],
    });
    BreakerPolicy {
        failures_max: if rate.is_some() && rng.random_ratio(1, 2) { u32::MAX } else { rng.random_range(0..6) },
        rate,
        cooldown: span(rng),
        half_open_permits: rng.random_range(0..4),
        permit_deadline: span(rng),
        mode: if rng.random_ratio(2, 3) { BreakerMode::Enforcing } else { MODES[rng.random_range(0..4)] },
    }
}

fn span(rng: &mut impl Rng) -> Duration {
    match rng.random_range(0..10) {
        0 => Duration::from_nanos(rng.random_range(0..40)),
        1 => Duration::MAX,
        _ => Duration::from_secs(rng.random_range(0..40)),
    }
}

/// How frequent each kind of step is in a case.
struct StepMix {
    /// Changes sometimes, as if outages began and ended.
    failures_percent: u32,
    waits_percent: u32,
    modes_percent: u32,
    has_wild_clock: bool,
}

impl StepMix {
    fn step(&mut self, policy: &BreakerPolicy, rng: &mut impl Rng) -> Step {
        if rng.random_ratio(1, 8) {
            self.failures_percent = [2, 30, 60, 98][rng.random_range(0..4)];
        }
        if rng.random_ratio(self.modes_percent, 100) {
            return Step::Set(MODES[rng.random_range(0..4)]);
        }
        if rng.random_ratio(self.waits_percent, 100) {
            return self.wait(policy, rng);
        }
        // Mostly the latest permits, because older ones seldom count. Some older ones must be tried too.
        let back = if rng.random_ratio(5, 6) { rng.random_range(0..3) } else { rng.random_range(0..30) };
        match rng.random_range(0..10) {
            0..4 => Step::Admit,
            4 => Step::Release(back),
            _ if rng.random_ratio(self.failures_percent, 100) => Step::Failure(back),
            _ => Step::Success(back),
        }
    }

    /// A wait that ends at a moment that matters, just before it or just after it.
    fn wait(&self, policy: &BreakerPolicy, rng: &mut impl Rng) -> Step {
        if self.has_wild_clock && rng.random_ratio(1, 4) {
            let jump = Duration::from_secs([1, 60, 1 << 40, u64::MAX][rng.random_range(0..4)]);
            return if rng.random_ratio(1, 2) { Step::Wait(jump) } else { Step::GoBack(jump) };
        }
        let window = policy.rate.map_or(Duration::ZERO, |rate| rate.window);
        let moments = [policy.cooldown, policy.permit_deadline, window, window / 10, window / 10 * 9];
        let moment = match rng.random_range(0..10) {
            nth @ 0..5 => moments[nth],
            5..8 => policy.cooldown,
            _ => Duration::from_secs(rng.random_range(0..10)),
        };
        Step::Wait(match rng.random_range(0..4) {
            0 => moment.saturating_sub(TICK),
            1 => moment.saturating_add(TICK),
            _ => moment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn cases_repeat_and_reach_every_transition_and_mode() {
        assert_eq!(draw(Seed(7)), draw(Seed(7)));
        assert_ne!(draw(Seed(7)).1, draw(Seed(8)).1);
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for nth in 0..1000 {
            let (policy, steps) = draw(Seed(nth));
            let mut play = BreakerRun::new(&policy, &Breaker::new);
            for step in steps {
                if let Some(transition) = play.step(step).unwrap() {
                    let name = format!("{transition:?}").replace(|c: char| c.is_ascii_digit(), "");
                    *seen.entry(name).or_default() += 1;
                }
            }
        }
        assert_eq!(seen.len(), 3 + MODES.len(), "{seen:?}");
        assert!(seen.values().all(|times| *times >= 50), "{seen:?}");
    }

    #[test]
    fn a_breaker_that_differs_gives_a_short_counterexample() {
        let impatient = |policy: BreakerPolicy| {
            let failures_max = policy.failures_max.saturating_sub(1);
            Breaker::new(BreakerPolicy { failures_max, ..policy })
        };
        let policy = BreakerPolicy::default();
        let noise = [Step::Admit, Step::Wait(TICK), Step::Release(0), Step::Success(0)];
        let steps: Vec<Step> = noise.into_iter().chain([Step::Admit; 5]).chain([Step::Failure(0); 4]).collect();
        assert_eq!(judge(&policy, steps.clone(), Breaker::new), Ok(()));
        let story = judge(&policy, steps, impatient).unwrap_err().0;
        let lines: Vec<&str> = story.lines().collect();
        assert!(lines[0].starts_with("BreakerPolicy"), "{story}");
        assert_eq!(lines[1], "  1. at 0ns: Admit", "{story}");
        assert_eq!(lines[5], "  3. at 0ns: Failure(0)", "{story}");
        assert!(lines[6].starts_with("announcement: the breaker says Some(Tripped"), "{story}");
        assert_eq!(lines.len(), 7, "{story}");
    }
}
