//! `seawall doctor --fix` on every sick state of files: never worse than not calling it.
//!
//! The states are made by another program, Python's sqlite3, by `kill -9` and by copying, moving and damaging files.
//! Each is repaired three times from the same files: without a choice, with `--take alone`, with `--take log`. What
//! comes out is compared with what SQLite makes of the files if the doctor is not called.

use super::{run, text};
use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Builds the state that is named by its second argument, of `x.db` in the directory of its first.
const BUILD: &str = include_str!("states.py");

/// The states. Each repair without a choice is refused but for those that are marked.
const STATES: [&str; 30] = [
    "killed-writer",
    "killed-writer-without-shm",
    "killed-after-checkpoint",
    "killed-in-partial-checkpoint",
    "killed-in-transaction",
    "killed-with-fts-and-without-rowid",
    "killed-after-vacuum",
    "copied-at-two-moments",
    "restored-same-size",
    "restored-smaller",
    "restored-larger",
    "log-of-another-database",
    "log-with-another-page-size",
    "log-beside-rollback-mode",
    "log-cut-in-a-frame",
    "log-with-a-flipped-bit",
    "log-with-a-bad-header",
    "log-of-zeros",
    "log-beside-damage",
    "log-beside-a-short-file",
    "log-beside-an-empty-file",
    "log-without-database",
    "log-and-a-second-name",
    "log-behind-a-link",
    "hot-journal",
    "hot-journal-cut",
    "restored-with-old-journal",
    "journal-of-another-database",
    "journal-without-database",
    "journal-and-log",
];

/// SQLite takes these logs for empty: there is one outcome, and nothing to repair.
const NOTHING_TO_REPAIR: [&str; 2] = ["log-with-a-bad-header", "log-of-zeros"];

/// A database as text: its tables with their rows, or why they cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    tables: BTreeMap<String, Vec<String>>,
    integrity: String,
}

impl Content {
    fn rows(&self) -> usize {
        self.tables.values().map(Vec::len).sum()
    }

    fn told(&self) -> String {
        if self.integrity == "ok" { self.rows().to_string() } else { format!("{} damaged", self.rows()) }
    }
}

fn content(path: &Path) -> Content {
    let failed = |error: rusqlite::Error| Content { tables: BTreeMap::new(), integrity: error.to_string() };
    read(path).unwrap_or_else(failed)
}

fn read(path: &Path) -> rusqlite::Result<Content> {
    let conn = Connection::open(path)?;
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name";
    let names: Vec<String> = conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut tables = BTreeMap::new();
    for name in names {
        let mut statement = conn.prepare(&format!("SELECT * FROM \"{name}\""))?;
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let values: Result<Vec<Value>, _> = (0..columns).map(|column| row.get(column)).collect();
            Ok(format!("{:?}", values?))
        };
        // A row that cannot be read is not there.
        tables.insert(name, statement.query_map([], row)?.flatten().collect());
    }
    let integrity = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok(Content { tables, integrity })
}

/// A copy of all files of a directory, links as links.
fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let source = format!("{}/.", from.display());
    assert!(Command::new("cp").args(["-a", &source, text(to.path())]).status().unwrap().success());
    to
}

