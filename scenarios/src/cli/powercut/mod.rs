//! `seawall powercut`: what a journal mode and a level of `synchronous` lose when the power is cut.

mod sweep;

use super::args::{ReplayFormat, jobs, whole};
use super::{Complaint, Exit, print, say, soak, stop_on_interrupt};
use crate::engines;
use crate::faults;
use crate::powercut::pool::Work;
use crate::powercut::{
    CellFinding, CellResult, CellSettings, JournalMode, Level, PowercutError, SamplesOf, Search, Subject, bound,
    compare, pool, report,
};
use crate::strategies;
use clap::Args;
use seawall_harness::media::sim::durability::{Device, Directory};
use seawall_harness::narrative::count;
use seawall_harness::seed::Seed;
use seawall_harness::token::FaultName;
use seawall_harness::verdict::Verdict;
use seawall_harness::vfs::RegisterError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Distinct images of a strategy, by default.
const IMAGES: u64 = 20_000;

/// Workloads of a cell, by default, all images of which are looked at.
const WORKLOADS: u64 = 8;

/// The same with `--exhaustive`.
const EXHAUSTIVE_WORKLOADS: u64 = 4;

/// The arguments that mean nothing where no cells are searched.
const NO_CELLS: [&str; 5] = ["table", "strategy", "journal_mode", "synchronous", "out"];

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
    /// In the place of power cuts, each call or each allocation of a transaction fails in turn, by each effect, once
    /// and for good [journal modes by default: all, at FULL]
    #[arg(long, value_name = "WHAT", value_enum, conflicts_with_all = ["strategy", "preset", "images", "workloads",
        "exhaustive", "random", "recovery", "out", "compare", "bound"])]
    pub(super) sweep: Option<SweepWord>,
    /// Runs of these strategies, separated by commas, in the place of the table's workload (see `seawall list
    /// strategies`)
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with_all = ["table", "journal_mode", "synchronous"])]
    pub(super) strategy: Vec<String>,
    /// Only this fault of the matrix, for runs of strategies; may be repeated [default: each in turn in which only the
    /// power cut takes anything away]
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "strategy")]
    pub(super) preset: Vec<String>,
    /// The SQLite to run on: a version (see `seawall sqlite list`), the path of a shared object, or `linked`
    #[arg(long, value_name = "VERSION|PATH", default_value = "linked")]
    pub(super) sqlite: String,
    /// When names are durable: strict (after a sync of the directory), ordered (after any sync, in order), immediate
    /// [default: strict; with --sweep, immediate]
    #[arg(long, value_name = "WORD", value_parser = directory)]
    pub(super) directory: Option<Directory>,
    /// What else the device does, in words joined by +: 512 or 4096 (sectors), torn (within a sector), page-cache (no
    /// write to a sector without the earlier ones), no-powersafe, atomic, atomic512 to atomic64k, safe-append,
    /// sequential, undeletable
    #[arg(long, value_name = "WORDS")]
    pub(super) device: Option<String>,
    /// How many distinct images of each cell at most [default: all of the workloads; with --strategy, 20000]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub(super) images: Option<u64>,
    /// How many workloads of each cell at most [default: 8; with --exhaustive 4; with --images or --strategy as many as
    /// there are images for]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub(super) workloads: Option<u64>,
    /// Small workloads [default: 20], each looked at by the full enumeration, the pruned one and random samples:
    /// whether all three find the same
    #[arg(long, conflicts_with_all = NO_CELLS, conflicts_with_all = ["exhaustive", "random", "recovery"])]
    pub(super) compare: bool,
    /// How many acknowledged commits the connection layer loses at most with `Synchronous::Normal`, by the size of the
    /// log after which a commit checkpoints
    #[arg(long, conflicts_with_all = NO_CELLS, conflicts_with_all = ["compare", "sqlite", "exhaustive", "random",
        "recovery", "images", "workloads", "jobs", "max_seconds", "seed"])]
    pub(super) bound: bool,
    /// How many commits are made to measure that
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = whole::<u32>, requires = "bound")]
    pub(super) commits: u32,
    /// Write a page, its record and the shrunk cases into this folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
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
    #[arg(long, value_parser = jobs)]
    pub(super) jobs: Option<u16>,
    /// How many seconds at most, shared by all cells
    #[arg(long, value_parser = whole::<u64>)]
    pub(super) max_seconds: Option<u64>,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: ReplayFormat,
}

/// What fails in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SweepWord {
    /// Each call of the VFS and of its files
    Calls,
    /// Each allocation of SQLite
    Allocations,
    /// Both
    All,
}

