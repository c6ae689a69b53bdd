//! `seawall explore`: executions in the simulator, until something is found.

use super::args::{ExploreArgs, ReplayFormat, SHARES_MAX};
use super::faults::Faults;
use super::{Complaint, Exit, print, say, share, soak, stop_on_interrupt};
use crate::case_file;
use crate::engines;
use crate::explore::{
    self, CaseFile, Coverage, ExploreError, ExploreToken, Explorer, Found, Group, Museum, Search, Tally, Unshrunk, pool,
};
use crate::reproduce::{self, Setting, Shrunken, Sizes};
use seawall_harness::engine::Engine;
use seawall_harness::fault::Rule;
use serde::Serialize;
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Limits that hold by default.
const EXECUTIONS: u64 = 1_000_000;
const SECONDS: u64 = 60;
const SHRUNK: u64 = 8;

/// The name for all listed scenarios.
const ALL: &str = "all";

/// What is printed. Field names are a contract.
#[derive(Serialize)]
struct ExploreOutput<'a> {
    schema: u32,
    scenario: &'a str,
    sqlite: &'a str,
    policy: &'a str,
    #[serde(with = "seawall_harness::seed::text")]
    seed: u64,
    /// The fault rules that were armed.
    faults: Vec<String>,
    limit: Limit,
    /// True if the search has ended because its time was over.
    is_out_of_time: bool,
    #[serde(flatten)]
    tally: Tally,
}

pub(super) fn run(args: &ExploreArgs) -> Result<Exit, Complaint> {
    let (engine, sqlite) = engines::identify(&args.sqlite)?;
    let scenarios = scenarios(&args.scenario)?;
    explore::policy(&args.policy)?;
    let Faults { name, rules, seed } = Faults::read(&args.preset, &args.faults)?;
    soak::check_out(&args.out)?;
    let seed = args.seed.or(seed);
    let share = share::share(args.partition, seed)?;
    let seed = seed.unwrap_or_else(soak::new_seed);
    let museum = museum(&args.known)?;
    let limit = limit(args);
    let stop = stop_on_interrupt()?;
    let mut worst = Exit::Expected;
    for scenario in scenarios {
        let (scenario, sqlite, policy) = (scenario.to_owned(), sqlite.clone(), args.policy.clone());
        let search = Search {
            token: ExploreToken { scenario, sqlite, policy, fault: name.clone(), seed },
            executions_max: args.executions.unwrap_or(EXECUTIONS),
            share,
            seconds_max: limit.seconds,
            is_exhaustive: args.all,
            is_verified: args.twice,
            museum: museum.clone(),
            shrunk_max: args.shrunk.unwrap_or(SHRUNK),
        };
        worst = worst.max(explore_one(args, &engine, (&search, limit), &rules, &stop)?);
        if stop.load(Ordering::Relaxed) {
            say("interrupted: the figures are those of the executions that were done");
            return Ok(Exit::Interrupted);
        }
    }
    Ok(worst)
}

/// A limit of time.
#[derive(Clone, Copy, Serialize)]
struct Limit {
    /// Seconds; null for none.
    seconds: Option<u64>,
    /// True if it was not asked for.
    is_default: bool,
}

/// The limit that holds: where neither time nor executions are limited, a default.
fn limit(args: &ExploreArgs) -> Limit {
    match (args.max_seconds, args.executions) {
        (None, None) => Limit { seconds: Some(SECONDS), is_default: true },
        (seconds, _) => Limit { seconds, is_default: false },
    }
}

/// The known causes of all files.
fn museum(paths: &[PathBuf]) -> Result<Museum, Complaint> {
    let mut all = Museum::default();
    for path in paths {
        let museum = Museum::read(path);
        all.add(museum.map_err(|error| Complaint::usage(format!("cannot read --known {}: {error}", path.display())))?);
    }
    Ok(all)
}

/// The scenarios with this name.
fn scenarios(name: &str) -> Result<Vec<&'static str>, ExploreError> {
    if name == ALL {
        let listed = explore::SCENARIOS.iter().filter(|scenario| scenario.is_listed);
        return Ok(listed.map(|scenario| scenario.name).collect());
    }
    let scenario = explore::find(name).ok_or_else(|| ExploreError::UnknownScenario(name.to_owned()))?;
    Ok(vec![scenario.name])
}

