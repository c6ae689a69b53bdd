//! What an actor of an exploration does on its connection, and what it writes down.

use std::cell::RefCell;
use std::rc::Rc;

use seawall_harness::actor::Actor;
use seawall_harness::engine::{CheckpointMode, Db, Engine, OPEN_READ_WRITE_CREATE, SqlError, Statement, Step as Row};
use seawall_harness::media::sim::Machine;
use seawall_harness::oracle::ledger::Ledger;
use seawall_harness::oracle::table::{Key, State, Table};

use super::DATABASE;
use super::mixed::{Begin, Step, World};

/// How long a connection waits for a lock, in milliseconds of the simulated clock.
const BUSY_TIMEOUT_MS: u32 = 20;

/// What the actors share.
pub(super) struct Stage {
    pub(super) engine: Engine,
    pub(super) vfs: String,
    pub(super) machine: Rc<RefCell<Machine>>,
    pub(super) notebook: RefCell<Notebook>,
    pub(super) world: World,
}

/// What the actors of an execution write down, in the order in which it happens.
#[derive(Default)]
pub(super) struct Notebook {
    pub(super) ledger: Ledger,
    pub(super) torn_reads: Vec<String>,
    pub(super) unrepeatable_reads: Vec<String>,
    /// Errors by which SQLite calls the file broken.
    pub(super) alarms: Vec<String>,
    pub(super) walindex: Vec<String>,
}

/// Plays the actor at this position to its end.
pub(super) fn play(stage: &Stage, position: usize) {
    let plan = &stage.world.actors[position];
    let mut steps = plan.steps.iter().enumerate().peekable();
    while steps.peek().is_some() {
        // A connection that cannot be opened or configured costs the actor one step.
        match open(stage) {
            Ok(db) => {
                let mut hand =
                    Hand { stage, actor: plan.actor, db: &db, own: Vec::new(), statements: Statements::default() };
                for (number, step) in steps.by_ref() {
                    if *step == Step::Reopen {
                        break;
                    }
                    hand.take(number as u32 + 1, *step);
                }
            }
            Err(error) => {
                note_alarm(stage, plan.actor, &error);
                steps.next();
            }
        }
    }
}

fn open(stage: &Stage) -> Result<Db, SqlError> {
    let db = stage.engine.open(DATABASE, OPEN_READ_WRITE_CREATE, Some(&stage.vfs))?;
    db.busy_timeout(BUSY_TIMEOUT_MS)?;
    db.execute(&stage.world.settings.sql())?;
    Ok(db)
}

fn note_alarm(stage: &Stage, actor: Actor, error: &SqlError) {
    if error.is_corrupt() {
        stage.notebook.borrow_mut().alarms.push(format!("{actor}: {error}"));
    }
}

/// The actor with its connection in hand.
struct Hand<'a> {
    stage: &'a Stage,
    actor: Actor,
    db: &'a Db,
    /// Transactions that this actor has inserted through this connection.
    own: Vec<u32>,
    statements: Statements<'a>,
}

/// Prepared when they are first needed.
#[derive(Default)]
struct Statements<'a> {
    insert: Option<Statement<'a>>,
    update: Option<Statement<'a>>,
    delete: Option<Statement<'a>>,
    select: Option<Statement<'a>>,
}

impl<'a> Hand<'a> {
    fn take(&mut self, number: u32, step: Step) {
        let result = match step {
            Step::Write { .. } => self.write(number, step),
            Step::Read => self.read(),
            Step::Checkpoint(mode) => self.checkpoint(mode),
            Step::Reopen => Ok(()),
        };
        if let Err(error) = result {
            note_alarm(self.stage, self.actor, &error);
            self.stage.notebook.borrow_mut().ledger.refused_read();
        }
        if !self.db.is_autocommit() {
            let _ = self.db.execute("ROLLBACK");
        }
        self.look_at_walindex();
    }

    /// One transaction: inserts rows, or updates or deletes those of an earlier one.
    fn write(&mut self, number: u32, step: Step) -> Result<(), SqlError> {
        let Step::Write { changes, begin, savepoint, rollback, payload_bytes } = step else { return Ok(()) };
        let earlier = self.own.get(number as usize % (self.own.len() + 3)).copied();
        let (txn, state) = match earlier {
            Some(txn) if number.is_multiple_of(2) => (txn, State::Whole(number)),
            Some(txn) => (txn, State::Absent),
            None => (number, State::Whole(number)),
        };
        let key = Key { actor: self.actor, txn };
        let result = self.try_write(txn, state, (begin, u32::from(changes), payload_bytes, savepoint, number));
        let committing = match result {
            Ok(()) if rollback => {
                return self.db.execute("ROLLBACK");
            }
            Ok(()) => self.db.execute("COMMIT"),
            Err(error) => {
                self.stage.notebook.borrow_mut().ledger.refused(key, state);
                note_alarm(self.stage, self.actor, &error);
                return Ok(());
            }
        };
        let mut notebook = self.stage.notebook.borrow_mut();
        match committing {
            Ok(()) => {
                notebook.ledger.acked(key, state);
                if txn == number {
                    self.own.push(txn);
                }
                self.own.retain(|own| *own != txn || state != State::Absent);
            }
            // A COMMIT that found somebody in its way has not begun.
            Err(error) if error.is_busy() => notebook.ledger.refused(key, state),
            Err(error) => {
                notebook.ledger.indeterminate(key, state);
                drop(notebook);
                note_alarm(self.stage, self.actor, &error);
            }
        }
        Ok(())
    }

