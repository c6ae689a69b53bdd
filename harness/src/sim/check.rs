//! A check: what a test sets, and the search for an execution that fails.

use super::bench::CaseBench;
use super::case::{Case, Drawn};
use super::environment::Environment;
use super::executor::{Executor, Outcome};
use super::failure::Failure;
use super::regressions::Regressions;
use super::watchdog::{self, Watched};
use super::world::{Settings, World};
use super::{replay, statements};
use crate::fault::Rule;
use crate::picture;
use crate::seed::{Seed, mix};
use crate::shrink::{self, Bench as _};
use crate::story;
use parking_lot::Mutex;
use std::fmt;
use std::fs;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Executions of a check.
const ITERATIONS: u64 = 1_000;

/// Restarts of a process that is killed, at most.
const RESTARTS: u32 = 4;

/// How long a connection waits for a lock: what rusqlite sets.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an actor may compute between two calls.
const PATIENCE: Duration = Duration::from_secs(20);

/// The checks of a program run one after the other: SQLite has one random generator.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Executes a world many times, each time under another schedule; see [`sim`](super).
///
/// # Panics
/// If an execution fails.
#[track_caller]
pub fn check<A: fmt::Debug + 'static>(test: impl Fn(&mut World<A>) + Send + 'static) {
    Check::new().run(test);
}

/// The options of a check.
#[derive(Clone, Debug)]
#[must_use]
pub struct Check {
    name: String,
    place: &'static Location<'static>,
    seed: Seed,
    iterations: u64,
    time: Option<Duration>,
    faults: Vec<Rule>,
    crashes: usize,
    power_cuts: usize,
    settings: Settings,
    patience: Duration,
    keeps_regressions: bool,
}

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

impl Default for Check {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Check {
    /// A check of 1,000 executions from seed 0, without faults. It has the name of the thread, which is that of the test.
    #[track_caller]
    pub fn new() -> Self {
        let place = Location::caller();
        let thread = std::thread::current();
        let name = thread.name().filter(|name| *name != "main").map(str::to_owned);
        let stem = || Path::new(place.file()).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            name: name.unwrap_or_else(stem),
            place,
            seed: Seed(0),
            iterations: ITERATIONS,
            time: None,
            faults: Vec::new(),
            crashes: 0,
            power_cuts: 0,
            settings: Settings { busy_timeout: BUSY_TIMEOUT, restarts: RESTARTS, is_wal: false },
            patience: PATIENCE,
            keeps_regressions: true,
        }
    }

