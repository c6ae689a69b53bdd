//! `seawall sqlite`: versions of SQLite to run scenarios on.

use super::args::ReplayFormat;
use super::{Complaint, Exit, print, say};
use crate::engines::{BuildError, Cache, RELEASES, Release, State, release};
use clap::{Args, Subcommand};
use parking_lot::Mutex;
use seawall_harness::engine::Engine;
use serde::Serialize;
use std::fmt::Write;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[derive(Debug, Args)]
#[command(after_long_help = FOLDER)]
pub(super) struct SqliteArgs {
    #[command(subcommand)]
    command: SqliteCommand,
}

#[derive(Debug, Subcommand)]
enum SqliteCommand {
    /// Build versions of SQLite as shared objects, and print their paths
    #[command(after_long_help = FOLDER)]
    Build(BuildArgs),
    /// List the versions that can be built, and those that are
    #[command(after_long_help = FOLDER)]
    List {
        /// How the result is written to standard output
        #[arg(long, value_enum, default_value = "human")]
        format: ReplayFormat,
    },
}

const FOLDER: &str = "\
The libraries lie in $SEAWALL_CACHE; by default in the folder `sqlite` of cargo's target folder, or among the user's \
caches where this program lies in none.\n\
Cargo brings the sources. $CC is the C compiler; by default cc, gcc or clang, whichever is there.";

#[derive(Debug, Args)]
struct BuildArgs {
    /// Versions of SQLite, like 3.51.1
    #[arg(value_name = "VERSION", required_unless_present = "all", conflicts_with = "all")]
    versions: Vec<String>,
    /// All versions that can be built
    #[arg(long)]
    all: bool,
    /// Builds at once [default: the number of processors]
    #[arg(long)]
    jobs: Option<NonZero<u16>>,
}

pub(super) fn run(args: &SqliteArgs) -> Result<Exit, Complaint> {
    let cache = Cache::locate().map_err(Complaint::broken)?;
    match &args.command {
        SqliteCommand::Build(args) => build(args, &cache),
        SqliteCommand::List { format } => list(*format, &cache),
    }
}

fn build(args: &BuildArgs, cache: &Cache) -> Result<Exit, Complaint> {
    // All names are looked at before the first minute of work.
    let releases: Vec<Release> = if args.all {
        RELEASES.to_vec()
    } else {
        args.versions.iter().map(|version| release(version)).collect::<Result<_, _>>().map_err(Complaint::usage)?
    };
    let processors = || thread::available_parallelism().map_or(1, NonZero::get);
    let jobs = args.jobs.map_or_else(processors, |jobs| usize::from(jobs.get())).min(releases.len());
    let next = AtomicUsize::new(0);
    let errors: Mutex<Vec<BuildError>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(release) = releases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = cache.build(*release, &say) {
                        errors.lock().push(error);
                    }
                }
            });
        }
    });
    let built = releases.iter().filter(|release| cache.state(**release) == State::Built);
    print(&built.map(|release| format!("{}\n", cache.library(*release).display())).collect::<String>())?;
    let errors = errors.into_inner();
    match errors.iter().map(ToString::to_string).reduce(|all, error| format!("{all}\n{error}")) {
        None => Ok(Exit::Expected),
        Some(message) => Err(Complaint::broken(message)),
    }
}

/// One version, for machines.
#[derive(Serialize)]
struct Item {
    version: &'static str,
    package: &'static str,
    state: &'static str,
    linked: bool,
    path: String,
}

#[derive(Serialize)]
struct Listing {
    schema: u32,
    cache: String,
    linked: String,
    engines: Vec<Item>,
}

fn list(format: ReplayFormat, cache: &Cache) -> Result<Exit, Complaint> {
    let linked = Engine::linked().version().to_owned();
    let item = |release: &Release| Item {
        version: release.sqlite,
        package: release.package,
        state: cache.state(*release).word(),
        linked: release.sqlite == linked,
        path: cache.library(*release).display().to_string(),
    };
    let engines = RELEASES.iter().map(item).collect();
    let listing = Listing { schema: 1, cache: cache.folder().display().to_string(), engines, linked };
    match format {
        ReplayFormat::Json => {
            let mut text = serde_json::to_string(&listing).map_err(Complaint::broken)?;
            text.push('\n');
            print(&text)
        }
        ReplayFormat::Human => print(&human(&listing)),
    }
}

fn human(listing: &Listing) -> String {
    let bold = anstyle::Style::new().bold();
    let mut out = String::new();
    let _ = writeln!(out, "{bold}{:<8} {:<21} state{bold:#}", "SQLite", "sources");
    for Item { version, package, state, linked, .. } in listing.engines.iter().rev() {
        let state = match (*state, *linked) {
            ("absent", true) => "linked".to_owned(),
            (state, true) => format!("linked, {state}"),
            ("absent", false) => String::new(),
            (state, false) => state.to_owned(),
        };
        let line = format!("{version:<8} libsqlite3-sys {package:<6} {state}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let _ = writeln!(out, "\nfolder: {}\nto build one: seawall sqlite build VERSION", listing.cache);
    out
}
