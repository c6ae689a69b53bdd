//! Errors that are true: what is known of the outcome, and what helps.

use super::*;
use crate::{Class, Error, Operation};
use processes::{Player, wait_for_word};
use std::fs;

/// A closure that ends its own transaction and then fails.
#[track_caller]
fn check_ended(sql: &str, is_unknown: bool, expected: &[i64]) {
    let world = World::new();
    let store = world.store();
    let error = store.write(|tx| {
        insert(tx, 1)?;
        tx.execute_batch(sql)?;
        Err::<(), _>(sqlite_failure(1))
    });
    let error = error.unwrap_err();
    assert_eq!(error.outcome_unknown(), is_unknown, "{sql}: {error}");
    assert_eq!(store.read(rows).unwrap(), expected, "{sql}");
    store.write(|tx| insert(tx, 100)).unwrap();
}

#[test]
fn a_transaction_that_the_closure_has_ended_has_an_unknown_outcome_whatever_it_began_then() {
    check_ended("COMMIT; BEGIN", true, &[1]);
    check_ended("END; BEGIN IMMEDIATE", true, &[1]);
    check_ended("end transaction; begin exclusive", true, &[1]);
    check_ended("COMMIT; BEGIN; INSERT INTO t VALUES (2)", true, &[1]);
    check_ended("COMMIT; SAVEPOINT s", true, &[1]);
    check_ended("COMMIT; SAVEPOINT s; INSERT INTO t VALUES (2); RELEASE s; BEGIN", true, &[1, 2]);
    check_ended("ROLLBACK; BEGIN", true, &[]);
    check_ended("ROLLBACK; INSERT INTO t VALUES (2); BEGIN", true, &[2]);
    check_ended("COMMIT", true, &[1]);
    check_ended("ROLLBACK", true, &[]);
    // Inside of the layer's transaction, everything is allowed and known.
    check_ended("SAVEPOINT s; INSERT INTO t VALUES (2); RELEASE s", false, &[]);
    check_ended("SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s", false, &[]);
    check_ended("SELECT 1", false, &[]);
}

#[test]
fn a_statement_that_is_kept_ends_a_transaction_as_well() {
    let world = World::new();
    let store = world.store();
    let run = |conn: &Connection, sql: &str| conn.prepare_cached(sql)?.execute([]).map(drop);
    for x in 1..4 {
        let error = store.write(|tx| {
            insert(tx, x)?;
            run(tx, "COMMIT")?;
            run(tx, "BEGIN")?;
            Err::<(), _>(sqlite_failure(1))
        });
        assert!(error.unwrap_err().outcome_unknown());
        assert_eq!(store.read(rows).unwrap(), (1..=x).collect::<Vec<_>>());
    }
}

#[test]
fn rows_that_a_closure_has_rolled_back_are_not_acknowledged() {
    let world = World::new();
    let store = world.store();
    for sql in ["ROLLBACK; BEGIN", "ROLLBACK; BEGIN IMMEDIATE; INSERT INTO t VALUES (2)", "ROLLBACK", "COMMIT"] {
        let error = store.write(|tx| insert(tx, 1).and(tx.execute_batch(sql))).unwrap_err();
        assert!(error.outcome_unknown(), "{sql}: {error}");
        store.write(|tx| tx.execute("DELETE FROM t", [])).unwrap();
    }
    // Both halves are durable.
    store.write(|tx| insert(tx, 1).and(tx.execute_batch("COMMIT; BEGIN")).and(insert(tx, 2))).unwrap();
    world.check_rows(&[1, 2]);
}

/// A write in a closure of `read`, on the writer and on a reader.
#[track_caller]
fn check_read_that_writes(sql: &str, text: &str, is_unknown: bool) {
    for readers in [0, 1] {
        let world = World::new();
        let store = world.builder().readers(readers).open(world.path()).unwrap();
        store.write(|tx| insert(tx, 1)).unwrap();
        let sql = sql.replace("{d}", &world.dir.path().display().to_string());
        Connection::open(world.dir.path().join("other.db")).unwrap().execute_batch(SCHEMA).unwrap();
        let error = store.read(|conn| conn.execute_batch(&sql)).err();
        let error = error.unwrap_or_else(|| panic!("{readers} readers: {sql}"));
        if error.extended_code() != Some(8) {
            assert!(error.to_string().contains(text), "{sql}: {error}");
            assert_eq!(error.outcome_unknown(), is_unknown, "{sql}: {error}");
        }
        store.write(|tx| insert(tx, 100)).unwrap();
    }
}

