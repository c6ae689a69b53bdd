//! Races between writers.

use super::{begin, commit, number};
use crate::{equal, holds};
use rusqlite::ErrorCode;
use seawall_harness::sim::World;
use seawall_harness::sync::Mutex;
use std::rc::Rc;

/// Reads a value, and writes it back changed.
pub(super) fn lost_update(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE stock (n); INSERT INTO stock VALUES (5)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        begin(&db, is_sound)?;
        let n = number(&db, "SELECT n FROM stock")?;
        db.execute("UPDATE stock SET n = ?1", [n - 1])?;
        commit(&db, is_sound)?;
        p.ack(1)
    });
    world.invariant(|db, sold| equal(number(db, "SELECT n FROM stock")?, 5 - sold.len() as i64));
}

/// Two doctors are on call, and each leaves if the other one stays.
pub(super) fn write_skew(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE doctor (id, on_call); INSERT INTO doctor VALUES (1, 1), (2, 1)"));
    for doctor in 1..=2 {
        world.process(move |p| {
            let db = p.open()?;
            begin(&db, is_sound)?;
            if number(&db, "SELECT count(*) FROM doctor WHERE on_call")? > 1 {
                db.execute("UPDATE doctor SET on_call = 0 WHERE id = ?1", [doctor])?;
            }
            Ok(commit(&db, is_sound)?)
        });
    }
    world.invariant(|db, _| holds(number(db, "SELECT count(*) FROM doctor WHERE on_call")? > 0));
}

/// Inserts what is not there, without a constraint.
pub(super) fn check_then_insert(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE user (name)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        begin(&db, is_sound)?;
        if number(&db, "SELECT count(*) FROM user WHERE name = 'anna'")? == 0 {
            db.execute("INSERT INTO user VALUES ('anna')", [])?;
        }
        Ok(commit(&db, is_sound)?)
    });
    world.invariant(|db, _| equal(number(db, "SELECT count(*) FROM user")?, 1));
}

/// Takes the first free job, and works on it.
pub(super) fn double_claim(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE job (id, worker); INSERT INTO job (id) VALUES (1), (2), (3)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        let job = number(&db, "SELECT min(id) FROM job WHERE worker IS NULL")?;
        let condition = if is_sound { "AND worker IS NULL" } else { "" };
        let sql = format!("UPDATE job SET worker = ?1 WHERE id = ?2 {condition}");
        if db.execute(&sql, [i64::from(p.number()), job])? == 1 {
            p.ack(job)?;
        }
        Ok(())
    });
    world.invariant(|_, jobs| {
        let mut once = jobs.to_vec();
        once.sort_unstable();
        once.dedup();
        equal(once.len(), jobs.len())
    });
}

/// A deferred transaction reads, and its write meets BUSY_SNAPSHOT. The retry writes the value that was read before.
pub(super) fn deferred_upgrade(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE stock (n); INSERT INTO stock VALUES (5)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        db.execute_batch("BEGIN")?;
        let mut n = number(&db, "SELECT n FROM stock")?;
        while let Err(error) = db.execute("UPDATE stock SET n = ?1", [n - 1]) {
            if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) {
                return Err(error.into());
            }
            db.execute_batch("ROLLBACK; BEGIN")?;
            if is_sound {
                n = number(&db, "SELECT n FROM stock")?;
            }
        }
        db.execute_batch("COMMIT")?;
        p.ack(1)
    });
    world.invariant(|db, sold| equal(number(db, "SELECT n FROM stock")?, 5 - sold.len() as i64));
}

/// Keeps a row in memory, and writes from it in a later transaction.
pub(super) fn cached_row(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE page (views, version); INSERT INTO page VALUES (0, 0)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        loop {
            let (views, version) = db.query_row("SELECT views, version FROM page", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })?;
            db.execute_batch("BEGIN IMMEDIATE")?;
            let condition = if is_sound { "WHERE version = ?2" } else { "WHERE ?2 = ?2" };
            let sql = format!("UPDATE page SET views = ?1, version = version + 1 {condition}");
            let changed = db.execute(&sql, [views + 1, version])?;
            db.execute_batch("COMMIT")?;
            if changed == 1 {
                return Ok(());
            }
        }
    });
    world.invariant(|db, _| equal(number(db, "SELECT views FROM page")?, 2));
}

