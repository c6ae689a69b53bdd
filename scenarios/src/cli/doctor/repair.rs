//! `seawall doctor --fix`: the outcomes on copies, and the repair.

use super::super::{Complaint, Exit, print};
use super::show::{heading, outcomes, paint};
use super::targets::{Problem, Targets};
use super::{DoctorArgs, exit, json, quoted, show};
use seawall::doctor::Severity;
use seawall::doctor::fix::{FixOptions, FixOutcome, Take, fix};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// A repair, for machines.
#[derive(Serialize)]
struct Repair<'a> {
    schema: u32,
    #[serde(flatten)]
    outcome: &'a FixOutcome,
}

/// Several repairs, for machines.
#[derive(Serialize)]
struct Repairs<'a> {
    schema: u32,
    repairs: Vec<Repair<'a>>,
    errors: &'a [Problem],
}

pub(super) fn run(args: &DoctorArgs, targets: &Targets) -> Result<Exit, Complaint> {
    let mut options = FixOptions::new().with_dry_run(!args.yes);
    if let Some(take) = args.take {
        targets.single("--take")?;
        options = options.with_take(take.into());
    }
    let (mut repairs, mut problems) = (Vec::new(), Vec::new());
    for path in &targets.databases {
        match fix(path, &options) {
            Ok(outcome) => repairs.push((path, outcome)),
            Err(error) if targets.is_single => return Err(Complaint::usage(error)),
            Err(error) => problems.push(Problem::new(path, error)),
        }
    }
    if args.is_json() {
        let list = || repairs.iter().map(|(_, outcome)| Repair { schema: 1, outcome });
        print(&match list().next() {
            Some(repair) if targets.is_single => json(&repair)?,
            _ => json(&Repairs { schema: 1, repairs: list().collect(), errors: &problems })?,
        })?;
    } else {
        let texts: Vec<String> = repairs.iter().map(|(path, outcome)| human(path, outcome, args)).collect();
        print(&texts.join("\n"))?;
        let all = problems.iter().chain(&targets.problems);
        all.for_each(|problem| super::say(&format!("not examined: {}: {}", problem.path, problem.error)));
    }
    let worst = repairs.iter().map(|(_, outcome)| ending(outcome)).max().unwrap_or(Exit::NothingRan);
    let others = if targets.problems.is_empty() { Exit::Expected } else { Exit::Finding };
    Ok(worst.max(others).max(if problems.is_empty() { Exit::Expected } else { Exit::Usage }))
}

fn ending(outcome: &FixOutcome) -> Exit {
    if !outcome.plan.refusals.is_empty() || outcome.failure.is_some() {
        return Exit::Finding;
    }
    if outcome.dry_run && !outcome.plan.steps.is_empty() {
        return Exit::Expected;
    }
    let left = outcome.after.as_ref().or(outcome.plan.steps.is_empty().then_some(&outcome.before));
    left.map_or(Exit::Expected, exit)
}

fn human(path: &Path, outcome: &FixOutcome, args: &DoctorArgs) -> String {
    let mut out = show::report(&outcome.before);
    if !outcome.outcomes.is_empty() {
        let _ = writeln!(out, "\n{}", heading("what the database would be"));
        out.push_str(&outcomes(&outcome.outcomes));
    }
    out.push('\n');
    for refusal in &outcome.plan.refusals {
        let _ = writeln!(out, "{}", paint(Severity::Warning, &format!("refused: {refusal}")));
    }
    let verb = if outcome.dry_run { "would" } else { "will" };
    for step in &outcome.plan.steps {
        let _ = writeln!(out, "{verb}: {step}");
    }
    for done in &outcome.done {
        let _ = writeln!(out, "done: {done}");
    }
    if let Some(failure) = &outcome.failure {
        let _ = writeln!(out, "{}", paint(Severity::Danger, &format!("failed: {failure}")));
    }
    let is_refused = !outcome.plan.refusals.is_empty();
    if outcome.plan.steps.is_empty() && !is_refused && outcome.failure.is_none() {
        out.push_str("there is nothing to repair\n");
    } else if is_refused || (outcome.failure.is_some() && outcome.done.is_empty()) {
        out.push_str("nothing was changed\n");
    } else if outcome.dry_run {
        let take = args.take.map_or_else(String::new, |take| format!(" --take {}", Take::from(take)));
        let _ = writeln!(out, "nothing was changed; to do it: seawall doctor {} --fix{take} --yes", quoted(path));
    }
    for left in &outcome.left {
        let _ = writeln!(out, "left: {left}");
    }
    if let Some(after) = &outcome.after {
        let _ = writeln!(out, "\n{}\n", heading("after"));
        out.push_str(&show::report(after));
    }
    out
}
