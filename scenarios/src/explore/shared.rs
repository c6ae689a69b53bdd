//! `shared`: two or three threads of one process share one connection, which SQLite's own mutex keeps apart
//! (`SQLITE_OPEN_FULLMUTEX`), beside others that have connections of their own.
//!
//! On a shared connection a transaction of several statements would be everybody's, so each statement commits by
//! itself. A SELECT that somebody else's write comes in between may see half of it: of what such a reader saw, only its
//! own rows are judged.

use rand::{Rng, RngExt};
use seawall_harness::actor::Actor;
use seawall_harness::engine::SqlError;
use seawall_harness::oracle::isolation::{End, Op};
use seawall_harness::oracle::table::{Key, State};
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

use super::case::{ActorPlan, Checkpoint, Step};
use super::connection_actor::{ConnectionActor, history_key, ledger_table};
use super::mixed::{self, pick};
use super::scenario::World;

/// A step on a connection that others use as well: one statement.
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
pub(super) fn draw(seed: Seed) -> World {
    let World { layout, settings, actors } = mixed::draw(seed);
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
    World { layout, settings, actors: plans }
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

impl ConnectionActor<'_> {
    pub(super) fn shared(&mut self, number: u32, step: SharedStep) -> Result<(), SqlError> {
        let id = self.id();
        let earlier = self.own.get(number as usize % self.own.len().max(1)).copied();
        let (txn, state, sql) = match (step, earlier) {
            (SharedStep::Read, _) => return self.read_shared(),
            (SharedStep::Update, Some(txn)) => {
                let sql = format!("UPDATE ledger SET version = {number} WHERE actor = {id} AND txn = {txn}");
                (txn, State::Whole(number), sql)
            }
            (SharedStep::Delete, Some(txn)) => {
                (txn, State::Absent, format!("DELETE FROM ledger WHERE actor = {id} AND txn = {txn}"))
            }
            (step, _) => {
                let bytes = if let SharedStep::Insert { payload_bytes } = step { payload_bytes } else { 4 };
                let values = format!("{id}, {number}, 0, 1, {number}, zeroblob({bytes})");
                (number, State::Whole(number), format!("INSERT INTO ledger VALUES ({values})"))
            }
        };
        let key = Key { actor: self.actor, txn };
        match state {
            State::Whole(version) => self.ops.push(Op::Write { key: history_key(key), version: version.into() }),
            State::Absent | State::Torn => drop(self.stage.notebook.borrow_mut().deleted.insert(history_key(key))),
        }
        let result = self.script(&sql);
        let is_dead = self.stage.is_dead(self.actor);
        let notebook = &self.stage.notebook;
        match result {
            Ok(()) if !is_dead => {
                notebook.borrow_mut().ledger.acked(key, state);
                self.own.retain(|own| *own != txn);
                self.own.extend((state != State::Absent).then_some(txn));
                self.remember(End::Committed);
            }
            Err(error) if error.is_busy() && !is_dead => {
                notebook.borrow_mut().ledger.refused(key, state);
                self.remember(End::Aborted);
            }
            told => {
                notebook.borrow_mut().ledger.indeterminate(key, state);
                if let Err(error) = told {
                    self.stage.note_alarm(self.actor, &error);
                }
                self.own.retain(|own| *own != txn);
                self.remember(End::Indeterminate);
            }
        }
        Ok(())
    }

    fn read_shared(&mut self) -> Result<(), SqlError> {
        let table = ledger_table(&mut |sql, each| self.query(sql, &[], each))?;
        if !self.stage.is_dead(self.actor) {
            self.stage.notebook.borrow_mut().ledger.read(self.actor, &table);
        }
        Ok(())
    }
}
