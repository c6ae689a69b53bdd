//! What one borrower leaves behind on a connection, and that the next one does not find it.

use super::*;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::Authorization;
use rusqlite::limits::Limit;
use rusqlite::{MAIN_DB, Transaction, TransactionBehavior};

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
    check_reset(sql("PRAGMA wal_autocheckpoint = 7"), "wal_autocheckpoint", "0", 1);
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
fn a_new_schema_costs_no_connection() {
    let world = World::new();
    for readers in [0, 1] {
        let store = world.builder().readers(readers).open(world.path()).unwrap();
        let check = |what: &str| {
            for _ in 0..2 {
                assert_eq!(store.read(rows).unwrap(), [0; 0], "{what}");
                store.write(|tx| insert(tx, 1).and(tx.execute_batch("DELETE FROM t"))).unwrap();
                assert_eq!(store.with_connection(|conn| rows(conn)).unwrap(), [0; 0], "{what}");
            }
            assert_eq!((store.health().opens, store.health().discards), (1 + readers as u64, 0), "{what}");
        };
        check("to begin with");
        for sql in ["CREATE TABLE u (x)", "CREATE INDEX i ON u (x)", "ANALYZE", "ALTER TABLE u ADD COLUMN y"] {
            store.write(|tx| tx.execute_batch(sql)).unwrap();
            check(sql);
        }
        store.write(|tx| tx.execute_batch("DROP TABLE u").and(Err::<(), _>(sqlite_failure(19)))).unwrap_err();
        check("a rollback of DROP");
        store.read(|conn| conn.execute_batch("CREATE TABLE v (x)")).unwrap_err();
        check("CREATE in a read");
        Connection::open(world.path()).unwrap().execute_batch("DROP TABLE u").unwrap();
        check("a DROP of another process");
    }
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
    assert_eq!(store.health().opens, 4, "without `maintain`, at the next call");
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

/// Whatever one borrower does, the next ones write and read with the settings of the store.
#[track_caller]
fn check_harmless(what: &str, change: impl Fn(&mut Connection) -> rusqlite::Result<()>) {
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    for round in 0..2 {
        store.with_connection(|conn| change(conn)).unwrap();
        check_as_new(&store, what, round);
    }
    drop(store);
    world.check_rows(&[0, 1, 10, 11]);
}

/// The same through `&Connection`, which the closures of `read` and `write` get.
#[track_caller]
fn check_harmless_when_shared(what: &str, change: impl Fn(&Connection) -> rusqlite::Result<()>) {
    check_harmless(what, |conn| change(conn));
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    for round in 0..2 {
        store.write(|tx| change(tx)).unwrap();
        check_as_new(&store, what, round);
        store.read(&change).unwrap();
        assert_eq!(store.read(probe).unwrap(), probe(&fresh(&world)).unwrap(), "{what}, on a reader");
    }
}

/// A connection as the layer makes it, to compare with.
fn fresh(world: &World) -> Connection {
    let conn = Connection::open(world.path()).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    conn
}

/// From the first to the last one that there is.
const LIMITS: [Limit; 5] = [
    Limit::SQLITE_LIMIT_LENGTH,
    Limit::SQLITE_LIMIT_VARIABLE_NUMBER,
    Limit::SQLITE_LIMIT_ATTACHED,
    Limit::SQLITE_LIMIT_SCHEMA,
    Limit::SQLITE_LIMIT_TRIGGER_STEPS,
];

/// What a borrower can see of a connection's settings.
fn probe(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut told = Vec::new();
    for config in [
        DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY,
        DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
        DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW,
        DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
        DbConfig::SQLITE_DBCONFIG_DEFENSIVE,
        DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA,
        DbConfig::SQLITE_DBCONFIG_DQS_DML,
        DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA,
        DbConfig::SQLITE_DBCONFIG_REVERSE_SCANORDER,
    ] {
        told.push(format!("{config:?} {}", conn.db_config(config)?));
    }
    for limit in LIMITS {
        told.push(format!("{limit:?} {}", conn.limit(limit)?));
    }
    told.push(conn.query_row("SELECT upper('a') || typeof(abs(-1))", [], |row| row.get(0))?);
    told.push(conn.query_row("SELECT count(*) FROM pragma_database_list", [], |row| row.get::<_, i64>(0))?.to_string());
    Ok(told)
}

#[track_caller]
fn check_as_new(store: &Store, what: &str, round: i64) {
    store.write(|tx| insert(tx, round)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let write = |conn: &mut Connection| {
        // A transaction of the default kind, which locks nothing to begin with.
        let tx = conn.transaction()?;
        let state = tx.transaction_state(Some(MAIN_DB))?;
        insert(&tx, 10 + round)?;
        tx.commit()?;
        Ok((state, probe(conn)?, pragma(conn, "wal_autocheckpoint")?))
    };
    let (state, told, autocheckpoint) = store.with_connection(write).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(state, rusqlite::TransactionState::None, "{what}");
    assert_eq!(autocheckpoint, "0", "{what}: the layer has a hook of its own");
    let other = Connection::open(store.path()).unwrap();
    other.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    assert_eq!(told, probe(&other).unwrap(), "{what}");
    let expected: Vec<i64> = (0..=round).chain(10..=10 + round).collect();
    assert_eq!(store.read(rows).unwrap(), expected, "{what}");
}

#[test]
fn hooks_of_one_borrower_are_not_the_next_ones() {
    check_harmless("commit hook", |conn| conn.commit_hook(Some(|| true)));
    check_harmless("rollback hook", |conn| conn.rollback_hook(Some(|| {})));
    check_harmless("update hook", |conn| {
        conn.update_hook(Some(|_, _: &str, _: &str, _| panic!("the hook of another borrower")))
    });
    check_harmless("wal hook", |conn| conn.wal_hook(Some(|_: &mut rusqlite::hooks::Wal, _| Err(sqlite_failure(10)))));
    check_harmless("wal hook taken away", |conn| {
        conn.wal_hook(None::<fn(&mut rusqlite::hooks::Wal, std::ffi::c_int) -> rusqlite::Result<()>>)
    });
    check_harmless("progress handler", |conn| conn.progress_handler(1, Some(|| true)));
    check_harmless("authorizer", |conn| {
        conn.authorizer(Some(|_: rusqlite::hooks::AuthContext<'_>| Authorization::Deny))
    });
    check_harmless("trace", |conn| {
        let mask = rusqlite::trace::TraceEventCodes::SQLITE_TRACE_STMT;
        conn.trace_v2(mask, Some(|_: rusqlite::trace::TraceEvent<'_>| panic!("the trace of another borrower")))
    });
    check_harmless("busy handler", |conn| conn.busy_handler(Some(|_| true)));
    check_harmless("transaction behavior", |conn| {
        conn.set_transaction_behavior(TransactionBehavior::Exclusive);
        Ok(())
    });
}

#[test]
fn an_authorizer_that_was_taken_away_again_is_noticed() {
    let world = World::new();
    let store = world.store();
    let allow = |_: rusqlite::hooks::AuthContext<'_>| Authorization::Allow;
    store
        .with_connection(|conn| {
            conn.authorizer(Some(allow))?;
            conn.authorizer(None::<fn(rusqlite::hooks::AuthContext<'_>) -> Authorization>)
        })
        .unwrap();
    store.with_connection(|conn| conn.execute_batch("PRAGMA read_uncommitted = ON")).unwrap();
    assert_eq!(store.with_connection(|conn| pragma(conn, "read_uncommitted")).unwrap(), "0");
    // And together with a change of the schema, after which SQLite prepares all statements again anyway.
    store
        .with_connection(|conn| {
            conn.execute_batch("CREATE TABLE u (x); ALTER TABLE u RENAME TO v")?;
            conn.authorizer(Some(allow))?;
            conn.authorizer(None::<fn(rusqlite::hooks::AuthContext<'_>) -> Authorization>)
        })
        .unwrap();
    store.with_connection(|conn| conn.execute_batch("PRAGMA read_uncommitted = ON")).unwrap();
    assert_eq!(store.with_connection(|conn| pragma(conn, "read_uncommitted")).unwrap(), "0");
}

#[test]
fn settings_of_the_interface_are_not_inherited() {
    for (config, value) in [
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_REVERSE_SCANORDER, true),
    ] {
        check_harmless_when_shared(&format!("{config:?}"), |conn| conn.set_db_config(config, value).map(drop));
        check_harmless_when_shared(&format!("{config:?}, and the cache flushed"), |conn| {
            conn.flush_prepared_statement_cache();
            conn.set_db_config(config, value)?;
            conn.flush_prepared_statement_cache();
            Ok(())
        });
        check_harmless_when_shared(&format!("{config:?}, and a new schema"), |conn| {
            // A reader may not change the schema.
            let _ = conn.execute_batch("CREATE TABLE u (x); ALTER TABLE u RENAME TO v; DROP TABLE v");
            conn.set_db_config(config, value).map(drop)
        });
    }
    for limit in LIMITS {
        check_harmless_when_shared(&format!("{limit:?}"), |conn| conn.set_limit(limit, 1).map(drop));
    }
    check_harmless_when_shared("sql length", |conn| conn.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, 3).map(drop));
    check_harmless_when_shared("cache capacity", |conn| {
        conn.set_prepared_statement_cache_capacity(0);
        Ok(())
    });
    check_harmless_when_shared("a function of SQLite's own", |conn| {
        conn.create_scalar_function("upper", 1, FunctionFlags::SQLITE_UTF8, |_| Ok("other"))
    });
    check_harmless_when_shared("a collation of SQLite's own", |conn| {
        conn.create_collation("BINARY", |_, _| std::cmp::Ordering::Equal)
    });
    check_harmless("another database in the place of main", |conn| {
        let image: &'static [u8] = conn.serialize(MAIN_DB)?.to_vec().leak();
        conn.deserialize_bytes(MAIN_DB, image)
    });
}

#[test]
fn file_controls_are_not_inherited() {
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    let ask = |conn: &Connection| {
        let (mut keeps, mut safe, mut mapped) = (-1, -1, -1);
        conn.file_control(Some(MAIN_DB), rusqlite::FileControl::PersistWal(&mut keeps))?;
        conn.file_control(Some(MAIN_DB), rusqlite::FileControl::PowerSafeOverwrite(&mut safe))?;
        conn.file_control(Some(MAIN_DB), rusqlite::FileControl::MMapSize(&mut mapped))?;
        Ok((keeps, safe, mapped))
    };
    let before = store.read(ask).unwrap();
    // A reader keeps what makes no difference to one that never writes.
    let mapped = |(_, _, mapped): (i32, i32, i64)| mapped;
    let change = |conn: &Connection| {
        conn.file_control(Some(MAIN_DB), rusqlite::FileControl::PersistWal(&mut 1))?;
        conn.file_control(Some(MAIN_DB), rusqlite::FileControl::PowerSafeOverwrite(&mut 0))?;
        conn.file_control(Some(MAIN_DB), rusqlite::FileControl::MMapSize(&mut 4096))
    };
    store.write(|tx| change(tx)).unwrap();
    assert_eq!(store.write(|tx| ask(tx)).unwrap(), before);
    store.read(change).unwrap();
    assert_eq!(mapped(store.read(ask).unwrap()), mapped(before));
    store.with_connection(|conn| change(conn)).unwrap();
    assert_eq!(store.with_connection(|conn| ask(conn)).unwrap(), before);
}

#[test]
fn what_on_connect_has_made_is_there_for_the_next_borrower() {
    let world = World::new();
    let make = |conn: &Connection| {
        conn.execute_batch("ATTACH ':memory:' AS extra; CREATE TEMP TABLE mine (x); CREATE TEMP VIEW seen AS SELECT 1")
    };
    let store = world.builder().on_connect(make).open(world.path()).unwrap();
    let look = |conn: &Connection| conn.execute_batch("SELECT * FROM extra.sqlite_schema, temp.mine, temp.seen");
    for sql in ["DETACH extra", "DROP TABLE temp.mine", "DROP VIEW temp.seen", "ALTER TABLE temp.mine RENAME TO gone"] {
        store.with_connection(|conn| conn.execute_batch(sql)).unwrap();
        store.with_connection(|conn| look(conn)).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let opens = store.health().opens;
    store.write(|tx| insert(tx, 1)).unwrap();
    store.read(look).unwrap();
    assert_eq!(store.health().opens, opens, "nothing of this is a reason to discard a connection");
}

#[test]
fn a_leaked_statement_keeps_no_snapshot_and_no_connection_open() {
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    let descriptors = || {
        std::fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
            let link = entry.as_ref().ok().and_then(|entry| std::fs::read_link(entry.path()).ok());
            link.is_some_and(|link| link.starts_with(world.dir.path()))
        })
    };
    store.write(|tx| (1..=3).try_for_each(|x| insert(tx, x))).unwrap();
    store.read(rows).unwrap();
    let before = descriptors().count();
    fn leak(conn: &Connection) -> rusqlite::Result<()> {
        let mut statement = std::mem::ManuallyDrop::new(conn.prepare("SELECT x FROM t")?);
        let mut rows = std::mem::ManuallyDrop::new(statement.query([])?);
        rows.next()?;
        Ok(())
    }
    for x in 4..10 {
        store.read(leak).unwrap();
        store.write(|tx| leak(tx)).unwrap();
        store.with_connection(|conn| leak(conn)).unwrap();
        store.write(|tx| insert(tx, x)).unwrap();
        assert_eq!(store.read(rows).unwrap(), (1..=x).collect::<Vec<_>>());
        assert_eq!(store.with_connection(|conn| rows(conn)).unwrap(), (1..=x).collect::<Vec<_>>());
    }
    assert_eq!(descriptors().count(), before);
    assert!(store.checkpoint(crate::CheckpointMode::Truncate).unwrap().is_complete());
    store.close(Duration::ZERO).unwrap();
    assert_eq!(descriptors().count(), 0);
    assert!(!world.side_file("-wal").exists());
}

#[test]
fn a_leaked_statement_beside_a_virtual_table_keeps_no_snapshot_either() {
    let world = World::new();
    let store = world.store();
    store
        .with_connection(|conn| {
            conn.execute_batch("CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('one'), ('one two')")
        })
        .unwrap();
    for x in 0..5 {
        store
            .read(|conn| {
                let sql = "SELECT * FROM f, pragma_table_list WHERE f MATCH 'one'";
                let mut statement = std::mem::ManuallyDrop::new(conn.prepare(sql)?);
                let mut rows = std::mem::ManuallyDrop::new(statement.query([])?);
                rows.next().map(drop)
            })
            .unwrap();
        store.write(|tx| insert(tx, x).and(tx.execute_batch("INSERT INTO f VALUES ('three')"))).unwrap();
        assert!(store.checkpoint(crate::CheckpointMode::Truncate).unwrap().is_complete());
    }
    // It cannot be closed, which is no reason to crash, and the rows are there.
    let _ = store.close(Duration::ZERO);
    drop(store);
    world.check_rows(&[0, 1, 2, 3, 4]);
}

#[test]
fn a_leaked_statement_that_writes_is_finished_before_it_is_acknowledged() {
    let world = World::new();
    let store = world.store();
    fn leak(conn: &Connection, x: i64) -> rusqlite::Result<()> {
        let mut statement = std::mem::ManuallyDrop::new(conn.prepare("INSERT INTO t VALUES (?1) RETURNING x")?);
        let mut rows = std::mem::ManuallyDrop::new(statement.query([x])?);
        rows.next()?.is_some().then_some(()).ok_or(rusqlite::Error::QueryReturnedNoRows)
    }
    store.with_connection(|conn| leak(conn, 1)).unwrap();
    world.check_rows(&[1]);
    let error = store.write(|tx| leak(tx, 2)).unwrap_err();
    assert!(!error.outcome_unknown(), "COMMIT is refused: {error}");
    let error = store.read(|conn| leak(conn, 3)).unwrap_err();
    assert!(error.to_string().contains("the closure of read has written"), "{error}");
    world.check_rows(&[1]);
}

#[test]
fn a_connection_that_was_swapped_more_than_once_is_not_reused() {
    let world = World::new();
    let store = world.store();
    // SQLite's memory is used again at once: the new connection may be where the old one was.
    for round in 0..20 {
        store
            .with_connection(|conn| {
                drop(std::mem::replace(conn, Connection::open_in_memory()?));
                *conn = Connection::open_in_memory()?;
                conn.execute_batch(SCHEMA)
            })
            .unwrap();
        store.write(|tx| insert(tx, round)).unwrap();
        assert_eq!(store.read(rows).unwrap().len() as i64, round + 1);
    }
    let mut kept = None;
    store
        .with_connection(|conn| {
            kept = Some(std::mem::replace(conn, Connection::open_in_memory()?));
            Ok(())
        })
        .unwrap();
    // The kept one is put back for a newer one, whose watch has the place of its own.
    let swap = |conn: &mut Connection| {
        std::mem::swap(conn, kept.as_mut().unwrap());
        Ok(())
    };
    store.with_connection(swap).unwrap();
    drop(kept);
    store.write(|tx| insert(tx, 100)).unwrap();
    assert_eq!(store.read(rows).unwrap().len(), 21);
}
