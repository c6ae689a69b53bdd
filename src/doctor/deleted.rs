//! Logs without a name that processes go on to write to, and whether anything else has written to the database since.
//!
//! That decides about the advice, and the wrong one destroys commits. So without proof that nothing has written, it is
//! taken for granted that something has.

use super::holders::{Holder, OtherLog};
use super::report::FileRole;
use super::wal::Wal;
use crate::os::{Os, SystemOs};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The clock of a file system goes in steps, and two names are deleted one after the other.
const TICK: Duration = Duration::from_millis(50);

/// A log without a name, open in a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeletedLog {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub command: String,
    /// Its descriptor of the log, as in `/proc/PID/fd`.
    pub descriptor: u32,
    /// Length of the log.
    pub bytes: u64,
    /// Committed frames in it.
    pub committed_frames: u64,
    /// Transactions in it.
    pub commits: u64,
    /// Whether another process has written to the database since, or it cannot be excluded.
    pub others_wrote: bool,
    /// What says so.
    pub reason: String,
}

/// The logs without a name that the holders have open.
pub(super) fn scan(path: &Path, holders: &[Holder], others: &[OtherLog], os: &SystemOs) -> Vec<DeletedLog> {
    let by_role = holders.iter().filter(|holder| holder.role == FileRole::Wal && holder.deleted);
    let by_role = by_role.map(|holder| (holder.pid, &holder.command, holder.descriptor));
    let by_name = others.iter().filter(|log| log.is_deleted).map(|log| (log.pid, &log.command, log.descriptor));
    let mut logs: Vec<DeletedLog> = Vec::new();
    let mut files = BTreeSet::new();
    for (pid, command, descriptor) in by_role.chain(by_name) {
        let file = PathBuf::from(format!("/proc/{pid}/fd/{descriptor}"));
        files.extend(os.status(&file).ok().flatten().map(|status| (status.id.device, status.id.inode)));
        // The log may have just been closed.
        let Ok(Some(wal)) = Wal::read(&file) else { continue };
        let is_database_lost =
            holders.iter().any(|holder| holder.pid == pid && holder.role == FileRole::Database && holder.deleted);
        let reason = if is_database_lost {
            Some("the database that it belongs to has no name any more either".to_owned())
        } else {
            written(path, &file, os)
        };
        logs.push(DeletedLog {
            pid,
            command: command.clone(),
            descriptor,
            bytes: wal.bytes,
            committed_frames: wal.committed_frames,
            commits: wal.commits,
            others_wrote: reason.is_some(),
            reason: reason.unwrap_or_else(|| "the database was not changed since, and there is no new -wal".to_owned()),
        });
    }
    if files.len() > 1 {
        // Each was written to by processes that the others do not see.
        for log in logs.iter_mut().filter(|log| !log.others_wrote) {
            log.others_wrote = true;
            log.reason = "a process has another log without a name".to_owned();
        }
    }
    logs
}

/// What says that another process has written to the database since the log was deleted, or that it may have; `None`
/// if there is proof that none has.
fn written(path: &Path, log: &Path, os: &SystemOs) -> Option<String> {
    if let Ok(Some(new)) = os.status(&FileRole::Wal.path(path)) {
        return Some(format!("there is a new -wal of {} bytes", new.bytes));
    }
    let unknown = || Some("it cannot be told whether another process has written since".to_owned());
    let Ok(Some(database)) = os.status(path) else { return unknown() };
    let Ok(Some(old)) = os.status(log) else { return unknown() };
    // Nothing was written to the database since there is this log, so nothing but this log has commits.
    if os.born(log).is_some_and(|born| database.modified <= born + TICK) {
        return None;
    }
    let directory = path.parent().and_then(|directory| os.status(directory).ok().flatten());
    let (Some(directory), Some(deleted)) = (directory, os.changed(log)) else { return unknown() };
    // If the log was not written to since it was deleted, its last change is that. Another user of the database would
    // have changed the directory after that, by a -wal of its own.
    let is_untouched = old.modified + Duration::from_millis(1) < deleted;
    if is_untouched && directory.modified <= deleted + TICK && database.modified <= deleted + TICK {
        return None;
    }
    if is_untouched && database.modified > deleted + TICK {
        return Some("the database was changed after the log was deleted".to_owned());
    }
    Some("the database was changed after the log was made, and it cannot be told by which process".to_owned())
}
