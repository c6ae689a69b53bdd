//! The operations of an actor, and what must hold for each.

use super::case::{Act, Config, Ending, EntryPoint, Inner, Op, SETTINGS};
use super::run::{Outcome, StoreRun};
use crate::properties::panic_text;
use rusqlite::{Connection, OptionalExtension};
use seawall_harness::actor::Actor;
use seawall_harness::runtime;
use seawall_simulated::CheckpointMode as Mode;
use seawall_simulated::{Error, Operation};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

/// The most time of all waits that are not settings: pauses between attempts, stalls of the faults.
const MARGIN: Duration = Duration::from_secs(2);

/// A call that must return at once takes no longer than this.
const AT_ONCE: Duration = Duration::from_millis(1);

/// How often one op may wait for SQLite's busy timeout: statements of opening, init, migrations, checkpoints.
const BUSY_WAITS_MAX: u32 = 40;

impl StoreRun {
    /// Performs the ops of an actor, one after the other, while its process is alive.
    pub(super) fn perform_all(self: &Rc<Self>, ops: &[Op]) {
        for op in ops {
            if self.is_dead(op.actor) {
                return;
            }
            let performed = catch_unwind(AssertUnwindSafe(|| self.perform(*op)));
            if let Err(panic) = performed {
                self.complain(format_args!("{op:?} panicked: {}", panic_text(&*panic)));
            }
        }
    }

    fn perform(self: &Rc<Self>, op: Op) {
        let Op { actor, number, act } = op;
        let begun = self.simulation.clock().now();
        let result = self.act(op);
        let elapsed = self.simulation.clock().now().saturating_sub(begun);
        let is_dead = self.is_dead(actor);
        self.log(|| match &result {
            _ if is_dead => format!("{actor} {number}. {act:?}: killed"),
            Ok(()) => format!("{actor} {number}. {act:?}: ok after {elapsed:?}"),
            Err(error) => format!("{actor} {number}. {act:?}: after {elapsed:?} {error}"),
        });
        if is_dead {
            return;
        }
        let time_max = self.time_max(act);
        if elapsed > time_max {
            self.complain(format_args!("{actor} {number}. {act:?} took {elapsed:?}, more than {time_max:?}"));
        }
        if let Err(error) = result {
            self.check_error(op, &error);
        }
    }

    /// How long an op may take: its own pauses, and each timeout as often as it may occur.
    fn time_max(&self, act: Act) -> Duration {
        let Config { busy_timeout, acquire_timeout, first_connect_wait, .. } = self.config;
        let own_ms = match act {
            Act::Read { pause_ms: ms } | Act::Hold { ms, .. } | Act::Pause { ms } | Act::Close { patience_ms: ms } => {
                ms
            }
            // It neither asks the breaker nor waits.
            Act::Health if self.processes.len() == 1 && !self.has_faults => return busy_timeout + AT_ONCE,
            _ => 0,
        };
        // Opening and calling may each wait for a connection; a caller of a reader may then wait for the writer.
        let waits = 3 * acquire_timeout + 2 * first_connect_wait + BUSY_WAITS_MAX * busy_timeout;
        Duration::from_millis(own_ms.into()) + waits + MARGIN
    }

    fn check_error(&self, op: Op, error: &Error) {
        let Op { actor, number, act } = op;
        if error.is_closed() {
            let here = &self.processes[&actor.process];
            if here.closes.get() == 0 {
                self.complain(format_args!("{actor} {number}. {act:?}: the process has not closed it, but {error}"));
            }
            // Another thread closed it, while this one was opening it. The store dropped here may be its successor.
            drop(self.take_store(actor.process));
            here.closes.set(here.closes.get() + 1);
        }
        if error.to_string().contains("no such table") {
            self.complain(format_args!("{actor} {number}. {act:?}: before the init: {error}"));
        }
        let is_misuse = match act {
            Act::Write(_, ending) => ending != Ending::Succeeds,
            Act::WriteInRead | Act::Dangle { .. } | Act::Nest { .. } | Act::Change { .. } => true,
            _ => false,
        };
        if self.is_undisturbed && !is_misuse {
            self.complain(format_args!("{actor} {number}. {act:?} failed though nothing disturbed it: {error}"));
        }
    }

