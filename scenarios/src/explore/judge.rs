//! The judgement of an execution: a fresh connection after it, and the oracles.

use super::DATABASE;
use super::case::Case;
use super::history::{History, Snapshot};
use super::scenarios;
use super::statements::{Statements, history_key};
use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError, Value};
use seawall_harness::oracle::alarm::Alarm;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::oracle::isolation::{self, End, Op, Transaction};
use seawall_harness::oracle::table::{Table, TxnState};
use seawall_harness::oracle::{self, Evidence};
use seawall_harness::runtime;
use seawall_harness::sched::Execution;
use std::collections::BTreeSet;

pub use seawall_harness::record::Finding;

/// The actor of the check at the end.
const OBSERVER: Actor = Actor { process: 0, thread: 0 };

/// What the oracles find, worst first.
pub(super) fn judge(
    engine: &Engine,
    vfs: &str,
    case: &Case,
    execution: &Execution,
    mut history: History,
) -> Vec<Finding> {
    let isolation = vec![transactions(&mut history)];
    let mut evidence = Evidence {
        walindex: history.walindex,
        unrepeatable_reads: history.unrepeatable_reads,
        isolation,
        stuck: stuck(case, execution),
        ..Evidence::default()
    };
    // An execution that was cut short has made errors of its own, and proves nothing about the data.
    if !execution.halted && execution.deadlocked.is_empty() {
        runtime::set_current_actor(OBSERVER);
        let (check, table, torn) = inspect(engine, vfs, case);
        history.torn_reads.extend(torn.into_iter().map(|complaint| format!("{complaint}, at the end")));
        let alarms = history.alarms.into_iter().map(|message| Alarm { actor: OBSERVER, message });
        evidence = Evidence {
            ledger: history.ledger,
            table,
            torn_reads: history.torn_reads,
            checks: vec![check],
            alarms: alarms.collect(),
            ..evidence
        };
    }
    oracle::judge(&evidence)
}

/// What the transactions did and saw, for the oracle `isolation`.
fn transactions(history: &mut History) -> isolation::History {
    let deleted = &history.deleted;
    let mut transactions = std::mem::take(&mut history.transactions);
    let mut keys = BTreeSet::new();
    for transaction in &mut transactions {
        transaction.ops.retain(|op| !matches!(op, Op::Write { key, .. } if deleted.contains(key)));
        let written = transaction.ops.iter().filter_map(|op| match op {
            Op::Write { key, .. } => Some(*key),
            Op::Read { .. } => None,
        });
        keys.extend(written);
    }
    for Snapshot { actor, began, ended, table } in std::mem::take(&mut history.snapshots) {
        // Both are in the same order.
        let mut seen = table.into_iter().map(|(key, state)| (history_key(key), state)).peekable();
        let ops = keys.iter().filter_map(|key| {
            while seen.next_if(|(other, _)| other < key).is_some() {}
            match seen.next_if(|(other, _)| other == key) {
                None | Some((_, TxnState::Absent)) => Some(Op::Read { key: *key, version: None }),
                Some((_, TxnState::Whole(version))) => Some(Op::Read { key: *key, version: Some(version.into()) }),
                Some((_, TxnState::Torn)) => None,
            }
        });
        transactions.push(Transaction { actor, began, ended, ops: ops.collect(), end: End::Committed });
    }
    isolation::History { transactions }
}

/// The actors that did not end.
fn stuck(case: &Case, execution: &Execution) -> Vec<String> {
    let mut notes = Vec::new();
    if !execution.deadlocked.is_empty() {
        let names: Vec<String> =
            execution.deadlocked.iter().map(|position| case.actors[*position].actor.to_string()).collect();
        notes.push(format!("{} wait for each other for ever", names.join(" and ")));
    }
    if execution.halted {
        let names: Vec<String> = case.actors.iter().map(|plan| plan.actor.to_string()).collect();
        notes.push(format!("no end after {} calls of {}", execution.calls, names.join(", ")));
    }
    notes
}

/// The file's integrity, the ledger's table, and what else is wrong.
fn inspect(engine: &Engine, vfs: &str, case: &Case) -> (Check, Option<Table>, Vec<String>) {
    let scenario = scenarios::of(case);
    let mut check = Check { connection: "fresh".to_owned(), complaints: Vec::new(), unfinished: None };
    let result = engine.open(DATABASE, OPEN_READ_WRITE_CREATE | OPEN_NO_MUTEX, Some(vfs)).and_then(|db| {
        check.complaints = complaints(&db)?;
        let mut statements = Statements::new(&db);
        let table = (scenario.table)(&mut |sql, each| statements.rows(sql, &[], each))?;
        let torn = (scenario.check)(&mut |sql, each| statements.rows(sql, &[], each))?;
        Ok((table, torn))
    });
    match result {
        Ok((table, torn)) => (check, Some(table), torn),
        Err(error) => {
            check.complaints.push(error.to_string());
            (check, None, Vec::new())
        }
    }
}

fn complaints(db: &Db) -> Result<Vec<String>, SqlError> {
    let rows = db.query("PRAGMA integrity_check")?;
    let text = |row: Vec<Value>| row.into_iter().next().and_then(|value| value.as_text().map(str::to_owned));
    Ok(rows.into_iter().filter_map(text).filter(|line| line != "ok").collect())
}
