//! What a connection costs a caller: opened and initialised for every call, lent by the cache, or kept behind a bare
//! mutex.
//!
//! Every contestant answers the same query. At the end they are timed against each other in turns, and the ratios are
//! printed: those mean something on a machine where the times themselves do not.

use criterion::{BenchmarkId, Criterion, Throughput};
use rusqlite::Connection;
use seawall::Cache;
use seawall_scenarios::scratch;
use seawall_scenarios::workload::schema;
use std::fmt;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is set up when a database is opened.
#[derive(Clone, Copy)]
enum Schema {
    /// The application schema of the lab: 8 tables with their indexes and migrations.
    Application,
    /// So many tables with one index each.
    Tables(u32),
}

impl Schema {
    const ALL: [Self; 5] =
        [Self::Application, Self::Tables(1), Self::Tables(10), Self::Tables(100), Self::Tables(1000)];

    fn init(self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Application => schema::init(connection),
            Self::Tables(count) => connection.execute_batch(&tables(count)),
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application => f.write_str("application-8-tables"),
            Self::Tables(count) => write!(f, "{count}-tables"),
        }
    }
}

fn tables(count: u32) -> String {
    let table = |n| {
        format!(
            "CREATE TABLE IF NOT EXISTS t{n}(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value BLOB);
             CREATE INDEX IF NOT EXISTS t{n}_by_name ON t{n}(name);"
        )
    };
    (0..count).map(table).collect()
}

/// Opens a connection as an application does that opens one for every call.
fn open(path: &Path, schema: Schema) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    schema.init(&connection)?;
    Ok(connection)
}

/// The work of a call.
fn query(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT value FROM bench WHERE id = ?1")?.query_row([1], |row| row.get(0))
}

/// A way to come by a connection.
enum Contestant {
    PerCall(Schema),
    Cached(Cache),
    Mutex(Mutex<Connection>),
}

impl Contestant {
    fn name(&self) -> &'static str {
        match self {
            Self::PerCall(_) => "percall",
            Self::Cached(_) => "cached",
            Self::Mutex(_) => "mutex",
        }
    }

    fn call(&self, path: &Path) -> i64 {
        match self {
            Self::PerCall(schema) => open(path, *schema).and_then(|connection| query(&connection)).expect("an answer"),
            Self::Cached(cache) => cache.with_connection(path, |connection| query(connection)).expect("an answer"),
            Self::Mutex(connection) => query(&connection.lock().expect("no panic before")).expect("an answer"),
        }
    }

    fn call_times(&self, path: &Path, calls: u32) {
        for _ in 0..calls {
            black_box(self.call(path));
        }
    }
}

/// A database with a schema.
struct BenchDatabase {
    _folder: TempDir,
    path: PathBuf,
    schema: Schema,
}

impl BenchDatabase {
    fn new(schema: Schema) -> Self {
        let folder = tempfile::tempdir_in(scratch::default_folder()).expect("a folder");
        let path = folder.path().join("calls.db");
        let connection = open(&path, schema).expect("a new database");
        let rows = "CREATE TABLE bench(id INTEGER PRIMARY KEY, value INTEGER); INSERT INTO bench VALUES (1, 42)";
        connection.execute_batch(rows).expect("a table");
        Self { _folder: folder, path, schema }
    }

    fn percall(&self) -> Contestant {
        Contestant::PerCall(self.schema)
    }

    fn cached(&self) -> Contestant {
        let schema = self.schema;
        Contestant::Cached(Cache::builder().init(move |connection| schema.init(connection)).build())
    }

    fn mutex(&self) -> Contestant {
        Contestant::Mutex(Mutex::new(open(&self.path, self.schema).expect("a connection")))
    }

    /// Made one after the other: while another connection is open, a per-call one is never the last and closes cheaply.
    fn contestants(&self) -> impl Iterator<Item = Contestant> {
        [Self::percall, Self::cached, Self::mutex].into_iter().map(|make| make(self))
    }
}

fn call_by_schema(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call");
    for schema in Schema::ALL {
        let stage = BenchDatabase::new(schema);
        for contestant in stage.contestants() {
            let id = BenchmarkId::new(contestant.name(), schema);
            group.bench_function(id, |bencher| bencher.iter(|| contestant.call(&stage.path)));
        }
    }
    group.finish();
}

fn reads_by_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reads");
    let stage = BenchDatabase::new(Schema::Application);
    for contestant in stage.contestants() {
        // So many calls by each thread that starting it does not matter.
        let calls_per_thread = if matches!(contestant, Contestant::PerCall(_)) { 20 } else { 2000 };
        for threads in [1_u32, 2, 4, 8] {
            group.throughput(Throughput::Elements(u64::from(threads * calls_per_thread)));
            let id = BenchmarkId::new(contestant.name(), format!("{threads}-threads"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    thread::scope(|scope| {
                        for _ in 0..threads {
                            scope.spawn(|| contestant.call_times(&stage.path, calls_per_thread));
                        }
                    });
                });
            });
        }
    }
    group.finish();
}

/// A contestant in its turns: on which database, and how many calls make a turn.
struct Turns<'a> {
    stage: &'a BenchDatabase,
    contestant: &'a Contestant,
    calls: u32,
}

impl Turns<'_> {
    fn time_per_call(&self) -> f64 {
        let start = Instant::now();
        self.contestant.call_times(&self.stage.path, self.calls);
        start.elapsed().as_secs_f64() / f64::from(self.calls)
    }

    /// How many times as long a call takes as one of the other's: the median over turns taken one after the other.
    fn ratio_to(&self, other: &Self) -> f64 {
        const ROUNDS: usize = 101;
        let mut ratios: Vec<f64> = (0..ROUNDS).map(|_| self.time_per_call() / other.time_per_call()).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ROUNDS / 2]
    }
}

fn print_ratios() {
    // Each has a database to itself, as it would have in its application: a connection for one call is the last one to
    // its file when it closes, which costs it a checkpoint.
    let stages = [Schema::Application; 3].map(BenchDatabase::new);
    let [for_percall, for_cached, for_mutex] = &stages;
    let percall = Turns { stage: for_percall, contestant: &for_percall.percall(), calls: 20 };
    let cached = Turns { stage: for_cached, contestant: &for_cached.cached(), calls: 2000 };
    let mutex = Turns { stage: for_mutex, contestant: &for_mutex.mutex(), calls: 2000 };
    println!(
        "connections: on the 8-table schema a per-call open takes {:.0} times as long as a cached call \
         (target: 100 or more), and a cached call {:.2} times as long as a bare mutex (target: 1.05 or less)",
        percall.ratio_to(&cached),
        cached.ratio_to(&mutex)
    );
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .configure_from_args();
    call_by_schema(&mut criterion);
    reads_by_threads(&mut criterion);
    criterion.final_summary();
    // Criterion's own switch: without it the benches are only tried out.
    if std::env::args().any(|argument| argument == "--bench") {
        print_ratios();
    }
}
