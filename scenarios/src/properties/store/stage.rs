//! Where a case is played: simulated processes with a store each, actors that do their ops, and what they were told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};
use seawall_harness::actor::Actor;
use seawall_harness::rig::Simulation;
use seawall_harness::runtime;
use seawall_simulated::CheckpointMode as Mode;
use seawall_simulated::{Error, Operation, Registry, Store};

use super::case::{Act, Case, Config, Ending, EntryPoint, Inner, Op, SETTINGS};
use crate::properties::panic_text;
use crate::run::simulated::{self, SimulatedOs};

/// What the waits that are not settings come to at most: pauses between attempts, stalls of the faults.
const MARGIN: Duration = Duration::from_secs(2);

/// A call that is to be answered at once takes no longer than this.
const AT_ONCE: Duration = Duration::from_millis(1);

/// How often one op may wait for SQLite's busy timeout: statements of opening, init, migrations, checkpoints.
const BUSY_WAITS_MAX: u32 = 40;

/// What has become of a row, as far as anybody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Acked,
    Refused,
    Unknown,
}

/// See the module's documentation.
pub(super) struct Stage {
    pub(super) simulation: Simulation,
    config: Config,
    is_calm: bool,
    has_faults: bool,
    processes: BTreeMap<u16, Process>,
    /// Whose row, and what was told of it.
    pub(super) rows: RefCell<BTreeMap<u32, (Actor, Told)>>,
    complaints: Complaints,
    story: Option<RefCell<Vec<String>>>,
}

type Complaints = Arc<Mutex<Vec<String>>>;

/// A process, in one life.
#[derive(Default)]
struct Process {
    registry: Arc<Registry>,
    store: RefCell<Option<Store>>,
    /// Successful inits.
    inits: Arc<AtomicU32>,
    closes: Cell<u32>,
    failed_opens: Cell<u32>,
}

impl Stage {
    pub(super) fn new(case: &Case, simulation: Simulation, tells: bool) -> Self {
        Self {
            simulation,
            config: case.config,
            is_calm: case.is_calm(),
            has_faults: !case.rules.is_empty(),
            processes: (1..=case.processes).map(|number| (number, Process::default())).collect(),
            rows: RefCell::default(),
            complaints: Complaints::default(),
            story: tells.then(RefCell::default),
        }
    }

    /// An actor's ops, one after the other, for as long as its process lives.
    pub(super) fn play(self: &Rc<Self>, ops: &[Op]) {
        for op in ops {
            if self.is_dead(op.actor) {
                return;
            }
            let played = catch_unwind(AssertUnwindSafe(|| self.take(*op)));
            if let Err(panic) = played {
                self.complain(format_args!("{op:?} panicked: {}", panic_text(&*panic)));
            }
        }
    }

    /// Begins a new life of a process that was killed.
    pub(super) fn restart(&mut self, process: u16) {
        self.processes.insert(process, Process::default());
        self.simulation.machine().borrow_mut().revive(process);
        self.tell(|| format!("p{process} starts again"));
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().clone()
    }

    pub(super) fn story(&self) -> String {
        self.story.as_ref().map(|story| story.borrow().join("\n")).unwrap_or_default()
    }