#[test]
fn a_write_in_read_is_reported_whichever_way_it_takes() {
    let (rolled_back, committed) = ("and it was rolled back; use write", "and it was committed; use write");
    check_read_that_writes("PRAGMA query_only = 0; INSERT INTO t VALUES (2)", rolled_back, false);
    check_read_that_writes("PRAGMA query_only = 0; COMMIT; INSERT INTO t VALUES (2)", committed, true);
    check_read_that_writes("PRAGMA query_only = 0; COMMIT; INSERT INTO t VALUES (2); BEGIN", committed, true);
    check_read_that_writes("PRAGMA query_only = 0; INSERT INTO t VALUES (2); COMMIT; BEGIN", committed, true);
    check_read_that_writes("PRAGMA query_only = 0; COMMIT; VACUUM; BEGIN", committed, true);
    check_read_that_writes("PRAGMA query_only = 0; COMMIT; PRAGMA user_version = 7; BEGIN", committed, true);
    check_read_that_writes("PRAGMA query_only = 0; COMMIT; CREATE TABLE u (x); BEGIN", committed, true);
    let attach = "PRAGMA query_only = 0; ATTACH '{d}/other.db' AS other; CREATE TABLE other.u (x)";
    check_read_that_writes(attach, rolled_back, false);
    let attach = "PRAGMA query_only = 0; COMMIT; ATTACH '{d}/other.db' AS other; CREATE TABLE other.u (x); BEGIN";
    check_read_that_writes(attach, committed, true);
    let trigger = "PRAGMA query_only = 0; CREATE TEMP TABLE mine (x);
        CREATE TEMP TRIGGER out AFTER INSERT ON mine BEGIN INSERT INTO main.t VALUES (new.x); END;
        INSERT INTO mine VALUES (2)";
    check_read_that_writes(trigger, rolled_back, false);
}

#[test]
fn a_read_may_use_temporary_tables() {
    let world = World::new();
    let store = world.store();
    store.write(|tx| insert(tx, 1)).unwrap();
    let sum = store.read(|conn| {
        conn.execute_batch("CREATE TEMP TABLE mine AS SELECT x FROM t")?;
        conn.query_row("SELECT sum(x) FROM mine", [], |row| row.get::<_, i64>(0))
    });
    assert_eq!(sum.unwrap(), 1);
}

/// Whatever writes through `with_connection` to a file that has lost its name is not acknowledged.
#[test]
fn no_kind_of_write_to_a_moved_file_is_acknowledged() {
    let sqls = [
        "CREATE TABLE u (x)",
        "DROP TABLE v",
        "PRAGMA user_version = 7",
        "VACUUM",
        "BEGIN; CREATE INDEX i ON t (x); COMMIT",
        "INSERT INTO t VALUES (2)",
        "ALTER TABLE v RENAME TO w",
        "ANALYZE",
        "REINDEX; CREATE VIEW see AS SELECT 1",
    ];
    for sql in sqls {
        let world = World::new();
        let store = world.builder().identity_check_interval(Duration::MAX).open(world.path()).unwrap();
        store.with_connection(|conn| conn.execute_batch("CREATE TABLE v (x); INSERT INTO t VALUES (1)")).unwrap();
        fs::rename(world.path(), world.dir.path().join("moved.db")).unwrap();
        let error = store.with_connection(|conn| conn.execute_batch(sql)).expect_err(sql);
        assert!(error.is_moved() && error.outcome_unknown(), "{sql}: {error}");
    }
    let world = World::new();
    let store = world.builder().identity_check_interval(Duration::MAX).open(world.path()).unwrap();
    store.with_connection(|conn| conn.execute_batch("CREATE TABLE b (x); INSERT INTO b VALUES (zeroblob(9))")).unwrap();
    fs::rename(world.path(), world.dir.path().join("moved.db")).unwrap();
    let write = |conn: &mut Connection| {
        let mut blob = conn.blob_open(rusqlite::MAIN_DB, "b", "x", 1, false)?;
        blob.write_at(b"a", 0)?;
        blob.close()
    };
    assert!(store.with_connection(write).unwrap_err().is_moved(), "a blob");
}

