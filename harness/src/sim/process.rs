//! What the code of a process finds: its database, its threads, its caller.

use super::panics;
use super::world::{Body, Stage};
use super::{DATABASE, Result};
use crate::actor::Actor;
use crate::record::StoryKind;
use crate::runtime;
use rusqlite::Connection;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// One thread of one process of a [`World`](super::World).
pub struct Process<A = ()> {
    stage: Rc<Stage<A>>,
    actor: Actor,
    life: u32,
}

/// A thread that [`Process::spawn`] has started.
#[derive(Debug)]
pub struct Thread {
    has_ended: Rc<Cell<bool>>,
}

impl<A: fmt::Debug + 'static> Process<A> {
    /// Opens the database of the world.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn open(&self) -> rusqlite::Result<Connection> {
        self.stage.open()
    }

    /// The path of the database, see [`World::path`](super::World::path).
    pub fn path(&self) -> &'static str {
        DATABASE
    }

    /// The name of the VFS, see [`World::vfs`](super::World::vfs).
    pub fn vfs(&self) -> &str {
        self.stage.simulation.vfs()
    }

    /// Records a result that the process has told its caller.
    ///
    /// # Errors
    /// If the process was killed: then it tells nothing.
    pub fn ack(&self, value: A) -> Result {
        let (stage, actor) = (&self.stage, self.actor);
        if stage.is_dead(actor.process) {
            return Err(format!("{actor} was killed").into());
        }
        stage.narrator.tell(None, StoryKind::Observed, || format!("{actor} acknowledged {value:?}"));
        stage.acked.borrow_mut().push(value);
        Ok(())
    }

    /// Which process it is, from 1.
    pub fn number(&self) -> u16 {
        self.actor.process
    }

    /// How often the process has been started, from 1.
    pub fn life(&self) -> u32 {
        self.life
    }

    /// Lets virtual time pass, while others run.
    pub fn sleep(&self, duration: Duration) {
        runtime::sleep(duration);
    }

    /// Starts another thread of the process. It shares what `body` has captured; locks must be those of
    /// [`crate::sync`]. The process ends with its last thread.
    pub fn spawn(&self, body: impl FnOnce(&Self) -> Result + 'static) -> Thread {
        let process = self.actor.process;
        let actor = {
            let mut threads = self.stage.threads.borrow_mut();
            let (living, next) = threads.entry(process).or_insert((0, 2));
            *living += 1;
            *next += 1;
            Actor { process, thread: *next - 1 }
        };
        let (stage, life, has_ended) = (Rc::clone(&self.stage), self.life, Rc::<Cell<bool>>::default());
        let thread = Thread { has_ended: Rc::clone(&has_ended) };
        runtime::spawn(
            actor,
            Box::new(move || {
                let process = Self { stage, actor, life };
                process.perform(body);
                has_ended.set(true);
                runtime::wake(key(&has_ended));
                process.stage.thread_ended(actor.process);
            }),
        );
        thread
    }

    /// Does the work of one actor, and keeps what went wrong. What happens after a kill does not count.
    fn perform(&self, body: impl FnOnce(&Self) -> Result) {
        let ended = panics::catch(|| body(self));
        let trouble = match ended {
            Ok(Ok(())) => return,
            Ok(Err(error)) => (false, error.to_string()),
            Err(panic) => (true, panic.to_string()),
        };
        if !self.stage.is_dead(self.actor.process) {
            let (is_panic, message) = trouble;
            let told = if is_panic { "panicked" } else { "returned an error" };
            let (narrator, actor) = (&self.stage.narrator, self.actor);
            narrator.tell(None, StoryKind::Observed, || format!("{actor} {told}: {message}"));
            self.stage.troubles.borrow_mut().push((self.actor, is_panic, message));
        }
    }
}

/// Runs a process to its end, through its restarts.
pub(super) fn live<A: fmt::Debug + 'static>(stage: Rc<Stage<A>>, number: u16, body: &Body<A>) {
    let actor = Actor { process: number, thread: 1 };
    for life in 1..=stage.settings.restarts + 1 {
        if life > 1 {
            stage.simulation.machine().borrow_mut().revive(number);
            stage.narrator.tell(Some(actor), StoryKind::Start, || "again".to_owned());
        }
        stage.threads.borrow_mut().remove(&number);
        Process { stage: Rc::clone(&stage), actor, life }.perform(|process| body(process));
        stage.join_threads(number);
        if !stage.is_dead(number) {
            return;
        }
    }
}

impl Thread {
    /// Waits until the thread has ended.
    pub fn join(self) {
        while !self.has_ended.get() {
            runtime::block(key(&self.has_ended));
        }
    }
}

/// What is waited for until a thread has ended.
fn key(has_ended: &Rc<Cell<bool>>) -> usize {
    Rc::as_ptr(has_ended).addr()
}

impl<A> fmt::Debug for Process<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("actor", &self.actor).field("life", &self.life).finish_non_exhaustive()
    }
}
