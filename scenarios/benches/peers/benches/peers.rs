//! Other ways to share a database against a bare `Mutex<Connection>` on the same work, as ratios of calls per second.
//!
//! The peers run in turns, and the order rotates from round to round, so that other load on the machine affects all of
//! them; a ratio is the median over the rounds. `control` is a second bare mutex: its distance from 1.00 is the noise.
//!
//! Fair: the same SQLite, pragmas, statements and database for all, each with a file of its own; pools have a
//! connection for every reader and one for the writer; blocking peers are called from threads, async peers from tasks
//! on one multi-threaded tokio runtime; one peer runs at a time; acknowledged commits are counted in the file at the
//! end.
//!
//! Differences that stay: r2d2_sqlite and deadpool-sqlite test a connection with a `SELECT` at each borrow, which is
//! their default. tokio-rusqlite and the mutex have one connection, so they cannot read while they write. The two async
//! peers never block a task of the runtime, which this bench does not measure. Syncs cost nothing on tmpfs: on a disk,
//! the commits of all peers are closer together.

use peers::work::{self, Work};
use peers::{Failure, Kind, Peer, behavior};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The peers with their names in the table. The first is the baseline.
const PEERS: [(&str, Kind); 6] = [
    ("mutex", Kind::Mutex),
    ("control", Kind::Mutex),
    ("seawall", Kind::Seawall),
    ("r2d2_sqlite", Kind::R2d2),
    ("deadpool-sqlite", Kind::Deadpool),
    ("tokio-rusqlite", Kind::TokioRusqlite),
];

/// Readers beside the writer.
const READERS: [usize; 4] = [1, 2, 4, 8];

/// For a single caller: the factor by which there are more, and shorter, turns.
const SOLO_TURNS: u32 = 6;

fn main() -> ExitCode {
    // `cargo test --benches` starts it without the flag; there is nothing to test.
    if !env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Number and length of the turns.
#[derive(Clone, Copy)]
struct Schedule {
    rounds: u32,
    turn: Duration,
}

impl Schedule {
    fn from_env() -> Result<Self, Failure> {
        let turn_ms = number("PEERS_TURN_MS", 300)?;
        Ok(Self { rounds: number("PEERS_ROUNDS", 5)?, turn: Duration::from_millis(turn_ms.into()) })
    }

    fn solo(self) -> Self {
        Self { rounds: self.rounds * SOLO_TURNS, turn: self.turn / SOLO_TURNS }
    }
}

fn number(name: &str, default: u32) -> Result<u32, Failure> {
    match env::var(name) {
        Err(env::VarError::NotPresent) => Ok(default),
        Err(error) => Err(format!("{name}: {error}").into()),
        Ok(text) => match text.parse() {
            Ok(number @ 1..=10_000) => Ok(number),
            _ => Err(format!("{name} is {text:?}, and must be a number from 1 to 10000").into()),
        },
    }
}

/// Calls per second.
#[derive(Clone, Copy, Default)]
struct Rates {
    reads: f64,
    commits: f64,
}

/// A peer with its own database.
struct Measured {
    peer: Peer,
    path: PathBuf,
    acknowledged: u64,
    _folder: TempDir,
}

impl Measured {
    fn new(runtime: &Runtime, kind: Kind, connections: u32) -> Result<Self, Failure> {
        let folder = folder()?;
        let path = folder.path().join("shared.db");
        work::create(&path)?;
        let peer = runtime.block_on(Peer::open(kind, &path, connections))?;
        Ok(Self { peer, path, acknowledged: 0, _folder: folder })
    }

    /// Runs one worker for each work for a turn.
    fn turn(&mut self, runtime: &Runtime, works: &[Work], turn: Duration) -> Result<Rates, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let workers = works.iter().zip(0..).map(|(&work, number)| {
            let calls = calls_until(stop.clone(), self.peer.clone(), work, number);
            if self.peer.kind().is_async() {
                return (work, runtime.spawn(calls));
            }
            let handle = runtime.handle().clone();
            (work, runtime.spawn_blocking(move || handle.block_on(calls)))
        });
        let workers: Vec<_> = workers.collect();
        thread::sleep(turn);
        stop.store(true, Ordering::Relaxed);
        let (mut reads, mut commits) = (0, 0);
        for (work, worker) in workers {
            let calls = runtime.block_on(worker)??;
            *if work == Work::Commit { &mut commits } else { &mut reads } += calls;
        }
        self.acknowledged += commits;
        let per_second = |calls: u64| calls as f64 / start.elapsed().as_secs_f64();
        Ok(Rates { reads: per_second(reads), commits: per_second(commits) })
    }

    fn check(&self) -> Result<(), Failure> {
        let logged = work::logged(&self.path)?;
        if logged == i64::try_from(self.acknowledged)? {
            return Ok(());
        }
        let (name, acknowledged) = (self.peer.kind().name(), self.acknowledged);
        Err(format!("{name} acknowledged {acknowledged} commits, and the database has {logged}").into())
    }
}

