//! Explore: many executions of a scenario in the simulator, each with another schedule, until an oracle finds
//! something.
//!
//! ```text
//! seed ─► mixed (world, scripts)  ─► scheduler (policy) ─► actors ─► engine ─► shim ─► simulated machine
//!                                                        ─► ledger, observations ─► judge ─► finding
//! ```
//!
//! One [`Explorer`] is one machine on one thread, and executes as often as it is asked to: stacks, file buffers, the
//! registered VFSes and the databases that executions begin with are kept. Several explorers need several processes,
//! because a SQLite library has one random generator, and an execution must not depend on another one.

mod actor;
mod judge;
mod mixed;
mod token;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use seawall_harness::board::{Board, Mode};
use seawall_harness::clock::Clock;
use seawall_harness::engine::Engine;
use seawall_harness::fault::Plan;
use seawall_harness::media::sim::{Machine, SimVfs};
use seawall_harness::sched::pct::Pct;
use seawall_harness::sched::random::Random;
use seawall_harness::sched::rare::Rare;
use seawall_harness::sched::round_robin::RoundRobin;
use seawall_harness::sched::{Execution, Policy, Scheduler, Task};
use seawall_harness::seed::Seed;
use seawall_harness::trace;
use seawall_harness::vfs::Registration;
use seawall_harness::vfs::lab::Lab;

pub use judge::Finding;
pub use token::{ExploreToken, ExploreTokenError};

use actor::{Notebook, Stage};
use mixed::World;

/// The scenarios.
pub const SCENARIOS: [(&str, &str); 1] = [(
    "mixed",
    "write transactions, reads, checkpoints of all kinds, open and close, on 2 to 4 connections in 1 to 3 processes",
)];

/// The policies, the default one first.
pub const POLICIES: [&str; 4] = ["rare", "pct", "random", "round-robin"];

/// Calls after which an execution counts as stuck. A long one makes a few thousand.
const CALLS_MAX: u64 = 200_000;

/// Calls that the trace keeps. Enough for every execution that does not get stuck.
const TRACE_CAPACITY: usize = 1 << 14;

/// The database of every execution.
const DATABASE: &str = "/sim/app.db";

/// The policy with this name.
pub fn policy(name: &str) -> Option<Box<dyn Policy>> {
    Some(match name {
        "rare" => Box::new(Rare::default()),
        "pct" => Box::new(Pct::default()),
        "random" => Box::new(Random::default()),
        "round-robin" => Box::new(RoundRobin::default()),
        _ => return None,
    })
}

/// What one execution came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The schedule.
    pub execution: Execution,
    /// What the oracles found, worst first.
    pub findings: Vec<Finding>,
    /// Transactions that were acknowledged.
    pub acked: u64,
    /// Checksum over all calls, if they were traced.
    pub digest: Option<String>,
}

/// See the module's documentation.
pub struct Explorer {
    engine: Engine,
    machine: Rc<RefCell<Machine>>,
    board: Arc<Board>,
    scheduler: Scheduler,
    shim: Registration,
    sim: SimVfs,
    /// Databases with the schema in them, by what they were made with.
    images: BTreeMap<mixed::Layout, Vec<u8>>,
    traced: bool,
}

impl Explorer {
    /// An explorer of this engine. With `traced`, every call is kept and outcomes have a digest.
    ///
    /// # Errors
    /// A message if the VFSes cannot be registered.
    pub fn new(engine: Engine, policy: Box<dyn Policy>, traced: bool) -> Result<Self, String> {
        let board = Arc::new(Board::private(TRACE_CAPACITY));
        let clock = Clock::new(Arc::clone(&board));
        clock.set_scale(0);
        let machine = Rc::new(RefCell::new(Machine::new(clock.clone(), Seed(0))));
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (below, above) = (format!("seawall-sim-{number}"), format!("seawall-explore-{number}"));
        let api = engine.vfs_api();
        let sim = SimVfs::register(api, &below, Rc::clone(&machine)).map_err(|error| error.to_string())?;
        let lab = Lab::new(Arc::clone(&board), Plan::empty()).with_clock(clock.clone()).with_hook(Scheduler::hook());
        // As the default VFS it seeds the engine's own random generator.
        let shim = Registration::new(api, &above, Some(&below), true, lab).map_err(|error| error.to_string())?;
        let scheduler = Scheduler::new(clock, policy);
        Ok(Self { engine, machine, board, scheduler, shim, sim, images: BTreeMap::new(), traced })
    }

    /// Executes the scenario once.
    ///
    /// # Errors
    /// A message if the database to begin with cannot be made: then the lab is broken.
    pub fn execute(&mut self, seed: Seed) -> Result<Outcome, String> {
        let world = World::draw(seed);
        let image = self.image(&world)?;
        self.machine.borrow_mut().reset(seed.stream("machine"));
        self.machine.borrow_mut().write_file(DATABASE, &image);
        self.images.insert(world.layout, image);
        self.shim.lab().restart();
        self.board.set_mode(if self.traced { Mode::TRACE.and(Mode::DIGEST) } else { Mode::NUMBER });
        self.engine.reset_randomness();
        let stage = Rc::new(Stage {
            engine: self.engine.clone(),
            vfs: self.shim.name().to_owned(),
            machine: Rc::clone(&self.machine),
            notebook: RefCell::new(Notebook::default()),
            world,
        });
        let actors = stage.world.actors.iter().enumerate().map(|(position, plan)| {
            let stage = Rc::clone(&stage);
            let task: Task = Box::new(move || actor::play(&stage, position));
            (plan.actor, task)
        });
        let execution = self.scheduler.run(seed.stream("schedule"), CALLS_MAX, actors.collect());
        let digest = self.traced.then(|| trace::digest(&self.board));
        let notebook = stage.notebook.take();
        let acked = notebook.ledger.counts().0;
        let findings = judge::judge(&self.engine, self.sim.name(), &execution, notebook);
        Ok(Outcome { execution, findings, acked, digest })
    }

    /// The calls of the last execution, if they were traced.
    pub fn calls(&self) -> Vec<trace::Entry> {
        trace::read(&self.board)
    }

    /// The file that an execution in this world begins with: the schema in a database of the world's layout, in WAL
    /// mode.
    fn image(&mut self, world: &World) -> Result<Vec<u8>, String> {
        if let Some(image) = self.images.remove(&world.layout) {
            return Ok(image);
        }
        self.machine.borrow_mut().reset(Seed(0));
        let make = || -> Result<(), seawall_harness::engine::SqlError> {
            let flags = seawall_harness::engine::OPEN_READ_WRITE_CREATE;
            let db = self.engine.open(DATABASE, flags, Some(self.sim.name()))?;
            db.execute(&world.layout.sql())?;
            db.close()
        };
        make().map_err(|error| format!("cannot make the database of the scenario: {error}"))?;
        let image = self.machine.borrow().file(DATABASE);
        image.ok_or_else(|| "the database of the scenario was not written".to_owned())
    }
}

/// VFS names are global in a library.
static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
