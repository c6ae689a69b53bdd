//! Shrinking of cases: fewer preemptions, faults, actors and steps, simpler ones, the same finding.
//!
//! Where no part can be left out any more, smaller cases are tried under fresh schedules: mostly the steps one after
//! the other with one of them paused at a call (see [`serial`]), and sometimes those of the policy `rare` and of
//! [`Few`], which preempts three times at most.

mod few;
mod serial;

use std::ops::Range;

use seawall_harness::sched::rare::Rare;
use seawall_harness::sched::{Dice, ENDED, Policy, Preemption};
use seawall_harness::seed::Seed;
use seawall_harness::verdict::Verdict;

use super::case::{Begin, Checkpoint, Journal, Synchronous, Target};
use super::scenarios::OwnStep;
use super::{Case, ExploreError, Explorer, Outcome, Schedule, Step};
use crate::shrink::{Bench, Candidate, Goal, Limits, leave_out};
use few::Few;
use serial::Order;

/// Calls of executions under fresh schedules before the search ends.
const CALLS: u64 = 40_000_000;

/// The same for a case that is small enough already.
const CALLS_GOOD: u64 = 1_000_000;

/// A deadlock, whose actors have to be left behind, takes the time of this number of calls.
const CALLS_OF_DEADLOCK: u64 = 50_000;

/// The largest distance of two preemptions that are left out as a pair.
const PAIR_DISTANCE_MAX: usize = 4;

/// The largest payload of a row that replaces several rows.
const PAYLOAD_BYTES_MAX: u16 = 20_000;

/// A case with at most this number of preemptions and statements is small enough.
const PREEMPTIONS_GOOD: usize = 3;
const STATEMENTS_GOOD: u64 = 12;

/// A case that fails, with its schedule as preemptions.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The case.
    pub case: Case,
    /// SQL statements that its steps executed.
    pub statements: u64,
}

/// The kinds of parts.
const PREEMPTIONS: usize = 0;
const FAULTS: usize = 1;
const ACTORS: usize = 2;
const STEPS: usize = 3;

impl Failing {
    /// The preemptions.
    pub fn preemptions(&self) -> &[Preemption] {
        match &self.case.schedule {
            Schedule::Preemptions(preemptions) => preemptions,
            Schedule::Policy { .. } => &[],
        }
    }

    /// By how much its story is too long for a page.
    fn excess(&self) -> u64 {
        let preemptions = self.preemptions().len().saturating_sub(PREEMPTIONS_GOOD) as u64;
        self.statements.saturating_sub(STATEMENTS_GOOD) + 4 * preemptions
    }

    fn steps(&self) -> usize {
        self.case.actors.iter().map(|plan| plan.steps.len()).sum()
    }

    fn changed(&self, change: impl FnOnce(&mut Case)) -> Self {
        let mut other = self.clone();
        change(&mut other.case);
        other
    }

    /// Without the actors at these positions; the others move up.
    fn without_actors(&self, gone: &Range<usize>) -> Self {
        let moved = |position: usize| if position >= gone.end { position - gone.len() } else { position };
        let kept = self.preemptions().iter().filter(|p| !gone.contains(&p.actor) && !gone.contains(&p.to));
        let kept = kept.map(|p| Preemption { actor: moved(p.actor), to: moved(p.to), ..*p }).collect();
        self.changed(|case| {
            case.actors.drain(gone.clone());
            case.schedule = Schedule::Preemptions(kept);
        })
    }
}

impl Candidate for Failing {
    type Size = (u64, u64, u64);

    /// First the excess; then statements, preemptions and faults; then everything that is not the simplest.
    fn size(&self) -> (u64, u64, u64) {
        let parts = self.preemptions().len() + self.case.faults.len() + self.case.actors.len() + self.steps();
        (self.excess(), self.statements + 4 * parts as u64, complexity(&self.case))
    }

    fn kinds(&self) -> usize {
        4
    }

    fn parts(&self, kind: usize) -> usize {
        match kind {
            PREEMPTIONS => self.preemptions().len(),
            FAULTS => self.case.faults.len(),
            ACTORS if self.case.actors.len() < 2 => 0,
            ACTORS => self.case.actors.len(),
            _ => self.steps(),
        }
    }

    fn without(&self, kind: usize, parts: Range<usize>) -> Self {
        match kind {
            PREEMPTIONS => {
                let mut kept = self.preemptions().to_vec();
                kept.drain(parts);
                self.changed(|case| case.schedule = Schedule::Preemptions(kept))
            }
            FAULTS => self.changed(|case| drop(case.faults.drain(parts))),
            // An execution needs one actor.
            ACTORS if parts.len() == self.case.actors.len() => self.without_actors(&(1..parts.end)),
            ACTORS => self.without_actors(&parts),
            _ => self.changed(|case| {
                let mut position = 0;
                for plan in &mut case.actors {
                    plan.steps.retain(|_| {
                        position += 1;
                        !parts.contains(&(position - 1))
                    });
                }
            }),
        }
    }