    fn try_write(
        &mut self,
        txn: u32,
        state: State,
        (begin, changes, payload_bytes, savepoint, number): (Begin, u32, u16, bool, u32),
    ) -> Result<(), SqlError> {
        self.db.execute(match begin {
            Begin::Immediate => "BEGIN IMMEDIATE",
            Begin::Deferred => "BEGIN",
        })?;
        match state {
            State::Whole(version) if txn == number => {
                for part in 0..changes {
                    self.insert(txn, (part, changes), version, payload_bytes)?;
                }
            }
            State::Whole(version) => self.update(txn, version)?,
            State::Absent | State::Torn => self.delete(txn)?,
        }
        if savepoint {
            // What is done and undone within it must leave no trace.
            self.db.execute("SAVEPOINT inner")?;
            self.insert(900_000 + txn, (0, 1), 0, payload_bytes)?;
            self.db.execute("ROLLBACK TO inner; RELEASE inner")?;
        }
        Ok(())
    }

    fn id(&self) -> i64 {
        i64::from(self.actor.process) * 100 + i64::from(self.actor.thread)
    }

    fn insert(&mut self, txn: u32, (part, parts): (u32, u32), version: u32, bytes: u16) -> Result<(), SqlError> {
        const SQL: &str = "INSERT INTO ledger VALUES(?1, ?2, ?3, ?4, ?5, zeroblob(?6))";
        let id = self.id();
        let values = [id, txn.into(), part.into(), parts.into(), version.into(), bytes.into()];
        run(prepared(&mut self.statements.insert, self.db, SQL)?, &values)
    }

    fn update(&mut self, txn: u32, version: u32) -> Result<(), SqlError> {
        const SQL: &str = "UPDATE ledger SET version = ?3 WHERE actor = ?1 AND txn = ?2";
        let id = self.id();
        run(prepared(&mut self.statements.update, self.db, SQL)?, &[id, txn.into(), version.into()])
    }

    fn delete(&mut self, txn: u32) -> Result<(), SqlError> {
        const SQL: &str = "DELETE FROM ledger WHERE actor = ?1 AND txn = ?2";
        let id = self.id();
        run(prepared(&mut self.statements.delete, self.db, SQL)?, &[id, txn.into()])
    }

    /// Reads everything twice within one transaction: both times must show the same, and the actor's own commits.
    fn read(&mut self) -> Result<(), SqlError> {
        self.db.execute("BEGIN")?;
        let first = table(prepared(&mut self.statements.select, self.db, SELECT)?)?;
        let second = table(prepared(&mut self.statements.select, self.db, SELECT)?)?;
        self.db.execute("COMMIT")?;
        let mut notebook = self.stage.notebook.borrow_mut();
        let own = first.iter().filter(|(key, _)| key.actor == self.actor).map(|(key, state)| (*key, *state)).collect();
        notebook.ledger.read(self.actor, &own);
        if first != second {
            notebook.unrepeatable_reads.push(format!("{} read the table twice in one transaction", self.actor));
        }
        let torn = first.iter().filter(|(_, state)| **state == State::Torn);
        let torn: Vec<String> = torn.map(|(key, _)| format!("{key}, read by {}", self.actor)).collect();
        notebook.torn_reads.extend(torn);
        Ok(())
    }

    fn checkpoint(&mut self, mode: CheckpointMode) -> Result<(), SqlError> {
        // That somebody is in the way is no news, and says nothing about the data.
        let _ = self.db.wal_checkpoint_v2(mode);
        Ok(())
    }

    /// No more frames can have been backfilled than the log has.
    fn look_at_walindex(&self) {
        let machine = self.stage.machine.borrow();
        let Some(region) = machine.shm_region(DATABASE, 0) else { return };
        // The header stands there twice (48 bytes each); where the copies differ, somebody is writing it. mxFrame is
        // its fifth word, and nBackfill the first word behind both copies (wal.c, WalIndexHdr and WalCkptInfo).
        let (one, two) = (region.array::<48>(0), region.array::<48>(48));
        let (max_frame, backfilled) = (region.u32_native(16), region.u32_native(96));
        if one == two && one[12] != 0 && backfilled > max_frame {
            let note = format!("nBackfill {backfilled} > mxFrame {max_frame}, seen by {}", self.actor);
            self.stage.notebook.borrow_mut().walindex.push(note);
        }
    }
}

/// Reads the ledger's table by walking it.
pub(super) const SELECT: &str = "SELECT actor, txn, count(*), min(parts), max(parts), min(version), max(version)
                                 FROM ledger NOT INDEXED GROUP BY actor, txn";

fn prepared<'a, 's>(
    slot: &'s mut Option<Statement<'a>>,
    db: &'a Db,
    sql: &str,
) -> Result<&'s mut Statement<'a>, SqlError> {
    match slot {
        Some(statement) => {
            statement.reset();
            Ok(statement)
        }
        empty => Ok(empty.insert(db.prepare(sql)?)),
    }
}

fn run(statement: &mut Statement<'_>, values: &[i64]) -> Result<(), SqlError> {
    for (index, value) in values.iter().enumerate() {
        statement.bind_int(index + 1, *value)?;
    }
    let result = statement.execute();
    statement.reset();
    result
}

/// The rows of [`SELECT`] as the oracles see them.
pub(super) fn table(statement: &mut Statement<'_>) -> Result<Table, SqlError> {
    let mut table = Table::new();
    while statement.step()? == Row::Row {
        let id = statement.int(0);
        let actor = Actor { process: (id / 100) as u16, thread: (id % 100) as u16 };
        let whole = statement.int(2) == statement.int(3)
            && statement.int(3) == statement.int(4)
            && statement.int(5) == statement.int(6);
        let state = if whole { State::Whole(statement.int(5) as u32) } else { State::Torn };
        table.insert(Key { actor, txn: statement.int(1) as u32 }, state);
    }
    statement.reset();
    Ok(table)
}
