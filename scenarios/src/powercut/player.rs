//! The processes of a case: they take their steps on connections of the machine, and note what they are told.

use super::DATABASE;
use super::case::{Case, Numbered, Step};
use super::model::{Model, PAYLOAD_SEED, Row};
use super::recording::{CALLS_MAX, Mark, MarkKind};
use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError, Statement};
use seawall_harness::media::sim::durability::{Content, Image};
use seawall_harness::rig::Simulation;
use seawall_harness::runtime;
use seawall_harness::shared_state::Mode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How long a statement waits for a lock, in milliseconds of virtual time.
const BUSY_TIMEOUT_MS: u32 = 200;

/// What the processes of an execution share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) simulation: Simulation,
    pub(super) case: Case,
    /// True if moments are kept.
    pub(super) is_watched: bool,
    /// True for a canary that begins a transaction until it succeeds.
    pub(super) insists: bool,
    pub(super) marks: RefCell<Vec<Mark>>,
    /// The rows after each commit that was tried.
    pub(super) models: RefCell<BTreeMap<u32, Model>>,
    pub(super) moments: RefCell<Vec<Moment>>,
}

/// What there is after a transaction, or at the end.
#[derive(Debug)]
pub(super) struct Moment {
    /// Marks before it.
    pub(super) marks: usize,
    /// The number of the last commit, as the same connection reads it without faults; an error where it cannot be read.
    /// `None` at the end, and in a transaction that could not be rolled back.
    pub(super) live: Option<Result<u32, String>>,
    /// The files that the next process would find.
    pub(super) visible: Image,
    /// What of them is durable.
    pub(super) durable: Image,
}

/// Binds the columns of a row.
pub(super) fn bind(statement: &mut Statement<'_>, id: i64, row: Row) -> Result<(), SqlError> {
    statement.bind_int(1, id)?;
    statement.bind_int(2, row.version.into())?;
    statement.bind_blob(3, &row.payload(id))
}

impl Shared {
    fn mark(&self, actor: Actor, kind: MarkKind) {
        let at = self.simulation.machine().borrow().recorded_events();
        let call = self.simulation.shared_state().calls();
        self.marks.borrow_mut().push(Mark { at, call, actor, kind });
    }

    /// All steps of a process. A step that fails is left out: others may be in the way.
    pub(super) fn play(&self, actor: Actor, steps: &[Numbered]) {
        let mut rest = steps.iter().copied().peekable();
        while rest.peek().is_some() {
            let db = match self.open(actor) {
                Ok(db) => db,
                Err(error) => {
                    self.mark(actor, MarkKind::Failed(error.to_string()));
                    rest.next();
                    continue;
                }
            };
            let connection = Connection { shared: self, actor, db: &db };
            let mut holds_for = 0_u8;
            for Numbered { number, step } in rest.by_ref() {
                runtime::section(number);
                holds_for = holds_for.saturating_sub(1);
                if holds_for == 0 && !db.is_autocommit() {
                    // Under a fault the transaction is one whose ROLLBACK failed.
                    let _ = connection.sql(if self.is_watched { "ROLLBACK" } else { "COMMIT" });
                }
                match step {
                    Step::Reopen => break,
                    Step::Hold => holds_for = 2,
                    _ => {}
                }
                // While a transaction is held, nothing is written in it.
                if connection.take(step).is_err() && !db.is_autocommit() && holds_for == 0 {
                    let _ = connection.sql("ROLLBACK");
                }
                if self.is_watched {
                    self.keep_moment(Some(&db));
                }
            }
            self.mark(actor, MarkKind::Statement("close".to_owned()));
            drop(db);
        }
    }

    /// Keeps the files as they are now, and then what a connection reads.
    pub(super) fn keep_moment(&self, db: Option<&Db>) {
        let (visible, durable) = {
            let machine = self.simulation.machine().borrow();
            let file = |suffix: &str| {
                let name = format!("{DATABASE}{suffix}");
                let bytes = machine.bytes(&name)?;
                Some((Rc::from(name.into_bytes()), Content::from_bytes(&bytes.to_vec())))
            };
            let visible = Image::new(["", "-journal", "-wal"].into_iter().filter_map(file).collect());
            (visible, machine.disk_state().map_or_else(|| Image::new(BTreeMap::new()), |state| state.image(&[])))
        };
        let live = db.filter(|db| db.is_autocommit()).map(|db| {
            // No rule counts these calls, and no trace has them.
            let shared_state = self.simulation.shared_state();
            let mode = shared_state.mode();
            shared_state.set_mode(Mode::OFF);
            let read = db.query_int("SELECT v FROM t WHERE id = 0");
            shared_state.set_mode(mode);
            read.map(|number| number.unwrap_or(-1) as u32).map_err(|error| error.to_string())
        });
        let marks = self.marks.borrow().len();
        self.moments.borrow_mut().push(Moment { marks, live, visible, durable });
    }

