//! The command line.

use super::faults::FaultArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use seawall_harness::seed::Seed;
use std::path::PathBuf;
use std::time::Duration;

/// Fault injection and reproduction for SQLite.
#[derive(Debug, Parser)]
#[command(name = "seawall", version, propagate_version = true, max_term_width = 120)]
pub(super) struct Cli {
    /// When to use colours
    #[command(flatten)]
    pub(super) color: colorchoice_clap::Color,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run every strategy under every fault, and print a verdict for each
    Soak(Box<SoakArgs>),
    /// Execute a scenario in the simulator again and again, each time with another schedule, until something is found
    Explore(Box<ExploreArgs>),
    /// Cut the power of the simulated disk at each change, and say what each journal mode and level of synchronous lose
    Powercut(Box<super::powercut::PowercutArgs>),
    /// Check the properties of the connection layer: each is a model, and any number of cases drawn from seeds
    Properties(PropertiesArgs),
    /// Make a finding of the simulator as small as possible, and tell it as a story
    Shrink(ShrinkArgs),
    /// Execute what a token or a case file names again, and compare it call by call
    Replay(ReplayArgs),
    /// Examine databases and their side files without disturbing their users, and say what to do
    Doctor(Box<super::doctor::DoctorArgs>),
    /// Render the record of a soak again, or say what has changed since another one
    Report(ReportArgs),
    /// Make one record of the records of all shares of a soak
    Merge(MergeArgs),
    /// List strategies, faults, presets, oracles, verdicts, scenarios, policies, or the words of the fault grammar
    List(ListArgs),
    /// Build other versions of SQLite to run scenarios on, or list them
    Sqlite(super::sqlite::SqliteArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// One process of a run; started by seawall itself
    #[command(hide = true)]
    Worker,
    /// Another program that writes to a database; started by seawall itself
    #[command(hide = true)]
    Outsider {
        /// The database
        path: std::path::PathBuf,
    },
    /// A simulator for runs; started by seawall itself
    #[command(hide = true)]
    Simulate,
    /// One process for power cuts; started by seawall itself
    #[command(hide = true)]
    Cut,
    /// One process of an exploration; started by seawall itself
    #[command(hide = true)]
    Search,
}

/// How results are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// One JSON object
    Json,
    /// JUnit's XML
    Junit,
}

/// What the database files lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Medium {
    /// Real files, threads and processes
    Real,
    /// The simulated disk
    Sim,
    /// Half the time each
    Both,
}

/// Where the case of a run is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CaseMedium {
    /// Real files, threads and processes
    Real,
    /// The simulator
    Sim,
}

#[derive(Debug, Args)]
pub(super) struct SoakArgs {
    /// How long to go on, like 30s or 10m [default: 60s unless --count is given]
    #[arg(long, value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// How many runs each cell of the matrix gets
    #[arg(long, value_parser = whole::<u64>)]
    pub(super) count: Option<u64>,
    /// The seed of all choices: a number, or hexadecimal digits after 0x [default: a new one each time]
    #[arg(long)]
    pub(super) seed: Option<Seed>,
    /// Only these strategies, separated by commas (see `seawall list strategies`)
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(super) strategy: Vec<String>,
    /// Only this fault of the matrix, or this preset (see `seawall list faults`); may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) preset: Vec<String>,
    #[command(flatten)]
    pub(super) faults: FaultArgs,
    /// What the database files lie on
    #[arg(long, value_enum, default_value = "both")]
    pub(super) medium: Medium,
    /// Runs at once [default: twice the number of processors]
    #[arg(long, value_parser = jobs)]
    pub(super) jobs: Option<u16>,
    /// Execute the K-th of N equal shares of the runs; needs --seed [default: the share of this job of an array, if
    /// the environment names one (see docs/fleet.md); else all runs]
    #[arg(long, value_name = "K/N", value_parser = partition)]
    pub(super) partition: Option<(u64, u64)>,
    /// The folder for the report: index.html, record.json, junit.xml, matrix.svg
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
    /// The folder for the databases of the runs [default: /dev/shm, or the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(super) scratch: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ExploreArgs {
    /// What the actors do (see `seawall list scenarios`); `all` explores every listed scenario, one after the other,
    /// each with the same limits, and prints one result for each
    #[arg(value_name = "SCENARIO", default_value = "mixed")]
    pub(super) scenario: String,
    /// The SQLite to run on: a version (see `seawall sqlite list`), the path of a shared object, or `linked`
    #[arg(long, value_name = "VERSION|PATH", default_value = "linked")]
    pub(super) sqlite: String,
    /// The policy, which decides when each actor runs: rare, pct, random or round-robin
    #[arg(long, value_name = "NAME", default_value = "rare")]
    pub(super) policy: String,
    /// The seed of all choices: a number, or hexadecimal digits after 0x [default: a new one each time]
    #[arg(long)]
    pub(super) seed: Option<Seed>,
    /// How many executions at most [default: 1000000]
    #[arg(long, value_parser = whole::<u64>)]
    pub(super) executions: Option<u64>,
    /// How many seconds at most, for each scenario [default: 60, unless --executions is given]
    #[arg(long, value_parser = seconds)]
    pub(super) max_seconds: Option<u64>,
    /// Go on after the first finding, shrink some of them, and group them by their causes: oracle and shrunken story
    /// without numbers; the smallest case of each group is written
    #[arg(long)]
    pub(super) all: bool,
    /// A file of known causes, one a line, as --all prints them: their findings are counted, and the search goes on;
    /// may be repeated
    #[arg(long, value_name = "FILE")]
    pub(super) known: Vec<PathBuf>,
    /// With --all or --known: how many findings, of which the oracle says the same but for numbers, are shrunk in each
    /// process, a few seconds each at most [default: 8]
    #[arg(long, value_name = "N")]
    pub(super) shrunk: Option<u64>,
    /// Execute everything again from the recorded preemptions, and compare every call
    #[arg(long)]
    pub(super) twice: bool,
    /// A preset of fault rules (see `seawall list presets`); may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) preset: Vec<String>,
    #[command(flatten)]
    pub(super) faults: FaultArgs,
    /// Processes at once, which share the executions among them [default: 1]
    #[arg(long, value_parser = jobs)]
    pub(super) jobs: Option<u16>,
    /// Execute the K-th of N equal shares of the executions; needs --seed [default: as for `soak`]
    #[arg(long, value_name = "K/N", value_parser = partition)]
    pub(super) partition: Option<(u64, u64)>,
    /// The folder for the case of a finding
    #[arg(long, value_name = "DIR", default_value = "reports/out/findings")]
    pub(super) out: PathBuf,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: ReplayFormat,
}

