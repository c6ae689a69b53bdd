//! The simulated machine as the code of its processes finds it: files beside SQLite's own, and lock files.
//!
//! What a strategy does to a path goes to the machine of the execution that runs on the calling thread, in the name of
//! the actor that runs: a process that has been killed gets nothing done any more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use seawall_harness::clock::Clock;
use seawall_harness::media::sim::Machine;
use seawall_harness::record::StoryKind;
use seawall_harness::rig::Simulation;
use seawall_harness::runtime::{self, Processes};
use seawall_harness::shared_state::SharedState;

use super::SimulatedOs;
use crate::story::{Event, Log, Note};
use crate::strategies::{Host, LayerOs};

thread_local! {
    static HERE: RefCell<Option<Rc<Environment>>> = const { RefCell::new(None) };
}

/// See the module's documentation.
pub(crate) struct Environment {
    pub(super) machine: Rc<RefCell<Machine>>,
    pub(super) clock: Clock,
    /// Who holds which lock file: the process, and a number that no other holding has.
    locked: RefCell<BTreeMap<PathBuf, (u16, u64)>>,
    next: RefCell<u64>,
    /// Where it is written down what is done to files, if the run is told.
    log: RefCell<Option<Log>>,
    shared_state: Arc<SharedState>,
}

/// A lock file that is held. Dropping it gives it back.
pub(super) struct HeldFile {
    path: PathBuf,
    number: u64,
}

impl Environment {
    pub(crate) fn new(simulation: &Simulation) -> Self {
        let (locked, next, log) = Default::default();
        let (machine, clock) = (Rc::clone(simulation.machine()), simulation.clock().clone());
        Self { machine, clock, locked, next, log, shared_state: Arc::clone(simulation.shared_state()) }
    }

    /// Makes it the place where the calling thread is.
    pub(crate) fn enter(self: &Rc<Self>, log: Option<Log>) {
        self.locked.borrow_mut().clear();
        *self.next.borrow_mut() = 0;
        *self.log.borrow_mut() = log;
        HERE.set(Some(Rc::clone(self)));
    }

    /// Writes down that the running actor has done something to a file.
    fn tell(&self, deed: &str, path: &Path) {
        if let Some(log) = &*self.log.borrow() {
            let (at, actor) = (self.shared_state.calls(), Some(runtime::current_actor()));
            let text = format!("{deed} {}", path.file_name().unwrap_or_default().to_string_lossy());
            let note = |kind| Event::Note(Note { at, actor, kind, text: text.clone() });
            log.borrow_mut().extend([note(StoryKind::Begin), note(StoryKind::End)]);
        }
    }
}

impl Processes for Environment {
    fn resume(&self, process: u16) {
        self.machine.resume(process);
    }

    fn kill(&self, process: u16) {
        self.machine.kill(process);
        self.locked.borrow_mut().retain(|_, (holder, _)| *holder != process);
    }

    fn is_dead(&self, process: u16) -> bool {
        self.machine.is_dead(process)
    }

    fn drop_locks(&self, process: u16, path: &str) {
        self.machine.drop_locks(process, path);
    }
}

/// Does something at the place where the calling thread is, if the running actor's process is alive.
fn here<T>(act: impl FnOnce(&Environment) -> io::Result<T>) -> io::Result<T> {
    let place = HERE.with_borrow(Clone::clone);
    let place = place.ok_or_else(|| io::Error::other("no simulated machine on this thread"))?;
    if place.machine.borrow().is_dead(runtime::current_actor().process) {
        return Err(io::Error::other("the process is dead"));
    }
    act(&place)
}

/// A path as the machine names it.
fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn there_is_none() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// The clock goes on for the dead as well.
pub(super) fn clock() -> Option<Clock> {
    HERE.with_borrow(|place| place.as_ref().map(|place| place.clock.clone()))
}

/// True if the running actor's process has been killed.
pub(super) fn is_dead() -> bool {
    here(|_| Ok(())).is_err()
}

/// A process of the simulated machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimHost;

impl Host for SimHost {
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        here(|place| {
            place.machine.borrow_mut().unlink(&name(path)).then_some(()).ok_or_else(there_is_none)?;
            place.tell("unlink", path);
            Ok(())
        })
    }

    /// The folder of the database is always there.
    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        here(|place| {
            let mut machine = place.machine.borrow_mut();
            let bytes = machine.file(&name(from)).ok_or_else(there_is_none)?;
            machine.write_file(&name(to), &bytes);
            place.tell("copy the database to", to);
            Ok(())
        })
    }

    fn overwrite(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        here(|place| {
            let mut machine = place.machine.borrow_mut();
            let mut whole = machine.file(&name(path)).ok_or_else(there_is_none)?;
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let part = whole.get_mut(at..).and_then(|tail| tail.get_mut(..bytes.len())).ok_or_else(there_is_none)?;
            part.copy_from_slice(bytes);
            machine.write_file(&name(path), &whole);
            place.tell("overwrite a part of", path);
            Ok(())
        })
    }

    fn layer_os(&self, _clock: &Clock) -> LayerOs {
        LayerOs::Simulated(Arc::new(SimulatedOs))
    }
}

/// Number and size of the file that has this name.
pub(super) fn file(path: &Path) -> io::Result<Option<(u64, u64)>> {
    here(|place| Ok(place.machine.borrow().inode(&name(path))))
}

pub(super) fn exists(path: &Path) -> io::Result<bool> {
    here(|place| Ok(place.machine.borrow().exists(&name(path))))
}

pub(super) fn try_lock_file(path: &Path) -> io::Result<Option<HeldFile>> {
    here(|place| {
        let mut locked = place.locked.borrow_mut();
        if locked.contains_key(path) {
            return Ok(None);
        }
        let mut machine = place.machine.borrow_mut();
        if !machine.exists(&name(path)) {
            machine.write_file(&name(path), &[]);
        }
        let mut next = place.next.borrow_mut();
        *next += 1;
        locked.insert(path.to_owned(), (runtime::current_actor().process, *next));
        Ok(Some(HeldFile { path: path.to_owned(), number: *next }))
    })
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        let Some(place) = HERE.with_borrow(Clone::clone) else { return };
        let mut locked = place.locked.borrow_mut();
        if locked.get(&self.path).is_some_and(|(_, number)| *number == self.number) {
            locked.remove(&self.path);
        }
    }
}
