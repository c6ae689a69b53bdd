//! The test stand: one simulated machine, the VFSes over it, and the scheduler of its actors. It serves many
//! executions, one after the other, and is replaced when one has left it unusable.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seawall_harness::board::Board;
use seawall_harness::clock::Clock;
use seawall_harness::engine::Engine;
use seawall_harness::fault::{Plan, Rule};
use seawall_harness::media::sim::{Machine, SimVfs};
use seawall_harness::sched::{Processes, Scheduler};
use seawall_harness::seed::Seed;
use seawall_harness::vfs::Registration;
use seawall_harness::vfs::lab::Lab;

use super::policy;

/// So many different dice a set of fault rules has. The plan of a shim is fixed when it is registered, and what is
/// registered stays: one for each seed would be too many.
const DICE: u64 = 16;

/// See the module's documentation.
pub(super) struct Stand {
    pub(super) machine: Rc<RefCell<Machine>>,
    pub(super) board: Arc<Board>,
    pub(super) scheduler: Scheduler,
    pub(super) sim: SimVfs,
    clock: Clock,
    number: u64,
    /// Shims with their fault rules and dice.
    shims: BTreeMap<(Vec<String>, u64), Registration>,
    /// The one without faults. As the default VFS it seeds the engine's own random generator.
    plain: Registration,
}

/// VFS names are global in a library.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Stand {
    pub(super) fn new(engine: &Engine, board: Arc<Board>) -> Result<Self, String> {
        let clock = Clock::new(Arc::clone(&board));
        clock.set_scale(0);
        let machine = Rc::new(RefCell::new(Machine::new(clock.clone(), Seed(0))));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let below = format!("seawall-sim-{number}");
        let sim = SimVfs::register(engine.vfs_api(), &below, Rc::clone(&machine)).map_err(|error| error.to_string())?;
        let lab = Lab::new(Arc::clone(&board), Plan::empty()).with_clock(clock.clone()).with_hook(Scheduler::hook());
        let above = format!("seawall-explore-{number}");
        let plain = Registration::new(engine.vfs_api(), &above, Some(&below), true, lab);
        let plain = plain.map_err(|error| error.to_string())?;
        let processes: Rc<dyn Processes> = Rc::<RefCell<Machine>>::clone(&machine);
        let policy = policy(super::POLICIES[0].0).ok_or("there is no policy")?;
        let scheduler = Scheduler::with_processes(clock.clone(), policy, processes);
        Ok(Self { machine, board, scheduler, sim, clock, number, shims: BTreeMap::new(), plain })
    }

    /// Begins a new execution under these faults; the name of the VFS to use.
    pub(super) fn begin(&mut self, engine: &Engine, rules: &[Rule], seed: Seed) -> Result<String, String> {
        self.plain.lab().restart();
        if rules.is_empty() {
            return Ok(self.plain.name().to_owned());
        }
        let dice = seed.stream("faults").0 % DICE;
        let key = (rules.iter().map(Rule::to_string).collect(), dice);
        if !self.shims.contains_key(&key) {
            let plan = Plan::new(rules.to_vec(), Seed(dice)).map_err(|error| error.to_string())?;
            plan.check_real_medium().map_err(|error| error.to_string())?;
            let lab = Lab::new(Arc::clone(&self.board), plan).with_clock(self.clock.clone());
            let name = format!("seawall-explore-{}-{}", self.number, self.shims.len());
            let lab = lab.with_hook(Scheduler::hook());
            let shim = Registration::new(engine.vfs_api(), &name, Some(self.sim.name()), false, lab);
            self.shims.insert(key.clone(), shim.map_err(|error| error.to_string())?);
        }
        let shim = &self.shims[&key];
        shim.lab().restart();
        Ok(shim.name().to_owned())
    }

    /// Puts the stand away with everything that still works on it: coroutines that will never be resumed hold its
    /// files.
    pub(super) fn abandon(self) {
        std::mem::forget(self);
    }
}
