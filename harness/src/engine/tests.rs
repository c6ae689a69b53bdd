//! Tests on the linked engine, on the system's library if there is one, and on files that are no engines.

use super::*;
use crate::seed::Seed;
use crate::vfs::FaultVfs;
use std::fs;
use std::path::PathBuf;

fn memory(engine: &Engine) -> Db {
    engine.open(":memory:", OPEN_READ_WRITE_CREATE, None).unwrap()
}

/// The first of these libraries that this machine has.
fn found(names: &[&str]) -> Option<PathBuf> {
    const FOLDERS: [&str; 6] =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib64", "/lib"];
    let mut paths = FOLDERS.iter().flat_map(|folder| names.iter().map(move |name| Path::new(folder).join(name)));
    let found = paths.find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: this machine has no {}", names.join(" or "));
    }
    found
}

/// The system's SQLite.
fn system() -> Option<Engine> {
    found(&["libsqlite3.so.0"]).map(|path| Engine::load(&path).unwrap())
}

/// Every kind of thing that a connection does, so that an old version with fewer functions is put through all of it.
fn exercise(engine: &Engine) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let db = engine.open(path.to_str().unwrap(), OPEN_READ_WRITE_CREATE, None).unwrap();
    db.busy_timeout(100).unwrap();
    assert_eq!(db.query("PRAGMA journal_mode=WAL").unwrap(), [[Value::Text("wal".into())]]);
    db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT UNIQUE); BEGIN IMMEDIATE").unwrap();
    assert!(!db.is_autocommit());
    let mut insert = db.prepare("INSERT INTO t(b) VALUES (?1)").unwrap();
    for name in ["one", "two", "three"] {
        insert.bind_text(1, name).unwrap();
        assert_eq!(insert.step().unwrap(), StepResult::Done);
    }
    drop(insert);
    assert!(db.transaction_state().is_none_or(|state| state == TransactionState::Write));
    db.execute("COMMIT").unwrap();
    assert_eq!((db.is_autocommit(), db.changes(), db.last_insert_rowid()), (true, 1, 3));
    assert_eq!(db.query_int("SELECT count(*) FROM t").unwrap(), Some(3));
    let (rc, log, done) = db.wal_checkpoint_v2(CheckpointMode::Full);
    assert!(rc == 0 && log > 0 && log == done, "{rc} {log} {done}");

    let error = db.execute("INSERT INTO t(b) VALUES ('one')").unwrap_err();
    assert_eq!(error.code, rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE);
    assert_eq!(error.to_string(), "UNIQUE constraint failed: t.b (CONSTRAINT_UNIQUE)");
    let other = engine.open(path.to_str().unwrap(), OPEN_READ_WRITE_CREATE, None).unwrap();
    other.execute("BEGIN IMMEDIATE").unwrap();
    db.busy_timeout(0).unwrap();
    let error = db.execute("DELETE FROM t").unwrap_err();
    assert!(error.is_busy() && !error.is_corrupt() && error.errno == 0, "{error}");
    other.close().unwrap();
    db.close().unwrap();
}

#[test]
fn the_linked_engine_does_everything() {
    let engine = Engine::linked();
    assert_eq!(engine.version(), rusqlite::version());
    assert!(engine.source_id().starts_with("20") && engine.path().is_none());
    assert!(engine.compile_options().iter().any(|option| option == "THREADSAFE=1"));
    assert!(memory(&engine).transaction_state().is_some());
    exercise(&engine);
}

#[test]
fn values_come_back_as_they_went_in() {
    let db = memory(&Engine::linked());
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(0.5),
        Value::Text("naïve\0text".into()),
        Value::Text(String::new()),
        Value::Blob(vec![0, 255, 39]),
        Value::Blob(Vec::new()),
    ];
    let mut statement = db.prepare("SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7").unwrap();
    for (index, value) in (1..).zip(&values) {
        statement.bind(index, value).unwrap();
    }
    assert_eq!(statement.step().unwrap(), StepResult::Row);
    assert_eq!(statement.columns(), values.len());
    let read: Vec<Value> = (0..values.len()).map(|column| statement.value(column)).collect();
    assert_eq!(read, values);
    assert_eq!((statement.int(1), statement.real(2), statement.is_null(0)), (i64::MIN, 0.5, true));
    assert_eq!(statement.text(3), "naïve\0text");
    assert_eq!(statement.text(0), "");
    assert_eq!(statement.blob(5), [0, 255, 39]);
    assert_eq!(statement.step().unwrap(), StepResult::Done);
    statement.clear_bindings();
    assert_eq!(statement.step().unwrap(), StepResult::Row);
    assert!((0..values.len()).all(|column| statement.is_null(column)));
    let shown: Vec<String> = [&values[3], &values[5]].iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["'naïve\0text'", "x'00ff27'"]);
    assert_eq!((values[1].as_int(), values[4].as_text(), values[0].as_int()), (Some(i64::MIN), Some(""), None));
}