#[derive(Debug, Args)]
pub(super) struct PropertiesArgs {
    /// Which ones: breaker, registry, store [default: all]
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// How many cases of each
    #[arg(long, default_value_t = 100_000, value_parser = whole::<u64>)]
    pub(super) count: u64,
    /// The seed of the first case, from which the others' follow: a number, or hexadecimal digits after 0x [default: a
    /// new one each time]
    #[arg(long)]
    pub(super) seed: Option<Seed>,
    /// Cases at once [default: the number of processors]
    #[arg(long, value_parser = jobs)]
    pub(super) jobs: Option<u16>,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: ReplayFormat,
}

#[derive(Debug, Args)]
pub(super) struct ShrinkArgs {
    /// The token of a finding of `seawall explore` or of a run on the medium `sim`, or the file of a case
    #[arg(value_name = "TOKEN|FILE.json")]
    pub(super) subject: String,
    /// How many seconds at most; the smallest case so far is the result [default: until nothing more can be left out]
    #[arg(long, value_parser = seconds)]
    pub(super) max_seconds: Option<u64>,
    /// The SQLite that is believed sound, on which the shrunk case is executed too, since what fails there as well is
    /// no error of the engine: a version, the path of a shared object, or `none` [default: the newest that can be
    /// built]
    #[arg(long, value_name = "VERSION|PATH")]
    pub(super) against: Option<String>,
    /// The folder for the shrunk case and its story
    #[arg(long, value_name = "DIR", default_value = "reports/out/findings")]
    pub(super) out: PathBuf,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: ReplayFormat,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Tokens; or case files; or, with @ before the name, files of tokens, one a line, each with its expected verdict
    /// behind it or without
    #[arg(required = true, value_name = "TOKEN|FILE.json|@FILE")]
    pub(super) tokens: Vec<String>,
    /// How often to execute each
    #[arg(long, default_value_t = 1, value_parser = whole::<u32>)]
    pub(super) times: u32,
    /// Whether it happens on this SQLite, where its steps and preemptions are executed, and schedules next to its own:
    /// a version, the path of a shared object, or `linked`
    #[arg(long, value_name = "VERSION|PATH", conflicts_with_all = ["times", "trace", "medium"])]
    pub(super) sqlite: Option<String>,
    /// Look for the first and the last version on which it happens, among all that can be built, by halving; versions
    /// that are needed are built, and those that are built already are asked as well
    #[arg(long, conflicts_with_all = ["sqlite", "times", "trace", "medium"])]
    pub(super) bisect: bool,
    /// Where the case file of a run is executed: with `real`, real processes take its steps, in the same order
    #[arg(long, value_enum, default_value = "sim")]
    pub(super) medium: CaseMedium,
    /// Write the calls of the last execution to this file, as JSON, one a line; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
    /// The folder for the databases [default: /dev/shm, or the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(super) scratch: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The record.json of a report
    #[arg(value_name = "RECORD")]
    pub(super) record: PathBuf,
    /// An earlier record: say what has changed since; the exit status is 100 if a verdict is worse
    #[arg(long, value_name = "RECORD", conflicts_with = "out")]
    pub(super) compare: Option<PathBuf>,
    /// The folder for the report: index.html, record.json, junit.xml, matrix.svg
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// The record.json of each share; the same one twice counts once
    #[arg(required = true, value_name = "RECORD")]
    pub(super) records: Vec<PathBuf>,
    /// The folder for the report: index.html, record.json, junit.xml, matrix.svg
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
}

