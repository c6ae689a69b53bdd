//! `seawall replay`: what tokens and case files name, executed again.

mod ask;
mod bisect;
mod line;

use super::args::{CaseMedium, Format, ReplayArgs};
use super::{Complaint, Exit, print, say, soak, stop_on_interrupt};
use crate::case_file;
use crate::engines::{self, Library};
use crate::reproduce::{self, Setting, Shrunken, Subject, Until};
use line::Line;
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
    if let Some(sqlite) = &args.sqlite {
        // It is built before the first answer.
        engines::identify(sqlite)?;
    }
    let stop = stop_on_interrupt()?;
    let until = Until::new(&stop, None);
    let mut worst = Exit::Expected;
    let mut lines = Vec::new();
    for wanted in &subjects {
        let line = if args.bisect {
            bisect::bisect(wanted, &setting, &until)?
        } else {
            replay(wanted, &setting, &args, &until)?
        };
        match args.format {
            Format::Human => drop(print(&line.human)?),
            Format::Json => drop(print(&line.json()?)?),
            Format::Junit => {}
        }
        worst = worst.max(line.exit);
        lines.push(line);
        if until.is_over() {
            say("interrupted: the figures are those of the runs that were done");
            worst = Exit::Interrupted;
            break;
        }
    }
    if args.format == Format::Junit {
        print(&line::junit(&lines))?;
    }
    Ok(worst)
}

/// Executes a subject on the SQLite that was asked for, or on its own one.
fn replay(wanted: &Wanted, setting: &Setting, args: &ReplayArgs, until: &Until<'_>) -> Result<Line, Complaint> {
    if let Some(sqlite) = &args.sqlite {
        return ask::ask(wanted, setting, sqlite, None);
    }
    if let Some((path, change)) = changed(&*wanted.subject)? {
        return ask::ask(wanted, setting, &path, Some(change));
    }
    let replayed = wanted.subject.replay(setting, args.times, until)?;
    if let Some(path) = &args.trace {
        write_trace(path, &replayed.calls)?;
    }
    let shrunken: Option<Shrunken> = case_file::shrunken(Path::new(wanted.subject.name()));
    let warning = shrunken.and_then(|shrunken| shrunken.against?.warning());
    Ok(Line::replayed(wanted, replayed, warning))
}

/// The path of the library of a case, if another one lies there now, and what has changed.
fn changed(subject: &dyn Subject) -> Result<Option<(String, String)>, Complaint> {
    let Some(library) = subject.sqlite().map(Library::parse) else { return Ok(None) };
    let Some(found) = library.changed()? else { return Ok(None) };
    let Library { path, hash } = library;
    let recorded = hash.unwrap_or_default();
    let change = format!("{path} is another library now: its hash is {found}, and {recorded} was recorded");
    Ok(Some((path, change)))
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

/// True if a subject is the file of a case, and no token.
fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
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
