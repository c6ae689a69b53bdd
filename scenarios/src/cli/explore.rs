//! `seawall explore`: executions in the simulator, until something is found.

use super::args::{ExploreArgs, ReplayFormat, SHARES_MAX};
use super::faults::Faults;
use super::{Complaint, Exit, print, say, soak, stop_on_interrupt};
use crate::engines;
use crate::explore::{self, ExploreError, ExploreToken, Explorer, Found, Search, Tally, pool};
use seawall_harness::engine::Engine;
use seawall_harness::fault::Rule;
use serde::Serialize;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

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
    #[serde(flatten)]
    tally: Tally,
}

pub(super) fn run(args: &ExploreArgs) -> Result<Exit, Complaint> {
    let (engine, sqlite) = engines::identify(&args.sqlite)?;
    let scenarios = scenarios(&args.scenario)?;
    explore::policy(&args.policy)?;
    let Faults { name, rules, seed } = Faults::read(&args.preset, &args.faults)?;
    soak::check_out(&args.out)?;
    let seed = args.seed.or(seed).unwrap_or_else(soak::new_seed);
    let stop = stop_on_interrupt()?;
    let mut worst = Exit::Expected;
    for scenario in scenarios {
        let (scenario, sqlite, policy) = (scenario.to_owned(), sqlite.clone(), args.policy.clone());
        let search = Search {
            token: ExploreToken { scenario, sqlite, policy, fault: name.clone(), seed },
            executions_max: args.executions,
            share: args.partition,
            seconds_max: args.max_seconds,
            is_exhaustive: args.all,
            is_verified: args.twice,
        };
        worst = worst.max(explore_one(args, &engine, &search, &rules, &stop)?);
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
    search: &Search,
    rules: &[Rule],
    stop: &AtomicBool,
) -> Result<Exit, Complaint> {
    let begun = Instant::now();
    // Never more than there are executions, or shares that one can ask for.
    let jobs = u64::from(args.jobs.unwrap_or(1)).min(search.share_len()).min(SHARES_MAX / args.partition.1);
    let mut tally = if jobs > 1 {
        let program = std::env::current_exe().map_err(Complaint::broken)?;
        let command = || {
            let mut command = Command::new(&program);
            command.arg("search");
            command
        };
        pool::execute(search, jobs, command, stop).map_err(Complaint::broken)?
    } else {
        search.execute(&mut Explorer::new(engine.clone(), false)?, stop)?
    };
    tally.seconds = begun.elapsed().as_secs_f64();
    // What was found is printed even if its file cannot be written.
    let written = tally.finding.as_mut().map(|found| found.write(engine.clone(), &args.out));
    let exit = match (tally.executions, tally.findings) {
        (0, _) => Exit::NothingRan,
        (_, 0) => Exit::Expected,
        _ => Exit::Finding,
    };
    let ExploreToken { scenario, sqlite, policy, seed, .. } = &search.token;
    let faults = rules.iter().map(Rule::to_string).collect();
    let report = ExploreOutput { schema: 1, scenario, sqlite, policy, seed: seed.0, faults, tally };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&report).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&report),
    })?;
    written.transpose()?;
    Ok(exit)
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
    match &tally.finding {
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
    out
}
