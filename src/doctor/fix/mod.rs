//! The repairs of the doctor: on copies, compared, and put in place only by the sole owner.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use seawall::doctor::fix::{FixOptions, Take, fix};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("notes.db");
//! # rusqlite::Connection::open(&path)?.execute_batch("CREATE TABLE note (text TEXT)")?;
//! let shown = fix(&path, &FixOptions::new().with_dry_run(true))?;
//! for outcome in &shown.outcomes {
//!     println!("{}: {} rows, {}", outcome.take, outcome.content.rows, outcome.content.integrity);
//! }
//! let outcome = fix(&path, &FixOptions::new().with_take(Take::Log))?;
//! assert!(outcome.plan.refusals.is_empty() && outcome.failure.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! There are two repairs:
//!
//! - **Choice.** A database with a log or a hot journal can become two things: the database alone, or what SQLite makes
//!   of both at the next open. Nothing in the files says for certain whether the log or the journal belongs to this
//!   state of the database. So both are built on copies and shown side by side, and unless they have the same content,
//!   the caller has to [choose](FixOptions::with_take). What is not taken is kept.
//! - **Quarantine.** Side files of a database that is gone are renamed into a new folder beside it.
//!
//! The files as they were are copied into a folder beside the database before anything else is done, and stay there.
//! While it works, it holds the lock of first connects (`.init.lock`), which keeps out this crate's users on their way
//! in, and SQLite's own locks, which keep out all others. What [`examine`] finds dangerous is not touched, unless the
//! choice settles it.

mod content;
mod outcome;
mod owner;
mod plan;
mod workspace;

pub use content::{Content, Soundness, TableContent};
pub use outcome::Outcome;
pub use plan::{FixPlan, FixStep};

use super::examine;
use super::report::{DoctorReport, FileRole};
use crate::error::{Cause, Error, Operation, PrintablePath};
use crate::open::first_connect::lock_path;
use crate::os::{Os, SystemOs};
use outcome::Outcomes;
use owner::SoleOwner;
use plan::Need;
use serde::Serialize;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use workspace::Workspace;

/// Which of two outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    /// The database file alone, without its log and without its journal.
    Alone,
    /// The database as SQLite would open it: with the log carried into it, with the journal rolled back. Of an empty
    /// file with a log, SQLite deletes the log; here the database is built from it.
    Log,
}

impl fmt::Display for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Take::Alone => "alone",
            Take::Log => "log",
        })
    }
}

/// How to repair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FixOptions {
    take: Option<Take>,
    is_dry_run: bool,
}

impl FixOptions {
    /// Repair, but choose nothing.
    pub fn new() -> FixOptions {
        FixOptions::default()
    }

    /// What to take where two outcomes are possible.
    pub fn with_take(self, take: Take) -> FixOptions {
        FixOptions { take: Some(take), ..self }
    }

    /// Whether to build the outcomes on copies, remove the copies, and change nothing. No lock is taken.
    pub fn with_dry_run(self, is_dry_run: bool) -> FixOptions {
        FixOptions { is_dry_run, ..self }
    }
}

/// What [`fix`] has come to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FixOutcome {
    /// Whether nothing was to be done.
    pub dry_run: bool,
    /// What was to be done.
    pub plan: FixPlan,
    /// The outcomes that are possible, as built on copies: none, or the database alone and the database with its log or
    /// journal.
    pub outcomes: Vec<Outcome>,
    /// What was taken.
    pub taken: Option<Take>,
    /// What was done, in words.
    pub done: Vec<String>,
    /// The folder with the files as they were.
    #[serde(serialize_with = "lossy")]
    pub kept: Option<PathBuf>,
    /// What is there now and was not before, in words.
    pub left: Vec<String>,
    /// Why it went no further, with the failing step and SQLite's extended code where there is one.
    pub failure: Option<String>,
    /// The state before.
    pub before: DoctorReport,
    /// The state after; `None` if nothing was done.
    pub after: Option<DoctorReport>,
}

/// Why it goes no further.
enum Stop {
    /// Nothing has been changed.
    Refused(String),
    /// A step has failed.
    Failed(Error),
}

impl Stop {
    fn io(path: &Path, error: io::Error) -> Stop {
        Stop::Failed(Error::new(path, Operation::Recover, Cause::Io(error)))
    }
}

/// What [`fix`] would refuse, and what it would do without building anything. Changes nothing.
pub fn plan(report: &DoctorReport) -> FixPlan {
    let need = plan::need(report);
    let refusals = if need.is_any() { plan::refusals(report, &need) } else { Vec::new() };
    let steps = match need {
        Need::Orphans(_) if refusals.is_empty() => plan::steps(report, Take::Alone),
        _ => Vec::new(),
    };
    FixPlan { steps, refusals }
}

/// Examines the database, repairs it, and examines it again.
///
/// # Errors
///
/// Those of [`examine`]. A refusal is told in [`FixPlan::refusals`], and then all files are as they were. A step that
/// fails is told in [`FixOutcome::failure`]; the files as they were are then in [`FixOutcome::kept`], if a change was
/// begun.
pub fn fix(path: &Path, options: &FixOptions) -> Result<FixOutcome, Error> {
    fix_on(path, options, &SystemOs::new())
}

