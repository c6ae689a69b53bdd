//! An actor of an exploration: it opens a connection, takes its steps, and starts again after its process was killed.

use super::case::{ActorPlan, Case};
use super::connection_actor::ConnectionActor;
use super::history::History;
use super::{DATABASE, Step};
use rusqlite::ffi::SQLITE_OPEN_FULLMUTEX;
use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError};
use seawall_harness::media::sim::Machine;
use seawall_harness::record::StoryKind;
use seawall_harness::runtime;
use seawall_harness::shared_state::SharedState;
use seawall_harness::story::{Event, Log, Note};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// How long a connection waits for a lock, in milliseconds of the simulated clock.
const BUSY_TIMEOUT_MS: u32 = 20;

/// What all actors of an execution share.
pub(super) struct ExecutionContext {
    pub(super) engine: Engine,
    pub(super) vfs: String,
    pub(super) machine: Rc<RefCell<Machine>>,
    pub(super) shared_state: Arc<SharedState>,
    pub(super) history: RefCell<History>,
    pub(super) case: Case,
    /// By number.
    pub(super) processes: Vec<Process>,
    /// The log for a story, if there is to be one.
    pub(super) log: Option<Log>,
}

/// What the actors of one process share.
#[derive(Default)]
pub(super) struct Process {
    /// How many of them run code in it.
    inside: Cell<usize>,
    /// The connection that some of them share.
    connection: RefCell<SharedConnection>,
}

/// A connection that several actors share: the first of them opens it, the last one closes it.
#[derive(Default)]
enum SharedConnection {
    #[default]
    Closed,
    /// An actor is opening it.
    Opening,
    Open(Rc<Db>),
}

/// The section in which an actor closes its last connection.
const CLOSING: u32 = 1;

/// Sections of each step: the opening of the connection for it, its beginning, its statements, its end.
const SECTIONS: u32 = 64;

/// The section of the statement that ends the transaction of a step. It stays the same when statements before it are
/// left out.
pub(super) const LAST: u32 = SECTIONS - 1;

/// The section of a ROLLBACK that cleans up.
pub(super) const CLEANUP: u32 = SECTIONS - 2;

/// Statements of a step that have sections of their own; the rest belongs to the last of them.
pub(super) const STATEMENTS_MAX: u32 = SECTIONS - 4;

/// Begins a section of a step: 0 is the opening of the connection for it, 1 its beginning, then come its statements.
pub(super) fn section(step: u32, part: u32) {
    runtime::section(step * SECTIONS + part);
}

/// Executes the steps of the actor at this position.
pub(super) fn play(context: &ExecutionContext, position: usize) {
    let plan = &context.case.actors[position];
    let process = plan.actor.process;
    let mut steps = plan.steps.iter().copied().peekable();
    while let Some(first) = steps.peek() {
        section(first.number, 0);
        context.enter(process);
        context.tell(plan.actor, StoryKind::Begin, || "open".to_owned());
        match connect(context, plan) {
            Ok(db) => {
                context.tell(plan.actor, StoryKind::End, || "open".to_owned());
                let mut connection = ConnectionActor::new(context, plan.actor, &db);
                for numbered in steps.by_ref() {
                    section(numbered.number, 1);
                    if numbered.step == Step::Reopen {
                        context.tell(plan.actor, StoryKind::Begin, || "close".to_owned());
                        break;
                    }
                    connection.take(numbered.number, numbered.step);
                    if context.is_dead(plan.actor) {
                        break;
                    }
                }
                if steps.peek().is_none() {
                    runtime::section(CLOSING);
                }
            }
            // A connection that cannot be opened or configured costs the actor one step.
            Err(error) => {
                context.tell(plan.actor, StoryKind::Refused, || format!("open: {error}"));
                context.note_alarm(plan.actor, &error);
                steps.next();
            }
        }
        context.leave(plan.actor);
    }
}

fn connect(context: &ExecutionContext, plan: &ActorPlan) -> Result<Rc<Db>, SqlError> {
    if !plan.shared {
        return open(context, OPEN_NO_MUTEX).map(Rc::new);
    }
    let connection = &context.processes[usize::from(plan.actor.process)].connection;
    let key = std::ptr::from_ref(connection).addr();
    loop {
        let state = connection.replace(SharedConnection::Opening);
        match state {
            SharedConnection::Opening => drop(runtime::block(key)),
            SharedConnection::Open(db) => {
                connection.replace(SharedConnection::Open(Rc::clone(&db)));
                return Ok(db);
            }
            SharedConnection::Closed => {
                let opened = open(context, SQLITE_OPEN_FULLMUTEX).map(Rc::new);
                let open = |db: &Rc<Db>| SharedConnection::Open(Rc::clone(db));
                connection.replace(opened.as_ref().map_or(SharedConnection::Closed, open));
                runtime::wake(key);
                return opened;
            }
        }
    }
}

fn open(context: &ExecutionContext, flags: i32) -> Result<Db, SqlError> {
    let db = context.engine.open(DATABASE, OPEN_READ_WRITE_CREATE | flags, Some(&context.vfs))?;
    db.busy_timeout(BUSY_TIMEOUT_MS)?;
    db.execute(&context.case.settings.sql())?;
    Ok(db)
}

impl ExecutionContext {
    /// True if the actor's process was killed: results that its code gets from then on do not count.
    pub(super) fn is_dead(&self, actor: Actor) -> bool {
        self.machine.borrow().is_dead(actor.process)
    }

    pub(super) fn note_alarm(&self, actor: Actor, error: &SqlError) {
        if error.is_corrupt() && !self.is_dead(actor) {
            self.history.borrow_mut().alarms.push(format!("{actor}: {error}"));
        }
    }

    pub(super) fn tell(&self, actor: Actor, kind: StoryKind, text: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            let note = Note { at: self.shared_state.calls(), actor: Some(actor), kind, text: text() };
            log.borrow_mut().push(Event::Note(note));
        }
    }

    /// Enters the process. If it is dead, waits until all its code has ended.
    fn enter(&self, process: u16) {
        let inside = &self.processes[usize::from(process)].inside;
        while self.machine.borrow().is_dead(process) {
            runtime::block(std::ptr::from_ref(inside).addr());
        }
        inside.set(inside.get() + 1);
    }

    /// Leaves the process. The last actor closes the shared connection, and restarts the process if it is dead.
    fn leave(&self, actor: Actor) {
        let process = &self.processes[usize::from(actor.process)];
        if process.inside.get() == 1 {
            // Closing makes calls, at which another actor may enter.
            let last = process.connection.replace(SharedConnection::Closed);
            drop(last);
        }
        let inside = &process.inside;
        inside.set(inside.get() - 1);
        if inside.get() == 0 && self.is_dead(actor) {
            self.machine.borrow_mut().revive(actor.process);
            self.tell(actor, StoryKind::Start, || "the process starts anew".to_owned());
            runtime::wake(std::ptr::from_ref(inside).addr());
        }
    }
}
