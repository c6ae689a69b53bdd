//! `seawall replay`: what tokens and case files name, executed again.

use super::args::{CaseMedium, ReplayArgs, ReplayFormat};
use super::{Complaint, Exit, print, say, soak, stop_on_interrupt};
use crate::reproduce::{self, Replayed, Setting, Subject, Until};
use seawall_harness::trace::{self, Entry};
use seawall_harness::verdict::Verdict;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

pub(super) fn run(args: ReplayArgs) -> Result<Exit, Complaint> {
    // All of them are checked before the first is executed.
    let subjects = subjects(&args.tokens)?;
    if subjects.is_empty() {
        say("nothing ran: no token was given");
        return Ok(Exit::NothingRan);
    }
    let runner = soak::runner(args.scratch.as_deref())?;
    let setting = Setting { runner, is_real: args.medium == CaseMedium::Real };
    if let Some(path) = &args.trace {
        check_trace(path)?;
    }
    let stop = stop_on_interrupt()?;
    let until = Until::new(&stop, None);
    let mut worst = Exit::Expected;
    for Wanted { subject, verdict } in &subjects {
        let replayed = subject.replay(&setting, args.times, &until)?;
        print(match args.format {
            ReplayFormat::Human => &replayed.human,
            ReplayFormat::Json => &replayed.json,
        })?;
        if let Some(path) = &args.trace {
            write_trace(path, &replayed.calls)?;
        }
        worst = worst.max(exit(&replayed, *verdict));
        if until.is_over() {
            say("interrupted: the figures are those of the runs that were done");
            return Ok(Exit::Interrupted);
        }
    }
    Ok(worst)
}

/// A subject, and its verdict if that is known.
struct Wanted {
    subject: Box<dyn Subject>,
    verdict: Option<Verdict>,
}

/// The subjects of the arguments. An argument with `@` before it is a file of them, one a line, each with or without
/// its verdict behind it; empty lines and lines that begin with `#` do not count.
fn subjects(arguments: &[String]) -> Result<Vec<Wanted>, Complaint> {
    let mut subjects = Vec::new();
    for argument in arguments {
        let Some(path) = argument.strip_prefix('@') else {
            subjects.push(Wanted { subject: reproduce::parse(argument)?, verdict: None });
            continue;
        };
        let text =
            fs::read_to_string(path).map_err(|error| Complaint::usage(format!("cannot read @{path}: {error}")))?;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if !line.is_empty() && !line.starts_with('#') {
                let wanted = wanted(line);
                let in_context = |Complaint { exit, message }| Complaint {
                    exit,
                    message: format!("{path}, line {number}: {message}"),
                };
                subjects.push(wanted.map_err(in_context)?);
            }
        }
    }
    Ok(subjects)
}

fn wanted(line: &str) -> Result<Wanted, Complaint> {
    let (token, verdict) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let verdict = match verdict.trim() {
        "" => None,
        word => Some(word.parse().map_err(Complaint::usage)?),
    };
    Ok(Wanted { subject: reproduce::parse(token)?, verdict })
}

/// Whether all executions came out as wanted; where nothing is wanted, a finding is not.
fn exit(replayed: &Replayed, wanted: Option<Verdict>) -> Exit {
    let exit = |(verdict, is_expected): &(Verdict, bool)| match wanted {
        _ if *verdict == Verdict::HarnessBroken => Exit::LabBroken,
        Some(wanted) if *verdict == wanted => Exit::Expected,
        None if *is_expected => Exit::Expected,
        _ => Exit::Finding,
    };
    replayed.verdicts.iter().map(exit).max().unwrap_or(Exit::Expected)
}

/// Checks before the executions that the trace can be written.
fn check_trace(path: &Path) -> Result<(), Complaint> {
    if path == Path::new("-") {
        return Ok(());
    }
    let opened = File::options().create(true).append(true).open(path);
    opened.map(drop).map_err(|error| Complaint::usage(format!("cannot write --trace {}: {error}", path.display())))
}

fn write_trace(path: &Path, calls: &[Entry]) -> Result<(), Complaint> {
    let write = || -> io::Result<()> {
        if path == Path::new("-") {
            return trace::write_json_lines(calls, &mut io::stdout().lock());
        }
        let mut out = BufWriter::new(File::create(path)?);
        trace::write_json_lines(calls, &mut out)?;
        out.flush()
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Complaint::usage(format!("cannot write --trace {}: {error}", path.display()))),
    }
}
