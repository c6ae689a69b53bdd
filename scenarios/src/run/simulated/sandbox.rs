//! A machine for executions that are no runs: a caller's own code in simulated processes.
//!
//! Unlike a [`Simulator`](super::Simulator), there may be one on each thread: it is nobody's default VFS, and leaves
//! SQLite's random generator alone. So salts differ from one execution to the next, and nothing else does.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::engine::Engine;
use seawall_harness::fault::FaultPlan;
use seawall_harness::oracle::hygiene;
use seawall_harness::sched::rare::Rare;
use seawall_harness::sched::{Execution, Processes, Task};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::{Mode, SharedState};
use seawall_harness::vfs::injector;

use super::environment::Environment;
use super::{DATABASE, FOLDER, Furniture};

/// Calls after which an execution counts as stuck. A long one makes some thousand.
const CALLS_MAX: u64 = 200_000;

/// The shared state keeps no calls; this is the least that it takes.
const TRACE_CAPACITY: usize = 2;

/// See the module's documentation.
pub(crate) struct Sandbox {
    engine: Engine,
    shared_state: Arc<SharedState>,
    clock: Clock,
    furniture: Furniture,
}

/// The processes of the present execution, for code inside and outside of it.
#[derive(Clone)]
pub(crate) struct Inside {
    place: Rc<Environment>,
    shared_state: Arc<SharedState>,
    /// Goes by the execution's virtual time.
    pub(crate) clock: Clock,
    /// Name of the VFS to open the database with.
    pub(crate) vfs: Rc<str>,
}

impl Sandbox {
    /// The path of the database.
    pub(crate) const DATABASE: &str = DATABASE;

    /// A machine of this thread's own.
    ///
    /// # Errors
    /// A message if its VFS cannot be registered.
    pub(crate) fn new() -> Result<Self, String> {
        let engine = Engine::linked();
        let shared_state = Arc::new(SharedState::private(TRACE_CAPACITY));
        let clock = Clock::new(Arc::clone(&shared_state));
        clock.set_scale(0);
        let furniture = furniture(&engine, &shared_state, clock.clone())?;
        Ok(Self { engine, shared_state, clock, furniture })
    }

    /// Makes everything as new. Faults are armed by [`Inside::arm`].
    pub(crate) fn begin(&mut self, seed: Seed, plan: FaultPlan) -> Inside {
        let Furniture { place, shim, .. } = &self.furniture;
        place.machine.borrow_mut().reset(seed.stream("machine"));
        place.enter(None);
        self.shared_state.set_mode(Mode::OFF);
        shim.injector().restart_with(plan);
        self.shared_state.set_mode(Mode::VIRTUAL);
        let (place, shared_state, clock) = (Rc::clone(place), Arc::clone(&self.shared_state), self.clock.clone());
        Inside { place, shared_state, clock, vfs: shim.name().into() }
    }

    /// Runs the actors to their ends, under a schedule that follows from the seed.
    ///
    /// # Errors
    /// A message if they do not come to their ends.
    pub(crate) fn run(&mut self, seed: Seed, actors: Vec<(Actor, Task)>) -> Result<Execution, String> {
        let names: Vec<Actor> = actors.iter().map(|(actor, _)| *actor).collect();
        self.furniture.scheduler.set_policy(Box::<Rare>::default());
        let execution = self.furniture.scheduler.run(seed.stream("schedule"), CALLS_MAX, actors);
        let stuck: Vec<String> = execution.deadlocked.iter().map(|position| names[*position].to_string()).collect();
        if !stuck.is_empty() {
            // What they hold they hold for ever.
            self.furniture = furniture(&self.engine, &self.shared_state, self.clock.clone())?;
            return Err(format!("{} wait for ever", stuck.join(" and ")));
        }
        if execution.halted { Err(format!("no end after {CALLS_MAX} calls")) } else { Ok(execution) }
    }
}

fn furniture(engine: &Engine, shared_state: &Arc<SharedState>, clock: Clock) -> Result<Furniture, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let label = format!("sandbox-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    Furniture::new(engine, shared_state, clock, &label, false)
}

impl Inside {
    /// Switches the faults on or off.
    pub(crate) fn arm(&self, on: bool) {
        self.shared_state.set_mode(if on { Mode::VIRTUAL.and(Mode::ARMED) } else { Mode::VIRTUAL });
    }

    /// Kills a process. Its code goes on, and gets nothing done any more.
    pub(crate) fn kill(&self, process: u16) {
        self.place.kill(process);
    }

    /// True if the process has been killed.
    pub(crate) fn is_dead(&self, process: u16) -> bool {
        self.place.is_dead(process)
    }

    /// After an execution, once nothing of the dead process's is left: it may live again.
    pub(crate) fn revive(&self, process: u16) {
        self.place.machine.borrow_mut().revive(process);
    }

    /// Makes the calling thread play a process, outside of an execution.
    pub(crate) fn play(&self, process: u16) {
        injector::play(Actor { process, thread: 0 });
        self.place.resume(process);
    }

    /// The files that a process has open.
    pub(crate) fn open_files_of(&self, process: u16) -> Vec<String> {
        self.place.machine.borrow().open_files_of(process)
    }

    /// The files beside the database that should not be there once everybody has closed.
    pub(crate) fn strays(&self) -> Vec<String> {
        let prefix = format!("{FOLDER}/");
        let files = self.place.machine.borrow().list();
        let names = files.into_iter().filter_map(|(name, size)| Some((name.strip_prefix(&prefix)?.to_owned(), size)));
        hygiene::strays(DATABASE.strip_prefix(&prefix).unwrap_or(DATABASE), names)
    }

    /// Why the machine is broken, if it is.
    pub(crate) fn panic_message(&self) -> Option<String> {
        self.place.machine.borrow().panic_message().map(str::to_owned)
    }
}