/// How a result is written where there is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReplayFormat {
    /// For people
    Human,
    /// JSON, one object a line
    Json,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// What to list
    #[arg(value_enum, default_value = "all")]
    pub(super) what: Listing,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: ReplayFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Listing {
    /// Everything
    All,
    /// Ways to hand out connections
    Strategies,
    /// The rows of the matrix
    Faults,
    /// Named sets of fault rules
    Presets,
    /// The properties that must hold
    Oracles,
    /// The possible results of a run
    Verdicts,
    /// The steps of actors in explorations
    Scenarios,
    /// How explorations decide when each actor runs
    Policies,
    /// EFFECT words of the fault grammar
    Effects,
    /// What outsiders do: NAME of the effect `outside=NAME`
    Actions,
    /// MODIFIER words of the fault grammar
    Modifiers,
    /// METHOD words of the fault grammar
    Methods,
    /// ROLE words of the fault grammar
    Roles,
    /// SQLite's result codes
    Codes,
}

/// Why the value of an option cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("`{0}` is not a duration: write 30s, 10m or 1h")]
    Duration(String),
    #[error("`{0}` is not a pause: write 500ms, 2s or 1m, 10ms at least")]
    Pause(String),
    #[error("it is a whole number from 1 on")]
    Whole,
    #[error("it is a whole number of seconds")]
    Seconds,
    #[error("it is a number of processes, from 1 to {JOBS_MAX}")]
    Jobs,
    #[error("`{0}` is not a share: write K/N with 1 <= K <= N, like 1/4")]
    Share(String),
    #[error("`{0}` is too small a share: N is at most {SHARES_MAX}")]
    SmallShare(String),
}

/// A number of things of which there is at least one.
pub(super) fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, ValueError> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.and_then(|number| T::try_from(number).ok()).ok_or(ValueError::Whole)
}

/// A limit of time; 0 is one, in which next to nothing is done.
fn seconds(text: &str) -> Result<u64, ValueError> {
    text.parse().map_err(|_| ValueError::Seconds)
}

/// More processes at once than any machine needs.
const JOBS_MAX: u16 = 512;

pub(super) fn jobs(text: &str) -> Result<u16, ValueError> {
    whole(text).ok().filter(|jobs| *jobs <= JOBS_MAX).ok_or(ValueError::Jobs)
}

fn duration(text: &str) -> Result<Duration, ValueError> {
    let hint = || ValueError::Duration(text.to_owned());
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(hint)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| hint())?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(hint()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(hint)
}

/// How long to wait again and again.
pub(super) fn pause(text: &str) -> Result<Duration, ValueError> {
    let pause = duration(text).ok().filter(|pause| *pause >= PAUSE_MIN);
    pause.ok_or_else(|| ValueError::Pause(text.to_owned()))
}

/// Shorter pauses would take a whole processor.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The most shares that there can be.
pub(super) const SHARES_MAX: u64 = u32::MAX as u64;

pub(super) fn partition(text: &str) -> Result<(u64, u64), ValueError> {
    let parts = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((_, n)) if n > SHARES_MAX => Err(ValueError::SmallShare(text.to_owned())),
        Some((k, n)) if 1 <= k && k <= n => Ok((k, n)),
        _ => Err(ValueError::Share(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_and_shares_parse() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(pause("500ms"), Ok(Duration::from_millis(500)));
        assert!(pause("0s").is_err() && pause("9ms").is_err() && pause("x").is_err());
        assert!(duration("10").is_err() && duration("s").is_err() && duration("1y").is_err());
        assert_eq!((whole("7"), whole("65536"), jobs("512")), (Ok(7_u64), Err::<u16, _>(ValueError::Whole), Ok(512)));
        assert!(["-1", "0", "1.5", "", "x"].iter().all(|text| whole::<u64>(text).is_err() && jobs(text).is_err()));
        assert_eq!(partition("2/3"), Ok((2, 3)));
        assert!(partition("0/3").is_err() && partition("4/3").is_err() && partition("x").is_err());
        assert_eq!(partition("1/4294967295"), Ok((1, SHARES_MAX)));
        assert!(partition("1/4294967296").unwrap_err().to_string().contains("at most 4294967295"));
    }
}
