//! `seawall powercut`: what a journal mode and a level of `synchronous` lose when the power is cut.

use super::args::ReplayFormat;
use super::{Complaint, Exit, print, say, soak, stop_on_interrupt};
use crate::engines;
use crate::powercut::{CellResult, CellSettings, JournalMode, Level, PowercutError, SamplesOf, Search, pool};
use clap::Args;
use seawall_harness::media::sim::durability::{Device, Directory};
use seawall_harness::seed::Seed;
use seawall_harness::verdict::Verdict;
use serde::Serialize;
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;

/// Distinct images of a cell, by default.
const IMAGES: u64 = 20_000;

#[derive(Debug, Args)]
pub(super) struct PowercutArgs {
    /// The journal mode: DELETE, TRUNCATE, PERSIST, WAL, MEMORY or OFF [default: WAL]
    #[arg(long, value_name = "MODE")]
    pub(super) journal_mode: Option<JournalMode>,
    /// The level of synchronous: OFF, NORMAL, FULL or EXTRA [default: FULL]
    #[arg(long, value_name = "LEVEL")]
    pub(super) synchronous: Option<Level>,
    /// All journal modes with all levels
    #[arg(long)]
    pub(super) table: bool,
    /// The SQLite to run on: a version (see `seawall sqlite list`), the path of a shared object, or `linked`
    #[arg(long, value_name = "VERSION|PATH", default_value = "linked")]
    pub(super) sqlite: String,
    /// When names are durable: strict (after a sync of the directory), ordered (after any sync, in order), immediate
    #[arg(long, value_name = "WORD", default_value = "strict", value_parser = directory)]
    pub(super) directory: Directory,
    /// What else the device does, in words joined by +: 512 or 4096 (sectors), torn (within a sector), no-powersafe,
    /// atomic, atomic512 to atomic64k, safe-append, sequential, undeletable
    #[arg(long, value_name = "WORDS")]
    pub(super) device: Option<String>,
    /// How many distinct images of each cell at most [default: 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) images: Option<u64>,
    /// How many workloads of each cell at most [default: as many as there are images for; with --exhaustive, 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) workloads: Option<u64>,
    /// All cuts of each workload, and at each cut all subsets of up to ten pending changes
    #[arg(long, conflicts_with = "random")]
    pub(super) exhaustive: bool,
    /// Random samples in the place of subsets
    #[arg(long)]
    pub(super) random: bool,
    /// Cut the recovery off as well, so many times
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub(super) recovery: u8,
    /// The seed of all choices: a number, or hexadecimal digits after 0x [default: a new one each time]
    #[arg(long)]
    pub(super) seed: Option<Seed>,
    /// Processes at once [default: the number of processors]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(super) jobs: Option<u16>,
    /// How many seconds at most, shared by all cells
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max_seconds: Option<u64>,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: ReplayFormat,
}

fn directory(text: &str) -> Result<Directory, String> {
    let known = || "it is strict, ordered or immediate".to_owned();
    Directory::ALL.into_iter().find(|directory| directory.word() == text).ok_or_else(known)
}

/// What is printed. Field names are a contract.
#[derive(Serialize)]
struct Output<'a> {
    schema: u32,
    seed: u64,
    sqlite: &'a str,
    directory: &'a str,
    device: String,
    seconds: f64,
    cells: &'a [CellResult],
}

impl From<PowercutError> for Complaint {
    fn from(error: PowercutError) -> Self {
        match error {
            PowercutError::Register(_) | PowercutError::Broken(_) => Self::broken(error),
            error => Self::usage(error),
        }
    }
}

pub(super) fn run(args: &PowercutArgs) -> Result<Exit, Complaint> {
    let begun = std::time::Instant::now();
    let engine = engines::resolve(&args.sqlite)?;
    let device = device(args)?;
    let seed = args.seed.unwrap_or_else(soak::new_seed);
    // An engine that is not one of the known versions has to be found again by its path.
    let sqlite = if engines::resolve(engine.version()).is_ok() { engine.version() } else { &args.sqlite };
    let cells = cells(args)?;
    let jobs = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(2, usize::from), usize::from);
    let searches: Vec<Search> =
        cells.iter().map(|cell| search(args, *cell, (sqlite, device, seed), cells.len(), jobs)).collect();
    let stop = stop_on_interrupt()?;
    let program = std::env::current_exe().map_err(Complaint::broken)?;
    let command = || {
        let mut command = Command::new(&program);
        command.arg("cut");
        command
    };
    let progress = Progress::new(searches.len());
    let results = pool::execute(&searches, jobs, command, &stop, &mut |cell, reply| {
        progress.told(&searches[cell].settings, reply);
    });
    let results: Vec<CellResult> = results.map_err(Complaint::broken)?.into_iter().flatten().collect();
    progress.clear();
    let (directory, seconds) = (args.directory.word(), begun.elapsed().as_secs_f64());
    let output =
        Output { schema: 1, seed: seed.0, sqlite, directory, device: device.to_string(), seconds, cells: &results };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&output).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&output),
    })?;
    if stop.load(Ordering::Relaxed) {
        say("interrupted: the figures are those of what was done");
        return Ok(Exit::Interrupted);
    }
    Ok(exit_of(&results))
}

