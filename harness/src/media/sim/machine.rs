//! The machine: its processes, their starts and ends, its clock and its randomness; what a test may look at and do;
//! what an outsider does.
//!
//! # Fault model
//! - A process is a number. It lives until [`Machine::kill`]: then its locks and its holds on shared memory are gone,
//!   what it wrote stays, and each call that its code still makes fails with `SQLITE_IOERR`, except `xClose`.
//! - [`Machine::revive`] begins a new life of the number. Wait until the code of the old life has ended: the files of
//!   the old life stay dead, but a call without a file is taken for one of the new life.
//! - Time is the run's clock. It moves by sleeping and not otherwise, since calls take no time. The first
//!   moment is 2026-01-01 00:00 UTC.
//! - Randomness is a stream from a seed.

use super::dead_process::DeadProcess;
use super::disk::{Bytes, Disk, InodeId};
use super::durability::{Device, Recorder};
use super::files::OpenFile;
use super::names::{self, Names};
use super::posix;
use super::shm::Shms;
use crate::clock::Clock;
use crate::outsider::{self, Deed, Files, Intervention, OutsideAction, Revocation};
use crate::runtime::{Processes, current_actor};
use crate::seed::Seed;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rusqlite::ffi;
use std::cell::RefCell;
use std::ffi::c_int;
use std::time::Duration;

/// 2026-01-01 00:00 UTC as SQLite counts: milliseconds since noon on the first day of the Julian calendar.
const BEGIN_MS: i64 = 24_610_415 * 8_640_000;

/// One simulated machine. It is reached through a [`SimVfs`](super::SimVfs), and by this interface.
///
/// A call that comes while the machine is borrowed fails with `SQLITE_IOERR`: let go of it before SQLite works again.
///
/// Names are absolute paths without `.`, `..` and doubled slashes, as `xFullPathname` gives them.
#[derive(Debug)]
pub struct Machine {
    pub(super) names: Names,
    pub(super) disk: Disk,
    pub(super) shms: Shms,
    /// By the number in the file object; those that are not open are in `free_files`.
    pub(super) files: Vec<OpenFile>,
    pub(super) free_files: Vec<u32>,
    pub(super) files_open: usize,
    /// Open files of dead processes.
    pub(super) files_dead: usize,
    pub(super) errno: c_int,
    pub(super) device: Device,
    /// What is durable, while that is recorded.
    pub(super) recorder: Option<Box<Recorder>>,
    dead_process: DeadProcess,
    /// The processes that are dead now.
    dead: Vec<u16>,
    pub(super) clock: Clock,
    rng: ChaCha8Rng,
    /// Changes with each reset, so that files from before it are recognised.
    epoch: u32,
    panic: Option<String>,
}

/// The scheduler's way to a machine that others hold as well.
impl Processes for RefCell<Machine> {
    fn resume(&self, process: u16) {
        self.borrow_mut().resume(process);
    }

    fn kill(&self, process: u16) {
        self.borrow_mut().kill(process);
    }

    fn is_dead(&self, process: u16) -> bool {
        self.borrow().is_dead(process)
    }

    fn cut_power(&self, seed: Seed) -> bool {
        self.borrow_mut().cut_power(seed)
    }

    fn drop_locks(&self, process: u16, path: &str) {
        self.borrow_mut().drop_process_locks(process, path);
    }

    fn living(&self) -> Vec<u16> {
        self.borrow().running()
    }

    fn intervene(&self, intervention: &Intervention) {
        self.borrow_mut().intervene(intervention);
    }
}

/// The outsider's hands on the machine. Rights that were taken away bind processes, not outsiders.
impl Files for Machine {
    fn exists(&self, path: &str) -> bool {
        Self::exists(self, path)
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        Self::rename(self, from, to)
    }

    fn unlink(&mut self, path: &str) -> bool {
        Self::unlink(self, path)
    }

    fn copy(&mut self, from: &str, to: &str) -> bool {
        self.file(from).is_some_and(|bytes| self.write_file(to, &bytes))
    }

    fn link(&mut self, from: &str, to: &str) -> bool {
        Self::link(self, from, to)
    }

    fn revoke(&mut self, database: &str, what: Revocation) -> bool {
        self.names.revoke(database.as_bytes(), what);
        true
    }

    fn restore_rights(&mut self, _database: &str) -> bool {
        self.names.restore_rights();
        true
    }
}

impl Machine {
    /// A machine with an empty disk. It goes by `clock`, and draws its randomness from `entropy`.
    pub fn new(clock: Clock, entropy: Seed) -> Self {
        Self {
            names: Names::default(),
            disk: Disk::default(),
            shms: Shms::default(),
            files: Vec::new(),
            free_files: Vec::new(),
            files_open: 0,
            files_dead: 0,
            errno: 0,
            device: Device::default(),
            recorder: None,
            dead_process: DeadProcess::default(),
            dead: Vec::new(),
            clock,
            rng: entropy.rng(),
            epoch: 0,
            panic: None,
        }
    }