#[test]
fn text_that_is_not_utf8_is_read_all_the_same() {
    let db = memory(&Engine::linked());
    let rows = db.query("SELECT CAST(x'61ff' AS TEXT)").unwrap();
    assert_eq!(rows, [[Value::Text("a\u{fffd}".into())]]);
    // In a database of another encoding, the forms of one column lie in the same memory in turn.
    db.execute("PRAGMA encoding='UTF-16le'; CREATE TABLE t(x); INSERT INTO t VALUES ('é')").unwrap();
    let mut statement = db.prepare("SELECT x FROM t").unwrap();
    assert_eq!(statement.step().unwrap(), StepResult::Row);
    assert_eq!(statement.blob(0), [0xe9, 0]);
    assert_eq!(statement.text(0), "é");
}

#[test]
fn one_statement_is_compiled_and_no_more() {
    #[track_caller]
    fn check(sql: &str, expected: &str) {
        let db = memory(&Engine::linked());
        let answer = db.query(sql).map_or_else(|error| error.to_string(), |rows| format!("{} rows", rows.len()));
        assert_eq!(answer, expected, "{sql}");
    }
    check("SELECT 1 UNION SELECT 2", "2 rows");
    check("SELECT 1;\n ", "1 rows");
    check("SELECT 1; SELECT 2", "more than one statement in the SQL text (MISUSE)");
    check("", "no statement in the SQL text (MISUSE)");
    check(" -- nothing", "no statement in the SQL text (MISUSE)");
    check("SELEKT", "near \"SELEKT\": syntax error (ERROR)");
    let db = memory(&Engine::linked());
    assert_eq!(db.query_int("SELECT 1 WHERE 0").unwrap(), None);
    assert_eq!(db.query_int("SELECT NULL").unwrap(), None);
    assert_eq!(db.execute("SELECT 1\0").unwrap_err().to_string(), "a NUL byte in an SQL statement (MISUSE)");
    assert_eq!(db.execute("CREATE TABLE t(x); nonsense").unwrap_err().code, rusqlite::ffi::SQLITE_ERROR);
    assert_eq!(db.query_int("SELECT count(*) FROM t").unwrap(), Some(0));
}

#[test]
fn errors_of_an_earlier_call_do_not_stick() {
    let db = memory(&Engine::linked());
    db.execute("nonsense").unwrap_err();
    let mut statement = db.prepare("SELECT 1").unwrap();
    assert_eq!(statement.bind_int(1, 1).unwrap_err().to_string(), "column index out of range (RANGE)");
    assert_eq!(statement.bind_int(usize::MAX, 1).unwrap_err().code, rusqlite::ffi::SQLITE_RANGE);
    assert_eq!(statement.step().unwrap(), StepResult::Row);
}

#[test]
#[should_panic(expected = "column 1 of a row of 1")]
fn a_column_that_is_not_there_is_a_mistake() {
    let db = memory(&Engine::linked());
    let mut statement = db.prepare("SELECT 1").unwrap();
    statement.step().unwrap();
    statement.int(1);
}

