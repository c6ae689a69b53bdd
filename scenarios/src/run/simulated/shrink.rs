//! Shrinking of simulated runs: fewer preemptions, faults, ends of processes and steps, simpler ones, the same finding.

use super::case::{CaseStep, RunCase};
use super::{Simulated, Simulator};
use crate::run::RunError;
use crate::workload::Step;
use seawall_harness::fault::{Rule, When};
use seawall_harness::shrink::{Bench, Candidate, Goal, Limits};
use std::ops::Range;

/// Fresh schedules that are tried when no part can be left out any more.
const SCHEDULES: usize = 300;

/// The kinds of parts.
const RESTARTS: usize = 0;
const RULES: usize = 1;
const STEPS: usize = 2;
const PREEMPTIONS: usize = 3;

impl Candidate for RunCase {
    /// First preemptions, steps, faults, ends of processes; then everything that is not the simplest.
    type Size = (usize, u64);

    fn size(&self) -> Self::Size {
        let parts = self.restarts.len() + self.rules.len() + self.steps.len() + self.schedule.len();
        let rows = |step: &CaseStep| match step.step {
            Step::Insert { parts, payload_bytes } => u64::from(parts) * 1000 + u64::from(payload_bytes),
            Step::Pause { ms } => u64::from(ms),
            _ => 0,
        };
        let open = self.rules.iter().filter(|rule| !is_settled(rule)).count() as u64;
        (parts, self.steps.iter().map(rows).sum::<u64>() + open * 1_000_000)
    }

    fn kinds(&self) -> usize {
        4
    }

    fn parts(&self, kind: usize) -> usize {
        match kind {
            RESTARTS => self.restarts.len(),
            RULES => self.rules.len(),
            STEPS => self.steps.len(),
            _ => self.schedule.len(),
        }
    }

    fn without(&self, kind: usize, parts: Range<usize>) -> Self {
        let mut other = self.clone();
        match kind {
            RESTARTS => drop(other.restarts.drain(parts)),
            RULES => drop(other.rules.drain(parts)),
            STEPS => drop(other.steps.drain(parts)),
            _ => drop(other.schedule.drain(parts)),
        }
        other
    }

    fn simplifications(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        for (position, rule) in self.rules.iter().enumerate().filter(|(_, rule)| !is_settled(rule)) {
            for nth in 1..=20 {
                let mut other = self.clone();
                let once = Rule { when: Some(When::Nth(nth)), p: None, times: None, ..rule.clone() };
                other.rules[position] = once;
                simpler.push(other);
            }
        }
        for position in 0..self.steps.len() {
            let step = match self.steps[position].step {
                Step::Insert { parts, payload_bytes } if (parts, payload_bytes) != (1, 8) => {
                    Step::Insert { parts: 1, payload_bytes: 8 }
                }
                Step::Pause { ms } if ms > 1 => Step::Pause { ms: 1 },
                _ => continue,
            };
            let mut other = self.clone();
            other.steps[position].step = step;
            simpler.push(other);
        }
        simpler
    }
}

/// True for a rule that strikes one certain call.
fn is_settled(rule: &Rule) -> bool {
    matches!(rule.when, Some(When::Nth(_))) && rule.p.is_none()
}

/// Shrinks runs by executing them.
pub struct RunBench<'a> {
    simulator: &'a mut Simulator,
    goal: Goal<'a, RunCase>,
}

impl<'a> RunBench<'a> {
    /// A bench for a run, and the run with its schedule as preemptions.
    ///
    /// # Errors
    /// If the run finds nothing, or cannot be executed.
    pub fn new(
        simulator: &'a mut Simulator,
        case: RunCase,
        limits: Limits<'a, RunCase>,
    ) -> Result<(Self, RunCase), RunError> {
        let spec = case.spec(false)?;
        let schedule = (!case.by_policy).then_some(&*case.schedule);
        let simulated = simulator.run(&spec, schedule, false)?;
        let nothing = || RunError::Usage(format!("{} finds nothing, so there is nothing to shrink", spec.token));
        let goal = Goal::new(&simulated.record.findings, limits).ok_or_else(nothing)?;
        Ok((Self { simulator, goal }, as_executed(case, &simulated)))
    }

    /// Executes a case by its own schedule, or by the policy from this seed.
    fn attempt(&mut self, case: &RunCase, nth: Option<u64>) -> Result<Option<RunCase>, RunError> {
        self.goal.executions += 1;
        let spec = case.spec(false)?;
        let simulated = match nth {
            None => self.simulator.run(&spec, Some(&case.schedule), false)?,
            Some(nth) => self.simulator.run_by(&spec, spec.token.seed.stream("shrink").nth(nth))?,
        };
        let is_met = self.goal.is_met(&simulated.record.findings);
        Ok(is_met.then(|| as_executed(case.clone(), &simulated)))
    }
}

/// The case with the schedule and the findings of its execution.
fn as_executed(case: RunCase, simulated: &Simulated) -> RunCase {
    RunCase {
        by_policy: false,
        schedule: simulated.execution.preemptions.clone(),
        turns: simulated.turns.clone(),
        findings: simulated.record.findings.clone(),
        digest: simulated.record.trace_digest.clone(),
        ..case
    }
}

impl Bench for RunBench<'_> {
    type Candidate = RunCase;
    type Error = RunError;

    fn fails(&mut self, candidate: &RunCase) -> Result<Option<RunCase>, RunError> {
        self.attempt(candidate, None)
    }

    fn search(&mut self, stuck: &RunCase) -> Result<Option<RunCase>, RunError> {
        let smaller: Vec<RunCase> = (0..stuck.steps.len()).map(|step| stuck.without(STEPS, step..step + 1)).collect();
        for (nth, case) in (0..).zip(smaller.iter().cycle().take(SCHEDULES)) {
            if self.is_over() {
                break;
            }
            if let Some(found) = self.attempt(case, Some(nth))? {
                let mut found = found;
                seawall_harness::shrink::leave_out(self, &mut found, PREEMPTIONS)?;
                if found.size() < stuck.size() {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn progress(&mut self, best: &RunCase) {
        self.goal.progress(best);
    }

    fn is_over(&mut self) -> bool {
        self.goal.is_over()
    }

    fn executions(&self) -> u64 {
        self.goal.executions
    }
}
