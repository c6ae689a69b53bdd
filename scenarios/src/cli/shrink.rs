//! `seawall shrink`: a finding of the simulator, made as small as possible and told as a story.

use super::args::{ReplayFormat, ShrinkArgs};
use super::{Complaint, Exit, print, say, soak, stop_on_interrupt};
use crate::engines;
use crate::reproduce::{self, Aim, Answer, Setting, Shrunk, Sizes, Until};
use indicatif::ProgressBar;
use seawall_harness::record::Story;
use seawall_harness::verdict::Verdict;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Columns of a story in a report.
const WIDTH: usize = 110;

/// The word for no comparison.
const NONE: &str = "none";

/// What is printed. Field names are a contract.
#[derive(Serialize)]
struct ShrinkOutput<'a> {
    schema: u32,
    /// What was shrunk: a token or a file.
    of: &'a str,
    verdict: Verdict,
    oracle: &'a str,
    detail: &'a str,
    /// Before and after.
    preemptions: (usize, usize),
    statements: (u64, u64),
    actors: (usize, usize),
    /// Cases that were executed.
    executions: u64,
    seconds: f64,
    /// False if the time ran out before nothing more could be left out.
    is_minimal: bool,
    /// For the run of a strategy: the verdict of its steps by real processes on real files.
    on_real_files: Option<Verdict>,
    /// The answer of a SQLite that is believed sound; null if none was asked.
    against: Option<&'a Answer>,
    /// If the case fails there as well.
    warning: Option<String>,
    /// True if the file had a smaller case and was not overwritten.
    is_kept: bool,
    /// The case.
    file: &'a Path,
    story: &'a Story,
    /// The story in words, line by line.
    words: Vec<String>,
}

pub(super) fn run(args: &ShrinkArgs) -> Result<Exit, Complaint> {
    soak::check_out(&args.out)?;
    let subject = reproduce::parse(&args.subject)?;
    let setting = Setting { runner: soak::runner(None)?, is_real: false };
    let stop = stop_on_interrupt()?;
    let until = Until::new(&stop, args.max_seconds.map(Duration::from_secs));
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let against = against(args.against.as_deref())?;
    let aim = Aim { out: &args.out, against: against.as_deref() };
    let shrunk = subject.shrink(&setting, &aim, &until, &|message| {
        bar.set_message(message.to_owned());
        bar.tick();
    })?;
    bar.finish_and_clear();
    print(&match args.format {
        ReplayFormat::Json => json(&args.subject, &shrunk).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&shrunk),
    })?;
    if let (ReplayFormat::Json, Some(warning)) = (args.format, shrunk.warning()) {
        say(&warning);
    }
    if stop.load(Ordering::Relaxed) {
        say("interrupted: this is the smallest case so far");
        return Ok(Exit::Interrupted);
    }
    Ok(Exit::Finding)
}

/// The SQLite to compare with; `None` for none. Where the newest one cannot be built, the linked one serves.
fn against(given: Option<&str>) -> Result<Option<String>, Complaint> {
    match given {
        Some(NONE) => return Ok(None),
        Some(name) => return Ok(engines::identify(name).map(|(_, name)| Some(name))?),
        None => {}
    }
    let newest = engines::newest();
    if let Err(error) = engines::resolve(&newest) {
        say(&format!("{error}\nthe shrunk case is compared with the linked SQLite"));
        return Ok(Some("linked".to_owned()));
    }
    Ok(Some(newest))
}

fn json(of: &str, shrunk: &Shrunk) -> serde_json::Result<String> {
    let Shrunk { story, file, before, after, executions, seconds, is_minimal, on_real_files, against, kept } = shrunk;
    serde_json::to_string(&ShrinkOutput {
        schema: 1,
        of,
        verdict: story.finding.verdict,
        oracle: &story.finding.oracle,
        detail: &story.finding.detail,
        preemptions: (before.preemptions, after.preemptions),
        statements: (before.statements, after.statements),
        actors: (before.actors, after.actors),
        executions: *executions,
        seconds: *seconds,
        is_minimal: *is_minimal,
        on_real_files: *on_real_files,
        against: against.as_ref(),
        warning: shrunk.warning(),
        is_kept: kept.is_some(),
        file,
        words: seawall_reports::text::story(story, false, WIDTH).lines().map(str::to_owned).collect(),
        story,
    })
}

fn human(shrunk: &Shrunk) -> String {
    let color = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    let mut out = seawall_reports::text::story(&shrunk.story, color, WIDTH);
    let Shrunk { before, after, executions, seconds, .. } = shrunk;
    let _ = writeln!(
        out,
        "\npreemptions {} -> {}, statements {} -> {}, actors {} -> {}, in {executions} executions and {seconds:.1} s{}",
        before.preemptions,
        after.preemptions,
        before.statements,
        after.statements,
        before.actors,
        after.actors,
        if shrunk.is_minimal { "" } else { "; there was no time for more" },
    );
    if let Some(verdict) = &shrunk.on_real_files {
        let _ = writeln!(out, "the same steps in the same order, by real processes on real files: {verdict}");
    }
    if let Some(against) = &shrunk.against {
        let _ = writeln!(out, "{}", against.sentence());
    }
    if let Some(warning) = shrunk.warning() {
        let bold = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
        let _ = writeln!(out, "{bold}{warning}{bold:#}");
    }
    let file = shrunk.file.display();
    let _ = match shrunk.kept {
        None => writeln!(out, "case, picture and page: {file}, .svg, .html"),
        Some(Sizes { preemptions, statements, .. }) => writeln!(
            out,
            "not written, since {file} has a case of {preemptions} preemptions and {statements} statements already",
        ),
    };
    out
}
