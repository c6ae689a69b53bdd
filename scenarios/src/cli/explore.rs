//! `seawall explore`: executions in the simulator, until something is found.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use seawall_harness::engine::Engine;
use seawall_harness::fault::{self, FaultPlan, Rule};
use seawall_harness::seed::Seed;
use seawall_harness::token::FaultName;
use seawall_harness::verdict::Verdict;
use serde::Serialize;

use super::args::{ExploreArgs, ReplayFormat, SHARES_MAX};
use super::{Complaint, Exit, print, say, soak, stop_on_interrupt};
use crate::engines;
use crate::explore::{self, ExploreError, ExploreToken, Explorer, Found, NO_FAULT, Search, Tally, pool};

/// The name for all listed scenarios.
const ALL: &str = "all";

/// What is printed. Field names are a contract.
#[derive(Serialize)]
struct Report {
    schema: u32,
    scenario: String,
    sqlite: String,
    policy: String,
    seed: u64,
    /// The fault rules that were armed.
    faults: Vec<String>,
    executions: u64,
    calls: u64,
    acked: u64,
    /// How often faults fired.
    faults_fired: u64,
    seconds: f64,
    finding: Option<Finding>,
    /// How many executions an oracle found something in; more than one only with `--all`.
    findings: u64,
}

#[derive(Serialize)]
struct Finding {
    verdict: Verdict,
    oracle: String,
    token: String,
    detail: String,
    /// The number of the execution, from 1.
    execution: u64,
    /// Seconds until then.
    seconds: f64,
    preemptions: usize,
    /// The file with the case, with its schedule as a list of preemptions.
    file: Option<PathBuf>,
}

pub(super) fn run(args: &ExploreArgs) -> Result<Exit, Complaint> {
    let engine = engines::resolve(&args.sqlite)?;
    let scenarios = scenarios(&args.scenario)?;
    explore::policy(&args.policy)?;
    let (fault, rules, file_seed) = faults(args)?;
    soak::check_out(&args.out)?;
    let seed = args.seed.or(file_seed).unwrap_or_else(soak::new_seed);
    let stop = stop_on_interrupt()?;
    let mut worst = Exit::Expected;
    for scenario in scenarios {
        let token = ExploreToken {
            scenario: scenario.to_owned(),
            // An engine that is not one of the known versions has to be found again by its path.
            sqlite: if engines::resolve(engine.version()).is_ok() { engine.version() } else { &args.sqlite }.to_owned(),
            policy: args.policy.clone(),
            fault: fault.clone(),
            seed,
        };
        worst = worst.max(explore_one(args, &engine, token, &rules, &stop)?);
        if stop.load(Ordering::Relaxed) {
            say("interrupted: the figures are those of the executions that were done");
            return Ok(Exit::Interrupted);
        }
    }
    Ok(worst)
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
    token: ExploreToken,
    rules: &[Rule],
    stop: &AtomicBool,
) -> Result<Exit, Complaint> {
    let begun = Instant::now();
    let search = Search {
        // Children find the engine where this process has found it.
        token: ExploreToken { sqlite: token.sqlite.clone(), ..token },
        executions_max: args.executions,
        share: args.partition,
        seconds_max: args.max_seconds,
        is_exhaustive: args.all,
        is_verified: args.twice,
    };
    // Never more than there are executions, or shares that one can ask for.
    let jobs = u64::from(args.jobs.unwrap_or(1)).min(search.share_len()).min(SHARES_MAX / args.partition.1);
    let tally = if jobs > 1 {
        let program = std::env::current_exe().map_err(Complaint::broken)?;
        let command = || {
            let mut command = Command::new(&program);
            command.arg("search");
            command
        };
        pool::execute(&search, jobs, command, stop).map_err(Complaint::broken)?
    } else {
        search.execute(&mut Explorer::new(engine.clone(), false)?, stop)?
    };
    let seconds = begun.elapsed().as_secs_f64();
    // What was found is printed even if its file cannot be written.
    let written = tally.first.as_ref().map(|found| found.write(engine.clone(), &args.out));
    let file = written.as_ref().and_then(|written| written.as_ref().ok().cloned());
    let report = Report::new(search.token, rules, tally, seconds, file);
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&report).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&report),
    })?;
    written.transpose()?;
    Ok(match report.findings {
        _ if report.executions == 0 => Exit::NothingRan,
        0 => Exit::Expected,
        _ => Exit::Finding,
    })
}

