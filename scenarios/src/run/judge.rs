//! After the run: the evidence, the findings of the oracles, the record.

use crate::run::driver::Trouble;
use crate::run::history::History;
use crate::run::places;
use crate::run::shape::Schedule;
use crate::run::spec::RunSpec;
use crate::timeline;
use seawall_harness::oracle::economy::Spending;
use seawall_harness::oracle::growth::{self, Growth};
use seawall_harness::oracle::hygiene::Leftovers;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::oracle::ledger::{self, Place};
use seawall_harness::oracle::table::Table;
use seawall_harness::oracle::{self, Evidence, Intervened};
use seawall_harness::record::{Counts, ErrorCount, Finding, RuleRecord, RunRecord};
use seawall_harness::shared_state::{Counter, SharedState};
use seawall_harness::trace::{self, Entry};
use seawall_harness::verdict::Verdict;
use std::path::Path;

/// The record of a run that was executed. Without calls it has no timeline.
pub fn judge(
    spec: &RunSpec,
    shared_state: &SharedState,
    (mut history, result): (History, Result<(), Trouble>),
    calls: &[Entry],
    look: FreshLook,
) -> RunRecord {
    let rules = rule_records(spec, shared_state);
    let mut counts = count(shared_state, &history, &rules);
    let errors = history.errors();
    let marks = history.take_marks();
    let mut interventions = interventions(spec, &rules);
    interventions.extend_from_slice(&history.late_interventions);
    let mut evidence = Evidence { interventions, ..evidence(history, look, spending(spec, &counts)) };
    evidence.has_foreign_process = spec.foreign.is_some();
    if is_misled(spec, &rules) {
        // SQLite is right to call the file damaged.
        evidence.alarms.clear();
    }
    evidence.growth.log_bytes_limit = spec.checkpoint_pages().map(growth::limit);
    let is_checked = evidence.checks.last().is_some_and(|check| check.unfinished.is_none());
    let is_sound = evidence.checks.iter().all(|check| check.complaints.is_empty());
    let integrity_ok = is_sound && is_checked && evidence.table.is_some();
    counts.lost = ledger::lost(&evidence);
    let marks = marks.with_losses(&ledger::lost_transactions(&evidence));
    let timeline = if calls.is_empty() { Vec::new() } else { timeline::of(calls, &marks, &spec.faults.rules) };
    let mut findings = oracle::judge(&evidence);
    findings.extend(trouble(result, shared_state));
    findings.extend(genuine_disk_full(&errors, spec));
    findings.extend(unfinished(evidence.checks.last(), counts.acked));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    RunRecord {
        token: spec.token.to_string(),
        seed: spec.token.seed.0,
        strategy: spec.strategy.name.to_owned(),
        fault: spec.token.fault.to_string(),
        medium: spec.token.medium.clone(),
        topology: spec.shape.topology(),
        verdict: verdict(spec, &counts, &findings, !errors.is_empty()),
        rules,
        findings,
        counts,
        errors,
        integrity_ok,
        trace_digest: (spec.shape.schedule != Schedule::Racing).then(|| trace::digest(shared_state)),
        timeline,
    }
}

/// That of the worst finding. Without findings it depends on whether a caller was given an error (a caller whose
/// process was killed was not), and on whether the run measured anything.
fn verdict(spec: &RunSpec, counts: &Counts, findings: &[Finding], has_errors: bool) -> Verdict {
    if let Some(worst) = findings.first() {
        return worst.verdict;
    }
    let has_fired = counts.faults_fired > 0 || !spec.must_fire;
    if counts.acked == 0 || !has_fired {
        Verdict::NotMeasured
    } else if has_errors {
        Verdict::Degraded
    } else {
        Verdict::Survived
    }
}

fn trouble(result: Result<(), Trouble>, shared_state: &SharedState) -> Vec<Finding> {
    let finding = |oracle: &str, verdict, detail| Finding { oracle: oracle.to_owned(), verdict, detail };
    let mut findings = Vec::new();
    match result {
        Ok(()) => {}
        Err(Trouble::HarnessBroken(detail)) => findings.push(finding("lab", Verdict::HarnessBroken, detail)),
        Err(Trouble::Stuck(detail)) => findings.push(finding("progress", Verdict::Wedged, detail)),
    }
    let panics = shared_state.counted(Counter::Panics);
    if panics > 0 {
        let detail = format!("{panics} panics were caught in VFS callbacks");
        findings.push(finding("lab", Verdict::HarnessBroken, detail));
    }
    findings
}

/// Nothing disturbs the fresh connection. If it cannot finish its check, the lab is broken, or there is a new defect.
fn unfinished(fresh: Option<&Check>, acked: u64) -> Option<Finding> {
    let reason = fresh?.unfinished.as_ref().filter(|_| acked > 0)?;
    let detail = format!("the database could not be checked at the end: {reason}");
    Some(Finding { oracle: "lab".to_owned(), verdict: Verdict::HarnessBroken, detail })
}

/// If the disk of the lab is full, the run says nothing about the strategy.
fn genuine_disk_full(errors: &[ErrorCount], spec: &RunSpec) -> Option<Finding> {
    let full = errors.iter().any(|error| error.message.starts_with("FULL:"));
    let is_injected = spec.faults.rules.iter().any(|rule| rule.effect.fills_disk());
    (full && !is_injected).then(|| Finding {
        oracle: "lab".to_owned(),
        verdict: Verdict::HarnessBroken,
        detail: "the disk of the scratch folder is full".to_owned(),
    })
}

