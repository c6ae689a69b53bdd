//! The options of `seawall doctor`: several databases, `--save`, `--watch`, `--explain`, and what is refused.

use super::{Answer, command, listing, run, text};
use rusqlite::Connection;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("x.db");
    (dir, path)
}

fn database(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
    )
    .unwrap();
    conn
}

fn json(args: &[&str]) -> (Answer, Value) {
    let answer = run(&[&["doctor", "--format", "json"], args].concat());
    let value =
        serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}: {} {}", answer.out, answer.err));
    (answer, value)
}

#[track_caller]
fn check_refused(args: &[&str], parts: &[&str]) {
    let answer = run(&[&["doctor"], args].concat());
    assert_eq!((answer.status, answer.out.as_str()), (Some(2), ""), "{args:?}: {}", answer.err);
    for part in parts {
        assert!(answer.err.contains(part), "`{part}` is not in: {}", answer.err);
    }
}

#[test]
fn a_directory_stands_for_the_databases_in_it() {
    let (dir, path) = place();
    drop(database(&path));
    drop(database(&path.with_file_name("second.data")));
    fs::write(path.with_file_name("notes.txt"), "no database").unwrap();
    let wal = path.with_file_name("gone.db-wal");
    let live = database(&path.with_file_name("live.db"));
    assert!(Command::new("cp").arg(path.with_file_name("live.db-wal")).arg(&wal).status().unwrap().success());
    let (answer, report) = json(&[text(dir.path())]);
    assert_eq!((answer.status, &report["schema"]), (Some(100), &1.into()), "the database of a log is gone");
    let databases = report["databases"].as_array().unwrap();
    let names: Vec<_> = databases.iter().map(|one| one["path"].as_str().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["gone.db", "live.db", "second.data", "x.db"]);
    assert!(databases.iter().all(|one| one["findings"].as_array().is_some_and(|findings| !findings.is_empty())));
    assert_eq!(report["errors"], Value::Array(vec![]));
    let human = run(&["doctor", text(dir.path())]);
    assert_eq!(human.out.matches("\nnext: ").count(), 4, "{}", human.out);
    drop(live);
    let empty = tempfile::tempdir().unwrap();
    let none = run(&["doctor", text(empty.path())]);
    assert_eq!((none.status, none.err.as_str()), (Some(4), "there is no database\n"));
}

#[test]
fn several_databases_are_one_object_and_a_wrong_one_does_not_hide_the_others() {
    let (dir, path) = place();
    drop(database(&path));
    let second = path.with_file_name("second.db");
    drop(database(&second));
    let (answer, report) = json(&[text(&path), text(&second), text(&path)]);
    assert_eq!((answer.status, report["databases"].as_array().map(Vec::len)), (Some(0), Some(2)), "each once");
    let missing = dir.path().join("missing.db");
    let (answer, report) = json(&[text(&path), text(&missing)]);
    assert_eq!((answer.status, report["databases"].as_array().map(Vec::len)), (Some(2), Some(1)));
    assert!(report["errors"][0]["path"].as_str().unwrap().ends_with("missing.db"), "{report:#}");
    let (_, single) = json(&[text(&path)]);
    let finding = &single["findings"][0];
    assert!(["severity", "code", "text", "next"].iter().all(|key| finding[key].is_string()), "{finding:#}");
    let short: Value = serde_json::from_str(&run(&["doctor", "--json", text(&path)]).out).unwrap();
    assert_eq!(short["findings"][0]["code"], finding["code"]);
}

/// A process with files of a database open that have been deleted: it writes a row whenever it is told to.
fn holder(path: &Path) -> Option<Child> {
    let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute('PRAGMA journal_mode = WAL')
c.execute('CREATE TABLE t (x)')
c.execute('INSERT INTO t VALUES (1)')
c.execute('INSERT INTO t VALUES (2)')
print('ready', flush=True)
sys.stdin.read()";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (line == "ready\n").then_some(child)
}

#[test]
fn deleted_files_that_a_process_has_open_are_saved_whole() {
    for lost in [&["-wal", "-shm"][..], &["", "-wal", "-shm"]] {
        let (dir, path) = place();
        let Some(mut child) = holder(&path) else {
            println!("skipped: there is no python3 with sqlite3 here");
            return;
        };
        let saved = dir.path().join("saved");
        let none = run(&["doctor", text(&path), "--save", text(&saved)]);
        assert_eq!((none.status, saved.exists()), (Some(4), false), "{}", none.err);
        let log = fs::read(path.with_file_name("x.db-wal")).unwrap();
        for suffix in lost {
            fs::remove_file(format!("{}{suffix}", path.display())).unwrap();
        }
        // Without the database there must be something that says that it was there.
        fs::write(path.with_file_name("x.db-journal"), "").unwrap();
        let (answer, report) = json(&[text(&path), "--save", text(&saved)]);
        assert_eq!(answer.status, Some(0), "{report:#}");
        assert_eq!(listing(&saved), ["x.db", "x.db-wal"]);
        let of_log = report["saved"].as_array().unwrap().iter().find(|file| file["role"] == "wal").unwrap().clone();
        assert_eq!((&of_log["bytes"], &of_log["is_consistent"]), (&log.len().into(), &true.into()));
        assert_eq!((&of_log["commits"], &of_log["pids"][0]), (&3.into(), &child.id().into()), "{of_log:#}");
        assert!(of_log["committed_frames"].as_u64() >= Some(3));
        assert_eq!(fs::read(saved.join("x.db-wal")).unwrap(), log);
        let mode = |name: &str| fs::metadata(saved.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("x.db-wal") & 0o022, fs::metadata(&saved).unwrap().permissions().mode() & 0o777), (0, 0o700));
        let again = run(&["doctor", text(&path), "--save", text(&saved)]);
        assert!(again.status == Some(2) && again.err.contains("saved"), "{}", again.err);
        drop(child.stdin.take());
        child.wait().unwrap();
        let conn = Connection::open(saved.join("x.db")).unwrap();
        assert_eq!(conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0)), Ok(2));
    }
}

