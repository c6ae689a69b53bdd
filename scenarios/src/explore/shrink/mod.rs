//! Shrinking of cases: fewer preemptions, faults, actors and steps, simpler ones, the same finding.
//!
//! Where no part can be left out any more, smaller cases are tried under fresh schedules: mostly the steps one after
//! the other with one of them paused at a call (see [`serial`]), and sometimes those of the policy `rare` and of
//! [`Few`], which preempts three times at most.

mod candidate;
mod few;
mod serial;

use super::{Case, ExploreError, Explorer, Outcome};
use seawall_harness::sched::rare::Rare;
use seawall_harness::sched::{Dice, Policy};
use seawall_harness::seed::Seed;
use seawall_harness::shrink::{Bench, Candidate as _, Goal, Limits, leave_out};
use seawall_harness::verdict::Verdict;

pub use candidate::Failing;

use candidate::{PREEMPTIONS, STEPS, in_one_row, simpler_steps};
use few::Few;
use serial::Order;

/// Calls of executions under fresh schedules before the search ends.
const CALLS: u64 = 40_000_000;

/// The same for a case that is small enough already.
const CALLS_GOOD: u64 = 1_000_000;

/// A deadlock, whose actors have to be left behind, takes the time of this number of calls.
const CALLS_OF_DEADLOCK: u64 = 50_000;

/// The largest payload of a row that replaces several rows.
const PAYLOAD_BYTES_MAX: u16 = 20_000;

/// Shrinks cases by executing them.
pub struct CaseBench<'a> {
    explorer: &'a mut Explorer,
    goal: Goal<'a, Failing>,
    /// Fresh schedules that were tried, and the calls that they took.
    schedules: u64,
    calls: u64,
}

impl<'a> CaseBench<'a> {
    /// A bench for a case, and the case with its schedule as preemptions.
    ///
    /// # Errors
    /// [`ExploreError::NothingFound`]; or the case cannot be executed.
    pub fn new(
        explorer: &'a mut Explorer,
        case: &Case,
        limits: Limits<'a, Failing>,
    ) -> Result<(Self, Failing), ExploreError> {
        let outcome = explorer.execute(case)?;
        let goal = Goal::new(&outcome.findings, limits).ok_or(ExploreError::NothingFound)?;
        let failing = Failing::of(case, &outcome);
        Ok((Self { explorer, goal, schedules: 0, calls: 0 }, failing))
    }

    fn failing(&self, case: &Case, outcome: &Outcome) -> Option<Failing> {
        self.goal.is_met(&outcome.findings).then(|| Failing::of(case, outcome))
    }

    /// Executes a case under another schedule. If it fails, the case with the preemptions that it needs.
    fn execute_by(
        &mut self,
        case: &Case,
        policy: Box<dyn Policy>,
        seed: Seed,
    ) -> Result<Option<Failing>, ExploreError> {
        self.goal.executions += 1;
        let outcome = self.explorer.execute_by(case, policy, seed)?;
        let is_deadlocked = !outcome.execution.deadlocked.is_empty();
        self.calls += outcome.execution.calls + if is_deadlocked { CALLS_OF_DEADLOCK } else { 0 };
        let Some(mut found) = self.failing(case, &outcome) else { return Ok(None) };
        leave_out(self, &mut found, PREEMPTIONS)?;
        Ok(Some(found))
    }

    /// The order in which the steps of a case begin.
    fn order(&mut self, stuck: &Failing) -> Result<Order, ExploreError> {
        let (policy, began) = serial::recording(stuck);
        self.goal.executions += 1;
        self.explorer.execute_by(&stuck.case, policy, stuck.case.seed)?;
        Ok(Order::new(stuck, &began.take()))
    }

    /// Tries a fresh schedule on something smaller.
    fn reschedule(
        &mut self,
        stuck: &Failing,
        order: &Order,
        smaller: &[Case],
    ) -> Result<Option<Failing>, ExploreError> {
        self.schedules += 1;
        let seed = stuck.case.seed.stream("shrink").nth(self.schedules);
        let mut dice = Dice::new(seed);
        if dice.below(4) > 0 {
            let (case, policy) = order.sketch(&stuck.case, &mut dice);
            return self.execute_by(&case, Box::new(policy), seed);
        }
        // Every second time the same steps.
        let case = match dice.below(2) {
            0 => &stuck.case,
            _ => &smaller[dice.below(smaller.len())],
        };
        let policy: Box<dyn Policy> = match dice.below(6) {
            0 => Box::new(Rare::default()),
            1 | 2 => Box::new(Few::default()),
            _ => Box::new(Few::like(stuck.preemptions())),
        };
        self.execute_by(case, policy, seed)
    }
}

impl Bench for CaseBench<'_> {
    type Candidate = Failing;
    type Error = ExploreError;

    fn fails(&mut self, candidate: &Failing) -> Result<Option<Failing>, ExploreError> {
        self.goal.executions += 1;
        let outcome = self.explorer.execute(&candidate.case)?;
        Ok(self.failing(&candidate.case, &outcome))
    }

    fn search(&mut self, stuck: &Failing) -> Result<Option<Failing>, ExploreError> {
        let is_good = stuck.excess() == 0;
        let is_simple = stuck.preemptions().is_empty() || self.goal.verdict() == Verdict::Wedged;
        if stuck.steps() == 0 || is_good && is_simple {
            return Ok(None);
        }
        let calls_max = self.calls + if is_good { CALLS_GOOD } else { CALLS };
        let (order, smaller) = (self.order(stuck)?, smaller(stuck));
        while self.calls < calls_max && !self.is_over() {
            let found = self.reschedule(stuck, &order, &smaller)?;
            if let Some(found) = found.filter(|found| found.size() < stuck.size()) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn progress(&mut self, best: &Failing) {
        self.goal.progress(best);
    }

    fn is_over(&mut self) -> bool {
        self.goal.is_over()
    }

    fn executions(&self) -> u64 {
        self.goal.executions
    }
}

/// Cases to try fresh schedules on: with all steps as simple as possible or as they are, and without one or two of
/// them.
fn smaller(stuck: &Failing) -> Vec<Case> {
    let mut smaller = Vec::new();
    let simple = stuck.changed(|case| {
        for numbered in case.actors.iter_mut().flat_map(|plan| &mut plan.steps) {
            while let Some(simpler) = simpler_steps(numbered.step).into_iter().next_back() {
                numbered.step = simpler;
            }
        }
    });
    let fewer_rows = stuck.changed(|case| {
        for numbered in case.actors.iter_mut().flat_map(|plan| &mut plan.steps) {
            numbered.step = in_one_row(numbered.step);
        }
    });
    for base in [stuck, &fewer_rows, &simple] {
        smaller.push(base.case.clone());
        for second in 0..stuck.steps() {
            let without = base.without(STEPS, second..second + 1);
            smaller.extend((0..second).map(|first| without.without(STEPS, first..first + 1).case));
            smaller.push(without.case);
        }
    }
    smaller
}
