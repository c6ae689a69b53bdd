//! What runs the calling code: the actor whose work it is, and the scheduler, if this is an execution in the simulator.
//!
//! This is the only thing that the shim, the clock, the simulated machine and the locks know of the scheduler. It fills
//! the calling thread's slot while an execution runs. Outside of executions the functions here do what is right there:
//! nothing, or they say so and the caller asks the system.

use crate::actor::Actor;
use crate::call::Call;
use crate::outsider::Intervention;
use crate::seed::Seed;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// What an execution does for the code of its actors.
pub(crate) trait Runtime {
    /// The running actor is about to make a call; others may run first. False if the call is to fail.
    fn before_call(&self, call: &Call) -> bool;

    /// See [`section`].
    fn section(&self, number: u32);

    /// The section that the running actor is in.
    fn current_section(&self) -> u32;

    /// See [`point`].
    fn point(&self);

    /// The time of the execution.
    fn now(&self) -> Duration;

    /// See [`sleep`].
    fn sleep(&self, duration: Duration);

    /// See [`block`].
    fn block(&self, key: usize);

    /// See [`block_for`].
    fn block_for(&self, key: usize, timeout: Duration) -> bool;

    /// See [`wake`].
    fn wake(&self, key: usize);

    /// See [`spawn`].
    fn spawn(&self, actor: Actor, task: Box<dyn FnOnce()>);

    /// The simulated processes, if there are any.
    fn processes(&self) -> Option<&dyn Processes>;
}

/// The simulated processes of an execution.
pub trait Processes {
    /// Code of this process runs from now on.
    fn resume(&self, process: u16);

    /// The process dies at the call that is being made.
    fn kill(&self, process: u16);

    /// True if the process has been killed, and what runs is what is left of its code.
    fn is_dead(&self, process: u16) -> bool;

    /// The process loses its locks on a file, as POSIX has it when the process closes any descriptor of that file.
    fn drop_locks(&self, process: u16, path: &str);

    /// The processes that have files open and are not dead, in order.
    fn living(&self) -> Vec<u16>;

    /// The power is cut, and what is lost follows from `seed`: all processes die. False if the machine does not know
    /// what of its disk is durable.
    fn cut_power(&self, seed: Seed) -> bool;

    /// An outsider acts on the files or the processes of the machine. Another program is not part of it, nor is the
    /// time for which a process is stopped, nor the death of processes.
    fn intervene(&self, intervention: &Intervention);
}

thread_local! {
    static ACTOR: Cell<Actor> = const { Cell::new(Actor { process: 0, thread: 0 }) };
    static RUNTIME: RefCell<Option<Rc<dyn Runtime>>> = const { RefCell::new(None) };
}

/// Makes `actor` the one in whose name the calling thread works, until the next call of this.
pub fn set_current_actor(actor: Actor) {
    ACTOR.set(actor);
}

/// The actor in whose name the calling thread works: `p0.t0` if it was never set.
#[inline]
pub fn current_actor() -> Actor {
    ACTOR.get()
}

/// The execution that runs on this thread. The slot is not borrowed while it is used: an actor that never goes on would
/// keep the borrow.
fn running() -> Option<Rc<dyn Runtime>> {
    RUNTIME.with_borrow(Clone::clone)
}

/// True while an execution runs on this thread.
#[must_use]
pub(crate) struct Entered(());

/// Fills the thread's slot until the guard is dropped.
pub(crate) fn enter(runtime: Rc<dyn Runtime>) -> Entered {
    RUNTIME.set(Some(runtime));
    Entered(())
}

impl Drop for Entered {
    fn drop(&mut self) {
        RUNTIME.set(None);
    }
}

/// True if the caller is an actor of an execution.
pub fn is_simulated() -> bool {
    RUNTIME.with_borrow(Option::is_some)
}

/// Before a VFS call; others may run first. False if the call is to fail, because the execution has made too many.
#[inline]
pub(crate) fn before_call(call: &Call) -> bool {
    running().is_none_or(|runtime| runtime.before_call(call))
}

