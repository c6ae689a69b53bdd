//! The judgement of an execution: what went wrong in the processes, integrity, the invariants.

use super::panics;
use super::world::World;
use crate::fault::Rule;
use crate::record::Finding;
use crate::sched::Execution;
use crate::shared_state::SharedState;
use crate::verdict::Verdict;
use rusqlite::Connection;
use std::fmt;

/// The first thing that is wrong, the most telling first.
pub(super) fn judge<A: fmt::Debug + 'static>(
    world: &World<A>,
    execution: &Execution,
    rules: &[Rule],
    stranger: Option<String>,
) -> Option<Finding> {
    let stage = &world.stage;
    if let Some(stranger) = stranger {
        let detail = format!(
            "thread {stranger}: only actors may use the simulation. Start threads with `Process::spawn`, not with \
             `std::thread::spawn`"
        );
        return Some(finding("thread", Verdict::HarnessBroken, detail));
    }
    if let Some(stray) = stage.narrator.take_stray() {
        return Some(finding("file", Verdict::HarnessBroken, stray));
    }
    if let Some(stuck) = stuck(execution) {
        return Some(finding("progress", Verdict::Wedged, stuck));
    }
    let are_refusals_expected = has_interfered(rules, stage.simulation.shared_state());
    for (actor, is_panic, message) in &*stage.troubles.borrow() {
        if *is_panic {
            return Some(finding("panic", Verdict::Corrupt, format!("{actor} panicked: {message}")));
        }
        if !are_refusals_expected {
            return Some(finding("error", Verdict::Degraded, format!("{actor} returned an error: {message}")));
        }
    }
    let db = match stage.open() {
        Ok(db) => db,
        Err(error) => {
            return Some(finding("invariant", Verdict::Corrupt, format!("cannot open the database: {error}")));
        }
    };
    if let Some(complaint) = complaint(&db) {
        return Some(finding("integrity", Verdict::Corrupt, complaint));
    }
    let acked = stage.acked.borrow();
    for invariant in &world.invariants {
        let detail = match panics::catch(|| invariant(&db, &acked)) {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        return Some(finding("invariant", Verdict::Corrupt, format!("the invariant does not hold: {detail}")));
    }
    None
}

fn finding(oracle: &str, verdict: Verdict, detail: String) -> Finding {
    Finding { oracle: oracle.to_owned(), verdict, detail }
}

/// Why the actors did not reach their ends.
fn stuck(execution: &Execution) -> Option<String> {
    let names: Vec<String> =
        execution.deadlocked.iter().map(|position| execution.actors[*position].to_string()).collect();
    if execution.halted {
        return Some(format!("no end after {} calls", execution.calls));
    }
    match &*names {
        [] => None,
        [one] => Some(format!("{one} waits for ever")),
        _ => Some(format!("{} wait for each other for ever", names.join(" and "))),
    }
}

/// True if a fault has fired that makes calls fail or changes files. Errors are right then. After a kill, a power cut
/// or a stall the processes that go on can expect service.
fn has_interfered(rules: &[Rule], shared_state: &SharedState) -> bool {
    let is_mild = |rule: &Rule| matches!(rule.effect.entry().key.word, "kill" | "power-cut" | "stall");
    rules.iter().enumerate().any(|(index, rule)| !is_mild(rule) && shared_state.rule(index).fired() > 0)
}

/// What `PRAGMA integrity_check` complains of.
fn complaint(db: &Connection) -> Option<String> {
    let checked: rusqlite::Result<String> = db.query_row("PRAGMA integrity_check", [], |row| row.get(0));
    match checked {
        Ok(answer) if answer == "ok" => None,
        Ok(answer) => Some(format!("integrity_check: {answer}")),
        Err(error) => Some(format!("integrity_check: {error}")),
    }
}
