//! The result of an examination, as data. Field names and words are stable: they are what `--json` prints.

use super::deleted::DeletedLog;
use super::findings::{Finding, Severity};
use super::header::Header;
use super::holders::{Holder, HolderProcess, OtherLog, Processes, lossy};
use super::journal::Journal;
use super::locks::Lock;
use super::observe::Evidence;
use super::wal::Wal;
use super::wal_index::WalIndex;
use crate::open::first_connect::lock_path;
use crate::os::{FileSystem, beside};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a file is to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "&'static str")]
pub enum FileRole {
    /// The database itself.
    Database,
    /// `-wal`: the log.
    Wal,
    /// `-shm`: the wal-index.
    WalIndex,
    /// `-journal`: the rollback journal.
    Journal,
    /// `.init.lock`: what this crate serialises first connects with.
    InitLock,
}

impl FileRole {
    /// Every role.
    pub(super) const ALL: [FileRole; 5] =
        [FileRole::Database, FileRole::Wal, FileRole::WalIndex, FileRole::Journal, FileRole::InitLock];
    /// SQLite's side files.
    pub(super) const SIDE_FILES: [FileRole; 3] = [FileRole::Wal, FileRole::WalIndex, FileRole::Journal];

    /// The word for it: `db`, `wal`, `shm`, `journal`, `init-lock`.
    pub fn word(self) -> &'static str {
        match self {
            FileRole::Database => "db",
            FileRole::Wal => "wal",
            FileRole::WalIndex => "shm",
            FileRole::Journal => "journal",
            FileRole::InitLock => "init-lock",
        }
    }

    /// The path of that file of a database.
    pub fn path(self, database: &Path) -> PathBuf {
        match self {
            FileRole::Database => database.to_owned(),
            FileRole::Wal => beside(database, "-wal"),
            FileRole::WalIndex => beside(database, "-shm"),
            FileRole::Journal => beside(database, "-journal"),
            FileRole::InitLock => lock_path(database),
        }
    }
}

impl From<FileRole> for &'static str {
    fn from(role: FileRole) -> &'static str {
        role.word()
    }
}

impl fmt::Display for FileRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What [`examine`](super::examine) found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DoctorReport {
    /// The version of the form of this report.
    pub schema: u32,
    /// The database: absolute, without symbolic links.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The worst of the findings.
    pub severity: Severity,
    /// The next step that the worst finding calls for.
    pub next: String,
    /// What was found, worst first; never empty.
    pub findings: Vec<Finding>,
    /// The version of the SQLite that this program is linked with. It had no part in the examination.
    pub sqlite: String,
    /// The file system, where it is known.
    pub file_system: Option<FileSystem>,
    /// The database file; `None` if there is none.
    pub database: Option<DatabaseFile>,
    /// The journal mode.
    pub journal_mode: JournalModes,
    /// The `-wal`, if there is one.
    pub wal: Option<Wal>,
    /// The `-shm`, if there is one.
    pub wal_index: Option<WalIndexFile>,
    /// What the log has and the database has not.
    pub pending: PendingFrames,
    /// The `-journal`, if there is one.
    pub journal: Option<Journal>,
    /// Who has which of the files open.
    pub holders: Vec<Holder>,
    /// What is known of the processes among them.
    pub holder_processes: Vec<HolderProcess>,
    /// Processes that use the database in WAL mode and hold no lock on it.
    pub lockless: Vec<u32>,
    /// Logs at other names that holders of the database have open.
    pub other_logs: Vec<OtherLog>,
    /// Logs without a name that processes have open.
    pub deleted_logs: Vec<DeletedLog>,
    /// How far the look at the processes went.
    pub processes: Processes,
    /// Who holds which lock; `None` where the system does not show locks.
    pub locks: Option<Vec<Lock>>,
    /// Copies beside the database.
    pub copies: BackupFiles,
    /// What could not be read, and why.
    pub notes: Vec<String>,
    /// What was looked at, in words.
    pub looked_at: Vec<String>,
    /// What could not be seen from here, in words.
    pub unseen: Vec<String>,
    #[serde(skip)]
    pub(super) evidence: Evidence,
}

/// The database file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DatabaseFile {
    /// Its length.
    pub bytes: u64,
    /// How many names it has.
    pub links: u64,
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Its header; `None` if there is none or it could not be read.
    pub header: Option<Header>,
    /// Whether the beginning of the file could be read.
    pub is_readable: bool,
}

/// What the file asks for, and what is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalModes {
    /// What the header says: `wal` or `rollback`. `None` without a header.
    pub configured: Option<&'static str>,
    /// What the side files and locks show: `wal`; `wal-exclusive` (one process, with the wal-index on its heap);
    /// `wal-idle` (no connection has begun); `rollback`, `persist`, `truncate` (by what the last transaction left
    /// behind); `unknown`.
    pub effective: &'static str,
}

/// The `-shm` file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalIndexFile {
    /// Its length.
    pub bytes: u64,
    /// What it says; `None` if it is not initialised, was being written, is damaged or could not be read.
    pub content: Option<WalIndex>,
    /// Whether a process uses it. If not it is a leftover and means nothing: SQLite builds it anew.
    pub is_live: bool,
    /// Whether it fits the log; `None` if that cannot be told, or means nothing.
    pub agrees: Option<bool>,
}

/// Frames that are committed and not yet checkpointed: data that is in the `-wal` and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PendingFrames {
    /// How many.
    pub frames: u64,
    /// Whether it is the number itself; else there are at most that many, since nothing tells how far the last
    /// checkpoint came.
    pub is_exact: bool,
}

/// Files beside the database that are named after it and are none of its side files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackupFiles {
    /// How many.
    pub count: u64,
    /// Their length together.
    pub bytes: u64,
}

impl DoctorReport {
    /// The processes that have the database or a side file open, or a lock on it, in order. Who only holds the lock of
    /// first connects is not among them.
    pub fn pids(&self) -> Vec<u32> {
        let of_locks = self.database_locks().filter_map(|lock| lock.pid);
        let mut pids: Vec<u32> = self.database_holders().map(|holder| holder.pid).chain(of_locks).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether a process has the database or a side file open, or a lock on it, as far as it can be seen. A lock of a
    /// process that cannot be seen counts.
    pub fn is_held(&self) -> bool {
        self.database_holders().next().is_some()
            || self.database_locks().next().is_some()
            || !self.evidence.unseen_locks.is_empty()
    }

    fn database_holders(&self) -> impl Iterator<Item = &Holder> {
        self.holders.iter().filter(|holder| holder.role != FileRole::InitLock)
    }

    fn database_locks(&self) -> impl Iterator<Item = &Lock> {
        self.locks.iter().flatten().filter(|lock| lock.role != FileRole::InitLock)
    }

    /// The database's header, if it has one.
    pub fn header(&self) -> Option<&Header> {
        self.database.as_ref()?.header.as_ref()
    }

    /// The findings that call for action.
    pub(super) fn alarms(&self) -> Vec<&'static str> {
        let alarms = self.findings.iter().filter(|finding| finding.severity >= Severity::Warning);
        alarms.map(|finding| finding.code).collect()
    }

    /// Who holds a lock: the processes' ids.
    pub(super) fn lock_owners(&self, role: FileRole, name: &str) -> Vec<u32> {
        let locks = self.locks.iter().flatten().filter(|lock| lock.holds(role, name));
        locks.map(|lock| lock.pid.unwrap_or(0)).collect()
    }
}
