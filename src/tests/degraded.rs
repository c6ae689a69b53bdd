//! A wal-index that cannot be had: exclusive mode, without losing a row.
//!
//! The `-shm` is made unusable by a dangling symbolic link in its place, which SQLite refuses to follow (CANTOPEN). The
//! database comes with a log of committed frames, as a crash leaves it behind.

#![cfg(unix)]

use super::*;
use crate::health::{HealthState, ProbeOutcome};
use crate::{DegradedReason, Operation};

const BROKEN: DegradedReason = DegradedReason { code: 14, operation: Operation::Configure };

fn crashed_world() -> World {
    let world = World::new();
    let origin = world.dir.path().join("origin.db");
    let conn = Connection::open(&origin).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
    conn.execute_batch(SCHEMA).unwrap();
    for x in 0..100 {
        insert(&conn, x).unwrap();
    }
    std::fs::copy(&origin, world.path()).unwrap();
    std::fs::copy(world.dir.path().join("origin.db-wal"), world.side_file("-wal")).unwrap();
    break_shm(&world);
    world
}

fn break_shm(world: &World) {
    std::os::unix::fs::symlink(world.dir.path().join("nowhere/shm"), world.side_file("-shm")).unwrap();
}

fn heal_shm(world: &World) {
    std::fs::remove_file(world.side_file("-shm")).unwrap();
}

fn committed() -> Vec<i64> {
    (0..100).collect()
}

#[test]
fn committed_rows_are_read_and_written_without_a_wal_index_until_it_is_back() {
    let world = crashed_world();
    let cache = world.cache();
    assert_eq!(cache.read(world.path(), rows).unwrap(), committed());
    cache.write(world.path(), |tx| insert(tx, 100)).unwrap();
    assert_eq!(cache.read(world.path(), rows).unwrap().len(), 101);

    let health = cache.health(world.path());
    assert_eq!(
        (health.state, health.degraded_reason, health.probe),
        (HealthState::Degraded, Some(BROKEN), ProbeOutcome::NotOpen)
    );
    assert_eq!(health.breaker_failures, 0);
    let degraded = |kind: &&EventKind| matches!(kind, EventKind::Degraded { .. });
    assert_eq!(world.events().iter().filter(degraded).count(), 1, "announced once, not per call");

    world.os.advance(Duration::from_secs(5));
    assert_eq!(cache.read(world.path(), rows).unwrap().len(), 101, "a failed probe costs no call");
    assert!(world.events().is_empty());

    heal_shm(&world);
    cache.write(world.path(), |tx| insert(tx, 101)).unwrap();
    assert_eq!(
        cache.health(world.path()).state,
        HealthState::Degraded,
        "the shared mode is not probed before its time"
    );
    world.os.advance(Duration::from_secs(5));
    assert_eq!(cache.read(world.path(), rows).unwrap().len(), 102);
    let health = cache.health(world.path());
    assert_eq!(
        (health.state, health.degraded_reason, health.probe),
        (HealthState::Healthy, None, ProbeOutcome::Passed)
    );
    assert!(matches!(world.events()[..], [EventKind::Restored { .. }, EventKind::Opened]));
    let intact: String =
        cache.read(world.path(), |conn| conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))).unwrap();
    assert_eq!(intact, "ok");
}

#[test]
fn a_fresh_database_is_created_without_a_wal_index() {
    let world = World::new();
    break_shm(&world);
    let cache = world.builder().busy_timeout(Duration::from_millis(1234)).build();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1]);
    let timeout = |conn: &Connection| conn.query_row("PRAGMA busy_timeout", [], |row| row.get::<_, i64>(0));
    assert_eq!(cache.read(world.path(), timeout).unwrap(), 1234);
    let health = cache.health(world.path());
    assert_eq!((health.state, health.journal_mode.as_deref(), health.inits), (HealthState::Degraded, Some("wal"), 1));
}

#[test]
fn degraded_caches_alternate() {
    let world = crashed_world();
    let caches = [(); 2].map(|()| {
        // Each believes that it is alone in a process, and waits for the other on a clock that really runs.
        Cache::builder().busy_timeout(Duration::from_secs(20)).init(|conn| conn.execute_batch(SCHEMA)).build()
    });
    std::thread::scope(|scope| {
        for (nth, cache) in (0_i64..).zip(&caches) {
            let path = world.path();
            scope.spawn(move || {
                for x in 0..20 {
                    cache.write(&path, |tx| insert(tx, 1000 * (nth + 1) + x)).unwrap();
                }
            });
        }
    });
    assert_eq!(caches[0].read(world.path(), rows).unwrap().len(), 140);
    assert_eq!(caches.map(|cache| cache.health(world.path()).state), [HealthState::Degraded; 2]);
}

