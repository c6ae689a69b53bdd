//! `seawall shrink`: a finding of an exploration, as small as it gets, told as a story.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use seawall_harness::record::Story;
use serde::Serialize;

use super::args::{ReplayFormat, ShrinkArgs};
use super::{Complaint, Exit, print, say, stop_on_interrupt};
use crate::engines;
use crate::explore::{self, Case, CaseBench, CaseFile, ExploreToken, Explorer, Failing};
use crate::shrink::shrink;

/// What is printed. Field names are a contract.
#[derive(Serialize)]
struct Report {
    schema: u32,
    /// What was shrunken: a token or a file.
    of: String,
    verdict: String,
    oracle: String,
    detail: String,
    /// Before and after.
    preemptions: (usize, usize),
    statements: (u64, u64),
    actors: (usize, usize),
    /// Cases that were executed.
    executions: u64,
    seconds: f64,
    /// False if the time ran out before nothing more went.
    is_minimal: bool,
    /// The case.
    file: PathBuf,
    story: Story,
    /// The story, one sentence a line.
    words: Vec<String>,
}

pub(super) fn run(args: &ShrinkArgs) -> Result<Exit, Complaint> {
    let (case, token) = subject(&args.subject)?;
    let stem = match &token {
        Some(token) => token.file_stem(),
        None => Path::new(&args.subject).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let stem = format!("{}-shrunken", stem.trim_end_matches("-shrunken"));
    let engine = engines::resolve(&case.sqlite).map_err(Complaint::usage)?;
    let mut explorer = Explorer::new(engine, false).map_err(Complaint::broken)?;
    let stop = stop_on_interrupt()?;
    let begun = Instant::now();
    let time = args.max_seconds.map(Duration::from_secs);
    let is_late = || time.is_some_and(|time| begun.elapsed() >= time) || stop.load(Ordering::Relaxed);
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let (bench, first) = CaseBench::new(&mut explorer, &case).map_err(Complaint::usage)?;
    let show = |best: &Failing, executions: u64| {
        let (preemptions, statements) = (best.preemptions().len(), best.statements);
        bar.set_message(format!("{preemptions} preemptions, {statements} statements; {executions} executions"));
        bar.tick();
    };
    let mut bench = bench.until(is_late).watched(show);
    let best = shrink(&mut bench, first.clone()).map_err(Complaint::broken)?;
    let executions = bench.executions;
    drop(bench);
    bar.finish_and_clear();
    let file = explorer.record(&best.case, None).map_err(Complaint::broken)?;
    let path = args.out.join(format!("{stem}.json"));
    let told = explorer.tell(&best.case).map_err(Complaint::broken)?;
    let story = explore::story(&best.case, &path.display().to_string(), &told);
    let story = story.ok_or_else(|| Complaint::broken("the shrunken case finds nothing when it is told"))?;
    write(&path, &file, &story)?;
    let finding = story.finding.clone();
    let report = Report {
        schema: 1,
        of: args.subject.clone(),
        verdict: finding.verdict.to_string(),
        oracle: finding.oracle,
        detail: finding.detail,
        preemptions: (first.preemptions().len(), best.preemptions().len()),
        statements: (first.statements, best.statements),
        actors: (first.case.actors.len(), best.case.actors.len()),
        executions,
        seconds: begun.elapsed().as_secs_f64(),
        is_minimal: !is_late(),
        file: path,
        words: explore::words(&story),
        story,
    };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&report).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&report),
    })?;
    if stop.load(Ordering::Relaxed) {
        say("interrupted: this is the smallest case so far");
        return Ok(Exit::Interrupted);
    }
    Ok(Exit::Finding)
}

/// The case to shrink, and its token if it was named by one.
fn subject(text: &str) -> Result<(Case, Option<ExploreToken>), Complaint> {
    let path = Path::new(text);
    if path.extension().is_some_and(|extension| extension == "json") {
        let case = CaseFile::read(path).map_err(Complaint::usage)?.case;
        if explore::find(&case.scenario).is_none() {
            return Err(Complaint::usage(format!("{text}: there is no scenario `{}`", case.scenario)));
        }
        return Ok((case, None));
    }
    let token: ExploreToken = text.parse().map_err(Complaint::usage)?;
    super::explore::check_names(&token.scenario, &token.policy)?;
    Ok((token.case().map_err(Complaint::usage)?, Some(token)))
}

/// Writes the case, and beside it the story as data and as a picture.
fn write(path: &Path, file: &CaseFile, story: &Story) -> Result<(), Complaint> {
    file.write(path).map_err(Complaint::usage)?;
    let beside = |extension: &str, text: String| {
        let path = path.with_extension(extension);
        let written = std::fs::write(&path, text);
        written.map_err(|error| Complaint::usage(format!("cannot write {}: {error}", path.display())))
    };
    beside("story.json", serde_json::to_string_pretty(story).map_err(Complaint::broken)? + "\n")?;
    beside("svg", seawall_reports::svg::sequence(story))
}

fn human(report: &Report) -> String {
    let bold = anstyle::Style::new().bold();
    let mut out = String::new();
    let Report { verdict, oracle, detail, preemptions, statements, actors, executions, seconds, .. } = report;
    let _ = writeln!(out, "{bold}{}{bold:#}: {oracle} ({verdict}): {detail}", report.story.subject);
    let _ = writeln!(
        out,
        "preemptions {} -> {}, statements {} -> {}, actors {} -> {}, in {executions} executions and {seconds:.1} s{}",
        preemptions.0,
        preemptions.1,
        statements.0,
        statements.1,
        actors.0,
        actors.1,
        if report.is_minimal { "" } else { "; there was no time for more" },
    );
    for line in &report.words {
        let _ = writeln!(out, "  {line}");
    }
    let _ = writeln!(out, "seawall replay {}", report.file.display());
    out
}