impl PowercutArgs {
    fn limits(&self) -> pool::Limits {
        let processors = || std::thread::available_parallelism().map_or(2, usize::from);
        let jobs = self.jobs.map_or_else(processors, usize::from);
        // A time that no clock reaches is none.
        let end = |seconds| Instant::now().checked_add(Duration::from_secs(seconds));
        pool::Limits { jobs, end: self.max_seconds.and_then(end) }
    }

    /// When names are durable. In a sweep only what the fault takes is to be lost.
    fn directory(&self) -> Directory {
        let default = if self.sweep.is_some() { Directory::Immediate } else { Directory::Strict };
        self.directory.unwrap_or(default)
    }
}

fn directory(text: &str) -> Result<Directory, String> {
    let known = || "it is strict, ordered or immediate".to_owned();
    Directory::ALL.into_iter().find(|directory| directory.word() == text).ok_or_else(known)
}

/// What is printed. Field names are a contract.
#[derive(Serialize)]
struct Output<'a> {
    schema: u32,
    #[serde(with = "seawall_harness::seed::text")]
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
            PowercutError::Register(RegisterError::Plan(error)) => Self::usage(error),
            PowercutError::Register(_) | PowercutError::Broken(_) => Self::broken(error),
            PowercutError::Run(error) => error.into(),
            error => Self::usage(error),
        }
    }
}

pub(super) fn run(args: &PowercutArgs) -> Result<Exit, Complaint> {
    let begun = Instant::now();
    let device = device(args)?;
    if args.bound {
        return measure(args, device);
    }
    if let Some(out) = &args.out {
        soak::check_out(out)?;
    }
    let (_, sqlite) = engines::identify(&args.sqlite)?;
    let sqlite = &*sqlite;
    if let Some(word) = args.sweep {
        return sweep::run(args, word, sqlite, device);
    }
    let seed = args.seed.unwrap_or_else(soak::new_seed);
    let stop = stop_on_interrupt()?;
    let limits = args.limits();
    if args.compare {
        let figures = (args.workloads.unwrap_or(20), args.images.unwrap_or(u64::MAX));
        let searches = compare::searches((sqlite, &device.to_string()), seed, figures)?;
        let exit = compared(args, &compare::compare(&searches, &cut(&searches, limits, &stop)?))?;
        return Ok(if stop.load(Ordering::Relaxed) { interrupted() } else { exit });
    }
    let cells = subjects(args)?;
    let searches: Vec<Search> = cells.into_iter().map(|cell| search(args, cell, (sqlite, device, seed))).collect();
    let results = cut(&searches, limits, &stop)?;
    let (directory, seconds) = (args.directory().word(), begun.elapsed().as_secs_f64());
    let output =
        Output { schema: 1, seed: seed.0, sqlite, directory, device: device.to_string(), seconds, cells: &results };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&output).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&output),
    })?;
    if let Some(out) = &args.out {
        write_page(out, (seed.0, sqlite, device), &results, &stop)?;
    }
    Ok(if stop.load(Ordering::Relaxed) { interrupted() } else { exit_of(&results) })
}

fn interrupted() -> Exit {
    say("interrupted: the figures are those of what was done");
    Exit::Interrupted
}

/// Searches in child processes.
fn cut(searches: &[Search], limits: pool::Limits, stop: &AtomicBool) -> Result<Vec<CellResult>, Complaint> {
    let work = |search: &Search| (search.subject.to_string(), Work::Cuts(search.clone()));
    execute(&searches.iter().map(work).collect::<Vec<_>>(), limits, "images", stop)
}

/// Does the work of cells, each with its name, in child processes. Progress is told in so many `units`.
fn execute<R: DeserializeOwned + Send + 'static>(
    cells: &[(String, Work)],
    limits: pool::Limits,
    units: &str,
    stop: &AtomicBool,
) -> Result<Vec<R>, Complaint> {
    let program = std::env::current_exe().map_err(Complaint::broken)?;
    let command = || {
        let mut command = Command::new(&program);
        command.arg("cut");
        command
    };
    let works: Vec<Work> = cells.iter().map(|(_, work)| work.clone()).collect();
    let is_shown = std::io::stderr().is_terminal();
    let mut done = 0;
    let results = pool::execute(&works, limits, command, stop, &mut |cell, reply| match reply {
        pool::Reply::Progress(count) if is_shown => {
            eprint!("\r\x1b[K{done} of {} cells; {}: {count} {units}", cells.len(), cells[cell].0);
        }
        pool::Reply::Done(_) => done += 1,
        _ => {}
    });
    if is_shown {
        eprint!("\r\x1b[K");
    }
    Ok(results.map_err(Complaint::broken)?.into_iter().flatten().collect())
}

