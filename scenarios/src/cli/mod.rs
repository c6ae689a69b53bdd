//! The program `seawall`: results to standard output, everything else to standard error.
//!
//! Exit status: 0 as expected; 100 a verdict differs from the expectation table, or a finding was made; 2 usage; 4
//! nothing ran; 70 the lab itself is broken; 130 interrupted.

mod args;
mod completions;
mod doctor;
mod explore;
mod faults;
mod list;
mod merge;
mod powercut;
mod properties;
mod replay;
mod report;
mod share;
mod shrink;
mod simulate;
mod soak;
mod sqlite;

use crate::engines::ResolveError;
use crate::explore::{ExploreError, WriteError};
use crate::reproduce::ReproduceError;
use crate::run::{RunError, outsider, worker};
use args::{Cli, Command};
use clap::{CommandFactory, FromArgMatches};
use seawall_harness::vfs::RegisterError;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How the program ends, better endings first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Expected,
    NothingRan,
    Finding,
    Usage,
    LabBroken,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Expected => 0,
            Exit::Finding => 100,
            Exit::Usage => 2,
            Exit::NothingRan => 4,
            Exit::LabBroken => 70,
            Exit::Interrupted => 130,
        })
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Complaint {
    exit: Exit,
    message: String,
}

impl Complaint {
    fn usage(message: impl ToString) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    fn broken(message: impl ToString) -> Self {
        Self { exit: Exit::LabBroken, message: message.to_string() }
    }
}

impl From<RunError> for Complaint {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Spec(_) | RunError::Usage(_) => Self::usage(error),
            RunError::Io { error: ref cause, .. } if is_full(cause) => {
                Self::usage(format!("{error}; free some space there, or name a folder on another disk with --scratch"))
            }
            RunError::Io { .. } | RunError::Rig(_) | RunError::Simulator(_) => Self::broken(error),
        }
    }
}

/// True if a disk is full or cannot be written to: the lab is not broken then.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | ReadOnlyFilesystem)
}

impl From<ResolveError> for Complaint {
    fn from(error: ResolveError) -> Self {
        Self::usage(error)
    }
}

impl From<ExploreError> for Complaint {
    fn from(error: ExploreError) -> Self {
        match error {
            ExploreError::Register(RegisterError::Plan(error)) => Self::usage(error),
            ExploreError::Differs { .. } | ExploreError::Register(_) | ExploreError::Broken(_) => Self::broken(error),
            error => Self::usage(error),
        }
    }
}

impl From<WriteError> for Complaint {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Explore(error) => Self::broken(error),
            WriteError::File(error) => Self::usage(error),
        }
    }
}

impl From<ReproduceError> for Complaint {
    fn from(error: ReproduceError) -> Self {
        match error {
            ReproduceError::Run(error) => error.into(),
            ReproduceError::Explore(error) => error.into(),
            ReproduceError::PowerCut(error) => error.into(),
            ReproduceError::Differs { .. } | ReproduceError::Broken(_) => Self::broken(error),
            error => Self::usage(error),
        }
    }
}

/// The arguments. A negative number is a value, which is refused as such, and no unknown option.
fn parse() -> Cli {
    let command = Cli::command().mut_subcommands(|command| command.allow_negative_numbers(true));
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// Parses the arguments and executes the command.
pub fn main() -> ExitCode {
    let cli = parse();
    cli.color.write_global();
    let result = match cli.command {
        Command::Soak(args) => soak::run(*args),
        Command::Explore(args) => explore::run(&args),
        Command::Powercut(args) => powercut::run(&args),
        Command::Properties(args) => properties::run(&args),
        Command::Shrink(args) => shrink::run(&args),
        Command::Replay(args) => replay::run(args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::List(args) => list::run(&args),
        Command::Sqlite(args) => sqlite::run(&args),
        Command::Completions { shell } => completions::run(shell),
        Command::Worker => return worker::main(),
        Command::Outsider { path } => return outsider::main(&path),
        Command::Search => return explore::child(),
        Command::Cut => return powercut::child(),
        Command::Simulate => return simulate::main(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(Complaint { exit, message }) => {
            let bold = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
            say(&format!("{bold}error:{bold:#} {message}"));
            exit.into()
        }
    }
}

/// Writes a line to standard error. If that fails, the exit status must suffice.
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// A flag that the first Ctrl-C sets, so that the runs in progress end and clean up after themselves. A second
/// Ctrl-C ends the program.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Complaint> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Some programs send SIGTERM twice, to a process and to its group. The second one must not end it.
        if signal == signal_hook::consts::SIGINT {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop)).map_err(Complaint::broken)?;
        }
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Complaint::broken)?;
    }
    Ok(stop)
}

/// Writes a result to standard output. A reader that has closed the pipe (`| head`) is no error.
fn print(text: &str) -> Result<Exit, Complaint> {
    use std::io::Write;
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Exit::Expected),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Expected),
        Err(error) => Err(Complaint::usage(format!("cannot write to standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_flags_start_unset() {
        assert!(!stop_on_interrupt().unwrap().load(std::sync::atomic::Ordering::Relaxed));
    }
}
