//! A race in one's own code: found, shrunk, repeated, mended.
//!
//! `cargo run -p seawall-harness --example wallet`. In a project of your own this is a test that calls `sim::check`.

use rusqlite::Connection;
use seawall_harness::sim::{Check, World};
use std::fmt::Write as _;

/// The code under test.
type Spend = fn(&Connection, i64) -> rusqlite::Result<()>;

/// Reads the coins, and writes what is left. Between the two another process may do the same.
fn spend(db: &Connection, amount: i64) -> rusqlite::Result<()> {
    let coins: i64 = db.query_row("SELECT coins FROM wallet", [], |row| row.get(0))?;
    db.execute("UPDATE wallet SET coins = ?1", [coins - amount])?;
    Ok(())
}

/// The same in one statement.
fn spend_at_once(db: &Connection, amount: i64) -> rusqlite::Result<()> {
    db.execute("UPDATE wallet SET coins = coins - ?1", [amount])?;
    Ok(())
}

/// Two processes spend ten coins each.
fn wallet(world: &mut World<i64>, spend: Spend) {
    world.setup(|db| db.execute_batch("CREATE TABLE wallet (coins); INSERT INTO wallet VALUES (100)"));
    world.processes(2, move |p| {
        spend(&p.open()?, 10)?;
        p.ack(10)
    });
    world.invariant(|db, spent| {
        let coins: i64 = db.query_row("SELECT coins FROM wallet", [], |row| row.get(0))?;
        assert_eq!(coins, 100 - spent.iter().sum::<i64>());
        Ok(())
    });
}

/// Everything, as text.
pub fn run() -> String {
    let mut out = String::new();
    let check = || Check::new().name("wallet").without_regressions();
    let Err(found) = check().search(|world| wallet(world, spend)) else { return "not found\n".to_owned() };
    let _ = writeln!(out, "Found:\n\n{found}");
    let Err(again) = check().replay(&found.replay).search(|world| wallet(world, spend)) else { return out };
    let _ = writeln!(out, "Repeated, with the same steps: {}", again.steps() == found.steps());
    let mended = check().run(|world| wallet(world, spend_at_once));
    let _ = writeln!(out, "Mended: {} executions, {} values acknowledged", mended.iterations, mended.acked);
    out
}

#[allow(dead_code, reason = "a test calls `run`")]
fn main() {
    print!("{}", run());
}
