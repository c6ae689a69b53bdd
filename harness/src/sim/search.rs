//! The search of a check: known failures, then one case after the other, until one fails; what is told of it.

use super::bench::CaseBench;
use super::case::{Case, Drawn};
use super::check::Check;
use super::executor::{Executor, Outcome};
use super::failure::Failure;
use super::regressions::Regressions;
use super::replay;
use super::watchdog::Watched;
use super::world::World;
use crate::record::Finding;
use crate::seed::mix;
use crate::shrink::{self, Bench as _};
use crate::{picture, story};
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// A check in which no execution failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passed {
    /// The seed of the check.
    pub seed: u64,
    /// Executions.
    pub iterations: u64,
    /// VFS calls of all executions.
    pub calls: u64,
    /// Values that were acknowledged in all executions.
    pub acked: u64,
    /// A checksum over all calls of all executions: equal for equal checks.
    pub digest: u64,
}

/// See the module's documentation.
pub(super) struct Search<A, F> {
    check: Check,
    executor: Executor<A, F>,
    regressions: Option<Regressions>,
    passed: Passed,
}

impl<A: fmt::Debug + 'static, F: Fn(&mut World<A>)> Search<A, F> {
    /// A search on the calling thread, which the watchdog sees.
    pub(super) fn new(check: Check, test: F, watched: &Watched) -> Self {
        let executor = Executor::new(test, check.settings);
        watched.show(executor.rig().shared_state(), executor.rig().pulse());
        let regressions = Regressions::at(check.place).filter(|_| check.keeps_regressions);
        let passed = Passed { seed: check.seed.0, iterations: 0, calls: 0, acked: 0, digest: 0 };
        Self { check, executor, regressions, passed }
    }

    /// Executes the case that is to be repeated, or all.
    pub(super) fn run(mut self, replay: Option<Case>) -> Result<Passed, Box<Failure>> {
        if let Some(case) = replay {
            self.repeat(&[case])?;
            eprintln!("SEAWALL_REPLAY: this execution of {} does not fail any more", self.check.name);
            return Ok(self.passed);
        }
        let known = self.regressions.as_ref().map_or(Ok(Vec::new()), |kept| kept.read(&self.check.name));
        self.repeat(&known.unwrap_or_else(|error| panic!("{error}")))?;
        let began = Instant::now();
        let (mut drawn, mut iteration) = (Drawn::default(), 0);
        while self.check.time.map_or(iteration < self.check.iterations, |time| began.elapsed() < time) {
            let case = Case::draw(self.check.seed.nth(iteration), &self.check.faults, drawn);
            let outcome = self.executor.execute(&case);
            self.passed.add(&outcome);
            iteration += 1;
            if let Some(finding) = outcome.finding.clone() {
                return Err(Box::new(self.found(&case, &outcome, finding, iteration)));
            }
            if iteration == 1 {
                let Check { crashes, power_cuts, .. } = self.check;
                drawn = Drawn { crashes, power_cuts, calls: outcome.execution.calls };
            }
        }
        Ok(self.passed)
    }

    /// Executes cases that once failed.
    fn repeat(&mut self, known: &[Case]) -> Result<(), Box<Failure>> {
        for case in known {
            let outcome = self.executor.execute(case);
            self.passed.add(&outcome);
            if let Some(finding) = outcome.finding {
                let mut failure = self.tell(case, finding, 0);
                failure.written = written(&failure);
                return Err(Box::new(failure));
            }
        }
        Ok(())
    }

    /// The failure of a case: shrunk, kept and written.
    fn found(&mut self, case: &Case, outcome: &Outcome, finding: Finding, iteration: u64) -> Failure {
        let mut failure = self.shrunken(case, outcome, finding, iteration);
        if let Some(kept) = &self.regressions
            && kept.keep(&self.check.name, &failure.replay, &failure.finding.detail)
        {
            failure.kept = Some(kept.path().to_owned());
        }
        failure.written = written(&failure);
        failure
    }

    /// The failure of a case, shrunk if the case repeats.
    fn shrunken(&mut self, case: &Case, outcome: &Outcome, finding: Finding, iteration: u64) -> Failure {
        let calls = story::lines(&self.executor.calls());
        let scheduled = case.with_schedule(&outcome.execution.preemptions);
        if self.executor.execute(&scheduled) != *outcome {
            let difference = story::difference(&calls, &story::lines(&self.executor.calls()));
            let difference = difference.unwrap_or_else(|| "the same calls, another outcome".to_owned());
            return Failure { difference: Some(difference), ..self.tell(&scheduled, finding, iteration) };
        }
        let before = outcome.execution.preemptions.len();
        let Some((mut bench, first)) = CaseBench::new(&mut self.executor, case, outcome) else {
            return self.tell(&scheduled, finding, iteration);
        };
        let Ok(best) = shrink::shrink(&mut bench, first);
        let shrink_executions = bench.executions();
        drop(bench);
        let preemptions = (before, best.preemptions());
        Failure { preemptions, shrink_executions, ..self.tell(&best.case, finding, iteration) }
    }

    /// The failure of a case as it is. `finding` is what it came to before, if its code is not deterministic.
    fn tell(&mut self, case: &Case, finding: Finding, iteration: u64) -> Failure {
        let (outcome, notes) = self.executor.tell(case);
        let finding = outcome.finding.unwrap_or(finding);
        let test = self.check.name.clone();
        let replay = replay::encode(&test, case);
        let story = story::story(&replay, test.clone(), &finding, &outcome.execution.actors, &notes);
        let preemptions = outcome.execution.preemptions.len();
        Failure {
            test,
            finding,
            seed: self.check.seed.0,
            iteration,
            replay,
            story,
            preemptions: (preemptions, preemptions),
            faults: case.faults.iter().map(ToString::to_string).collect(),
            shrink_executions: 0,
            difference: None,
            kept: None,
            written: Vec::new(),
        }
    }
}

impl Passed {
    fn add(&mut self, outcome: &Outcome) {
        self.iterations += 1;
        self.calls += outcome.execution.calls;
        self.acked += outcome.acked as u64;
        for byte in outcome.digest.bytes() {
            self.digest = mix(self.digest ^ u64::from(byte));
        }
    }
}

/// Writes the story as data and as a picture into the folder of the build; what could be written.
fn written(failure: &Failure) -> Vec<PathBuf> {
    let Ok(program) = std::env::current_exe() else { return Vec::new() };
    // target/debug/deps/PROGRAM, or target/debug/examples/PROGRAM
    let is_built = program.parent().is_some_and(|folder| folder.ends_with("deps") || folder.ends_with("examples"));
    let Some(target) = program.ancestors().nth(3).filter(|_| is_built) else { return Vec::new() };
    let name = failure.test.replace(|c: char| !c.is_alphanumeric() && c != '_', "-");
    let story = serde_json::to_string_pretty(&failure.story).unwrap_or_default();
    let files = [("svg", picture::sequence(&failure.story)), ("json", story)];
    let write = |(extension, text): (&str, String)| {
        let path = target.join("seawall").join(format!("{name}.{extension}"));
        let is_written = fs::create_dir_all(target.join("seawall")).and_then(|()| fs::write(&path, text)).is_ok();
        is_written.then_some(path)
    };
    files.into_iter().filter_map(write).collect()
}
