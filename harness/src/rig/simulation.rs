//! What code finds in the simulator, inside and outside of an execution's actors.

use crate::actor::Actor;
use crate::clock::Clock;
use crate::engine::{Db, Engine, OPEN_READ_WRITE_CREATE, SqlError};
use crate::media::sim::Machine;
use crate::runtime;
use crate::shared_state::SharedState;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The machine of a [`Rig`](super::Rig), its clock, and the VFSes over it. Clones are the same one.
#[derive(Clone)]
pub struct Simulation {
    inner: Rc<Inner>,
}

struct Inner {
    engine: Engine,
    machine: Rc<RefCell<Machine>>,
    clock: Clock,
    shared_state: Arc<SharedState>,
    vfs: String,
    machine_vfs: String,
}

impl Simulation {
    pub(super) fn new(
        engine: Engine,
        machine: Rc<RefCell<Machine>>,
        clock: Clock,
        shared_state: Arc<SharedState>,
        (vfs, machine_vfs): (&str, &str),
    ) -> Self {
        let (vfs, machine_vfs) = (vfs.to_owned(), machine_vfs.to_owned());
        Self { inner: Rc::new(Inner { engine, machine, clock, shared_state, vfs, machine_vfs }) }
    }

    /// Opens a database, or creates it. Names are absolute paths; any folder is there.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn open(&self, path: &str) -> Result<Db, SqlError> {
        self.inner.engine.open(path, OPEN_READ_WRITE_CREATE, Some(self.vfs()))
    }

    /// The VFS to open databases with: every call is a scheduling point, and may meet a fault.
    pub fn vfs(&self) -> &str {
        &self.inner.vfs
    }

    /// The machine's own VFS, without faults, trace or scheduling: to prepare files, or to look at them afterwards.
    pub fn machine_vfs(&self) -> &str {
        &self.inner.machine_vfs
    }

    /// The machine.
    pub fn machine(&self) -> &Rc<RefCell<Machine>> {
        &self.inner.machine
    }

    /// The execution's virtual time.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Switches, counters and trace.
    pub fn shared_state(&self) -> &Arc<SharedState> {
        &self.inner.shared_state
    }

    /// Arms the faults.
    pub fn arm(&self) {
        self.inner.shared_state.arm();
    }

    /// Disarms the faults.
    pub fn disarm(&self) {
        self.inner.shared_state.disarm();
    }

    /// Works in the name of `actor` from now on. For code outside of an execution: an actor of one is set already.
    pub fn enter(&self, actor: Actor) {
        runtime::set_current_actor(actor);
        self.inner.machine.borrow_mut().resume(actor.process);
    }
}
