//! A single error made as small as possible: with fewer transactions.

use super::super::PowercutError;
use super::super::case::Case;
use super::effects::ordinal;
use super::execution::{Executed, Sweeper, Swept};
use seawall_harness::fault::{Rule, When};
use seawall_harness::shrink::{Bench, Candidate, Goal, Limits};
use std::ops::Range;

/// The last call or allocation at which a rule is tried in a smaller case.
const NTH_MAX: u64 = 20_000;

/// A case with a fault to a finding.
#[derive(Clone, Debug)]
pub struct Erring {
    /// The case.
    pub case: Case,
    /// The fault.
    pub rule: Rule,
}

impl Candidate for Erring {
    /// Steps.
    type Size = usize;

    fn size(&self) -> usize {
        self.case.steps()
    }

    fn kinds(&self) -> usize {
        1
    }

    fn parts(&self, _kind: usize) -> usize {
        self.case.steps()
    }

    fn without(&self, _kind: usize, parts: Range<usize>) -> Self {
        let mut smaller = self.clone();
        smaller.case.leave_out(&parts);
        smaller
    }

    fn simplifications(&self) -> Vec<Self> {
        Vec::new()
    }
}

/// Shrinks cases with a fault.
pub struct SweepBench<'a> {
    sweeper: &'a mut Sweeper,
    goal: Goal<'a, Erring>,
}

impl<'a> SweepBench<'a> {
    /// A bench; `None` if the fault comes to nothing.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn new(
        sweeper: &'a mut Sweeper,
        first: &Erring,
        limits: Limits<'a, Erring>,
    ) -> Result<Option<Self>, PowercutError> {
        sweeper.set_case(first.case.clone());
        let findings: Vec<_> = sweeper.execute(&first.rule)?.outcome.finding().into_iter().collect();
        Ok(Goal::new(&findings, limits).map(|goal| Self { sweeper, goal }))
    }
}

/// The same rule at another of its calls.
fn at(rule: &Rule, nth: u64) -> Rule {
    let when = if matches!(rule.when, Some(When::From(_))) { When::From(nth) } else { When::Nth(nth) };
    Rule { when: Some(when), ..rule.clone() }
}

impl Bench for SweepBench<'_> {
    type Candidate = Erring;
    type Error = PowercutError;

    /// The calls have other ordinals in a smaller case, so each is tried.
    fn fails(&mut self, candidate: &Erring) -> Result<Option<Erring>, PowercutError> {
        self.sweeper.set_case(candidate.case.clone());
        for nth in 1..=ordinal(&candidate.rule).min(NTH_MAX) {
            let rule = at(&candidate.rule, nth);
            self.goal.executions += 1;
            let Executed { outcome, fired_at, .. } = self.sweeper.execute(&rule)?;
            if fired_at.is_none() || self.is_over() {
                break;
            }
            let findings: Vec<_> = outcome.finding().into_iter().collect();
            if self.goal.is_met(&findings) {
                return Ok(Some(Erring { case: candidate.case.clone(), rule }));
            }
        }
        Ok(None)
    }

    fn progress(&mut self, best: &Erring) {
        self.goal.progress(best);
    }

    fn is_over(&mut self) -> bool {
        self.goal.is_over()
    }

    fn executions(&self) -> u64 {
        self.goal.executions
    }
}
