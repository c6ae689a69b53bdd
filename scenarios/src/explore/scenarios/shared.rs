//! `shared`: two or three threads of one process share one connection, which SQLite's own mutex keeps apart
//! (`SQLITE_OPEN_FULLMUTEX`), beside actors with connections of their own.
//!
//! On a shared connection a transaction of several statements would belong to all threads, so each statement commits by
//! itself. A SELECT may see half of a write that another thread makes meanwhile: only the reader's own rows are judged.

use super::{
    ActorPlan, Checkpoint, ConnectionActor, Draft, OwnStep, Scenario, Step, ledger_table, mixed, nothing_else, pick,
};
use crate::explore::statements::history_key;
use rand::{Rng, RngExt};
use seawall_harness::actor::Actor;
use seawall_harness::engine::SqlError;
use seawall_harness::oracle::isolation::{End, Op};
use seawall_harness::oracle::table::{TxnKey, TxnState};
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "shared",
    summary: "two or three threads share one connection, beside others with connections of their own",
    is_listed: true,
    draw,
    sql: mixed::SQL,
    table: ledger_table,
    check: nothing_else,
};

/// A step on a connection that other threads use as well: one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum SharedStep {
    /// Inserts a row.
    Insert {
        /// Size of its payload.
        payload_bytes: u16,
    },
    /// Gives an earlier row of this actor a new version.
    Update,
    /// Deletes an earlier row of this actor.
    Delete,
    /// Reads everything.
    Read,
}

/// As `mixed`, but the actors of the first process share a connection.
fn draw(seed: Seed) -> Draft {
    let Draft { layout, settings, actors } = mixed::draw(seed);
    let mut rng = seed.stream("shared").rng();
    let sharing = pick(&mut rng, [2, 2, 3_u16]);
    let length = rng.random_range(6..=25_u32);
    let shared = (1..=sharing).map(|thread| {
        let actor = Actor { process: 1, thread };
        ActorPlan { shared: true, ..ActorPlan::new(actor, (0..length).map(|_| step(&mut rng))) }
    });
    let mut plans: Vec<ActorPlan> = shared.collect();
    // One of the others is in the same process, the next one is not.
    for (plan, process) in actors.into_iter().take(2).zip(1..) {
        let thread = if process == 1 { sharing + 1 } else { 1 };
        plans.push(ActorPlan { actor: Actor { process, thread }, ..plan });
    }
    Draft { layout, settings, actors: plans }
}

fn step(rng: &mut impl Rng) -> Step {
    use Checkpoint::{Full, Passive, Restart, Truncate};
    match rng.random_range(0..20_u32) {
        0..8 => Step::Shared(SharedStep::Insert { payload_bytes: pick(rng, [4, 60, 400, 1500]) }),
        8..12 => Step::Shared(SharedStep::Update),
        12..14 => Step::Shared(SharedStep::Delete),
        14..17 => Step::Shared(SharedStep::Read),
        17..19 => Step::Checkpoint { mode: pick(rng, [Passive, Passive, Full, Restart, Truncate]) },
        _ => Step::Reopen,
    }
}

impl OwnStep for SharedStep {
    fn take(&self, actor: &mut ConnectionActor<'_>, number: u32) -> Result<(), SqlError> {
        actor.shared(number, *self)
    }

    fn spans_statements(&self) -> bool {
        false
    }

    fn simpler(&self) -> Vec<Step> {
        let Self::Insert { .. } = self else { return Vec::new() };
        vec![Step::Shared(Self::Insert { payload_bytes: 4 })]
    }
}

impl ConnectionActor<'_> {
    fn shared(&mut self, number: u32, step: SharedStep) -> Result<(), SqlError> {
        let id = self.id();
        let earlier = self.own.get(number as usize % self.own.len().max(1)).copied();
        let (txn, state, sql) = match (step, earlier) {
            (SharedStep::Read, _) => return self.read_shared(),
            (SharedStep::Update, Some(txn)) => {
                let sql = format!("UPDATE ledger SET version = {number} WHERE actor = {id} AND txn = {txn}");
                (txn, TxnState::Whole(number), sql)
            }
            (SharedStep::Delete, Some(txn)) => {
                (txn, TxnState::Absent, format!("DELETE FROM ledger WHERE actor = {id} AND txn = {txn}"))
            }
            (step, _) => {
                let bytes = if let SharedStep::Insert { payload_bytes } = step { payload_bytes } else { 4 };
                let values = format!("{id}, {number}, 0, 1, {number}, zeroblob({bytes})");
                (number, TxnState::Whole(number), format!("INSERT INTO ledger VALUES ({values})"))
            }
        };
        let key = TxnKey { actor: self.actor, txn };
        match state {
            TxnState::Whole(version) => self.ops.push(Op::Write { key: history_key(key), version: version.into() }),
            TxnState::Absent | TxnState::Torn => {
                self.context.history.borrow_mut().deleted.insert(history_key(key));
            }
        }
        let result = self.script(&sql);
        let is_dead = self.context.is_dead(self.actor);
        let history = &self.context.history;
        match result {
            Ok(()) if !is_dead => {
                history.borrow_mut().ledger.acked(key, state);
                self.own.retain(|own| *own != txn);
                self.own.extend((state != TxnState::Absent).then_some(txn));
                self.remember(End::Committed);
            }
            Err(error) if error.is_busy() && !is_dead => {
                history.borrow_mut().ledger.refused(key, state);
                self.remember(End::Aborted);
            }
            told => {
                history.borrow_mut().ledger.indeterminate(key, state);
                if let Err(error) = told {
                    self.context.note_alarm(self.actor, &error);
                }
                self.own.retain(|own| *own != txn);
                self.remember(End::Indeterminate);
            }
        }
        Ok(())
    }

    fn read_shared(&mut self) -> Result<(), SqlError> {
        let table = ledger_table(&mut |sql, each| self.query(sql, &[], each))?;
        if !self.context.is_dead(self.actor) {
            self.context.history.borrow_mut().ledger.read(self.actor, &table);
        }
        Ok(())
    }
}
