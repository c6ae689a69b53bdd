//! `seawall doctor` as another process beside the one that has the database open: it must not be felt there.

use super::{Answer, run, text};
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A reader of a snapshot and a writer in a transaction, in a process that ends when its standard input does.
const PYTHON: &str = r#"
import sqlite3, sys
connect = lambda: sqlite3.connect(sys.argv[1], isolation_level=None)
writer = connect()
writer.execute("PRAGMA journal_mode = " + sys.argv[2])
writer.execute("CREATE TABLE t (x)")
writer.execute("INSERT INTO t VALUES (1)")
reader = connect()
reader.execute("BEGIN")
reader.execute("SELECT count(*) FROM t").fetchall()
writer.execute("BEGIN IMMEDIATE")
writer.execute("INSERT INTO t VALUES (2)")
print("ready", flush=True)
sys.stdin.read()
"#;

/// A file: its name, its content as a checksum, when it was changed.
type Entry = (PathBuf, String, i64, i64, u64);

/// Every file of a folder, and the locks of all processes on them. The checksums are taken by another process, since to
/// close a file drops the locks of the process that does.
fn state(folder: &Path) -> (Vec<Entry>, Vec<String>) {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let entry = |path: PathBuf| {
        let sum = Command::new("cksum").arg(&path).output().unwrap();
        assert!(sum.status.success());
        let status = fs::metadata(&path).unwrap();
        (path, String::from_utf8(sum.stdout).unwrap(), status.mtime_nsec(), status.ctime_nsec(), status.ino())
    };
    let mut files: Vec<Entry> = paths.map(entry).collect();
    files.sort();
    let look = || {
        // Much at a time: between two reads lines come and go.
        let mut table = String::with_capacity(1 << 18);
        let _ = fs::File::open("/proc/locks").and_then(|mut file| file.read_to_string(&mut table));
        let is_ours = |line: &&str| files.iter().any(|file| line.contains(&format!(":{} ", file.4)));
        // The number in front is the place in the table.
        let locks = table.lines().filter(is_ours).filter_map(|line| line.split_once(": "));
        let mut locks: Vec<String> = locks.map(|(_, lock)| lock.to_owned()).collect();
        locks.sort();
        // A line may come twice when the table changes between two reads; no process has the same lock twice.
        locks.dedup();
        locks
    };
    // A long table comes in pieces, and a line may be missed in between.
    let still = (0..100).map(|_| (look(), look())).find(|(one, other)| one == other);
    (files.clone(), still.expect("the table of locks never stood still").0)
}

struct Held {
    dir: TempDir,
    path: PathBuf,
    holder: Holder,
}

enum Holder {
    Python(Child),
    Test { _connections: [Connection; 2] },
}

