//! `seawall soak`: the matrix.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anstream::eprintln;
use indicatif::{ProgressBar, ProgressStyle};
use seawall_harness::fault::{self, Rule};
use seawall_harness::record::SoakRecord;
use seawall_harness::seed::Seed;
use seawall_harness::token::FaultName;
use seawall_harness::verdict::Verdict;
use seawall_reports as reports;

use super::args::{Format, Medium, SoakArgs};
use super::{Complaint, Exit, print};
use crate::expectations::Expectations;
use crate::faults::{self, Fault};
use crate::run::Lab;
use crate::soak::{Plan, Progress};
use crate::{scratch, strategies};

const DURATION: Duration = Duration::from_secs(60);

/// Runs spend half of their time waiting for a pipe or a lock.
const JOBS_PER_PROCESSOR: usize = 2;

pub(super) fn run(args: SoakArgs) -> Result<Exit, Complaint> {
    let plan = plan(&args)?;
    let lab = lab(args.scratch.as_deref())?;
    if let Some(out) = &args.out {
        check_out(out)?;
    }
    let stop = stop_on_interrupt()?;
    let bar = Bar::new(&plan);
    let record = plan.execute(&lab, &Expectations::reviewed(), &stop, &|progress| bar.show(progress))?;
    bar.clear();
    let written = args.out.as_deref().map(|out| reports::write::all(out, &record)).transpose();
    print(&match args.format {
        Format::Human => reports::text::matrix(&record, colored(), width()),
        Format::Json => reports::json::soak(&record),
        Format::Junit => reports::junit::soak(&record),
    })?;
    if let Some(paths) = written.map_err(Complaint::broken)? {
        eprintln!("report: {}", paths.html.display());
    }
    if record.interrupted {
        eprintln!("interrupted: the figures are those of the runs that were done");
        return Ok(Exit::Interrupted);
    }
    Ok(exit(&record))
}

fn exit(record: &SoakRecord) -> Exit {
    let any = |is: fn(&seawall_harness::record::Cell) -> bool| record.matrix.iter().any(is);
    if any(|cell| cell.verdict == Verdict::HarnessBroken) {
        Exit::LabBroken
    } else if !any(|cell| cell.runs > 0) {
        Exit::NothingRan
    } else if any(|cell| !cell.as_expected) {
        Exit::Finding
    } else {
        Exit::Expected
    }
}

fn plan(args: &SoakArgs) -> Result<Plan, Complaint> {
    if args.medium != Medium::Real {
        return Err(Complaint::usage("the simulated disk is not part of this version; use --medium real"));
    }
    let (faults, file_seed) = chosen_faults(args)?;
    for fault in &faults {
        let rules = fault.given_rules().to_vec();
        let plan = fault::Plan::new(rules, Seed(0)).map_err(Complaint::usage)?;
        plan.check_real_medium().map_err(Complaint::usage)?;
    }
    let duration = args.duration.or(if args.count.is_none() { Some(DURATION) } else { None });
    let jobs = args.jobs.map(usize::from);
    Ok(Plan {
        seed: args.seed.or(file_seed).unwrap_or_else(new_seed),
        strategies: chosen_strategies(&args.strategy)?,
        faults,
        duration,
        count: args.count,
        jobs: jobs
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, |n| usize::from(n) * JOBS_PER_PROCESSOR)),
        partition: args.partition,
    })
}

fn chosen_strategies(names: &[String]) -> Result<Vec<&'static strategies::Entry>, Complaint> {
    if names.is_empty() {
        return Ok(strategies::ALL.iter().filter(|entry| !entry.canary).collect());
    }
    let mut chosen: Vec<&'static strategies::Entry> = Vec::new();
    for name in names {
        let entry = strategies::find(name).ok_or_else(|| Complaint::usage(strategies::unknown(name)))?;
        if !chosen.iter().any(|known| known.name == entry.name) {
            chosen.push(entry);
        }
    }
    Ok(chosen)
}

