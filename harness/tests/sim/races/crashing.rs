//! Races against the death of a process.

use super::{begin, commit, number};
use crate::{equal, holds};
use seawall_harness::sim::World;

/// Tells its caller that a row is there, and then commits it. The process has better things to do after a restart.
pub(super) fn acknowledged_too_early(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE line (n)"));
    world.process(move |p| {
        if p.life() > 1 {
            return Ok(());
        }
        let db = p.open()?;
        db.execute_batch("BEGIN; INSERT INTO line VALUES (1)")?;
        if !is_sound {
            p.ack(1)?;
        }
        db.execute_batch("COMMIT")?;
        if is_sound {
            p.ack(1)?;
        }
        Ok(())
    });
    world.invariant(|db, acked| holds(number(db, "SELECT count(*) FROM line")? >= acked.len() as i64));
}

/// Money leaves one account and reaches the other one by two transactions.
pub(super) fn half_a_transfer(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE account (id, n); INSERT INTO account VALUES (1, 50), (2, 50)"));
    world.process(move |p| {
        let db = p.open()?;
        begin(&db, is_sound)?;
        db.execute("UPDATE account SET n = n - 7 WHERE id = 1", [])?;
        db.execute("UPDATE account SET n = n + 7 WHERE id = 2", [])?;
        Ok(commit(&db, is_sound)?)
    });
    world.invariant(|db, _| equal(number(db, "SELECT sum(n) FROM account")?, 100));
}

/// Does its work again after a restart, though it may have been done.
pub(super) fn repeated_after_restart(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE payment (id PRIMARY KEY, amount)"));
    world.process(move |p| {
        let id = if is_sound { 1 } else { i64::from(p.life()) };
        p.open()?.execute("INSERT OR IGNORE INTO payment VALUES (?1, 10)", [id])?;
        Ok(())
    });
    world.invariant(|db, _| equal(number(db, "SELECT sum(amount) FROM payment")?, 10));
}

/// Sends a message, and then notes that it was sent. The receiver of the sound form knows messages by their number.
pub(super) fn sent_twice(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE outbox (id, is_sent); INSERT INTO outbox VALUES (7, 0)"));
    world.process(|p| {
        let db = p.open()?;
        if number(&db, "SELECT count(*) FROM outbox WHERE NOT is_sent")? == 1 {
            p.ack(7)?;
            db.execute("UPDATE outbox SET is_sent = 1", [])?;
        }
        Ok(())
    });
    world.invariant(move |_, sent| {
        let mut received = sent.to_vec();
        if is_sound {
            received.dedup();
        }
        equal(&received[..], &[7])
    });
}
