//! The world of a test: a database, processes, invariants. And what the processes of an execution share.

use super::narrator::Narrator;
use super::process::Process;
use super::{DATABASE, Result};
use crate::actor::Actor;
use crate::rig::Simulation;
use crate::runtime;
use crate::seed::Seed;
use rusqlite::{Connection, OpenFlags};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// What the closure of a check describes. `A` is the type of the acknowledged values; a test without any writes
/// `|world: &mut World|`.
pub struct World<A = ()> {
    pub(super) stage: Rc<Stage<A>>,
    pub(super) processes: Vec<Body<A>>,
    pub(super) invariants: Vec<Invariant<A>>,
}

/// The code of a process or of a thread.
pub(super) type Body<A> = Rc<dyn Fn(&Process<A>) -> Result>;

/// What must be true at the end.
type Invariant<A> = Box<dyn Fn(&Connection, &[A]) -> Result>;

/// What the actors of one execution share.
pub(super) struct Stage<A> {
    pub(super) simulation: Simulation,
    pub(super) narrator: Rc<Narrator>,
    pub(super) settings: Settings,
    pub(super) acked: RefCell<Vec<A>>,
    /// What went wrong in actors, in order: the actor, whether it panicked, the message.
    pub(super) troubles: RefCell<Vec<(Actor, bool, String)>>,
    /// By process: its living threads beside the first, and the number of the next one.
    pub(super) threads: RefCell<BTreeMap<u16, (u16, u16)>>,
    seed: Seed,
}

/// What a [`Check`](super::Check) sets for its processes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) busy_timeout: Duration,
    pub(super) restarts: u32,
    pub(super) is_wal: bool,
}

impl<A: fmt::Debug + 'static> World<A> {
    pub(super) fn new(simulation: &Simulation, narrator: &Rc<Narrator>, settings: Settings, seed: Seed) -> Self {
        let stage = Stage {
            simulation: simulation.clone(),
            narrator: Rc::clone(narrator),
            settings,
            acked: RefCell::default(),
            troubles: RefCell::default(),
            threads: RefCell::default(),
            seed: seed.stream("world"),
        };
        Self { stage: Rc::new(stage), processes: Vec::new(), invariants: Vec::new() }
    }

    /// Works on the database now, before all processes and without faults.
    ///
    /// # Panics
    /// If it returns an error.
    #[track_caller]
    pub fn setup(&mut self, setup: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        if let Err(error) = self.stage.open().and_then(|db| setup(&db)) {
            panic!("the setup failed: {error}");
        }
    }

    /// Adds a process, which runs `body` beside the others. If it is killed, it is started again: `body` is called once
    /// more, with what it has captured as it was. Processes are `p1`, `p2`, … in the order of these calls.
    pub fn process(&mut self, body: impl Fn(&Process<A>) -> Result + 'static) {
        self.processes.push(Rc::new(body));
    }

    /// Adds so many processes that run the same code.
    pub fn processes(&mut self, count: usize, body: impl Fn(&Process<A>) -> Result + 'static) {
        let body: Body<A> = Rc::new(body);
        self.processes.extend((0..count).map(|_| Rc::clone(&body)));
    }

    /// Adds an invariant. After the processes it gets a fresh connection and the acknowledged values, in order. It
    /// fails by a panic or by an error.
    pub fn invariant(&mut self, invariant: impl Fn(&Connection, &[A]) -> Result + 'static) {
        self.invariants.push(Box::new(invariant));
    }

    /// The path of the database on the simulated machine. All folders are there, and other paths are other files.
    pub fn path(&self) -> &'static str {
        DATABASE
    }

    /// The name of the VFS, for code that opens SQLite by itself: as `zVfs` of `sqlite3_open_v2`, or in a URI
    /// (`file:/sim/app.db?vfs=NAME`).
    pub fn vfs(&self) -> &str {
        self.stage.simulation.vfs()
    }

    /// The machine below, for code that needs more of the system than SQLite's VFS.
    pub fn simulation(&self) -> &Simulation {
        &self.stage.simulation
    }

    /// A number that follows from the seed of the execution, to draw data or a number of processes from.
    pub fn seed(&self) -> u64 {
        self.stage.seed.0
    }
}

impl<A> fmt::Debug for World<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("processes", &self.processes.len()).finish_non_exhaustive()
    }
}

impl<A> Stage<A> {
    /// A connection in the name of the caller.
    pub(super) fn open(&self) -> rusqlite::Result<Connection> {
        let db = Connection::open_with_flags_and_vfs(DATABASE, OpenFlags::default(), self.simulation.vfs())?;
        db.busy_timeout(self.settings.busy_timeout)?;
        Ok(db)
    }

    pub(super) fn is_dead(&self, process: u16) -> bool {
        self.simulation.machine().borrow().is_dead(process)
    }

    /// Blocks the caller until all threads of a process beside the first have ended.
    pub(super) fn join_threads(&self, process: u16) {
        while self.threads.borrow().get(&process).is_some_and(|(living, _)| *living > 0) {
            runtime::block(self.key(process));
        }
    }

    /// A thread of a process has ended.
    pub(super) fn thread_ended(&self, process: u16) {
        if let Some((living, _)) = self.threads.borrow_mut().get_mut(&process) {
            *living -= 1;
        }
        runtime::wake(self.key(process));
    }

    /// What is waited for by the first thread of a process.
    fn key(&self, process: u16) -> usize {
        std::ptr::from_ref(self).addr() + usize::from(process)
    }
}
