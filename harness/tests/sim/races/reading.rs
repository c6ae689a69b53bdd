//! Readers that see what never was.

use super::number;
use crate::{equal, holds};
use seawall_harness::sim::World;

/// Begins a read transaction in the sound form.
fn snapshot(is_sound: bool) -> &'static str {
    if is_sound { "BEGIN" } else { "" }
}

/// An audit reads two accounts by two statements.
pub(super) fn torn_read(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE account (id, n); INSERT INTO account VALUES (1, 50), (2, 50)"));
    world.process(|p| {
        let sql = "BEGIN; UPDATE account SET n = n - 7 WHERE id = 1; UPDATE account SET n = n + 7 WHERE id = 2; COMMIT";
        Ok(p.open()?.execute_batch(sql)?)
    });
    world.process(move |p| {
        let db = p.open()?;
        db.execute_batch(snapshot(is_sound))?;
        let one = number(&db, "SELECT n FROM account WHERE id = 1")?;
        let two = number(&db, "SELECT n FROM account WHERE id = 2")?;
        p.ack(one + two)
    });
    world.invariant(|_, sums| equal(sums, &[100]));
}

/// A row is replaced by two statements, and a reader needs it.
pub(super) fn delete_then_insert(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE setting (value); INSERT INTO setting VALUES (1)"));
    world.process(move |p| {
        let db = p.open()?;
        db.execute_batch(snapshot(is_sound))?;
        db.execute("DELETE FROM setting", [])?;
        db.execute("INSERT INTO setting VALUES (2)", [])?;
        Ok(db.execute_batch(if is_sound { "COMMIT" } else { "" })?)
    });
    world.process(|p| {
        number(&p.open()?, "SELECT value FROM setting")?;
        Ok(())
    });
}

/// A list is read in pages, while a row before the page is deleted.
pub(super) fn shifting_pages(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE item (id); INSERT INTO item VALUES (1), (2), (3), (4)"));
    world.process(|p| Ok(p.open()?.execute_batch("DELETE FROM item WHERE id = 1")?));
    world.process(move |p| {
        let db = p.open()?;
        db.execute_batch(snapshot(is_sound))?;
        for offset in [0, 2] {
            let mut page = db.prepare("SELECT id FROM item ORDER BY id LIMIT 2 OFFSET ?1")?;
            for id in page.query_map([offset], |row| row.get(0))? {
                p.ack(id?)?;
            }
        }
        Ok(())
    });
    world.invariant(|_, seen| holds([2, 3, 4].iter().all(|id| seen.contains(id))));
}
