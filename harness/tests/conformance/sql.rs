//! Whole SQL on the simulated machine: the same statements on both media bring the same rows and the same database
//! file, byte for byte; and what a simulated process leaves when it dies is recovered by the next one.

use crate::media::{machine, work_as};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use seawall_harness::media::sim::Machine;
use std::cell::RefCell;
use std::rc::Rc;

fn open(path: &str, vfs: &str) -> Connection {
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs).unwrap();
    connection.busy_timeout(std::time::Duration::from_millis(20)).unwrap();
    connection
}

/// All rows of a query as text, or the error's code; with several statements, of the last one.
fn run(connection: &Connection, sql: &str) -> String {
    let mut last = String::new();
    let mut batch = rusqlite::Batch::new(connection, sql);
    let outcome = (|| {
        while let Some(mut statement) = batch.next()? {
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            last.clear();
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    last += &match row.get_ref(column)? {
                        ValueRef::Text(text) => format!("{},", String::from_utf8_lossy(text)),
                        value => format!("{value:?},"),
                    };
                }
                last.push('\n');
            }
        }
        Ok::<(), rusqlite::Error>(())
    })();
    match outcome {
        Ok(()) => last,
        Err(error) => format!("{:?}", error.sqlite_error().map(|error| error.extended_code)),
    }
}

/// Rows enough that caches of a few pages spill.
const FILL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<400)
    INSERT INTO t(b) SELECT printf('%0200d', i) FROM n";

