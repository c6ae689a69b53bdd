//! What a store costs beside a bare `Mutex<Connection>` on the same work, and what its readers bring.
//!
//! Contestants take turns, and who begins changes from round to round, so that what else goes on in the machine hits
//! all; a ratio is the median over the rounds. A second bare mutex takes part as `control`: how far it is from 1.00 is
//! how far chance goes. Everything is on a file system in memory where there is one, so that no disk hides a
//! difference.
//!
//! Fair: the same SQLite, pragmas and statements for all, each on a file of its own. Where the store wraps the work in
//! a transaction, so does the mutex.

use rusqlite::{Connection, TransactionBehavior};
use seawall::{Builder, Registry, Store};
use seawall_scenarios::scratch;
use std::hint::black_box;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROWS: i64 = 10_000;

/// What a caller wants.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// One row by its key, without a transaction.
    Point,
    /// The same as a snapshot: in a transaction that ends.
    Snapshot,
    /// A hundred rows in a snapshot.
    Scan,
    /// One row inserted in a write transaction.
    Commit,
}

/// A way to come by a connection.
enum Contestant {
    Mutex(Mutex<Connection>),
    Store(Store),
}

impl Contestant {
    fn call(&self, work: Work, nth: i64) -> i64 {
        let key = nth.wrapping_mul(7919).rem_euclid(ROWS);
        match (self, work) {
            (Self::Mutex(mutex), Work::Point) => point(&mutex.lock().expect("no panic before"), key),
            (Self::Mutex(mutex), Work::Snapshot) => snapshot(&mutex.lock().expect("no panic before"), key, point),
            (Self::Mutex(mutex), Work::Scan) => snapshot(&mutex.lock().expect("no panic before"), key, scan),
            (Self::Mutex(mutex), Work::Commit) => commit(&mut mutex.lock().expect("no panic before"), key),
            (Self::Store(store), Work::Point) => {
                store.with_connection(|connection| point(connection, key)).map_err(told)
            }
            (Self::Store(store), Work::Snapshot) => store.read(|connection| point(connection, key)).map_err(told),
            (Self::Store(store), Work::Scan) => store.read(|connection| scan(connection, key)).map_err(told),
            (Self::Store(store), Work::Commit) => store.write(|tx| insert(tx, key)).map_err(told),
        }
        .expect("an answer")
    }
}

fn told(error: seawall::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn point(connection: &Connection, key: i64) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT value FROM bench WHERE id = ?1")?.query_row([key], |row| row.get(0))
}

fn scan(connection: &Connection, key: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT sum(value) FROM bench WHERE id BETWEEN ?1 AND ?1 + 99";
    connection.prepare_cached(sql)?.query_row([key.min(ROWS - 100)], |row| row.get(0))
}

fn insert(connection: &Connection, key: i64) -> rusqlite::Result<i64> {
    connection.prepare_cached("INSERT INTO log(value) VALUES (?1)")?.execute([key]).map(|rows| rows as i64)
}

fn snapshot(
    connection: &Connection,
    key: i64,
    body: impl Fn(&Connection, i64) -> rusqlite::Result<i64>,
) -> rusqlite::Result<i64> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let value = body(connection, key);
    connection.prepare_cached("ROLLBACK")?.execute([])?;
    value
}

fn commit(connection: &mut Connection, key: i64) -> rusqlite::Result<i64> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = insert(&tx, key)?;
    tx.commit()?;
    Ok(value)
}

/// A contestant on a database of its own.
struct BenchDatabase {
    contestant: Contestant,
    _folder: TempDir,
}

impl BenchDatabase {
    fn new(make: impl FnOnce(&Path) -> Contestant) -> Self {
        let folder = tempfile::tempdir_in(scratch::default_folder()).expect("a folder");
        let path = folder.path().join("bench.db");
        let connection = bare(&path);
        let rows = "CREATE TABLE bench(id INTEGER PRIMARY KEY, value INTEGER);
             CREATE TABLE log(id INTEGER PRIMARY KEY, value INTEGER);
             WITH RECURSIVE n(i) AS (VALUES(0) UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
             INSERT INTO bench SELECT i, i * 3 FROM n";
        connection.execute_batch(rows).expect("a table");
        drop(connection);
        Self { contestant: make(&path), _folder: folder }
    }

    fn mutex() -> Self {
        Self::new(|path| Contestant::Mutex(Mutex::new(bare(path))))
    }

    fn store(set_up: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = set_up(Store::builder().registry(Registry::new()));
        Self::new(|path| Contestant::Store(builder.open(path).expect("a store")))
    }

    /// Seconds per call.
    fn solo(&self, work: Work, calls: i64) -> f64 {
        let start = Instant::now();
        for nth in 0..calls {
            black_box(self.contestant.call(work, nth));
        }
        start.elapsed().as_secs_f64() / calls as f64
    }

    /// Reads and commits per second of so many readers beside one writer.
    fn crowd(&self, work: Work, readers: u32, turn: Duration) -> [f64; 2] {
        let (stop, reads, commits) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let seed = AtomicI64::new(0);
        let start = Instant::now();
        let run = |work, count: &AtomicU64| {
            let first = seed.fetch_add(1000, Ordering::Relaxed);
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                black_box(self.contestant.call(work, first + calls));
                calls += 1;
            }
            count.fetch_add(calls.cast_unsigned(), Ordering::Relaxed);
        };
        thread::scope(|scope| {
            scope.spawn(|| run(Work::Commit, &commits));
            for _ in 0..readers {
                scope.spawn(|| run(work, &reads));
            }
            thread::sleep(turn);
            stop.store(true, Ordering::Relaxed);
        });
        [reads, commits].map(|count| count.into_inner() as f64 / start.elapsed().as_secs_f64())
    }
}

