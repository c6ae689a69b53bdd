//! `seawall soak`: the matrix.

use super::args::{Medium, SoakArgs};
use super::{Complaint, Exit, report, say, share, stop_on_interrupt};
use crate::expectations::Expectations;
use crate::faults::{self, Fault};
use crate::run::Runner;
use crate::run::spec::{REAL, SIM};
use crate::soak::comparison::PLAIN;
use crate::soak::{Progress, SoakConfig};
use crate::{scratch, strategies};
use indicatif::{ProgressBar, ProgressStyle};
use seawall_harness::fault;
use seawall_harness::narrative::count;
use seawall_harness::record::SoakRecord;
use seawall_harness::seed::Seed;
use seawall_harness::token::FaultName;
use seawall_harness::verdict::Verdict;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DURATION: Duration = Duration::from_secs(60);

/// Runs spend half of their time waiting for a pipe or a lock.
const JOBS_PER_PROCESSOR: usize = 2;

pub(super) fn run(args: SoakArgs) -> Result<Exit, Complaint> {
    let config = config(&args)?;
    let runner = runner(args.scratch.as_deref())?;
    if let Some(out) = &args.out {
        check_out(out)?;
    }
    let stop = stop_on_interrupt()?;
    if config.lacks_plain() {
        say(&format!("the layer is not compared with plain SQLite: `{PLAIN}` is not among the strategies"));
    }
    let bar = Bar::new(&config);
    let record = config.execute(&runner, &Expectations::reviewed(), &stop, &|progress| bar.show(progress))?;
    bar.clear();
    report::deliver(&record, args.out.as_deref(), args.format)?;
    if record.interrupted {
        say("interrupted: the figures are those of the runs that were done");
        return Ok(Exit::Interrupted);
    }
    let exit = exit(&record);
    if exit == Exit::NothingRan {
        say("nothing was measured: this share of the runs is empty, or no fault has fired in any of them");
    }
    Ok(exit)
}

pub(super) fn exit(record: &SoakRecord) -> Exit {
    let any = |is: fn(&seawall_harness::record::Cell) -> bool| record.matrix.iter().any(is);
    if any(|cell| cell.verdict == Verdict::HarnessBroken) {
        Exit::LabBroken
    } else if !any(|cell| cell.verdict != Verdict::NotMeasured) {
        Exit::NothingRan
    } else if any(|cell| !cell.as_expected) {
        Exit::Finding
    } else {
        Exit::Expected
    }
}

fn config(args: &SoakArgs) -> Result<SoakConfig, Complaint> {
    let media = match args.medium {
        Medium::Real => vec![REAL],
        Medium::Sim => vec![SIM],
        Medium::Both => vec![REAL, SIM],
    };
    let (faults, file_seed) = chosen_faults(args)?;
    for fault in &faults {
        let rules = fault.given_rules().to_vec();
        let plan = fault::FaultPlan::new(rules, Seed(0)).map_err(Complaint::usage)?;
        // With both media, each fault runs on those that can have it.
        let check = match media[..] {
            [SIM] => plan.check_simulated_medium(),
            [REAL] => plan.check_real_medium(),
            _ => Ok(()),
        };
        check.map_err(|error| Complaint::usage(in_context(fault, &error)))?;
    }
    let seed = args.seed.or(file_seed);
    let partition = share::share(args.partition, seed)?;
    let duration = args.duration.or(if args.count.is_none() { Some(DURATION) } else { None });
    let jobs = args.jobs.map(usize::from);
    Ok(SoakConfig {
        seed: seed.unwrap_or_else(new_seed),
        strategies: chosen_strategies(&args.strategy)?,
        faults,
        media,
        duration,
        count: args.count,
        jobs: jobs
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, |n| usize::from(n) * JOBS_PER_PROCESSOR)),
        partition,
    })
}

/// The error about a rule that came with a name: the user has never seen the rule.
fn in_context(fault: &Fault, error: &fault::PlanError) -> String {
    match &fault.name {
        FaultName::Named(name) => format!("--preset {name}: {error}"),
        FaultName::Rules(_) => error.to_string(),
    }
}

fn chosen_strategies(names: &[String]) -> Result<Vec<&'static strategies::Entry>, Complaint> {
    if names.is_empty() {
        return Ok(strategies::ALL.iter().filter(|entry| !entry.is_canary).collect());
    }
    let mut chosen: Vec<&'static strategies::Entry> = Vec::new();
    for name in names {
        let entry = strategies::find(name).map_err(Complaint::usage)?;
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
    let (rules, seed) = args.faults.read()?;
    if !rules.is_empty() {
        chosen.push(faults::of_rules(rules));
    }
    if chosen.is_empty() {
        chosen = faults::matrix();
    }
    Ok((chosen, seed))
}

/// A seed from the operating system. It is printed with the result, so the soak can be repeated.
pub(super) fn new_seed() -> Seed {
    use std::hash::{BuildHasher, Hasher};
    Seed(std::hash::RandomState::new().build_hasher().finish())
}

/// The lab with its scratch folder, which must be a folder that can be written to.
pub(super) fn runner(scratch: Option<&Path>) -> Result<Runner, Complaint> {
    let folder = scratch.map_or_else(scratch::default_folder, PathBuf::from);
    if let Err(error) = tempfile::tempdir_in(&folder) {
        let reason = scratch::reason(&error);
        return Err(Complaint::usage(format!("cannot work in --scratch {}: {reason}", folder.display())));
    }
    Ok(Runner::of_this_program(folder)?)
}

/// Finds out before the runs, not after them, that the report has no place to go to. Creates nothing that stays: the
/// folder is made with the report.
pub(super) fn check_out(out: &Path) -> Result<(), Complaint> {
    let complain =
        |reason: &str| Complaint::usage(format!("cannot write a report to --out {}: {reason}", out.display()));
    let existing = out.ancestors().find(|path| fs::symlink_metadata(path).is_ok()).unwrap_or(Path::new("."));
    if !existing.is_dir() {
        return Err(complain(&format!("{} is no folder", existing.display())));
    }
    tempfile::tempfile_in(existing).map(drop).map_err(|error| complain(&scratch::reason(&error)))
}

/// The progress bar on a terminal, or nothing.
struct Bar {
    bar: ProgressBar,
    begun: Instant,
    duration: Option<Duration>,
}

impl Bar {
    fn new(config: &SoakConfig) -> Self {
        let bar = match (config.duration, config.count) {
            _ if !std::io::stderr().is_terminal() => ProgressBar::hidden(),
            (Some(duration), _) => ProgressBar::new(duration.as_secs().max(1)),
            (None, Some(count)) => ProgressBar::new(count.saturating_mul(config.cells()) / config.partition.1),
            (None, None) => ProgressBar::new_spinner(),
        };
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:30.cyan/blue} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, begun: Instant::now(), duration: config.duration }
    }

    fn show(&self, progress: Progress) {
        let Progress { runs, acked, lost } = progress;
        match self.duration {
            Some(_) => self.bar.set_position(self.begun.elapsed().as_secs()),
            None => self.bar.set_position(runs),
        }
        self.bar.set_message(format!(
            "{}, {} acknowledged, {lost} of them lost",
            count(runs, "run"),
            count(acked, "commit")
        ));
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
