//! A case: everything that an execution follows from, beside the test itself.

use super::schedules;
use crate::fault::{FaultPlan, PlanError, Rule};
use crate::sched::replay::Replay;
use crate::sched::{Dice, Policy, Preemption};
use crate::seed::Seed;
use crate::shrink::Candidate;
use std::ops::Range;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    /// The randomness of the machine, of SQLite and of the faults; and of the schedule, if there is none.
    pub(super) seed: Seed,
    /// The faults, those that were drawn included.
    pub(super) faults: Vec<Rule>,
    /// The schedule; `None` for the one that a policy makes from the seed.
    pub(super) schedule: Option<Vec<Preemption>>,
    /// The calls that are expected, for the policy.
    pub(super) calls: u64,
}

/// What of a case is drawn from its seed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drawn {
    /// How many processes are killed, at most.
    pub(super) crashes: usize,
    /// How often the power is cut, at most.
    pub(super) power_cuts: usize,
    /// The calls of the first execution, which has neither: they happen at one of so many.
    pub(super) calls: u64,
}

impl Case {
    /// The case of a seed.
    pub(super) fn draw(seed: Seed, faults: &[Rule], drawn: Drawn) -> Self {
        let mut case = Self { seed, faults: faults.to_vec(), schedule: None, calls: drawn.calls };
        let mut dice = Dice::new(seed.stream("deaths"));
        for (effect, most) in [("kill", drawn.crashes), ("power-cut", drawn.power_cuts)] {
            for _ in 0..dice.below(most + 1) {
                let call = 1 + dice.below(usize::try_from(drawn.calls).unwrap_or(usize::MAX).max(1));
                case.faults.extend(format!("*@*:{effect}:when={call}").parse::<Rule>());
            }
        }
        case
    }

    /// The case with the schedule of its execution.
    pub(super) fn with_schedule(&self, preemptions: &[Preemption]) -> Self {
        Self { schedule: Some(preemptions.to_vec()), ..self.clone() }
    }

    pub(super) fn plan(&self) -> Result<FaultPlan, PlanError> {
        FaultPlan::new(self.faults.clone(), self.seed.stream("faults"))
    }

    pub(super) fn policy(&self) -> Box<dyn Policy> {
        match &self.schedule {
            Some(preemptions) => Box::new(Replay::new(preemptions)),
            None => schedules::policy(self.seed, self.calls),
        }
    }

    fn preemptions(&self) -> &[Preemption] {
        self.schedule.as_deref().unwrap_or_default()
    }
}

/// A case that fails, as it was executed.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    pub(super) case: Case,
    pub(super) calls: u64,
}

impl Failing {
    /// How many preemptions it needs.
    pub(super) fn preemptions(&self) -> usize {
        self.case.preemptions().len()
    }
}

/// The kinds of parts.
const FAULTS: usize = 0;
/// See [`FAULTS`].
pub(super) const PREEMPTIONS: usize = 1;

impl Candidate for Failing {
    type Size = (usize, usize, u64);

    fn size(&self) -> Self::Size {
        (self.case.faults.len(), self.preemptions(), self.calls)
    }

    fn kinds(&self) -> usize {
        2
    }

    fn parts(&self, kind: usize) -> usize {
        if kind == FAULTS { self.case.faults.len() } else { self.preemptions() }
    }

    fn without(&self, kind: usize, parts: Range<usize>) -> Self {
        let mut rest = self.clone();
        match (kind, &mut rest.case.schedule) {
            (PREEMPTIONS, Some(preemptions)) => drop(preemptions.drain(parts)),
            (FAULTS, _) => drop(rest.case.faults.drain(parts)),
            _ => {}
        }
        rest
    }

    fn simplifications(&self) -> Vec<Self> {
        Vec::new()
    }
}
