//! The simulated machine for the code of its processes: files beside SQLite's own, and lock files.
//!
//! An operation on a path goes to the machine of the execution on the calling thread, for the running actor. In a
//! process that was killed it does nothing and returns an error.

use super::SimulatedOs;
use crate::strategies::{Host, LayerOs};
use seawall_harness::clock::Clock;
use seawall_harness::media::sim::Machine;
use seawall_harness::outsider::Intervention;
use seawall_harness::record::StoryKind;
use seawall_harness::rig::Simulation;
use seawall_harness::runtime::{self, Processes};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::SharedState;
use seawall_harness::story::{Event, Log, Note};
use seawall_simulated::os::ClaimFile;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

thread_local! {
    static PRESENT: RefCell<Option<Rc<Environment>>> = const { RefCell::new(None) };
}

/// See the module's documentation.
pub(crate) struct Environment {
    pub(super) machine: Rc<RefCell<Machine>>,
    pub(super) clock: Clock,
    /// The lock files that are held: the process, and a number that differs for all holders.
    locked: RefCell<BTreeMap<PathBuf, (u16, u64)>>,
    /// The claimed bytes of lock files, by the number of the holder.
    claimed: RefCell<BTreeMap<u64, Claimed>>,
    next: RefCell<u64>,
    /// The log of what is done to files, if there is one.
    log: RefCell<Option<Log>>,
    shared_state: Arc<SharedState>,
    /// The numbers of all processes: a power cut ends those too that have no file open.
    processes: RefCell<Vec<u16>>,
}

/// A lock file, the process, and the bytes that it claims.
type Claimed = (PathBuf, u16, Vec<u64>);

/// A lock file that is held. Dropping it unlocks the file.
pub(super) struct HeldFile {
    path: PathBuf,
    number: u64,
}

impl Environment {
    pub(crate) fn new(simulation: &Simulation) -> Self {
        let (locked, claimed, next, log) = Default::default();
        let (machine, clock) = (Rc::clone(simulation.machine()), simulation.clock().clone());
        let (shared_state, processes) = (Arc::clone(simulation.shared_state()), RefCell::default());
        Self { machine, clock, locked, claimed, next, log, shared_state, processes }
    }

    /// Names the processes of the run.
    pub(super) fn set_processes(&self, processes: impl Iterator<Item = u16>) {
        *self.processes.borrow_mut() = processes.collect();
    }

    /// Makes it the environment of the calling thread.
    pub(crate) fn enter(self: &Rc<Self>, log: Option<Log>) {
        self.locked.borrow_mut().clear();
        self.claimed.borrow_mut().clear();
        *self.next.borrow_mut() = 0;
        *self.log.borrow_mut() = log;
        PRESENT.set(Some(Rc::clone(self)));
    }

    /// Logs what the running actor has done to a file.
    fn log(&self, action: &str, path: &Path) {
        if let Some(log) = &*self.log.borrow() {
            let (at, actor) = (self.shared_state.calls(), Some(runtime::current_actor()));
            let text = format!("{action} {}", path.file_name().unwrap_or_default().to_string_lossy());
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
        self.claimed.borrow_mut().retain(|_, (_, holder, _)| *holder != process);
    }

    fn is_dead(&self, process: u16) -> bool {
        self.machine.is_dead(process)
    }

    fn drop_locks(&self, process: u16, path: &str) {
        self.machine.drop_locks(process, path);
    }

    fn living(&self) -> Vec<u16> {
        self.machine.borrow().running()
    }

    fn cut_power(&self, seed: Seed) -> bool {
        let has_disk = self.machine.borrow().disk_state().is_some();
        if has_disk {
            let processes = self.processes.borrow().clone();
            processes.into_iter().for_each(|process| self.kill(process));
        }
        has_disk && self.machine.borrow_mut().cut_power(seed)
    }

    fn intervene(&self, intervention: &Intervention) {
        let deed = self.machine.borrow_mut().intervene(intervention);
        if let Some(log) = &*self.log.borrow() {
            // The call at which it happens has its number already.
            let at = self.shared_state.calls().saturating_sub(1);
            let actor = intervention.action.is_of_process().then(runtime::current_actor);
            let note = Note { at, actor, kind: StoryKind::Outside, text: intervention.sentence(&deed) };
            log.borrow_mut().push(Event::Note(note));
        }
    }
}

/// Does something in the environment of the calling thread, if the running actor's process is alive.
fn here<T>(act: impl FnOnce(&Environment) -> io::Result<T>) -> io::Result<T> {
    let environment = PRESENT.with_borrow(Clone::clone);
    let environment = environment.ok_or_else(|| io::Error::other("no simulated machine on this thread"))?;
    if environment.machine.borrow().is_dead(runtime::current_actor().process) {
        return Err(io::Error::other("the process is dead"));
    }
    act(&environment)
}

/// A path as the machine names it.
fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// The clock, which goes on in dead processes too.
pub(super) fn clock() -> Option<Clock> {
    PRESENT.with_borrow(|environment| environment.as_ref().map(|environment| environment.clock.clone()))
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
        here(|environment| {
            environment.machine.borrow_mut().unlink(&name(path)).then_some(()).ok_or_else(not_found)?;
            environment.log("unlink", path);
            Ok(())
        })
    }

