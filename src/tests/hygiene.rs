//! What one borrower leaves behind on a connection, and that the next one does not find it.

use super::*;
use rusqlite::Transaction;

/// A value that the layer sets, as the next borrower finds it.
#[track_caller]
fn check_reset(change: impl Fn(&mut Connection) -> rusqlite::Result<()>, name: &str, value: &str, opens: u64) {
    let world = World::new();
    let store = world.builder().busy_timeout(Duration::from_millis(1234)).open(world.path()).unwrap();
    let find = |conn: &mut Connection| pragma(conn, name);
    assert_eq!(store.with_connection(find).unwrap(), value, "to begin with");
    // Twice: what the first time was noticed while it was prepared is perhaps prepared no more.
    for round in 1..=2 {
        store.with_connection(|conn| change(conn)).unwrap();
        assert_eq!(store.with_connection(find).unwrap(), value, "after round {round}");
    }
    let health = store.health();
    assert_eq!((health.opens, health.discards), (1 + 2 * opens, 2 * opens));
    let changed = world.events().iter().filter(|kind| **kind == EventKind::SettingsChanged).count();
    assert_eq!(changed as u64, 2 * opens);
    store.write(|tx| insert(tx, 1)).unwrap();
    world.check_rows(&[1]);
}

fn sql(text: &'static str) -> impl Fn(&mut Connection) -> rusqlite::Result<()> {
    move |conn| conn.execute_batch(text)
}

#[test]
fn what_every_connection_is_set_up_with_is_set_again() {
    check_reset(sql("PRAGMA foreign_keys = OFF"), "foreign_keys", "1", 0);
    check_reset(sql("PRAGMA synchronous = OFF"), "synchronous", "2", 0);
    check_reset(sql("PRAGMA query_only = ON"), "query_only", "0", 0);
    check_reset(sql("PRAGMA busy_timeout = 9"), "busy_timeout", "1234", 0);
    check_reset(sql("pragma MAIN.Synchronous(0)"), "synchronous", "2", 0);
}

#[test]
fn a_kept_statement_does_not_change_a_setting_behind_the_layers_back() {
    let cached = |conn: &mut Connection| conn.prepare_cached("PRAGMA foreign_keys = OFF")?.execute([]).map(drop);
    check_reset(cached, "foreign_keys", "1", 0);
    let prepared_only = |conn: &mut Connection| conn.prepare_cached("PRAGMA foreign_keys = OFF").map(drop);
    check_reset(prepared_only, "foreign_keys", "1", 0);
}

#[test]
fn a_busy_timeout_set_through_the_interface_is_set_again() {
    check_reset(|conn| conn.busy_timeout(Duration::from_secs(99)), "busy_timeout", "1234", 0);
    check_reset(|conn| conn.busy_handler(Some(|_| true)), "busy_timeout", "1234", 0);
}

#[test]
fn what_cannot_be_trusted_costs_the_connection() {
    check_reset(sql("PRAGMA locking_mode = EXCLUSIVE; SELECT * FROM t"), "locking_mode", "normal", 1);
    check_reset(sql("PRAGMA read_uncommitted = ON"), "read_uncommitted", "0", 1);
    check_reset(sql("PRAGMA recursive_triggers = ON"), "recursive_triggers", "0", 1);
    check_reset(sql("PRAGMA wal_autocheckpoint = 7"), "wal_autocheckpoint", "1000", 1);
    check_reset(sql("PRAGMA ignore_check_constraints = ON"), "ignore_check_constraints", "0", 1);
}

#[test]
fn an_attached_database_is_not_inherited() {
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    let count =
        |conn: &Connection| conn.query_row("SELECT count(*) FROM pragma_database_list", [], |row| row.get::<_, i64>(0));
    store.with_connection(|conn| conn.execute_batch("ATTACH ':memory:' AS other").and(count(conn))).unwrap();
    assert_eq!(store.with_connection(|conn| count(conn)).unwrap(), 1);
    assert_eq!(store.health().opens, 2);
    store.read(|conn| conn.execute_batch("COMMIT; ATTACH ':memory:' AS other; BEGIN")).unwrap();
    assert_eq!(store.read(count).unwrap(), 1);
    assert_eq!(store.health().discards, 2);
}

