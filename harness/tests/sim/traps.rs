//! The traps of the simulator are loud.

use super::{found, planted};
use rusqlite::Connection;
use seawall_harness::sim::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn a_lock_of_std_that_is_held_across_a_call_is_named_by_the_watchdog() {
    let check = planted().patience(Duration::from_secs(1));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        check.run(|world: &mut World| {
            world.setup(|db| db.execute_batch("CREATE TABLE t (x)"));
            let lock = Arc::new(Mutex::new(()));
            for _ in 0..2 {
                let lock = Arc::clone(&lock);
                world.process(move |p| {
                    let db = p.open()?;
                    let _held = lock.lock();
                    db.execute("INSERT INTO t VALUES (1)", [])?;
                    Ok(())
                });
            }
        })
    }));
    let message = *ended.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("blocks its thread: p") && message.contains("since its last call, "), "{message}");
    assert!(message.contains("; the last call of p") && message.contains("seawall_harness::sync"), "{message}");
    // Others go on.
    planted().run(|world: &mut World| world.process(|p| Ok(p.open()?.execute_batch("CREATE TABLE t (x)")?)));
}

#[test]
fn a_thread_of_std_is_named() {
    let failure = found(planted(), |world: &mut World| {
        world.setup(|db| db.execute_batch("CREATE TABLE t (x)"));
        let vfs = world.vfs().to_owned();
        let path = world.path();
        world.process(move |_| {
            let vfs = vfs.clone();
            let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
                let db = Connection::open_with_flags_and_vfs(path, Default::default(), &*vfs);
                db.map(drop)
            });
            thread?.join().unwrap()?;
            Ok(())
        });
    });
    let detail = &failure.finding.detail;
    assert!(detail.contains("thread `worker` called ") && detail.contains("Process::spawn"), "{detail}");
}

#[test]
fn a_connection_on_another_vfs_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("real.db");
    let failure = found(planted(), move |world: &mut World| {
        let file = file.clone();
        world.process(move |_| {
            Connection::open_in_memory()?.execute_batch("CREATE TABLE t (x)")?;
            assert!(Connection::open(&file).is_err());
            Ok(())
        });
    });
    let detail = &failure.finding.detail;
    assert!(detail.contains("p1.t1 opened ") && detail.contains("real.db outside of the simulation"), "{detail}");
}

#[test]
fn the_default_vfs_is_the_platforms_during_a_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("real.db");
    let ordinary = std::thread::spawn(move || {
        for _ in 0..50 {
            let db = Connection::open(&file)?;
            db.execute_batch("CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (random())")?;
        }
        Ok::<(), rusqlite::Error>(())
    });
    planted().run(|world: &mut World| world.process(|p| Ok(p.open()?.execute_batch("CREATE TABLE t (x)")?)));
    ordinary.join().unwrap().unwrap();
}

#[test]
fn code_that_retries_for_ever_comes_to_an_end() {
    let failure = found(planted(), |world: &mut World| {
        world.process(|p| {
            let db = p.open()?;
            while db.execute("INSERT INTO missing VALUES (1)", []).is_err() {
                db.execute_batch("SELECT count(*) FROM sqlite_schema")?;
            }
            Ok(())
        });
    });
    assert!(failure.finding.detail.contains("no end after"), "{failure}");
}

#[test]
fn a_busy_handler_that_does_not_let_time_pass_ends_nevertheless() {
    planted().run(|world: &mut World| {
        world.setup(|db| db.execute_batch("CREATE TABLE t (x)"));
        world.processes(2, |p| {
            let mut db = p.open()?;
            db.busy_handler(Some(|attempts| attempts < 500))?;
            Ok(db.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (1); COMMIT")?)
        });
    });
}

#[test]
#[should_panic(expected = "a check within a check")]
fn a_check_within_a_check_is_refused() {
    planted().run(|_: &mut World| {
        planted().run(|_: &mut World| {});
    });
}

#[test]
fn code_that_is_not_deterministic_is_told_so() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let count = AtomicU32::new(0);
    let failure = found(planted(), move |world: &mut World<u32>| {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        world.process(move |p| {
            for _ in 0..nth % 7 {
                p.open()?.execute_batch("SELECT count(*) FROM sqlite_schema")?;
            }
            Err("always".into())
        });
    });
    assert!(failure.to_string().contains("\nThe test is not deterministic, "), "{failure}");
    assert!(failure.difference.is_some());
}

#[test]
fn an_actor_has_the_stack_of_a_thread() {
    fn deep(levels: u32) -> u64 {
        let frame = std::hint::black_box([u64::from(levels); 128]);
        if levels == 0 { 0 } else { frame[7] + deep(levels - 1) }
    }
    // More than the half of a megabyte that the lab gives its own actors.
    planted().iterations(3).run(|world: &mut World<u64>| world.process(|p| p.ack(deep(400))));
}
