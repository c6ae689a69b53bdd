//! Executes a case under one rule, and judges it.

use super::super::PowercutError;
use super::super::case::Case;
use super::super::judge::Judge;
use super::super::recording::{Mark, MarkKind, Recorder, Watched};
use super::outcome::{self, Baseline, Outcome};
use crate::engines;
use seawall_harness::call::Call;
use seawall_harness::fault::{FaultPlan, Rule};
use seawall_harness::seed::{Seed, mix};
use seawall_harness::trace::Entry;

/// Calls that a trace keeps: more than a case makes.
const TRACE_CAPACITY: usize = 1 << 13;

/// What is swept.
pub trait Swept {
    /// Executes it under a rule.
    ///
    /// # Errors
    /// If the lab is broken.
    fn execute(&mut self, rule: &Rule) -> Result<Executed, PowercutError>;
}

/// An execution under one rule.
#[derive(Clone, Debug)]
pub struct Executed {
    /// What came of it.
    pub outcome: Outcome,
    /// The number of the first call at which the rule fired.
    pub fired_at: Option<u64>,
    /// The statement during which it fired.
    pub during: String,
    /// The calls, by number.
    pub calls: Vec<(u64, Call)>,
    /// How many calls or allocations the rule has counted.
    pub matched: u64,
    /// The calls as they were traced.
    pub trace: Vec<Entry>,
    /// What the processes did and were told.
    pub marks: Vec<Mark>,
    /// Checksum over the calls, and over what was found.
    pub digest: String,
}

/// Executes a case of the table's workload.
pub struct Sweeper {
    case: Case,
    recorder: Recorder,
    judge: Judge,
    baseline: Option<Baseline>,
    is_heedless: bool,
    insists: bool,
}

impl Sweeper {
    /// A sweeper of this case.
    ///
    /// # Errors
    /// If the engine cannot be had.
    pub fn new(case: Case) -> Result<Self, PowercutError> {
        let engine = engines::resolve(&case.sqlite)?;
        let judge = Judge::new(engine.clone(), case.device.parse()?, String::new())?;
        let recorder = Recorder::with_trace(engine, TRACE_CAPACITY)?;
        Ok(Self { case, recorder, judge, baseline: None, is_heedless: false, insists: false })
    }

    /// A canary: an application that takes each COMMIT for a success, whatever it answers.
    #[must_use]
    pub fn heedless(self) -> Self {
        Self { is_heedless: true, ..self }
    }

    /// A canary: an application that begins each transaction until it succeeds.
    #[must_use]
    pub fn insistent(self) -> Self {
        Self { insists: true, ..self }
    }

    /// The case.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// Goes by another case from now on; its engine and device must be the same.
    pub fn set_case(&mut self, case: Case) {
        self.case = case;
        self.baseline = None;
    }

    fn baseline(&mut self) -> Result<&Baseline, PowercutError> {
        if self.baseline.is_none() {
            let watched = self.recorder.watch(&self.case, FaultPlan::empty(), false)?;
            self.baseline = Some(outcome::judge(&watched, &self.judge, None).1);
        }
        self.baseline.as_ref().ok_or_else(|| PowercutError::Broken("there is no execution without a fault".to_owned()))
    }
}

impl Swept for Sweeper {
    fn execute(&mut self, rule: &Rule) -> Result<Executed, PowercutError> {
        self.baseline()?;
        let plan = FaultPlan::new(vec![rule.clone()], Seed(self.case.seed).stream("faults"));
        let plan = plan.map_err(|error| PowercutError::Foreign(error.to_string()))?;
        let in_context = |error| match error {
            PowercutError::Broken(text) => PowercutError::Broken(format!("{rule}: {text}")),
            error => error,
        };
        let mut watched = self.recorder.watch(&self.case, plan, self.insists).map_err(in_context)?;
        if self.is_heedless {
            ignore_failed_commits(&mut watched.marks);
        }
        let (outcome, _) = outcome::judge(&watched, &self.judge, self.baseline.as_ref());
        Ok(executed(watched, outcome))
    }
}

/// Makes acknowledgements of the failures of COMMIT.
fn ignore_failed_commits(marks: &mut [Mark]) {
    let mut started = None;
    for mark in marks {
        match (&mark.kind, started) {
            (MarkKind::Started(number), _) => started = Some(*number),
            (MarkKind::Statement(text), Some(_)) if text == "COMMIT" => {}
            (MarkKind::Failed(_), Some(number)) => {
                mark.kind = MarkKind::Acked(number);
                started = None;
            }
            _ => started = None,
        }
    }
}

fn executed(watched: Watched, outcome: Outcome) -> Executed {
    let Watched { marks, calls: trace, digest, matched, fired_at, fired, .. } = watched;
    let fired_at = fired_at.first().copied().filter(|_| fired > 0);
    let during = fired_at.map(|number| statement_at(&marks, number)).unwrap_or_default();
    let text = format!("{digest} {outcome:?}");
    let sum = text.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
    let calls = trace.iter().map(|entry| (entry.number, entry.call)).collect();
    Executed { outcome, fired_at, during, calls, matched, trace, marks, digest: format!("{sum:016x}") }
}

/// The last statement that began before a call.
fn statement_at(marks: &[Mark], number: u64) -> String {
    let statement = |mark: &Mark| match &mark.kind {
        MarkKind::Statement(text) if mark.call <= number => Some(text.clone()),
        _ => None,
    };
    marks.iter().rev().find_map(statement).unwrap_or_default()
}