/// Calls until `stop` is set; returns the number of calls.
async fn calls_until(stop: Arc<AtomicBool>, peer: Peer, work: Work, number: i64) -> Result<u64, Failure> {
    let mut calls = 0;
    for nth in number * 1000.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        peer.work(work, nth).await?;
        calls += 1;
    }
    Ok(calls)
}

/// A folder in memory where that is writable, as in the other benches.
fn folder() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// All rounds of all peers with the same workers: the rates of each peer by round.
fn rounds(runtime: &Runtime, works: &[Work], schedule: Schedule) -> Result<Vec<Vec<Rates>>, Failure> {
    let connections = u32::try_from(works.len())?;
    let measured = PEERS.iter().map(|&(_, kind)| Measured::new(runtime, kind, connections));
    let mut measured = measured.collect::<Result<Vec<Measured>, Failure>>()?;
    for one in &mut measured {
        // Opens lazily opened connections and fills caches.
        one.turn(runtime, works, schedule.turn / 6)?;
    }
    let mut rates = vec![Vec::new(); PEERS.len()];
    for round in 0..schedule.rounds as usize {
        for position in 0..PEERS.len() {
            let peer = (round + position) % PEERS.len();
            rates[peer].push(measured[peer].turn(runtime, works, schedule.turn)?);
        }
    }
    measured.iter().try_for_each(Measured::check)?;
    Ok(rates)
}

fn compare() -> Result<(), Failure> {
    let schedule = Schedule::from_env()?;
    let runtime = Runtime::new()?;
    // deadpool-sqlite closes its connections in tasks.
    let _within = runtime.enter();
    let cores = thread::available_parallelism()?;
    println!(
        "peers: SQLite {}, WAL, synchronous=FULL, files in {}; {} rounds, turns of {} ms (PEERS_ROUNDS, \
         PEERS_TURN_MS)",
        rusqlite::version(),
        folder()?.path().parent().unwrap_or("/".as_ref()).display(),
        schedule.rounds,
        schedule.turn.as_millis(),
    );
    println!(
        "calls per second of a bare mutex, and those of the others as ratios to it: median (quartiles); more is better"
    );
    println!(
        "{cores} cores, shared: with more threads than those, a ratio shows who waits, not what could run in parallel"
    );
    print!("{:<40} {:>9}/s", "", PEERS[0].0);
    PEERS[1..].iter().for_each(|(name, _)| print!(" {name:>19}"));
    println!();
    for work in [Work::PointRead, Work::Commit] {
        let rates = rounds(&runtime, &[work], schedule.solo())?;
        let label = format!("{}, one caller", work.name());
        if work == Work::Commit {
            print_row(&label, &rates, |rates| rates.commits);
        } else {
            print_row(&label, &rates, |rates| rates.reads);
        }
    }
    for read in [Work::PointRead, Work::Scan] {
        for readers in READERS {
            let works: Vec<Work> = [Work::Commit].into_iter().chain(vec![read; readers]).collect();
            let rates = rounds(&runtime, &works, schedule)?;
            print_row(&format!("{}, {readers} readers, 1 writer", read.name()), &rates, |rates| rates.reads);
            print_row("    the writer's commits meanwhile", &rates, |rates| rates.commits);
        }
    }
    print_behavior(&runtime)
}

fn print_row(label: &str, rates: &[Vec<Rates>], of: impl Fn(&Rates) -> f64) {
    let (baseline, others) = rates.split_first().expect("there is a baseline");
    let [_, median, _] = quartiles(baseline.iter().map(&of));
    print!("{label:<40} {median:>11.0}");
    for other in others {
        let [low, median, high] = quartiles(other.iter().zip(baseline).map(|(other, mutex)| of(other) / of(mutex)));
        print!(" {:>19}", format!("{median:.2} ({low:.2}-{high:.2})"));
    }
    println!();
}

/// The quartiles, the median between the others.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|of_4| values[(values.len() - 1) * of_4 / 4])
}

fn print_behavior(runtime: &Runtime) -> Result<(), Failure> {
    println!("{:<40} {:>28} {:>28}", "", "leaks open transactions", "writes to replaced files");
    for kind in [Kind::Mutex, Kind::Seawall, Kind::R2d2, Kind::Deadpool, Kind::TokioRusqlite, Kind::PerCall] {
        let folder = folder()?;
        let seen = runtime.block_on(behavior::observe(kind, folder.path()))?;
        let word = |has_defect: bool| if has_defect { "yes" } else { "no" };
        let (open, replaced) = (word(seen.leaks_open_transactions), word(seen.writes_to_replaced_files));
        println!("{:<40} {open:>28} {replaced:>28}", kind.name());
    }
    Ok(())
}