#[test]
fn a_file_held_by_another_process_is_a_clear_error_and_nothing_is_lost() {
    let world = crashed_world();
    let holder = Connection::open(world.path()).unwrap();
    holder.execute_batch("PRAGMA locking_mode = EXCLUSIVE").unwrap();
    assert_eq!(rows(&holder).unwrap(), committed());

    let cache = world.builder().busy_timeout(Duration::from_millis(200)).build();
    let error = cache.read(world.path(), rows).unwrap_err();
    assert!(error.is_busy() && error.is_transient() && !error.outcome_unknown(), "{error}");
    assert_eq!(cache.health(world.path()).breaker_failures, 0);
    insert(&holder, 100).unwrap();
    drop(holder);
    assert_eq!(cache.read(world.path(), rows).unwrap().len(), 101);
}

#[test]
fn two_wal_index_failures_under_live_connections_degrade_the_third() {
    let world = World::new();
    let cache = world.cache();
    let fail = || cache.read(world.path(), |conn| Err::<(), _>(connection_failure(conn, 4874))).unwrap_err();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    fail();
    cache.write(world.path(), |tx| insert(tx, 2)).unwrap();
    fail();
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1, 2]);
    assert_eq!(cache.health(world.path()).state, HealthState::Healthy, "the write between has forgiven the first");
    fail();
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1, 2]);
    let health = cache.health(world.path());
    let reason = DegradedReason { code: 4874, operation: Operation::Read };
    assert_eq!((health.state, health.degraded_reason), (HealthState::Degraded, Some(reason)));
    world.os.advance(Duration::from_secs(5));
    cache.read(world.path(), rows).unwrap();
    assert_eq!(cache.health(world.path()).state, HealthState::Healthy);
}

#[test]
fn a_connection_that_may_not_write_is_not_kept_and_its_wal_index_is_suspected() {
    let world = World::new();
    let cache = world.cache();
    let fail = || cache.write(world.path(), |tx| Err::<(), _>(connection_failure(tx, 8))).unwrap_err();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    fail();
    cache.write(world.path(), |tx| insert(tx, 2)).unwrap();
    let health = cache.health(world.path());
    assert_eq!((health.state, health.opens, health.discards), (HealthState::Healthy, 2, 1));
    fail();
    fail();
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1, 2]);
    assert_eq!(cache.health(world.path()).state, HealthState::Degraded);
}

#[test]
fn an_init_that_may_not_write_is_run_in_exclusive_mode_at_last() {
    let world = World::new();
    let failures = AtomicU32::new(2);
    let cache = world
        .builder()
        .init(move |conn| {
            let fails = failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            if fails { Err(sqlite_failure(8)) } else { conn.execute_batch(SCHEMA) }
        })
        .build();
    for _ in 0..2 {
        assert_eq!(cache.read(world.path(), rows).unwrap_err().extended_code(), Some(8));
    }
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    assert_eq!(cache.health(world.path()).state, HealthState::Degraded);
}

#[test]
fn a_query_only_connection_proves_nothing_about_the_wal_index() {
    let world = World::new();
    let cache = world.cache();
    for _ in 0..4 {
        let forbidden = cache.with_connection(world.path(), |conn| {
            conn.execute_batch("PRAGMA query_only = ON")?;
            insert(conn, 1)
        });
        assert_eq!(forbidden.unwrap_err().extended_code(), Some(8));
    }
    cache.write(world.path(), |tx| insert(tx, 2)).unwrap();
    assert_eq!(cache.health(world.path()).state, HealthState::Healthy);
}

#[test]
fn where_others_share_the_file_a_suspected_wal_index_is_shared_again() {
    let world = World::new();
    let cache = world.cache();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    let other = Connection::open(world.path()).unwrap();
    assert_eq!(rows(&other).unwrap(), [1]);
    for _ in 0..2 {
        cache.read(world.path(), |conn| Err::<(), _>(connection_failure(conn, 4874))).unwrap_err();
    }
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1], "exclusive mode is not available, shared mode is");
    assert_eq!(cache.health(world.path()).state, HealthState::Healthy);
}

#[test]
fn a_log_that_cannot_be_opened_is_no_reason_to_degrade() {
    let world = crashed_world();
    heal_shm(&world);
    std::fs::rename(world.side_file("-wal"), world.dir.path().join("kept")).unwrap();
    std::os::unix::fs::symlink(world.dir.path().join("nowhere/wal"), world.side_file("-wal")).unwrap();
    let cache = world.cache();
    let error = cache.read(world.path(), rows).unwrap_err();
    assert_eq!((error.extended_code(), error.operation()), (Some(14), Operation::Configure));
    assert_eq!(cache.health(world.path()).state, HealthState::Unavailable);
    std::fs::rename(world.dir.path().join("kept"), world.side_file("-wal")).unwrap();
    assert_eq!(cache.read(world.path(), rows).unwrap(), committed());
}
