//! How a rig is made.

use super::strangers::Strangers;
use super::{Parts, Rig, Simulation};
use crate::actor::Actor;
use crate::call::Call;
use crate::clock::Clock;
use crate::engine::{Engine, OPEN_READ_WRITE_CREATE};
use crate::fault::FaultPlan;
use crate::media::sim::{Machine, SimVfs};
use crate::outsider::{OUTSIDE_PROGRAM_SQL, OUTSIDER};
use crate::runtime::{self, Processes};
use crate::sched::rare::Rare;
use crate::sched::{Policy, Scheduler};
use crate::seed::Seed;
use crate::shared_state::{Mode, SharedState};
use crate::vfs::injector::{Injector, OutsideProgram};
use crate::vfs::{FaultVfs, RegisterError};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls after which an execution is halted, by default.
const CALLS_MAX: u64 = 1_000_000;

/// Calls that the trace keeps, by default.
const TRACE_CAPACITY: usize = 1 << 15;

/// VFS names are global in a library.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Sees each call.
type Observer = Arc<dyn Fn(Actor, &Call) + Send + Sync>;

/// Makes the processes of a machine.
type MakeProcesses<P> = Box<dyn Fn(&Simulation) -> Rc<P>>;

/// The options of a [`Rig`].
#[must_use]
pub struct RigBuilder<P = RefCell<Machine>> {
    config: Config<P>,
    policy: Box<dyn Policy>,
    trace_capacity: usize,
    calls_max: u64,
}

/// What a machine is made by, and replaced by.
pub(super) struct Config<P> {
    pub(super) engine: Engine,
    pub(super) is_default: bool,
    pub(super) seeds_randomness: bool,
    watches_threads: bool,
    stack_bytes: Option<usize>,
    pub(super) mode: Mode,
    label: String,
    observer: Option<Observer>,
    outside_target: Option<String>,
    processes: MakeProcesses<P>,
}

pub(super) fn default_policy() -> Box<dyn Policy> {
    Box::<Rare>::default()
}

impl RigBuilder {
    pub(super) fn new() -> Self {
        let config = Config {
            engine: Engine::linked(),
            is_default: false,
            seeds_randomness: false,
            watches_threads: false,
            stack_bytes: None,
            mode: Mode::TRACE.and(Mode::DIGEST).and(Mode::VIRTUAL),
            label: "seawall".to_owned(),
            observer: None,
            outside_target: None,
            processes: Box::new(|simulation| Rc::clone(simulation.machine())),
        };
        Self { config, policy: default_policy(), trace_capacity: TRACE_CAPACITY, calls_max: CALLS_MAX }
    }
}

