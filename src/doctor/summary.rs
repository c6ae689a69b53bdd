//! The report from what was read: journal mode, hot or not, live or left over, how much waits for a checkpoint.

use super::bytes::linked_version;
use super::findings::Severity;
use super::header::Header;
use super::holders::{Holder, Processes};
use super::journal::{Journal, JournalState};
use super::locks::Lock;
use super::observe::{Evidence, Users};
use super::report::{BackupFiles, DatabaseFile, DoctorReport, FileRole, JournalModes, PendingFrames, WalIndexFile};
use super::wal::Wal;
use super::wal_index::WalIndex;
use crate::os::{FileStatus, FileSystem};
use std::path::Path;

/// What was read, before anything is concluded from it.
pub(super) struct Observations {
    pub(super) database: Option<FileStatus>,
    /// The first bytes of the database; `None` if they could not be read.
    pub(super) header: Option<Vec<u8>>,
    pub(super) wal: Option<Wal>,
    pub(super) journal: Option<Journal>,
    /// The first bytes of the `-shm`; `None` if there is none or they could not be read.
    pub(super) index: Option<Vec<u8>>,
    pub(super) index_status: Option<FileStatus>,
    /// Whether the wal-index was the same before the log was read and after the locks were looked at.
    pub(super) is_index_still: bool,
    /// Whether the journal was the same before and after the locks were looked at.
    pub(super) is_journal_still: bool,
    pub(super) holders: Vec<Holder>,
    pub(super) processes: Processes,
    pub(super) locks: Option<Vec<Lock>>,
    pub(super) file_system: Option<FileSystem>,
    pub(super) notes: Vec<String>,
    pub(super) users: Users,
    pub(super) evidence: Evidence,
}

impl Observations {
    /// The report but for its findings.
    pub(super) fn summarize(self, path: &Path) -> DoctorReport {
        let wal_index = self.wal_index();
        let mut pending = pending(self.wal.as_ref(), wal_index.as_ref());
        // Nothing is certain of files that could not be read.
        pending.is_exact &= self.notes.is_empty();
        let database = self.database.map(|status| DatabaseFile {
            bytes: status.bytes,
            links: status.links,
            device: status.id.device,
            inode: status.id.inode,
            header: self.header.as_deref().and_then(Header::parse),
            is_readable: self.header.is_some(),
        });
        let journal_mode = JournalModes {
            configured: database.as_ref().and_then(|database| database.header.as_ref()).map(Header::configured),
            effective: self.effective_mode(database.as_ref().and_then(|database| database.header.as_ref())),
        };
        let has_reserved = self.has_lock(FileRole::Database, |lock, name| lock.is_write && name == "RESERVED");
        // In a container the kernel is asked for locks that are not shown.
        let has_reserved = has_reserved
            || self.evidence.unseen_locks.iter().any(|lock| lock.role == FileRole::Database && lock.name == "RESERVED");
        let is_reserved = self.locks.as_ref().map(|_| has_reserved);
        // A journal that changes is being written.
        let is_reserved = if self.is_journal_still { is_reserved } else { Some(true) };
        let mut journal = self.journal;
        if let Some(journal) = &mut journal {
            journal.judge(self.database.is_some_and(|status| status.bytes > 0), is_reserved);
        }
        DoctorReport {
            schema: 1,
            path: path.to_owned(),
            severity: Severity::Ok,
            next: String::new(),
            findings: Vec::new(),
            sqlite: linked_version(),
            file_system: self.file_system,
            database,
            journal_mode,
            wal: self.wal,
            wal_index,
            pending,
            journal,
            holders: self.holders,
            holder_processes: self.users.details,
            lockless: self.users.lockless,
            other_logs: self.users.other_logs,
            deleted_logs: self.users.deleted_logs,
            processes: self.processes,
            locks: self.locks,
            copies: BackupFiles::default(),
            notes: self.notes,
            looked_at: Vec::new(),
            unseen: Vec::new(),
            evidence: self.evidence,
        }
    }

    fn has_lock(&self, role: FileRole, is_it: impl Fn(&Lock, &str) -> bool) -> bool {
        let mut held = self.locks.iter().flatten().filter(|lock| lock.role == role && !lock.is_waiting);
        held.any(|lock| lock.names.iter().any(|name| is_it(lock, name)))
    }

    fn holds(&self, role: FileRole) -> bool {
        self.holders.iter().any(|holder| holder.role == role && !holder.deleted)
    }

    fn wal_index(&self) -> Option<WalIndexFile> {
        let content = self.index.as_deref().and_then(WalIndex::parse);
        let bytes = self.index_status?.bytes;
        let is_live = self.holds(FileRole::WalIndex) || self.has_lock(FileRole::WalIndex, |_, _| true);
        // A transaction writes its last frame first and the wal-index then, and holds WRITE all the while.
        let is_being_written = self.has_lock(FileRole::WalIndex, |_, name| matches!(name, "WRITE" | "RECOVER"));
        let can_tell = is_live && self.is_index_still && !is_being_written;
        let agrees = match (&content, &self.wal) {
            (Some(index), Some(wal)) if can_tell && wal.is_stable && !wal.is_cut() => Some(fits(index, wal)),
            _ => None,
        };
        Some(WalIndexFile { bytes, content, is_live, agrees })
    }

    fn effective_mode(&self, header: Option<&Header>) -> &'static str {
        let has_frames = self.wal.as_ref().is_some_and(|wal| wal.committed_frames > 0);
        match header {
            None => "unknown",
            Some(header) if header.is_wal() || has_frames || self.holds(FileRole::Wal) => {
                if self.holds(FileRole::WalIndex) || self.has_lock(FileRole::WalIndex, |_, name| name == "DMS") {
                    "wal"
                } else if self.has_lock(FileRole::Database, |_, name| name == "EXCLUSIVE") {
                    "wal-exclusive"
                } else {
                    "wal-idle"
                }
            }
            Some(_) => match self.journal.as_ref().map(|journal| journal.state) {
                Some(JournalState::Empty) => "truncate",
                Some(JournalState::Zeroed) => "persist",
                _ => "rollback",
            },
        }
    }
}

impl Header {
    fn configured(&self) -> &'static str {
        if self.is_wal() { "wal" } else { "rollback" }
    }
}

/// Whether a wal-index describes that log. One of a log that is about to be restarted has new salts already, and no
/// frames: the first frame that is written then brings the log its new header.
fn fits(index: &WalIndex, wal: &Wal) -> bool {
    if index.max_frame == 0 {
        return true;
    }
    let is_same_round = wal.header.as_ref().is_some_and(|header| header.salts == index.salts);
    is_same_round && u64::from(index.max_frame) == wal.committed_frames
}

fn pending(wal: Option<&Wal>, index: Option<&WalIndexFile>) -> PendingFrames {
    let committed = wal.map_or(0, |wal| wal.committed_frames);
    let live = index.filter(|index| index.is_live && index.agrees != Some(false));
    match live.and_then(|index| index.content.as_ref()) {
        Some(content) => PendingFrames { frames: content.pending_frames().into(), is_exact: true },
        // Without a wal-index that is in use, SQLite carries all of them over again.
        None => PendingFrames { frames: committed, is_exact: committed == 0 },
    }
}
