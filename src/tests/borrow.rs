//! What a closure may do to the connection it borrows, and how the next one gets it.

use super::*;
use crate::health::{HealthState, ProbeOutcome};
use crate::{CheckpointMode, Class, Operation};
use rusqlite::ErrorCode;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_panic_goes_on_and_leaves_the_store_clean() {
    let world = World::new();
    let cache = world.cache();
    cache.read(world.path(), rows).unwrap();
    world.events();
    let panicking = || -> Result<(), crate::Error> {
        cache.with_connection(world.path(), |conn| {
            conn.execute_batch("BEGIN; INSERT INTO t VALUES (1)")?;
            panic!("in the closure")
        })
    };
    let payload = catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"in the closure"));
    assert_eq!(world.events(), [EventKind::DanglingTransaction]);

    assert_eq!(cache.read(world.path(), rows).unwrap(), [0; 0]);
    let panicking = || cache.write(world.path(), |tx| insert(tx, 2).map(|()| panic!("again")));
    assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    assert_eq!(cache.read(world.path(), rows).unwrap(), [0; 0]);
    assert_eq!(cache.health(world.path()).opens, 1);
}

#[test]
fn writes_in_a_transaction_left_open_are_not_acknowledged() {
    let world = World::new();
    let cache = world.cache();
    let leave_open = |sql: &str| cache.with_connection(world.path(), |conn| conn.execute_batch(sql));

    let error = leave_open("BEGIN; INSERT INTO t VALUES (1)").unwrap_err();
    assert!(error.to_string().contains("rolled back"), "{error}");
    assert!(!error.outcome_unknown() && !error.is_transient());
    leave_open("BEGIN; SELECT * FROM t").unwrap();
    assert_eq!(cache.read(world.path(), rows).unwrap(), [0; 0]);
    let dangling = world.events().into_iter().filter(|kind| *kind == EventKind::DanglingTransaction).count();
    assert_eq!((dangling, cache.health(world.path()).opens), (2, 1));
}

#[test]
fn write_rolls_back_what_fails_and_knows_that_it_did() {
    let world = World::new();
    let cache = world.cache();
    let error = cache.write(world.path(), |tx| insert(tx, 1).and_then(|()| insert(tx, 1))).unwrap_err();
    assert_eq!((error.operation(), error.class()), (Operation::Write, Class::GiveUp));
    assert_eq!(error.sqlite_error().unwrap().sqlite_error_code(), Some(ErrorCode::ConstraintViolation));
    assert!(!error.outcome_unknown());
    let error = cache.write(world.path(), |tx| insert(tx, 1).and(Err::<(), _>(sqlite_failure(778)))).unwrap_err();
    assert!(!error.outcome_unknown(), "it was not the COMMIT");
    assert_eq!(cache.read(world.path(), rows).unwrap(), [0; 0]);
}

#[test]
fn a_refused_commit_is_no_unknown_outcome() {
    let world = World::new();
    let cache = world.cache();
    let error = cache
        .write(world.path(), |tx| {
            tx.execute_batch(
                "CREATE TABLE child (p REFERENCES t (x) DEFERRABLE INITIALLY DEFERRED); INSERT INTO child VALUES (7)",
            )
        })
        .unwrap_err();
    assert_eq!((error.operation(), error.extended_code()), (Operation::Commit, Some(787)));
    assert!(!error.outcome_unknown());
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
}

#[test]
fn a_transaction_that_ended_early_is_not_acknowledged() {
    let world = World::new();
    let cache = world.cache();
    let error = cache.write(world.path(), |tx| insert(tx, 1).and_then(|()| tx.execute_batch("ROLLBACK"))).unwrap_err();
    assert!(error.outcome_unknown());
    assert!(error.to_string().contains("over before COMMIT"), "{error}");
    assert_eq!(cache.read(world.path(), rows).unwrap(), [0; 0]);
}

#[test]
fn with_connection_is_conservative_about_commits_it_cannot_see() {
    let world = World::new();
    let cache = world.cache();
    #[track_caller]
    fn check(cache: &Cache, world: &World, sql: &str, code: i32, expected: bool) {
        let error = cache
            .with_connection(world.path(), |conn| conn.execute_batch(sql).and(Err::<(), _>(sqlite_failure(code))))
            .unwrap_err();
        assert_eq!(error.outcome_unknown(), expected);
        assert_eq!(error.is_transient(), !expected && error.class() != Class::GiveUp);
    }
    check(&cache, &world, "", 778, true);
    check(&cache, &world, "", 13, true);
    check(&cache, &world, "BEGIN; INSERT INTO t VALUES (1)", 778, false);
    check(&cache, &world, "", 5, false);
    check(&cache, &world, "", 2067, false);
}