/// The running actor begins a section of its own work, a statement or a step, with a number of its own. Scheduling
/// points are counted within it, so that a recorded [`Preemption`](crate::sched::Preemption) stays where it was if what
/// comes before the section is left out. Without effect outside of executions.
pub fn section(number: u32) {
    if let Some(runtime) = running() {
        runtime.section(number);
    }
}

/// The number of the section that the running actor is in; zero outside of executions.
pub(crate) fn current_section() -> u32 {
    running().map(|runtime| runtime.current_section()).unwrap_or_default()
}

/// A scheduling point that is no call: before a lock is taken, for example. Without effect outside of executions.
pub fn point() {
    if let Some(runtime) = running() {
        runtime.point();
    }
}

/// The time of the running execution; zero outside of executions.
pub(crate) fn now() -> Duration {
    running().map(|runtime| runtime.now()).unwrap_or_default()
}

/// Lets `duration` pass for the running actor, while others run; false if no execution runs on this thread.
pub(crate) fn sleep(duration: Duration) -> bool {
    running().map(|runtime| runtime.sleep(duration)).is_some()
}

/// Blocks the running actor until another one [wakes](wake) `key`; false if no execution runs on this thread.
///
/// If no actor is left then that could ever go on, the execution is deadlocked, and this never returns.
pub fn block(key: usize) -> bool {
    running().map(|runtime| runtime.block(key)).is_some()
}

/// Blocks the running actor until another one [wakes](wake) `key` or the time is over; false if it was the time, or if
/// no execution runs on this thread.
pub(crate) fn block_for(key: usize, timeout: Duration) -> bool {
    running().is_some_and(|runtime| runtime.block_for(key, timeout))
}

/// Makes the actors ready that wait for `key`.
pub fn wake(key: usize) {
    if let Some(runtime) = running() {
        runtime.wake(key);
    }
}

/// Adds an actor to the running execution; no living one may have this name. False if no execution runs on this thread.
pub(crate) fn spawn(actor: Actor, task: Box<dyn FnOnce()>) -> bool {
    running().map(|runtime| runtime.spawn(actor, task)).is_some()
}

/// Kills a simulated process; false if no execution runs on this thread.
pub fn kill(process: u16) -> bool {
    let Some(runtime) = running() else { return false };
    if let Some(processes) = runtime.processes() {
        processes.kill(process);
    }
    true
}

/// Cuts the power of the simulated machine; false if there is none, or if it does not record its disk.
pub(crate) fn cut_power(seed: Seed) -> bool {
    running().is_some_and(|runtime| runtime.processes().is_some_and(|processes| processes.cut_power(seed)))
}

/// True if a simulated process has been killed; false outside of executions.
pub fn is_dead(process: u16) -> bool {
    running().is_some_and(|runtime| runtime.processes().is_some_and(|processes| processes.is_dead(process)))
}

/// See [`Processes::drop_locks`]; false if no execution runs on this thread.
pub(crate) fn drop_locks(process: u16, path: &str) -> bool {
    let Some(runtime) = running() else { return false };
    if let Some(processes) = runtime.processes() {
        processes.drop_locks(process, path);
    }
    true
}

/// See [`Processes::intervene`]; false if no execution runs on this thread.
pub(crate) fn intervene(intervention: &Intervention) -> bool {
    let Some(runtime) = running() else { return false };
    if let Some(processes) = runtime.processes() {
        if intervention.action.ends_processes() {
            processes.living().into_iter().for_each(|process| processes.kill(process));
        }
        processes.intervene(intervention);
    }
    true
}

/// Does `work` in the name of another actor. In an execution no other actor runs meanwhile, unless `work` waits.
pub(crate) fn work_as(actor: Actor, work: impl FnOnce()) {
    let caller = current_actor();
    let enter = |actor: Actor| {
        set_current_actor(actor);
        if let Some(runtime) = running()
            && let Some(processes) = runtime.processes()
        {
            processes.resume(actor.process);
        }
    };
    enter(actor);
    work();
    enter(caller);
}
