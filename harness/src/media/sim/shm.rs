//! The wal-index: shared memory in the bytes of the `-shm` file, and its lock slots.
//!
//! # Fault model
//! - The memory *is* the bytes of the file, for all processes, without delay and without reordering: actors run one at
//!   a time, so a memory barrier has nothing to do. What a store would look like to another processor before a barrier
//!   is not modelled.
//! - One wal-index is opened for each process and inode of a database, at the first mapping, by the name that the
//!   `-shm` file has then. If that file is unlinked or replaced, those who have it open go on with the old generation,
//!   beside those who open the new one.
//! - Who opens it while no other *process* has it open cuts it to 3 bytes, so that no process trusts what a crash left.
//!   The dead man's switch that tells is a POSIX lock like the slots, with the same trap.
//! - Slots are shared or exclusive, and never change from one to the other. Files of one process are kept apart by the
//!   process's own table, processes by POSIX locks.
//! - The options `readonly_shm` and "unix-excl" do not exist. Regions never fail to be made unless the disk is full.

use super::disk::{Disk, InodeId};
use super::files::OpenFile;
use super::names::Names;
use super::posix::{self, Kind, SLOTS, SWITCH};
use rusqlite::ffi;
use std::cell::Cell;
use std::ffi::c_int;

/// The open wal-indexes of all processes.
#[derive(Debug, Default)]
pub(super) struct Shms {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

/// A process's wal-index for one database (`unixShmNode` in os_unix.c).
#[derive(Debug, Default)]
struct Node {
    process: u16,
    /// The `-shm` file.
    inode: InodeId,
    /// Its name when it was opened.
    name: Vec<u8>,
    /// Open files with this wal-index.
    files: u32,
    /// Regions mapped so far.
    regions: u64,
    /// For each slot, how many files of the process hold it shared, or -1 if one holds it exclusively.
    slots: [i32; SLOTS],
}

impl Shms {
    pub(super) fn inode(&self, shm: u32) -> InodeId {
        self.nodes[shm as usize].inode
    }

