//! `seawall properties`: what must hold for every seed.

use super::args::{PropertiesArgs, ReplayFormat};
use super::{Complaint, Exit, print, soak};
use crate::properties::{self, ALL, Failure, Property};
use indicatif::{ProgressBar, ProgressStyle};
use seawall_harness::seed::Seed;
use seawall_harness::suggest;
use serde::Serialize;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The output for one property. Field names are a contract.
#[derive(Serialize)]
struct PropertyOutput {
    schema: u32,
    property: &'static str,
    /// The seed of the first case.
    #[serde(with = "seawall_harness::seed::text")]
    seed: u64,
    /// How many cases were asked for; after a failure no new ones are begun.
    cases: u64,
    seconds: f64,
    failure: Option<Failed>,
}

/// The first case that failed.
#[derive(Serialize)]
struct Failed {
    #[serde(with = "seawall_harness::seed::text")]
    seed: u64,
    story: String,
    /// The command that executes it again.
    replay: String,
}

pub(super) fn run(args: &PropertiesArgs) -> Result<Exit, Complaint> {
    let chosen = chosen(&args.names)?;
    let seed = args.seed.unwrap_or_else(soak::new_seed);
    let jobs = args.jobs.map(usize::from);
    let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut exit = Exit::Expected;
    for property in chosen {
        let report = execute(property, seed, args.count, jobs);
        if report.failure.is_some() {
            exit = Exit::Finding;
        }
        print(&match args.format {
            ReplayFormat::Json => serde_json::to_string(&report).map_err(Complaint::broken)? + "\n",
            ReplayFormat::Human => human(&report),
        })?;
    }
    Ok(exit)
}

fn chosen(names: &[String]) -> Result<Vec<Property>, Complaint> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let known = || ALL.iter().map(|property| property.name);
    if let Some(name) = names.iter().find(|name| !known().any(|known| known == **name)) {
        let help = suggest::help(name, "the properties are", known());
        return Err(Complaint::usage(format!("unknown property `{name}`\nhelp: {help}")));
    }
    Ok(ALL.iter().filter(|property| names.iter().any(|name| name == property.name)).copied().collect())
}

fn execute(property: Property, seed: Seed, count: u64, jobs: usize) -> PropertyOutput {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(count) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:30.cyan/blue} {msg} {human_pos} cases");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(property.name);
    bar.enable_steady_tick(Duration::from_millis(250));
    let begun = Instant::now();
    let result = properties::run(property, seed, count, jobs, &|cases| bar.set_position(cases));
    let seconds = begun.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let failed = |Failure { seed, counterexample }| Failed {
        seed: seed.0,
        story: counterexample.0,
        replay: format!("seawall properties {} --seed {seed} --count 1", property.name),
    };
    PropertyOutput {
        schema: 1,
        property: property.name,
        seed: seed.0,
        cases: count,
        seconds,
        failure: result.err().map(failed),
    }
}

fn human(report: &PropertyOutput) -> String {
    let PropertyOutput { property, seed, cases, seconds, failure, .. } = report;
    let noun = if *cases == 1 { "case" } else { "cases" };
    let Some(Failed { seed, story, replay }) = failure else {
        return format!("{property:<10} {cases:>9} {noun:5} {seconds:>7.1} s  ok, seed {seed}\n");
    };
    let bold = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    let mut text =
        format!("{property:<10} {cases:>9} {noun:5} {seconds:>7.1} s  {bold}failed{bold:#} with seed {seed}\n");
    for line in story.lines() {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "  replay: {replay}");
    text
}