    /// Makes the machine as new: an empty disk, no locks, all processes alive. Memory is kept for further use. Files
    /// that are open still fail at every call from now on; there should be none ([`Self::open_files`]).
    pub fn reset(&mut self, entropy: Seed) {
        self.names.clear();
        self.disk.reset();
        self.shms.reset();
        self.free_files.clear();
        for (number, file) in self.files.iter_mut().enumerate().rev() {
            file.is_open = false;
            self.free_files.push(number as u32);
        }
        self.files_open = 0;
        self.files_dead = 0;
        self.errno = 0;
        self.device = Device::default();
        self.recorder = None;
        self.dead_process.reset();
        self.dead.clear();
        self.rng = entropy.rng();
        self.epoch = self.epoch.wrapping_add(1);
        self.panic = None;
    }

    // --------------------------------------------------------------------------------------------
    // Processes

    /// Kills a process, at the call that it is in or between calls.
    pub fn kill(&mut self, process: u16) {
        if self.is_dead(process) {
            return;
        }
        self.dead.push(process);
        let files = || self.files.iter().filter(|file| file.is_open && file.process == process && !file.is_dead);
        self.files_dead += files().count();
        for inode in self.disk.inodes_mut() {
            inode.locks.unlock(process, posix::ALL);
            inode.holders.retain(|holder| holder.process != process);
        }
        let mine = self.files.iter_mut().filter(|file| file.is_open && file.process == process && !file.is_dead);
        self.shms.reap(&mut self.disk, process, mine);
        if current_actor().process == process {
            self.switch(true);
        }
    }

    /// Begins a new life of a process that was killed.
    pub fn revive(&mut self, process: u16) {
        self.dead.retain(|&dead| dead != process);
    }

    /// True if the process was killed and not revived.
    pub fn is_dead(&self, process: u16) -> bool {
        self.dead.contains(&process)
    }

    /// Tells that code of `process` runs from now on. For a scheduler that also switches between calls; at calls the
    /// machine notices by itself.
    pub fn resume(&mut self, process: u16) {
        let is_dead = self.is_dead(process);
        self.switch(is_dead);
    }

    /// Cancels the process's locks on a file, as the system does when the process closes any other descriptor of it.
    /// Its own bookkeeping does not notice.
    pub fn drop_process_locks(&mut self, process: u16, path: &str) {
        if let Some(inode) = self.names.get(path.as_bytes()) {
            self.disk.inode_mut(inode).locks.unlock(process, posix::ALL);
        }
    }

    /// The processes that have a file open and are alive, in the order of their numbers.
    pub fn running(&self) -> Vec<u16> {
        self.processes_with(|_| true)
    }

    fn processes_with(&self, has: impl Fn(&OpenFile) -> bool) -> Vec<u16> {
        let files = self.files.iter().filter(|file| file.is_open && !file.is_dead && has(file));
        let mut processes: Vec<u16> = files.map(|file| file.process).collect();
        processes.sort_unstable();
        processes.dedup();
        processes
    }

    /// What an outsider does to files and locks. Ending processes, stopping them and running other programs is left to
    /// the caller.
    pub fn intervene(&mut self, intervention: &Intervention) -> Deed {
        if intervention.action == OutsideAction::Touch {
            outsider::touched(intervention).for_each(|name| self.drop_process_locks(intervention.process, &name));
        }
        outsider::change_files(intervention, self)
    }

    /// Files that are open, those of dead processes included.
    pub fn open_files(&self) -> usize {
        self.files_open
    }

    /// The names of the files that a process has open, dead or alive.
    pub fn open_files_of(&self, process: u16) -> Vec<String> {
        let files = self.files.iter().filter(|file| file.is_open && file.process == process);
        files.map(|file| String::from_utf8_lossy(&file.name).into_owned()).collect()
    }

    /// True if any process holds a lock on any file.
    pub fn any_locks(&self) -> bool {
        self.disk.inodes().any(|inode| inode.locks.any())
    }

    /// The message of the first panic inside a call. A call that panics fails; the machine is broken then.
    pub fn panic_message(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    // --------------------------------------------------------------------------------------------
    // Files, from outside of all processes

    /// The bytes of a file.
    pub fn bytes(&self, path: &str) -> Option<Bytes<'_>> {
        self.names.get(path.as_bytes()).map(|inode| self.disk.bytes(inode))
    }

