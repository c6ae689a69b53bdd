//! An actor with an open connection, and the steps that all scenarios share.

use super::actor::{CLEANUP, ExecutionContext, LAST, STATEMENTS_MAX, section};
use super::case::{Begin, Checkpoint, Journal, Target};
use super::history::Snapshot;
use super::statements::{Statements, filled, history_key, told};
use super::{DATABASE, Step, scenarios};
use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, SqlError, Statement};
use seawall_harness::oracle::isolation::{End, Op, Transaction};
use seawall_harness::oracle::table::{TxnKey, TxnState};
use seawall_harness::oracle::walindex;
use seawall_harness::record::StoryKind;
use std::cell::Cell;

/// See the module's documentation.
pub(super) struct ConnectionActor<'a> {
    pub(super) context: &'a ExecutionContext,
    pub(super) actor: Actor,
    pub(super) statements: Statements<'a>,
    /// Transactions that this actor has inserted through this connection.
    pub(super) own: Vec<u32>,
    /// The reads and writes of the present transaction, for the oracle `isolation`.
    pub(super) ops: Vec<Op>,
    /// Calls made before the present step, by all.
    began: u64,
    /// The present step, and how many of its statements were begun.
    step: Cell<(u32, u32)>,
}

/// The known outcome of a transaction that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It was acknowledged.
    Acked,
    /// It has changed nothing.
    Refused,
    /// It is unknown.
    Unknown,
}

/// The rows that a transaction changes, and their state after it.
struct Change {
    key: TxnKey,
    state: TxnState,
    /// The step's number.
    number: u32,
    rows: u32,
    payload_bytes: u16,
}

