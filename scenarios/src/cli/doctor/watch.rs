//! `seawall doctor --watch`: a line when something has changed.

use super::super::{Complaint, Exit, stop_on_interrupt};
use super::json;
use super::show::paint;
use super::targets::{Targets, printable};
use seawall::doctor::{self, DoctorReport, Severity};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A stop is noticed after this long.
const LATENCY: Duration = Duration::from_millis(50);
/// Findings that come and go with every transaction.
const PASSING: [&str; 5] = ["writing", "checkpointing", "exclusive", "unfinished-transaction", "journal"];

/// What is compared between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Report { severity: Severity, codes: BTreeSet<&'static str>, pids: BTreeSet<u32> },
    Error(String),
}

pub(super) fn run(targets: &Targets, interval: Duration, is_json: bool) -> Result<Exit, Complaint> {
    let stop = stop_on_interrupt()?;
    let start = Instant::now();
    let mut seen: Vec<Option<Seen>> = vec![None; targets.databases.len()];
    if let (true, [path]) = (targets.is_single, &targets.databases[..]) {
        // A mistyped path would be watched for ever.
        doctor::examine(path).map_err(Complaint::usage)?;
    }
    loop {
        for (path, before) in targets.databases.iter().zip(&mut seen) {
            if stop.load(Ordering::Relaxed) {
                return Ok(Exit::Interrupted);
            }
            let result = doctor::examine(path).map_err(|error| error.to_string());
            let now = Seen::of(&result);
            if before.as_ref() == Some(&now) {
                continue;
            }
            let line = if is_json { of_json(&result)? } else { now.line(before.as_ref(), path, start.elapsed()) };
            if !write(&line)? {
                return Ok(Exit::Expected);
            }
            *before = Some(now);
        }
        if !pause(interval, &stop) {
            return Ok(Exit::Interrupted);
        }
    }
}

fn pause(interval: Duration, stop: &AtomicBool) -> bool {
    let end = Instant::now() + interval;
    while !stop.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(LATENCY));
    }
    false
}

/// Whether there is still a reader.
fn write(line: &str) -> Result<bool, Complaint> {
    let mut out = anstream::stdout().lock();
    match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Complaint::usage(format!("cannot write to standard output: {error}"))),
    }
}

fn of_json(result: &Result<DoctorReport, String>) -> Result<String, Complaint> {
    match result {
        Ok(report) => json(report),
        Err(error) => json(&serde_json::json!({ "schema": 1, "error": error })),
    }
}

impl Seen {
    fn of(result: &Result<DoctorReport, String>) -> Seen {
        match result {
            Ok(report) => {
                let codes = report.findings.iter().map(|finding| finding.code);
                let codes = codes.filter(|code| !PASSING.contains(code)).collect();
                let severity = report.severity.max(Severity::Notice);
                Seen::Report { severity, codes, pids: report.pids().into_iter().collect() }
            }
            Err(error) => Seen::Error(error.clone()),
        }
    }

    fn line(&self, before: Option<&Seen>, path: &Path, elapsed: Duration) -> String {
        let (codes_before, pids_before) = match before {
            Some(Seen::Report { codes, pids, .. }) => (codes.clone(), pids.clone()),
            _ => Default::default(),
        };
        let changes = match self {
            Seen::Error(error) => paint(Severity::Danger, error),
            Seen::Report { severity, codes, pids } => {
                let codes = changes(&codes_before, codes);
                let pids = changes(&pids_before, pids);
                let pids = if pids.is_empty() { pids } else { format!("; held by {pids}") };
                format!("{} {codes}{pids}", paint(*severity, severity.word()))
            }
        };
        format!("[{:>6.1} s] {}: {changes}\n", elapsed.as_secs_f64(), printable(path))
    }
}

/// `+new -gone`.
fn changes<T: Ord + ToString>(before: &BTreeSet<T>, now: &BTreeSet<T>) -> String {
    let new = now.difference(before).map(|item| format!("+{}", item.to_string()));
    let gone = before.difference(now).map(|item| format!("-{}", item.to_string()));
    new.chain(gone).collect::<Vec<_>>().join(" ")
}
