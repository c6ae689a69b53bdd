//! The rig: a simulated machine, SQLite on it, and a scheduler that runs several actors against one another, each
//! execution from its seed. Your own code runs in it as it is, as long as it opens its databases by
//! [`Simulation::vfs`].
//!
//! ```text
//! actors ─► sched (who goes on) ─► engine (SQLite) ─► vfs (faults, trace) ─► media::sim (machine)
//! ```
//!
//! ```
//! use seawall_harness::{actor::Actor, fault::FaultPlan, rig::Rig, sched::Task, seed::Seed};
//!
//! let mut rig = Rig::builder().build()?;
//! for seed in (0..20).map(Seed) {
//!     let simulation = rig.begin(seed, FaultPlan::empty())?;
//!     simulation.open("/a.db")?.execute("PRAGMA journal_mode = WAL; CREATE TABLE t(x)")?;
//!     let actors = [1, 2].map(|process| {
//!         let simulation = simulation.clone();
//!         let sql = "PRAGMA busy_timeout = 1000; INSERT INTO t VALUES (1)";
//!         let insert = move || simulation.open("/a.db").unwrap().execute(sql).unwrap();
//!         (Actor { process, thread: 1 }, Box::new(insert) as Task)
//!     });
//!     rig.run(seed, actors.into());
//!     assert_eq!(simulation.open("/a.db")?.query_int("SELECT count(*) FROM t")?, Some(2), "{seed:?}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reuse
//! One rig serves many executions, one after the other: memory, stacks and registered VFSes are kept. The same seed
//! gives the same execution, call by call, whatever was executed before, if the rig is the *default* VFS
//! ([`RigBuilder::default_vfs`]): SQLite seeds its own random generator from that one.
//!
//! After a deadlock the actors' code is still in the middle of SQLite, with files open and locks held. None of that can
//! be taken back, so it is leaked, and the next [`Rig::begin`] replaces the machine, its VFSes and the scheduler.

mod builder;
mod simulation;
mod strangers;

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

pub use builder::RigBuilder;
pub use simulation::Simulation;

use crate::actor::Actor;
use crate::engine::Gate;
use crate::fault::FaultPlan;
use crate::media::sim::{Machine, SimVfs};
use crate::runtime::{self, Processes};
use crate::sched::{Execution, Policy, Pulse, Scheduler, Task};
use crate::seed::Seed;
use crate::shared_state::{Mode, SharedState};
use crate::trace::{self, Entry};
use crate::vfs::{FaultVfs, RegisterError};
use builder::Config;
use strangers::Strangers;

/// See the module's documentation. `P` are the simulated processes: those of the machine, or what wraps them.
pub struct Rig<P = RefCell<Machine>> {
    config: Config<P>,
    parts: Parts<P>,
    calls_max: u64,
    /// True after a deadlock.
    is_spent: bool,
    /// Open while the plan makes allocations fail.
    gate: Option<Gate>,
}

/// What is replaced after a deadlock.
struct Parts<P> {
    scheduler: Scheduler,
    simulation: Simulation,
    processes: Rc<P>,
    strangers: Arc<Strangers>,
    shim: FaultVfs,
    // Below the shim, so that it goes after it.
    _sim: SimVfs,
}

impl Rig {
    /// A rig with the linked SQLite and the policy [`Rare`](crate::sched::rare::Rare), until it is told otherwise.
    pub fn builder() -> RigBuilder {
        RigBuilder::new()
    }
}

impl<P: Processes + 'static> Rig<P> {
    /// Begins an execution: an empty disk, no locks, all processes alive, the clock and the calls at 0, no faults
    /// armed. What of the execution before is still open fails at every call from now on. The machine's randomness
    /// follows from `seed`. If a fault needs it, the disk is recorded from now on; where files are prepared without
    /// syncs, [`Machine::record_disk`] makes them durable.
    ///
    /// # Errors
    /// If the plan needs real files; if it makes allocations fail, and the engine is not the linked one or has a
    /// connection open when it is first needed; see [`RegisterError`]. After a deadlock, if the VFSes cannot be
    /// registered anew.
    pub fn begin(&mut self, seed: Seed, plan: FaultPlan) -> Result<Simulation, RegisterError> {
        plan.check_simulated_medium()?;
        self.gate = None;
        if plan.fails_allocations() {
            let installed = self.config.engine.install_allocation_faults();
            installed.or_else(|error| plan.check_no_allocations(&error.to_string()))?;
        }
        if self.is_spent {
            self.replace()?;
        }
        let Parts { simulation, shim, .. } = &self.parts;
        let shared_state = simulation.shared_state();
        shared_state.set_mode(Mode::OFF);
        simulation.machine().borrow_mut().reset(seed.stream("machine"));
        if plan.needs_recorded_disk() {
            simulation.machine().borrow_mut().record_disk(false);
        }
        if plan.fails_allocations() {
            let injector = Arc::clone(shim.injector());
            self.gate = Some(Gate::open(move |bytes| injector.fails_allocation(bytes)));
        }
        shim.injector().restart_with(plan);
        shared_state.set_mode(self.config.mode);
        if self.config.is_default {
            self.config.engine.reset_randomness();
        }
        if self.config.seeds_randomness {
            self.config.engine.seed_randomness(Some(seed.stream("randomness")));
        }
        Ok(simulation.clone())
    }

    /// Runs the actors to their ends, under the schedule that the policy makes of `seed`.
    ///
    /// # Panics
    /// If there is no actor, or a task panics.
    pub fn run(&mut self, seed: Seed, actors: Vec<(Actor, Task)>) -> Execution {
        let outside = runtime::current_actor();
        let execution = self.parts.scheduler.run(seed, self.calls_max, actors);
        self.parts.simulation.enter(outside);
        self.is_spent = !execution.deadlocked.is_empty();
        execution
    }

    /// Goes by another policy from the next execution on; gives the present one back.
    pub fn set_policy(&mut self, policy: Box<dyn Policy>) -> Box<dyn Policy> {
        self.parts.scheduler.set_policy(policy)
    }

    /// From the next execution on, every call after so many fails.
    pub fn set_calls_max(&mut self, calls_max: u64) {
        self.calls_max = calls_max;
    }

    /// The first call of a thread that is not the rig's, if [it watches](RigBuilder::watches_threads). Told once.
    pub(crate) fn stranger(&self) -> Option<String> {
        self.parts.strangers.take()
    }

    /// What a watchdog on another thread may see.
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(self.parts.scheduler.pulse())
    }

    /// The simulation of the present execution.
    pub fn simulation(&self) -> &Simulation {
        &self.parts.simulation
    }

    /// The simulated processes.
    pub fn processes(&self) -> &Rc<P> {
        &self.parts.processes
    }

    /// Switches, counters and trace; the same ones for all executions.
    pub fn shared_state(&self) -> &Arc<SharedState> {
        self.parts.simulation.shared_state()
    }

    /// The calls of the last execution that the trace has kept.
    pub fn calls(&self) -> Vec<Entry> {
        trace::read(self.shared_state())
    }

    /// The checksum over all calls of the last execution, see [`trace::digest`].
    pub fn digest(&self) -> String {
        trace::digest(self.shared_state())
    }

    fn replace(&mut self) -> Result<(), RegisterError> {
        let shared_state = Arc::clone(self.shared_state());
        // Nothing of an execution runs any more, so the policy can be taken over.
        let policy = self.parts.scheduler.set_policy(builder::default_policy());
        let parts = self.config.parts(shared_state, policy)?;
        mem::forget(mem::replace(&mut self.parts, parts));
        self.is_spent = false;
        Ok(())
    }
}