impl<'a> ConnectionActor<'a> {
    pub(super) fn new(context: &'a ExecutionContext, actor: Actor, db: &'a Db) -> Self {
        Self {
            context,
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
        self.began = self.context.shared_state.calls();
        self.step.set((number, 0));
        self.ops.clear();
        let result = match step {
            Step::Write { .. } => self.write(number, step),
            Step::Read => self.read(),
            Step::Checkpoint { mode } => self.checkpoint(mode),
            Step::Reopen => Ok(()),
            other => other.own().map_or(Ok(()), |own| own.take(self, number)),
        };
        if let Err(error) = result {
            self.context.note_alarm(self.actor, &error);
            self.context.history.borrow_mut().ledger.refused_read();
        }
        if !self.statements.db.is_autocommit() {
            section(number, CLEANUP);
            let statements = &mut self.statements;
            let rollback = || statements.rows("ROLLBACK", &[], |_| {});
            let _ = told(self.context, self.actor, || "ROLLBACK".to_owned(), rollback);
        }
        self.check_walindex();
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
        told(self.context, self.actor, || text.to_owned(), || db.execute(text))
    }

    /// Executes a statement with parameters that yields no rows, through the cache.
    pub(super) fn run(&mut self, sql: &'static str, values: &[i64]) -> Result<(), SqlError> {
        self.query(sql, values, |_| {})
    }

    /// Executes a statement with parameters through the cache, and calls `each` with its rows.
    pub(super) fn query(
        &mut self,
        sql: &'static str,
        values: &[i64],
        each: impl FnMut(&mut Statement<'a>),
    ) -> Result<(), SqlError> {
        self.begin_statement(matches!(sql, "COMMIT" | "ROLLBACK"));
        let statements = &mut self.statements;
        told(self.context, self.actor, || filled(sql, values), || statements.rows(sql, values, each))
    }

    /// The actor as a number, for columns.
    pub(super) fn id(&self) -> i64 {
        i64::from(self.actor.process) * 100 + i64::from(self.actor.thread)
    }

    /// Ends a transaction after which `key` is to have `state`, and whose statements ended with `result`: commits it or
    /// rolls it back, and records the outcome.
    pub(super) fn settle(
        &mut self,
        key: TxnKey,
        state: TxnState,
        result: Result<(), SqlError>,
        rollback: bool,
    ) -> Result<Settled, SqlError> {
        if let Err(error) = result {
            self.context.history.borrow_mut().ledger.refused(key, state);
            self.context.note_alarm(self.actor, &error);
            self.remember(End::Aborted);
            return Ok(Settled::Refused);
        }
        if rollback {
            self.sql("ROLLBACK")?;
            self.remember(End::Aborted);
            return Ok(Settled::Refused);
        }
        let committing = self.sql("COMMIT");
        let is_dead = self.context.is_dead(self.actor);
        let history = &self.context.history;
        match committing {
            Ok(()) if !is_dead => {
                history.borrow_mut().ledger.acked(key, state);
                self.remember(End::Committed);
                Ok(Settled::Acked)
            }
            // A COMMIT that found a lock has not begun.
            Err(error) if error.is_busy() && !is_dead => {
                history.borrow_mut().ledger.refused(key, state);
                self.remember(End::Aborted);
                Ok(Settled::Refused)
            }
            // A dead process does not hear the answer.
            told => {
                history.borrow_mut().ledger.indeterminate(key, state);
                if let Err(error) = told {
                    self.context.note_alarm(self.actor, &error);
                }
                self.remember(End::Indeterminate);
                Ok(Settled::Unknown)
            }
        }
    }

    /// Records the reads and writes of the transaction, and its end.
    pub(super) fn remember(&mut self, end: End) {
        let (ops, ended) = (std::mem::take(&mut self.ops), self.context.shared_state.calls());
        let transaction = Transaction { actor: self.actor, began: self.began, ended, ops, end };
        self.context.history.borrow_mut().transactions.push(transaction);
    }

    /// One transaction: inserts rows, or updates or deletes those of an earlier one.
    fn write(&mut self, number: u32, step: Step) -> Result<(), SqlError> {
        let Step::Write { changes, begin, savepoint, rollback, payload_bytes, target } = step else { return Ok(()) };
        let earlier = match target {
            Target::Any => self.own.get(number as usize % (self.own.len() + 3)).copied(),
            Target::New => None,
        };
        let (txn, state) = match earlier {
            Some(txn) if number.is_multiple_of(2) => (txn, TxnState::Whole(number)),
            Some(txn) => (txn, TxnState::Absent),
            None => (number, TxnState::Whole(number)),
        };
        let key = TxnKey { actor: self.actor, txn };
        let change = Change { key, state, number, rows: changes.into(), payload_bytes };
        match state {
            TxnState::Whole(version) => self.ops.push(Op::Write { key: history_key(key), version: version.into() }),
            TxnState::Absent | TxnState::Torn => {
                self.context.history.borrow_mut().deleted.insert(history_key(key));
            }
        }
        let result = self.change(&change, begin, savepoint);
        match self.settle(key, state, result, rollback)? {
            Settled::Acked if txn == number => self.own.push(txn),
            Settled::Acked if state != TxnState::Absent => {}
            Settled::Refused => {}
            // It is deleted or unknown: an update of rows that may be missing would prove nothing.
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
            TxnState::Whole(version) if txn == change.number => {
                for part in 0..change.rows {
                    self.insert(txn, (part, change.rows), version, bytes)?;
                }
            }
            TxnState::Whole(version) => self.run(UPDATE, &[id, txn.into(), version.into()])?,
            TxnState::Absent | TxnState::Torn => self.run(DELETE, &[id, txn.into()])?,
        }
        if savepoint {
            // This must leave no trace.
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

    /// Reads everything twice within one transaction: both reads must be the same, and show the actor's own commits.
    fn read(&mut self) -> Result<(), SqlError> {
        let read = scenarios::of(&self.context.case).table;
        self.sql("BEGIN")?;
        let first = read(&mut |sql, each| self.query(sql, &[], each))?;
        let second = read(&mut |sql, each| self.query(sql, &[], each))?;
        self.sql("COMMIT")?;
        if self.context.is_dead(self.actor) {
            return Ok(());
        }
        let mut history = self.context.history.borrow_mut();
        history.ledger.read(self.actor, &first);
        if first != second {
            history.unrepeatable_reads.push(format!("{} read the table twice in one transaction", self.actor));
        }
        let torn = first.iter().filter(|(_, state)| **state == TxnState::Torn);
        history.torn_reads.extend(torn.map(|(key, _)| format!("{key}, read by {}", self.actor)));
        let (began, ended) = (self.began, self.context.shared_state.calls());
        history.snapshots.push(Snapshot { actor: self.actor, began, ended, table: first });
        Ok(())
    }

    fn checkpoint(&mut self, mode: Checkpoint) -> Result<(), SqlError> {
        // A checkpoint that finds a lock says nothing about the data.
        self.begin_statement(false);
        let db = self.statements.db;
        let text = || format!("PRAGMA wal_checkpoint({})", mode.word());
        let _ = told(self.context, self.actor, text, || match db.wal_checkpoint_v2(mode.mode()) {
            (0, ..) => Ok(()),
            (code, ..) => Err(SqlError { code, errno: 0, message: "not done".to_owned() }),
        });
        Ok(())
    }

    /// Checks the wal-index in shared memory.
    fn check_walindex(&self) {
        if self.context.case.settings.journal != Journal::Wal || self.context.is_dead(self.actor) {
            return;
        }
        let machine = self.context.machine.borrow();
        let Some(region) = machine.shm_region(DATABASE, 0) else { return };
        let violations = walindex::check(&region.array::<{ walindex::HEADER_BYTES }>(0));
        drop(machine);
        for violation in violations {
            if self.context.history.borrow().walindex.is_empty() {
                self.context.tell(self.actor, StoryKind::Observed, || violation.to_string());
            }
            self.context.history.borrow_mut().walindex.push(format!("{violation}, seen by {}", self.actor));
        }
    }
}