#[test]
fn a_failed_open_says_why() {
    let engine = Engine::linked();
    let error = engine.open("/nowhere/a.db", OPEN_READ_WRITE_CREATE, None).unwrap_err();
    assert_eq!(error.to_string(), "unable to open database file (CANTOPEN, ENOENT)");
    let error = engine.open(":memory:", OPEN_READ_WRITE_CREATE, Some("nothing")).unwrap_err();
    assert_eq!(error.to_string(), "no such vfs: nothing (ERROR)");
    let error = engine.open("a\0b", OPEN_READ_WRITE_CREATE, None).unwrap_err();
    assert_eq!(error.to_string(), "a NUL byte in \"a\\0b\" (MISUSE)");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    fs::write(&path, [7; 4096]).unwrap();
    let db = engine.open(path.to_str().unwrap(), OPEN_READ_WRITE_CREATE, None).unwrap();
    assert!(db.query("PRAGMA schema_version").unwrap_err().is_corrupt());
}

#[test]
fn a_statement_is_interrupted_from_another_thread() {
    let db = memory(&Engine::linked());
    let interrupter = db.interrupter();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                interrupter.interrupt();
                std::thread::yield_now();
            }
        });
        let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
        let error = db.query(endless).unwrap_err();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(error.code, rusqlite::ffi::SQLITE_INTERRUPT);
    });
    db.interrupt();
    db.close().unwrap();
    interrupter.interrupt();
}

#[test]
fn a_leaked_statement_is_told_at_close() {
    let db = memory(&Engine::linked());
    std::mem::forget(db.prepare("SELECT 1").unwrap());
    assert!(db.close().unwrap_err().is_busy());
}

#[test]
fn connections_may_move_between_threads() {
    let db = memory(&Engine::linked());
    let answer = std::thread::spawn(move || db.query_int("SELECT 42").unwrap()).join().unwrap();
    assert_eq!(answer, Some(42));
}

#[test]
fn the_systems_library_does_everything() {
    let Some(engine) = system() else { return };
    assert!(engine.path().is_some_and(Path::is_absolute));
    exercise(&engine);
    assert_eq!(Engine::load(engine.path().unwrap()).unwrap().source_id(), engine.source_id());
}