fn fix_on(path: &Path, options: &FixOptions, os: &dyn Os) -> Result<FixOutcome, Error> {
    let mut repair = Repair::new(examine(path)?, *options, os);
    if !repair.is_called_for() {
        return Ok(repair.outcome);
    }
    if options.is_dry_run {
        let result = repair.preview();
        return Ok(repair.ended(result));
    }
    let path = repair.outcome.before.path.clone();
    let lock = lock_path(&path);
    let is_new = os.status(&lock).is_ok_and(|status| status.is_none());
    let locked = match os.try_lock_file(&lock, &path) {
        Ok(locked) => locked,
        Err(error) => {
            let why = format!("{} cannot be locked ({error}): run it as the owner of the files", PrintablePath(&lock));
            repair.outcome.plan = FixPlan::refused(why);
            return Ok(repair.outcome);
        }
    };
    let Some(held) = locked else {
        let holder = os.lock_holder(&lock).map_or("another process".to_owned(), |pid| format!("process {pid}"));
        repair.outcome.plan = FixPlan::refused(format!("{} is held by {holder}", PrintablePath(&lock)));
        return Ok(repair.outcome);
    };
    // What was seen before the lock may be over.
    repair = Repair::new(examine(&path)?, *options, os);
    if is_new {
        let what = "the lock of first connects, an empty file that this crate's users share";
        repair.outcome.left.push(format!("{}, {what}", PrintablePath(&lock)));
    }
    if !repair.is_called_for() {
        return Ok(repair.outcome);
    }
    let result = repair.carry_out();
    let mut outcome = repair.ended(result);
    drop(held);
    if !outcome.done.is_empty() {
        // Without the database, and with all side files in quarantine, there is nothing left to look at.
        outcome.after = examine(&path).ok();
    }
    Ok(outcome)
}

/// A repair in progress.
struct Repair<'a> {
    options: FixOptions,
    need: Need,
    outcome: FixOutcome,
    os: &'a dyn Os,
}

impl<'a> Repair<'a> {
    fn new(before: DoctorReport, options: FixOptions, os: &'a dyn Os) -> Repair<'a> {
        let need = plan::need(&before);
        let (plan, dry_run) = (FixPlan::default(), options.is_dry_run);
        let outcome = FixOutcome {
            dry_run,
            plan,
            outcomes: Vec::new(),
            taken: None,
            done: Vec::new(),
            kept: None,
            left: Vec::new(),
            failure: None,
            before,
            after: None,
        };
        Repair { options, need, outcome, os }
    }

    /// Whether there is something to do and nothing against it. If there is, the plan says so.
    fn is_called_for(&mut self) -> bool {
        self.outcome.plan = plan(&self.outcome.before);
        if self.options.take == Some(Take::Log) && matches!(self.need, Need::Orphans(_)) && self.need.is_any() {
            let why = "--take log: there is no database; what can be done is to rename the side files, without --take";
            self.outcome.plan = FixPlan::refused(why.to_owned());
        }
        self.need.is_any() && self.outcome.plan.refusals.is_empty()
    }

    fn ended(mut self, result: Result<(), Stop>) -> FixOutcome {
        match result {
            Ok(()) => {}
            Err(Stop::Refused(reason)) => self.outcome.plan = FixPlan::refused(reason),
            Err(Stop::Failed(error)) => self.outcome.failure = Some(error.without_advice()),
        }
        self.outcome
    }

    fn preview(&mut self) -> Result<(), Stop> {
        let before = self.outcome.before.clone();
        if let Need::Orphans(_) = self.need {
            return Ok(());
        }
        let mut workspace = self.workspace(1)?;
        let from = |_: &Workspace<'_>, role: FileRole| role.path(&before.path);
        let outcomes = outcome::build(&before, &mut workspace, &from, self.os);
        workspace.remove();
        self.require_unchanged()?;
        self.choose(&outcomes?).map(drop)
    }

    fn carry_out(&mut self) -> Result<(), Stop> {
        if let Need::Orphans(files) = &self.need {
            let outcome = &mut self.outcome;
            let folder = quarantine(&outcome.before.path, files, &mut outcome.done, self.os)?;
            outcome.left.extend(folder.map(|folder| format!("{}, the side files", PrintablePath(&folder))));
            return Ok(());
        }
        let before = self.outcome.before.clone();
        let mut owner = SoleOwner::become_of(&before.path, self.os)?;
        self.require_unchanged()?;
        let mut workspace = self.workspace(2)?;
        let taken = self.keep(&mut workspace).and_then(|()| {
            let from = |workspace: &Workspace<'_>, role: FileRole| workspace.kept(role);
            let outcomes = outcome::build(&before, &mut workspace, &from, self.os)?;
            workspace.sync().map_err(|error| Stop::io(&before.path, error))?;
            self.choose(&outcomes)
        });
        let take = match taken {
            Ok(take) => take,
            Err(stop) => {
                workspace.remove();
                return Err(stop);
            }
        };
        match owner.put_in_place(take, &workspace, &mut self.outcome.done) {
            Err(Stop::Refused(reason)) => {
                workspace.remove();
                self.outcome.done.clear();
                Err(Stop::Refused(reason))
            }
            result => {
                let folder = workspace.close();
                self.outcome.left.push(format!("{}, the files as they were", PrintablePath(&folder)));
                self.outcome.kept = Some(folder);
                self.outcome.taken = result.is_ok().then_some(take);
                result
            }
        }
    }

    fn workspace(&self, copies: u64) -> Result<Workspace<'a>, Stop> {
        let report = &self.outcome.before;
        let path = &report.path;
        let files = [FileRole::Database, FileRole::Wal, FileRole::Journal].map(|role| role.path(path));
        let page_bytes = report.wal.as_ref().and_then(|wal| wal.header.as_ref()).map_or(0, |header| header.page_bytes);
        let growth = report.wal.as_ref().map_or(0, |wal| wal.committed_frames).saturating_mul(page_bytes.into());
        if let Some(reason) = workspace::lack_of_room(path, &files, copies, growth, self.os) {
            return Err(Stop::Refused(reason));
        }
        let rights = self.os.rights(path).and_then(|rights| rights.ok_or(io::ErrorKind::NotFound.into()));
        let made = rights.and_then(|rights| Workspace::create(path, rights, self.os));
        made.map_err(|error| {
            let why = "no folder for copies can be made beside the database";
            Stop::Refused(format!("{why} ({error}): copy all files elsewhere and run it there"))
        })
    }