#[test]
fn a_missing_directory_for_temporary_files_is_permanent_and_says_what_helps() {
    for (code, name) in [(6410, "IOERR_GETTEMPPATH"), (270, "CANTOPEN_NOTEMPDIR")] {
        let error = Error::sqlite(Path::new("/d/x.db"), Operation::Write, sqlite_failure(code));
        assert_eq!((error.class(), error.is_transient()), (Class::GiveUp, false), "{error}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("SQLITE_TMPDIR") && !text.contains("descriptors"), "{text}");
    }
}

#[test]
fn a_database_that_may_not_be_written_says_what_would_help() {
    for (code, help) in [
        (8, "let this process write the file and its directory (owner, mode, mount)"),
        (264, "open the database once with write access to it, its -wal and its -shm"),
        (520, "let this process write the -shm file"),
        (776, "open the database once with write access to it, its -journal and its directory"),
        (1288, "open the database once with write access to it, its -wal and its -shm"),
        (1544, "let this process create files in the directory (owner, mode, mount)"),
        (14 | 99 << 8, "the next call opens a new connection"),
    ] {
        let error = Error::sqlite(Path::new("/d/x.db"), Operation::Call, sqlite_failure(code)).to_string();
        assert!(error.contains(help), "{error}");
        assert!(!error.contains("trying again will not help"), "{error}");
    }
}

#[test]
fn every_message_is_one_line_whatever_the_path_is() {
    let world = World::new();
    let path = world.dir.path().join("a\nERROR: b\x1b[31m.db");
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let lines = Arc::clone(&told);
    let sink = Arc::new(move |event: &Event| lines.lock().push(event.to_string()));
    let store = world.builder().events(sink).open(&path).unwrap();
    let error = store.write(|tx| tx.execute("INSERT INTO\nnowhere VALUES (1)", [])).unwrap_err();
    told.lock().push(error.to_string());
    fs::remove_file(&path).unwrap();
    let error = store.write(|tx| insert(tx, 1)).unwrap_err();
    told.lock().push(error.to_string());
    drop(store);
    fs::create_dir(world.dir.path().join("c\nd")).unwrap();
    let error = world.builder().open(world.dir.path().join("c\nd")).unwrap_err();
    told.lock().push(error.to_string());
    let report = crate::doctor::examine(&path).unwrap();
    told.lock().extend(
        report
            .findings
            .iter()
            .flat_map(|finding| [finding.text.clone(), finding.evidence.clone(), finding.next.clone()]),
    );
    for line in told.lock().iter() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    assert!(told.lock().iter().any(|line| line.contains("a\\nERROR: b\\u{1b}[31m.db")));
}

#[test]
fn a_path_that_is_too_long_for_sqlite_is_said_so() {
    let world = World::new();
    let mut dir = world.dir.path().canonicalize().unwrap();
    while dir.as_os_str().len() < 400 {
        dir = dir.join("d".repeat(60));
    }
    fs::create_dir_all(&dir).unwrap();
    let with_length = |bytes: usize| dir.join("x".repeat(bytes - dir.as_os_str().len() - 1));
    let store = world.builder().open(with_length(504)).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    drop(store);
    for bytes in [505, 511, 512, 560, 640] {
        let error = world.builder().open(with_length(bytes)).unwrap_err();
        assert_eq!((error.class(), error.is_transient()), (Class::GiveUp, false), "{error}");
        let text = format!("the path has {bytes} bytes, and SQLite's VFS takes 504 with room for the side files; give");
        assert!(error.to_string().contains(&text), "{error}");
    }
    let link = world.dir.path().join("short.db");
    std::os::unix::fs::symlink(with_length(560), &link).unwrap();
    assert!(world.builder().open(&link).unwrap_err().to_string().contains("560 bytes"), "behind a link");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "the database and its lock file, nothing of the others");
}

/// Another process, which holds the write lock until it is killed.
pub(super) fn play(path: &Path) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (99)").unwrap();
    wait_for_word();
}

#[test]
fn a_busy_database_names_the_process_that_holds_the_lock() {
    let world = World::new();
    world.os.become_process(std::process::id());
    let store = world.builder().readers(1).open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    let player = Player::start("hold the write lock", &world.path());
    for _ in 0..2 {
        world.os.advance(Duration::from_secs(1));
        let error = store.write(|tx| insert(tx, 2)).unwrap_err();
        let is_shown = Path::new("/proc/locks").exists();
        assert_eq!(error.lock_holder(), is_shown.then_some(player.pid()), "{error}");
        assert!(error.to_string().contains(&format!("; process {} holds the lock; try", player.pid())), "{error}");
        assert!(error.is_busy() && error.is_transient(), "{error}");
    }
    let error = store.with_connection(|conn| insert(conn, 2)).unwrap_err();
    assert_eq!(error.lock_holder(), None, "not more often than every 10 ms: {error}");
    player.kill();
    store.write(|tx| insert(tx, 2)).unwrap();
    let other = Connection::open(world.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.os.advance(Duration::from_secs(1));
    let error = store.write(|tx| insert(tx, 3)).unwrap_err();
    assert!(error.to_string().contains("another connection of this process holds the lock"), "{error}");
}
