//! What a report calls for, and what forbids it. Changes nothing.

use super::super::findings::{Finding, Severity, named_holders};
use super::super::journal::Journal;
use super::super::report::{DoctorReport, FileRole};
use super::Take;
use crate::error::count;
use serde::Serialize;
use std::fmt;

/// Findings of severity danger that a choice between the outcomes settles. All others forbid a repair.
const SETTLED_BY_CHOICE: [&str; 5] =
    ["foreign-log", "foreign-journal", "hot-journal", "pending-frames", "wal-beside-empty-database"];
/// What a folder for side files without a database settles.
const SETTLED_BY_FOLDER: &str = "orphan-side-files";

/// However bad they are, these forbid a repair: another name of the file may be in use, or SQLite cannot read it.
const FORBIDDING: [&str; 2] = ["second-log", "no-header"];

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FixStep {
    /// Let SQLite recover a copy, and give the copy the name of the database.
    Recover {
        /// Whether there is a hot journal.
        rolls_back: bool,
        /// How many frames of the log are carried into it, at most.
        frames: u64,
    },
    /// Rename a side file into the folder of the files as they were.
    SetAside {
        /// Which file.
        file: FileRole,
    },
    /// Rename a side file without a database into a folder beside it.
    Quarantine {
        /// Which file.
        file: FileRole,
    },
}

impl fmt::Display for FixStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FixStep::Recover { rolls_back: true, .. } => f.write_str(
                "let SQLite roll back the interrupted transaction on a copy, and put the copy in the place of the database",
            ),
            FixStep::Recover { frames, .. } => write!(
                f,
                "let SQLite carry {} of the log into a copy, and put the copy in the place of the database",
                count(*frames, "frame")
            ),
            FixStep::SetAside { file } => write!(f, "rename the {file} into a folder beside it"),
            FixStep::Quarantine { file } => write!(f, "rename the {file} into a quarantine folder beside it"),
        }
    }
}

/// What would be done, or why nothing would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FixPlan {
    /// What to do; empty if there is nothing to do, or it is refused.
    pub steps: Vec<FixStep>,
    /// Why nothing is done.
    pub refusals: Vec<String>,
}

impl FixPlan {
    pub(super) fn refused(reason: String) -> FixPlan {
        FixPlan { steps: Vec::new(), refusals: vec![reason] }
    }
}

/// What kind of repair there is for a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// There is nothing to repair.
    Nothing,
    /// Side files are there and no database.
    Orphans(Vec<FileRole>),
    /// The database with its log or journal, or without.
    Choice { rolls_back: bool, frames: u64 },
}

impl Need {
    pub(super) fn is_any(&self) -> bool {
        match self {
            Need::Nothing => false,
            Need::Orphans(files) => !files.is_empty(),
            Need::Choice { .. } => true,
        }
    }
}

pub(super) fn need(report: &DoctorReport) -> Need {
    if report.database.is_none() {
        let files = [
            (FileRole::Wal, report.wal.is_some()),
            (FileRole::WalIndex, report.wal_index.is_some()),
            (FileRole::Journal, report.journal.is_some()),
        ];
        return Need::Orphans(files.into_iter().filter(|(_, exists)| *exists).map(|(file, _)| file).collect());
    }
    let rolls_back = report.journal.as_ref().is_some_and(|journal| journal.is_hot != Some(false));
    let frames = report.wal.as_ref().map_or(0, |wal| wal.committed_frames);
    if rolls_back || frames > 0 { Need::Choice { rolls_back, frames } } else { Need::Nothing }
}

/// The steps to an outcome.
pub(super) fn steps(report: &DoctorReport, take: Take) -> Vec<FixStep> {
    let set_aside = |file| FixStep::SetAside { file };
    let wal = report.wal.as_ref().map(|_| set_aside(FileRole::Wal));
    let journal = report.journal.as_ref().map(|_| set_aside(FileRole::Journal));
    match need(report) {
        Need::Nothing => Vec::new(),
        Need::Orphans(files) => files.into_iter().map(|file| FixStep::Quarantine { file }).collect(),
        Need::Choice { rolls_back, frames } => {
            let recover = (take == Take::Log).then_some(FixStep::Recover { rolls_back, frames });
            [recover, wal, journal].into_iter().flatten().collect()
        }
    }
}

/// Why nothing may be done, whatever the caller chooses.
pub(super) fn refusals(report: &DoctorReport, need: &Need) -> Vec<String> {
    let mut refusals = Vec::new();
    if report.is_held() {
        refusals.push(format!("it is open: {}", named_holders(report)));
    }
    if let Some(database) = report.database.as_ref().filter(|database| database.links > 1) {
        let names = database.links;
        refusals.push(format!("it has {names} names, and a repair would change one of them: remove the others first"));
    }
    let is_settled = |finding: &Finding| match need {
        Need::Orphans(_) => finding.code == SETTLED_BY_FOLDER,
        _ => SETTLED_BY_CHOICE.contains(&finding.code),
    };
    let forbids = |finding: &Finding| finding.severity == Severity::Danger || FORBIDDING.contains(&finding.code);
    let forbidding = report.findings.iter().filter(|finding| forbids(finding) && !is_settled(finding));
    refusals.extend(forbidding.map(|finding| format!("{} ({})", finding.text, finding.evidence)));
    if report.file_system.as_ref().is_some_and(|system| system.is_network) {
        refusals.push("a network file system: others may use it unseen".to_owned());
    }
    if !report.processes.is_complete() && !is_locked_by_each_connection(report) {
        let unreadable = report.processes.unreadable;
        refusals.push(format!(
            "not every process could be looked into ({unreadable} of other users, none outside of a container), and a \
             process may have it open without a lock: run it as root, on the host"
        ));
    }
    refusals.extend(report.notes.iter().cloned());
    refusals
}

/// In WAL mode each connection has a lock for as long as it exists, so a lock of ours proves that there is none. In the
/// other modes a connection has no lock between two transactions.
fn is_locked_by_each_connection(report: &DoctorReport) -> bool {
    report.header().is_some_and(|header| header.is_wal())
}

/// The super-journal of a transaction over several databases that SQLite would look for, if it is there.
pub(super) fn super_journal(report: &DoctorReport) -> Option<&std::path::Path> {
    let of = |journal: &'_ Journal| journal.super_journal.as_ref().is_some_and(|of| of.exists);
    let journal = report.journal.as_ref().filter(|journal| of(journal))?;
    journal.super_journal.as_ref().map(|of| of.path.as_path())
}