fn bare(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a connection");
    connection.busy_timeout(Duration::from_secs(5)).expect("set");
    for (name, value) in [("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", "ON")] {
        connection.pragma_update(None, name, value).expect("set");
    }
    connection.set_prepared_statement_cache_capacity(64);
    connection
}

/// Runs so many rounds, beginning with another one each time; returns what each made of each.
fn rounds<T>(field: &[BenchDatabase], rounds: usize, mut turn: impl FnMut(&BenchDatabase) -> T) -> Vec<Vec<T>> {
    let mut results: Vec<Vec<T>> = field.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for place in 0..field.len() {
            let index = (round + place) % field.len();
            results[index].push(turn(&field[index]));
        }
    }
    results
}

/// The median of the ratios, with the quartiles.
fn median(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios[(ratios.len() - 1) * part / 4];
    format!("{:.2} ({:.2}-{:.2})", at(2), at(1), at(3))
}

/// One caller: how many times as long as with the bare mutex.
fn alone() {
    const ROUNDS: usize = 61;
    println!("\none caller: time per call, in times of the bare mutex (median, quartiles; target 1.05)");
    println!("{:<44}{:>10}  {:<20}{:<20}", "", "mutex/us", "control", "store");
    let with_readers = |builder: Builder| builder.readers(4);
    let always = |builder: Builder| builder.identity_check_interval(Duration::ZERO);
    type SetUp = fn(Builder) -> Builder;
    let rows: [(&str, Work, SetUp); 7] = [
        ("a row, with_connection", Work::Point, |builder| builder),
        ("a row in a snapshot, read on the writer", Work::Snapshot, |builder| builder),
        ("a row in a snapshot, read on a reader", Work::Snapshot, with_readers),
        ("a hundred rows in a snapshot, on a reader", Work::Scan, with_readers),
        ("a row committed, write", Work::Commit, |builder| builder),
        ("a row, identity checked at every borrow", Work::Point, always),
        ("a row, without a cache of statements", Work::Point, |builder| builder.statement_cache(0)),
    ];
    for (name, work, set_up) in rows {
        let calls = if work == Work::Commit { 400 } else { 4000 };
        let field = [BenchDatabase::mutex(), BenchDatabase::mutex(), BenchDatabase::store(set_up)];
        field.iter().for_each(|stage| {
            black_box(stage.solo(work, calls));
        });
        let results = rounds(&field, ROUNDS, |stage| stage.solo(work, calls));
        let ratios =
            |index: usize| median((0..ROUNDS).map(|round| results[index][round] / results[0][round]).collect());
        let mut times = results[0].clone();
        times.sort_by(f64::total_cmp);
        println!("{name:<44}{:>10.2}  {:<20}{:<20}", times[ROUNDS / 2] * 1e6, ratios(1), ratios(2));
    }
}

/// Readers beside a writer: how many times as many calls per second as with the bare mutex.
fn in_a_crowd() {
    const ROUNDS: usize = 9;
    const TURN: Duration = Duration::from_millis(150);
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!("\nreaders beside one writer that commits: calls per second, in times of the bare mutex ({cores} cores)");
    println!("{:<44}{:>10}  {:<20}{:<20}", "", "mutex/s", "control", "store");
    for (name, work) in [("a row", Work::Snapshot), ("a hundred rows", Work::Scan)] {
        for readers in [1, 2, 4, 8] {
            let store = BenchDatabase::store(|builder| builder.readers(readers as usize));
            let field = [BenchDatabase::mutex(), BenchDatabase::mutex(), store];
            let results = rounds(&field, ROUNDS, |stage| stage.crowd(work, readers, TURN));
            let kinds = [format!("{name}, {readers} readers"), "    the writer's commits meanwhile".to_owned()];
            for (kind, title) in kinds.iter().enumerate() {
                let ratio = |index: usize, round: usize| results[index][round][kind] / results[0][round][kind];
                let ratios = |index: usize| median((0..ROUNDS).map(|round| ratio(index, round)).collect());
                let mut rates: Vec<f64> = results[0].iter().map(|rates| rates[kind]).collect();
                rates.sort_by(f64::total_cmp);
                println!("{title:<44}{:>10.0}  {:<20}{:<20}", rates[ROUNDS / 2], ratios(1), ratios(2));
            }
        }
    }
}

fn main() {
    // `cargo test --benches` starts it without the flag; there is nothing to test.
    if std::env::args().any(|argument| argument == "--bench") {
        alone();
        in_a_crowd();
    }
}
