//! The findings: what in a report calls for attention, and what to do about it.
//!
//! No finding says that a database is corrupt, and none that it is sound. From outside one sees files, locks and
//! headers; half-finished work of others looks like damage there. What is in the pages only the application's own
//! connection can check, so the strongest words here are "ask it".

use super::checks::CHECKS;
use super::codes::Code;
use super::report::DoctorReport;
use crate::error::printable;
use serde::Serialize;
use std::fmt::Display;
use std::path::Path;

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
    /// What to do next, in this state.
    pub next: String,
}

impl Finding {
    /// A finding as bad as its kind can be, with the words of its kind.
    pub(super) fn new(code: Code, evidence: impl Display, next: impl Display) -> Finding {
        let kind = code.explanation();
        // Names of files and of processes may have anything in them.
        let [evidence, next] = [evidence.to_string(), next.to_string()].map(|text| printable(&text).into_owned());
        Finding { severity: kind.severities[0], code: kind.code, text: kind.title.to_owned(), evidence, next }
    }

    /// The same, and only as bad as this.
    pub(super) fn with_severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    /// The same in words that fit the state better.
    pub(super) fn with_text(mut self, text: impl Display) -> Finding {
        self.text = printable(&text.to_string()).into_owned();
        self
    }
}

/// Judges a report and writes the findings into it.
pub(super) fn add(report: &mut DoctorReport) {
    (report.looked_at, report.unseen) = (super::scope::looked_at(report), super::scope::unseen(report));
    let mut findings = Vec::new();
    for check in CHECKS {
        check(report, &mut findings);
    }
    // Where it is and what cannot be seen from here is no reason to act.
    let is_of_place = |finding: &Finding| {
        finding.severity == Severity::Notice
            && ["file-system", "network-file-system", "confined"].contains(&finding.code)
    };
    if findings.iter().all(is_of_place) {
        findings.push(Finding::new(Code::NothingFound, report.looked_at.join(", "), "nothing to do"));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report.severity = findings[0].severity;
    report.next = findings[0].next.clone();
    report.findings = findings;
}

pub(super) use crate::error::count;

pub(super) type Findings = Vec<Finding>;

/// Who has the files open, with names.
pub(super) fn named_holders(report: &DoctorReport) -> String {
    named(report, &report.pids())
}

/// Processes with their names: "process 17 (python3)".
pub(super) fn named(report: &DoctorReport, pids: &[u32]) -> String {
    let name = |&pid: &u32| match report.holders.iter().find(|holder| holder.pid == pid) {
        Some(holder) => format!("{pid} ({})", holder.command),
        None => pid.to_string(),
    };
    let names: Vec<String> = pids.iter().map(name).collect();
    match names.len() {
        0 => "no visible process".to_owned(),
        1 => format!("process {}", names[0]),
        _ => format!("processes {}", names.join(", ")),
    }
}

/// The path of the database, quoted for a shell.
pub(super) fn quoted(report: &DoctorReport) -> String {
    quoted_path(&report.path)
}

/// A path, quoted for a shell.
pub(super) fn quoted_path(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

/// How to check the content without a false alarm.
pub(super) fn quick_check(report: &DoctorReport) -> String {
    if report.is_held() {
        return format!("run PRAGMA quick_check on the application's own connection ({})", named_holders(report));
    }
    let path = quoted(report);
    format!("no visible process has it open: copy {path} with its side files, and run PRAGMA quick_check on the copy")
}
