//! Processes with several threads, and the locks between them.

use super::{equal, found, planted};
use rusqlite::Connection;
use seawall_harness::sim::{Process, World};
use seawall_harness::sync::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A process of three threads that share a connection behind a lock, and count to 3. The lock is held for a whole
/// step, or for each statement of it.
fn counter(world: &mut World, is_step_locked: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE counter (n); INSERT INTO counter VALUES (0)"));
    world.process(move |p| {
        let db = Arc::new(Mutex::new(p.open()?));
        let step = move |p: &Process| {
            let read = |db: &Connection| db.query_row("SELECT n FROM counter", [], |row| row.get::<_, i64>(0));
            if is_step_locked {
                let db = db.lock();
                let n = read(&db)?;
                db.execute("UPDATE counter SET n = ?1", [n + 1])?;
            } else {
                let n = read(&db.lock())?;
                db.lock().execute("UPDATE counter SET n = ?1", [n + 1])?;
            }
            p.sleep(Duration::from_millis(1));
            Ok(())
        };
        let threads = [(); 3].map(|()| p.spawn(step.clone()));
        threads.into_iter().for_each(|thread| thread.join());
        Ok(())
    });
    world.invariant(|db, _| {
        let n: i64 = db.query_row("SELECT n FROM counter", [], |row| row.get(0))?;
        equal(n, 3)
    });
}

#[test]
fn threads_that_share_a_connection_are_kept_apart_by_its_lock() {
    planted().run(|world| counter(world, true));
    let failure = found(planted(), |world| counter(world, false));
    assert!(failure.steps().len() < 20 && failure.preemptions.1 == 1, "{failure}");
}

#[test]
fn two_locks_in_two_orders_deadlock() {
    let failure = found(planted(), |world: &mut World| {
        let locks = Arc::new((Mutex::new(()), Mutex::new(())));
        world.process(move |p| {
            let (one, two) = (Arc::clone(&locks), Arc::clone(&locks));
            p.spawn(move |_| {
                let _first = one.0.lock();
                let _second = one.1.lock();
                Ok(())
            });
            p.spawn(move |_| {
                let _first = two.1.lock();
                let _second = two.0.lock();
                Ok(())
            });
            Ok(())
        });
    });
    assert!(failure.finding.detail.contains("wait for each other for ever"), "{failure}");
    assert!(failure.finding.detail.contains("p1.t2 and p1.t3"), "{failure}");
    // The rig that is left behind is replaced.
    planted().run(|world| counter(world, true));
}

#[test]
fn a_process_dies_with_all_its_threads_and_starts_again() {
    let passed = planted().crashes(2).run(|world: &mut World<u32>| {
        world.setup(|db| db.execute_batch("CREATE TABLE t (x)"));
        world.process(|p| {
            let threads = [(); 2].map(|()| {
                p.spawn(|p| {
                    p.open()?.execute("INSERT INTO t VALUES (1)", [])?;
                    p.ack(p.life())
                })
            });
            threads.into_iter().for_each(|thread| thread.join());
            Ok(())
        });
        world.invariant(|db, acked| {
            let rows = db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))? as usize;
            assert!(rows >= acked.len() && acked.len() >= 2 && acked.is_sorted(), "{rows} rows, {acked:?}");
            Ok(())
        });
    });
    assert!(passed.acked > 2 * passed.iterations, "{passed:?}");
}