/// Statements of two connections. The second one belongs to another process where there are simulated ones.
const SCRIPT: &[(usize, &str)] = &[
    (0, "PRAGMA cache_size=5; PRAGMA temp_store=FILE; PRAGMA threads=0"),
    (0, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t(b)"),
    (0, FILL),
    (1, "SELECT count(*), min(b), max(b) FROM t"),
    (0, "BEGIN IMMEDIATE; UPDATE t SET b='x'||b WHERE a%3=0"),
    (1, "BEGIN IMMEDIATE"),
    (1, "SELECT count(*) FROM t WHERE b LIKE 'x%'"),
    (0, "SAVEPOINT s; DELETE FROM t WHERE a>200; ROLLBACK TO s; INSERT INTO t(b) VALUES('after'); RELEASE s; COMMIT"),
    (1, "SELECT count(*) FROM t WHERE b LIKE 'x%'"),
    (1, "BEGIN; SELECT count(*) FROM t"),
    (0, "INSERT INTO t(b) VALUES('while the other reads')"),
    (1, "SELECT count(*) FROM t"),
    (1, "COMMIT; SELECT count(*) FROM t"),
    (0, "CREATE TEMP TABLE u AS SELECT * FROM t; UPDATE u SET b=b||b; SELECT count(*), length(max(b)) FROM u"),
    (0, "SELECT b FROM t ORDER BY substr(b, -3), a LIMIT 5"),
    (0, "BEGIN; DELETE FROM t WHERE a%2=0; ROLLBACK"),
    (0, "DELETE FROM t WHERE a%2=0"),
    (0, "ATTACH 'FOLDER/other.db' AS o; CREATE TABLE o.v(c)"),
    (0, "BEGIN; INSERT INTO o.v SELECT a FROM t; DELETE FROM t WHERE a%5=0; COMMIT"),
    (0, "SELECT (SELECT count(*) FROM o.v), (SELECT count(*) FROM t)"),
    (1, "PRAGMA mmap_size=1000000"),
    (1, "SELECT sum(length(b)) FROM t"),
    (0, "INSERT INTO t(b) SELECT b FROM t"),
    (1, "SELECT sum(length(b)), count(*) FROM t"),
    (0, "DETACH o"),
    (0, "VACUUM"),
    (1, "SELECT sum(length(b)), count(*) FROM t"),
    (1, "PRAGMA integrity_check"),
    (0, "PRAGMA wal_checkpoint(TRUNCATE)"),
    (0, "PRAGMA auto_vacuum=INCREMENTAL; VACUUM; DELETE FROM t WHERE a<100; PRAGMA incremental_vacuum"),
    (0, "PRAGMA integrity_check"),
];

/// The answers to the script.
fn run_script(vfs: &str, folder: &str, mode: &str, with: &str) -> Vec<String> {
    let path = format!("{folder}/main.db");
    let connections = [0, 1].map(|process| {
        work_as(process);
        let connection = open(&path, vfs);
        run(&connection, "PRAGMA synchronous=OFF");
        run(&connection, with);
        run(&connection, &format!("PRAGMA journal_mode={mode}"));
        connection
    });
    let mut answers = Vec::new();
    for &(who, sql) in SCRIPT {
        work_as(who as u8);
        answers.push(format!("{who} {sql}: {}", run(&connections[who], &sql.replace("FOLDER", folder))));
    }
    for (process, connection) in (0..).zip(connections) {
        work_as(process);
        connection.close().unwrap();
    }
    answers
}

#[test]
fn the_same_statements_bring_the_same_rows_and_files() {
    let (machine, vfs) = machine("sim-sql");
    for mode in ["DELETE", "TRUNCATE", "PERSIST", "WAL"] {
        for with in
            ["PRAGMA page_size=1024", "PRAGMA page_size=65536", "PRAGMA mmap_size=10000000", "PRAGMA synchronous=2"]
        {
            let folder = tempfile::Builder::new().prefix("conformance").tempdir().unwrap();
            let real = run_script("unix", folder.path().to_str().unwrap(), mode, with);
            let simulated = run_script(vfs.name(), "/data", mode, with);
            assert_eq!(real, simulated, "{mode} {with}");
            assert!(real.last().unwrap().ends_with("integrity_check: ok,\n"), "{real:?}");
            for name in ["main.db", "other.db"] {
                let bytes = std::fs::read(folder.path().join(name)).unwrap();
                assert!(
                    machine.borrow().file(&format!("/data/{name}")) == Some(bytes),
                    "{mode} {with}: {name} differs"
                );
            }
            let mut names: Vec<std::ffi::OsString> =
                std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            let mut machine = machine.borrow_mut();
            let simulated: Vec<std::ffi::OsString> =
                machine.list().into_iter().map(|(name, _)| name[6..].into()).collect();
            assert_eq!(names, simulated, "{mode} {with}: the files that are left");
            assert_eq!((machine.open_files(), machine.any_locks(), machine.panic_message()), (0, false, None));
            machine.reset(seawall_harness::seed::Seed(2));
        }
    }
}

/// A process that is killed in the middle of a transaction that has reached the files; then what another one finds.
fn die(machine: &Rc<RefCell<Machine>>, vfs: &str, mode: &str) {
    const DB: &str = "/data/main.db";
    work_as(0);
    let victim = open(DB, vfs);
    run(&victim, &format!("PRAGMA cache_size=5; PRAGMA journal_mode={mode}; CREATE TABLE t(a INTEGER PRIMARY KEY, b)"));
    run(&victim, FILL);
    work_as(1);
    let witness = open(DB, vfs);
    let before = run(&witness, "SELECT count(*), sum(length(b)) FROM t");
    work_as(0);
    run(&victim, "BEGIN; UPDATE t SET b='lost'||b");
    run(&victim, FILL);
    let side = if mode == "WAL" { "/data/main.db-wal" } else { "/data/main.db-journal" };
    assert!(machine.borrow().bytes(side).unwrap().len() > 50_000, "{mode}: the cache has not spilled");

    let shm = || machine.borrow().file("/data/main.db-shm");
    let memory = shm();
    machine.borrow_mut().kill(1);
    // Its code runs on. In WAL mode the rollback goes through the shared memory.
    assert_eq!(run(&victim, "COMMIT"), "Some(10)", "{mode}");
    run(&victim, "ROLLBACK");
    run(&victim, "SELECT * FROM t");
    // The first that happens afterwards is a call of a living process.
    machine.borrow_mut().resume(2);
    assert_eq!(memory, shm(), "{mode}: the dead have written");
    work_as(1);
    assert_eq!(run(&witness, "SELECT count(*), sum(length(b)) FROM t"), before, "{mode}");
    assert_eq!(run(&witness, "INSERT INTO t(b) VALUES('new')"), "");
    work_as(0);
    drop(victim);
    assert!(machine.borrow().open_files_of(1).is_empty());
    machine.borrow_mut().revive(1);
    let reborn = open(DB, vfs);
    assert_eq!(run(&reborn, "PRAGMA integrity_check"), run(&witness, "PRAGMA integrity_check"));
    assert!(run(&reborn, "SELECT count(*) FROM t").contains("401"), "{mode}");
    assert_eq!(run(&reborn, "DELETE FROM t WHERE b = 'new'"), "");
    let memory = shm();
    machine.borrow_mut().resume(2);
    assert_eq!(memory, shm(), "{mode}: what the new life wrote was taken for the old one's");
    drop(reborn);
    work_as(1);
    drop(witness);
    let mut machine = machine.borrow_mut();
    assert_eq!((machine.open_files(), machine.any_locks(), machine.panic_message()), (0, false, None));
    assert_eq!(machine.list().len(), 1, "{mode}");
    machine.reset(seawall_harness::seed::Seed(3));
}

#[test]
fn what_a_dead_process_leaves_is_recovered() {
    let (machine, vfs) = machine("sim-death");
    for mode in ["DELETE", "PERSIST", "WAL"] {
        die(&machine, vfs.name(), mode);
    }
}

/// A database that was copied in, the wal-index that a test may look at, and time that passes by sleeping.
#[test]
fn a_machine_can_be_filled_and_looked_at() {
    let (machine, vfs) = machine("sim-filled");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    run(&connection, "CREATE TABLE t(x); INSERT INTO t VALUES(42)");
    connection.close().unwrap();
    assert!(machine.borrow_mut().write_file("/a.db", &std::fs::read(&path).unwrap()));

    work_as(0);
    let connection = open("/a.db", vfs.name());
    assert_eq!(run(&connection, "SELECT x FROM t"), "Integer(42),\n");
    assert_eq!(run(&connection, "SELECT datetime('now')"), "2026-01-01 00:00:00,\n");
    assert!(machine.borrow().shm_region("/a.db", 0).is_none());
    run(&connection, "PRAGMA journal_mode=WAL; INSERT INTO t VALUES(43)");
    {
        let machine = machine.borrow();
        let index = machine.shm_region("/a.db", 0).unwrap();
        // wal.c, WalIndexHdr: iVersion, and mxFrame behind four words; WalCkptInfo: nBackfill at 96.
        assert_eq!((index.u32_native(0), index.u32_native(16), index.u32_native(96)), (3_007_000, 1, 0));
        assert_eq!(machine.open_files_of(1), ["/a.db", "/a.db-wal"]);
    }
    // A lock that is never given back: the busy timeout passes without waiting.
    work_as(1);
    let other = open("/a.db", vfs.name());
    run(&other, "BEGIN IMMEDIATE");
    work_as(0);
    let before = std::time::Instant::now();
    run(&connection, "PRAGMA busy_timeout=3600000");
    assert_eq!(run(&connection, "INSERT INTO t VALUES(44)"), "Some(5)");
    assert!(before.elapsed() < std::time::Duration::from_secs(60));
    assert!(run(&connection, "SELECT time('now') >= '01:00:00'").contains('1'));

    // From another thread nothing is touched.
    let name = vfs.name().to_owned();
    let code = std::thread::spawn(move || {
        let error = Connection::open_with_flags_and_vfs("/a.db", OpenFlags::default(), name.as_str()).unwrap_err();
        error.sqlite_error().unwrap().extended_code
    });
    assert_eq!(code.join().unwrap(), rusqlite::ffi::SQLITE_IOERR);

    // After a reset everything that is open fails, and closes.
    machine.borrow_mut().reset(seawall_harness::seed::Seed(4));
    assert!(run(&connection, "SELECT x FROM t").starts_with("Some("));
    drop((connection, other));
    assert_eq!(machine.borrow().open_files(), 0);
    let fresh = open("/a.db", vfs.name());
    assert_eq!(run(&fresh, "SELECT count(*) FROM sqlite_schema"), "Integer(0),\n");
    // A VFS that is gone opens nothing; what is open goes on.
    drop(vfs);
    assert_eq!(run(&fresh, "CREATE TABLE t(x)"), "Some(10)", "the journal cannot be opened");
}
