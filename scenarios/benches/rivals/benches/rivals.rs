//! Other ways to share a database against a bare `Mutex<Connection>` on the same work, as ratios of calls per second.
//!
//! The contestants take turns, and who begins changes from round to round, so that what else goes on in the machine
//! hits all; a ratio is the median over the rounds. A second bare mutex takes part under the name of `control`: how far
//! it is from 1.00 is how far chance goes.
//!
//! Fair: the same SQLite, pragmas, statements and database for all, each with a file of its own; pools have a
//! connection for every reader and one for the writer; who blocks is called from threads, who is awaited from tasks on
//! one multi-threaded tokio runtime; nobody else runs meanwhile; acknowledged commits are counted in the file at the
//! end.
//!
//! Not fair, and not to be: r2d2_sqlite and deadpool-sqlite try a connection with a `SELECT` before they lend it, which
//! is their default and part of what they sell. tokio-rusqlite has one connection, so it cannot read while it writes;
//! neither can the mutex. The two async ones buy with their hops that no task blocks a runtime, which nothing here
//! rewards. Syncs cost nothing in memory (tmpfs): on a disk, commits of all come closer together.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use rivals::work::{self, Work};
use rivals::{Contestant, Failure, Kind, habits};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Who takes part, with names for the table. The first is what the others are compared with.
const FIELD: [(&str, Kind); 6] = [
    ("mutex", Kind::Mutex),
    ("control", Kind::Mutex),
    ("seawall", Kind::Seawall),
    ("r2d2_sqlite", Kind::R2d2),
    ("deadpool-sqlite", Kind::Deadpool),
    ("tokio-rusqlite", Kind::TokioRusqlite),
];

/// Readers beside the writer.
const READERS: [usize; 4] = [1, 2, 4, 8];

/// A single caller needs no crowd to settle: it takes so many times as many turns, each as much shorter.
const SOLO_TURNS: u32 = 6;

fn main() -> ExitCode {
    // `cargo test --benches` starts it without the flag; there is nothing to test.
    if !env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("rivals: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// How often and how long.
#[derive(Clone, Copy)]
struct Schedule {
    rounds: u32,
    turn: Duration,
}

impl Schedule {
    fn from_env() -> Result<Self, Failure> {
        let turn_ms = number("RIVALS_TURN_MS", 300)?;
        Ok(Self { rounds: number("RIVALS_ROUNDS", 5)?, turn: Duration::from_millis(turn_ms.into()) })
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

/// A contestant on a database of its own.
struct Stage {
    contestant: Contestant,
    path: PathBuf,
    acknowledged: u64,
    _folder: TempDir,
}

impl Stage {
    fn new(runtime: &Runtime, kind: Kind, connections: u32) -> Result<Self, Failure> {
        let folder = folder()?;
        let path = folder.path().join("shared.db");
        work::create(&path)?;
        let contestant = runtime.block_on(Contestant::open(kind, &path, connections))?;
        Ok(Self { contestant, path, acknowledged: 0, _folder: folder })
    }

    /// Lets a worker for each of the works loose for a turn.
    fn turn(&mut self, runtime: &Runtime, works: &[Work], turn: Duration) -> Result<Rates, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let workers = works.iter().zip(0..).map(|(&work, number)| {
            let calls = calls_until(stop.clone(), self.contestant.clone(), work, number);
            if self.contestant.kind().is_async() {
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
        let (name, acknowledged) = (self.contestant.kind().name(), self.acknowledged);
        Err(format!("{name} acknowledged {acknowledged} commits, and the database has {logged}").into())
    }
}

/// One call after the other; returns how many.
async fn calls_until(stop: Arc<AtomicBool>, contestant: Contestant, work: Work, number: i64) -> Result<u64, Failure> {
    let mut calls = 0;
    for nth in number * 1000.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        contestant.work(work, nth).await?;
        calls += 1;
    }
    Ok(calls)
}

/// In memory where that can be written to, as in the other benches.
fn folder() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// All rounds of the whole field with the same workers: the rates of each contestant, round by round.
fn rounds(runtime: &Runtime, works: &[Work], schedule: Schedule) -> Result<Vec<Vec<Rates>>, Failure> {
    let connections = u32::try_from(works.len())?;
    let stages = FIELD.iter().map(|&(_, kind)| Stage::new(runtime, kind, connections));
    let mut stages = stages.collect::<Result<Vec<Stage>, Failure>>()?;
    for stage in &mut stages {
        // Opens what is opened late, and fills caches.
        stage.turn(runtime, works, schedule.turn / 6)?;
    }
    let mut rates = vec![Vec::new(); FIELD.len()];
    for round in 0..schedule.rounds as usize {
        for place in 0..FIELD.len() {
            let who = (round + place) % FIELD.len();
            rates[who].push(stages[who].turn(runtime, works, schedule.turn)?);
        }
    }
    stages.iter().try_for_each(Stage::check)?;
    Ok(rates)
}

fn compare() -> Result<(), Failure> {
    let schedule = Schedule::from_env()?;
    let runtime = Runtime::new()?;
    // deadpool-sqlite closes its connections in tasks.
    let _within = runtime.enter();
    let cores = thread::available_parallelism()?;
    println!(
        "rivals: SQLite {}, WAL, synchronous=FULL, files in {}; {} rounds, turns of {} ms (RIVALS_ROUNDS, \
         RIVALS_TURN_MS)",
        rusqlite::version(),
        folder()?.path().parent().unwrap_or("/".as_ref()).display(),
        schedule.rounds,
        schedule.turn.as_millis(),
    );
    println!(
        "calls per second of a bare mutex, and those of the others as ratios to it: median (quartiles); more is better"
    );
    println!("{cores} cores, shared: with more threads than those, a ratio says who gets to wait, not what could run");
    print!("{:<40} {:>9}/s", "", FIELD[0].0);
    FIELD[1..].iter().for_each(|(name, _)| print!(" {name:>19}"));
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
    print_habits(&runtime)
}

fn print_row(label: &str, rates: &[Vec<Rates>], of: impl Fn(&Rates) -> f64) {
    let (yardstick, others) = rates.split_first().expect("the field is not empty");
    let [_, median, _] = quartiles(yardstick.iter().map(&of));
    print!("{label:<40} {median:>11.0}");
    for other in others {
        let [low, median, high] = quartiles(other.iter().zip(yardstick).map(|(other, mutex)| of(other) / of(mutex)));
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

fn print_habits(runtime: &Runtime) -> Result<(), Failure> {
    println!("{:<40} {:>28} {:>28}", "", "hands open transactions on", "writes to replaced files");
    for kind in [Kind::Mutex, Kind::Seawall, Kind::R2d2, Kind::Deadpool, Kind::TokioRusqlite, Kind::PerCall] {
        let folder = folder()?;
        let seen = runtime.block_on(habits::observe(kind, folder.path()))?;
        let word = |habit: bool| if habit { "yes" } else { "no" };
        let (open, replaced) = (word(seen.hands_on_open_transactions), word(seen.writes_to_replaced_files));
        println!("{:<40} {open:>28} {replaced:>28}", kind.name());
    }
    Ok(())
}
