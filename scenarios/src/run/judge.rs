//! After the run: gathering the evidence, asking the oracles, writing the record.

use rusqlite::{Connection, OpenFlags, ffi};
use seawall_harness::board::Counter;
use seawall_harness::codes::ResultCode;
use seawall_harness::fault::Effect;
use seawall_harness::oracle::economy::Spending;
use seawall_harness::oracle::hygiene::{self, Leftovers};
use seawall_harness::oracle::integrity::{self, Check};
use seawall_harness::oracle::table::{self, Table};
use seawall_harness::oracle::{self, Evidence};
use seawall_harness::record::{Counts, ErrorCount, Finding, RuleRecord, RunRecord};
use seawall_harness::trace::{self, Entry};
use seawall_harness::verdict::Verdict;

use crate::run::conductor::{Stage, Trouble};
use crate::run::notes::Notes;
use crate::run::topology::Schedule;
use crate::run::world::World;
use crate::timeline;

/// The record of a run that has been played.
pub fn judge(
    world: &World,
    stage: &Stage<'_>,
    notes: Notes,
    result: Result<(), Trouble>,
    calls: &[Entry],
) -> RunRecord {
    let rules = rule_records(world, stage);
    let mut counts = count(stage, &notes, &rules);
    let errors = notes.errors();
    let timeline = timeline::of(calls, &notes.marks);
    let files = hygiene::stray_files(stage.database).unwrap_or_default();
    let (check, table) = fresh_look(stage);
    let evidence = gather(world, notes, &counts, files, check, table);
    let fresh_done = evidence.checks.last().is_some_and(|check| check.unfinished.is_none());
    let sound = evidence.checks.iter().all(|check| check.complaints.is_empty());
    let integrity_ok = sound && fresh_done && evidence.table.is_some();
    counts.lost = evidence.table.as_ref().map_or(counts.acked, |table| evidence.ledger.lost(table));
    let mut findings = oracle::judge(&evidence);
    findings.extend(trouble(result, stage));
    findings.extend(genuine_disk_full(&errors, world));
    findings.extend(unfinished(evidence.checks.last(), counts.acked));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    RunRecord {
        token: world.token.to_string(),
        seed: world.token.seed.0,
        strategy: world.strategy.name.to_owned(),
        fault: world.token.fault.to_string(),
        medium: world.token.medium.clone(),
        topology: world.outline.topology(),
        verdict: verdict(world, &counts, &findings, !errors.is_empty()),
        rules,
        findings,
        counts,
        errors,
        integrity_ok,
        trace_digest: (world.outline.schedule == Schedule::Sequential).then(|| trace::digest(&stage.board)),
        timeline,
    }
}

/// The worst finding decides; without one, whether any caller was given an error (one whose process was killed was
/// not); and a run that measured nothing says so.
fn verdict(world: &World, counts: &Counts, findings: &[Finding], refused_service: bool) -> Verdict {
    if let Some(worst) = findings.first() {
        return worst.verdict;
    }
    let struck = counts.faults_fired > 0 || !world.needs_firing;
    if counts.acked == 0 || !struck {
        Verdict::NotMeasured
    } else if refused_service {
        Verdict::Degraded
    } else {
        Verdict::Survived
    }
}

fn trouble(result: Result<(), Trouble>, stage: &Stage<'_>) -> Vec<Finding> {
    let finding = |oracle: &str, verdict, detail| Finding { oracle: oracle.to_owned(), verdict, detail };
    let mut findings = Vec::new();
    match result {
        Ok(()) => {}
        Err(Trouble::Lab(detail)) => findings.push(finding("lab", Verdict::HarnessBroken, detail)),
        Err(Trouble::Stuck(detail)) => findings.push(finding("progress", Verdict::Wedged, detail)),
    }
    let panics = stage.board.counted(Counter::Panics);
    if panics > 0 {
        let detail = format!("{panics} panics were caught in VFS callbacks");
        findings.push(finding("lab", Verdict::HarnessBroken, detail));
    }
    findings
}

/// Nobody disturbs the fresh connection, so a check that it cannot finish is the lab's failure, or news.
fn unfinished(fresh: Option<&Check>, acked: u64) -> Option<Finding> {
    let reason = fresh?.unfinished.as_ref().filter(|_| acked > 0)?;
    let detail = format!("the database could not be checked at the end: {reason}");
    Some(Finding { oracle: "lab".to_owned(), verdict: Verdict::HarnessBroken, detail })
}

/// A disk that is really full, under the lab's feet, says nothing about the strategy.
fn genuine_disk_full(errors: &[ErrorCount], world: &World) -> Option<Finding> {
    let full = errors.iter().any(|error| error.message.starts_with("FULL:"));
    let injected = world.faults.rules.iter().any(|rule| {
        matches!(
            rule.effect,
            Effect::Error { code: ResultCode(ffi::SQLITE_FULL), .. } | Effect::Errno(_) | Effect::Torn { .. }
        )
    });
    (full && !injected).then(|| Finding {
        oracle: "lab".to_owned(),
        verdict: Verdict::HarnessBroken,
        detail: "the disk of the scratch folder is full".to_owned(),
    })
}

fn rule_records(world: &World, stage: &Stage<'_>) -> Vec<RuleRecord> {
    let record = |(index, rule): (usize, &seawall_harness::fault::Rule)| {
        let counters = stage.board.rule(index);
        RuleRecord {
            rule: rule.to_string(),
            matched: counters.matched(),
            fired: counters.fired(),
            fired_at: counters.fired_at(),
        }
    };
    world.faults.rules.iter().enumerate().map(record).collect()
}

fn count(stage: &Stage<'_>, notes: &Notes, rules: &[RuleRecord]) -> Counts {
    let (acked, refused, indeterminate) = notes.ledger.counts();
    Counts {
        acked,
        refused,
        indeterminate,
        lost: 0,
        reads: notes.reads,
        opens: stage.board.counted(Counter::DbOpens),
        schema_inits: stage.board.counted(Counter::SchemaInits),
        calls: stage.board.calls(),
        faults_fired: rules.iter().map(|rule| rule.fired).sum(),
        kills: notes.kills,
        starts: notes.starts,
    }
}

/// Opens the database as nobody in the run did: on the platform's VFS, by the conductor.
fn fresh_look(stage: &Stage<'_>) -> (Check, Option<Table>) {
    let unfinished =
        |message: String| Check { connection: "fresh".to_owned(), complaints: Vec::new(), unfinished: Some(message) };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match Connection::open_with_flags(stage.database, flags) {
        Ok(connection) => (integrity::check(&connection, "fresh"), table::read(&connection).ok()),
        Err(error) => (unfinished(error.to_string()), None),
    }
}

fn gather(
    world: &World,
    notes: Notes,
    counts: &Counts,
    files: Vec<String>,
    check: Check,
    table: Option<Table>,
) -> Evidence {
    let mut checks = notes.checks;
    checks.push(check);
    let undisturbed = counts.faults_fired + counts.kills + counts.refused + counts.indeterminate == 0;
    let economy = Spending {
        promise: world.strategy.promise,
        starts: counts.starts,
        opens: counts.opens,
        schema_inits: counts.schema_inits,
        undisturbed,
    };
    Evidence {
        ledger: notes.ledger,
        // A file that nobody ever got to make holds nothing, which is what was acknowledged.
        table: if counts.acked == 0 { Some(table.unwrap_or_default()) } else { table },
        torn_reads: notes.torn_reads,
        checks,
        progress: notes.progress,
        hygiene: Leftovers { locks: notes.locks, open_files: notes.open_files, files },
        economy,
        alarms: notes.alarms,
    }
}