/// The lines of `--watch` until a pattern, and the process.
fn watch(args: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = command(&[&["doctor", "--watch", "--interval", "50ms"], args].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn next_line(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line
}

#[test]
fn a_watch_prints_a_line_when_something_changes_and_ends_with_130() {
    let (_dir, path) = place();
    drop(database(&path));
    let (mut child, mut out) = watch(&[text(&path)]);
    let first = next_line(&mut out);
    assert!(first.contains("x.db: ") && !first.contains("held by"), "{first}");
    let holder = Connection::open(&path).unwrap();
    holder.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
    let held = format!("+{}", std::process::id());
    while !next_line(&mut out).contains(&held) {}
    drop(holder);
    let gone = format!("-{}", std::process::id());
    while !next_line(&mut out).contains(&gone) {}
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_watch_as_json_prints_reports_and_ends_with_its_reader() {
    let (_dir, path) = place();
    drop(database(&path));
    let (mut child, mut out) = watch(&["--json", text(&path)]);
    let report: Value = serde_json::from_str(&next_line(&mut out)).unwrap();
    assert!(report["findings"].is_array());
    drop(out);
    let holder = Connection::open(&path).unwrap();
    holder.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "a closed pipe is no error");
}

#[test]
fn a_code_is_explained_and_a_mistyped_one_gets_the_nearest() {
    let answer = run(&["doctor", "--explain", "lost-locks"]);
    assert_eq!((answer.status, answer.err.as_str()), (Some(0), ""));
    for part in ["lost-locks: ", "(danger)", "meaning", "to do", "not to do"] {
        assert!(answer.out.contains(part), "{part}: {}", answer.out);
    }
    let answer = run(&["doctor", "--explain", "lost-locks", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&answer.out).unwrap()["code"], "lost-locks");
    check_refused(&["--explain", "lost-lock"], &["unknown code `lost-lock`", "did you mean `lost-locks`?"]);
    check_refused(&["--explain", "quite another\nword"], &["`quite another\\nword`", "the codes are: "]);
    for kind in seawall::doctor::codes() {
        assert_eq!(run(&["doctor", "--explain", kind.code]).status, Some(0), "{}", kind.code);
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let (_dir, path) = place();
    drop(database(&path));
    let x = text(&path);
    check_refused(&[], &["required", "DB|DIR"]);
    check_refused(&[x, "--yes"], &["--fix"]);
    check_refused(&[x, "--take", "log"], &["--fix"]);
    check_refused(&[x, "--fix", "--take", "both"], &["'both'", "alone, log"]);
    check_refused(&[x, "--fix", "--watch"], &["'--fix'", "'--watch'"]);
    check_refused(&[x, "--save", "d", "--fix"], &["'--save <DIR>'", "'--fix'"]);
    check_refused(&[x, "--save", "d", "--watch"], &["--save", "--watch"]);
    check_refused(&[x, "--interval", "1s"], &["--watch"]);
    check_refused(&[x, "--watch", "--interval", "0s"], &["`0s` is not a pause"]);
    check_refused(&[x, "--explain", "long-log"], &["--explain"]);
    check_refused(&[x, "--format", "junit"], &["'junit'", "human, json"]);
    check_refused(&[x, "--json", "--format", "human"], &["--json", "--format"]);
    check_refused(&[x, x, "--fix", "--take", "log"], &["--take is for one database"]);
    check_refused(&[x, "y", "--save", "d"], &["--save is for one database"]);
}

#[test]
fn what_is_no_database_is_refused_in_one_line() {
    let (dir, path) = place();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, part) in [
        (pipe.clone(), "not a file"),
        ("/dev/null".into(), "not a file"),
        ("/dev/zero".into(), "not a file"),
        (path.clone(), "nothing is there"),
        (dir.path().join("a\nb.db"), "a\\nb.db"),
        (dir.path().join("no/such/x.db"), "No such file"),
        (path.join("x.db"), ""),
        ("".into(), ""),
    ] {
        for options in [&[][..], &["--json"], &["--fix"], &["--fix", "--yes"], &["--watch"], &["--save", "d"]] {
            let mut command = command(&["doctor"]);
            let answer = super::answer({
                command.arg(&path).args(options);
                command
            });
            assert_eq!((answer.status, answer.out.as_str()), (Some(2), ""), "{path:?} {options:?}: {}", answer.err);
            let is_usage = answer.err.contains("--help");
            assert!(is_usage || answer.err.trim_end().lines().count() == 1, "{}", answer.err);
            assert!(answer.err.contains(part), "{path:?}: {}", answer.err);
        }
    }
    let odd = dir.path().join(OsStr::from_bytes(b"\xff\n\x1b[2J.db"));
    drop(database(&odd));
    let human = super::answer({
        let mut command = command(&["doctor"]);
        command.arg(&odd);
        command
    });
    assert!(human.status == Some(0) && !human.out.contains('\u{1b}'), "{}", human.out);
    for name in ["/proc/self/status", "/proc/self/maps"] {
        let answer = run(&["doctor", name, "--json"]);
        assert!(matches!(answer.status, Some(0 | 2 | 100)), "{}", answer.out);
    }
    let sealed = dir.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o000)).unwrap();
    // As root, nothing is sealed.
    assert!(matches!(run(&["doctor", text(&sealed)]).status, Some(2 | 4)));
}