    fn simplifications(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        for actor in 0..self.case.actors.len() {
            for step in 0..self.case.actors[actor].steps.len() {
                let variants = simpler_steps(self.case.actors[actor].steps[step].step);
                let with = |variant| self.changed(|case| case.actors[actor].steps[step].step = variant);
                simpler.extend(variants.into_iter().map(with));
            }
        }
        simpler.extend(simpler_settings(&self.case).into_iter().map(|change| self.changed(change)));
        let preemptions = self.preemptions();
        let with = |changed: Vec<Preemption>| self.changed(|case| case.schedule = Schedule::Preemptions(changed));
        // An actor that is preempted goes on after another preemption: neither can be left out alone.
        for first in 0..preemptions.len() {
            for second in (first + 1..preemptions.len()).take(PAIR_DISTANCE_MAX) {
                let rest = preemptions.iter().enumerate().filter(|(at, _)| *at != first && *at != second);
                simpler.push(with(rest.map(|(_, preemption)| *preemption).collect()));
            }
        }
        for (position, preemption) in preemptions.iter().enumerate() {
            if preemption.nth == 1 || preemption.section == ENDED {
                continue;
            }
            // At the first call of a statement a preemption is one between two statements.
            for section in [preemption.section, preemption.section + 1] {
                let mut changed = preemptions.to_vec();
                changed[position] = Preemption { section, nth: 1, ..*preemption };
                simpler.push(with(changed));
            }
        }
        simpler
    }
}

/// Everything that is not the simplest.
fn complexity(case: &Case) -> u64 {
    let steps = case.actors.iter().flat_map(|plan| &plan.steps);
    let steps: usize = steps.map(|numbered| step_complexity(numbered.step)).sum();
    let Schedule::Preemptions(preemptions) = &case.schedule else { return u64::MAX };
    let within_a_statement = preemptions.iter().filter(|preemption| preemption.nth > 1).count();
    (steps + simpler_settings(case).len() + within_a_statement) as u64
}

fn step_complexity(step: Step) -> usize {
    let rows = match step {
        Step::Write { changes, .. } => usize::from(changes),
        _ => 0,
    };
    simpler_steps(step).len() + rows
}

/// Versions of a step that are simpler in one respect each.
fn simpler_steps(step: Step) -> Vec<Step> {
    let mut simpler = Vec::new();
    let mut also = |other: Step| {
        if other != step {
            simpler.push(other);
        }
    };
    match step {
        Step::Write { changes, begin, savepoint, rollback, payload_bytes, target } => {
            also(Step::Write { changes: 1, begin, savepoint, rollback, payload_bytes, target });
            also(in_one_row(step));
            also(Step::Write { changes, begin, savepoint: false, rollback, payload_bytes, target });
            also(Step::Write { changes, begin, savepoint, rollback: false, payload_bytes, target });
            also(Step::Write { changes, begin, savepoint, rollback, payload_bytes, target: Target::New });
            also(Step::Write { changes, begin: Begin::Immediate, savepoint, rollback, payload_bytes, target });
            also(Step::Write { changes, begin, savepoint, rollback, payload_bytes: 4, target });
        }
        Step::Checkpoint { .. } => also(Step::Checkpoint { mode: Checkpoint::Passive }),
        other => other.own().map_or_else(Vec::new, OwnStep::simpler).into_iter().for_each(also),
    }
    simpler
}

type Change = fn(&mut Case);

/// Changes that each set one setting to SQLite's default.
fn simpler_settings(case: &Case) -> Vec<Change> {
    let (settings, layout) = (case.settings, case.layout);
    let changes: [(bool, Change); 8] = [
        (settings.journal == Journal::Wal, |case| case.settings.journal = Journal::Wal),
        (settings.mmap_bytes == 0, |case| case.settings.mmap_bytes = 0),
        (settings.autocheckpoint == 1000, |case| case.settings.autocheckpoint = 1000),
        (settings.cache_pages == 2000, |case| case.settings.cache_pages = 2000),
        (settings.synchronous == Synchronous::Full, |case| case.settings.synchronous = Synchronous::Full),
        (settings.temp_store == 0, |case| case.settings.temp_store = 0),
        (layout.page_bytes == 4096, |case| case.layout.page_bytes = 4096),
        (layout.auto_vacuum == 0, |case| case.layout.auto_vacuum = 0),
    ];
    changes.into_iter().filter(|(is_so, _)| !is_so).map(|(_, change)| change).collect()
}

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

impl Failing {
    fn of(case: &Case, outcome: &Outcome) -> Self {
        Self { case: case.with_preemptions(&outcome.execution.preemptions), statements: outcome.statements }
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

/// A write of one row that is as large as all of them together.
fn in_one_row(step: Step) -> Step {
    match step {
        Step::Write { changes, begin, savepoint, rollback, payload_bytes, target } if changes > 1 => {
            let payload_bytes = payload_bytes.max(60).saturating_mul(changes.into()).min(PAYLOAD_BYTES_MAX);
            Step::Write { changes: 1, begin, savepoint, rollback, payload_bytes, target }
        }
        other => other,
    }
}
