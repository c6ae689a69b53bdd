//! `seawall doctor`: what can be read of databases without disturbing their users, and what can be repaired.

mod explain;
mod repair;
mod rescue;
mod show;
mod targets;
mod watch;

use super::args::{ReplayFormat, pause};
use super::{Complaint, Exit, print, say};
use clap::{Args, ValueEnum};
use seawall::doctor::fix::Take;
use seawall::doctor::{self, DoctorReport, Severity};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use targets::{Problem, Targets};

#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct DoctorArgs {
    /// Databases; a directory stands for the databases in it, which are found by their content
    #[arg(value_name = "DB|DIR", required_unless_present = "explain")]
    databases: Vec<PathBuf>,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value = "human")]
    format: ReplayFormat,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Build the possible outcomes of a repair on copies and show them; with --yes, do it
    #[arg(long)]
    fix: bool,
    /// Do what --fix says
    #[arg(long, requires = "fix")]
    yes: bool,
    /// Which outcome to take where two are possible
    #[arg(long, value_enum, requires = "fix", value_name = "OUTCOME")]
    take: Option<TakeArg>,
    /// Copy deleted files of the database that a process still has open into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "fix")]
    save: Option<PathBuf>,
    /// Look again and again, and print a line when something has changed, until Ctrl-C
    #[arg(long, conflicts_with_all = ["fix", "save"])]
    watch: bool,
    /// How long to wait between two looks, like 500ms, 2s or 1m
    #[arg(long, value_parser = pause, requires = "watch", default_value = "2s", value_name = "TIME")]
    interval: Duration,
    /// Print what a code of a finding means, what to do, and what not to do
    #[arg(long, value_name = "CODE", conflicts_with_all = ["databases", "fix", "save", "watch"])]
    explain: Option<String>,
}

/// Which of two outcomes of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TakeArg {
    /// The database file alone, without its log and without its journal
    Alone,
    /// The database as SQLite would open it: with the log carried into it, with the journal rolled back; for an empty
    /// file, whose log SQLite would delete, the database that the log makes
    Log,
}

impl From<TakeArg> for Take {
    fn from(take: TakeArg) -> Take {
        match take {
            TakeArg::Alone => Take::Alone,
            TakeArg::Log => Take::Log,
        }
    }
}

const HELP: &str = "\
Without --fix nothing is written, locked, created or checkpointed: it is safe beside a running application.\n\
--fix copies the files into a folder beside the database, lets SQLite work on the copies, shows what the database \
would contain, and removes the copies. Nothing else is changed.\n\
--fix --yes keeps copies of all files as they were, and puts the outcome in the place of the database, as the sole \
owner. Where a log or a journal may or may not belong to the database, it chooses nothing: --take says what to take. \
Side files whose database is gone are renamed into a folder beside it.\n\
--format json prints one object: for one database its report; for several, or a directory, an object with \
`databases`, their reports, and `errors`. With --watch it prints one report a line.\n\
Exit status: 0 nothing found, or notices alone; 100 a warning or a danger was found, or a repair was refused or \
failed; 2 wrong arguments, or there is no such database; 4 there is no database, or nothing to save; 130 interrupted.";

impl DoctorArgs {
    fn is_json(&self) -> bool {
        self.json || self.format == ReplayFormat::Json
    }
}

/// Several reports, for machines.
#[derive(Serialize)]
struct Reports<'a> {
    schema: u32,
    databases: &'a [DoctorReport],
    errors: &'a [Problem],
}

pub(super) fn run(args: &DoctorArgs) -> Result<Exit, Complaint> {
    if let Some(code) = &args.explain {
        return explain::run(code, args.is_json());
    }
    let targets = Targets::of(&args.databases)?;
    if args.watch {
        return watch::run(&targets, args.interval, args.is_json());
    }
    if args.fix {
        return repair::run(args, &targets);
    }
    if let Some(directory) = &args.save {
        return rescue::run(args, targets.single("--save")?, directory);
    }
    examine(args, targets)
}

fn examine(args: &DoctorArgs, targets: Targets) -> Result<Exit, Complaint> {
    let mut problems = targets.problems;
    let mut reports = Vec::new();
    for path in &targets.databases {
        match doctor::examine(path) {
            Ok(report) => reports.push(report),
            // With one database, that is all there is to say.
            Err(error) if targets.is_single => return Err(Complaint::usage(error)),
            Err(error) => problems.push(Problem::new(path, error)),
        }
    }
    if args.is_json() {
        print(&match &reports[..] {
            [report] if targets.is_single => json(report)?,
            reports => json(&Reports { schema: 1, databases: reports, errors: &problems })?,
        })?;
    } else {
        let texts: Vec<String> = reports.iter().map(show::report).collect();
        print(&texts.join("\n"))?;
        problems.iter().for_each(|problem| say(&format!("not examined: {}: {}", problem.path, problem.error)));
        if reports.is_empty() && problems.is_empty() {
            say("there is no database");
        }
    }
    let worst = reports.iter().map(exit).max().unwrap_or(Exit::Expected);
    let given = if problems.iter().any(|problem| problem.is_given) { Exit::Usage } else { Exit::Finding };
    let none = if reports.is_empty() && problems.is_empty() { Exit::NothingRan } else { Exit::Expected };
    Ok(worst.max(none).max(if problems.is_empty() { Exit::Expected } else { given }))
}

fn exit(report: &DoctorReport) -> Exit {
    if report.severity >= Severity::Warning { Exit::Finding } else { Exit::Expected }
}

fn json(value: &impl Serialize) -> Result<String, Complaint> {
    let mut text = serde_json::to_string(value).map_err(Complaint::broken)?;
    text.push('\n');
    Ok(text)
}

/// Quoted for a shell. Bytes that are no text cannot be.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.contains(char::is_control) {
        let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
        let escaped: String = escaped
            .chars()
            .map(|char| match char {
                char if char.is_control() => format!("\\u{:04x}", u32::from(char)),
                char => char.to_string(),
            })
            .collect();
        return format!("$'{escaped}'");
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
