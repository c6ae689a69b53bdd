//! Replay: something is executed again, and the executions are compared.

use super::{Executed, Recorded, ReproduceError, Reproduction, Setting, Until};
use seawall_harness::story;
use seawall_harness::trace::Entry;
use seawall_harness::verdict::Verdict;

/// Several executions of one subject.
#[derive(Debug)]
pub struct Repetition<O> {
    /// The results, in order.
    pub outcomes: Vec<O>,
    /// The first call in which two executions differ, where that is no error.
    pub divergence: Option<String>,
    /// True if the executions are as the file says.
    pub is_as_recorded: bool,
}

/// The result of a replay.
#[derive(Debug)]
pub struct Replayed {
    /// For each execution its verdict, and whether it is no finding.
    pub verdicts: Vec<(Verdict, bool)>,
    /// The calls of the last execution.
    pub calls: Vec<Entry>,
    /// The executions for people.
    pub human: String,
    /// The executions for programs: one JSON object a line.
    pub json: String,
}

/// The executions so far.
struct Repeater<'a, R: Reproduction> {
    subject: &'a R,
    must_repeat: bool,
    /// What the next execution is compared with.
    expected: Option<Recorded>,
    /// The calls of the last execution.
    calls: Vec<Entry>,
    divergence: Option<String>,
}

/// Executes the subject `times` times, or once and until `until` says so.
pub(super) fn replay<R: Reproduction>(
    subject: &R,
    setting: &Setting,
    times: u32,
    until: &Until<'_>,
) -> Result<Replayed, ReproduceError> {
    let must_repeat = subject.must_repeat(setting);
    let expected = subject.recorded().filter(|_| must_repeat).cloned();
    let is_as_recorded = expected.is_some();
    let mut repeater = Repeater { subject, must_repeat, expected, calls: Vec::new(), divergence: None };
    let (mut verdicts, mut outcomes) = (Vec::new(), Vec::new());
    let mut executor = subject.open(setting, true)?;
    for time in 0..times {
        if time > 0 && until.is_over() {
            break;
        }
        let executed = subject.execute(&mut executor)?;
        verdicts.push((executed.verdict, executed.is_expected));
        outcomes.push(repeater.compare(executed)?);
    }
    if let Some(executed) = subject.verify(&mut executor)? {
        repeater.compare(executed)?;
    }
    let Repeater { calls, divergence, .. } = repeater;
    let repetition = Repetition { outcomes, divergence, is_as_recorded };
    let json = subject.json(&repetition).map_err(|error| ReproduceError::Broken(error.to_string()))?;
    Ok(Replayed { verdicts, calls, human: subject.human(&repetition), json })
}

impl<R: Reproduction> Repeater<'_, R> {
    /// Compares an execution with the one before it, or with what the file says.
    fn compare(&mut self, executed: Executed<R::Outcome>) -> Result<R::Outcome, ReproduceError> {
        let Executed { outcome, mut recorded, calls, .. } = executed;
        if self.must_repeat {
            recorded.calls = story::lines(&calls);
            if let Some(what) = self.expected.as_ref().and_then(|expected| expected.difference(&recorded)) {
                return Err(ReproduceError::Differs { name: self.subject.name().to_owned(), what });
            }
        } else if self.divergence.is_none()
            && self.expected.as_ref().is_some_and(|expected| expected.digest != recorded.digest)
        {
            self.divergence = story::difference(&story::lines(&self.calls), &story::lines(&calls));
        }
        (self.expected, self.calls) = (Some(recorded), calls);
        Ok(outcome)
    }
}
