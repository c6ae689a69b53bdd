//! An actor with its connection in hand: how statements are executed, and the steps that all scenarios have.

use std::cell::Cell;

use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, SqlError, Statement, Step as Row};
use seawall_harness::oracle::isolation::{End, Op, Transaction};
use seawall_harness::oracle::table::{Key, State, Table};
use seawall_harness::oracle::walindex;
use seawall_harness::record::StoryKind;

use super::actor::{CLEANUP, LAST, Notebook, STATEMENTS_MAX, Snapshot, Stage, section};
use super::case::{Begin, Checkpoint, Journal, Step, Target};
use super::{DATABASE, scenario};

/// See the module's documentation.
pub(super) struct ConnectionActor<'a> {
    pub(super) stage: &'a Stage,
    pub(super) actor: Actor,
    pub(super) statements: Statements<'a>,
    /// Transactions that this actor has inserted through this connection.
    pub(super) own: Vec<u32>,
    /// What the present transaction has read and written, for the oracle `isolation`.
    pub(super) ops: Vec<Op>,
    /// Calls made before the present step, by all.
    began: u64,
    /// The present step, and how many of its statements were begun.
    step: Cell<(u32, u32)>,
}

/// The statements of a connection, prepared when they are first needed.
pub(super) struct Statements<'a> {
    db: &'a Db,
    cached: Vec<(&'static str, Statement<'a>)>,
}

