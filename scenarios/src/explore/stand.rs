//! The test stand: one simulated machine, the VFSes over it, and the scheduler of its actors. It serves many
//! executions, one after the other, and is replaced when one has left it unusable.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seawall_harness::clock::Clock;
use seawall_harness::engine::Engine;
use seawall_harness::fault::{FaultPlan, Rule};
use seawall_harness::media::sim::{Machine, SimVfs};
use seawall_harness::sched::{Processes, Scheduler};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::SharedState;
use seawall_harness::vfs::FaultVfs;
use seawall_harness::vfs::injector::Injector;

use super::policy;

/// See the module's documentation.
pub(super) struct Stand {
    pub(super) machine: Rc<RefCell<Machine>>,
    pub(super) shared_state: Arc<SharedState>,
    pub(super) scheduler: Scheduler,
    pub(super) sim: SimVfs,
    /// As the default VFS it seeds the engine's own random generator. What is registered stays for good, so there is
    /// one for all executions, and its plan changes with them.
    pub(super) shim: FaultVfs,
}

/// VFS names are global in a library.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Stand {
    pub(super) fn new(engine: &Engine, shared_state: Arc<SharedState>) -> Result<Self, String> {
        let clock = Clock::new(Arc::clone(&shared_state));
        clock.set_scale(0);
        let machine = Rc::new(RefCell::new(Machine::new(clock.clone(), Seed(0))));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let below = format!("seawall-sim-{number}");
        let sim = SimVfs::register(engine.vfs_api(), &below, Rc::clone(&machine)).map_err(|error| error.to_string())?;
        let injector = Injector::new(Arc::clone(&shared_state), FaultPlan::empty())
            .with_changing_plan()
            .with_clock(clock.clone())
            .with_hook(Scheduler::hook());
        let above = format!("seawall-explore-{number}");
        let shim = FaultVfs::new(engine.vfs_api(), &above, Some(&below), true, injector);
        let shim = shim.map_err(|error| error.to_string())?;
        let policy = policy(super::POLICIES[0].0).map_err(|error| error.to_string())?;
        let processes: Rc<dyn Processes> = Rc::<RefCell<Machine>>::clone(&machine);
        let scheduler = Scheduler::with_processes(clock, policy, processes);
        Ok(Self { machine, shared_state, scheduler, sim, shim })
    }

    /// Begins a new execution under these faults, whose dice come from `seed`.
    pub(super) fn begin(&self, rules: &[Rule], seed: Seed) -> Result<(), String> {
        if rules.is_empty() {
            self.shim.injector().restart();
            return Ok(());
        }
        let plan = FaultPlan::new(rules.to_vec(), seed.stream("faults")).map_err(|error| error.to_string())?;
        plan.check_real_medium().map_err(|error| error.to_string())?;
        self.shim.injector().restart_with(plan);
        Ok(())
    }

    /// Puts the stand away with everything that still works on it: coroutines that will never be resumed hold its
    /// files.
    pub(super) fn abandon(self) {
        std::mem::forget(self);
    }
}
