//! Failures that are not of this database: other files, temporary files, extensions, other connections. None of them
//! keeps a healthy database from serving.

use super::*;
use crate::health::HealthState;
use crate::{BreakerState, Error, Operation};
use rusqlite::functions::FunctionFlags;

/// Lets the closure fail more often than the breaker allows, on the writer and on readers, and checks that the database
/// goes on.
#[track_caller]
fn check_goes_on(store: &Store, mut fail: impl FnMut() -> Result<(), Error>) {
    for round in 0..7 {
        let error = fail().expect_err("the closure fails");
        assert!(!error.is_breaker_open(), "round {round}: {error}");
        assert!(!error.operation().precedes_closure(), "round {round}: {error}");
    }
    let health = store.health();
    assert_eq!((health.breaker, health.breaker_failures), (BreakerState::Closed, 0));
    assert_eq!((health.state, health.last_error, health.degraded_reason), (HealthState::Healthy, None, None));
    store.write(|tx| tx.execute("DELETE FROM t", []).map(drop).and(insert(tx, 1))).unwrap();
    assert_eq!(store.read(rows).unwrap(), [1]);
}

#[test]
fn a_missing_file_that_is_attached_opens_no_circuit() {
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    let missing = "ATTACH '/nowhere/other.db' AS other; SELECT * FROM other.sqlite_schema";
    check_goes_on(&store, || store.with_connection(|conn| conn.execute_batch(missing)));
    check_goes_on(&store, || store.write(|tx| tx.execute_batch(missing)));
    check_goes_on(&store, || store.read(|conn| conn.execute_batch(missing)));
}

#[test]
fn an_attached_file_that_is_no_database_opens_no_circuit() {
    let world = World::new();
    let store = world.store();
    let other = world.dir.path().join("other.db");
    std::fs::write(&other, b"no database at all".repeat(500)).unwrap();
    let attach = format!("ATTACH '{}' AS other; SELECT * FROM other.sqlite_schema", other.display());
    check_goes_on(&store, || store.with_connection(|conn| conn.execute_batch(&attach)));
    let vacuum = "VACUUM INTO '/nowhere/copy.db'";
    check_goes_on(&store, || store.with_connection(|conn| conn.execute_batch(vacuum)));
}

#[test]
fn a_closures_own_files_and_connections_open_no_circuit() {
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let open = || Connection::open_with_flags("/nowhere/other.db", flags).map(drop);
    check_goes_on(&store, || store.write(|_| open()));
    check_goes_on(&store, || store.read(|_| open()));
    for code in [10, 266, 778, 1034, 4618, 4874, 5386, 14, 26, 11, 8, 1544] {
        check_goes_on(&store, || store.with_connection(|_| Err(sqlite_failure(code))));
        check_goes_on(&store, || store.write(|_| Err(sqlite_failure(code))));
        check_goes_on(&store, || store.read(|_| Err(sqlite_failure(code))));
    }
    check_goes_on(&store, || store.with_connection(|_| Err(sqlite_failure(13))));
}

#[test]
fn an_extension_that_fails_opens_no_circuit() {
    let world = World::new();
    let fail = |context: &rusqlite::functions::Context<'_>| Err::<i64, _>(sqlite_failure(context.get(0)?));
    let store = world
        .builder()
        .readers(1)
        .on_connect(move |conn| conn.create_scalar_function("fail", 1, FunctionFlags::SQLITE_UTF8, fail))
        .open(world.path())
        .unwrap();
    for code in [10, 266, 1034, 14, 9] {
        let run = |conn: &Connection| conn.query_row("SELECT fail(?1)", [code], |_| Ok(()));
        check_goes_on(&store, || store.write(|tx| run(tx)));
        check_goes_on(&store, || store.read(|conn| run(conn)));
        check_goes_on(&store, || store.with_connection(|conn| run(conn)));
    }
}

#[test]
fn what_on_connect_and_init_fail_with_is_no_outage_either() {
    let world = World::new();
    let is_broken = Arc::new(AtomicU32::new(1));
    let (in_connect, in_init) = (Arc::clone(&is_broken), Arc::clone(&is_broken));
    let missing = |conn: &Connection| conn.execute_batch("ATTACH '/nowhere/other.db' AS other");
    let cache = world
        .builder()
        .on_connect(move |conn| if in_connect.load(SeqCst) == 1 { missing(conn) } else { Ok(()) })
        .init(move |conn| if in_init.load(SeqCst) == 2 { missing(conn) } else { conn.execute_batch(SCHEMA) })
        .build();
    for (step, operation) in [(1, Operation::Configure), (2, Operation::Init)] {
        is_broken.store(step, SeqCst);
        for _ in 0..7 {
            let error = cache.read(world.path(), rows).unwrap_err();
            assert_eq!((error.operation(), error.is_breaker_open()), (operation, false), "{error}");
        }
    }
    is_broken.store(0, SeqCst);
    assert_eq!(cache.read(world.path(), rows).unwrap(), [0; 0]);
    assert_eq!(cache.health(world.path()).state, HealthState::Healthy);
}

#[test]
fn a_full_disk_elsewhere_refuses_no_write_here() {
    let world = World::new();
    let store = world.store();
    store.with_connection(|_| Err::<(), _>(sqlite_failure(13))).unwrap_err();
    store.write(|tx| insert(tx, 1)).unwrap();
    assert!(!store.health().is_disk_full);
}

/// With a connection that is open, and a file that is gone from under it, the database itself does not answer.
#[test]
fn a_database_that_does_not_answer_after_a_closures_error_counts() {
    let world = World::new();
    let store = world.builder().identity_check_interval(Duration::from_secs(1000)).open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    store.close(Duration::ZERO).unwrap();
    let store = world.builder().identity_check_interval(Duration::from_secs(1000)).open(world.path()).unwrap();
    // Not a database any more, under the open connection.
    let file = std::fs::OpenOptions::new().write(true).open(world.path()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 100], 0).unwrap();
    let error = store.read(|conn| {
        conn.execute_batch("PRAGMA shrink_memory")?;
        rows(conn)
    });
    let error = error.unwrap_err();
    assert_eq!(error.extended_code(), Some(26), "{error}");
    assert_eq!(store.health().breaker_failures, 1, "{error}");
}
