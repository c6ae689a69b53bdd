//! What an actor of an exploration does: it opens a connection, takes its steps, and begins anew when its process was
//! killed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use rusqlite::ffi::SQLITE_OPEN_FULLMUTEX;
use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError};
use seawall_harness::media::sim::Machine;
use seawall_harness::oracle::isolation::Transaction;
use seawall_harness::oracle::ledger::Ledger;
use seawall_harness::oracle::table::Table;
use seawall_harness::record::StoryKind;
use seawall_harness::runtime;
use seawall_harness::shared_state::SharedState;

use super::DATABASE;
use super::case::{ActorPlan, Case, Step};
use super::connection_actor::ConnectionActor;
use super::story::{Event, Log, Note};

/// How long a connection waits for a lock, in milliseconds of the simulated clock.
const BUSY_TIMEOUT_MS: u32 = 20;

/// What the actors share.
pub(super) struct Stage {
    pub(super) engine: Engine,
    pub(super) vfs: String,
    pub(super) machine: Rc<RefCell<Machine>>,
    pub(super) shared_state: Arc<SharedState>,
    pub(super) notebook: RefCell<Notebook>,
    pub(super) case: Case,
    /// By number.
    pub(super) processes: Vec<Process>,
    /// Where statements are written down in words, if they are.
    pub(super) log: Option<Log>,
}

/// What the actors of one process have in common.
#[derive(Default)]
pub(super) struct Process {
    /// How many of them have code of theirs running in it.
    inside: Cell<usize>,
    /// The connection that some of them share.
    connection: RefCell<Shared>,
}

/// A connection that several actors share, from the first of them that opens it to the last that leaves.
#[derive(Default)]
enum Shared {
    #[default]
    Closed,
    /// Somebody is about to open it.
    Opening,
    Open(Rc<Db>),
}

/// What the actors of an execution write down, in the order in which it happens.
#[derive(Default)]
pub(super) struct Notebook {
    pub(super) ledger: Ledger,
    /// Transactions that somebody saw in part.
    pub(super) torn_reads: Vec<String>,
    pub(super) unrepeatable_reads: Vec<String>,
    /// Errors by which SQLite calls the file broken.
    pub(super) alarms: Vec<String>,
    pub(super) walindex: Vec<String>,
    /// Transactions that wrote, and those whose reads are known one by one.
    pub(super) history: Vec<Transaction>,
    /// Reads of the whole table.
    pub(super) snapshots: Vec<Snapshot>,
    /// Keys that somebody has tried to delete: the oracle `isolation` takes them for never written.
    pub(super) deleted: BTreeSet<u64>,
    /// Statements that steps have executed.
    pub(super) statements: u64,
}

/// The ledger's table as one transaction read it.
pub(super) struct Snapshot {
    pub(super) actor: Actor,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) table: Table,
}

/// The section in which an actor closes its last connection.
const CLOSING: u32 = 1;

/// Sections of each step: the opening of the connection for it, its beginning, its statements, its end.
const SECTIONS: u32 = 64;

/// The section of the statement that ends the transaction of a step: what is left out before it leaves it in place.
pub(super) const LAST: u32 = SECTIONS - 1;

/// The section of a ROLLBACK that cleans up.
pub(super) const CLEANUP: u32 = SECTIONS - 2;

/// Statements of a step that have sections of their own; what follows belongs to the last of them.
pub(super) const STATEMENTS_MAX: u32 = SECTIONS - 4;

/// Begins a section of a step: 0 is the opening of the connection for it, 1 its beginning, then come its statements.
pub(super) fn section(step: u32, part: u32) {
    runtime::section(step * SECTIONS + part);
}

/// Plays the actor at this position to its end.
pub(super) fn play(stage: &Stage, position: usize) {
    let plan = &stage.case.actors[position];
    let process = plan.actor.process;
    let mut steps = plan.steps.iter().copied().peekable();
    while let Some(first) = steps.peek() {
        section(first.number, 0);
        stage.enter(process);
        stage.tell(plan.actor, StoryKind::Begin, || "open".to_owned());
        match connect(stage, plan) {
            Ok(db) => {
                stage.tell(plan.actor, StoryKind::End, || "open".to_owned());
                let mut hand = ConnectionActor::new(stage, plan.actor, &db);
                for numbered in steps.by_ref() {
                    section(numbered.number, 1);
                    if numbered.step == Step::Reopen {
                        stage.tell(plan.actor, StoryKind::Begin, || "close".to_owned());
                        break;
                    }
                    hand.take(numbered.number, numbered.step);
                    if stage.is_dead(plan.actor) {
                        break;
                    }
                }
                if steps.peek().is_none() {
                    runtime::section(CLOSING);
                }
            }
            // A connection that cannot be opened or configured costs the actor one step.
            Err(error) => {
                stage.tell(plan.actor, StoryKind::Refused, || format!("open: {error}"));
                stage.note_alarm(plan.actor, &error);
                steps.next();
            }
        }
        stage.leave(plan.actor);
    }
}

fn connect(stage: &Stage, plan: &ActorPlan) -> Result<Rc<Db>, SqlError> {
    if !plan.shared {
        return open(stage, OPEN_NO_MUTEX).map(Rc::new);
    }
    let connection = &stage.processes[usize::from(plan.actor.process)].connection;
    let key = std::ptr::from_ref(connection).addr();
    loop {
        let state = connection.replace(Shared::Opening);
        match state {
            Shared::Opening => drop(runtime::block(key)),
            Shared::Open(db) => {
                connection.replace(Shared::Open(Rc::clone(&db)));
                return Ok(db);
            }
            Shared::Closed => {
                let opened = open(stage, SQLITE_OPEN_FULLMUTEX).map(Rc::new);
                connection.replace(opened.as_ref().map_or(Shared::Closed, |db| Shared::Open(Rc::clone(db))));
                runtime::wake(key);
                return opened;
            }
        }
    }
}

fn open(stage: &Stage, flags: i32) -> Result<Db, SqlError> {
    let db = stage.engine.open(DATABASE, OPEN_READ_WRITE_CREATE | flags, Some(&stage.vfs))?;
    db.busy_timeout(BUSY_TIMEOUT_MS)?;
    db.execute(&stage.case.settings.sql())?;
    Ok(db)
}

impl Stage {
    /// True if the actor's process was killed; what its code is told from then on nobody hears.
    pub(super) fn is_dead(&self, actor: Actor) -> bool {
        self.machine.borrow().is_dead(actor.process)
    }

    pub(super) fn note_alarm(&self, actor: Actor, error: &SqlError) {
        if error.is_corrupt() && !self.is_dead(actor) {
            self.notebook.borrow_mut().alarms.push(format!("{actor}: {error}"));
        }
    }

    pub(super) fn tell(&self, actor: Actor, kind: StoryKind, text: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            let note = Note { at: self.shared_state.calls(), actor: Some(actor), kind, text: text() };
            log.borrow_mut().push(Event::Note(note));
        }
    }

    /// Goes into the process. If it is dead, then only when all code of its old life has ended.
    fn enter(&self, process: u16) {
        let inside = &self.processes[usize::from(process)].inside;
        while self.machine.borrow().is_dead(process) {
            runtime::block(std::ptr::from_ref(inside).addr());
        }
        inside.set(inside.get() + 1);
    }

    /// Leaves it; the last one closes what was shared. Who leaves a dead process last begins its new life.
    fn leave(&self, actor: Actor) {
        let process = &self.processes[usize::from(actor.process)];
        if process.inside.get() == 1 {
            // Closing takes calls, in the midst of which somebody may come in.
            let last = process.connection.replace(Shared::Closed);
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
