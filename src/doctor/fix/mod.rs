//! The repairs of the doctor: only what is lossless, and only on a database that no process has open.
//!
//! There are two things, and there will be no third without a proof that it loses nothing:
//!
//! - **Recover.** SQLite itself, alone with the database under its own exclusive lock, rolls back a hot journal and
//!   carries the log into the database, as the application's next open and last close would. Before anything is carried
//!   over, the pages are checked; if they do not pass, the log stays as it is.
//! - **Quarantine.** Side files of a database that is gone are renamed into a new folder beside it. Nothing is deleted.
//!
//! While it works, it holds the lock of first connects (`.init.lock`), which keeps out this crate's users on their way
//! in; all others are excluded by SQLite's lock. What [`examine`] finds dangerous is not touched.

use super::examine;
use super::findings::{Finding, Severity, named_holders};
use super::report::{DoctorReport, FileRole};
use crate::error::{Cause, Error, Operation, PrintablePath};
use crate::open::first_connect::lock_path;
use crate::os::{Os, SystemOs, beside};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many quarantine folders a database may have.
const QUARANTINES_MAX: u32 = 1000;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FixStep {
    /// Let SQLite roll back the journal and checkpoint the log.
    Recover {
        /// Whether there is a hot journal.
        rolls_back: bool,
        /// How many frames are carried into the database, at most.
        frames: u64,
    },
    /// Rename a side file into the quarantine folder.
    Quarantine {
        /// Which file.
        file: FileRole,
    },
}

impl fmt::Display for FixStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FixStep::Recover { rolls_back: true, .. } => {
                f.write_str("let SQLite roll back the interrupted transaction")
            }
            FixStep::Recover { frames: 0, .. } => {
                f.write_str("let SQLite open and close it, which clears its side files")
            }
            FixStep::Recover { frames, .. } => {
                write!(f, "let SQLite carry {frames} frames of the log into the database")
            }
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

/// What [`fix`] has come to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FixOutcome {
    /// What was to be done.
    pub plan: FixPlan,
    /// What was done, in words.
    pub done: Vec<String>,
    /// Why it went no further, with the failing step and SQLite's extended code where there is one.
    pub failure: Option<String>,
    /// The state before.
    pub before: DoctorReport,
    /// The state after; `None` if nothing was done.
    pub after: Option<DoctorReport>,
}

/// What [`fix`] would do about a report. Changes nothing.
pub fn plan(report: &DoctorReport) -> FixPlan {
    let steps = wanted(report);
    if steps.is_empty() {
        return FixPlan::default();
    }
    let refusals = refusals(report);
    if refusals.is_empty() { FixPlan { steps, refusals } } else { FixPlan { steps: Vec::new(), refusals } }
}

/// Examines the database, carries out what [`plan`] says, and examines it again.
///
/// # Errors
///
/// Those of [`examine`]. A step that fails is no error but told in [`FixOutcome::failure`]: what was done until then
/// stays.
pub fn fix(path: &Path) -> Result<FixOutcome, Error> {
    let os = SystemOs::new();
    let mut before = examine(path)?;
    let mut outcome =
        FixOutcome { plan: plan(&before), done: Vec::new(), failure: None, before: before.clone(), after: None };
    if outcome.plan.steps.is_empty() {
        return Ok(outcome);
    }
    let path = before.path.clone();
    let lock = lock_path(&path);
    let Some(held) = os.try_lock_file(&lock, &path).map_err(|error| failed(&path, Operation::FirstConnect, error))?
    else {
        outcome.plan = refused(format!("{} is held by {}", PrintablePath(&lock), told(os.lock_holder(&lock))));
        return Ok(outcome);
    };
    // What was seen before the lock may be over.
    before = examine(&path)?;
    outcome.plan = plan(&before);
    let result = carry_out(&before, &outcome.plan, &os, &mut outcome.done);
    outcome.failure = result.err().map(|error| error.to_string());
    outcome.before = before;
    // Without the database, and with all side files in quarantine, there is nothing left to look at.
    drop(held);
    outcome.after = examine(&path).ok();
    Ok(outcome)
}

fn refused(reason: String) -> FixPlan {
    FixPlan { steps: Vec::new(), refusals: vec![reason] }
}

