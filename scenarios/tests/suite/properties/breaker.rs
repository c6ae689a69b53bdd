//! The circuit breaker against a model that was written from its description alone.
//!
//! The model keeps no leases and no counters of its own making: it remembers every permit it ever gave, and answers
//! each question by looking through them. The breaker must agree with it after every step.

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Union;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use seawall::breaker::{Breaker, Permit, Refusal, Transition};
use seawall::{BreakerPolicy, BreakerState};

use super::{config, regressions};

prop_state_machine! {
    #![proptest_config(config(4000, regressions!("breaker")))]

    #[test]
    fn the_breaker_agrees_with_its_model(sequential 1..80 => BreakerAgainstModel);
}

/// What may happen to a breaker. Permits are named by the order in which they were given, however long ago.
#[derive(Clone, Debug)]
enum Step {
    Admit,
    Success(usize),
    Failure(usize),
    Release(usize),
    Wait(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { since: Duration },
    HalfOpen,
}

/// A permit as the model remembers it.
#[derive(Clone, Copy, Debug)]
struct Given {
    generation: u64,
    /// When a probe's time is over; `None` for a permit of a closed breaker.
    deadline: Option<Duration>,
    released: bool,
}

#[derive(Clone, Debug)]
struct Model {
    policy: BreakerPolicy,
    now: Duration,
    phase: Phase,
    /// Consecutive failures while closed.
    streak: u32,
    given: Vec<Given>,
    announced: Vec<Transition>,
    /// The answer to the last `Admit`, if it was refused.
    refused: Option<Refusal>,
    /// True if the last step was a report that came too late to count.
    was_late: bool,
}

impl Model {
    fn generation(&self) -> u64 {
        self.announced.len() as u64
    }

    fn permits_max(&self) -> u32 {
        self.policy.half_open_permits.max(1)
    }

    fn is_current(&self, permit: Given) -> bool {
        let in_time = permit.deadline.is_none_or(|deadline| self.now < deadline && !permit.released);
        permit.generation == self.generation() && in_time
    }

    /// The probes that are out.
    fn probes(&self) -> Vec<Duration> {
        let current = self.given.iter().filter(|permit| self.is_current(**permit));
        current.filter_map(|permit| permit.deadline).collect()
    }

    fn announce(&mut self, phase: Phase, transition: fn(u64) -> Transition) {
        self.phase = phase;
        self.streak = 0;
        let generation = self.generation() + 1;
        self.announced.push(transition(generation));
    }

    fn admit(&mut self) {
        if let Phase::Open { since } = self.phase {
            let until = since.saturating_add(self.policy.cooldown);
            if self.now < until {
                self.refused = Some(Refusal { retry_after: until - self.now });
                return;
            }
            self.announce(Phase::HalfOpen, |generation| Transition::HalfOpened { generation });
        }
        let deadline = match self.phase {
            Phase::Closed => None,
            _ => Some(self.now.saturating_add(self.policy.permit_deadline)),
        };
        let probes = self.probes();
        match probes.iter().min() {
            Some(&first) if self.phase == Phase::HalfOpen && probes.len() >= self.permits_max() as usize => {
                self.refused = Some(Refusal { retry_after: first - self.now });
            }
            _ => self.given.push(Given { generation: self.generation(), deadline, released: false }),
        }
    }

    fn report(&mut self, nth: usize, is_success: bool) {
        if !self.is_current(self.given[nth]) {
            self.was_late = true;
            return;
        }
        match (self.phase, is_success) {
            (Phase::Closed, true) => self.streak = 0,
            (Phase::Closed, false) if self.streak + 1 < self.policy.failures_max.max(1) => self.streak += 1,
            (_, false) => {
                self.announce(Phase::Open { since: self.now }, |generation| Transition::Tripped { generation })
            }
            (_, true) => self.announce(Phase::Closed, |generation| Transition::Recovered { generation }),
        }
    }

    fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { since } => {
                let until = since.saturating_add(self.policy.cooldown);
                BreakerState::Open { remaining: until.saturating_sub(self.now) }
            }
            Phase::HalfOpen => BreakerState::HalfOpen { permits_free: self.permits_max() - self.probes().len() as u32 },
        }
    }
}

fn policy() -> impl Strategy<Value = BreakerPolicy> {
    let span = || {
        prop_oneof![
            8 => (0..20_u64).prop_map(Duration::from_secs),
            1 => (0..20_u64).prop_map(Duration::from_nanos),
            1 => Just(Duration::MAX),
        ]
    };
    (0..5_u32, span(), 0..4_u32, span()).prop_map(|(failures_max, cooldown, half_open_permits, permit_deadline)| {
        BreakerPolicy { failures_max, cooldown, half_open_permits, permit_deadline }
    })
}

