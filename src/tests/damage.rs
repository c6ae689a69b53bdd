//! A damaged database under a store: nothing by default, and what the caller's policy says otherwise.

use super::*;
use crate::quarantine::{OnCorruption, QuarantinePolicy};
use crate::{Error, Store};
use std::sync::Mutex;

/// A database of many pages, with rows in the log alone, as a crash leaves it behind; then a page breaks.
fn damaged_world() -> World {
    let world = World::new();
    let origin = world.dir.path().join("origin.db");
    let conn = Connection::open(&origin).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x INTEGER PRIMARY KEY);
         CREATE TABLE wide (x INTEGER PRIMARY KEY, pad TEXT);
         WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 500)
         INSERT INTO wide SELECT x, hex(zeroblob(200)) FROM n;
         PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (1), (2), (3)",
    )
    .unwrap();
    let mut bytes = std::fs::read(&origin).unwrap();
    let start = bytes.len() - 4096;
    bytes[start..start + 16].fill(0xff);
    std::fs::write(world.path(), bytes).unwrap();
    std::fs::copy(world.dir.path().join("origin.db-wal"), world.side_file("-wal")).unwrap();
    world
}

fn policy(on_corruption: OnCorruption) -> QuarantinePolicy {
    QuarantinePolicy { on_corruption, ..QuarantinePolicy::default() }
}

/// Reads the broken page.
fn trip(store: &Store) -> Error {
    store.read(|conn| conn.query_row("SELECT sum(length(pad)) FROM wide", [], |row| row.get::<_, i64>(0))).unwrap_err()
}

fn quarantined(events: &[EventKind]) -> usize {
    events.iter().filter(|kind| matches!(kind, EventKind::Quarantined { is_duplicate: false, .. })).count()
}

#[test]
fn by_default_a_damaged_database_stays_and_says_so_every_time() {
    let world = damaged_world();
    let store = world.builder().readers(2).open(world.path()).unwrap();
    for _ in 0..5 {
        let error = trip(&store);
        assert!(error.is_corruption() && !error.is_breaker_open(), "{error}");
        assert!(error.to_string().contains("quick_check"), "{error}");
        assert_eq!(error.quarantined_to(), None);
        assert_eq!(store.read(rows).unwrap(), [1, 2, 3], "what can be read is read");
    }
    assert_eq!(quarantined(&world.events()), 0);
    assert!(!world.side_file(".quarantine").exists());
}

#[test]
fn rebuild_moves_everything_away_and_begins_anew() {
    let world = damaged_world();
    let store = world.builder().readers(2).quarantine(policy(OnCorruption::Rebuild)).open(world.path()).unwrap();
    assert_eq!(store.read(rows).unwrap(), [1, 2, 3]);
    let error = loop {
        // A reader meets it first; the writer looks into it.
        let error = trip(&store);
        assert!(error.is_corruption(), "{error}");
        if error.quarantined_to().is_some() {
            break error;
        }
    };
    let bundle = error.quarantined_to().unwrap();
    assert!(error.to_string().contains("the next call begins with a new database"), "{error}");
    assert_eq!(quarantined(&world.events()), 1);

    assert_eq!(store.read(rows).unwrap(), [0; 0], "initialised and empty");
    store.write(|tx| insert(tx, 9)).unwrap();
    assert_eq!(world.inits.load(SeqCst), 2, "once for each file");
    let old = Connection::open(bundle.join("x.db")).unwrap();
    assert_eq!(rows(&old).unwrap(), [1, 2, 3], "the log has come along");
    assert_eq!(store.read(rows).unwrap(), [9]);
}

#[test]
fn salvage_fills_the_new_database_before_any_call_uses_it() {
    let world = damaged_world();
    let salvage = |bundle: &crate::quarantine::Bundle, conn: &mut Connection| {
        conn.execute("ATTACH ?1 AS old", [bundle.database.to_string_lossy()])?;
        conn.execute("INSERT INTO main.t SELECT x FROM old.t", []).map(drop)
    };
    let policy = policy(OnCorruption::Salvage(Arc::new(salvage)));
    let store = world.builder().quarantine(policy).open(world.path()).unwrap();
    assert!(trip(&store).quarantined_to().is_some());
    assert_eq!(store.read(rows).unwrap(), [1, 2, 3]);
    let events = world.events();
    assert!(events.iter().any(|kind| matches!(kind, EventKind::Salvaged { .. })), "{events:?}");
    store.write(|tx| insert(tx, 4)).unwrap();
    drop(store);
    assert_eq!(rows(&Connection::open(world.path()).unwrap()).unwrap(), [1, 2, 3, 4]);
}

#[test]
fn a_salvage_that_fails_is_an_error_and_is_tried_again() {
    let world = damaged_world();
    let outcomes = Mutex::new(vec![Ok(()), Err(sqlite_failure(1))]);
    let salvage = move |_: &crate::quarantine::Bundle, conn: &mut Connection| {
        insert(conn, 7)?;
        outcomes.lock().unwrap().pop().unwrap()
    };
    let policy = policy(OnCorruption::Salvage(Arc::new(salvage)));
    let store = world.builder().quarantine(policy).open(world.path()).unwrap();
    assert!(trip(&store).quarantined_to().is_some());
    let error = store.read(rows).unwrap_err();
    assert!(error.to_string().contains("salvage from") && error.to_string().contains("rolled back"), "{error}");
    assert_eq!(store.read(rows).unwrap(), [7]);
}

#[test]
fn a_false_alarm_moves_nothing() {
    let world = World::new();
    let store = world.builder().quarantine(policy(OnCorruption::Rebuild)).open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    let error = store.read(|_| Err::<(), _>(sqlite_failure(11))).unwrap_err();
    assert!(error.is_corruption() && error.quarantined_to().is_none(), "{error}");
    let events = world.events();
    assert!(events.contains(&EventKind::FalseAlarm { code: Some(11) }), "{events:?}");
    assert_eq!(quarantined(&events), 0);
    assert_eq!(store.read(rows).unwrap(), [1]);
}

#[test]
fn a_file_that_is_no_database_is_moved_away_if_the_caller_wants_that() {
    let world = World::new();
    std::fs::write(world.path(), [b'x'; 8192]).unwrap();
    let open = || world.builder().quarantine(policy(OnCorruption::Rebuild)).open(world.path());
    let error = open().unwrap_err();
    let bundle = error.quarantined_to().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(std::fs::read(bundle.join("x.db")).unwrap(), [b'x'; 8192]);
    assert_eq!(open().unwrap().read(rows).unwrap(), [0; 0]);
}

#[test]
fn a_damaged_database_that_another_process_uses_is_not_moved() {
    let world = damaged_world();
    let store = world.builder().quarantine(policy(OnCorruption::Rebuild)).open(world.path()).unwrap();
    let other = Connection::open(world.path()).unwrap();
    assert_eq!(rows(&other).unwrap(), [1, 2, 3]);
    let error = trip(&store);
    assert!(error.is_corruption() && error.quarantined_to().is_none(), "{error}");
    assert!(error.to_string().contains("has it open") || error.to_string().contains("locked"), "{error}");
    assert_eq!(rows(&other).unwrap(), [1, 2, 3]);
    drop(other);
    assert!(trip(&store).quarantined_to().is_some(), "it is tried again");
}
