//! SQLite's five lock levels on a database file, made of POSIX locks as the "unix" VFS makes them.
//!
//! # Fault model
//! - Connections of *one* process are kept apart by the process's own bookkeeping ([`Holder`], `unixInodeInfo` in
//!   os_unix.c), since POSIX locks do not see them; connections of *several* processes by the POSIX locks. If those are
//!   cancelled behind the VFS's back, the bookkeeping does not notice, here as there.
//! - A pending lock keeps new readers out while those that are there go on.
//! - An attempt at the exclusive level that fails may leave the pending one; that is how SQLite asks twice.
//! - A lock that a descriptor without write access cannot have fails with `SQLITE_IOERR_LOCK` (`EBADF`).
//! - Nothing waits: a refused lock is `SQLITE_BUSY`.

use super::disk::{Disk, Inode};
use super::files::OpenFile;
use super::posix::{self, Kind, PENDING, RESERVED, SHARED, SWITCH};
use super::shm::Shms;
use rusqlite::ffi;
use std::ffi::c_int;

pub(super) const NONE: u8 = 0;
pub(super) const SHARED_LEVEL: u8 = 1;
pub(super) const RESERVED_LEVEL: u8 = 2;
pub(super) const PENDING_LEVEL: u8 = 3;
pub(super) const EXCLUSIVE_LEVEL: u8 = 4;

/// What the VFS of one process keeps for an inode that it has open as a database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) process: u16,
    /// The highest level of its files.
    level: u8,
    /// Files at the shared level or above.
    shared: u32,
    /// Open files.
    files: u32,
    /// The process's wal-index for this database.
    pub(super) shm: Option<u32>,
}

impl Inode {
    /// Enters a file of `process` that was opened as a database.
    pub(super) fn enter(&mut self, process: u16) {
        match self.holder_mut(process) {
            Some(holder) => holder.files += 1,
            None => self.holders.push(Holder { process, level: NONE, shared: 0, files: 1, shm: None }),
        }
    }

    /// Takes a file of `process` out. Closing its descriptor cancels the process's locks, so while any of its files
    /// holds one the descriptor stays open (os_unix.c, `unixClose`).
    pub(super) fn leave(&mut self, process: u16) {
        let Some(index) = self.holders.iter().position(|holder| holder.process == process) else { return };
        let holder = &mut self.holders[index];
        holder.files -= 1;
        if holder.files == 0 || holder.shared == 0 {
            self.locks.unlock(process, posix::ALL);
        }
        if self.holders[index].files == 0 {
            self.holders.swap_remove(index);
        }
    }

    #[inline]
    pub(super) fn holder_mut(&mut self, process: u16) -> Option<&mut Holder> {
        self.holders.iter_mut().find(|holder| holder.process == process)
    }
}

/// Raises the level of a file (os_unix.c, `unixLock`).
pub(super) fn raise(disk: &mut Disk, shms: &Shms, file: &mut OpenFile, level: u8) -> c_int {
    if !file.is_database() || file.level >= level {
        return ffi::SQLITE_OK;
    }
    let process = file.process;
    // Asked before the inode is borrowed; only the way to the reserved and exclusive levels looks at it.
    let shm_is_shared = level > SHARED_LEVEL && shms.is_shared_with_others(disk, file);
    let inode = disk.inode_mut(file.inode);
    let Some(holder) = inode.holders.iter_mut().find(|holder| holder.process == process) else {
        return ffi::SQLITE_IOERR_LOCK;
    };
    if file.level != holder.level && (holder.level >= PENDING_LEVEL || level > SHARED_LEVEL) {
        return ffi::SQLITE_BUSY;
    }
    if level == SHARED_LEVEL {
        if holder.level == NONE {
            // The pending byte is only touched: it is free unless a process waits for the readers to end.
            if inode.locks.obstacle(process, PENDING, Kind::Read).is_some() {
                return ffi::SQLITE_BUSY;
            }
            if !inode.locks.lock(process, SHARED, Kind::Read) {
                return ffi::SQLITE_BUSY;
            }
            holder.level = SHARED_LEVEL;
        }
        holder.shared += 1;
        file.level = SHARED_LEVEL;
        return ffi::SQLITE_OK;
    }
    let mut lock = |units| {
        if file.is_readonly {
            ffi::SQLITE_IOERR_LOCK
        } else if inode.locks.lock(process, units, Kind::Write) {
            ffi::SQLITE_OK
        } else {
            ffi::SQLITE_BUSY
        }
    };
    if level == EXCLUSIVE_LEVEL && file.level == RESERVED_LEVEL {
        let rc = lock(PENDING);
        if rc != ffi::SQLITE_OK {
            return rc;
        }
        file.level = PENDING_LEVEL;
        holder.level = PENDING_LEVEL;
    }
    // The last condition is a defence of the unix VFS against cancelled locks: who has the wal-index open together with
    // another process does not get to delete it.
    if (level == EXCLUSIVE_LEVEL && holder.shared > 1) || shm_is_shared {
        return ffi::SQLITE_BUSY;
    }
    let rc = lock(if level == RESERVED_LEVEL { RESERVED } else { SHARED });
    if rc == ffi::SQLITE_OK {
        file.level = level;
        holder.level = level;
    }
    rc
}

/// Lowers the level of a file to shared or none (os_unix.c, `posixUnlock`).
pub(super) fn lower(disk: &mut Disk, file: &mut OpenFile, level: u8) -> c_int {
    if !file.is_database() || file.level <= level {
        return ffi::SQLITE_OK;
    }
    let process = file.process;
    let inode = disk.inode_mut(file.inode);
    let Some(holder) = inode.holders.iter_mut().find(|holder| holder.process == process) else {
        return ffi::SQLITE_IOERR_UNLOCK;
    };
    if file.level > SHARED_LEVEL {
        // Refused only if the process's own write lock was cancelled and another process has one now.
        if level == SHARED_LEVEL && !inode.locks.lock(process, SHARED, Kind::Read) {
            return ffi::SQLITE_IOERR_RDLOCK;
        }
        inode.locks.unlock(process, PENDING | RESERVED);
        holder.level = SHARED_LEVEL;
    }
    if level == NONE {
        holder.shared -= 1;
        if holder.shared == 0 {
            inode.locks.unlock(process, posix::ALL);
            holder.level = NONE;
        }
    }
    file.level = level;
    ffi::SQLITE_OK
}

/// True if any process holds the reserved lock or a higher one.
pub(super) fn is_reserved(disk: &mut Disk, file: &OpenFile) -> bool {
    if !file.is_database() {
        return false;
    }
    let inode = disk.inode_mut(file.inode);
    inode.holder_mut(file.process).is_some_and(|holder| holder.level > SHARED_LEVEL)
        || inode.locks.obstacle(file.process, RESERVED, Kind::Write).is_some()
}

impl Shms {
    /// True if the file has a wal-index open that another process has open as well (os_unix.c,
    /// `unixIsSharingShmNode`).
    fn is_shared_with_others(&self, disk: &Disk, file: &OpenFile) -> bool {
        let inode = file.shm.map(|shm| self.inode(shm));
        inode.is_some_and(|inode| disk.inode(inode).locks.obstacle(file.process, SWITCH, Kind::Write).is_some())
    }
}
