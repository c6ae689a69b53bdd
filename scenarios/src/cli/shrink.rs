//! `seawall shrink`: a finding of the simulator, as small as it gets, told as a story.

mod run;

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use seawall_harness::record::Story;
use serde::Serialize;

use super::args::{ReplayFormat, ShrinkArgs};
use super::{Complaint, Exit, print, say, stop_on_interrupt};
use crate::engines;
use crate::explore::{self, Case, CaseBench, CaseFile, ExploreToken, Explorer, Failing};
use crate::scratch;
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
    /// For the run of a strategy: what its steps come to by real processes on real files.
    on_real_files: Option<String>,
    /// The case.
    file: PathBuf,
    story: Story,
    /// The story in words, line by line.
    words: Vec<String>,
}

pub(super) fn run(args: &ShrinkArgs) -> Result<Exit, Complaint> {
    super::soak::check_out(&args.out)?;
    let stop = stop_on_interrupt()?;
    let watch = Watch { begun: Instant::now(), time: args.max_seconds.map(Duration::from_secs), stop: &stop };
    let report = if run::is_meant(&args.subject) { run::shrink(args, watch)? } else { of_exploration(args, watch)? };
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

/// When to end.
#[derive(Clone, Copy)]
struct Watch<'a> {
    begun: Instant,
    time: Option<Duration>,
    stop: &'a AtomicBool,
}

impl Watch<'_> {
    fn is_over(&self) -> bool {
        self.time.is_some_and(|time| self.begun.elapsed() >= time) || self.stop.load(Ordering::Relaxed)
    }

    /// Seconds until now, and whether there was time enough.
    fn now(&self) -> (f64, bool) {
        (self.begun.elapsed().as_secs_f64(), !self.is_over())
    }
}

/// Something that turns while it is worked on, on a terminal.
fn spinner() -> ProgressBar {
    if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() }
}

fn of_exploration(args: &ShrinkArgs, watch: Watch<'_>) -> Result<Report, Complaint> {
    let (case, token) = subject(&args.subject)?;
    let path = out_file(args, token.as_ref().map(ExploreToken::file_stem));
    let engine = engines::resolve(&case.sqlite).map_err(Complaint::usage)?;
    let mut explorer = Explorer::new(engine, false).map_err(Complaint::broken)?;
    let bar = spinner();
    let (bench, first) = CaseBench::new(&mut explorer, &case).map_err(Complaint::usage)?;
    let show = |best: &Failing, executions: u64| {
        let (preemptions, statements) = (best.preemptions().len(), best.statements);
        bar.set_message(format!("{preemptions} preemptions, {statements} statements; {executions} executions"));
        bar.tick();
    };
    let mut bench = bench.until(|| watch.is_over()).watched(show);
    let best = shrink(&mut bench, first.clone()).map_err(Complaint::broken)?;
    let executions = bench.executions;
    drop(bench);
    let watched = watch.now();
    bar.finish_and_clear();
    let file = explorer.record(&best.case, None).map_err(Complaint::broken)?;
    let told = explorer.tell(&best.case).map_err(Complaint::broken)?;
    let story = explore::story(&best.case, &path.display().to_string(), &told);
    let story = story.ok_or_else(|| Complaint::broken("the shrunken case finds nothing when it is told"))?;
    file.write(&path).map_err(Complaint::usage)?;
    write_story(&path, &story)?;
    Ok(Report {
        preemptions: (first.preemptions().len(), best.preemptions().len()),
        statements: (first.statements, best.statements),
        actors: (first.case.actors.len(), best.case.actors.len()),
        executions,
        ..Report::new(args, path, story, watched)
    })
}

/// Where the shrunken case goes.
fn out_file(args: &ShrinkArgs, stem: Option<String>) -> PathBuf {
    let of_file = || Path::new(&args.subject).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let stem = stem.unwrap_or_else(of_file);
    args.out.join(format!("{}-shrunken.json", stem.trim_end_matches("-shrunken")))
}

impl Report {
    /// The report of a story, without figures of its case.
    fn new(args: &ShrinkArgs, file: PathBuf, story: Story, (seconds, is_minimal): (f64, bool)) -> Self {
        let finding = story.finding.clone();
        Self {
            schema: 1,
            of: args.subject.clone(),
            verdict: finding.verdict.to_string(),
            oracle: finding.oracle,
            detail: finding.detail,
            preemptions: (0, 0),
            statements: (0, 0),
            actors: (0, 0),
            executions: 0,
            seconds,
            is_minimal,
            on_real_files: None,
            file,
            words: seawall_reports::text::story(&story, false, WIDTH).lines().map(str::to_owned).collect(),
            story,
        }
    }
}

/// Columns of a story in a report.
const WIDTH: usize = 110;

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

/// Writes the story beside the case: as data, as a picture and as a page.
fn write_story(path: &Path, story: &Story) -> Result<(), Complaint> {
    let beside = |extension: &str, text: String| {
        scratch::write_whole(&path.with_extension(extension), &text).map_err(Complaint::usage)
    };
    beside("story.json", serde_json::to_string_pretty(story).map_err(Complaint::broken)? + "\n")?;
    beside("svg", seawall_reports::svg::sequence(story))?;
    beside("html", seawall_reports::html::story(story))
}

fn human(report: &Report) -> String {
    let color = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    let mut out = seawall_reports::text::story(&report.story, color, WIDTH);
    let Report { preemptions, statements, actors, executions, seconds, .. } = report;
    let _ = writeln!(
        out,
        "\npreemptions {} -> {}, statements {} -> {}, actors {} -> {}, in {executions} executions and {seconds:.1} s{}",
        preemptions.0,
        preemptions.1,
        statements.0,
        statements.1,
        actors.0,
        actors.1,
        if report.is_minimal { "" } else { "; there was no time for more" },
    );
    if let Some(verdict) = &report.on_real_files {
        let _ = writeln!(out, "the same steps in the same order, by real processes on real files: {verdict}");
    }
    let _ = writeln!(out, "case, picture and page: {}, .svg, .html", report.file.display());
    out
}