impl<P: Processes + 'static> RigBuilder<P> {
    /// The SQLite to run: the linked one, if it is not told.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.config.engine = engine;
        self
    }

    /// The beginning of the names of its VFSes. A number follows that no other rig of the process has.
    pub fn label(mut self, label: &str) -> Self {
        label.clone_into(&mut self.config.label);
        self
    }

    /// Makes its VFS the default one of the engine. Then SQLite's random generator follows from the seed as well, and
    /// an execution repeats call by call. There can be one such rig for each engine at a time.
    pub fn default_vfs(mut self) -> Self {
        self.config.is_default = true;
        self
    }

    /// Seeds SQLite's random generator at each [`Rig::begin`], so that an execution repeats call by call though another
    /// VFS is the default one. See [`Engine::seed_randomness`].
    pub(crate) fn seeds_randomness(mut self) -> Self {
        self.config.seeds_randomness = true;
        self
    }

    /// Lets calls of other threads fail before they are numbered, and keeps the name of the first one, see
    /// [`Rig::stranger`].
    pub(crate) fn watches_threads(mut self) -> Self {
        self.config.watches_threads = true;
        self
    }

    /// The stack of each actor: 512 KiB, which is enough for SQLite, if it is not told.
    pub(crate) fn stack_bytes(mut self, bytes: usize) -> Self {
        self.config.stack_bytes = Some(bytes);
        self
    }

    /// Goes by this policy, see [`Rig::set_policy`].
    pub fn policy(mut self, policy: Box<dyn Policy>) -> Self {
        self.policy = policy;
        self
    }

    /// What the shim does while no faults are armed: numbers and traces the calls and keeps a checksum of them, if it
    /// is not told. [`Mode::VIRTUAL`] must be among it.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// How many calls the trace keeps, a power of two from 2: 32,768 if it is not told.
    pub fn trace_capacity(mut self, calls: usize) -> Self {
        self.trace_capacity = calls;
        self
    }

    /// After so many calls in an execution every further call fails: a million if it is not told.
    pub fn calls_max(mut self, calls_max: u64) -> Self {
        self.calls_max = calls_max;
        self
    }

    /// Shows each call to `observer`, right before it is carried out.
    pub fn observer(mut self, observer: impl Fn(Actor, &Call) + Send + Sync + 'static) -> Self {
        self.config.observer = Some(Arc::new(observer));
        self
    }

    /// Outsiders act on this database alone. Without it they act on the database that the file of the call belongs to,
    /// or on the one that was opened last.
    pub fn outside_target(mut self, database: &str) -> Self {
        self.config.outside_target = Some(database.to_owned());
        self
    }

    /// Processes that are more than those of the machine; made anew for each machine.
    pub fn processes<Q>(self, make: impl Fn(&Simulation) -> Rc<Q> + 'static) -> RigBuilder<Q> {
        let Config { engine, is_default, seeds_randomness, watches_threads, mode, label, .. } = self.config;
        let Config { observer, outside_target, stack_bytes, .. } = self.config;
        let config = Config {
            engine,
            is_default,
            seeds_randomness,
            watches_threads,
            stack_bytes,
            mode,
            label,
            observer,
            outside_target,
            processes: Box::new(make),
        };
        RigBuilder { config, policy: self.policy, trace_capacity: self.trace_capacity, calls_max: self.calls_max }
    }

    /// Makes the rig.
    ///
    /// # Errors
    /// See [`RegisterError`].
    ///
    /// # Panics
    /// If the capacity of the trace is no power of two.
    pub fn build(self) -> Result<Rig<P>, RegisterError> {
        let shared_state = Arc::new(SharedState::private(self.trace_capacity));
        let parts = self.config.parts(shared_state, self.policy)?;
        Ok(Rig { config: self.config, parts, calls_max: self.calls_max, is_spent: false, gate: None })
    }
}

impl<P: Processes + 'static> Config<P> {
    pub(super) fn parts(
        &self,
        shared_state: Arc<SharedState>,
        policy: Box<dyn Policy>,
    ) -> Result<Parts<P>, RegisterError> {
        let clock = Clock::new(Arc::clone(&shared_state));
        clock.set_scale(0);
        let machine = Rc::new(RefCell::new(Machine::new(clock.clone(), Seed(0))));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (below, above) = (format!("{}-sim-{number}", self.label), format!("{}-{number}", self.label));
        let api = self.engine.vfs_api();
        let sim = SimVfs::register(api, &below, Rc::clone(&machine))?;
        let injector =
            Injector::new(Arc::clone(&shared_state), FaultPlan::empty()).with_changing_plan().with_clock(clock.clone());
        let strangers = Arc::new(Strangers::here());
        let injector = match self.observer.clone() {
            None if self.watches_threads => {
                let strangers = Arc::clone(&strangers);
                injector.with_hook(Box::new(move |_, call| strangers.admits(call) && runtime::before_call(call)))
            }
            None => injector.with_scheduling(),
            Some(observer) => injector.with_hook(Box::new(move |actor, call| {
                let goes_on = runtime::before_call(call);
                observer(actor, call);
                goes_on
            })),
        };
        let injector = injector.with_outside_program(outside_program(self.engine.clone(), below.clone()));
        let injector = match self.outside_target.clone() {
            Some(database) => injector.with_target(database),
            None => injector,
        };
        let shim = FaultVfs::new(api, &above, Some(&below), self.is_default, injector)?;
        let simulation = Simulation::new(self.engine.clone(), machine, clock.clone(), shared_state, (&above, &below));
        let processes = (self.processes)(&simulation);
        let mut scheduler = Scheduler::new(clock, policy, Some(Rc::clone(&processes) as Rc<dyn Processes>));
        if let Some(bytes) = self.stack_bytes {
            scheduler.set_stack_bytes(bytes);
        }
        Ok(Parts { scheduler, simulation, processes, strangers, shim, _sim: sim })
    }
}

/// Another program of the machine, for `outside=foreign`: it writes a row to a table of its own. If it cannot, it gives
/// up, as such programs do.
fn outside_program(engine: Engine, vfs: String) -> OutsideProgram {
    Box::new(move |path| {
        runtime::work_as(OUTSIDER, || {
            if let Ok(database) = engine.open(path, OPEN_READ_WRITE_CREATE, Some(&vfs)) {
                let _ = database.execute(OUTSIDE_PROGRAM_SQL);
            }
        });
    })
}
