//! A case that fails, as a candidate: its parts, and what is simpler than it.

use super::PAYLOAD_BYTES_MAX;
use crate::explore::case::{Begin, Checkpoint, Journal, Synchronous, Target};
use crate::explore::scenarios::OwnStep;
use crate::explore::{Case, Outcome, Schedule, Step, cuts_power};
use seawall_harness::sched::{ENDED, Preemption};
use seawall_harness::shrink::Candidate;
use std::ops::Range;

/// The largest distance of two preemptions that are left out as a pair.
const PAIR_DISTANCE_MAX: usize = 4;

/// A case with at most this number of preemptions and statements is small enough.
pub(super) const PREEMPTIONS_GOOD: usize = 3;
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
pub(super) const PREEMPTIONS: usize = 0;
const FAULTS: usize = 1;
const ACTORS: usize = 2;
pub(super) const STEPS: usize = 3;

impl Failing {
    /// The preemptions.
    pub fn preemptions(&self) -> &[Preemption] {
        match &self.case.schedule {
            Schedule::Preemptions(preemptions) => preemptions,
            Schedule::Policy { .. } => &[],
        }
    }

    /// By how much its story is too long for a page.
    pub(super) fn excess(&self) -> u64 {
        let preemptions = self.preemptions().len().saturating_sub(PREEMPTIONS_GOOD) as u64;
        self.statements.saturating_sub(STATEMENTS_GOOD) + 4 * preemptions
    }

    pub(super) fn steps(&self) -> usize {
        self.case.actors.iter().map(|plan| plan.steps.len()).sum()
    }

    pub(super) fn changed(&self, change: impl FnOnce(&mut Case)) -> Self {
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
pub(super) fn simpler_steps(step: Step) -> Vec<Step> {
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

/// Changes that each set one setting to SQLite's default. Where the power is cut, `synchronous` stays: a lower level
/// loses commits by its definition.
fn simpler_settings(case: &Case) -> Vec<Change> {
    let (settings, layout) = (case.settings, case.layout);
    let is_synchronous = settings.synchronous == Synchronous::Full || cuts_power(&case.faults);
    let changes: [(bool, Change); 8] = [
        (settings.journal == Journal::Wal, |case| case.settings.journal = Journal::Wal),
        (settings.mmap_bytes == 0, |case| case.settings.mmap_bytes = 0),
        (settings.autocheckpoint == 1000, |case| case.settings.autocheckpoint = 1000),
        (settings.cache_pages == 2000, |case| case.settings.cache_pages = 2000),
        (is_synchronous, |case| case.settings.synchronous = Synchronous::Full),
        (settings.temp_store == 0, |case| case.settings.temp_store = 0),
        (layout.page_bytes == 4096, |case| case.layout.page_bytes = 4096),
        (layout.auto_vacuum == 0, |case| case.layout.auto_vacuum = 0),
    ];
    changes.into_iter().filter(|(is_so, _)| !is_so).map(|(_, change)| change).collect()
}

impl Failing {
    pub(super) fn of(case: &Case, outcome: &Outcome) -> Self {
        Self { case: case.with_preemptions(&outcome.execution.preemptions), statements: outcome.statements }
    }
}

/// A write of one row that is as large as all of them together.
pub(super) fn in_one_row(step: Step) -> Step {
    match step {
        Step::Write { changes, begin, savepoint, rollback, payload_bytes, target } if changes > 1 => {
            let payload_bytes = payload_bytes.max(60).saturating_mul(changes.into()).min(PAYLOAD_BYTES_MAX);
            Step::Write { changes: 1, begin, savepoint, rollback, payload_bytes, target }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seawall_harness::seed::Seed;

    #[test]
    fn where_the_power_is_cut_the_level_of_synchronous_stays() {
        #[track_caller]
        fn check(rule: &str, stays: bool) {
            let case = Case::draw("mixed", "linked", "rare", &[rule.parse().unwrap()], Seed(2)).unwrap();
            let failing =
                Failing { case: Case { settings: case.settings, ..case.with_preemptions(&[]) }, statements: 9 };
            let failing = failing.changed(|case| case.settings.synchronous = Synchronous::Extra);
            let same = |other: &Failing| other.case.settings.synchronous == Synchronous::Extra;
            assert_eq!(failing.simplifications().iter().all(same), stays, "{rule}");
        }
        check("write@db:power-cut:p=0.1", true);
        check("write@db:kill:p=0.1", false);
    }
}
