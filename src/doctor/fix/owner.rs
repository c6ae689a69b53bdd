//! The sole owner of a database, and the change of places.
//!
//! Proof that no other process uses the database, in two parts, since each alone is incomplete:
//!
//! 1. **Locks.** A child process holds all bytes of the database and of the `-shm` that SQLite locks, as for EXCLUSIVE.
//!    No connection can begin anything until it is let go. Every connection in WAL mode would have kept it from that.
//! 2. **Descriptors.** No process has one of the files open, according to `/proc`; looked at before, and again right
//!    after the names have been exchanged. This finds connections without a lock: those in a rollback mode between two
//!    transactions, and those that wait for the lock and would go on with the old file under the new name.
//!
//! # The order
//!
//! The copy gets the name of the database while the log or the journal is still there. It contains them already, and to
//! replay or roll back the same thing twice makes no difference. Only then are the side files renamed. So a process
//! that dies at any moment leaves a database that SQLite opens with the right content; and from the first change on,
//! the files as they were are complete in the folder. For the database alone, only the side files are renamed.

use super::super::report::FileRole;
use super::workspace::Workspace;
use super::{Stop, Take};
use crate::ffi::{LockRange, LockedFile};
use crate::os::{FileId, Os};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Between fork and exec, a child that some thread of a process starts has copies of all descriptors. It is gone soon.
const LOOKS_MAX: u32 = 4;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The sole owner of the files, until dropped.
pub(super) struct SoleOwner<'a> {
    path: &'a Path,
    locks: Vec<LockedFile>,
    ids: Vec<FileId>,
    os: &'a dyn Os,
}

impl<'a> SoleOwner<'a> {
    /// Does not wait.
    pub(super) fn become_of(path: &'a Path, os: &'a dyn Os) -> Result<SoleOwner<'a>, Stop> {
        let mut owner = SoleOwner { path, locks: Vec::new(), ids: Vec::new(), os };
        for role in [FileRole::Database, FileRole::WalIndex, FileRole::Wal, FileRole::Journal] {
            let status = os.status(&role.path(path)).map_err(|error| Stop::io(path, error))?;
            owner.ids.extend(status.map(|status| status.id));
        }
        owner.require_alone()?;
        owner.lock(path, LockRange::Database)?;
        let index = FileRole::WalIndex.path(path);
        if os.status(&index).map_err(|error| Stop::io(path, error))?.is_some() {
            owner.lock(&index, LockRange::WalIndex)?;
        }
        owner.require_alone()?;
        Ok(owner)
    }

    fn lock(&mut self, path: &Path, range: LockRange) -> Result<(), Stop> {
        match LockedFile::take(path, range) {
            Ok(Some(lock)) => self.locks.push(lock),
            Ok(None) => {
                let holders = self.os.holders(&self.ids).map(|holders| holders.to_string());
                let holders = holders.unwrap_or_else(|_| "another process".to_owned());
                return Err(Stop::Refused(format!("it is open: a lock on it is held ({holders})")));
            }
            Err(error) => {
                return Err(Stop::Refused(format!("it cannot be locked ({error}): run it as the owner of the files")));
            }
        }
        Ok(())
    }

    /// Checks that no process but the children that hold the locks has one of the files open.
    pub(super) fn require_alone(&self) -> Result<(), Stop> {
        let mut others = Vec::new();
        for look in 0..LOOKS_MAX {
            if look > 0 {
                self.os.sleep(LOOK_PAUSE);
            }
            let Ok(holders) = self.os.holders(&self.ids) else { return Ok(()) };
            if holders.own_descriptors > 0 {
                return Err(Stop::Refused("it is open in this very process".to_owned()));
            }
            others = holders.pids;
            others.retain(|pid| self.locks.iter().all(|lock| lock.pid() != *pid));
            if others.is_empty() {
                return Ok(());
            }
        }
        let others: Vec<String> = others.iter().map(u32::to_string).collect();
        Err(Stop::Refused(format!("it has been opened by process {}", others.join(", "))))
    }

    /// Puts the outcome in the place of the files. A refusal leaves everything as it was; after a failure, the files as
    /// they were are in the folder.
    pub(super) fn put_in_place(
        &mut self,
        take: Take,
        workspace: &Workspace<'_>,
        done: &mut Vec<String>,
    ) -> Result<(), Stop> {
        let copy = workspace.work(FileRole::Database);
        if take == Take::Log {
            // A process that opens the copy under its new name waits until all is over.
            self.lock(&copy, LockRange::Database)?;
            self.exchange(&copy)?;
            done.push("put the recovered copy in the place of the database".to_owned());
        }
        for role in [FileRole::WalIndex, FileRole::Wal, FileRole::Journal] {
            let from = role.path(self.path);
            if self.os.status(&from).map_err(|error| Stop::io(&from, error))?.is_some() {
                // The copy that is there is the same.
                self.os.rename(&from, &workspace.kept(role)).map_err(|error| Stop::io(&from, error))?;
                done.push(format!("renamed the {role} into the folder"));
            }
        }
        if take == Take::Log {
            let kept = workspace.kept(FileRole::Database);
            self.os.rename(&copy, &kept).map_err(|error| Stop::io(&copy, error))?;
        }
        self.sync(workspace).map_err(|error| Stop::io(self.path, error))
    }

    fn exchange(&self, copy: &Path) -> Result<(), Stop> {
        self.require_alone()?;
        match self.os.exchange(copy, self.path) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) => {
                let why = "this file system cannot exchange two names in one step: copy all files to another one";
                return Err(Stop::Refused(why.to_owned()));
            }
            result => result.map_err(|error| Stop::io(self.path, error))?,
        }
        let parent = self.path.parent().unwrap_or(self.path);
        let synced = self.os.sync_dir(parent).map_err(|error| Stop::io(self.path, error));
        // A process that has opened the old file by its name waits for the lock.
        match synced.and_then(|()| self.require_alone()) {
            Ok(()) => Ok(()),
            Err(stop) => {
                self.os.exchange(copy, self.path).map_err(|error| Stop::io(self.path, error))?;
                let _ = self.os.sync_dir(parent);
                Err(stop)
            }
        }
    }

    fn sync(&self, workspace: &Workspace<'_>) -> io::Result<()> {
        workspace.sync()
    }
}