/// Writes a whole row anew, of which another process has changed another column.
pub(super) fn replace_for_upsert(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| {
        db.execute_batch("CREATE TABLE profile (id PRIMARY KEY, a, b); INSERT INTO profile VALUES (1, 0, 0)")
    });
    for column in ["a", "b"] {
        world.process(move |p| {
            let db = p.open()?;
            if is_sound {
                db.execute(
                    &format!("INSERT INTO profile VALUES (1, 1, 1) ON CONFLICT DO UPDATE SET {column} = 1"),
                    [],
                )?;
                return Ok(());
            }
            let (a, b) =
                db.query_row("SELECT a, b FROM profile", [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            let (a, b) = if column == "a" { (1, b) } else { (a, 1) };
            db.execute("REPLACE INTO profile VALUES (1, ?1, ?2)", [a, b])?;
            Ok(())
        });
    }
    world.invariant(|db, _| equal(number(db, "SELECT a + b FROM profile")?, 2));
}

/// Takes the largest number and one more.
pub(super) fn next_number(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE invoice (number)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        begin(&db, is_sound)?;
        let next = number(&db, "SELECT coalesce(max(number), 0) + 1 FROM invoice")?;
        db.execute("INSERT INTO invoice VALUES (?1)", [next])?;
        Ok(commit(&db, is_sound)?)
    });
    world.invariant(|db, _| equal(number(db, "SELECT count(DISTINCT number) FROM invoice")?, 2));
}

/// The process that finds no leader becomes the leader.
pub(super) fn two_leaders(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE leader (one PRIMARY KEY, process)"));
    world.processes(3, move |p| {
        let db = p.open()?;
        let is_free = number(&db, "SELECT count(*) FROM leader")? == 0;
        let or = if is_sound { "IGNORE" } else { "REPLACE" };
        if is_free && db.execute(&format!("INSERT OR {or} INTO leader VALUES (1, ?1)"), [p.number()])? == 1 {
            p.ack(p.number().into())?;
        }
        Ok(())
    });
    world.invariant(|_, leaders| holds(leaders.len() <= 1));
}

/// Each row has the balance after it, computed from the last row.
pub(super) fn running_balance(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| {
        db.execute_batch(
            "CREATE TABLE entry (id INTEGER PRIMARY KEY, amount, balance); INSERT INTO entry VALUES (1, 0, 0)",
        )
    });
    for amount in [3, 4] {
        world.process(move |p| {
            let db = p.open()?;
            begin(&db, is_sound)?;
            let balance = number(&db, "SELECT balance FROM entry ORDER BY id DESC LIMIT 1")?;
            db.execute("INSERT INTO entry (amount, balance) VALUES (?1, ?2)", [amount, balance + amount])?;
            Ok(commit(&db, is_sound)?)
        });
    }
    world.invariant(|db, _| {
        equal(
            number(db, "SELECT balance FROM entry ORDER BY id DESC LIMIT 1")?,
            number(db, "SELECT sum(amount) FROM entry")?,
        )
    });
}

/// At most three rows are allowed.
pub(super) fn quota(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE file (name); INSERT INTO file VALUES (1), (2)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        if is_sound {
            db.execute("INSERT INTO file SELECT 3 WHERE (SELECT count(*) FROM file) < 3", [])?;
        } else if number(&db, "SELECT count(*) FROM file")? < 3 {
            db.execute("INSERT INTO file VALUES (3)", [])?;
        }
        Ok(())
    });
    world.invariant(|db, _| holds(number(db, "SELECT count(*) FROM file")? <= 3));
}

/// A write that was refused counts as done.
pub(super) fn ignored_busy(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE line (process)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        if db.execute("INSERT INTO line VALUES (?1)", [p.number()]).is_ok() || !is_sound {
            p.ack(p.number().into())?;
        }
        Ok(())
    });
    world.invariant(|db, acked| equal(number(db, "SELECT count(*) FROM line")?, acked.len() as i64));
}

/// Each process migrates the schema if it is old.
pub(super) fn migration(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE t (a)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        begin(&db, is_sound)?;
        if number(&db, "PRAGMA user_version")? == 0 {
            db.execute_batch("ALTER TABLE t ADD COLUMN b; PRAGMA user_version = 1")?;
        }
        Ok(commit(&db, is_sound)?)
    });
}

/// Two threads share a connection. One rolls back, and with it the statement of the other one.
pub(super) fn foreign_rollback(world: &mut World<i64>, is_sound: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE line (n)"));
    world.process(move |p| {
        let db = Rc::new(Mutex::new(p.open()?));
        let of_writer = Rc::clone(&db);
        p.spawn(move |p| {
            of_writer.lock().execute("INSERT INTO line VALUES (1)", [])?;
            p.ack(1)
        });
        p.spawn(move |_| {
            let whole = is_sound.then(|| db.lock());
            let execute = |sql| whole.as_ref().map_or_else(|| db.lock().execute_batch(sql), |db| db.execute_batch(sql));
            execute("BEGIN")?;
            execute("INSERT INTO line VALUES (2)")?;
            Ok(execute("ROLLBACK")?)
        });
        Ok(())
    });
    world.invariant(|db, acked| equal(number(db, "SELECT count(*) FROM line")?, acked.len() as i64));
}
