//! The possible outcomes, built on copies and compared: the database alone, and the database with its log or journal as
//! SQLite would open it.

use super::super::report::{DoctorReport, FileRole};
use super::content::{Content, Soundness};
use super::plan::super_journal;
use super::workspace::Workspace;
use super::{Stop, Take};
use crate::error::classify::primary;
use crate::error::{Error, Operation, count, describe, extended_code};
use crate::os::{Os, beside};
use crate::quarantine::keep_log;
use rusqlite::config::DbConfig;
use rusqlite::ffi::SQLITE_CORRUPT;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a super-journal's name has around it at the end of a journal: a page number before, and length, checksum and
/// magic behind.
const SUPER_AROUND_BYTES: u64 = 20;
/// How long one process can be in the way of a copy that no other process knows of.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// What the database would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// How it comes about.
    pub take: Take,
    /// When the newest change in it was made, in seconds since 1970, as far as the times of the files tell.
    pub changed_unix_s: Option<u64>,
    /// What it contains.
    #[serde(flatten)]
    pub content: Content,
}

/// Both outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) alone: Outcome,
    pub(super) log: Outcome,
}

impl Outcomes {
    /// Whether it makes no difference which one is taken.
    pub(super) fn are_equal(&self) -> bool {
        let is_sound = |outcome: &Outcome| outcome.content.soundness == Soundness::Sound;
        is_sound(&self.alone) && is_sound(&self.log) && self.alone.content.is_same_as(&self.log.content)
    }

    pub(super) fn get(&self, take: Take) -> &Outcome {
        match take {
            Take::Alone => &self.alone,
            Take::Log => &self.log,
        }
    }

    /// Why one of them must not be taken.
    pub(super) fn objection(&self, take: Take) -> Option<String> {
        let other = self.get(if take == Take::Alone { Take::Log } else { Take::Alone });
        let Content { soundness, integrity, .. } = &self.get(take).content;
        match soundness {
            Soundness::Sound => None,
            Soundness::OutOfStep if other.content.soundness != Soundness::Sound => None,
            Soundness::OutOfStep => Some(format!(
                "--take {take}: integrity_check says of the copy: {integrity}; it has no complaint about the other outcome"
            )),
            Soundness::Damaged => Some(format!("--take {take}: it is damaged: {integrity}")),
            Soundness::Unknown => Some(format!("--take {take}: the copy could not be checked here: {integrity}")),
        }
    }
}

