//! A run in the simulator: the same spec, strategies, faults, notes and oracles, with coroutines for threads, numbers
//! for processes, and any VFS call or lock as the end of a turn.
//!
//! ```text
//! spec ─► run (processes, their lives) ─► scheduler ─► actors ─► strategy ─► SQLite ─► shim ─► machine
//!       ─► after the scripts: heal, probe, check, close ─► judge
//! ```
//!
//! One [`Simulator`] is one machine on one thread, and a process has room for one at a time: the linked SQLite has one
//! random generator.

pub mod case;
mod environment;
mod os;
pub mod remote;
pub(crate) mod sandbox;
pub mod shrink;
mod sim_run;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::engine::Engine;
use seawall_harness::fault::FaultPlan;
use seawall_harness::media::sim::{Machine, SimVfs};
use seawall_harness::oracle::hygiene;
use seawall_harness::record::{RunRecord, Story};
use seawall_harness::sched::rare::Rare;
use seawall_harness::sched::replay::Replay;
use seawall_harness::sched::{Execution, Policy, Preemption, Scheduler, Task};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::{Mode, SharedState};
use seawall_harness::trace::{self, Entry};
use seawall_harness::vfs::FaultVfs;
use seawall_harness::vfs::injector::{self, Injector};

use super::RunError;
use super::driver::Trouble;
use super::judge::{self, FreshLook};
use super::spec::{RunSpec, SpecError};
use crate::story::{self, Log, Watched};

use case::RunCase;
use environment::Environment;
pub(crate) use os::SimulatedOs;
pub use remote::{Reply, Request};
use sim_run::SimRun;

/// The folder of the database.
const FOLDER: &str = "/sim";

/// The database of every run.
const DATABASE: &str = "/sim/app.db";

/// The shim above it.
const SHIM_VFS: &str = "seawall-fault";

/// Calls after which a run counts as stuck. A long one makes some ten thousand.
const CALLS_MAX: u64 = 1_000_000;

/// Calls that the trace keeps: enough for all of them in nearly every run.
const TRACE_CAPACITY: usize = 1 << 15;

/// What the shim does while no fault is armed.
const MODE: Mode = Mode::TRACE.and(Mode::DIGEST).and(Mode::VIRTUAL);

/// See the module's documentation.
pub struct Simulator {
    engine: Engine,
    place: Rc<Environment>,
    shared_state: Arc<SharedState>,
    scheduler: Scheduler,
    shim: FaultVfs,
    // Below the shim, so that it goes after it.
    sim: SimVfs,
    /// Machines there were before: a VFS of theirs may still be held by actors of a deadlock.
    machines: u32,
}

/// A run that was executed here.
#[derive(Debug)]
pub struct Simulated {
    /// What it came to.
    pub record: RunRecord,
    /// Its calls, if they were asked for.
    pub calls: Vec<Entry>,
    /// Its schedule.
    pub execution: Execution,
    /// Whose step was the next to end, for all steps of all scripts.
    pub turns: Vec<Actor>,
}

impl Simulator {
    /// A simulator; there must be no other one in this process.
    ///
    /// # Errors
    /// A message if its VFS cannot be registered.
    pub fn new() -> Result<Self, String> {
        let engine = Engine::linked();
        let shared_state = Arc::new(SharedState::private(TRACE_CAPACITY));
        let clock = Clock::new(Arc::clone(&shared_state));
        clock.set_scale(0);
        let Furniture { shim, sim, place, scheduler } = Furniture::new(&engine, &shared_state, clock, "0", true)?;
        Ok(Self { engine, place, shared_state, scheduler, shim, sim, machines: 0 })
    }

    /// Executes a run, by the policy or by a recorded schedule. Without `calls` the record has no timeline, and no
    /// calls are kept.
    ///
    /// # Errors
    /// If the spec's faults make no plan.
    pub fn run(&mut self, spec: &RunSpec, schedule: Option<&[Preemption]>, calls: bool) -> Result<Simulated, RunError> {
        let policy: Box<dyn Policy> = match schedule {
            None => Box::<Rare>::default(),
            Some(preemptions) => Box::new(Replay::new(preemptions)),
        };
        self.execute(spec, policy, (spec.token.seed.stream("schedule"), calls), None)
    }

    /// Executes a case, and tells how it went; there is nothing to tell if nothing is found.
    ///
    /// # Errors
    /// As for [`Self::run`]; also if the case names what does not exist.
    pub fn tell(&mut self, case: &RunCase, token: &str) -> Result<(Simulated, Option<Story>), RunError> {
        let spec = case.spec(false)?;
        let log = Log::default();
        let replay = Box::new(Replay::new(&case.schedule));
        let policy = Box::new(Watched::new(replay, Arc::clone(&self.shared_state), Rc::clone(&log)));
        let seed = spec.token.seed.stream("schedule");
        let simulated = self.execute(&spec, policy, (seed, true), Some(&log))?;
        let actors: Vec<Actor> = spec.shape.actors().collect();
        let finding = simulated.record.findings.first();
        let notes = story::notes(&actors, &log.take(), &simulated.calls, finding);
        let rules: Vec<String> = spec.faults.rules.iter().map(ToString::to_string).collect();
        let subject = format!("{} under {}", spec.strategy.name, rules.join(" "));
        let subject = subject.trim_end_matches(" under ").to_owned();
        let told = finding.map(|finding| story::story(token, subject, finding, &actors, &notes));
        Ok((simulated, told))
    }