impl Held {
    fn place() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        (dir, path)
    }

    /// `None` where there is no Python with SQLite.
    fn by_python(journal_mode: &str) -> Option<Held> {
        let (dir, path) = Held::place();
        let mut command = Command::new("python3");
        command.args(["-c", PYTHON]).arg(&path).arg(journal_mode).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            println!("skipped: there is no python3 here");
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            println!("skipped: python3 has no sqlite3 here");
            child.wait().unwrap();
            return None;
        }
        Some(Held { dir, path, holder: Holder::Python(child) })
    }

    /// The test's own process, which is another one than the doctor's.
    fn by_test(journal_mode: &str) -> Held {
        let (dir, path) = Held::place();
        let writer = Connection::open(&path).unwrap();
        let schema = "CREATE TABLE t (x); INSERT INTO t VALUES (1)";
        writer.execute_batch(&format!("PRAGMA journal_mode = {journal_mode}; {schema}")).unwrap();
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)").unwrap();
        Held { dir, path, holder: Holder::Test { _connections: [reader, writer] } }
    }

    fn pid(&self) -> u32 {
        match &self.holder {
            Holder::Python(child) => child.id(),
            Holder::Test { .. } => std::process::id(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Holder::Python(child) = &mut self.holder {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}

fn doctor(args: &[&str]) -> (Answer, Value) {
    let answer = run(&[&["doctor", "--json"], args].concat());
    let report = serde_json::from_str(&answer.out).unwrap_or(Value::Null);
    (answer, report)
}

/// Examines a held database in every way, and holds the state before against the state after.
#[track_caller]
fn check_undisturbed(held: &Held) {
    let before = state(held.dir.path());
    if !Path::new("/proc/locks").exists() {
        println!("skipped: there is no /proc/locks here");
        return;
    }
    assert!(before.1.len() >= 2, "{:?}", before.1);
    let path = text(&held.path);
    for _ in 0..3 {
        let (answer, report) = doctor(&[path]);
        assert_eq!((answer.status, answer.err.as_str()), (Some(0), ""), "{}", answer.out);
        assert_eq!(report["schema"], 1);
        let holders = report["holders"].as_array().unwrap();
        assert!(holders.iter().any(|holder| holder["pid"] == held.pid() && holder["role"] == "db"), "{report:#}");
        let locks = report["locks"].as_array().unwrap();
        assert!(locks.iter().any(|lock| lock["pid"] == held.pid() && lock["is_write"] == true), "{report:#}");
        assert!(
            report["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "writing"),
            "{report:#}"
        );
        let human = run(&["doctor", path]);
        assert!(human.out.contains(&format!("held by   {}", held.pid())), "{}", human.out);
        assert!(human.out.lines().last().unwrap().starts_with("next: "), "{}", human.out);
    }
    for fix in [&["--fix"][..], &["--fix", "--yes"]] {
        let (answer, report) = doctor(&[&[path], fix].concat());
        if held.path.with_file_name("x.db-wal").exists() {
            assert_eq!(answer.status, Some(100), "{}", answer.out);
            let refusal = report["plan"]["refusals"][0].as_str().unwrap();
            assert!(refusal.contains(&held.pid().to_string()), "{refusal}");
        }
        assert!(report["after"].is_null());
    }
    let after = state(held.dir.path());
    assert_eq!(after.1, before.1, "locks");
    assert_eq!(after.0, before.0, "files");
}

#[test]
fn a_python_process_with_open_transactions_feels_nothing() {
    for journal_mode in ["WAL", "DELETE"] {
        if let Some(held) = Held::by_python(journal_mode) {
            check_undisturbed(&held);
        }
    }
}

#[test]
fn another_process_with_open_transactions_feels_nothing() {
    for journal_mode in ["WAL", "DELETE"] {
        check_undisturbed(&Held::by_test(journal_mode));
    }
}

/// The canary of the tests above: SQLite's own close and a stranger's look do change what they compare.
#[test]
fn what_is_compared_changes_when_a_process_is_disturbed() {
    let held = Held::by_test("WAL");
    let before = state(held.dir.path());
    if before.1.is_empty() {
        println!("skipped: there is no /proc/locks here");
        return;
    }
    drop(fs::File::open(&held.path).unwrap());
    assert_ne!(state(held.dir.path()).1, before.1);
    fs::write(held.path.with_file_name("x.db-journal"), "").unwrap();
    assert_ne!(state(held.dir.path()).0, before.0);
}

/// The files of a database whose processes have died.
fn left_behind() -> (TempDir, PathBuf) {
    let held = Held::by_test("WAL");
    let (dir, path) = Held::place();
    for suffix in ["", "-wal"] {
        let from = format!("{}{suffix}", held.path.display());
        let to = format!("{}{suffix}", path.display());
        assert!(Command::new("cp").args([from, to]).status().unwrap().success());
    }
    (dir, path)
}

#[test]
fn a_repair_is_shown_first_and_done_when_it_is_asked_for() {
    let (dir, path) = left_behind();
    let before = state(dir.path());
    let dry = run(&["doctor", text(&path), "--fix"]);
    assert_eq!((dry.status, dry.err.as_str()), (Some(100), ""), "two outcomes: {}", dry.out);
    assert!(dry.out.contains("refused: two outcomes are possible"), "{}", dry.out);
    for part in ["--take alone", "--take log", "integrity", "newest change (UTC)"] {
        assert!(dry.out.contains(part), "{part}: {}", dry.out);
    }
    let dry = run(&["doctor", text(&path), "--fix", "--take", "log"]);
    assert_eq!((dry.status, dry.err.as_str()), (Some(0), ""));
    assert!(dry.out.contains("would: ") && dry.out.contains("--fix --take log --yes"), "{}", dry.out);
    let (answer, report) = doctor(&[text(&path), "--fix", "--take", "log"]);
    assert_eq!((answer.status, &report["dry_run"], &report["after"]), (Some(0), &true.into(), &Value::Null));
    assert_eq!(report["plan"]["steps"][0]["action"], "recover");
    let rows = |number: usize| report["outcomes"][number]["rows"].as_u64();
    assert_eq!((rows(0), rows(1), &report["outcomes"][1]["take"]), (Some(0), Some(1), &"log".into()));
    assert_eq!(state(dir.path()).0, before.0, "a dry run changes nothing");
    let (answer, report) = doctor(&[text(&path), "--fix", "--yes"]);
    assert_eq!((answer.status, &report["done"]), (Some(100), &Value::Array(vec![])), "nothing was chosen");
    let (answer, report) = doctor(&[text(&path), "--fix", "--take", "log", "--yes"]);
    assert_eq!((answer.status, &report["dry_run"], &report["failure"]), (Some(0), &false.into(), &Value::Null));
    assert!(report["before"]["pending"]["frames"].as_u64() > Some(0), "{report:#}");
    assert_eq!((&report["after"]["pending"]["frames"], &report["taken"]), (&0.into(), &"log".into()));
    assert!(!path.with_file_name("x.db-wal").exists());
    let kept = Path::new(report["kept"].as_str().unwrap()).join("x.db-wal");
    assert_eq!(fs::read(kept).unwrap().len() as u64, report["before"]["wal"]["bytes"]);
    let rows: i64 = Connection::open(&path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn findings_refusals_and_wrong_paths_have_their_exit_status() {
    let (dir, path) = left_behind();
    fs::remove_file(&path).unwrap();
    let (answer, report) = doctor(&[text(&path)]);
    assert_eq!((answer.status, &report["severity"]), (Some(100), &"danger".into()), "{}", answer.out);
    assert_eq!((&report["findings"][0]["code"], &report["database"]), (&"orphan-side-files".into(), &Value::Null));
    let missing = run(&["doctor", text(&dir.path().join("y.db"))]);
    assert_eq!((missing.status, missing.out.as_str()), (Some(2), ""));
    assert!(missing.err.contains("y.db") && missing.err.contains("check the path"), "{}", missing.err);
    assert_eq!(run(&["doctor", text(&path), "--yes"]).status, Some(2), "--yes alone says nothing");
}