/// Registers a VFS in each of two libraries, and looks for it in the other.
fn isolated(one: &Engine, two: &Engine) {
    let shim =
        |engine: &Engine, name: &str| FaultVfs::builder().library(engine.vfs_api()).name(name).register().unwrap();
    assert!(one.has_vfs("unix") && two.has_vfs("unix"));
    let (first, second) = (shim(one, "isolated-one"), shim(two, "isolated-two"));
    assert!(one.has_vfs("isolated-one") && two.has_vfs("isolated-two"));
    assert!(!one.has_vfs("isolated-two") && !two.has_vfs("isolated-one"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    for (engine, shim) in [(one, &first), (two, &second)] {
        let db = engine.open(path.to_str().unwrap(), OPEN_READ_WRITE_CREATE, Some(shim.name())).unwrap();
        db.execute("CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES (sqlite_version())").unwrap();
        assert_eq!(db.query("SELECT sqlite_version()").unwrap(), [[Value::Text(engine.version().to_owned())]]);
        engine.open(path.to_str().unwrap(), OPEN_READ_WRITE_CREATE, Some("isolated-none")).unwrap_err();
    }
}

#[test]
fn a_vfs_of_one_engine_is_not_seen_by_another() {
    let Some(loaded) = system() else { return };
    isolated(&Engine::linked(), &loaded);
}

#[test]
fn two_versions_live_side_by_side() {
    // Building them takes minutes, so this looks at those that are there: `seawall sqlite build VERSION`.
    let built = std::env::current_exe().unwrap();
    let folder = built.ancestors().find(|folder| folder.join(".rustc_info.json").exists()).map(|it| it.join("sqlite"));
    let folder = std::env::var_os("SEAWALL_CACHE").map(PathBuf::from).or(folder);
    let mut count = 0;
    for entry in folder.iter().flat_map(fs::read_dir).flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let version = name.strip_prefix("sqlite-").and_then(|rest| rest.strip_suffix(std::env::consts::DLL_SUFFIX));
        let Some(version) = version else { continue };
        let engine = Engine::load(&entry.path()).unwrap();
        assert_eq!(engine.version(), version);
        assert_eq!(Engine::linked().version(), rusqlite::version());
        isolated(&Engine::linked(), &engine);
        exercise(&engine);
        count += 1;
    }
    eprintln!("{count} versions were there");
}

#[test]
fn a_generator_that_is_reset_draws_its_seed_from_the_default_vfs() {
    let Some(path) = found(&["libsqlite3.so.0"]) else { return };
    // A copy is a library of its own, so that the other tests' engine keeps its default VFS.
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own.so");
    fs::copy(path, &own).unwrap();
    let engine = Engine::load(&own).unwrap();
    let draw = |name: &str, seed: u64| {
        let builder = FaultVfs::builder().library(engine.vfs_api()).name(name).default_vfs();
        let _default = builder.entropy(Seed(seed)).register().unwrap();
        engine.reset_randomness();
        memory(&engine).query_int("SELECT random()").unwrap()
    };
    let first = draw("first", 7);
    assert_eq!(draw("again", 7), first);
    assert_ne!(draw("other", 8), first);
}

#[test]
fn what_is_no_engine_is_refused_with_its_reason() {
    #[track_caller]
    fn check(path: &Path, expected: &str) {
        let answer = Engine::load(path).unwrap_err().to_string();
        assert_eq!(answer, format!("{}: {expected}", path.display()));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let other = "this is no shared object; an SQLite library is wanted, like libsqlite3.so.0";
    check(&folder.path().join("nothing.so"), "No such file or directory");
    check(folder.path(), other);
    check(&file("empty.so", b""), other);
    check(&file("text.so", b"INPUT(libsqlite3.so.0)"), other);
    check(&file("cut.so", b"\x7fELF"), "this cannot be loaded: file too short");
    if cfg!(target_os = "linux") && Path::new("/bin/sh").exists() {
        let error = Engine::load(Path::new("/bin/sh")).unwrap_err();
        assert!(matches!(error, EngineError::Unloadable { .. }), "{error}");
        assert!(error.to_string().starts_with("/bin/sh: this cannot be loaded: cannot"), "{error}");
    }
    for library in [found(&["libm.so.6"]), found(&["libc.so.6"])].iter().flatten() {
        check(library, "this is no SQLite library: it lacks the function sqlite3_libversion");
    }
}

#[test]
fn a_library_that_lacks_something_is_refused_by_its_name() {
    let compile = |source: &str, name: &str, folder: &Path| {
        let (input, output) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
        fs::write(&input, source).unwrap();
        let mut command = std::process::Command::new("cc");
        command.args(["-shared", "-fPIC", "-w", "-o"]).args([&output, &input]);
        command.status().is_ok_and(|status| status.success()).then_some(output)
    };
    let folder = tempfile::tempdir().unwrap();
    let partial = "char *sqlite3_libversion(void) { return \"3.1\"; } char *sqlite3_sourceid(void) { return 0; }";
    let Some(path) = compile(partial, "partial", folder.path()) else {
        eprintln!("skipped: this machine has no C compiler called cc");
        return;
    };
    let error = Engine::load(&path).unwrap_err().to_string();
    assert_eq!(error, format!("{}: this SQLite library lacks the function sqlite3_threadsafe", path.display()));

    // All functions, none of which does anything, but those that say how the library was built.
    let all = include_str!("ffi.rs").split_whitespace().filter_map(|word| word.strip_suffix(':'));
    let names: Vec<&str> = all.filter(|word| word.starts_with("sqlite3_")).collect();
    assert!(names.len() > 40);
    let answers = |threads: &str, used: &str| -> String {
        let body = |name: &str| match name {
            "sqlite3_libversion" => "return \"3.1\";".to_owned(),
            "sqlite3_threadsafe" => format!("return (void *){threads}L;"),
            "sqlite3_compileoption_used" => format!("return (void *)(long)({used});"),
            _ => "return 0;".to_owned(),
        };
        names.iter().map(|name| format!("void *{name}(char *name) {{ {} }}\n", body(name))).collect()
    };
    let cases = [
        ("0", "0", "was built without threads (SQLITE_THREADSAFE=0)"),
        ("1", "name[5] == 'W'", "was built without write-ahead logs (SQLITE_OMIT_WAL)"),
        ("1", "0", "is mixed up with another one in this process: link it with -Wl,-Bsymbolic"),
    ];
    for (number, (threads, used, expected)) in (1..).zip(cases) {
        let path = compile(&answers(threads, used), &format!("hollow{number}"), folder.path()).unwrap();
        let error = Engine::load(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{}: this SQLite 3.1 {expected}", path.display()));
    }
}