fn rule_records(spec: &RunSpec, shared_state: &SharedState) -> Vec<RuleRecord> {
    let record = |(index, rule): (usize, &seawall_harness::fault::Rule)| {
        let counters = shared_state.rule(index);
        RuleRecord {
            rule: rule.to_string(),
            matched: counters.matched(),
            fired: counters.fired(),
            fired_at: counters.fired_at(),
        }
    };
    spec.faults.rules.iter().enumerate().map(record).collect()
}

/// True if a fault fired that shows SQLite what no process has written.
fn is_misled(spec: &RunSpec, rules: &[RuleRecord]) -> bool {
    let fired = spec.faults.rules.iter().zip(rules).filter(|(_, record)| record.fired > 0);
    // Another program's clean-up unlinks files that are in use.
    spec.foreign.is_some() || fired.into_iter().any(|(rule, _)| rule.effect.misleads(rule.select.method))
}

/// What outsiders did, as far as the shared state has kept the numbers of the calls.
fn interventions(spec: &RunSpec, rules: &[RuleRecord]) -> Vec<Intervened> {
    let actions = spec.faults.rules.iter().map(|rule| rule.effect.outside_action());
    let of_rule = actions.zip(rules).filter_map(|(action, record)| Some((action?, &record.fired_at)));
    let each = of_rule.flat_map(|(action, calls)| calls.iter().map(move |&at_call| Intervened { at_call, action }));
    let mut interventions: Vec<Intervened> = each.collect();
    interventions.sort_by_key(|intervened| intervened.at_call);
    interventions
}

fn spending(spec: &RunSpec, counts: &Counts) -> Spending {
    Spending {
        promise: spec.strategy.promise,
        starts: counts.starts,
        opens: counts.opens,
        schema_inits: counts.schema_inits,
        undisturbed: counts.faults_fired + counts.kills + counts.refused + counts.indeterminate == 0,
    }
}

fn count(shared_state: &SharedState, history: &History, rules: &[RuleRecord]) -> Counts {
    let (acked, refused, indeterminate) = history.ledger.counts();
    Counts {
        acked,
        refused,
        indeterminate,
        lost: 0,
        reads: history.reads,
        opens: shared_state.counted(Counter::DbOpens),
        schema_inits: shared_state.counted(Counter::SchemaInits),
        calls: shared_state.calls(),
        faults_fired: rules.iter().map(|rule| rule.fired).sum(),
        kills: history.kills,
        starts: history.starts,
    }
}

/// What a process that took no part in the run finds after it.
pub struct FreshLook {
    files: Vec<String>,
    check: Check,
    table: Option<Table>,
    places: Vec<Place>,
}

impl FreshLook {
    /// Opens the database on the medium's own VFS, without a shim. `files` are those in its folder that should not be
    /// there.
    pub fn at(database: &Path, vfs: Option<&str>, files: Vec<String>) -> Self {
        let (check, table) = places::examine(database, vfs, "fresh");
        Self { files, check, table, places: Vec::new() }
    }

    /// The look after a run with outsiders. First it looks at copies: opening the database itself changes it and its
    /// log. If the strategy refuses to open it, the log may be another file's: then the database counts as it is
    /// without the log, if that is the better of the two.
    pub fn after_outsiders(
        files: &dyn places::Files,
        database: &str,
        history: &History,
        look: impl FnOnce() -> Self,
    ) -> Self {
        let places = places::search(files, database, &history.announced, history.kills > 0);
        let alone = places::look(files, database, None);
        let is_there = files.names().iter().any(|name| name == database);
        let mut look = Self { places, ..look() };
        let is_refused = history.progress.iter().any(|progress| progress.is_refused && !progress.committed);
        let is_clean = |check: &Check| check.complaints.is_empty() && check.unfinished.is_none();
        if !is_there {
            (look.check.unfinished, look.table) = (None, Some(Table::new()));
        } else if is_refused && !is_clean(&look.check) && is_clean(&alone.0) {
            (look.check, look.table) = (Check { connection: look.check.connection, ..alone.0 }, alone.1);
        }
        look.table.get_or_insert_default();
        look
    }
}

/// What the oracles judge a history by. The check of the fresh look is the last of the checks.
pub fn evidence(mut history: History, look: FreshLook, economy: Spending) -> Evidence {
    let FreshLook { files, check, table, places } = look;
    let open_spans = history.take_open_spans();
    let mut checks = history.checks;
    checks.push(check);
    let (acked, ..) = history.ledger.counts();
    Evidence {
        ledger: history.ledger,
        // A table that was never created is empty, as it must be if nothing was acknowledged.
        table: if acked == 0 { Some(table.unwrap_or_default()) } else { table },
        growth: Growth { log_bytes_max: history.log_bytes_max, log_bytes_limit: None },
        places,
        deaths: history.deaths,
        open_spans,
        torn_reads: history.torn_reads,
        checks,
        progress: history.progress,
        hygiene: Leftovers { locks: history.locks, open_files: history.open_files, files },
        economy,
        alarms: history.alarms,
        ..Evidence::default()
    }
}
