//! What a call through the store costs, in instructions, beside the same statements through a bare `Mutex<Connection>`.
//!
//! The method is the one of the bench `instructions`: each contestant runs under callgrind with two numbers of calls,
//! and the difference is the calls' alone. Instructions inside the kernel do not count. One row, `synchronous=FULL`,
//! a file system in memory where there is one.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use seawall::Store;
use std::env;
use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

type Failure = Box<dyn Error>;

/// Numbers of calls whose difference is measured.
const CALLS: [u64; 2] = [200, 1200];
/// The word by which the bench tells that it runs under callgrind.
const CHILD: &str = "--call";
/// What is measured, beside which call on the mutex, and by how many per cent it may cost more.
const ROWS: [(&str, &str, Option<f64>); 4] = [
    ("read-on-reader", "mutex-read", Some(5.0)),
    ("read-on-writer", "mutex-read", Some(5.0)),
    ("write", "mutex-write", Some(10.0)),
    ("with-connection", "mutex-call", None),
];
const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY, y TEXT); INSERT OR IGNORE INTO t VALUES (0, 'zero')";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [CHILD, kind, calls, path] => run(kind, calls, Path::new(path)).map(|()| true),
        // `cargo test --benches` starts it without the flag; there is nothing to test.
        _ if !arguments.iter().any(|argument| argument == "--bench") => Ok(true),
        _ => compare_all(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("layer_instructions: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Measures everything and prints the table; false if a budget is exceeded.
fn compare_all() -> Result<bool, Failure> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("layer_instructions: skipped: valgrind is missing (apt-get install valgrind)");
        return Ok(true);
    }
    println!("{:<16} {:>8} {:>8} {:>10} {:>8}", "call", "mutex", "store", "more", "budget");
    let mut is_within = true;
    for (kind, mutex, budget_percent) in ROWS {
        let (bare, ours) = (per_call(mutex)?, per_call(kind)?);
        let more_percent = (ours / bare - 1.0) * 100.0;
        let is_exceeded = budget_percent.is_some_and(|budget| more_percent > budget);
        is_within &= !is_exceeded;
        let budget = budget_percent.map_or_else(String::new, |budget| format!("+{budget} %"));
        let verdict = if is_exceeded { "  exceeded" } else { "" };
        println!("{kind:<16} {bare:>8.0} {ours:>8.0} {more_percent:>+8.2} % {budget:>8}{verdict}");
    }
    Ok(is_within)
}

fn per_call(kind: &str) -> Result<f64, Failure> {
    let [few, many] = CALLS;
    let difference = instructions(kind, many)?.checked_sub(instructions(kind, few)?);
    Ok(difference.ok_or("more calls took fewer instructions")? as f64 / (many - few) as f64)
}

fn instructions(kind: &str, calls: u64) -> Result<u64, Failure> {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([CHILD, kind, &calls.to_string()])
        .arg(dir.path().join("x.db"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{kind} under callgrind: {}\n{said}", output.status).into());
    }
    // `==PID== Collected : 123456`
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let number = collected.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("callgrind did not say what it collected:\n{said}").into())
}

/// The part that is measured.
fn run(kind: &str, calls: &str, path: &Path) -> Result<(), Failure> {
    let rows = 1..=calls.parse::<i64>()?;
    if let Some(kind) = kind.strip_prefix("mutex-") {
        return run_mutex(kind, rows, path);
    }
    let readers = usize::from(kind == "read-on-reader");
    let store = Store::builder().readers(readers).init(|conn| conn.execute_batch(SCHEMA)).open(path)?;
    for row in rows {
        match kind {
            "read-on-reader" | "read-on-writer" => store.read(read).map(drop)?,
            "write" => store.write(|transaction| insert(transaction, row))?,
            "with-connection" => store.with_connection(|conn| read(conn)).map(drop)?,
            _ => return Err("no such kind".into()),
        }
    }
    Ok(())
}

fn run_mutex(kind: &str, rows: impl Iterator<Item = i64>, path: &Path) -> Result<(), Failure> {
    let conn = Connection::open(path)?;
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.execute_batch(SCHEMA)?;
    let mutex = Mutex::new(conn);
    for row in rows {
        let mut conn = mutex.lock().map_err(|_| "a call has panicked")?;
        match kind {
            "read" => {
                let transaction = conn.transaction()?;
                read(&transaction)?;
                transaction.finish()?;
            }
            "write" => {
                let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
                insert(&transaction, row)?;
                transaction.commit()?;
            }
            "call" => drop(read(&conn)?),
            _ => return Err("no such kind".into()),
        }
    }
    Ok(())
}

fn read(conn: &Connection) -> rusqlite::Result<String> {
    conn.prepare_cached("SELECT y FROM t WHERE x = ?1")?.query_row([0], |row| row.get(0))
}

fn insert(transaction: &Transaction<'_>, row: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("INSERT INTO t VALUES (?1, 'text')")?.execute([row]).map(drop)
}