    /// A copy of a file's bytes.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.bytes(path).map(Bytes::to_vec)
    }

    /// The number of the file that has this name, and its size.
    pub fn inode(&self, path: &str) -> Option<(u64, u64)> {
        self.names.get(path.as_bytes()).map(|inode| (u64::from(inode), self.disk.size(inode)))
    }

    /// The numbers of the changes that created the file of this name, that last changed its bytes, and that last
    /// changed its bytes or its name. The machine numbers all changes.
    pub fn changes(&self, path: &str) -> Option<[u64; 3]> {
        self.names.get(path.as_bytes()).map(|inode| self.disk.changes(inode))
    }

    /// The name of the file with this number.
    pub fn name_of(&self, inode: u64) -> Option<String> {
        let mut names = self.names.iter();
        let named = names.find(|(_, named)| u64::from(*named) == inode);
        named.map(|(name, _)| String::from_utf8_lossy(name).into_owned())
    }

    /// The processes that have the file with this number open, wal-indexes included, in ascending order.
    pub fn holders(&self, inode: u64) -> Vec<u16> {
        self.processes_with(|file| {
            u64::from(file.inode) == inode || file.shm.is_some_and(|shm| u64::from(self.shms.inode(shm)) == inode)
        })
    }

    /// True if there is a file of this name.
    pub fn exists(&self, path: &str) -> bool {
        self.names.get(path.as_bytes()).is_some()
    }

    /// All names, in order, with the sizes of the files.
    pub fn list(&self) -> Vec<(String, u64)> {
        let entries = self.names.iter();
        entries.map(|(name, inode)| (String::from_utf8_lossy(name).into_owned(), self.disk.size(inode))).collect()
    }

    /// Writes a file: creates it, or replaces the content of the one that is there, as `cp` does. False if the disk is
    /// full.
    pub fn write_file(&mut self, path: &str, bytes: &[u8]) -> bool {
        let inode = self.names.get(path.as_bytes()).unwrap_or_else(|| self.create(path.as_bytes()));
        let is_written = self.disk.truncate(inode, 0).is_ok() && self.disk.write(inode, 0, bytes).is_ok();
        self.note_truncate(inode, path.as_bytes(), 0);
        if is_written && !bytes.is_empty() {
            self.note_write(inode, path.as_bytes(), 0, bytes, 0);
        }
        is_written
    }

    /// Renames a file over whatever has the name. False if there is no such file.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        if from == to {
            return self.exists(from);
        }
        let Some(inode) = self.names.remove(from.as_bytes()) else { return false };
        if let Some(replaced) = self.names.bind(to.as_bytes(), inode) {
            self.disk.unname(replaced);
        }
        self.disk.renamed(inode);
        self.note_rename(from.as_bytes(), to.as_bytes());
        true
    }

    /// Gives a file a second name. False if there is no such file, or the name is taken.
    pub fn link(&mut self, from: &str, to: &str) -> bool {
        let Some(inode) = self.names.get(from.as_bytes()).filter(|_| !self.exists(to)) else { return false };
        self.disk.name(inode);
        self.names.bind(to.as_bytes(), inode);
        self.note_bind(to.as_bytes(), inode);
        true
    }

    /// How many names the file of this name has.
    pub fn links(&self, path: &str) -> u32 {
        self.names.get(path.as_bytes()).map_or(0, |inode| self.disk.names(inode))
    }

    /// Renames a file to a name that no file has. False if there is one, and if there is no such file.
    pub fn rename_new(&mut self, from: &str, to: &str) -> bool {
        !self.exists(to) && self.rename(from, to)
    }

    /// Takes the name from a file. False if there is none.
    pub fn unlink(&mut self, path: &str) -> bool {
        self.take_name(path.as_bytes())
    }

    /// The locks on a file: the process, the ranges that it holds shared and those that it holds exclusively, one bit
    /// each. Reading them has no effect.
    pub fn locks(&self, path: &str) -> impl Iterator<Item = (u16, u16, u16)> {
        let inode = self.names.get(path.as_bytes());
        inode.into_iter().flat_map(|inode| self.disk.inode(inode).locks.iter())
    }

    /// A region of the wal-index of a database: the bytes that its `-shm` file has in memory now. Reading it has no
    /// effect.
    pub fn shm_region(&self, database: &str, index: u64) -> Option<Bytes<'_>> {
        self.bytes(&format!("{database}-shm"))?.region(index * Self::REGION_BYTES, Self::REGION_BYTES)
    }

    /// The size of a region of a wal-index (wal.c, `WALINDEX_PGSZ`).
    pub const REGION_BYTES: u64 = 32 * 1024;

    // --------------------------------------------------------------------------------------------
    // For the devices

    /// Lets a call on a file in, if its process is alive.
    #[inline]
    pub(super) fn admit(&mut self, number: u32) -> Result<(), c_int> {
        if self.files_dead == 0 {
            return Ok(());
        }
        let is_dead = self.files[number as usize].is_dead;
        self.switch(is_dead);
        if is_dead { Err(ffi::SQLITE_IOERR) } else { Ok(()) }
    }

    /// Lets a call without a file in, if the calling actor's process is alive.
    pub(super) fn admit_caller(&mut self) -> Result<u16, c_int> {
        let process = current_actor().process;
        let is_dead = self.is_dead(process);
        if self.files_dead > 0 {
            self.switch(is_dead);
        }
        if is_dead { Err(ffi::SQLITE_IOERR) } else { Ok(process) }
    }

    /// Without open files the dead reach no memory, and there is nothing to save.
    fn switch(&mut self, to_dead: bool) {
        if !to_dead {
            self.resume_living();
        } else if self.files_dead > 0 {
            self.dead_process.enter(&self.disk, &self.files);
        }
    }

    /// The code that runs now belongs to the calling actor again.
    pub(super) fn switch_to_caller(&mut self) {
        self.resume(current_actor().process);
    }

    pub(super) fn resume_living(&mut self) {
        self.dead_process.leave(&mut self.disk);
    }

    /// An empty file with this name.
    pub(super) fn create(&mut self, name: &[u8]) -> InodeId {
        let inode = self.disk.create();
        self.disk.name(inode);
        self.names.bind(name, inode);
        self.note_bind(name, inode);
        inode
    }

    pub(super) fn take_name(&mut self, name: &[u8]) -> bool {
        let Some(inode) = self.names.remove(name) else { return false };
        self.disk.unname(inode);
        self.note_unbind(name);
        true
    }

    pub(super) fn is_there(&self, name: &[u8]) -> bool {
        self.names.get(name).is_some() || self.names.is_directory(name)
    }

    /// Notes why a call fails.
    pub(super) fn fail(&mut self, errno: c_int, code: c_int) -> c_int {
        self.errno = errno;
        code
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn note_panic(&mut self, message: String) {
        self.panic.get_or_insert(message);
    }

    // --------------------------------------------------------------------------------------------
    // The methods of the VFS that have no file

    /// `sync_directory` is SQLite's flag, with a fate if the sync is to fail.
    pub(super) fn delete(&mut self, name: &[u8], sync_directory: c_int) -> c_int {
        if let Err(code) = self.admit_caller() {
            return code;
        }
        if self.names.get(name).is_some() && !self.names.can_change(name) {
            self.fail(libc::EACCES, ffi::SQLITE_IOERR_DELETE)
        } else if self.device.has(ffi::SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN) && self.is_open(name) {
            self.fail(libc::EBUSY, ffi::SQLITE_IOERR_DELETE)
        } else if self.take_name(name) {
            if sync_directory != 0 {
                self.sync_directory(name, sync_directory);
            }
            ffi::SQLITE_OK
        } else if self.names.is_directory(name) {
            self.fail(libc::EISDIR, ffi::SQLITE_IOERR_DELETE)
        } else {
            self.fail(libc::ENOENT, ffi::SQLITE_IOERR_DELETE_NOENT)
        }
    }

    fn is_open(&self, name: &[u8]) -> bool {
        let inode = self.names.get(name);
        self.files.iter().any(|file| file.is_open && !file.is_dead && Some(file.inode) == inode)
    }

    /// An empty file does not exist for SQLite (os_unix.c, `unixAccess`).
    pub(super) fn access(&mut self, name: &[u8], flags: c_int) -> Result<bool, c_int> {
        self.admit_caller()?;
        Ok(match self.names.get(name) {
            Some(inode) => flags != ffi::SQLITE_ACCESS_EXISTS || self.disk.size(inode) > 0,
            None => self.names.is_directory(name),
        })
    }

    pub(super) fn full_pathname(&mut self, name: &[u8], limit: usize, out: &mut Vec<u8>) -> c_int {
        if let Err(code) = self.admit_caller() {
            return code;
        }
        if names::normalise(name, limit, out) { ffi::SQLITE_OK } else { ffi::SQLITE_CANTOPEN }
    }

    pub(super) fn fill_random(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }

    /// A name for a temporary file that is free now.
    pub(super) fn temporary_name(&mut self) -> String {
        loop {
            let name = format!("/tmp/etilqs_{:x}", self.rng.next_u64());
            if !self.exists(&name) {
                return name;
            }
        }
    }

    pub(super) fn sleep(&mut self, duration: Duration) {
        self.clock.advance(duration);
    }

    /// The date as SQLite counts it.
    pub(super) fn julian_ms(&self) -> i64 {
        BEGIN_MS + i64::try_from(self.clock.now().as_millis()).unwrap_or(0)
    }
}