fn exit_of(results: &[CellResult]) -> Exit {
    if results.iter().all(|cell| cell.verdict == Verdict::NotMeasured) {
        Exit::NothingRan
    } else if results.iter().any(CellResult::is_news) {
        Exit::Finding
    } else {
        Exit::Expected
    }
}

fn device(args: &PowercutArgs) -> Result<Device, Complaint> {
    let words = args.device.as_ref().map(|words| format!("+{words}")).unwrap_or_default();
    let device: Device = format!("ordered{words}").parse().map_err(Complaint::usage)?;
    Ok(Device { directory: args.directory, ..device })
}

fn cells(args: &PowercutArgs) -> Result<Vec<CellSettings>, Complaint> {
    if !args.table {
        let (journal_mode, synchronous) =
            (args.journal_mode.unwrap_or(JournalMode::Wal), args.synchronous.unwrap_or(Level::Full));
        return Ok(vec![CellSettings { journal_mode, synchronous }]);
    }
    let chosen = |cell: &CellSettings| {
        args.journal_mode.is_none_or(|mode| mode == cell.journal_mode)
            && args.synchronous.is_none_or(|level| level == cell.synchronous)
    };
    Ok(CellSettings::all().filter(chosen).collect())
}

fn search(
    args: &PowercutArgs,
    settings: CellSettings,
    (sqlite, device, seed): (&str, Device, Seed),
    cells: usize,
    jobs: usize,
) -> Search {
    let samples = match (args.exhaustive, args.random) {
        (true, _) => SamplesOf::All,
        (_, true) => SamplesOf::Random,
        _ => SamplesOf::Pruned,
    };
    // Cells take turns on the jobs.
    let rounds = cells.div_ceil(jobs.min(cells).max(1)) as u64;
    Search {
        settings,
        sqlite: sqlite.to_owned(),
        device: device.to_string(),
        seed: seed.0,
        images_max: args.images.unwrap_or(if args.exhaustive { u64::MAX } else { IMAGES }),
        cases_max: args.workloads.unwrap_or(if args.exhaustive { 4 } else { u64::MAX }),
        time_max_ms: args.max_seconds.map(|seconds| seconds * 1000 / rounds),
        samples,
        depth: args.recovery,
    }
}

/// Progress on standard error, if that is a terminal.
struct Progress {
    is_shown: bool,
    cells: usize,
    done: Cell<usize>,
}

impl Progress {
    fn new(cells: usize) -> Self {
        Self { is_shown: std::io::stderr().is_terminal(), cells, done: Cell::new(0) }
    }

    fn told(&self, settings: &CellSettings, reply: &pool::Reply) {
        if let pool::Reply::Cell(_) = reply {
            self.done.set(self.done.get() + 1);
        }
        if let (true, pool::Reply::Progress(distinct)) = (self.is_shown, reply) {
            eprint!("\r\x1b[K{} of {} cells; {settings}: {distinct} images", self.done.get(), self.cells);
        }
    }

    fn clear(&self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}

fn human(output: &Output<'_>) -> String {
    let Output { seed, sqlite, device, seconds, cells, .. } = output;
    let mut out = String::new();
    let (distinct, judged): (u64, u64) =
        (cells.iter().map(|cell| cell.distinct).sum(), cells.iter().map(|cell| cell.judged).sum());
    let rate = distinct as f64 / cells.iter().map(|cell| cell.seconds).sum::<f64>().max(1e-9);
    let _ = writeln!(
        out,
        "power cuts on SQLite {sqlite}, device {device}, seed {seed}: {distinct} distinct images, {judged} judgements in \
         {seconds:.1} s; {rate:.0} images a second on each core"
    );
    let _ = writeln!(
        out,
        "{:9} {:7} {:9} {:9} {:8} {:>7} {:>9} {:>8} {:>7} {:>5} {:>7} {:>7}",
        "mode",
        "level",
        "verdict",
        "expected",
        "promise",
        "cuts",
        "images",
        "distinct",
        "lost",
        "max",
        "corrupt",
        "torn"
    );
    for cell in *cells {
        let promise = format!("{:?}", cell.promise).to_lowercase();
        let _ = writeln!(
            out,
            "{:9} {:7} {:9} {:9} {:8} {:>7} {:>9} {:>8} {:>7} {:>5} {:>7} {:>7}",
            cell.settings.journal_mode.word(),
            cell.settings.synchronous.word(),
            cell.verdict,
            cell.expected,
            promise,
            cell.cuts,
            cell.images,
            cell.distinct,
            cell.lost_runs,
            cell.lost_commits_max,
            cell.corrupt,
            cell.atomicity
        );
    }
    for cell in cells.iter().filter(|cell| cell.token.is_some()) {
        let news = if cell.is_news() { ", worse than expected" } else { "" };
        let detail = cell.detail.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{} ({}{news}): {detail}", cell.settings, cell.verdict);
        let _ = writeln!(out, "seawall replay {}", cell.token.as_deref().unwrap_or_default());
    }
    out
}

/// `seawall cut`: a child process.
pub(super) fn child() -> ExitCode {
    pool::child().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