/// The files by name, but for what a repair that is refused may leave.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file() && !path.to_string_lossy().ends_with(".init.lock"));
    files.map(|path| (path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// What one repair has come to.
struct Repaired {
    is_done: bool,
    after: Content,
    report: Json,
}

fn repair(state: &Path, take: Option<&str>) -> Repaired {
    let place = copy(state);
    let path = place.path().join("x.db");
    let before = files(place.path());
    let taken: Vec<&str> = take.iter().flat_map(|take| ["--take", take]).collect();
    let answer = run(&[&["doctor", text(&path), "--json", "--fix", "--yes"], &taken[..]].concat());
    let report: Json = serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}: {}", answer.err));
    assert!(matches!(answer.status, Some(0 | 100)), "{report:#}");
    assert_eq!(report["failure"], Json::Null, "{report:#}");
    let is_done = report["done"].as_array().is_some_and(|done| !done.is_empty());
    if !is_done {
        assert_eq!(files(place.path()), before, "refused, and not untouched: {report:#}");
        assert_eq!(folders(place.path()), Vec::<PathBuf>::new(), "{report:#}");
        assert_eq!(report["before"]["findings"].as_array().map(Vec::is_empty), Some(false));
    } else if let Some(kept) = report["kept"].as_str() {
        // Every file that was changed or moved is kept, byte for byte.
        let after = files(place.path());
        for (name, bytes) in before {
            let real = fs::canonicalize(place.path().join(&name)).unwrap_or_else(|_| place.path().join(&name));
            let kept = Path::new(kept).join(real.file_name().unwrap());
            assert!(after.get(&name) == Some(&bytes) || fs::read(&kept).unwrap() == bytes, "{name:?}: {report:#}");
        }
    }
    // A look does not change what the next one sees.
    let after = copy(place.path());
    Repaired { is_done, after: content(&after.path().join("x.db")), report }
}

fn check_state(name: &str, line: &mut Vec<String>) {
    let state = tempfile::tempdir().unwrap();
    let built = Command::new("python3").args(["-c", BUILD, text(state.path()), name]).output().unwrap();
    assert!(built.status.success(), "{name}: {}", String::from_utf8_lossy(&built.stderr));
    let database = |folder: &TempDir| content(&folder.path().join("x.db"));
    let given = database(&copy(state.path()));
    let without = copy(state.path());
    // Side files are those of the file behind a link.
    let path = without.path().join("x.db");
    let path = fs::canonicalize(&path).unwrap_or(path);
    for suffix in ["-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(format!("{}{suffix}", path.display()));
    }
    let alone = database(&without);
    line.extend([name.to_owned(), alone.told(), given.told()]);
    let is_there = state.path().join("x.db").exists();
    for take in [None, Some("alone"), Some("log")] {
        let Repaired { is_done, after, report } = repair(state.path(), take);
        let is_refused = report["plan"]["refusals"].as_array().is_some_and(|refusals| !refusals.is_empty());
        assert!(is_done || is_refused || NOTHING_TO_REPAIR.contains(&name), "{name} {take:?}: {report:#}");
        line.push(match (is_done, is_refused) {
            (true, _) => after.told(),
            (false, true) => "refused".to_owned(),
            (false, false) => "nothing to do".to_owned(),
        });
        if !is_done {
            assert_eq!(after, given, "{name} {take:?}: {report:#}");
            continue;
        }
        let at_least = [&given, &alone];
        match take {
            // Without a choice there was none: both are the same, or nothing but side files is there.
            None => assert!(at_least.iter().all(|other| after == **other) || !is_there, "{name}: {report:#}"),
            Some("alone") => assert_eq!(after, alone, "{name}: {report:#}"),
            // SQLite deletes the log of an empty file, and the doctor does not.
            Some(_) if name == "log-beside-an-empty-file" => assert!(after.rows() > given.rows()),
            Some(_) => assert!(after == given || !is_there, "{name}: {report:#}"),
        }
        assert_eq!(after.integrity, "ok", "{name} {take:?}: {report:#}");
    }
}

#[test]
fn a_repair_of_any_sick_state_is_never_worse_than_none() {
    let has_sqlite = Command::new("python3").args(["-c", "import sqlite3"]).status();
    if !has_sqlite.is_ok_and(|status| status.success()) {
        println!("skipped: there is no python3 with sqlite3 here");
        return;
    }
    let head = ["state", "alone", "not called", "--fix", "--take alone", "--take log"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for name in STATES {
        let mut line = Vec::new();
        check_state(name, &mut line);
        lines.push(line);
    }
    println!("rows: of the database alone, as SQLite opens it, and after each repair");
    for line in &lines {
        let cells: Vec<String> = line.iter().skip(1).map(|cell| format!("{cell:>14}")).collect();
        println!("{:<36}{}", line[0], cells.join(""));
    }
    let refused = lines.iter().filter(|line| line[3] == "refused").count();
    assert!(refused > 15, "the states have two outcomes: {refused}");
    let taken = lines.iter().filter(|line| line[5] != "refused").count();
    assert!(taken > 15, "and one of them can be had: {taken}");
}