/// `seawall search`: a child process of an exploration.
pub(super) fn child() -> ExitCode {
    pool::child().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// The fault rules, their name in a token, and the seed if they came from a file that has one.
fn faults(args: &ExploreArgs) -> Result<(FaultName, Vec<Rule>, Option<Seed>), Complaint> {
    let mut rules: Vec<Rule> = Vec::new();
    for name in &args.preset {
        let preset = fault::find_preset(name).map_err(Complaint::usage)?;
        rules.extend(preset.parse().map_err(Complaint::broken)?);
    }
    let (given, seed) = args.faults.read()?;
    rules.extend(given);
    let plan = FaultPlan::new(rules.clone(), Seed(0)).map_err(Complaint::usage)?;
    if let Err(error) = plan.check_real_medium() {
        let context =
            if args.preset.is_empty() { String::new() } else { format!("--preset {}: ", args.preset.join(",")) };
        return Err(Complaint::usage(format!("{context}{error}; explorations cannot do that yet")));
    }
    let name = match &args.preset[..] {
        [] if rules.is_empty() => FaultName::Named(NO_FAULT.to_owned()),
        [name] if args.faults.is_empty() => FaultName::Named(name.clone()),
        _ => FaultName::Rules(rules.iter().map(Rule::to_string).collect()),
    };
    Ok((name, rules, seed))
}

impl Report {
    fn new(token: ExploreToken, rules: &[Rule], tally: Tally, seconds: f64, file: Option<PathBuf>) -> Self {
        let ExploreToken { scenario, sqlite, policy, seed, .. } = token;
        let finding = |Found { token, execution, seconds, finding, preemptions }| Finding {
            verdict: finding.verdict,
            oracle: finding.oracle,
            token: token.to_string(),
            detail: finding.detail,
            execution,
            seconds,
            preemptions,
            file,
        };
        let Tally { executions, calls, acked, faults_fired, findings, first } = tally;
        Self {
            schema: 1,
            scenario,
            sqlite,
            policy,
            seed: seed.0,
            faults: rules.iter().map(Rule::to_string).collect(),
            executions,
            calls,
            acked,
            faults_fired,
            seconds,
            finding: first.map(finding),
            findings,
        }
    }
}

fn human(report: &Report) -> String {
    let mut out = String::new();
    let Report { scenario, sqlite, policy, seed, executions, calls, acked, seconds, .. } = report;
    let rate = *calls as f64 / seconds.max(1e-9) / 1e6;
    let _ = writeln!(
        out,
        "{scenario} on SQLite {sqlite}, policy {policy}, seed {seed}: {executions} executions, {acked} commits acknowledged, \
         {calls} calls in {seconds:.1} s ({rate:.2} million a second)",
    );
    if !report.faults.is_empty() {
        let _ = writeln!(out, "under {}: fired {} times", report.faults.join(" "), report.faults_fired);
    }
    match &report.finding {
        None => out.push_str("nothing found\n"),
        Some(Finding { verdict, oracle, token, detail, execution, seconds, preemptions, file }) => {
            let _ = writeln!(out, "{oracle} ({verdict}): {detail}");
            let _ = writeln!(out, "in execution {execution}, after {seconds:.2} s; {preemptions} preemptions");
            let _ = writeln!(out, "seawall replay {token}");
            if let Some(file) = file {
                let _ = writeln!(out, "case: {}", file.display());
            }
        }
    }
    out
}