/// Builds both outcomes on copies of what `source` names. What is left in the workspace is the outcome with the log.
pub(super) fn build(
    report: &DoctorReport,
    workspace: &mut Workspace<'_>,
    source: &dyn Fn(&Workspace<'_>, FileRole) -> PathBuf,
    os: &dyn Os,
) -> Result<Outcomes, Stop> {
    let path = &report.path;
    let failed = |error: io::Error| Stop::io(path, error);
    let database = workspace.work(FileRole::Database);
    let times = Times::of(report, os);
    workspace.copy(&source(workspace, FileRole::Database), &database, 0).map_err(failed)?;
    let alone = content_of(&database);
    let alone = Outcome { take: Take::Alone, changed_unix_s: times.database, content: alone };

    if let (Some(0), Some(wal)) = (report.database.as_ref().map(|database| database.bytes), &report.wal)
        && let Some(header) = &wal.header
    {
        // SQLite deletes the log of an empty file. One page without content lets it read the log instead.
        os.overwrite(&database, &vec![0; header.page_bytes as usize]).map_err(failed)?;
    }
    for role in [FileRole::Wal, FileRole::Journal] {
        let (from, to) = (source(workspace, role), workspace.work(role));
        if os.status(&from).map_err(failed)?.is_some() {
            // The copy must not lead SQLite to the super-journal: it would delete one that seems to have served.
            let name_bytes = super_journal(report).map(|name| name.as_os_str().len() as u64 + SUPER_AROUND_BYTES);
            let cut_bytes = if role == FileRole::Journal { name_bytes.unwrap_or(0) } else { 0 };
            workspace.copy(&from, &to, cut_bytes).map_err(failed)?;
        }
    }
    let log = recover(&database, &content_of)?;
    for role in [FileRole::Wal, FileRole::Journal] {
        let left = workspace.work(role);
        if log.soundness == Soundness::Sound && os.status(&left).map_err(failed)?.is_some_and(|file| file.bytes > 0) {
            return Err(Stop::io(path, io::Error::other(format!("SQLite has left a {role} beside the copy"))));
        }
    }
    let log = Outcome { take: Take::Log, changed_unix_s: times.with_log, content: log };
    Ok(Outcomes { alone, log })
}

/// Lets SQLite recover a copy, and compares what it contains with the log and, after the checkpoint, without. What it
/// has without is read by `reopened`.
fn recover(copy: &Path, reopened: &dyn Fn(&Path) -> Content) -> Result<Content, Stop> {
    let at = |operation| move |error| Stop::Failed(Error::sqlite(copy, operation, error));
    let conn = match open(copy) {
        Ok(conn) => conn,
        Err(error) => return Ok(Content::unreadable(describe(&error))),
    };
    // Until the pages have passed, closing leaves the log as it is.
    keep_log(&conn).map_err(at(Operation::Configure))?;
    let before = Content::of(&conn);
    if !matches!(before.soundness, Soundness::Sound | Soundness::OutOfStep) {
        return Ok(before);
    }
    let answer = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (busy, frames, carried) = match conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], answer) {
        Ok(answer) => answer,
        // A log that ends far behind the end of the file can be read, and not carried over.
        Err(error) if extended_code(&error).is_some_and(|code| primary(code) == SQLITE_CORRUPT) => {
            let integrity = format!("the checkpoint says {}", describe(&error));
            return Ok(Content { soundness: Soundness::Damaged, integrity, ..before });
        }
        Err(error) => return Err(at(Operation::Checkpoint)(error)),
    };
    if busy != 0 || frames != carried {
        let what = format!("the checkpoint carried over {carried} of {}", count(frames.unsigned_abs(), "frame"));
        return Err(Stop::io(copy, io::Error::other(what)));
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(at(Operation::Configure))?;
    conn.close().map_err(|(_, error)| at(Operation::Close)(error))?;
    let after = reopened(copy);
    if !after.is_same_as(&before) || after.pages != before.pages {
        return Err(Stop::io(copy, io::Error::other("the copy has other rows after the checkpoint than before")));
    }
    Ok(after)
}

fn content_of(copy: &Path) -> Content {
    open(copy).map_or_else(|error| Content::unreadable(describe(&error)), |conn| Content::of(&conn))
}

fn open(copy: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(copy, flags)?;
    conn.busy_timeout(BUSY_MAX)?;
    // The schema comes from a file that may be anyone's.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(conn)
}

/// When the outcomes were last changed, in seconds since 1970.
struct Times {
    database: Option<u64>,
    with_log: Option<u64>,
}

impl Times {
    fn of(report: &DoctorReport, os: &dyn Os) -> Times {
        let modified = |role: FileRole| os.modified(&role.path(&report.path)).ok().map(|time| time.as_secs());
        let database = modified(FileRole::Database);
        let is_rolled_back = report.journal.as_ref().is_some_and(|journal| journal.is_hot != Some(false));
        // A rollback goes back to when the transaction began and its journal was created.
        let begun = os.born(&beside(&report.path, "-journal")).map(|time| time.as_secs());
        let with_log = if is_rolled_back { begun } else { database.max(modified(FileRole::Wal)) };
        Times { database, with_log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No checkpoint of SQLite is known to lose a row; so one is taken away before the second look.
    #[test]
    fn rows_that_are_gone_after_the_checkpoint_stop_the_repair() {
        for (sql, is_same) in [("", true), ("DELETE FROM t WHERE x = 1", false), ("PRAGMA user_version = 3", false)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.db");
            let conn = Connection::open(&path).unwrap();
            conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)").unwrap();
            let copy = dir.path().join("copy.db");
            std::fs::copy(&path, &copy).unwrap();
            std::fs::copy(dir.path().join("x.db-wal"), dir.path().join("copy.db-wal")).unwrap();
            let recovered = recover(&copy, &|copy| {
                Connection::open(copy).unwrap().execute_batch(sql).unwrap();
                content_of(copy)
            });
            match recovered {
                Ok(content) => assert!(is_same && content.rows == 2, "{sql}: {content:?}"),
                Err(Stop::Failed(error)) => assert!(!is_same && error.to_string().contains("other rows"), "{error}"),
                Err(Stop::Refused(reason)) => panic!("{sql}: {reason}"),
            }
        }
    }
}
