//! The single-error sweep: in one transaction, with one before and one after it, each call fails in turn, by each
//! effect that applies to its method, once and for good; and each allocation fails in turn.
//!
//! ```text
//! case ─► execution without a fault ─► its calls, its allocations ─► one rule for each call, effect and duration
//!      ─► execution under each rule ─► files after each transaction ─► judge: a fresh process on each ─► outcome
//! ```
//!
//! The rules are those of the fault grammar: the second write to the log is `write@wal:…:when=2`, and for good is
//! `when=2+`. Until the rule fires, the execution is the one without a fault, so the number of the call at which it
//! fires says which call it was: [`SweepResult::skipped`] counts the calls at which no rule fired.
//!
//! After each transaction, and at the end, three views are judged: what the same connection reads (`live`), what a
//! fresh process finds in the files (`restart`), and what it finds if only durable bytes are left (`evicted`). What a
//! view lacks without any fault is not counted: with names that are not durable at once, a journal of the mode DELETE
//! takes the last commit with it.

mod effects;
mod execution;
mod outcome;
mod shrink;
pub mod story;
#[cfg(test)]
mod tests;
mod token;

use super::PowercutError;
use super::case::{Case, Numbered, Step};
use super::cell::{CellSettings, Level};
use seawall_harness::fault::Rule;
use seawall_harness::seed::Seed;
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use execution::{Executed, Sweeper, Swept};
pub use outcome::{Class, Outcome, View};
pub use shrink::{Erring, SweepBench};
pub use token::{FORMAT, FORMAT_FIELD, SweepFile, SweepToken, SweepTokenError, VERSION};

/// The transactions: one before, the one in question, one after.
const TRANSACTIONS: u32 = 3;

/// What fails in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Each call of the VFS and of its files.
    Calls,
    /// Each allocation of SQLite.
    Allocations,
}

impl Target {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Allocations => "allocations",
        }
    }
}

/// One execution with one fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The fault.
    pub rule: String,
    /// The statement during which it fired first.
    pub during: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Names the execution.
    pub token: String,
}

/// The sweep of one cell, as it is printed: field names are a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepResult {
    /// Journal mode and level.
    #[serde(flatten)]
    pub settings: CellSettings,
    /// What failed in turn.
    pub target: Target,
    /// Calls or allocations of the execution without a fault that can fail.
    pub calls: u64,
    /// Executions with a fault that fired.
    pub injected: u64,
    /// Calls or allocations at which no fault fired: more than 0 says that the sweep is broken.
    pub skipped: u64,
    /// Rules that were left, because the sweep was interrupted or its time was over.
    #[serde(default)]
    pub left_out: u64,
    /// Executions by what came of them.
    pub classes: BTreeMap<Class, u64>,
    /// Executions in which a COMMIT failed and its value is durable.
    pub durable: u64,
    /// The worst of the verdicts.
    pub verdict: Verdict,
    /// Executions that are worse than expected.
    pub news: u64,
    /// All executions, in the order of the calls.
    pub runs: Vec<Run>,
}

/// The case of a sweep: three transactions of one process that are alike, so that the rows follow from the number of
/// commits alone. In the mode WAL the second one runs a checkpoint.
pub fn case(settings: CellSettings, sqlite: &str, device: &str, seed: u64) -> Case {
    let step =
        Step::Write { inserts: 2, updates: 2, deletes: 1, payload_bytes: 700, savepoint: false, rollback: false };
    let steps = (1..=TRANSACTIONS).map(|number| Numbered { number, step }).collect();
    let (sqlite, device) = (sqlite.to_owned(), device.to_owned());
    let (page_bytes, cache_pages, autocheckpoint) = (1024, 200, 12);
    Case { settings, sqlite, device, seed, page_bytes, cache_pages, autocheckpoint, processes: vec![steps] }
}

/// One cell of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Journal mode and level.
    pub settings: CellSettings,
    /// What fails in turn.
    pub target: Target,
    /// The version of SQLite, or the path of a library.
    pub sqlite: String,
    /// The device, in words.
    pub device: String,
    /// The seed of the case.
    pub seed: u64,
    /// Wall-clock milliseconds at most.
    pub time_max_ms: Option<u64>,
}

