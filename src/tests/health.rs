//! What is known about a database, and who is told of what happens to it.

use super::*;
use crate::health::{HealthState, ProbeOutcome};
use crate::{BorrowKind, CheckpointMode, JournalMode};
use rusqlite::Transaction;
use std::sync::mpsc::TryRecvError;

#[test]
fn the_log_is_measured_in_frames_and_bytes() {
    let world = World::new();
    let store = world.store();
    store.checkpoint(CheckpointMode::Truncate).unwrap();
    let wal = store.health().wal.unwrap();
    assert_eq!((wal.frames, wal.frames_checkpointed, wal.bytes), (0, 0, 0));
    for x in 0..3 {
        store.write(|tx| insert(tx, x)).unwrap();
    }
    let wal = store.health().wal.unwrap();
    assert_eq!((wal.frames, wal.frames_checkpointed), (3, 0));
    assert_eq!(wal.bytes, 32 + 3 * (24 + 4096), "a header, and three frames of a page each");
    store.checkpoint(CheckpointMode::Passive).unwrap();
    let wal = store.health().wal.unwrap();
    assert_eq!((wal.frames, wal.frames_checkpointed), (3, 3));
    store.checkpoint(CheckpointMode::Truncate).unwrap();
    assert_eq!(store.health().wal.unwrap().bytes, 0);
}

#[test]
fn the_last_checkpoint_is_remembered_with_its_age() {
    let world = World::new();
    let store = world.store();
    assert_eq!(store.health().last_checkpoint, None);
    store.write(|tx| insert(tx, 1)).unwrap();
    let checkpoint = store.checkpoint(CheckpointMode::Passive).unwrap();
    world.os.advance(Duration::from_secs(5));
    let last = store.health().last_checkpoint.unwrap();
    assert_eq!((last.age, last.checkpoint), (Duration::from_secs(5), checkpoint));
    assert!(checkpoint.frames > 0 && checkpoint.is_complete());
    let closed = store.close(Duration::ZERO).unwrap().unwrap();
    let last = store.health().last_checkpoint.unwrap();
    assert_eq!((last.age, last.checkpoint), (Duration::ZERO, closed));
}

#[test]
fn the_oldest_snapshot_is_the_oldest_reader() {
    let world = World::new();
    let store = world.builder().readers(2).open(world.path()).unwrap();
    assert_eq!(store.health().oldest_snapshot(), None);
    let look = |line: u32| {
        world.os.advance(Duration::from_secs(3));
        let health = store.health();
        let oldest = health.oldest_snapshot().unwrap();
        assert_eq!((oldest.kind, oldest.location.line()), (BorrowKind::Reader, line));
        assert_eq!(oldest.age, Duration::from_secs(5));
        assert_eq!((health.borrowers.len(), health.probe, health.wal), (3, ProbeOutcome::InUse, None));
    };
    let read = || {
        let line = line!() + 1;
        let outer = store.read(|_| {
            world.os.advance(Duration::from_secs(2));
            let inner = store.read(|_| {
                look(line);
                Ok(())
            });
            inner.unwrap();
            Ok(())
        });
        outer.unwrap();
    };
    let write = store.write(|_| {
        read();
        Ok(())
    });
    write.unwrap();
    assert_eq!(store.health().borrowers, []);
}

#[test]
fn what_does_not_change_is_reported_as_well() {
    let world = World::new();
    let health = world.store().health();
    assert_eq!((health.state, health.path), (HealthState::Healthy, world.path().canonicalize().unwrap()));
    assert_eq!((health.journal_mode.as_deref(), health.journal_mode_configured), (Some("wal"), JournalMode::Wal));
    assert_eq!(health.sqlite_version, rusqlite::version());
    assert_eq!(
        health.file_system,
        SystemOs::new().file_system(world.dir.path()).map(|found| {
            // What is free changes from one moment to the next.
            crate::os::FileSystem { free_bytes: health.file_system.as_ref().unwrap().free_bytes, ..found }
        })
    );
    assert!(health.file_system.unwrap().free_bytes > 0);
    assert_eq!((health.opens, health.inits, health.discards, health.events_missed), (1, 1, 0, 0));
    assert_eq!((health.last_error, health.is_disk_full), (None, false));
}

#[test]
fn calls_are_counted_by_what_came_of_them() {
    let world = World::new();
    let store = world.builder().acquire_timeout(Duration::ZERO).open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    assert_eq!(store.health().calls, crate::health::CallCounts::default());
    store.write(|tx| insert(tx, 1)).unwrap_err();
    assert_eq!((store.health().calls.failed, store.health().calls.unknown), (1, 0));
    store.with_connection(|_| Err::<(), _>(sqlite_failure(778))).unwrap_err();
    assert_eq!((store.health().calls.failed, store.health().calls.unknown), (2, 1));
    let from_another_thread = |_: &Transaction<'_>| {
        std::thread::scope(|scope| drop(scope.spawn(|| store.read(rows).unwrap_err())));
        Ok(())
    };
    store.write(from_another_thread).unwrap();
    assert_eq!(store.health().calls.timed_out, 1);
    store.with_connection(|conn| conn.execute_batch("BEGIN")).unwrap();
    assert_eq!(store.health().calls.dangling, 1);
    store.set_breaker_mode(crate::BreakerMode::ForcedOpen);
    store.read(rows).unwrap_err();
    assert_eq!((store.health().calls.refused, store.health().state), (1, HealthState::Unavailable));
}

#[test]
fn the_last_error_stays_after_recovery() {
    let world = World::new();
    let store = world.store();
    store.read(|_| Err::<(), _>(sqlite_failure(266))).unwrap_err();
    world.unreachable(|| store.read(rows)).unwrap_err();
    assert_eq!(store.health().state, HealthState::Unavailable);
    store.read(rows).unwrap();
    let health = store.health();
    assert_eq!((health.state, health.opens, health.discards), (HealthState::Healthy, 2, 1));
    assert!(health.last_error.unwrap().contains("CANTOPEN (14)"));
}

#[test]
fn subscribers_get_all_events_from_then_on() {
    let world = World::new();
    let store = world.store();
    let (first, second) = (store.subscribe(8), store.subscribe(8));
    store.with_connection(|conn| conn.execute_batch("BEGIN")).unwrap();
    for receiver in [&first, &second] {
        let event = receiver.try_recv().unwrap();
        assert_eq!((&*event.path, event.kind), (store.path(), EventKind::DanglingTransaction));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }
    drop(store);
    assert_eq!(first.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn a_subscriber_without_room_misses_events_and_a_dropped_one_is_forgotten() {
    let world = World::new();
    let store = world.store();
    let dangle = || store.with_connection(|conn| conn.execute_batch("BEGIN")).unwrap();
    let receiver = store.subscribe(2);
    (0..5).for_each(|_| dangle());
    assert_eq!(store.health().events_missed, 3);
    assert_eq!(receiver.try_iter().count(), 2);
    dangle();
    assert_eq!((receiver.try_iter().count(), store.health().events_missed), (1, 3), "there is room again");
    drop(receiver);
    (0..5).for_each(|_| dangle());
    assert_eq!(store.health().events_missed, 3, "no subscriber misses an event");
}
