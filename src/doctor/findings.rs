//! The findings: what in a report calls for attention, and what to do about it.
//!
//! No finding says that a database is corrupt. From outside one sees files, locks and headers; half-finished work of
//! others looks like damage there. What is in the pages only the application's own connection can check, so the
//! strongest words here are "ask it".

use super::checks::CHECKS;
use super::codes::Code;
use super::report::DoctorReport;
use crate::error::printable;
use serde::Serialize;
use std::fmt::Display;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing to do.
    Ok,
    /// Good to know, and as it should be.
    Notice,
    /// Something to look after before it gets worse.
    Warning,
    /// Data is in danger, or what is written is.
    Danger,
}

impl Severity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Danger => "danger",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The stable name of this kind of finding; [`explain`](super::explain) says more.
    pub code: &'static str,
    /// What it is.
    pub text: String,
    /// What was seen that says so.
    pub evidence: String,
    /// What to do next.
    pub next: String,
}

/// Judges a report and writes the findings into it.
pub(super) fn add(report: &mut DoctorReport) {
    let mut findings = Vec::new();
    for check in CHECKS {
        check(report, &mut findings);
    }
    if findings.is_empty() {
        let what = "nothing was found";
        add_to(
            &mut findings,
            Severity::Ok,
            Code::NothingFound,
            what,
            "files, headers, log, locks, holders",
            "nothing to do",
        );
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report.severity = findings[0].severity;
    report.next = findings[0].next.clone();
    report.findings = findings;
}

pub(super) type Findings = Vec<Finding>;

pub(super) fn add_to(
    findings: &mut Findings,
    severity: Severity,
    code: Code,
    what: impl Display,
    evidence: impl Display,
    next: impl Display,
) {
    // Names of files and of processes may have anything in them.
    let line = |text: String| printable(&text).into_owned();
    let [what, evidence, next] = [what.to_string(), evidence.to_string(), next.to_string()].map(line);
    findings.push(Finding { severity, code: code.explanation().code, text: what, evidence, next });
}

/// "1 frame", "2 frames".
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Who has the files open, with names.
pub(super) fn named_holders(report: &DoctorReport) -> String {
    let name = |pid: u32| match report.holders.iter().find(|holder| holder.pid == pid) {
        Some(holder) => format!("{pid} ({})", holder.command),
        None => pid.to_string(),
    };
    let names: Vec<String> = report.pids().into_iter().map(name).collect();
    match names.len() {
        0 => "no visible process".to_owned(),
        1 => format!("process {}", names[0]),
        _ => format!("processes {}", names.join(", ")),
    }
}

/// How to check the content without a false alarm.
pub(super) fn quick_check(report: &DoctorReport) -> String {
    if report.is_held() {
        return format!("run PRAGMA quick_check on the application's own connection ({})", named_holders(report));
    }
    let path = report.path.to_string_lossy().replace('\'', "'\\''");
    format!(
        "no process has it open: copy it with its side files, and run sqlite3 '{path}' 'PRAGMA quick_check' on the copy"
    )
}