#[test]
fn a_connection_that_was_swapped_for_another_is_not_reused() {
    let world = World::new();
    let store = world.store();
    let mut kept = None;
    store
        .with_connection(|conn| {
            kept = Some(std::mem::replace(conn, Connection::open_in_memory()?));
            conn.execute_batch(SCHEMA)?;
            insert(conn, 666)
        })
        .unwrap();
    assert_eq!(store.read(rows).unwrap(), [0; 0], "the rows went to the borrower's own database");
    assert_eq!(world.events().last(), Some(&EventKind::Opened));
    store.write(|tx| insert(tx, 1)).unwrap();
    assert_eq!(rows(&kept.unwrap()).unwrap(), [1]);
    world.check_rows(&[1]);
}

#[test]
fn readers_are_kept_clean_too() {
    let world = World::new();
    let store = world.builder().readers(1).busy_timeout(Duration::from_millis(1234)).open(world.path()).unwrap();
    let check = |change: &str, name: &str, value: &str, opens: u64| {
        store.read(|conn| conn.execute_batch(change)).unwrap();
        assert_eq!(store.read(|conn| pragma(conn, name)).unwrap(), value, "after {change}");
        assert_eq!(store.health().opens, opens, "after {change}");
    };
    check("PRAGMA query_only = OFF", "query_only", "1", 2);
    check("PRAGMA busy_timeout = 9", "busy_timeout", "1234", 2);
    check("PRAGMA read_uncommitted = ON", "read_uncommitted", "0", 3);
    store.read(|conn| conn.busy_timeout(Duration::from_secs(99))).unwrap();
    check("", "busy_timeout", "1234", 3);
    store.read(|conn| conn.execute_batch("COMMIT; BEGIN; SELECT * FROM t")).unwrap();
    assert_eq!(store.read(rows).unwrap(), [0; 0], "whatever the closure did to its transaction");
    let error = store.read(|conn| conn.execute_batch("COMMIT; BEGIN; SELECT * FROM t").and(insert(conn, 1)));
    assert_eq!(error.unwrap_err().extended_code(), Some(8), "a reader does not write");
}

#[test]
fn a_read_that_writes_is_rolled_back_and_refused() {
    let world = World::new();
    let store = world.store();
    let error = store.read(|conn| insert(conn, 1)).unwrap_err();
    assert!(
        error.to_string().contains("the closure of read has written, and it was rolled back; use write"),
        "{error}"
    );
    assert!(!error.outcome_unknown() && !error.is_transient());
    assert_eq!(store.read(rows).unwrap(), [0; 0]);
}

#[test]
fn a_dangling_transaction_is_rolled_back_counted_and_reported() {
    let world = World::new();
    let store = world.store();
    let error = store.with_connection(|conn| conn.execute_batch("BEGIN; INSERT INTO t VALUES (1)")).unwrap_err();
    assert!(error.to_string().contains("commit inside the closure"), "{error}");
    let forgotten = |conn: &mut Connection| {
        std::mem::forget(Transaction::new(conn, rusqlite::TransactionBehavior::Immediate)?);
        Ok(())
    };
    store.with_connection(forgotten).unwrap_err();
    store.with_connection(|conn| conn.execute_batch("SAVEPOINT s; INSERT INTO t VALUES (2)")).unwrap_err();
    assert_eq!((store.health().calls.dangling, store.health().opens), (3, 1));
    assert_eq!(world.events().iter().filter(|kind| **kind == EventKind::DanglingTransaction).count(), 3);
    store.write(|tx| insert(tx, 3)).unwrap();
    world.check_rows(&[3]);
}