    /// The folder of the database is always there.
    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        here(|environment| {
            let mut machine = environment.machine.borrow_mut();
            let bytes = machine.file(&name(from)).ok_or_else(not_found)?;
            machine.write_file(&name(to), &bytes);
            environment.log("copy the database to", to);
            Ok(())
        })
    }

    fn overwrite(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        here(|environment| {
            let mut machine = environment.machine.borrow_mut();
            let mut whole = machine.file(&name(path)).ok_or_else(not_found)?;
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let part = whole.get_mut(at..).and_then(|tail| tail.get_mut(..bytes.len())).ok_or_else(not_found)?;
            part.copy_from_slice(bytes);
            machine.write_file(&name(path), &whole);
            environment.log("overwrite a part of", path);
            Ok(())
        })
    }

    fn file_number(&self, path: &Path) -> Option<u64> {
        file(path).ok().flatten().map(|(number, ..)| number)
    }

    fn layer_os(&self, _clock: &Clock) -> LayerOs {
        LayerOs::Simulated(Arc::new(SimulatedOs))
    }
}

/// Number, size and last change of the file that has this name.
pub(super) fn file(path: &Path) -> io::Result<Option<(u64, u64, u64)>> {
    here(|environment| {
        let machine = environment.machine.borrow();
        let changes = machine.changes(&name(path));
        Ok(machine.inode(&name(path)).zip(changes).map(|((inode, bytes), [_, modified, _])| (inode, bytes, modified)))
    })
}

/// Looks at the machine.
pub(super) fn look<T>(at: impl FnOnce(&Machine) -> T) -> io::Result<T> {
    here(|environment| Ok(at(&environment.machine.borrow())))
}

pub(super) fn create_new(path: &Path) -> io::Result<()> {
    here(|environment| {
        let mut machine = environment.machine.borrow_mut();
        if machine.exists(&name(path)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.write_file(&name(path), &[]).then_some(()).ok_or_else(|| io::ErrorKind::StorageFull.into())
    })
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    here(|environment| {
        let is_renamed = environment.machine.borrow_mut().rename(&name(from), &name(to));
        is_renamed.then_some(()).ok_or_else(not_found)?;
        environment.log("rename", from);
        Ok(())
    })
}

pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let is_taken = here(|environment| Ok(environment.machine.borrow().exists(&name(to))))?;
    if is_taken { Err(io::ErrorKind::AlreadyExists.into()) } else { rename(from, to) }
}

pub(super) fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    here(|environment| {
        let mut machine = environment.machine.borrow_mut();
        let before = machine.file(&name(path)).ok_or_else(not_found)?;
        let rest = before.get(bytes.len()..).unwrap_or_default();
        let whole = [bytes, rest].concat();
        machine.write_file(&name(path), &whole).then_some(()).ok_or_else(|| io::ErrorKind::StorageFull.into())
    })
}

/// The claims of one holder in a lock file. Dropping them gives them back.
pub(super) struct Claims {
    number: u64,
    path: PathBuf,
}

pub(super) fn open_claims(path: &Path) -> io::Result<Claims> {
    here(|environment| {
        environment.machine.borrow().exists(&name(path)).then_some(()).ok_or_else(not_found)?;
        let mut next = environment.next.borrow_mut();
        *next += 1;
        let (path, process) = (path.to_owned(), runtime::current_actor().process);
        environment.claimed.borrow_mut().insert(*next, (path.clone(), process, Vec::new()));
        Ok(Claims { number: *next, path })
    })
}

impl ClaimFile for Claims {
    fn claim(&self, bytes: &[u64]) -> io::Result<()> {
        here(|environment| {
            if let Some((_, _, claimed)) = environment.claimed.borrow_mut().get_mut(&self.number) {
                *claimed = bytes.to_vec();
            }
            Ok(())
        })
    }

    fn is_claimed_elsewhere(&self, from: u64, length: u64) -> io::Result<bool> {
        here(|environment| {
            let claimed = environment.claimed.borrow();
            let mut others =
                claimed.iter().filter(|(number, (path, ..))| **number != self.number && *path == self.path);
            Ok(others.any(|(_, (_, _, bytes))| bytes.iter().any(|byte| byte.wrapping_sub(from) < length)))
        })
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        if let Some(environment) = PRESENT.with_borrow(Clone::clone) {
            environment.claimed.borrow_mut().remove(&self.number);
        }
    }
}

pub(super) fn exists(path: &Path) -> io::Result<bool> {
    here(|environment| Ok(environment.machine.borrow().exists(&name(path))))
}

pub(super) fn try_lock_file(path: &Path) -> io::Result<Option<HeldFile>> {
    here(|environment| {
        let mut locked = environment.locked.borrow_mut();
        if locked.contains_key(path) {
            return Ok(None);
        }
        let mut machine = environment.machine.borrow_mut();
        if !machine.exists(&name(path)) {
            machine.write_file(&name(path), &[]);
        }
        let mut next = environment.next.borrow_mut();
        *next += 1;
        locked.insert(path.to_owned(), (runtime::current_actor().process, *next));
        Ok(Some(HeldFile { path: path.to_owned(), number: *next }))
    })
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        let Some(environment) = PRESENT.with_borrow(Clone::clone) else { return };
        let mut locked = environment.locked.borrow_mut();
        if locked.get(&self.path).is_some_and(|(_, number)| *number == self.number) {
            locked.remove(&self.path);
        }
    }
}
