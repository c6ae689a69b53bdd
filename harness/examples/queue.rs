//! A queue of jobs whose workers crash: each job is done once, and what was acknowledged survives.
//!
//! `cargo run -p seawall-harness --example queue`. Up to two workers are killed in an execution, at any call, and start
//! again. Then the power is cut as well.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use seawall_harness::sim::{Check, World};
use std::fmt::Write as _;

/// Jobs of the queue.
const JOBS: i64 = 4;

/// The code under test: takes the first job, and notes its result, in one transaction. None if all is done.
fn work(db: &mut Connection, is_careful: bool) -> rusqlite::Result<Option<i64>> {
    let behavior = if is_careful { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
    let transaction = db.transaction_with_behavior(behavior)?;
    let sql = "SELECT id FROM job WHERE NOT is_done ORDER BY id LIMIT 1";
    let Some(job) = transaction.query_row(sql, [], |row| row.get(0)).optional()? else { return Ok(None) };
    transaction.execute("UPDATE job SET is_done = 1 WHERE id = ?1", [job])?;
    transaction.execute("INSERT INTO result VALUES (?1, 'done')", [job])?;
    transaction.commit()?;
    Ok(Some(job))
}

fn queue(world: &mut World<i64>, is_careful: bool) {
    world.setup(|db| {
        db.execute_batch("PRAGMA journal_mode = WAL")?;
        db.execute_batch("CREATE TABLE job (id INTEGER PRIMARY KEY, is_done); CREATE TABLE result (job, text)")?;
        (1..=JOBS).try_for_each(|job| db.execute("INSERT INTO job VALUES (?1, 0)", [job]).map(drop))
    });
    world.processes(2, move |p| {
        let mut db = p.open()?;
        while let Some(job) = work(&mut db, is_careful)? {
            p.ack(job)?;
        }
        Ok(())
    });
    world.invariant(|db, acked| {
        let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(count("SELECT count(*) FROM job WHERE is_done")?, JOBS, "all jobs are done");
        assert_eq!(count("SELECT count(*) FROM result")?, JOBS, "each has one result");
        assert!(acked.iter().all(|job| (1..=JOBS).contains(job)));
        Ok(())
    });
}

/// Everything, as text.
pub fn run() -> String {
    let mut out = String::new();
    let check = || Check::new().name("queue").without_regressions();
    for (what, check) in [("crashes", check().crashes(2)), ("power cuts", check().crashes(1).power_cuts(1))] {
        let passed = check.run(|world| queue(world, true));
        let _ = writeln!(out, "{what}: {} executions passed", passed.iterations);
    }
    if let Err(found) = check().search(|world| queue(world, false)) {
        let _ = writeln!(out, "with deferred transactions:\n\n{found}");
    }
    out
}

#[allow(dead_code, reason = "a test calls `run`")]
fn main() {
    print!("{}", run());
}