#[test]
fn an_overdue_borrow_is_reported_once_with_its_location() {
    let world = World::new();
    let store = world.builder().readers(1).overdue_after(Duration::from_secs(60)).open(world.path()).unwrap();
    world.events();
    let overdue = |kind: crate::BorrowKind, line: u32| {
        let told = world.events().into_iter().map(|kind| match kind {
            EventKind::BorrowOverdue { borrower } => (borrower.kind, borrower.location.line(), borrower.age.as_secs()),
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [(kind, line, 60)]);
    };
    let lend = |kind, line| {
        world.os.advance(Duration::from_secs(59));
        store.maintain();
        assert_eq!(world.events(), [], "not yet");
        world.os.advance(Duration::from_secs(1));
        store.maintain();
        overdue(kind, line);
        world.os.advance(Duration::from_secs(100));
        store.maintain();
        assert_eq!(world.events(), [], "once");
        Ok(())
    };
    let line = line!() + 1;
    store.write(|_| lend(crate::BorrowKind::Writer, line)).unwrap();
    let line = line!() + 1;
    store.read(|_| lend(crate::BorrowKind::Reader, line)).unwrap();
    let line = line!() + 1;
    store.write(|_| lend(crate::BorrowKind::Writer, line)).unwrap();
    assert_eq!(store.health().borrowers, []);
}

#[test]
fn a_timed_out_caller_reports_an_overdue_borrow() {
    let world = World::new();
    let store = world.builder().acquire_timeout(Duration::ZERO).open(world.path()).unwrap();
    world.events();
    store
        .write(|_| {
            world.os.advance(Duration::from_secs(61));
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| store.write(|tx| insert(tx, 1)).unwrap_err()).join().unwrap();
                }
            });
            Ok(())
        })
        .unwrap();
    assert!(matches!(world.events()[..], [EventKind::BorrowOverdue { .. }]));
}

#[test]
fn a_connection_lives_for_its_lifetime_within_a_tenth() {
    let (world, lifetime) = (World::new(), Duration::from_secs(1000));
    let store = world.builder().max_lifetime(lifetime).open(world.path()).unwrap();
    let mut times = Vec::new();
    for opens in 1..=5 {
        let start = world.os.now();
        while store.health().opens == opens {
            world.os.advance(Duration::from_secs(1));
            store.write(|_| Ok(())).unwrap();
        }
        times.push((world.os.now() - start).as_secs());
    }
    assert!(times.iter().all(|secs| (900..=1101).contains(secs)), "{times:?}");
    times.sort_unstable();
    times.dedup();
    assert!(times.len() >= 3, "connections of one age do not all end at once: {times:?}");
    assert_eq!(world.inits.load(SeqCst), 1);
}

#[test]
fn an_idle_reader_is_closed_and_the_writer_is_not() {
    let (world, idle) = (World::new(), Duration::from_secs(100));
    let store = world.builder().readers(1).max_idle(idle).open(world.path()).unwrap();
    store.read(rows).unwrap();
    for _ in 0..5 {
        world.os.advance(idle * 8 / 10);
        store.read(rows).unwrap();
        store.maintain();
    }
    assert_eq!((store.health().readers_open, store.health().opens), (1, 2), "it was used all the time");
    world.os.advance(idle * 12 / 10);
    store.maintain();
    assert_eq!(store.health().readers_open, 0);
    assert_eq!(store.read(rows).unwrap(), [0; 0]);
    assert_eq!((store.health().readers_open, store.health().opens), (1, 3));
    world.os.advance(idle * 12 / 10);
    store.read(rows).unwrap();
    assert_eq!(store.health().opens, 4, "without maintenance, when it is next borrowed");
}

#[test]
fn a_temporary_table_does_not_swallow_the_next_borrowers_rows() {
    let world = World::new();
    let store = world.store();
    for temporary in [
        "CREATE TEMP TABLE t (x)",
        "CREATE TEMP TRIGGER swallow BEFORE INSERT ON main.t BEGIN SELECT RAISE(IGNORE); END",
        "CREATE TEMP VIEW t AS SELECT 1 AS x",
    ] {
        store.with_connection(|conn| conn.execute_batch(temporary)).unwrap();
        assert!(world.events().contains(&EventKind::SettingsChanged), "{temporary}");
        store.write(|tx| insert(tx, 1)).unwrap();
        world.check_rows(&[1]);
        store.write(|tx| tx.execute("DELETE FROM t", [])).unwrap();
    }
}
