//! Shrinking: executes candidates, and searches for schedules with fewer preemptions.

use super::case::{Case, Failing, PREEMPTIONS};
use super::executor::{Executor, Outcome};
use super::schedules::{Scout, Sparse};
use super::world::World;
use crate::sched::Policy;
use crate::seed::Seed;
use crate::shrink::{Bench, Goal, Limits, leave_out};
use std::convert::Infallible;
use std::fmt;

/// Executions of a shrinking, at most.
const EXECUTIONS_MAX: u64 = 2_000;

/// Calls of a shrinking, at most: so that executions without an end do not take minutes.
const CALLS_MAX: u64 = 5_000_000;

/// An execution that deadlocked, whose actors have to be left behind, takes the time of this number of calls.
const CALLS_OF_DEADLOCK: u64 = 20_000;

/// Schedules of one preemption that are tried, at most.
const SINGLES_MAX: usize = 1_000;

/// Fresh schedules of few preemptions that are tried in a row.
const SCHEDULES: u64 = 200;

/// See the module's documentation.
pub(super) struct CaseBench<'a, A, F> {
    executor: &'a mut Executor<A, F>,
    goal: Goal<'a, Failing>,
    schedules: u64,
    calls: u64,
    /// True once all schedules of one preemption have been tried.
    has_tried_one: bool,
}

impl<'a, A: fmt::Debug + 'static, F: Fn(&mut World<A>)> CaseBench<'a, A, F> {
    /// A bench for a case that failed so, and the case with its schedule. `None` if it did not fail.
    pub(super) fn new(executor: &'a mut Executor<A, F>, case: &Case, outcome: &Outcome) -> Option<(Self, Failing)> {
        let findings: Vec<_> = outcome.finding.iter().cloned().collect();
        let goal = Goal::new(&findings, Limits::default())?;
        Some((Self { executor, goal, schedules: 0, calls: 0, has_tried_one: false }, failing(case, outcome)))
    }

    fn execute(&mut self, case: &Case, policy: Box<dyn Policy>, seed: Seed) -> Outcome {
        let outcome = self.executor.execute_by(case, policy, seed);
        self.goal.executions += 1;
        let deadlock = if outcome.execution.deadlocked.is_empty() { 0 } else { CALLS_OF_DEADLOCK };
        self.calls += outcome.execution.calls + deadlock;
        outcome
    }

    /// The first schedule of a single preemption that fails.
    fn with_one(&mut self, stuck: &Failing) -> Option<Failing> {
        let scout = Scout::default();
        let possible = scout.possible();
        self.execute(&stuck.case, Box::new(scout), stuck.case.seed);
        for preemption in possible.take().into_iter().take(SINGLES_MAX) {
            if self.is_over() {
                break;
            }
            let case = stuck.case.with_schedule(&[preemption]);
            let outcome = self.execute(&case, case.policy(), case.seed);
            let found = self.met(&case, &outcome).filter(|found| found.preemptions() == 1);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn met(&self, case: &Case, outcome: &Outcome) -> Option<Failing> {
        let findings: Vec<_> = outcome.finding.iter().cloned().collect();
        self.goal.is_met(&findings).then(|| failing(case, outcome))
    }
}

fn failing(case: &Case, outcome: &Outcome) -> Failing {
    let Outcome { execution, .. } = outcome;
    Failing { case: case.with_schedule(&execution.preemptions), calls: execution.calls }
}

impl<A: fmt::Debug + 'static, F: Fn(&mut World<A>)> Bench for CaseBench<'_, A, F> {
    type Candidate = Failing;
    type Error = Infallible;

    fn fails(&mut self, candidate: &Failing) -> Result<Option<Failing>, Infallible> {
        let outcome = self.execute(&candidate.case, candidate.case.policy(), candidate.case.seed);
        Ok(self.met(&candidate.case, &outcome))
    }

    fn search(&mut self, stuck: &Failing) -> Result<Option<Failing>, Infallible> {
        if stuck.preemptions() > 1 && !std::mem::replace(&mut self.has_tried_one, true) {
            let found = self.with_one(stuck);
            if found.is_some() {
                return Ok(found);
            }
        }
        let last = self.schedules + SCHEDULES;
        while stuck.preemptions() > 2 && self.schedules < last && !self.is_over() {
            self.schedules += 1;
            let seed: Seed = stuck.case.seed.stream("shrink").nth(self.schedules);
            let policy = Box::new(Sparse::new(stuck.calls, stuck.preemptions() - 1));
            let outcome = self.execute(&stuck.case, policy, seed);
            let Some(mut found) = self.met(&stuck.case, &outcome) else { continue };
            leave_out(self, &mut found, PREEMPTIONS)?;
            if found.preemptions() < stuck.preemptions() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn is_over(&mut self) -> bool {
        self.goal.executions >= EXECUTIONS_MAX || self.calls >= CALLS_MAX
    }

    fn executions(&self) -> u64 {
        self.goal.executions
    }
}
