//! The record that the page of `seawall powercut` is rendered from: the cells, each with its shortest losing run.

use super::PowercutError;
use super::bench::{CutBench, Cutter, Outcome, StrategyCutter};
use super::case::{CaseFile, FORMAT};
use super::cell::Subject;
use super::search::CellResult;
use super::strategy;
use super::token::{PowercutToken, TokenSubject};
use crate::case_file;
use seawall_harness::record::{LosingRun, PowerCell, PowerRecord, SCHEMA};
use seawall_harness::shrink::{self, Limits};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// How often shrinking one finding asks whether to go on: a few times for each candidate.
const STEPS_MAX: u32 = 400;

/// The record of these cells. Each finding is shrunk, and its case written into `out`, which exists.
///
/// # Errors
/// If a finding cannot be executed again, or a case cannot be written.
pub fn record(
    (seed, sqlite, device): (u64, &str, &str),
    cells: &[CellResult],
    out: &Path,
    stop: &AtomicBool,
) -> Result<PowerRecord, PowercutError> {
    let mut record =
        PowerRecord { schema: SCHEMA, seed, sqlite: sqlite.to_owned(), device: device.to_owned(), cells: Vec::new() };
    for result in cells {
        let losing = result.token.as_deref().map(|token| losing_run(token, out, stop)).transpose()?;
        record.cells.push(cell(result, losing.flatten()));
    }
    Ok(record)
}

fn cell(result: &CellResult, losing: Option<LosingRun>) -> PowerCell {
    let (row, column) = match &result.subject {
        Subject::Sql(settings) => (settings.journal_mode.word(), settings.synchronous.word()),
        Subject::Strategy { strategy, .. } => (&**strategy, ""),
    };
    PowerCell {
        row: row.to_owned(),
        column: column.to_owned(),
        verdict: result.verdict,
        expected: result.expected,
        cuts: result.cuts,
        images: result.images,
        distinct: result.distinct,
        lost: result.lost_runs,
        lost_commits_max: result.lost_commits_max,
        corrupt: result.corrupt,
        torn: result.atomicity,
        losing,
    }
}

/// The shortest run to the finding of a token. The run of a strategy cannot be shrunk, and is taken as it is.
fn losing_run(text: &str, out: &Path, stop: &AtomicBool) -> Result<Option<LosingRun>, PowercutError> {
    let token: PowercutToken = text.parse()?;
    let (Some(case), TokenSubject::Sql(settings)) = (token.case(), &token.subject) else {
        let TokenSubject::Strategy { strategy, fault } = &token.subject else { return Ok(None) };
        let spec = strategy::spec(strategy, fault, token.seed)?;
        return Ok(StrategyCutter::new(&token.device)?.execute(&spec, &token.cuts)?.losing_run(text));
    };
    let depth = u8::try_from(token.cuts.len().saturating_sub(1)).unwrap_or(u8::MAX);
    let mut cutter = Cutter::new(&case, depth)?;
    let mut steps = 0;
    let is_over = Box::new(|| {
        steps += 1;
        steps > STEPS_MAX || stop.load(Ordering::Relaxed)
    });
    let limits = Limits { is_over, ..Limits::default() };
    let Some((mut bench, first)) = CutBench::new(&mut cutter, (&case, &token.cuts), limits)? else { return Ok(None) };
    let best = shrink::shrink(&mut bench, first)?;
    drop(bench);
    let outcome = cutter.execute(&best.case, &best.cuts)?;
    let name = format!("{}-{}.json", settings.journal_mode.word(), settings.synchronous.word());
    let path = out.join(name);
    write(&path, &outcome, best)?;
    Ok(outcome.losing_run(&path.display().to_string()))
}

fn write(path: &Path, outcome: &Outcome, failing: super::bench::Failing) -> Result<(), PowercutError> {
    let file = CaseFile {
        powercut_format: FORMAT,
        case: failing.case,
        cuts: failing.cuts,
        findings: outcome.findings.clone(),
        digest: Some(outcome.digest.clone()),
        calls: outcome.lines(),
    };
    Ok(case_file::write(path, &file)?)
}