impl<'a> Statements<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db, cached: Vec::new() }
    }

    fn get(&mut self, sql: &'static str) -> Result<&mut Statement<'a>, SqlError> {
        let position = match self.cached.iter().position(|(known, _)| *known == sql) {
            Some(position) => position,
            None => {
                self.cached.push((sql, self.db.prepare(sql)?));
                self.cached.len() - 1
            }
        };
        let statement = &mut self.cached[position].1;
        statement.reset();
        Ok(statement)
    }

    /// Executes a statement with these parameters, and hands out its rows.
    pub(super) fn rows(
        &mut self,
        sql: &'static str,
        values: &[i64],
        mut each: impl FnMut(&mut Statement<'a>),
    ) -> Result<(), SqlError> {
        let statement = self.get(sql)?;
        for (index, value) in values.iter().enumerate() {
            statement.bind_int(index + 1, *value)?;
        }
        loop {
            match statement.step() {
                Ok(Row::Row) => each(statement),
                Ok(Row::Done) => return Ok(()),
                Err(error) => {
                    statement.reset();
                    return Err(error);
                }
            }
        }
    }
}

/// What is known of a transaction that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It was acknowledged.
    Acked,
    /// It has done nothing.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What a transaction is to do: its rows, and what they are afterwards.
struct Change {
    key: Key,
    state: State,
    /// The step's number.
    number: u32,
    rows: u32,
    payload_bytes: u16,
}

impl<'a> ConnectionActor<'a> {
    pub(super) fn new(stage: &'a Stage, actor: Actor, db: &'a Db) -> Self {
        Self {
            stage,
            actor,
            statements: Statements::new(db),
            own: Vec::new(),
            ops: Vec::new(),
            began: 0,
            step: Cell::new((0, 0)),
        }
    }

    /// Takes a step.
    pub(super) fn take(&mut self, number: u32, step: Step) {
        self.began = self.stage.shared_state.calls();
        self.step.set((number, 0));
        self.ops.clear();
        let result = match step {
            Step::Write { .. } => self.write(number, step),
            Step::Read => self.read(),
            Step::Checkpoint { mode } => self.checkpoint(mode),
            Step::Reopen => Ok(()),
            Step::Bank(step) => self.bank(number, step),
            Step::Schema(step) => self.schema(number, step),
            Step::Shared(step) => self.shared(number, step),
            Step::Canary(canary) => self.canary(number, canary),
        };
        if let Err(error) = result {
            self.stage.note_alarm(self.actor, &error);
            self.stage.notebook.borrow_mut().ledger.refused_read();
        }
        if !self.statements.db.is_autocommit() {
            section(number, CLEANUP);
            let statements = &mut self.statements;
            let rollback = || statements.rows("ROLLBACK", &[], |_| {});
            let _ = told(self.stage, self.actor, || "ROLLBACK".to_owned(), rollback);
        }
        self.look_at_walindex();
    }

    /// Every statement is a section of its own, so that preemptions within it stay in place when others are left out.
    fn begin_statement(&self, is_last: bool) {
        let (step, before) = self.step.get();
        self.step.set((step, before + 1));
        if is_last {
            section(step, LAST);
        } else if before < STATEMENTS_MAX {
            section(step, 2 + before);
        }
    }

    /// Executes a statement without parameters that yields no rows, through the cache.
    pub(super) fn sql(&mut self, sql: &'static str) -> Result<(), SqlError> {
        self.run(sql, &[])
    }

    /// Executes statements whose text is new each time.
    pub(super) fn script(&mut self, text: &str) -> Result<(), SqlError> {
        self.begin_statement(false);
        let db = self.statements.db;
        told(self.stage, self.actor, || text.to_owned(), || db.execute(text))
    }

    /// Executes a statement with parameters that yields no rows, through the cache.
    pub(super) fn run(&mut self, sql: &'static str, values: &[i64]) -> Result<(), SqlError> {
        self.query(sql, values, |_| {})
    }

    /// Executes a statement with parameters through the cache, and hands out its rows.
    pub(super) fn query(
        &mut self,
        sql: &'static str,
        values: &[i64],
        each: impl FnMut(&mut Statement<'a>),
    ) -> Result<(), SqlError> {
        self.begin_statement(matches!(sql, "COMMIT" | "ROLLBACK"));
        let statements = &mut self.statements;
        told(self.stage, self.actor, || filled(sql, values), || statements.rows(sql, values, each))
    }

    /// The actor as a number, for columns.
    pub(super) fn id(&self) -> i64 {
        i64::from(self.actor.process) * 100 + i64::from(self.actor.thread)
    }

    /// Ends a transaction that was to bring `key` into `state` and whose statements came to `result`: commits it, or
    /// rolls it back, and writes down what is known of it.
    pub(super) fn settle(
        &mut self,
        key: Key,
        state: State,
        result: Result<(), SqlError>,
        rollback: bool,
    ) -> Result<Settled, SqlError> {
        if let Err(error) = result {
            self.stage.notebook.borrow_mut().ledger.refused(key, state);
            self.stage.note_alarm(self.actor, &error);
            self.remember(End::Aborted);
            return Ok(Settled::Refused);
        }
        if rollback {
            self.sql("ROLLBACK")?;
            self.remember(End::Aborted);
            return Ok(Settled::Refused);
        }
        let committing = self.sql("COMMIT");
        let is_dead = self.stage.is_dead(self.actor);
        let notebook = &self.stage.notebook;
        match committing {
            Ok(()) if !is_dead => {
                notebook.borrow_mut().ledger.acked(key, state);
                self.remember(End::Committed);
                Ok(Settled::Acked)
            }
            // A COMMIT that found somebody in its way has not begun.
            Err(error) if error.is_busy() && !is_dead => {
                notebook.borrow_mut().ledger.refused(key, state);
                self.remember(End::Aborted);
                Ok(Settled::Refused)
            }
            // Nobody hears what a dead process is told.
            told => {
                notebook.borrow_mut().ledger.indeterminate(key, state);
                if let Err(error) = told {
                    self.stage.note_alarm(self.actor, &error);
                }
                self.remember(End::Indeterminate);
                Ok(Settled::Unknown)
            }
        }
    }

    /// Writes down what the transaction read and wrote, and how it ended.
    pub(super) fn remember(&mut self, end: End) {
        let (ops, ended) = (std::mem::take(&mut self.ops), self.stage.shared_state.calls());
        let transaction = Transaction { actor: self.actor, began: self.began, ended, ops, end };
        self.stage.notebook.borrow_mut().history.push(transaction);
    }

    /// One transaction: inserts rows, or updates or deletes those of an earlier one.
    fn write(&mut self, number: u32, step: Step) -> Result<(), SqlError> {
        let Step::Write { changes, begin, savepoint, rollback, payload_bytes, target } = step else { return Ok(()) };
        let earlier = match target {
            Target::Any => self.own.get(number as usize % (self.own.len() + 3)).copied(),
            Target::New => None,
        };
        let (txn, state) = match earlier {
            Some(txn) if number.is_multiple_of(2) => (txn, State::Whole(number)),
            Some(txn) => (txn, State::Absent),
            None => (number, State::Whole(number)),
        };
        let key = Key { actor: self.actor, txn };
        let change = Change { key, state, number, rows: changes.into(), payload_bytes };
        match state {
            State::Whole(version) => self.ops.push(Op::Write { key: history_key(key), version: version.into() }),
            State::Absent | State::Torn => drop(self.stage.notebook.borrow_mut().deleted.insert(history_key(key))),
        }
        let result = self.change(&change, begin, savepoint);
        match self.settle(key, state, result, rollback)? {
            Settled::Acked if txn == number => self.own.push(txn),
            Settled::Acked if state != State::Absent => {}
            Settled::Refused => {}
            // It is gone, or nobody knows: an update of rows that may not be there would say nothing.
            Settled::Acked | Settled::Unknown => self.own.retain(|own| *own != txn),
        }
        Ok(())
    }

    fn change(&mut self, change: &Change, begin: Begin, savepoint: bool) -> Result<(), SqlError> {
        const UPDATE: &str = "UPDATE ledger SET version = ?3 WHERE actor = ?1 AND txn = ?2";
        const DELETE: &str = "DELETE FROM ledger WHERE actor = ?1 AND txn = ?2";
        let (id, txn, bytes) = (self.id(), change.key.txn, change.payload_bytes);
        self.sql(begin.sql())?;
        match change.state {
            State::Whole(version) if txn == change.number => {
                for part in 0..change.rows {
                    self.insert(txn, (part, change.rows), version, bytes)?;
                }
            }
            State::Whole(version) => self.run(UPDATE, &[id, txn.into(), version.into()])?,
            State::Absent | State::Torn => self.run(DELETE, &[id, txn.into()])?,
        }
        if savepoint {
            // What is done and undone within it must leave no trace.
            self.sql("SAVEPOINT inner")?;
            self.insert(900_000 + txn, (0, 1), 0, bytes)?;
            self.sql("ROLLBACK TO inner")?;
            self.sql("RELEASE inner")?;
        }
        Ok(())
    }

    fn insert(&mut self, txn: u32, (part, parts): (u32, u32), version: u32, bytes: u16) -> Result<(), SqlError> {
        const INSERT: &str = "INSERT INTO ledger VALUES (?1, ?2, ?3, ?4, ?5, zeroblob(?6))";
        let id = self.id();
        self.run(INSERT, &[id, txn.into(), part.into(), parts.into(), version.into(), bytes.into()])
    }

    /// Reads everything twice within one transaction: both times must show the same, and the actor's own commits.
    fn read(&mut self) -> Result<(), SqlError> {
        let read = scenario::of(&self.stage.case).table;
        self.sql("BEGIN")?;
        let first = read(&mut |sql, each| self.query(sql, &[], each))?;
        let second = read(&mut |sql, each| self.query(sql, &[], each))?;
        self.sql("COMMIT")?;
        if self.stage.is_dead(self.actor) {
            return Ok(());
        }
        let mut notebook = self.stage.notebook.borrow_mut();
        notebook.ledger.read(self.actor, &first);
        if first != second {
            notebook.unrepeatable_reads.push(format!("{} read the table twice in one transaction", self.actor));
        }
        let torn = first.iter().filter(|(_, state)| **state == State::Torn);
        notebook.torn_reads.extend(torn.map(|(key, _)| format!("{key}, read by {}", self.actor)));
        let (began, ended) = (self.began, self.stage.shared_state.calls());
        notebook.snapshots.push(Snapshot { actor: self.actor, began, ended, table: first });
        Ok(())
    }

    fn checkpoint(&mut self, mode: Checkpoint) -> Result<(), SqlError> {
        // That somebody is in the way is no news, and says nothing about the data.
        self.begin_statement(false);
        let db = self.statements.db;
        let text = || format!("PRAGMA wal_checkpoint({})", mode.word());
        let _ = told(self.stage, self.actor, text, || match db.wal_checkpoint_v2(mode.mode()) {
            (0, ..) => Ok(()),
            (code, ..) => Err(SqlError { code, errno: 0, message: "not done".to_owned() }),
        });
        Ok(())
    }

    /// Looks at the wal-index, as it lies in memory.
    fn look_at_walindex(&self) {
        if self.stage.case.settings.journal != Journal::Wal || self.stage.is_dead(self.actor) {
            return;
        }
        let machine = self.stage.machine.borrow();
        let Some(region) = machine.shm_region(DATABASE, 0) else { return };
        let violations = walindex::check(&region.array::<{ walindex::HEADER_BYTES }>(0));
        drop(machine);
        for violation in violations {
            if self.stage.notebook.borrow().walindex.is_empty() {
                self.stage.tell(self.actor, StoryKind::Observed, || violation.to_string());
            }
            self.stage.notebook.borrow_mut().walindex.push(format!("{violation}, seen by {}", self.actor));
        }
    }
}

/// Counts a statement, and writes it down in words if that is wanted.
fn told<T>(
    stage: &Stage,
    actor: Actor,
    text: impl Fn() -> String,
    work: impl FnOnce() -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    stage.notebook.borrow_mut().statements += 1;
    if stage.log.is_none() {
        return work();
    }
    stage.tell(actor, StoryKind::Begin, &text);
    let result = work();
    match &result {
        Ok(_) if text() == "COMMIT" => stage.tell(actor, StoryKind::Commit, text),
        Ok(_) => stage.tell(actor, StoryKind::End, text),
        Err(error) => stage.tell(actor, StoryKind::Refused, || format!("{}: {error}", text())),
    }
    result
}

/// The SQL with its parameters filled in.
fn filled(sql: &str, values: &[i64]) -> String {
    let mut text = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    for (index, value) in values.iter().enumerate().rev() {
        text = text.replace(&format!("?{}", index + 1), &value.to_string());
    }
    text
}

/// How a scenario reads: hands a query to the connection, and takes its rows.
pub(super) type Ask<'q> = dyn FnMut(&'static str, &mut dyn FnMut(&mut Statement<'_>)) -> Result<(), SqlError> + 'q;

/// The ledger's table, read by walking it. SQLite would sort the rows to group them, at several times the costs.
pub(super) fn ledger_table(ask: &mut Ask<'_>) -> Result<Table, SqlError> {
    /// A transaction's key, how many rows it has, and its version.
    type Part = (Key, i64, i64);
    let mut parts: Vec<Part> = Vec::new();
    ask("SELECT actor, txn, parts, version FROM ledger NOT INDEXED", &mut |row| {
        let id = row.int(0);
        let actor = Actor { process: (id / 100) as u16, thread: (id % 100) as u16 };
        parts.push((Key { actor, txn: row.int(1) as u32 }, row.int(2), row.int(3)));
    })?;
    parts.sort_unstable();
    let transactions = parts.chunk_by(|one, other| one.0 == other.0).map(|parts| {
        let (key, count, version) = parts[0];
        let whole = parts.iter().all(|part| *part == parts[0]) && parts.len() as i64 == count;
        (key, if whole { State::Whole(version as u32) } else { State::Torn })
    });
    Ok(transactions.collect())
}

/// A transaction as a key of the oracle `isolation`.
pub(super) fn history_key(key: Key) -> u64 {
    u64::from(key.actor.process) << 48 | u64::from(key.actor.thread) << 32 | u64::from(key.txn)
}

impl Notebook {
    pub(super) fn torn(&mut self, detail: String) {
        self.torn_reads.push(detail);
    }
}