impl Sweep {
    /// Sweeps the cell, until `stop` is set or the time is over; `progress` is told of executions now and then.
    ///
    /// # Errors
    /// If the engine cannot be had, or the lab is broken.
    pub fn execute(&self, stop: &AtomicBool, progress: &dyn Fn(u64)) -> Result<SweepResult, PowercutError> {
        let Self { settings, target, sqlite, device, seed, time_max_ms } = self;
        let end = time_max_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        let name = |rule: &Rule| {
            let (sqlite, device, rule) = (sqlite.clone(), device.clone(), rule.clone());
            SweepToken { settings: *settings, sqlite, device, seed: Seed(*seed), rule }.to_string()
        };
        let is_over = || stop.load(Ordering::Relaxed) || end.is_some_and(|end| Instant::now() >= end);
        let progress = |done: u64| {
            if done.is_multiple_of(50) {
                progress(done);
            }
        };
        let mut sweeper = Sweeper::new(case(*settings, sqlite, device, *seed))?;
        sweep(&mut sweeper, (*settings, *target), &name, &is_over, &progress)
    }
}

/// Sweeps a case, until `is_over`. `name` gives the token of a rule; `progress` is told of executions.
///
/// # Errors
/// If the lab is broken, for example if no fault was injected.
pub fn sweep(
    swept: &mut impl Swept,
    (settings, target): (CellSettings, Target),
    name: &dyn Fn(&Rule) -> String,
    is_over: &dyn Fn() -> bool,
    progress: &dyn Fn(u64),
) -> Result<SweepResult, PowercutError> {
    let clean = swept.execute(&effects::counting(target))?;
    if !clean.outcome.is_clean_run() {
        return Err(PowercutError::Broken(format!("{settings}, without a fault: {}", clean.outcome.detail)));
    }
    let rules = match target {
        Target::Calls => effects::of_calls(&clean.calls),
        Target::Allocations => effects::of_allocations(clean.matched),
    };
    let mut result = SweepResult {
        settings,
        target,
        calls: 0,
        injected: 0,
        skipped: 0,
        left_out: 0,
        classes: BTreeMap::new(),
        durable: 0,
        verdict: Verdict::NotMeasured,
        news: 0,
        runs: Vec::new(),
    };
    let mut met = BTreeSet::new();
    for (nth, rule) in rules.iter().enumerate() {
        if is_over() {
            result.left_out = (rules.len() - nth) as u64;
            break;
        }
        let Executed { outcome, fired_at, during, .. } = swept.execute(rule)?;
        let Some(first) = fired_at else { continue };
        met.insert(match target {
            Target::Calls => first,
            Target::Allocations => effects::ordinal(rule),
        });
        result.note(rule, outcome, during, name(rule));
        progress(result.injected);
    }
    let wanted: BTreeSet<u64> = match target {
        Target::Calls => clean.calls.iter().filter(|(_, call)| call.method.can_fail()).map(|(nth, _)| *nth).collect(),
        Target::Allocations => (1..=clean.matched).collect(),
    };
    result.calls = wanted.len() as u64;
    if result.left_out == 0 {
        result.skipped = wanted.difference(&met).count() as u64;
    }
    if result.injected == 0 && result.left_out == 0 {
        let what = target.word();
        return Err(PowercutError::Broken(format!("{settings}, {what}: 0 faults were injected, so nothing was swept")));
    }
    Ok(result)
}

impl SweepResult {
    fn note(&mut self, rule: &Rule, outcome: Outcome, during: String, token: String) {
        self.injected += 1;
        *self.classes.entry(outcome.class).or_default() += 1;
        self.durable += u64::from(outcome.is_false_failure_durable);
        self.verdict = self.verdict.max(outcome.class.verdict());
        self.news += u64::from(outcome.class.verdict() > expected(self.settings, rule));
        self.runs.push(Run { rule: rule.to_string(), during, outcome, token });
    }

    /// How many executions are of this class.
    pub fn of(&self, class: Class) -> u64 {
        self.classes.get(&class).copied().unwrap_or(0)
    }
}

/// The worst that may come of a rule. A call that fails and says so must cost nothing that was acknowledged, where the
/// journal mode and the level promise that.
pub fn expected(settings: CellSettings, rule: &Rule) -> Verdict {
    let is_promised = settings.journal_mode.has_log() && settings.synchronous >= Level::Full;
    if is_promised && effects::is_honest(rule) { Verdict::Degraded } else { Verdict::Corrupt }
}
