//! A run in the simulator: the same world, strategies, faults, notes and oracles, with coroutines for threads, numbers
//! for processes, and any VFS call or lock as the end of a turn.
//!
//! ```text
//! world ─► stage (processes, their lives) ─► scheduler ─► actors ─► strategy ─► SQLite ─► shim ─► simulated machine
//!       ─► after the scripts: heal, probe, check, close ─► judge
//! ```
//!
//! One [`Simulator`] is one machine on one thread, and a process has room for one at a time: the linked SQLite has one
//! random generator.

mod after;
mod os;
pub(crate) mod place;
pub mod remote;
mod stage;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use seawall_harness::actor::Actor;
use seawall_harness::board::{Board, Mode};
use seawall_harness::clock::Clock;
use seawall_harness::engine::Engine;
use seawall_harness::fault::Rule;
use seawall_harness::media::sim::{Machine, SimVfs};
use seawall_harness::oracle::hygiene;
use seawall_harness::sched::rare::Rare;
use seawall_harness::sched::replay::Replay;
use seawall_harness::sched::{Execution, Policy, Preemption, Scheduler, Task};
use seawall_harness::seed::Seed;
use seawall_harness::trace;
use seawall_harness::vfs::Registration;
use seawall_harness::vfs::lab::{self, Lab};

use super::conductor::Trouble;
use super::judge::{self, FreshLook};
use super::world::World;
use super::{Executed, RunError};

pub(crate) use os::SimulatedOs;
pub use remote::{Reply, Request};
use place::Place;
use stage::Stage;

/// The folder of the database.
const FOLDER: &str = "/sim";

/// The database of every run.
const DATABASE: &str = "/sim/app.db";

/// The VFS of the simulated machine.
const SIM_VFS: &str = "seawall-sim";

/// The shim above it.
const SHIM_VFS: &str = "seawall-lab";

/// Calls after which a run counts as stuck. A long one makes some ten thousand.
const CALLS_MAX: u64 = 1_000_000;

/// Calls that the trace keeps: enough for all of them in nearly every run.
const TRACE_CAPACITY: usize = 1 << 15;

/// What the shim does while no fault is armed.
const MODE: Mode = Mode::TRACE.and(Mode::DIGEST).and(Mode::VIRTUAL);

/// See the module's documentation.
pub struct Simulator {
    engine: Engine,
    place: Rc<Place>,
    board: Arc<Board>,
    scheduler: Scheduler,
    /// The shim, with the rules and the seed of its plan.
    shim: Option<(Vec<Rule>, Seed, Registration)>,
    // Below the shim, so that it goes after it.
    sim: SimVfs,
}

impl Simulator {
    /// A simulator; there must be no other one in this process.
    ///
    /// # Errors
    /// A message if its VFS cannot be registered.
    pub fn new() -> Result<Self, String> {
        let engine = Engine::linked();
        let board = Arc::new(Board::private(TRACE_CAPACITY));
        let clock = Clock::new(Arc::clone(&board));
        clock.set_scale(0);
        let machine = Rc::new(RefCell::new(Machine::new(clock.clone(), Seed(0))));
        let sim = SimVfs::register(engine.vfs_api(), SIM_VFS, Rc::clone(&machine)).map_err(|e| e.to_string())?;
        let place = Rc::new(Place::new(machine, clock.clone()));
        let scheduler = Scheduler::with_processes(clock, Box::<Rare>::default(), Rc::clone(&place) as Rc<_>);
        Ok(Self { engine, place, board, scheduler, shim: None, sim })
    }

