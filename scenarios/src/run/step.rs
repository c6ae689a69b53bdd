//! Performs a step of a script through a strategy, and says exactly how far it got.

use crate::strategies::{Failure, Phase, Strategy, Written};
use crate::workload::Step;
use rusqlite::{Connection, Transaction, params};
use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::oracle::integrity::{self, Check};
use seawall_harness::oracle::table::{self, TxnKey, TxnState};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// COMMIT returned success; the transaction's rows are in this state.
    Acked(TxnState),
    /// COMMIT returned success, but the transaction to be changed was not there, so nothing was written. It says as
    /// much as a read.
    Missed,
    /// COMMIT was tried and did not return success.
    Indeterminate(Failure),
    /// An error came before COMMIT was tried.
    Refused(Failure),
    /// A read: the actor's own transactions, and those of others that it saw in part.
    Read {
        /// Number and state.
        own: Vec<(u32, TxnState)>,
        /// Of others.
        torn: Vec<TxnKey>,
    },
    /// A step that neither changes nor reads rows succeeded.
    Done,
}

impl Outcome {
    /// The error that the caller got, if the step failed.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Indeterminate(failure) | Self::Refused(failure) => Some(failure),
            Self::Acked(_) | Self::Missed | Self::Read { .. } | Self::Done => None,
        }
    }
}

/// A step to perform.
#[derive(Clone, Copy)]
pub struct StepTask<'a> {
    /// The actor.
    pub actor: Actor,
    /// The step's number: the version that it writes, and the transaction that it inserts.
    pub index: u32,
    /// The step.
    pub step: Step,
    /// The actor's whole script, for steps that refer to earlier ones.
    pub script: &'a [Step],
    /// The run's clock.
    pub clock: &'a Clock,
}

/// Performs a step.
pub fn perform(strategy: &dyn Strategy, task: StepTask<'_>) -> Outcome {
    match task.step {
        Step::Pause { .. } => Outcome::Done,
        Step::Read => read(strategy, task.actor),
        Step::LongRead { ms } => long_read(strategy, task.clock, ms).map_or_else(Outcome::Refused, |()| Outcome::Done),
        Step::Checkpoint(mode) => strategy.checkpoint(mode).map_or_else(Outcome::Refused, |()| Outcome::Done),
        Step::Insert { .. } | Step::Update { .. } | Step::Delete { .. } => write(strategy, task),
    }
}

/// What the pragmas say on a connection of the strategy.
pub fn check(strategy: &dyn Strategy) -> Check {
    let mut check = None;
    let checked = strategy.with_connection(&mut |connection| {
        check = Some(integrity::check(connection, "live"));
        Ok(())
    });
    let reason = match (checked, check) {
        (Ok(()), Some(check)) => return check,
        (Err(failure), _) => failure.message,
        (Ok(()), None) => "the strategy did not run the check".to_owned(),
    };
    Check { connection: "live".to_owned(), complaints: Vec::new(), unfinished: Some(reason) }
}

fn read(strategy: &dyn Strategy, actor: Actor) -> Outcome {
    let mut seen = table::Table::new();
    let result = strategy.read(&mut |connection| {
        seen = table::read(connection)?;
        Ok(())
    });
    if let Err(failure) = result {
        return Outcome::Refused(failure);
    }
    let own = seen.iter().filter(|(key, _)| key.actor == actor).map(|(key, state)| (key.txn, *state)).collect();
    let torn = seen.iter().filter(|(_, state)| **state == TxnState::Torn).map(|(key, _)| *key).collect();
    Outcome::Read { own, torn }
}

/// A statement that has rows left keeps its snapshot.
fn long_read(strategy: &dyn Strategy, clock: &Clock, ms: u32) -> Result<(), Failure> {
    strategy.read(&mut |connection| {
        let mut statement = connection.prepare_cached("SELECT name FROM sqlite_schema")?;
        let mut rows = statement.query([])?;
        rows.next()?;
        clock.sleep(Duration::from_millis(u64::from(ms)));
        rows.next().map(drop)
    })
}

fn write(strategy: &dyn Strategy, task: StepTask<'_>) -> Outcome {
    let mut state = None;
    let Written { result, phase } = strategy.write(&mut |transaction| {
        state = change(transaction, task)?;
        Ok(())
    });
    match (result, phase) {
        (Ok(()), Phase::Committed) => state.map_or(Outcome::Missed, Outcome::Acked),
        (Err(failure), Phase::BeforeCommit) => Outcome::Refused(failure),
        (Err(failure), _) => Outcome::Indeterminate(failure),
        // If a strategy reports success for work that it has not completed, it has acknowledged the work.
        (Ok(()), _) => Outcome::Acked(task.step.intent(task.index).map_or(TxnState::Absent, |(_, state)| state)),
    }
}

/// Makes the step's changes and returns the state that they lead to; `None` if there was nothing to change.
fn change(transaction: &Transaction<'_>, task: StepTask<'_>) -> rusqlite::Result<Option<TxnState>> {
    let StepTask { actor, index, step, script, .. } = task;
    let name = actor.to_string();
    let (changed, txn, whole) = match step {
        Step::Insert { parts, payload_bytes } => {
            insert(transaction, &name, index, parts, payload_bytes)?;
            return Ok(Some(TxnState::Whole(index)));
        }
        Step::Update { txn } => {
            let sql = "UPDATE ledger SET version = ?1 WHERE actor = ?2 AND txn = ?3";
            (transaction.prepare_cached(sql)?.execute(params![index, name, txn])?, txn, TxnState::Whole(index))
        }
        Step::Delete { txn } => {
            let sql = "DELETE FROM ledger WHERE actor = ?1 AND txn = ?2";
            (transaction.prepare_cached(sql)?.execute(params![name, txn])?, txn, TxnState::Absent)
        }
        Step::Read | Step::LongRead { .. } | Step::Checkpoint(_) | Step::Pause { .. } => return Ok(None),
    };
    let Step::Insert { parts, .. } = script[txn as usize] else { return Ok(None) };
    Ok(match changed {
        0 => None,
        n if n == parts as usize || whole == TxnState::Absent => Some(whole),
        _ => Some(TxnState::Torn),
    })
}

fn insert(connection: &Connection, name: &str, txn: u32, parts: u32, payload_bytes: u32) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR IGNORE INTO ledger_actors VALUES(?1)")?.execute([name])?;
    let mut statement = connection.prepare_cached("INSERT INTO ledger VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?;
    for part in 0..parts {
        let payload = vec![(txn + part) as u8; payload_bytes as usize];
        statement.execute(params![name, txn, part, parts, txn, payload])?;
    }
    Ok(())
}