    fn open(&self, actor: Actor) -> Result<Db, SqlError> {
        self.mark(actor, MarkKind::Statement("open".to_owned()));
        let flags = OPEN_READ_WRITE_CREATE | OPEN_NO_MUTEX;
        let db = self.engine.open(DATABASE, flags, Some(self.simulation.vfs()))?;
        db.busy_timeout(BUSY_TIMEOUT_MS)?;
        let Case { cache_pages, autocheckpoint, .. } = self.case;
        db.execute(&format!("PRAGMA cache_size = {cache_pages}; PRAGMA wal_autocheckpoint = {autocheckpoint};"))?;
        db.execute(&self.case.settings.sql())?;
        Ok(db)
    }
}

/// One connection of one process.
struct Connection<'a> {
    shared: &'a Shared,
    actor: Actor,
    db: &'a Db,
}

impl Connection<'_> {
    fn sql(&self, text: &str) -> Result<(), SqlError> {
        self.shared.mark(self.actor, MarkKind::Statement(text.to_owned()));
        self.told(self.db.execute(text))
    }

    fn begin(&self) -> Result<(), SqlError> {
        let mut result = self.sql("BEGIN IMMEDIATE");
        while self.shared.insists && result.is_err() && self.shared.simulation.shared_state().calls() < CALLS_MAX {
            result = self.sql("BEGIN IMMEDIATE");
        }
        result
    }

    /// Marks a failure.
    fn told<T>(&self, result: Result<T, SqlError>) -> Result<T, SqlError> {
        result.inspect_err(|error| self.shared.mark(self.actor, MarkKind::Failed(error.to_string())))
    }

    fn take(&self, step: Step) -> Result<(), SqlError> {
        match step {
            Step::Write { .. } if !self.db.is_autocommit() => Ok(()),
            Step::Write { .. } => self.write(step),
            Step::Read => self.sql("SELECT count(*), sum(length(pad)) FROM t"),
            Step::Hold => self.sql("BEGIN; SELECT count(*) FROM t"),
            Step::Checkpoint { mode } => self.sql(mode.sql()),
            Step::Reopen => Ok(()),
        }
    }

    fn write(&self, step: Step) -> Result<(), SqlError> {
        let Step::Write { inserts, updates, deletes, payload_bytes, savepoint, rollback } = step else { return Ok(()) };
        self.begin()?;
        let before = self.told(self.db.query_int("SELECT v FROM t WHERE id = 0"))?.unwrap_or(0) as u32;
        let number = before + 1;
        let known = self.shared.models.borrow().get(&before).cloned();
        // Without faults each commit is known.
        let Some(mut model) = known else {
            self.shared.mark(self.actor, MarkKind::Failed(format!("commit {before} is there, which is none")));
            return self.sql("ROLLBACK");
        };
        self.put(&mut model, 0, Row { version: number, bytes: 0 })?;
        for part in 0..i64::from(inserts) {
            self.put(&mut model, i64::from(number) * 10 + part, Row { version: number, bytes: payload_bytes })?;
        }
        let ids = model.ids();
        for turn in 0..usize::from(updates).min(ids.len()) {
            let id = ids[(turn * 7 + number as usize * PAYLOAD_SEED) % ids.len()];
            self.put(&mut model, id, Row { version: number, bytes: payload_bytes })?;
        }
        for id in ids.into_iter().take(usize::from(deletes)) {
            self.sql(&format!("DELETE FROM t WHERE id = {id}"))?;
            model.remove(id);
        }
        if savepoint {
            self.sql("SAVEPOINT inner")?;
            let mut discarded = model.clone();
            self.put(&mut discarded, 900_000 + i64::from(number), Row { version: number, bytes: payload_bytes })?;
            self.sql("UPDATE t SET v = v + 100 WHERE id > 0")?;
            self.sql("ROLLBACK TO inner")?;
            self.sql("RELEASE inner")?;
        }
        if rollback {
            return self.sql("ROLLBACK");
        }
        self.shared.models.borrow_mut().insert(number, model);
        self.shared.mark(self.actor, MarkKind::Started(number));
        self.sql("COMMIT")?;
        self.shared.mark(self.actor, MarkKind::Acked(number));
        Ok(())
    }

    /// Writes a row, in the table and in the model.
    fn put(&self, model: &mut Model, id: i64, row: Row) -> Result<(), SqlError> {
        self.shared.mark(self.actor, MarkKind::Statement(format!("REPLACE row {id}, version {}", row.version)));
        self.told(self.db.prepare("INSERT OR REPLACE INTO t VALUES (?1, ?2, ?3)").and_then(|mut statement| {
            bind(&mut statement, id, row)?;
            statement.execute()
        }))?;
        model.put(id, row);
        Ok(())
    }
}