    /// Copies the files as they are.
    fn keep(&self, workspace: &mut Workspace<'_>) -> Result<(), Stop> {
        let path = &self.outcome.before.path;
        let failed = |error: io::Error| Stop::io(path, error);
        for role in [FileRole::Database, FileRole::Wal, FileRole::Journal] {
            let from = role.path(path);
            if self.os.status(&from).map_err(failed)?.is_some() {
                let to = workspace.kept(role);
                workspace.copy(&from, &to, 0).map_err(failed)?;
            }
        }
        if let Some(from) = plan::super_journal(&self.outcome.before) {
            let to = workspace.kept_beside(from);
            workspace.copy(from, &to, 0).map_err(failed)?;
        }
        workspace.sync().map_err(failed)?;
        self.require_unchanged()
    }

    /// Checks that the files are those of the examination, and as long.
    fn require_unchanged(&self) -> Result<(), Stop> {
        let report = &self.outcome.before;
        let expected = [
            (FileRole::Database, report.database.as_ref().map(|database| database.bytes)),
            (FileRole::Wal, report.wal.as_ref().map(|wal| wal.bytes)),
            (FileRole::Journal, report.journal.as_ref().map(|journal| journal.bytes)),
        ];
        for (role, bytes) in expected {
            let path = role.path(&report.path);
            let found = self.os.status(&path).map_err(|error| Stop::io(&path, error))?;
            let is_same_inode = role != FileRole::Database
                || found.map(|found| found.id.inode) == report.database.as_ref().map(|database| database.inode);
            if found.map(|found| found.bytes) != bytes || !is_same_inode {
                return Err(Stop::Refused(format!("the {role} has changed meanwhile: another process is at work")));
            }
        }
        Ok(())
    }

    /// Writes the outcomes and the plan down. Says what is to be taken, or why nothing is.
    fn choose(&mut self, outcomes: &Outcomes) -> Result<Take, Stop> {
        self.outcome.outcomes = vec![outcomes.alone.clone(), outcomes.log.clone()];
        let take = match self.options.take {
            Some(take) => take,
            None if outcomes.are_equal() => Take::Alone,
            None => {
                let why = "two outcomes are possible, and nothing in the files says which one is right: compare them, and \
                           choose with --take alone or --take log";
                return Err(Stop::Refused(why.to_owned()));
            }
        };
        if let Some(objection) = outcomes.objection(take) {
            return Err(Stop::Refused(objection));
        }
        self.outcome.plan.steps = plan::steps(&self.outcome.before, take);
        Ok(take)
    }
}

/// Renames side files without a database into a folder.
fn quarantine(path: &Path, files: &[FileRole], done: &mut Vec<String>, os: &dyn Os) -> Result<Option<PathBuf>, Stop> {
    let mut folder = None;
    for file in files {
        let from = file.path(path);
        let failed = |error: io::Error| Stop::io(&from, error);
        let folder = match &folder {
            Some(folder) => folder,
            None => {
                let rights = os.rights(&from).map_err(failed)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
                folder.insert(workspace::new_folder(path, ".quarantine", rights, os).map_err(failed)?)
            }
        };
        let to = folder.join(from.file_name().unwrap_or_default());
        os.rename(&from, &to).map_err(failed)?;
        done.push(format!("renamed {} to {}", PrintablePath(&from), PrintablePath(&to)));
    }
    Ok(folder)
}

/// Paths that are no Unicode lose what is not; JSON has no way to say it.
fn lossy<S: serde::Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(serializer)
}

#[cfg(test)]
mod tests;