/// Explores one scenario and prints the result.
fn explore_one(
    args: &ExploreArgs,
    engine: &Engine,
    (search, limit): (&Search, Limit),
    rules: &[Rule],
    stop: &AtomicBool,
) -> Result<Exit, Complaint> {
    let begun = Instant::now();
    // Never more than there are executions, or shares that one can ask for.
    let jobs = u64::from(args.jobs.unwrap_or(1)).min(search.share_len()).min(SHARES_MAX / search.share.1);
    let progress = Progress::new(&search.token.scenario, limit.seconds);
    let mut tell = |done| progress.tell(done);
    let mut tally = if jobs > 1 {
        let program = std::env::current_exe().map_err(Complaint::broken)?;
        let command = || {
            let mut command = Command::new(&program);
            command.arg("search");
            command
        };
        pool::execute(search, jobs, command, stop, &mut tell).map_err(Complaint::broken)?
    } else {
        search.execute(&mut Explorer::new(engine.clone(), false)?, stop, &mut tell)?
    };
    progress.clear();
    tally.settle();
    tally.seconds = begun.elapsed().as_secs_f64();
    // What was found is printed even if its file cannot be written.
    let written = write(&mut tally, engine, args);
    let exit = exit_of(&tally);
    let ExploreToken { scenario, sqlite, policy, seed, .. } = &search.token;
    let faults = rules.iter().map(Rule::to_string).collect();
    let is_over = tally.executions >= search.share_len() || tally.finding.is_some() && !args.all;
    let is_out_of_time = limit.seconds.is_some_and(|max| tally.seconds >= max as f64) && !is_over;
    let report =
        ExploreOutput { schema: 1, scenario, sqlite, policy, seed: seed.0, faults, limit, is_out_of_time, tally };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&report).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&report),
    })?;
    written?;
    if exit == Exit::NothingRan {
        say("nothing was measured: no execution had an acknowledged commit");
    }
    Ok(exit)
}

/// Writes the case of the first finding, and the smallest case of each group.
fn write(tally: &mut Tally, engine: &Engine, args: &ExploreArgs) -> Result<(), Complaint> {
    if let Some(found) = &mut tally.finding {
        found.write(engine.clone(), &args.out)?;
    }
    for group in tally.groups.iter_mut().filter(|group| !group.is_known) {
        // The token of its first finding is its name: no other group has it.
        let stem = group.token.parse().map(|token: ExploreToken| token.file_stem()).unwrap_or_default();
        group.write(engine.clone(), &args.out, &format!("{stem}-group"))?;
        compare(group)?;
    }
    tally.groups.iter_mut().for_each(|group| group.case = None);
    Ok(())
}

/// Executes the smallest case of a group on the newest SQLite, and marks the group and the file if it fails there too.
fn compare(group: &mut Group) -> Result<(), Complaint> {
    let Some(path) = &group.file else { return Ok(()) };
    let subject = reproduce::parse(&path.display().to_string())?;
    let setting = Setting { runner: soak::runner(None)?, is_real: false };
    let answer = subject.ask(&setting, &engines::newest())?;
    group.warning = answer.warning();
    let (statements, preemptions, actors) = group.sizes;
    let sizes = Sizes { preemptions, statements, actors };
    let shrunken = Shrunken { sizes, is_minimal: false, against: Some(answer) };
    let file = CaseFile::read(path).map_err(Complaint::broken)?;
    case_file::write_shrunken(path, &file, &shrunken).map_err(Complaint::usage)
}

fn exit_of(tally: &Tally) -> Exit {
    match tally {
        Tally { findings, known, .. } if findings > known => Exit::Finding,
        // Nothing is known of executions in which nothing was acknowledged.
        Tally { acked: 0, findings: 0, .. } => Exit::NothingRan,
        _ => Exit::Expected,
    }
}

/// Progress on standard error: one line that changes on a terminal, elsewhere a line now and then.
struct Progress {
    scenario: String,
    seconds: Option<u64>,
    begun: Instant,
    is_terminal: bool,
    said: Cell<u64>,
}

/// Seconds between two lines.
const LINE_PERIOD: u64 = 10;