    /// Executes a run under another schedule of the policy.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn run_by(&mut self, spec: &RunSpec, seed: Seed) -> Result<Simulated, RunError> {
        self.execute(spec, Box::<Rare>::default(), (seed, false), None)
    }

    fn execute(
        &mut self,
        spec: &RunSpec,
        policy: Box<dyn Policy>,
        (seed, calls): (Seed, bool),
        log: Option<&Log>,
    ) -> Result<Simulated, RunError> {
        self.arm(spec, log)?;
        self.scheduler.set_policy(policy);
        let shared_state = Arc::clone(&self.shared_state);
        let run =
            Rc::new(SimRun::new(spec.clone(), Rc::clone(&self.place), shared_state, self.shim.name(), log.cloned()));
        let actors = spec.shape.actors().map(|actor| {
            let run = Rc::clone(&run);
            let task: Task = Box::new(move || run.play(actor));
            (actor, task)
        });
        let execution = self.scheduler.run(seed, CALLS_MAX, actors.collect());
        let turns = run.driver.turns();
        let result = self.finish(&run, &execution);
        let calls = if calls { trace::read(&self.shared_state) } else { Vec::new() };
        // An execution without an end has left side files behind. The trouble is the finding, not they.
        let look = self.look(result.is_ok());
        let played = (run.driver.take_history(), result);
        let record = judge::judge(spec, &self.shared_state, played, &calls, look);
        drop(run);
        if !execution.deadlocked.is_empty() {
            self.rebuild().map_err(RunError::Usage)?;
        }
        Ok(Simulated { record, calls, execution, turns })
    }

    /// What follows the scripts, if they have ended.
    fn finish(&self, run: &SimRun, execution: &Execution) -> Result<(), Trouble> {
        if let Some(trouble) = trouble(&run.driver.spec, execution) {
            run.kill_all();
            return Err(trouble);
        }
        run.finish();
        match self.place.machine.borrow().panic_message() {
            None => Ok(()),
            Some(message) => Err(Trouble::Lab(format!("the simulated machine panicked: {message}"))),
        }
    }

    /// Makes everything as new for this spec.
    fn arm(&mut self, spec: &RunSpec, log: Option<&Log>) -> Result<(), SpecError> {
        let seed = spec.token.seed;
        self.place.machine.borrow_mut().reset(seed.stream("machine"));
        self.place.enter(log.cloned());
        self.shared_state.set_mode(Mode::OFF);
        self.shim.injector().restart_with(spec.plan()?);
        self.shared_state.set_mode(MODE);
        self.engine.reset_randomness();
        Ok(())
    }

    fn look(&self, tidy: bool) -> FreshLook {
        injector::play(Actor { process: 0, thread: 0 });
        let prefix = format!("{FOLDER}/");
        let files = self.place.machine.borrow().list();
        let files = files.into_iter().filter_map(|(name, size)| Some((name.strip_prefix(&prefix)?.to_owned(), size)));
        let files = files.filter(|_| tidy);
        let strays = hygiene::strays(DATABASE.strip_prefix(&prefix).unwrap_or(DATABASE), files);
        FreshLook::at(Path::new(DATABASE), Some(self.sim.name()), strays)
    }

    /// After a deadlock: what its actors hold they hold for ever, so another machine takes the place of this one.
    fn rebuild(&mut self) -> Result<(), String> {
        self.machines += 1;
        let clock = self.place.clock.clone();
        let Furniture { shim, sim, place, scheduler } =
            Furniture::new(&self.engine, &self.shared_state, clock, &self.machines.to_string(), true)?;
        (self.shim, self.sim, self.place, self.scheduler) = (shim, sim, place, scheduler);
        Ok(())
    }
}

/// A machine with what stands on it.
struct Furniture {
    shim: FaultVfs,
    sim: SimVfs,
    place: Rc<Environment>,
    scheduler: Scheduler,
}

impl Furniture {
    /// `label` tells it from all others in this process.
    fn new(
        engine: &Engine,
        shared_state: &Arc<SharedState>,
        clock: Clock,
        label: &str,
        is_default: bool,
    ) -> Result<Self, String> {
        let machine = Rc::new(RefCell::new(Machine::new(clock.clone(), Seed(0))));
        let (below, above) = (format!("seawall-sim-{label}"), format!("{SHIM_VFS}-{label}"));
        let sim = SimVfs::register(engine.vfs_api(), &below, Rc::clone(&machine)).map_err(|error| error.to_string())?;
        let injector = Injector::new(Arc::clone(shared_state), FaultPlan::empty())
            .with_changing_plan()
            .with_clock(clock.clone())
            .with_hook(Scheduler::hook());
        // As the default VFS it seeds SQLite's own random generator.
        let shim = FaultVfs::new(engine.vfs_api(), &above, Some(&below), is_default, injector);
        let shim = shim.map_err(|error| error.to_string())?;
        let place = Rc::new(Environment::new(machine, clock.clone(), Arc::clone(shared_state)));
        let scheduler = Scheduler::with_processes(clock, Box::<Rare>::default(), Rc::clone(&place) as Rc<_>);
        Ok(Self { shim, sim, place, scheduler })
    }
}

/// What kept the actors from coming to their ends.
fn trouble(spec: &RunSpec, execution: &Execution) -> Option<Trouble> {
    if execution.halted {
        return Some(Trouble::Stuck(format!("no end after {CALLS_MAX} calls")));
    }
    if !execution.deadlocked.is_empty() {
        let actors: Vec<Actor> = spec.shape.actors().collect();
        let names: Vec<String> = execution.deadlocked.iter().map(|position| actors[*position].to_string()).collect();
        return Some(Trouble::Stuck(format!("{} wait for each other for ever", names.join(" and "))));
    }
    None
}