    pub(super) fn complain(&self, what: fmt::Arguments<'_>) {
        self.complaints.lock().push(what.to_string());
    }

    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(story) = &self.story {
            story.borrow_mut().push(format!("  {:?}: {}", self.simulation.clock().now(), line()));
        }
    }

    fn is_dead(&self, actor: Actor) -> bool {
        self.simulation.machine().borrow().is_dead(actor.process)
    }

    // --------------------------------------------------------------------------------------------
    // The store of a process

    /// The store, opened if need be.
    pub(super) fn store(&self, process: u16) -> Result<Store, Error> {
        let here = &self.processes[&process];
        if let Some(store) = &*here.store.borrow() {
            return Ok(store.clone());
        }
        let opened = self.builder(here).open(simulated::DATABASE);
        let opened = opened.inspect_err(|_| here.failed_opens.set(here.failed_opens.get() + 1))?;
        // Others go on while a store is dropped, so nothing may be borrowed then.
        let store = here.store.borrow_mut().get_or_insert_with(|| opened.clone()).clone();
        Ok(store)
    }

    /// Takes the store away, to be closed or because it was.
    pub(super) fn take_store(&self, process: u16) -> Option<Store> {
        let mut store = self.processes[&process].store.borrow_mut();
        store.take()
    }

    fn builder(&self, here: &Process) -> seawall_simulated::Builder {
        let Config { readers, busy_timeout, acquire_timeout, first_connect_wait, lifetime, idle, migrates } =
            self.config;
        let (inits, complaints) = (Arc::clone(&here.inits), Arc::clone(&self.complaints));
        let own = AtomicU32::new(0);
        let builder = Store::builder()
            .registry(Arc::clone(&here.registry))
            .os(Arc::new(SimulatedOs))
            .vfs(self.simulation.vfs())
            .readers(readers)
            .busy_timeout(busy_timeout)
            .acquire_timeout(acquire_timeout)
            .first_connect_wait(first_connect_wait)
            .max_lifetime(lifetime)
            .max_idle(idle)
            .identity_check_interval(Duration::from_secs(1))
            .init(move |conn| {
                // A migration that fails takes the init with it.
                if own.load(Ordering::Relaxed) > 0 && !migrates {
                    complaints.lock().push("the init ran again after it had succeeded".to_owned());
                }
                conn.execute_batch(
                    "BEGIN IMMEDIATE;
                     CREATE TABLE IF NOT EXISTS entry(n INTEGER PRIMARY KEY, actor TEXT NOT NULL);
                     CREATE TABLE IF NOT EXISTS tally(id INTEGER PRIMARY KEY, entries INTEGER NOT NULL);
                     INSERT OR IGNORE INTO tally VALUES(1, 0);
                     COMMIT",
                )?;
                own.fetch_add(1, Ordering::Relaxed);
                inits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        if !migrates {
            return builder;
        }
        // Not to be repeated without an error.
        builder.migration(|tx| tx.execute_batch("CREATE TABLE mark(x); INSERT INTO mark VALUES(1)"))
    }

    /// Successful inits must not be more than there were stores.
    pub(super) fn check_inits(&self, process: u16) {
        let here = &self.processes[&process];
        let (inits, closes, failed) = (here.inits.load(Ordering::Relaxed), here.closes.get(), here.failed_opens.get());
        if inits > 1 + closes + failed && !self.config.migrates {
            self.complain(format_args!("p{process}: {inits} inits with {closes} closes and {failed} failed opens"));
        }
    }

    // --------------------------------------------------------------------------------------------
    // Deeds

    fn take(self: &Rc<Self>, op: Op) {
        let Op { actor, number, act } = op;
        let begun = self.simulation.clock().now();
        let result = self.act(op);
        let elapsed = self.simulation.clock().now().saturating_sub(begun);
        let is_dead = self.is_dead(actor);
        self.tell(|| match &result {
            _ if is_dead => format!("{actor} {number}. {act:?}: killed"),
            Ok(()) => format!("{actor} {number}. {act:?}: ok after {elapsed:?}"),
            Err(error) => format!("{actor} {number}. {act:?}: after {elapsed:?} {error}"),
        });
        if is_dead {
            return;
        }
        let longest = self.longest(act);
        if elapsed > longest {
            self.complain(format_args!("{actor} {number}. {act:?} took {elapsed:?}, more than {longest:?}"));
        }
        if let Err(error) = result {
            self.check_error(op, &error);
        }
    }

    /// How long a op may take: its own pauses, and each timeout as often as it may come.
    fn longest(&self, act: Act) -> Duration {
        let Config { busy_timeout, acquire_timeout, first_connect_wait, .. } = self.config;
        let own_ms = match act {
            Act::Read { pause_ms: ms } | Act::Hold { ms, .. } | Act::Pause { ms } | Act::Close { patience_ms: ms } => {
                ms
            }
            // The breaker is not asked, and nobody is waited for.
            Act::Health if self.processes.len() == 1 && !self.has_faults => return busy_timeout + AT_ONCE,
            _ => 0,
        };
        // Opening and calling may each wait for a seat; a reader's caller may then wait for the writer.
        let waits = 3 * acquire_timeout + 2 * first_connect_wait + BUSY_WAITS_MAX * busy_timeout;
        Duration::from_millis(own_ms.into()) + waits + MARGIN
    }

    fn check_error(&self, op: Op, error: &Error) {
        let Op { actor, number, act } = op;
        if error.is_closed() {
            let here = &self.processes[&actor.process];
            if here.closes.get() == 0 {
                self.complain(format_args!("{actor} {number}. {act:?}: nobody has closed it, but {error}"));
            }
            // By another thread, while this one was opening it. What is let go of here may be its successor.
            drop(self.take_store(actor.process));
            here.closes.set(here.closes.get() + 1);
        }
        if error.to_string().contains("no such table") {
            self.complain(format_args!("{actor} {number}. {act:?}: before the init: {error}"));
        }
        let is_misuse = match act {
            Act::Write(_, manner) => manner != Ending::Succeeds,
            Act::WriteInRead | Act::Dangle { .. } | Act::Nest { .. } | Act::Change { .. } => true,
            _ => false,
        };
        if self.is_calm && !is_misuse {
            self.complain(format_args!("{actor} {number}. {act:?} failed though nothing was in its way: {error}"));
        }
    }

    fn act(self: &Rc<Self>, op: Op) -> Result<(), Error> {
        let Op { actor, number, act } = op;
        let process = actor.process;
        match act {
            Act::Write(door, manner) => self.write(op, door, manner),
            Act::Read { pause_ms } => self.read(actor, pause_ms),
            Act::WriteInRead => {
                let result = self.store(process)?.read(|conn| insert(conn, actor, number));
                self.told(op, &result, false);
                result
            }
            Act::Dangle { writes } => self.dangle(op, writes),
            Act::Change { door, setting } => self.through(process, door, |conn| {
                self.check_borrow(conn, door);
                conn.prepare(SETTINGS[setting].0)?.query_row([], |_| Ok(())).optional()?;
                // An exclusive lock is taken at the next look into the file.
                count(conn, "SELECT count(*) FROM tally").map(drop)
            }),
            Act::Hold { door, ms } => self.through(process, door, |conn| {
                self.check_borrow(conn, door);
                self.simulation.clock().sleep(Duration::from_millis(ms.into()));
                Ok(())
            }),
            Act::Nest { outer, inner } => self.nest(op, outer, inner),
            Act::Checkpoint(mode) => self.store(process)?.checkpoint(mode.into()).map(drop),
            Act::Health => {
                let store = self.processes[&process].store.borrow().clone();
                drop(store.map(|store| store.health()));
                Ok(())
            }
            Act::Maintain => {
                self.store(process)?.maintain();
                Ok(())
            }
            Act::Close { patience_ms } => self.close(actor, Duration::from_millis(patience_ms.into())),
            Act::Pause { ms } => {
                self.simulation.clock().sleep(Duration::from_millis(ms.into()));
                Ok(())
            }
            Act::Kill => {
                runtime::kill(process);
                Ok(())
            }
        }
    }

    fn through(
        &self,
        process: u16,
        door: EntryPoint,
        mut body: impl FnMut(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        let store = self.store(process)?;
        match door {
            EntryPoint::Write => store.write(|tx| body(tx)),
            EntryPoint::Read => store.read(|conn| body(conn)),
            EntryPoint::WithConnection => store.with_connection(|conn| body(conn)),
        }
    }

    /// What was said of a row. Nobody hears what a dead process is told.
    fn told(&self, op: Op, result: &Result<(), Error>, may_succeed: bool) {
        let Op { actor, number, act } = op;
        let told = match result {
            _ if self.is_dead(actor) => Told::Unknown,
            Ok(()) => {
                if !may_succeed {
                    self.complain(format_args!("{actor} {number}. {act:?} was to fail, and returned Ok"));
                }
                Told::Acked
            }
            Err(error) if error.outcome_unknown() => Told::Unknown,
            Err(_) => Told::Refused,
        };
        self.rows.borrow_mut().insert(number, (actor, told));
    }

    pub(super) fn write(&self, op: Op, door: EntryPoint, manner: Ending) -> Result<(), Error> {
        let Op { actor, number, .. } = op;
        // Until somebody says more.
        self.rows.borrow_mut().insert(number, (actor, Told::Refused));
        let store = self.store(actor.process)?;
        let written = catch_unwind(AssertUnwindSafe(|| match door {
            EntryPoint::WithConnection => store.with_connection(|conn| {
                self.check_borrow(conn, door);
                let tx = conn.transaction()?;
                insert(&tx, actor, number)?;
                end(manner)?;
                tx.commit()
            }),
            _ => store.write(|tx| {
                self.check_borrow(tx, door);
                insert(tx, actor, number)?;
                end(manner)
            }),
        }));
        let result = match written {
            Ok(result) => result,
            // The closure's panic, handed on.
            Err(_) if manner == Ending::Panics => return Ok(()),
            Err(panic) => resume_unwind(panic),
        };
        self.told(op, &result, manner == Ending::Succeeds);
        result
    }

    fn dangle(&self, op: Op, writes: bool) -> Result<(), Error> {
        let Op { actor, number, .. } = op;
        let result = self.store(actor.process)?.with_connection(|conn| {
            self.check_borrow(conn, EntryPoint::WithConnection);
            conn.execute_batch("BEGIN")?;
            if writes { insert(conn, actor, number) } else { count(conn, "SELECT count(*) FROM entry").map(drop) }
        });
        if writes {
            self.told(op, &result, false);
        }
        result
    }

    fn read(&self, actor: Actor, pause_ms: u32) -> Result<(), Error> {
        let store = self.store(actor.process)?;
        let rows = self.rows.borrow().clone();
        store.read(|conn| {
            self.check_borrow(conn, EntryPoint::Read);
            let own = numbers_of(conn, actor)?;
            self.simulation.clock().sleep(Duration::from_millis(pause_ms.into()));
            let (entries, tally) =
                (count(conn, "SELECT count(*) FROM entry")?, count(conn, "SELECT entries FROM tally")?);
            if entries != tally {
                self.complain(format_args!("{actor} read {entries} entries and a tally of {tally} in one snapshot"));
            }
            let missed = |number: &u32| !own.contains(number);
            let own_rows = rows.iter().filter(|(_, (whose, _))| *whose == actor);
            for (number, (_, told)) in own_rows {
                match told {
                    Told::Acked if missed(number) => {
                        self.complain(format_args!("{actor} was acknowledged row {number}, and read without it"));
                    }
                    Told::Refused if !missed(number) => {
                        self.complain(format_args!("{actor} was refused row {number}, and read it"));
                    }
                    _ => {}
                }
            }
            Ok(())
        })
    }

    fn nest(&self, op: Op, outer: EntryPoint, inner: Inner) -> Result<(), Error> {
        let Op { actor, number, act } = op;
        let store = self.store(actor.process)?;
        let closes = self.processes[&actor.process].closes.get();
        self.rows.borrow_mut().insert(number, (actor, Told::Refused));
        // With a reader in his hands, a caller may have the writer, and the other way round.
        let is_other_seat = self.config.readers > 0
            && (outer == EntryPoint::Read || matches!(inner, Inner::EntryPoint(EntryPoint::Read)))
            && !matches!(inner, Inner::Health);
        if is_other_seat {
            return Ok(());
        }
        self.through(actor.process, outer, |_| {
            let begun = self.simulation.clock().now();
            let answer = match inner {
                Inner::EntryPoint(EntryPoint::Write) => store.write(|tx| insert(tx, actor, number)),
                Inner::EntryPoint(EntryPoint::Read) => store.read(|_| Ok(())),
                Inner::EntryPoint(EntryPoint::WithConnection) => {
                    store.with_connection(|conn| insert(conn, actor, number))
                }
                Inner::Checkpoint => store.checkpoint(Mode::Passive).map(drop),
                Inner::Close => store.close(Duration::from_secs(60)).map(drop),
                Inner::Health => {
                    drop(store.health());
                    return Ok(());
                }
            };
            let elapsed = self.simulation.clock().now().saturating_sub(begun);
            // Another thread may have closed it and somebody opened another one, in which there is room.
            let is_same_store = self.processes[&actor.process].closes.get() == closes;
            if is_same_store && !self.is_dead(actor) && (answer.is_ok() || elapsed > AT_ONCE) {
                self.complain(format_args!("{actor} {number}. {act:?} inside: {answer:?} after {elapsed:?}"));
            }
            Ok(())
        })
    }

    pub(super) fn close(&self, actor: Actor, patience: Duration) -> Result<(), Error> {
        let here = &self.processes[&actor.process];
        let Some(store) = self.take_store(actor.process) else { return Ok(()) };
        here.closes.set(here.closes.get() + 1);
        let closed = store.close(patience).map(drop);
        match store.read(|_| Ok(())) {
            Err(error) if error.is_closed() => {}
            _ if self.is_dead(actor) => {}
            answer => self.complain(format_args!("{actor} called a closed store: {answer:?}")),
        }
        // In the end nobody has another store of this process.
        let open = if actor.thread == 0 {
            self.simulation.machine().borrow().open_files_of(actor.process)
        } else {
            Vec::new()
        };
        if closed.is_ok() && !open.is_empty() {
            self.complain(format_args!("{actor} has closed, and left open {}", open.join(", ")));
        }
        match closed {
            // Not yet: others are at work.
            Err(error) if error.operation() == Operation::Close && !error.borrowers().is_empty() => Ok(()),
            closed => closed,
        }
    }

    /// Nothing of the borrower before is left.
    fn check_borrow(&self, conn: &Connection, door: EntryPoint) {
        if door == EntryPoint::WithConnection && !conn.is_autocommit() {
            self.complain(format_args!("a transaction of the borrower before is open"));
        }
        let told_timeout = count(conn, "PRAGMA busy_timeout");
        if told_timeout.is_ok_and(|ms| u128::from(ms.unsigned_abs()) != self.config.busy_timeout.as_millis()) {
            self.complain(format_args!("the busy timeout is another"));
        }
        for (_, question, expected) in SETTINGS {
            // A reader may not write; the locking mode is a word, and is told by what others can do.
            if question.ends_with("locking_mode") || (door == EntryPoint::Read && question.ends_with("query_only")) {
                continue;
            }
            if let Ok(found) = count(conn, question)
                && found != expected
            {
                self.complain(format_args!("{question} gives {found} to the next borrower, not {expected}"));
            }
        }
    }
}

/// The rows of an actor.
pub(super) fn numbers_of(conn: &Connection, actor: Actor) -> rusqlite::Result<Vec<u32>> {
    let mut statement = conn.prepare_cached("SELECT n FROM entry WHERE actor = ?1")?;
    statement.query_map([actor.to_string()], |row| row.get(0))?.collect()
}

pub(super) fn count(conn: &Connection, sql: &str) -> rusqlite::Result<i64> {
    conn.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

fn insert(conn: &Connection, actor: Actor, number: u32) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO entry VALUES(?1, ?2)")?.execute((number, actor.to_string()))?;
    conn.prepare_cached("UPDATE tally SET entries = entries + 1")?.execute([]).map(drop)
}

fn end(manner: Ending) -> rusqlite::Result<()> {
    match manner {
        Ending::Succeeds => Ok(()),
        Ending::Fails => Err(rusqlite::Error::QueryReturnedNoRows),
        // Past the hook that would print it.
        Ending::Panics => resume_unwind(Box::new("the closure panics")),
    }
}