impl Progress {
    fn new(scenario: &str, seconds: Option<u64>) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { scenario: scenario.to_owned(), seconds, begun: Instant::now(), is_terminal, said: Cell::new(0) }
    }

    fn tell(&self, explore::Progress { executions, findings }: explore::Progress) {
        let Self { scenario, begun, .. } = self;
        let (now, limit) =
            (begun.elapsed().as_secs(), self.seconds.map(|max| format!(" of {max}")).unwrap_or_default());
        let line = format!("{scenario}: {executions} executions, {findings} with a finding, {now}{limit} s");
        if self.is_terminal {
            eprint!("\r\x1b[K{line}");
        } else if now >= self.said.get() + LINE_PERIOD {
            self.said.set(now);
            say(&line);
        }
    }

    fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

/// `seawall search`: a child process of an exploration.
pub(super) fn child() -> ExitCode {
    pool::child().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn human(report: &ExploreOutput<'_>) -> String {
    let mut out = String::new();
    let ExploreOutput { scenario, sqlite, policy, seed, faults, tally, .. } = report;
    let Tally { executions, calls, acked, faults_fired, seconds, .. } = tally;
    let rate = *calls as f64 / seconds.max(1e-9) / 1e6;
    let _ = writeln!(
        out,
        "{scenario} on SQLite {sqlite}, policy {policy}, seed {seed}: {executions} executions, {acked} commits acknowledged, \
         {calls} calls in {seconds:.1} s ({rate:.2} million a second)",
    );
    if !faults.is_empty() {
        let _ = writeln!(out, "under {}: fired {faults_fired} times", faults.join(" "));
    }
    coverage(&mut out, &tally.coverage);
    if let (true, Some(seconds)) = (report.is_out_of_time, report.limit.seconds) {
        let why =
            if report.limit.is_default { "the default limit; --max-seconds sets another one" } else { "the limit" };
        let _ = writeln!(out, "ended after {seconds} s: {why}");
    }
    match &tally.finding {
        None if tally.findings > 0 => {
            let _ = writeln!(out, "nothing new found; {} findings have known causes", tally.known);
        }
        None => out.push_str("nothing found\n"),
        Some(Found { verdict, oracle, token, detail, execution, seconds, preemptions, file }) => {
            let _ = writeln!(out, "{oracle} ({verdict}): {detail}");
            let _ = writeln!(out, "in execution {execution}, after {seconds:.2} s; {preemptions} preemptions");
            let _ = writeln!(out, "seawall replay {token}");
            if let Some(file) = file {
                let _ = writeln!(out, "case: {}", file.display());
            }
        }
    }
    groups(&mut out, tally);
    out
}

fn coverage(out: &mut String, coverage: &Coverage) {
    let Coverage { executions, schedules, states, new_states, is_growing, is_cut, sampling, .. } = coverage;
    let least = if *is_cut { "at least " } else { "" };
    let growth = if *is_growing { "still growing" } else { "hardly growing" };
    let _ = writeln!(
        out,
        "covered: {executions} executions, {schedules} distinct schedules, {least}{states} distinct states at one in \
         {sampling} scheduling points, {new_states} of them new in the last tenth: {growth}",
    );
}

fn groups(out: &mut String, tally: &Tally) {
    if tally.groups.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{} executions with a finding, by cause:", tally.findings);
    for Group { cause, is_known, findings, execution, token, sizes, file, warning, .. } in &tally.groups {
        let known = if *is_known { " (known)" } else { "" };
        let (statements, preemptions, actors) = sizes;
        let _ = writeln!(out, "{findings:>6}  {cause}{known}");
        let _ = writeln!(out, "        first in execution {execution}: seawall replay {token}");
        if let Some(file) = file {
            let path = file.display();
            let _ = writeln!(
                out,
                "        smallest: {statements} statements, {preemptions} preemptions, {actors} actors: {path}"
            );
        }
        if let Some(warning) = warning {
            let bold = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
            let _ = writeln!(out, "        {bold}{warning}{bold:#}");
        }
    }
    for Unshrunk { pattern, findings, execution, token } in &tally.unshrunk {
        let _ = writeln!(out, "{findings:>6}  not shrunk (--shrunk sets how many are): {pattern}");
        let _ = writeln!(out, "        first in execution {execution}: seawall replay {token}");
    }
}