    fn act(self: &Rc<Self>, op: Op) -> Result<(), Error> {
        let Op { actor, number, act } = op;
        let process = actor.process;
        match act {
            Act::Write(entry_point, ending) => self.write(op, entry_point, ending),
            Act::Read { pause_ms } => self.read(actor, pause_ms),
            Act::WriteInRead => {
                let result = self.store(process)?.read(|conn| insert(conn, actor, number));
                self.keep_outcome(op, &result, false);
                result
            }
            Act::Dangle { writes } => self.dangle(op, writes),
            Act::Change { entry_point, setting } => self.through(process, entry_point, |conn| {
                self.check_connection(conn, entry_point);
                conn.prepare(SETTINGS[setting].0)?.query_row([], |_| Ok(())).optional()?;
                // An exclusive lock is taken at the next look into the file.
                count(conn, "SELECT count(*) FROM tally").map(drop)
            }),
            Act::Hold { entry_point, ms } => self.through(process, entry_point, |conn| {
                self.check_connection(conn, entry_point);
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
        entry_point: EntryPoint,
        mut body: impl FnMut(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        let store = self.store(process)?;
        match entry_point {
            EntryPoint::Write => store.write(|tx| body(tx)),
            EntryPoint::Read => store.read(|conn| body(conn)),
            EntryPoint::WithConnection => store.with_connection(|conn| body(conn)),
        }
    }

    /// Keeps the outcome of a row. In a dead process no caller gets one.
    fn keep_outcome(&self, op: Op, result: &Result<(), Error>, may_succeed: bool) {
        let Op { actor, number, act } = op;
        let outcome = match result {
            _ if self.is_dead(actor) => Outcome::Unknown,
            Ok(()) => {
                if !may_succeed {
                    self.complain(format_args!("{actor} {number}. {act:?} must fail, and returned Ok"));
                }
                Outcome::Acked
            }
            Err(error) if error.outcome_unknown() => Outcome::Unknown,
            Err(_) => Outcome::Refused,
        };
        self.rows.borrow_mut().insert(number, (actor, outcome));
    }

    pub(super) fn write(&self, op: Op, entry_point: EntryPoint, ending: Ending) -> Result<(), Error> {
        let Op { actor, number, .. } = op;
        // Until the outcome is known.
        self.rows.borrow_mut().insert(number, (actor, Outcome::Refused));
        let store = self.store(actor.process)?;
        let written = catch_unwind(AssertUnwindSafe(|| match entry_point {
            EntryPoint::WithConnection => store.with_connection(|conn| {
                self.check_connection(conn, entry_point);
                let tx = conn.transaction()?;
                insert(&tx, actor, number)?;
                end(ending)?;
                tx.commit()
            }),
            _ => store.write(|tx| {
                self.check_connection(tx, entry_point);
                insert(tx, actor, number)?;
                end(ending)
            }),
        }));
        let result = match written {
            Ok(result) => result,
            // The panic of the closure, passed on.
            Err(_) if ending == Ending::Panics => return Ok(()),
            Err(panic) => resume_unwind(panic),
        };
        self.keep_outcome(op, &result, ending == Ending::Succeeds);
        result
    }

    fn dangle(&self, op: Op, writes: bool) -> Result<(), Error> {
        let Op { actor, number, .. } = op;
        let result = self.store(actor.process)?.with_connection(|conn| {
            self.check_connection(conn, EntryPoint::WithConnection);
            conn.execute_batch("BEGIN")?;
            if writes { insert(conn, actor, number) } else { count(conn, "SELECT count(*) FROM entry").map(drop) }
        });
        if writes {
            self.keep_outcome(op, &result, false);
        }
        result
    }

    fn read(&self, actor: Actor, pause_ms: u32) -> Result<(), Error> {
        let store = self.store(actor.process)?;
        let rows = self.rows.borrow().clone();
        store.read(|conn| {
            self.check_connection(conn, EntryPoint::Read);
            let own = numbers_of(conn, actor)?;
            self.simulation.clock().sleep(Duration::from_millis(pause_ms.into()));
            let (entries, tally) =
                (count(conn, "SELECT count(*) FROM entry")?, count(conn, "SELECT entries FROM tally")?);
            if entries != tally {
                self.complain(format_args!("{actor} read {entries} entries and a tally of {tally} in one snapshot"));
            }
            let missed = |number: &u32| !own.contains(number);
            let own_rows = rows.iter().filter(|(_, (owner, _))| *owner == actor);
            for (number, (_, outcome)) in own_rows {
                match outcome {
                    Outcome::Acked if missed(number) => {
                        self.complain(format_args!("{actor} was acknowledged row {number}, and read without it"));
                    }
                    Outcome::Refused if !missed(number) => {
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
        self.rows.borrow_mut().insert(number, (actor, Outcome::Refused));
        // A caller that holds a reader may use the writer, and a caller that holds the writer may use a reader.
        let uses_other_connection = self.config.readers > 0
            && (outer == EntryPoint::Read || matches!(inner, Inner::EntryPoint(EntryPoint::Read)))
            && !matches!(inner, Inner::Health);
        if uses_other_connection {
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
            // Another thread may have closed it and opened another store, which has a free connection.
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
        // At the end this is the only store of the process.
        let open = if actor.thread == 0 {
            self.simulation.machine().borrow().open_files_of(actor.process)
        } else {
            Vec::new()
        };
        if closed.is_ok() && !open.is_empty() {
            self.complain(format_args!("{actor} has closed, and left open {}", open.join(", ")));
        }
        match closed {
            // Not yet: other threads hold connections.
            Err(error) if error.operation() == Operation::Close && !error.borrowers().is_empty() => Ok(()),
            closed => closed,
        }
    }

    /// Nothing of the previous caller is left on the connection.
    fn check_connection(&self, conn: &Connection, entry_point: EntryPoint) {
        if entry_point == EntryPoint::WithConnection && !conn.is_autocommit() {
            self.complain(format_args!("a transaction of the previous caller is open"));
        }
        let timeout_ms = count(conn, "PRAGMA busy_timeout");
        if timeout_ms.is_ok_and(|ms| u128::from(ms.unsigned_abs()) != self.config.busy_timeout.as_millis()) {
            self.complain(format_args!("the busy timeout was changed"));
        }
        for (_, question, expected) in SETTINGS {
            // A reader may not write. The locking mode is a word; it shows in what other connections can do.
            if question.ends_with("locking_mode")
                || (entry_point == EntryPoint::Read && question.ends_with("query_only"))
            {
                continue;
            }
            if let Ok(found) = count(conn, question)
                && found != expected
            {
                self.complain(format_args!("{question} gives {found} to the next caller, not {expected}"));
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

fn end(ending: Ending) -> rusqlite::Result<()> {
    match ending {
        Ending::Succeeds => Ok(()),
        Ending::Fails => Err(rusqlite::Error::QueryReturnedNoRows),
        // Past the hook that would print it.
        Ending::Panics => resume_unwind(Box::new("the closure panics")),
    }
}