/// Waits that end on, just before and just after the moments that matter.
fn wait(policy: &BreakerPolicy) -> impl Strategy<Value = Duration> + use<> {
    let BreakerPolicy { cooldown, permit_deadline, .. } = *policy;
    let tick = Duration::from_nanos(1);
    prop_oneof![
        (0..10_u64).prop_map(Duration::from_secs),
        Just(cooldown),
        Just(cooldown.saturating_sub(tick)),
        Just(permit_deadline),
        Just(permit_deadline.saturating_sub(tick)),
        Just(tick),
    ]
}

struct BreakerModel;

impl ReferenceStateMachine for BreakerModel {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        let model = |policy| Model {
            policy,
            now: Duration::ZERO,
            phase: Phase::Closed,
            streak: 0,
            given: Vec::new(),
            announced: Vec::new(),
            refused: None,
            was_late: false,
        };
        policy().prop_map(model).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        let given = model.given.len();
        let mut steps = vec![(4, Just(Step::Admit).boxed()), (2, wait(&model.policy).prop_map(Step::Wait).boxed())];
        if given > 0 {
            // Mostly the latest permits, since older ones seldom count; but those must be seen not to.
            let permit = || prop_oneof![3 => given.saturating_sub(4)..given, 1 => 0..given];
            steps.push((4, permit().prop_map(Step::Failure).boxed()));
            steps.push((1, permit().prop_map(Step::Success).boxed()));
            steps.push((1, permit().prop_map(Step::Release).boxed()));
        }
        Union::new_weighted(steps).boxed()
    }

    fn preconditions(model: &Model, step: &Step) -> bool {
        match step {
            Step::Success(nth) | Step::Failure(nth) | Step::Release(nth) => *nth < model.given.len(),
            Step::Admit | Step::Wait(_) => true,
        }
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        model.refused = None;
        model.was_late = false;
        match *step {
            Step::Admit => model.admit(),
            Step::Success(nth) => model.report(nth, true),
            Step::Failure(nth) => model.report(nth, false),
            Step::Release(nth) => {
                model.was_late = model.given[nth].generation != model.generation();
                model.given[nth].released = true;
            }
            Step::Wait(span) => model.now = model.now.saturating_add(span),
        }
        model
    }
}

/// The breaker under test, and what it has said so far.
struct Subject {
    breaker: Breaker,
    permits: Vec<Permit>,
    announced: Vec<Transition>,
}

struct BreakerAgainstModel;

impl StateMachineTest for BreakerAgainstModel {
    type SystemUnderTest = Subject;
    type Reference = BreakerModel;

    fn init_test(model: &Model) -> Subject {
        Subject { breaker: Breaker::new(model.policy.clone()), permits: Vec::new(), announced: Vec::new() }
    }

    fn apply(mut subject: Subject, model: &Model, step: Step) -> Subject {
        let before = subject.breaker.clone();
        let (now, breaker) = (model.now, &mut subject.breaker);
        let announced = match step {
            Step::Admit => {
                let (answer, transition) = breaker.admit(now);
                assert_eq!(answer.as_ref().err(), model.refused.as_ref());
                subject.permits.extend(answer);
                transition
            }
            Step::Success(nth) => breaker.success(subject.permits[nth], now),
            Step::Failure(nth) => breaker.failure(subject.permits[nth], now),
            Step::Release(nth) => {
                breaker.release(subject.permits[nth]);
                None
            }
            Step::Wait(_) => None,
        };
        subject.announced.extend(announced);
        if model.was_late {
            assert_eq!(subject.breaker, before, "a report from the past has changed something");
        }
        subject
    }

    fn check_invariants(subject: &Subject, model: &Model) {
        let Subject { breaker, permits, announced } = subject;
        assert_eq!(*announced, model.announced, "each change of state is announced once, by the call that caused it");
        assert_eq!(breaker.generation(), model.generation());
        assert_eq!(breaker.state(model.now), model.state());
        assert_eq!(breaker.failures(), model.streak);
        assert_eq!(permits.len(), model.given.len());
        for (permit, given) in permits.iter().zip(&model.given) {
            assert_eq!(breaker.is_current(*permit, model.now), model.is_current(*given), "{permit:?}");
        }
        if matches!(breaker.state(model.now), BreakerState::HalfOpen { .. }) {
            let out = permits.iter().filter(|permit| breaker.is_current(**permit, model.now)).count();
            assert!(out <= model.permits_max() as usize, "{out} permits are out");
        }
    }
}
