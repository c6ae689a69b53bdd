//! A check: what a test sets, and the search for an execution that fails.

use super::case::Case;
use super::environment::Environment;
use super::failure::Failure;
use super::search::{Passed, Search};
use super::world::{Settings, World};
use super::{replay, statements, watchdog};
use crate::engine::Engine;
use crate::fault::Rule;
use crate::seed::Seed;
use parking_lot::{Mutex, MutexGuard};
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

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

/// The only check that runs now. What it has set for the whole program goes with it.
struct Turn(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Drop for Turn {
    fn drop(&mut self) {
        statements::forget();
        Engine::linked().seed_randomness(None);
    }
}

thread_local! {
    /// True on the thread of a check.
    static IS_CHECKING: Cell<bool> = const { Cell::new(false) };
}

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
    pub(super) name: String,
    pub(super) place: &'static Location<'static>,
    pub(super) seed: Seed,
    pub(super) iterations: u64,
    pub(super) time: Option<Duration>,
    pub(super) faults: Vec<Rule>,
    pub(super) crashes: usize,
    pub(super) power_cuts: usize,
    pub(super) settings: Settings,
    replay: Option<Case>,
    patience: Duration,
    pub(super) keeps_regressions: bool,
}

impl Default for Check {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Check {
    /// A check of 1,000 executions from seed 0, without faults. It has the name of the thread, which is that of the
    /// test.
    #[track_caller]
    pub fn new() -> Self {
        let place = Location::caller();
        let thread = std::thread::current();
        let name = thread.name().filter(|name| *name != "main").map(str::to_owned);
        let stem = || Path::new(place.file()).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            // A program that is no test has nothing to execute first.
            keeps_regressions: name.is_some(),
            name: name.unwrap_or_else(stem),
            place,
            seed: Seed(0),
            iterations: ITERATIONS,
            time: None,
            faults: Vec::new(),
            crashes: 0,
            power_cuts: 0,
            settings: Settings { busy_timeout: BUSY_TIMEOUT, restarts: RESTARTS, is_wal: false },
            replay: None,
            patience: PATIENCE,
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

    /// Repeats one execution and no other: the value of `SEAWALL_REPLAY` that a failure has printed.
    ///
    /// # Panics
    /// If it is no such value.
    #[track_caller]
    pub fn replay(mut self, replay: &str) -> Self {
        match replay::decode(replay) {
            Ok((_, case)) => self.replay = Some(case),
            Err(error) => panic!("{error}"),
        }
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
        assert!(!IS_CHECKING.get(), "{}: a check within a check", self.name);
        let environment = match Environment::read() {
            Ok(environment) => environment,
            Err(error) => panic!("{error}"),
        };
        self.seed = environment.seed.unwrap_or(self.seed);
        self.time = environment.time.or(self.time.filter(|_| environment.iterations.is_none()));
        self.iterations = environment.iterations.unwrap_or(self.iterations);
        let replay = environment.replay.filter(|(test, _)| *test == self.name).map(|(_, case)| case);
        let replay = replay.or_else(|| self.replay.take());
        let (name, patience) = (self.name.clone(), self.patience);
        let searched = {
            let _turn = Turn(ONE_AT_A_TIME.lock());
            watchdog::run(&name, patience, move |watched| {
                IS_CHECKING.set(true);
                Search::new(self, test, watched).run(replay)
            })
        };
        match searched {
            Ok(searched) => searched,
            Err(place) => panic!(
                "{name} blocks its thread: {place}. All actors run on one thread: a lock, a channel or a thread that \
                 an actor waits for must be one of `seawall_harness::sync` or `Process::spawn`, and no actor may \
                 compute for more than {patience:?} between two calls"
            ),
        }
    }
}
