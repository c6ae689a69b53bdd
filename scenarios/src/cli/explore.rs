//! `seawall explore`: executions in the simulator, until something is found.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use seawall_harness::sched::Execution;
use serde::Serialize;

use super::args::{ExploreArgs, ReplayFormat};
use super::{Complaint, Exit, print, say, stop_on_interrupt};
use crate::engines;
use crate::explore::{self, ExploreToken, Explorer, Outcome};

/// What is printed. Field names are a contract.
#[derive(Serialize)]
struct Report {
    schema: u32,
    scenario: String,
    sqlite: String,
    policy: String,
    seed: u64,
    executions: u64,
    calls: u64,
    acked: u64,
    seconds: f64,
    finding: Option<Found>,
    /// How many executions an oracle found something in; more than one only with `--all`.
    findings: u64,
}

#[derive(Serialize)]
struct Found {
    verdict: String,
    oracle: String,
    token: String,
    detail: String,
    /// In which execution, from 1.
    execution: u64,
    /// Seconds until then.
    seconds: f64,
    preemptions: usize,
}

pub(super) fn run(args: &ExploreArgs) -> Result<Exit, Complaint> {
    let engine = engines::resolve(&args.sqlite).map_err(Complaint::usage)?;
    let policy = explore::policy(&args.policy).ok_or_else(|| unknown("policy", &args.policy, &explore::POLICIES))?;
    let scenarios = explore::SCENARIOS.map(|(name, _)| name);
    if !scenarios.contains(&args.scenario.as_str()) {
        return Err(unknown("scenario", &args.scenario, &scenarios));
    }
    let stop = stop_on_interrupt()?;
    let mut explorer = Explorer::new(engine.clone(), policy, args.twice).map_err(Complaint::broken)?;
    let seed = args.seed.unwrap_or_else(super::soak::new_seed);
    let begun = Instant::now();
    let mut report = Report {
        schema: 1,
        scenario: args.scenario.clone(),
        sqlite: engine.version().to_owned(),
        policy: args.policy.clone(),
        seed: seed.0,
        executions: 0,
        calls: 0,
        acked: 0,
        seconds: 0.0,
        finding: None,
        findings: 0,
    };
    let over = |executions| {
        executions >= args.executions || args.max_seconds.is_some_and(|max| begun.elapsed() >= Duration::from_secs(max))
    };
    while !over(report.executions) && !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let nth = seed.nth(report.executions);
        let outcome = explorer.execute(nth).map_err(Complaint::broken)?;
        if args.twice && explorer.execute(nth).map_err(Complaint::broken)? != outcome {
            return Err(Complaint::broken(format!("the execution with seed {:#x} does not repeat", nth.0)));
        }
        report.executions += 1;
        report.calls += outcome.execution.calls;
        report.acked += outcome.acked;
        if !outcome.findings.is_empty() {
            report.findings += 1;
            let token = ExploreToken {
                scenario: args.scenario.clone(),
                sqlite: engine.version().to_owned(),
                policy: args.policy.clone(),
                seed: nth,
            };
            report.finding.get_or_insert_with(|| found(&outcome, &token, report.executions, begun));
            if !args.all {
                break;
            }
        }
    }
    report.seconds = begun.elapsed().as_secs_f64();
    let exit = match report.findings {
        _ if report.executions == 0 => Exit::NothingRan,
        0 => Exit::Expected,
        _ => Exit::Finding,
    };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&report).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&report),
    })?;
    if stop.load(std::sync::atomic::Ordering::Relaxed) {
        say("interrupted: the figures are those of the executions that were done");
        return Ok(Exit::Interrupted);
    }
    Ok(exit)
}

/// Executes the execution of a token again, and compares every call of the repetitions.
pub(super) fn replay(text: &str, times: u32) -> Result<Exit, Complaint> {
    let token: ExploreToken = text.parse().map_err(Complaint::usage)?;
    let engine = engines::resolve(&token.sqlite).map_err(Complaint::usage)?;
    let policy = explore::policy(&token.policy);
    let policy = policy.ok_or_else(|| unknown("policy", &token.policy, &explore::POLICIES))?;
    let mut explorer = Explorer::new(engine, policy, true).map_err(Complaint::broken)?;
    let first = explorer.execute(token.seed).map_err(Complaint::broken)?;
    for _ in 1..times {
        if explorer.execute(token.seed).map_err(Complaint::broken)? != first {
            return Err(Complaint::broken(format!("{token} does not repeat")));
        }
    }
    let mut out = String::new();
    for finding in &first.findings {
        let _ = writeln!(out, "{} ({}): {}", finding.oracle, finding.verdict, finding.detail);
    }
    let Execution { preemptions, calls, .. } = &first.execution;
    let digest = first.digest.as_deref().unwrap_or("none, too many calls");
    let _ = writeln!(out, "{calls} calls, {} preemptions, {times} times the same; digest {digest}", preemptions.len());
    print(&out)?;
    Ok(if first.findings.is_empty() { Exit::Expected } else { Exit::Finding })
}

fn unknown(what: &str, word: &str, choices: &[&str]) -> Complaint {
    let help = seawall_harness::fault::suggest::help(word, "there are", choices.iter().copied());
    Complaint::usage(format!("unknown {what} `{word}`\nhelp: {help}"))
}

fn found(outcome: &Outcome, token: &ExploreToken, execution: u64, begun: Instant) -> Found {
    let finding = &outcome.findings[0];
    Found {
        verdict: finding.verdict.to_string(),
        oracle: finding.oracle.clone(),
        token: token.to_string(),
        detail: finding.detail.clone(),
        execution,
        seconds: begun.elapsed().as_secs_f64(),
        preemptions: outcome.execution.preemptions.len(),
    }
}

fn human(report: &Report) -> String {
    let mut out = String::new();
    let rate = report.calls as f64 / report.seconds.max(1e-9) / 1e6;
    let _ = writeln!(
        out,
        "{} on SQLite {}, policy {}, seed {}: {} executions, {} commits acknowledged, {} calls in {:.1} s ({rate:.2} million a second)",
        report.scenario,
        report.sqlite,
        report.policy,
        report.seed,
        report.executions,
        report.acked,
        report.calls,
        report.seconds,
    );
    match &report.finding {
        None => out.push_str("nothing found\n"),
        Some(found) => {
            let Found { verdict, oracle, token, detail, execution, seconds, preemptions } = found;
            let _ = writeln!(out, "{oracle} ({verdict}): {detail}");
            let _ = writeln!(out, "in execution {execution}, after {seconds:.2} s; {preemptions} preemptions");
            let _ = writeln!(out, "seawall replay {token}");
        }
    }
    out
}