    /// Maps a region for `file`: its memory, or `None` if there is no such region and `extend` is not set (os_unix.c,
    /// `unixShmMap`).
    pub(super) fn map<'a>(
        &mut self,
        disk: &'a mut Disk,
        names: &mut Names,
        file: &mut OpenFile,
        region: Region,
    ) -> Result<Option<&'a [Cell<u8>]>, c_int> {
        let shm = match file.shm {
            Some(shm) => shm,
            None => self.open(disk, names, file)?,
        };
        let node = &mut self.nodes[shm as usize];
        if node.regions <= region.index {
            let bytes = (region.index + 1) * region.size;
            if disk.size(node.inode) < bytes {
                if !region.extend {
                    return Ok(None);
                }
                disk.truncate(node.inode, bytes).map_err(|_| ffi::SQLITE_IOERR_SHMSIZE)?;
            }
            node.regions = region.index + 1;
        }
        let memory = disk.memory(node.inode, region.index * region.size, region.size as usize);
        memory.map(Some).ok_or(ffi::SQLITE_IOERR_SHMMAP)
    }

    /// Opens the wal-index for `file` (os_unix.c, `unixOpenSharedMemory`, `unixLockSharedMemory`).
    fn open(&mut self, disk: &mut Disk, names: &mut Names, file: &mut OpenFile) -> Result<u32, c_int> {
        let process = file.process;
        let known = disk.inode_mut(file.inode).holder_mut(process).and_then(|holder| holder.shm);
        if let Some(shm) = known {
            self.nodes[shm as usize].files += 1;
            file.shm = Some(shm);
            return Ok(shm);
        }
        let name = [&file.name, &b"-shm"[..]].concat();
        if names.get(&name).is_none() && !names.can_change(&name) {
            return Err(ffi::SQLITE_CANTOPEN);
        }
        let shm = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            (self.nodes.len() - 1) as u32
        });
        let node = &mut self.nodes[shm as usize];
        node.name = name;
        let inode = names.get(&node.name).unwrap_or_else(|| {
            let inode = disk.create();
            disk.name(inode);
            names.bind(&node.name, inode);
            inode
        });
        disk.open(inode);
        if disk.inode(inode).locks.obstacle(process, SWITCH, Kind::Write).is_none() {
            // No file is too long for 3 bytes.
            let _ = disk.truncate(inode, 3);
        }
        // No process holds the switch exclusively for longer than a call.
        let locked = disk.inode_mut(inode).locks.lock(process, SWITCH, Kind::Read);
        debug_assert!(locked, "the switch is only ever shared");
        node.process = process;
        node.inode = inode;
        node.files = 1;
        node.regions = 0;
        node.slots = [0; SLOTS];
        file.shm = Some(shm);
        if let Some(holder) = disk.inode_mut(file.inode).holder_mut(process) {
            holder.shm = Some(shm);
        }
        Ok(shm)
    }

    /// Takes or gives back lock slots (os_unix.c, `unixShmLock`).
    pub(super) fn lock(
        &mut self,
        disk: &mut Disk,
        file: &mut OpenFile,
        first: usize,
        count: usize,
        flags: c_int,
    ) -> c_int {
        let Some(shm) = file.shm else { return ffi::SQLITE_IOERR_SHMLOCK };
        if count == 0 || first + count > SLOTS {
            return ffi::SQLITE_IOERR_SHMLOCK;
        }
        let node = &mut self.nodes[shm as usize];
        let locks = &mut disk.inode_mut(node.inode).locks;
        let mask = ((1_u16 << count) - 1) << first;
        let units = posix::slots(first, count);
        let slots = &mut node.slots[first..first + count];
        let is_shared = flags & ffi::SQLITE_SHM_SHARED != 0;
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            if (file.slots_shared | file.slots_exclusive) & mask == 0 {
                return ffi::SQLITE_OK;
            }
            if is_shared && slots[0] > 1 {
                slots[0] -= 1;
            } else {
                locks.unlock(file.process, units);
                slots.fill(0);
                file.slots_exclusive &= !mask;
            }
            file.slots_shared &= !mask;
        } else if is_shared {
            if file.slots_shared & mask != 0 {
                return ffi::SQLITE_OK;
            }
            if slots[0] < 0 || (slots[0] == 0 && !locks.lock(file.process, units, Kind::Read)) {
                return ffi::SQLITE_BUSY;
            }
            slots[0] += 1;
            file.slots_shared |= mask;
        } else {
            if slots.iter().any(|&slot| slot != 0) || !locks.lock(file.process, units, Kind::Write) {
                return ffi::SQLITE_BUSY;
            }
            slots.fill(-1);
            file.slots_exclusive |= mask;
        }
        ffi::SQLITE_OK
    }

    /// Takes the wal-index from `file`; the process's last file with it closes it, and unlinks it if so told
    /// (os_unix.c, `unixShmUnmap`). SQLite has given back the slots before.
    pub(super) fn unmap(&mut self, disk: &mut Disk, names: &mut Names, file: &mut OpenFile, delete: bool) {
        let Some(shm) = file.shm.take() else { return };
        file.slots_shared = 0;
        file.slots_exclusive = 0;
        let node = &mut self.nodes[shm as usize];
        node.files -= 1;
        if node.files > 0 {
            return;
        }
        if delete && let Some(inode) = names.remove(&node.name) {
            disk.unname(inode);
        }
        let (process, inode) = (node.process, node.inode);
        // Closing the descriptor cancels the process's locks, also those of another wal-index in the same file.
        disk.inode_mut(inode).locks.unlock(process, posix::ALL);
        disk.close(inode);
        if let Some(holder) = disk.inode_mut(file.inode).holder_mut(process) {
            holder.shm = None;
        }
        self.free.push(shm);
    }

    /// Marks a process's `files` as dead and forgets its wal-indexes. The files keep the memory: each gets a hold of
    /// its own on the inode, in [`OpenFile::shm_remains`].
    pub(super) fn reap<'a>(&mut self, disk: &mut Disk, process: u16, files: impl Iterator<Item = &'a mut OpenFile>) {
        for file in files {
            file.is_dead = true;
            if let Some(shm) = file.shm.take() {
                let inode = self.inode(shm);
                disk.open(inode);
                file.shm_remains = Some(inode);
            }
        }
        for (shm, node) in self.nodes.iter_mut().enumerate() {
            if node.process == process && node.files > 0 {
                node.files = 0;
                disk.close(node.inode);
                self.free.push(shm as u32);
            }
        }
    }

    pub(super) fn reset(&mut self) {
        self.free.clear();
        for (shm, node) in self.nodes.iter_mut().enumerate().rev() {
            node.files = 0;
            self.free.push(shm as u32);
        }
    }
}

/// A region of a wal-index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    pub(super) index: u64,
    pub(super) size: u64,
    /// Make it if there is none.
    pub(super) extend: bool,
}
