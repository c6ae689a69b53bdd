//! Shrinking the simulated run of a strategy, and confirming what is left on real files.

use std::path::Path;

use seawall_harness::token::Token;

use super::super::args::ShrinkArgs;
use super::super::{Complaint, soak};
use super::{Report, Watch, out_file, spinner, write_story};
use crate::run::simulated::Simulator;
use crate::run::simulated::case::RunCase;
use crate::run::simulated::shrink::RunBench;
use crate::run::spec::{RunSpec, SIM};
use crate::shrink;
use crate::story::line;

/// True if the subject is a run's token or file, and no exploration's.
pub(super) fn is_meant(subject: &str) -> bool {
    !is_file(subject) && subject.starts_with("sw") || RunCase::is_one(Path::new(subject))
}

/// Files are told from tokens by their names' endings.
fn is_file(subject: &str) -> bool {
    Path::new(subject).extension().is_some_and(|extension| extension == "json")
}

pub(super) fn shrink(args: &ShrinkArgs, watch: Watch<'_>) -> Result<Report, Complaint> {
    let (case, stem) = subject(&args.subject)?;
    let path = out_file(args, stem);
    let mut simulator = Simulator::new().map_err(Complaint::broken)?;
    let bar = spinner();
    let (bench, first) = RunBench::new(&mut simulator, case)?;
    let show = |best: &RunCase, executions: u64| {
        let (preemptions, steps) = (best.schedule.len(), best.steps.len());
        bar.set_message(format!("{preemptions} preemptions, {steps} steps; {executions} executions"));
        bar.tick();
    };
    let mut bench = bench.until(|| watch.is_over()).watched(show);
    let best = shrink::shrink(&mut bench, first.clone())?;
    let executions = bench.executions;
    drop(bench);
    let watched = watch.now();
    bar.finish_and_clear();
    let (simulated, story) = simulator.tell(&best, &path.display().to_string())?;
    let story = story.ok_or_else(|| Complaint::broken("the shrunken run finds nothing when it is told"))?;
    let best = RunCase { calls: simulated.calls.iter().map(line).collect(), ..best };
    best.write(&path).map_err(Complaint::usage)?;
    write_story(&path, &story)?;
    // Real processes must not meet the simulator's VFS.
    drop(simulator);
    let really = soak::runner(None)?.execute_on_real_files(&best)?.record;
    Ok(Report {
        preemptions: (first.schedule.len(), best.schedule.len()),
        statements: (first.steps.len() as u64, best.steps.len() as u64),
        actors: (first.actors(), best.actors()),
        executions,
        on_real_files: Some(really.verdict.to_string()),
        ..Report::new(args, path, story, watched)
    })
}

/// The case to shrink, and the name of the file for what is left of it if it has no file yet.
fn subject(text: &str) -> Result<(RunCase, Option<String>), Complaint> {
    if is_file(text) {
        return Ok((RunCase::read(Path::new(text)).map_err(Complaint::usage)?, None));
    }
    let token: Token = text.parse().map_err(Complaint::usage)?;
    if token.medium != SIM {
        return Err(Complaint::usage(format!(
            "{text} is a run on `{}`: only runs on `{SIM}` can be shrunk, since nothing else says who goes on where",
            token.medium
        )));
    }
    let world = RunSpec::of(&token).map_err(Complaint::usage)?;
    Ok((RunCase::of(&world, None), Some(text.replace(':', "-"))))
}