/// The page, its record, and the shrunk case of each finding.
fn write_page(
    out: &Path,
    (seed, sqlite, device): (u64, &str, Device),
    results: &[CellResult],
    stop: &AtomicBool,
) -> Result<(), Complaint> {
    std::fs::create_dir_all(out).map_err(Complaint::usage)?;
    let record = report::record((seed, sqlite, &device.to_string()), results, out, stop)?;
    let page = seawall_reports::write::power(out, &record).map_err(Complaint::usage)?;
    say(&format!("report: {}", page.display()));
    Ok(())
}

/// The bound of `Synchronous::Normal`.
fn measure(args: &PowercutArgs, device: Device) -> Result<Exit, Complaint> {
    let rows = bound::measure(device, args.commits)?;
    let mut out = match args.format {
        ReplayFormat::Json => serde_json::to_string(&serde_json::json!({ "schema": 1, "rows": rows })),
        ReplayFormat::Human => {
            Ok(format!("{:>17} {:>8} {:>8} {:>8}", "checkpoint frames", "snapshot", "commits", "lost"))
        }
    }
    .map_err(Complaint::broken)?;
    if args.format == ReplayFormat::Human {
        for bound::Bound { checkpoint_frames, has_reader, commits, lost_max } in &rows {
            let snapshot = if *has_reader { "held" } else { "" };
            let _ = write!(out, "\n{checkpoint_frames:>17} {snapshot:>8} {commits:>8} {lost_max:>8}");
        }
    }
    print(&(out + "\n"))?;
    Ok(Exit::Expected)
}

fn compared(args: &PowercutArgs, rows: &[compare::Compared]) -> Result<Exit, Complaint> {
    print(&match args.format {
        ReplayFormat::Json => {
            let output = serde_json::json!({ "schema": 1, "workloads": rows });
            serde_json::to_string(&output).map_err(Complaint::broken)? + "\n"
        }
        ReplayFormat::Human => {
            let mut out = format!(
                "{:9} {:7} {:20} {:>17} {:>17} {:>17}\n",
                "mode", "level", "classes", "full", "pruned", "samples"
            );
            for row in rows {
                let CellSettings { journal_mode, synchronous } = row.settings;
                let is_whole = row.ways.iter().all(|way| way.is_whole);
                let classes = match (row.agrees(), is_whole) {
                    (true, _) => row.ways[0].classes.join(" "),
                    (false, true) => "DIFFER".to_owned(),
                    (false, false) => "not finished".to_owned(),
                };
                let _ = write!(out, "{:9} {:7} {classes:20}", journal_mode.word(), synchronous.word());
                for way in &row.ways {
                    let partly = if way.is_whole { "" } else { "*" };
                    let _ = write!(out, " {:>17}", format!("{} of {}{partly}", way.needed, way.distinct));
                }
                out.push('\n');
            }
            out + "images until all classes had been met, of the distinct images; * not all were looked at\n"
        }
    })?;
    let is_whole = |row: &&compare::Compared| row.ways.iter().all(|way| way.is_whole);
    let whole: Vec<&compare::Compared> = rows.iter().filter(is_whole).collect();
    if whole.len() < rows.len() {
        let left = count((rows.len() - whole.len()) as u64, "workload");
        say(&format!("{left} not looked at as a whole, which say nothing: give more --images or --max-seconds"));
    }
    Ok(match &whole[..] {
        [] => Exit::NothingRan,
        whole if whole.iter().all(|row| row.agrees()) => Exit::Expected,
        _ => Exit::Finding,
    })
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
    let words = args.device.as_deref().unwrap_or("4096");
    let device: Device = words.parse().map_err(Complaint::usage)?;
    let is_named = |directory: &Directory| words.split('+').any(|word| word == directory.word());
    let directory = match (Directory::ALL.into_iter().find(is_named), args.directory) {
        (Some(named), Some(given)) if named != given => {
            let (named, given) = (named.word(), given.word());
            return Err(Complaint::usage(format!("--device says {named} and --directory {given}: give one of them")));
        }
        (Some(named), _) => named,
        (None, _) => args.directory(),
    };
    Ok(Device { directory, ..device })
}