#[test]
fn busy_is_no_outage() {
    let world = World::new();
    let cache = world.cache();
    cache.read(world.path(), rows).unwrap();
    let other = Connection::open(world.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..5 {
        let error = cache.write(world.path(), |tx| insert(tx, 1)).unwrap_err();
        assert_eq!((error.operation(), error.extended_code()), (Operation::Begin, Some(5)));
        assert!(error.is_busy() && error.is_transient() && !error.is_breaker_open());
    }
    other.execute_batch("COMMIT").unwrap();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    let health = cache.health(world.path());
    assert_eq!((health.state, health.opens, health.breaker_failures), (HealthState::Healthy, 1, 0));
}

#[test]
fn a_connection_whose_files_fail_is_replaced() {
    let world = World::new();
    let cache = world.cache();
    cache.read(world.path(), rows).unwrap();
    world.events();
    for (code, opens) in [(266, 2), (11, 3), (26, 4), (1, 4), (5, 4)] {
        cache.read(world.path(), |_| Err::<(), _>(sqlite_failure(code))).unwrap_err();
        cache.read(world.path(), rows).unwrap();
        assert_eq!(cache.health(world.path()).opens, opens, "after {code}");
    }
    assert_eq!(cache.health(world.path()).discards, 3);
    assert_eq!(world.events()[..2], [EventKind::ConnectionDiscarded { code: Some(266) }, EventKind::Opened]);
}

#[test]
fn health_opens_nothing_and_does_not_wait() {
    let world = World::new();
    let cache = world.cache();
    assert_eq!(cache.health(world.path()).state, HealthState::Unopened);
    assert!(!world.path().exists());
    cache
        .with_connection(world.path(), |_| {
            assert_eq!(cache.health(world.path()).probe, ProbeOutcome::InUse);
            Ok(())
        })
        .unwrap();
    assert_eq!(cache.health(world.path()).probe, ProbeOutcome::Passed);
    cache.close(world.path()).unwrap();
    let health = cache.health(world.path());
    assert_eq!((health.state, health.probe, health.opens), (HealthState::Unopened, ProbeOutcome::NotOpen, 1));
}

#[test]
fn closing_lets_sqlite_checkpoint_and_the_next_call_reopens() {
    let world = World::new();
    let cache = world.cache();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    assert!(world.side_file("-wal").exists());
    cache.close_all().unwrap();
    assert!(!world.side_file("-wal").exists());
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1]);
    assert_eq!(world.inits.load(SeqCst), 1);
}

#[test]
fn a_sink_may_panic_and_may_call_back() {
    let world = World::new();
    let cache = Arc::new_cyclic(|weak: &std::sync::Weak<Cache>| {
        let (weak, path) = (weak.clone(), world.path());
        world
            .builder()
            .events(Arc::new(move |_| {
                assert_eq!(weak.upgrade().unwrap().read(&path, rows).unwrap(), [0; 0]);
                panic!("in the sink")
            }))
            .build()
    });
    cache.read(world.path(), rows).unwrap();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
}

#[test]
fn a_closed_store_says_so_at_once_even_while_its_last_borrower_is_at_work() {
    let world = World::new();
    let store = world.builder().acquire_timeout(Duration::from_secs(600)).open(world.path()).unwrap();
    store
        .with_connection(|_| {
            let refused = std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    let closed = store.close(Duration::ZERO).unwrap_err();
                    assert_eq!(closed.borrowers().len(), 1, "{closed}");
                    store.write(|tx| insert(tx, 1)).unwrap_err()
                });
                other.join().unwrap()
            });
            assert!(refused.is_closed(), "{refused}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_checkpoint_that_others_keep_from_completing_is_no_error_and_says_so() {
    let world = World::new();
    let store = world.builder().open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    let mut other = Connection::open(world.path()).unwrap();
    let snapshot = other.transaction().unwrap();
    assert_eq!(rows(&snapshot).unwrap(), [1]);
    store.write(|tx| insert(tx, 2)).unwrap();
    let kept = store.checkpoint(CheckpointMode::Truncate).unwrap();
    assert!(!kept.is_complete() && kept.frames > kept.frames_checkpointed, "{kept:?}");
    drop(snapshot);
    assert!(store.checkpoint(CheckpointMode::Truncate).unwrap().is_complete());
}

#[test]
fn a_closure_that_commits_by_itself_and_fails_has_an_unknown_outcome() {
    let world = World::new();
    let cache = world.cache();
    let commit = |tx: &rusqlite::Transaction<'_>| insert(tx, 1).and_then(|()| tx.execute_batch("COMMIT"));
    let error = cache.write(world.path(), |tx| commit(tx).and(Err::<(), _>(sqlite_failure(1)))).unwrap_err();
    assert!(error.outcome_unknown(), "{error}");
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1]);
}

#[test]
fn a_probe_that_got_no_connection_releases_its_permit() {
    let world = World::new();
    let policy = crate::BreakerPolicy { failures_max: 1, half_open_permits: 2, ..crate::BreakerPolicy::default() };
    let store = world.builder().breaker(policy).acquire_timeout(Duration::ZERO).open(world.path()).unwrap();
    store.read(|_| Err::<(), _>(sqlite_failure(266))).unwrap_err();
    world.unreachable(|| store.read(rows)).unwrap_err();
    assert!(store.read(rows).unwrap_err().is_breaker_open());
    world.os.advance(Duration::from_secs(30));
    store
        .with_connection(|_| {
            // One of the two permits is used here. The other one is taken in vain, again and again.
            std::thread::scope(|scope| {
                for _ in 0..5 {
                    let error = scope.spawn(|| store.read(rows).unwrap_err()).join().unwrap();
                    assert!(!error.is_breaker_open() && error.borrowers().len() == 1, "{error}");
                }
            });
            Ok(())
        })
        .unwrap();
    assert_eq!(store.read(rows).unwrap(), [0; 0]);
}