    /// Executes a run, by the policy or by a recorded schedule; returns the schedule as well. Without `calls` the record
    /// has no timeline, and no calls are kept.
    ///
    /// # Errors
    /// If the world's faults make no plan.
    pub fn run(
        &mut self,
        world: &World,
        schedule: Option<&[Preemption]>,
        calls: bool,
    ) -> Result<(Executed, Execution), RunError> {
        self.arm(world).map_err(RunError::Usage)?;
        let stage = Rc::new(Stage::new(world.clone(), Rc::clone(&self.place), Arc::clone(&self.board)));
        let policy: Box<dyn Policy> = match schedule {
            None => Box::<Rare>::default(),
            Some(preemptions) => Box::new(Replay::new(preemptions)),
        };
        self.scheduler.set_policy(policy);
        let actors = world.outline.actors().map(|actor| {
            let stage = Rc::clone(&stage);
            let task: Task = Box::new(move || stage::play(&stage, actor));
            (actor, task)
        });
        let seed = world.token.seed.stream("schedule");
        let execution = self.scheduler.run(seed, CALLS_MAX, actors.collect());
        let result = match trouble(world, &execution) {
            Some(trouble) => Err(trouble),
            None => after::conclude(&stage),
        };
        let calls = if calls { trace::read(&self.board) } else { Vec::new() };
        let look = self.look();
        let played = (stage.take_notes(), result);
        let record = judge::judge(world, &self.board, played, &calls, look);
        drop(stage);
        if !execution.deadlocked.is_empty() {
            self.rebuild().map_err(RunError::Usage)?;
        }
        Ok((Executed { record, calls }, execution))
    }

    /// Makes everything as new for this world.
    fn arm(&mut self, world: &World) -> Result<(), String> {
        let seed = world.token.seed;
        self.place.machine.borrow_mut().reset(seed.stream("machine"));
        self.place.enter();
        self.board.set_mode(Mode::OFF);
        let fits = |shim: &(Vec<Rule>, Seed, Registration)| shim.0 == world.faults.rules && (shim.0.is_empty() || shim.1 == seed);
        match self.shim.as_ref().filter(|shim| fits(shim)) {
            Some((_, _, shim)) => shim.lab().restart(),
            None => {
                self.shim = None;
                self.board.restart();
                let lab = Lab::new(Arc::clone(&self.board), world.plan()?)
                    .with_clock(self.place.clock.clone())
                    .with_hook(Scheduler::hook());
                // As the default VFS it seeds SQLite's own random generator.
                let shim = Registration::new(self.engine.vfs_api(), SHIM_VFS, Some(SIM_VFS), true, lab);
                let shim = shim.map_err(|error| error.to_string())?;
                self.shim = Some((world.faults.rules.clone(), seed, shim));
            }
        }
        self.board.set_mode(MODE);
        self.engine.reset_randomness();
        Ok(())
    }

    fn look(&self) -> FreshLook {
        lab::play(Actor { process: 0, thread: 0 });
        let prefix = format!("{FOLDER}/");
        let files = self.place.machine.borrow().list();
        let files = files.into_iter().filter_map(|(name, size)| Some((name.strip_prefix(&prefix)?.to_owned(), size)));
        let strays = hygiene::strays(DATABASE.strip_prefix(&prefix).unwrap_or(DATABASE), files);
        FreshLook::at(Path::new(DATABASE), Some(self.sim.name()), strays)
    }

    /// After a deadlock: what its actors hold they hold for ever, so another machine takes the place of this one.
    fn rebuild(&mut self) -> Result<(), String> {
        self.shim = None;
        let clock = self.place.clock.clone();
        let machine = Rc::new(RefCell::new(Machine::new(clock.clone(), Seed(0))));
        self.sim = SimVfs::register(self.engine.vfs_api(), SIM_VFS, Rc::clone(&machine)).map_err(|e| e.to_string())?;
        self.place = Rc::new(Place::new(machine, clock.clone()));
        self.scheduler = Scheduler::with_processes(clock, Box::<Rare>::default(), Rc::clone(&self.place) as Rc<_>);
        Ok(())
    }
}

/// What kept the actors from coming to their ends.
fn trouble(world: &World, execution: &Execution) -> Option<Trouble> {
    if !execution.deadlocked.is_empty() {
        let actors: Vec<Actor> = world.outline.actors().collect();
        let names: Vec<String> = execution.deadlocked.iter().map(|position| actors[*position].to_string()).collect();
        return Some(Trouble::Stuck(format!("{} wait for each other for ever", names.join(" and "))));
    }
    execution.halted.then(|| Trouble::Stuck(format!("no end after {CALLS_MAX} calls")))
}