fn subjects(args: &PowercutArgs) -> Result<Vec<Subject>, Complaint> {
    if !args.strategy.is_empty() {
        let faults = faults_of(args)?;
        let subject = |name: &String| {
            let strategy = strategies::find(name).map_err(Complaint::usage)?.name.to_owned();
            Ok(Subject::Strategy { strategy, faults: faults.clone() })
        };
        return args.strategy.iter().map(subject).collect();
    }
    if !args.table {
        let (journal_mode, synchronous) =
            (args.journal_mode.unwrap_or(JournalMode::Wal), args.synchronous.unwrap_or(Level::Full));
        return Ok(vec![Subject::Sql(CellSettings { journal_mode, synchronous })]);
    }
    let chosen = |cell: &CellSettings| {
        args.journal_mode.is_none_or(|mode| mode == cell.journal_mode)
            && args.synchronous.is_none_or(|level| level == cell.synchronous)
    };
    Ok(CellSettings::all().filter(chosen).map(Subject::Sql).collect())
}

/// The faults under which strategies run: those of the matrix in which only the power cut takes anything away.
fn faults_of(args: &PowercutArgs) -> Result<Vec<String>, Complaint> {
    let name = |fault: faults::Fault| fault.name.to_string();
    if args.preset.is_empty() {
        let is_harmless = |fault: &faults::Fault| {
            let drawn = fault.draw(Seed(0));
            fault.works_on(true) && fault.works_on(false) && !drawn.has_outsiders() && !drawn.disturbs_files()
        };
        return Ok(faults::matrix().into_iter().filter(is_harmless).map(name).collect());
    }
    let find = |name: &String| faults::find(&FaultName::Named(name.clone())).map_err(Complaint::usage);
    let found: Vec<faults::Fault> = args.preset.iter().map(find).collect::<Result<_, _>>()?;
    Ok(found.into_iter().map(name).collect())
}

fn search(args: &PowercutArgs, subject: Subject, (sqlite, device, seed): (&str, Device, Seed)) -> Search {
    let samples = match (args.exhaustive, args.random) {
        (true, _) => SamplesOf::All,
        (_, true) => SamplesOf::Random,
        _ => SamplesOf::Pruned,
    };
    // A table looks at whole workloads, the runs of a strategy at so many images.
    let is_table = matches!(subject, Subject::Sql(_)) && args.images.is_none();
    let cases_max = match (is_table, args.exhaustive) {
        (false, _) => u64::MAX,
        (true, true) => EXHAUSTIVE_WORKLOADS,
        (true, false) => WORKLOADS,
    };
    Search {
        subject,
        sqlite: sqlite.to_owned(),
        device: device.to_string(),
        seed: seed.0,
        images_max: args.images.unwrap_or(if is_table { u64::MAX } else { IMAGES }),
        cases_max: args.workloads.unwrap_or(cases_max),
        time_max_ms: None,
        samples,
        depth: args.recovery,
    }
}

fn human(output: &Output<'_>) -> String {
    let Output { seed, sqlite, device, seconds, cells, .. } = output;
    let mut out = String::new();
    let (distinct, judged): (u64, u64) =
        (cells.iter().map(|cell| cell.distinct).sum(), cells.iter().map(|cell| cell.judged).sum());
    let rate = distinct as f64 / cells.iter().map(|cell| cell.seconds).sum::<f64>().max(1e-9);
    let unfinished: u64 = cells.iter().map(|cell| cell.unfinished).sum();
    let coverage = match unfinished {
        0 => "all images of every cut within the bounds".to_owned(),
        cuts => format!("{} not finished, by the limits or an interruption", count(cuts, "cut")),
    };
    let _ = writeln!(
        out,
        "power cuts on SQLite {sqlite}, device {device}, seed {seed}: {}, {} in \
         {seconds:.1} s; {rate:.0} images a second on each core; {coverage}",
        count(distinct, "distinct image"),
        count(judged, "judgement")
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
        let (mode, level) = match &cell.subject {
            Subject::Sql(settings) => (settings.journal_mode.word(), settings.synchronous.word()),
            Subject::Strategy { strategy, .. } => (&**strategy, ""),
        };
        let _ = writeln!(
            out,
            "{:9} {:7} {:9} {:9} {:8} {:>7} {:>9} {:>8} {:>7} {:>5} {:>7} {:>7}",
            mode,
            level,
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
    for cell in *cells {
        for CellFinding { verdict, detail, token, .. } in &cell.findings {
            let news = if *verdict > cell.expected { ", worse than expected" } else { "" };
            let _ = writeln!(out, "{} ({verdict}{news}): {detail}\nseawall replay {token}", cell.subject);
        }
    }
    out
}

/// `seawall cut`: a child process.
pub(super) fn child() -> ExitCode {
    pool::child().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