    /// The name of the test, in messages and in the file of regressions.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The seed from which all executions follow.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Seed(seed);
        self
    }

    /// How many executions: 1,000 if it is not told.
    pub fn iterations(mut self, iterations: u64) -> Self {
        self.iterations = iterations;
        self
    }

    /// Executes until this time has passed, however many executions that are.
    pub fn time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Adds a fault rule in the [grammar](crate::fault): `write@wal:error=FULL:p=0.01`, `sync@db:outside=touch:when=3`.
    /// Rules are armed after the setup, and disarmed before the invariants.
    ///
    /// # Panics
    /// If it is no rule; the message marks the mistake.
    #[track_caller]
    pub fn fault(mut self, rule: &str) -> Self {
        let parsed = rule.parse();
        self.faults.push(parsed.unwrap_or_else(|error| panic!("{error}")));
        self
    }

    /// Kills up to so many processes in an execution, at calls that follow from its seed. They start again.
    pub fn crashes(mut self, crashes: usize) -> Self {
        self.crashes = crashes;
        self
    }

    /// Cuts the power up to so many times in an execution: all processes die, and what was not synced may be lost. They
    /// start again.
    pub fn power_cuts(mut self, power_cuts: usize) -> Self {
        self.power_cuts = power_cuts;
        self
    }

    /// How often a process that was killed starts again, at most: four times if it is not told.
    pub fn restarts(mut self, restarts: u32) -> Self {
        self.settings.restarts = restarts;
        self
    }

    /// How long connections of [`Process::open`](super::Process::open) wait for a lock, in virtual time: 5 s if it is
    /// not told.
    pub fn busy_timeout(mut self, busy_timeout: Duration) -> Self {
        self.settings.busy_timeout = busy_timeout;
        self
    }

    /// The database is in WAL mode before the setup.
    pub fn wal(mut self) -> Self {
        self.settings.is_wal = true;
        self
    }

    /// How long an actor may run between two calls, by the wall clock, before it counts as blocked: 20 s if it is not
    /// told.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Neither reads nor writes the file of regressions.
    pub fn without_regressions(mut self) -> Self {
        self.keeps_regressions = false;
        self
    }

    /// Executes.
    ///
    /// # Panics
    /// With the [`Failure`] if an execution fails; if the environment asks for what cannot be done; if the test blocks
    /// its thread.
    #[track_caller]
    pub fn run<A: fmt::Debug + 'static>(self, test: impl Fn(&mut World<A>) + Send + 'static) -> Passed {
        match self.search(test) {
            Ok(passed) => passed,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// As [`Self::run`], but returns the failure.
    ///
    /// # Errors
    /// The first failure.
    ///
    /// # Panics
    /// If the environment asks for what cannot be done; if the test blocks its thread.
    #[track_caller]
    pub fn search<A: fmt::Debug + 'static>(
        mut self,
        test: impl Fn(&mut World<A>) + Send + 'static,
    ) -> Result<Passed, Box<Failure>> {
        let environment = Environment::read().unwrap_or_else(|error| panic!("{error}"));
        self.seed = environment.seed.unwrap_or(self.seed);
        self.time = environment.time.or(self.time.filter(|_| environment.iterations.is_none()));
        self.iterations = environment.iterations.unwrap_or(self.iterations);
        let replay = environment.replay.filter(|(test, _)| *test == self.name).map(|(_, case)| case);
        let (name, patience) = (self.name.clone(), self.patience);
        let one_at_a_time = ONE_AT_A_TIME.lock();
        let searched = watchdog::run(&name, patience, move |watched| self.explore(test, replay, watched));
        statements::forget();
        crate::engine::Engine::linked().seed_randomness(None);
        drop(one_at_a_time);
        searched.unwrap_or_else(|place| {
            panic!(
                "{name} blocks its thread: {place}. All actors run on one thread: a lock, a channel or a thread that \
                 an actor waits for must be one of `seawall_harness::sync` or `Process::spawn`, and no actor may \
                 compute for more than {patience:?} between two calls"
            )
        })
    }

    fn explore<A: fmt::Debug + 'static, F: Fn(&mut World<A>)>(
        &self,
        test: F,
        replay: Option<Case>,
        watched: &Watched,
    ) -> Result<Passed, Box<Failure>> {
        let mut executor = Executor::new(test, self.settings);
        watched.show(executor.rig().shared_state(), executor.rig().pulse());
        let mut passed = Passed { seed: self.seed.0, iterations: 0, calls: 0, acked: 0, digest: 0 };
        let regressions = Regressions::at(self.place).filter(|_| self.keeps_regressions);
        let known = match &replay {
            Some(case) => vec![case.clone()],
            None => regressions.as_ref().map_or(Ok(Vec::new()), |kept| kept.read(&self.name)).unwrap_or_else(|error| {
                panic!("{error}");
            }),
        };
        for case in &known {
            let outcome = executor.execute(case);
            passed.add(&outcome);
            if outcome.finding.is_some() {
                return Err(Box::new(self.tell(&mut executor, case, 0, None)));
            }
        }
        let began = Instant::now();
        let is_over = |iteration: u64| match self.time {
            Some(time) => began.elapsed() >= time,
            None => iteration >= self.iterations,
        };
        let mut drawn = Drawn::default();
        let mut iteration = 0;
        while replay.is_none() && !is_over(iteration) {
            let case = Case::draw(self.seed.nth(iteration), &self.faults, drawn);
            let outcome = executor.execute(&case);
            passed.add(&outcome);
            iteration += 1;
            if outcome.finding.is_some() {
                let mut failure = self.shrunken(&mut executor, &case, &outcome, iteration);
                failure.kept = regressions
                    .filter(|kept| kept.keep(&self.name, &failure.replay, &failure.finding.detail))
                    .map(|kept| kept.path().to_owned());
                return Err(Box::new(failure));
            }
            if iteration == 1 {
                drawn = Drawn { crashes: self.crashes, power_cuts: self.power_cuts, calls: outcome.execution.calls };
            }
        }
        Ok(passed)
    }

    /// The failure of a case, shrunk if it repeats.
    fn shrunken<A: fmt::Debug + 'static, F: Fn(&mut World<A>)>(
        &self,
        executor: &mut Executor<A, F>,
        case: &Case,
        outcome: &Outcome,
        iteration: u64,
    ) -> Failure {
        let calls = story::lines(&executor.calls());
        let scheduled = case.with_schedule(&outcome.execution.preemptions);
        let again = executor.execute(&scheduled);
        if again != *outcome {
            let difference = story::difference(&calls, &story::lines(&executor.calls()));
            let difference = difference.unwrap_or_else(|| "the same calls, another outcome".to_owned());
            return self.tell(executor, &scheduled, iteration, Some(difference));
        }
        let before = outcome.execution.preemptions.len();
        let Some((mut bench, first)) = CaseBench::new(executor, case, outcome) else {
            return self.tell(executor, &scheduled, iteration, None);
        };
        let Ok(best) = shrink::shrink(&mut bench, first);
        let executions = bench.executions();
        drop(bench);
        let failure = self.tell(executor, &best.case, iteration, None);
        Failure { preemptions: (before, best.preemptions()), shrink_executions: executions, ..failure }
    }

    /// The failure of a case as it is.
    fn tell<A: fmt::Debug + 'static, F: Fn(&mut World<A>)>(
        &self,
        executor: &mut Executor<A, F>,
        case: &Case,
        iteration: u64,
        difference: Option<String>,
    ) -> Failure {
        let (outcome, notes) = executor.tell(case);
        let finding =
            outcome.finding.unwrap_or_else(|| panic!("an execution of {} failed once and then not", self.name));
        let replay = replay::encode(&self.name, case);
        let actors = &outcome.execution.actors;
        let story = story::story(&replay, self.name.clone(), &finding, actors, &notes);
        let preemptions = outcome.execution.preemptions.len();
        let mut failure = Failure {
            test: self.name.clone(),
            finding,
            seed: self.seed.0,
            iteration,
            replay,
            story,
            preemptions: (preemptions, preemptions),
            faults: case.faults.iter().map(ToString::to_string).collect(),
            shrink_executions: 0,
            difference,
            kept: None,
            written: Vec::new(),
        };
        failure.written = written(&failure);
        failure
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
    // target/debug/deps/PROGRAM
    let Some(target) = program.ancestors().nth(3) else { return Vec::new() };
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