fn told(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn failed(path: &Path, operation: Operation, error: io::Error) -> Error {
    Error::new(path, operation, Cause::Io(error))
}

fn wanted(report: &DoctorReport) -> Vec<FixStep> {
    if report.database.is_none() {
        let files = [
            (FileRole::Wal, report.wal.is_some()),
            (FileRole::WalIndex, report.wal_index.is_some()),
            (FileRole::Journal, report.journal.is_some()),
        ];
        let there = files.into_iter().filter(|(_, exists)| *exists);
        return there.map(|(file, _)| FixStep::Quarantine { file }).collect();
    }
    let rolls_back = report.journal.as_ref().is_some_and(|journal| journal.is_hot != Some(false));
    let has_log = report.wal.is_some() || report.wal_index.is_some();
    if rolls_back || has_log {
        return vec![FixStep::Recover { rolls_back, frames: report.pending.frames }];
    }
    Vec::new()
}

fn refusals(report: &DoctorReport) -> Vec<String> {
    let mut refusals = Vec::new();
    if report.is_held() {
        refusals.push(format!("it is open: {}", named_holders(report)));
    }
    let is_in_the_way = |finding: &&Finding| finding.severity == Severity::Danger || finding.code == "hard-links";
    for finding in report.findings.iter().filter(is_in_the_way) {
        if finding.code != "orphan-side-files" {
            refusals.push(format!("{} ({})", finding.text, finding.evidence));
        }
    }
    if report.file_system.as_ref().is_some_and(|system| system.is_network) {
        refusals.push("a network file system: others may use it unseen".to_owned());
    }
    // With a database, SQLite's lock tells for certain. Without one, the look at the processes has to be complete.
    if report.database.is_none() && !report.processes.is_complete() {
        let unreadable = report.processes.unreadable;
        refusals.push(format!(
            "not every process could be looked into ({unreadable} of other users, none outside of a container): run it \
             as root, on the host"
        ));
    }
    refusals.extend(report.notes.iter().cloned());
    refusals
}

fn carry_out(report: &DoctorReport, plan: &FixPlan, os: &SystemOs, done: &mut Vec<String>) -> Result<(), Error> {
    let mut quarantine = None;
    for step in &plan.steps {
        match step {
            FixStep::Recover { .. } => recover(report, done)?,
            FixStep::Quarantine { file } => {
                let from = file.path(&report.path);
                let folder = match &quarantine {
                    Some(folder) => folder,
                    None => quarantine.insert(
                        new_folder(&report.path, &from, os)
                            .map_err(|error| failed(&report.path, Operation::Resolve, error))?,
                    ),
                };
                let to = folder.join(from.file_name().unwrap_or_default());
                os.rename(&from, &to).map_err(|error| failed(&from, Operation::Resolve, error))?;
                done.push(format!("renamed {} to {}", PrintablePath(&from), PrintablePath(&to)));
            }
        }
    }
    Ok(())
}

/// A folder that was not there before: `<database>.quarantine-1` or a later number. Its rights are those of
/// the side file.
fn new_folder(path: &Path, side_file: &Path, os: &SystemOs) -> io::Result<PathBuf> {
    let rights = os.rights(side_file)?.ok_or(io::ErrorKind::NotFound)?;
    for number in 1..=QUARANTINES_MAX {
        let name = beside(path, &format!(".quarantine-{number}"));
        if fs::symlink_metadata(&name).is_err() {
            return os.create_dir(&name, rights).map(|()| name);
        }
    }
    Err(io::Error::other(format!("there are {QUARANTINES_MAX} quarantine folders already: clear some away")))
}

/// Recovery by SQLite, alone with the database.
fn recover(report: &DoctorReport, done: &mut Vec<String>) -> Result<(), Error> {
    let path = &report.path;
    let at = |operation| move |error| Error::sqlite(path, operation, error);
    let conn = open(path)?;
    // Until the pages have passed, closing leaves the log as it is.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(at(Operation::Configure))?;
    conn.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(())).map_err(at(Operation::Configure))?;
    // The exclusive lock: no other connection exists, whether or not /proc shows it. It stays until the close.
    conn.execute_batch("BEGIN EXCLUSIVE; SELECT count(*) FROM sqlite_schema; COMMIT").map_err(at(Operation::Begin))?;
    if report.journal.as_ref().is_some_and(|journal| journal.is_hot != Some(false)) {
        done.push("SQLite rolled back the interrupted transaction".to_owned());
    }
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(at(Operation::Read))?;
    if verdict != "ok" {
        return Err(failed(
            path,
            Operation::Read,
            io::Error::other(format!(
                "PRAGMA quick_check says: {verdict}; the log was left as it is, make a copy of all files"
            )),
        ));
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(at(Operation::Configure))?;
    if report.wal.is_some() {
        let (busy, frames, carried): (i64, i64, i64) = conn
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(at(Operation::Call))?;
        if busy != 0 || frames != carried {
            let what = format!("the checkpoint carried {carried} of {frames} frames over");
            return Err(failed(path, Operation::Call, io::Error::other(what)));
        }
        done.push(format!("SQLite carried {} frames of the log into the database", carried.max(0)));
    }
    conn.close().map_err(|(_, error)| Error::sqlite(path, Operation::Close, error))?;
    if report.wal_index.is_some() {
        // The exclusive connection kept its wal-index on its heap. One that uses the -shm removes it when it is the
        // last.
        let conn = open(path)?;
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(at(Operation::Read))?;
        conn.close().map_err(|(_, error)| Error::sqlite(path, Operation::Close, error))?;
    }
    done.push("SQLite closed the database and cleared its side files".to_owned());
    Ok(())
}

fn open(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| Error::sqlite(path, Operation::Open, error))?;
    conn.busy_timeout(Duration::ZERO).map_err(|error| Error::sqlite(path, Operation::Configure, error))?;
    Ok(conn)
}

#[cfg(test)]
mod tests;