/// The rows of the matrix, and the seed if the rules came from a file that has one.
fn chosen_faults(args: &SoakArgs) -> Result<(Vec<Fault>, Option<Seed>), Complaint> {
    let mut chosen = Vec::new();
    for name in &args.preset {
        let fault = faults::find(&FaultName::Named(name.clone())).map_err(Complaint::usage)?;
        if !chosen.contains(&fault) {
            chosen.push(fault);
        }
    }
    let mut rules: Vec<Rule> = Vec::new();
    for rule in &args.fault {
        rules.push(fault::parse_rule(rule).map_err(Complaint::usage)?);
    }
    let mut seed = None;
    if let Some(path) = &args.fault_file {
        let text = fs::read_to_string(path)
            .map_err(|error| Complaint::usage(format!("cannot read --fault-file {}: {error}", path.display())))?;
        let file =
            fault::toml::parse(&text).map_err(|error| Complaint::usage(format!("{}: {error}", path.display())))?;
        rules.extend(file.rules);
        seed = file.seed.map(Seed);
    }
    if !rules.is_empty() {
        chosen.push(faults::of_rules(rules));
    }
    if chosen.is_empty() {
        if args.fault_file.is_some() {
            return Err(Complaint::usage("the --fault-file has no [[fault]] in it"));
        }
        chosen = faults::matrix();
    }
    Ok((chosen, seed))
}

/// A seed from the operating system. It is printed with the result, so the soak can be repeated.
fn new_seed() -> Seed {
    use std::hash::{BuildHasher, Hasher};
    Seed(std::hash::RandomState::new().build_hasher().finish())
}

/// The lab with its scratch folder, which must be a folder that can be written to.
pub(super) fn lab(scratch: Option<&Path>) -> Result<Lab, Complaint> {
    let folder = scratch.map_or_else(scratch::default_folder, PathBuf::from);
    if let Err(error) = tempfile::tempdir_in(&folder) {
        let reason = error.get_ref().map_or_else(|| error.to_string(), ToString::to_string);
        let message = format!("cannot work in --scratch {}: {reason}", folder.display());
        return Err(Complaint::usage(message));
    }
    Ok(Lab::of_this_program(folder)?)
}

/// Finds out before the runs, not after them, that the report has no place to go to.
fn check_out(out: &Path) -> Result<(), Complaint> {
    let writable = fs::create_dir_all(out).and_then(|()| tempfile::tempfile_in(out));
    match writable {
        Ok(_) => Ok(()),
        Err(error) => Err(Complaint::usage(format!("cannot write a report to --out {}: {error}", out.display()))),
    }
}

/// A flag that the first Ctrl-C sets, so that the runs in progress end and the report is written. The second one ends the program.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Complaint> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop)).map_err(Complaint::broken)?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Complaint::broken)?;
    }
    Ok(stop)
}

fn colored() -> bool {
    // anstream strips the colours again where the terminal or the user does not want them.
    true
}

fn width() -> usize {
    terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0))
}

/// The progress bar on a terminal, or nothing.
struct Bar {
    bar: ProgressBar,
    begun: Instant,
    duration: Option<Duration>,
}

impl Bar {
    fn new(plan: &Plan) -> Self {
        let bar = match (plan.duration, plan.count) {
            _ if !std::io::stderr().is_terminal() => ProgressBar::hidden(),
            (Some(duration), _) => ProgressBar::new(duration.as_secs().max(1)),
            (None, Some(count)) => ProgressBar::new(count * plan.cells() / plan.partition.1),
            (None, None) => ProgressBar::new_spinner(),
        };
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:30.cyan/blue} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, begun: Instant::now(), duration: plan.duration }
    }

    fn show(&self, progress: Progress) {
        let Progress { runs, acked, lost } = progress;
        match self.duration {
            Some(_) => self.bar.set_position(self.begun.elapsed().as_secs()),
            None => self.bar.set_position(runs),
        }
        self.bar.set_message(format!("{runs} runs, {acked} commits acknowledged, {lost} of them lost"));
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_flags_start_unset() {
        assert!(!stop_on_interrupt().unwrap().load(std::sync::atomic::Ordering::Relaxed));
    }
}
