//! Open files: one for each successful `xOpen`, with what the "unix" VFS keeps in its file object.
//!
//! # Fault model
//! - Opening follows os_unix.c's `unixOpen` to its corners: a file that cannot be created because it exists is opened
//!   read-only instead; a log or journal is refused if there is no database to take the permissions from; a file that
//!   is deleted on close loses its name at once; a temporary file has none.
//! - Only databases can be locked. On other files locks succeed and mean nothing.
//! - Closing a descriptor cancels the process's POSIX locks on the inode, see `posix`. For databases the VFS takes care
//!   of that, see `levels`; for other files it does not.
//! - Memory-mapped reading shows the file's own bytes, so it is coherent with writes. Reading a mapping behind the end
//!   of a file that another process has cut, a bus error in reality, brings arbitrary bytes.
//! - `SQLITE_FCNTL_NULL_IO` is not known.

use super::disk::{InodeId, StoreError};
use super::lock_levels::{self, NONE};
use super::machine::Machine;
use super::posix;
use super::shm::Region;
use crate::outsider::Revocation;
use rusqlite::ffi;
use std::cell::Cell;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// The most that may be mapped of one file: SQLite's own default limit (SQLITE_MAX_MMAP_SIZE).
const MMAP_BYTES_MAX: i64 = 0x7fff_0000;

/// SQLite wants so many readable bytes behind a mapped page (os_unix.c, `unixFetch`).
const FETCH_MARGIN_BYTES: i64 = 256;

/// A file that is open.
#[derive(Debug, Default)]
pub(super) struct OpenFile {
    pub(super) is_open: bool,
    pub(super) process: u16,
    /// The process has died: nothing works any more but closing.
    pub(super) is_dead: bool,
    pub(super) inode: InodeId,
    /// Its name when it was opened; empty for a temporary file.
    pub(super) name: Vec<u8>,
    is_database: bool,
    pub(super) is_readonly: bool,
    /// `SQLITE_FCNTL_PERSIST_WAL`.
    keeps_wal: bool,
    is_powersafe: bool,
    characteristics: Option<c_int>,
    chunk_bytes: i64,
    errno: c_int,
    pub(super) level: u8,
    pub(super) shm: Option<u32>,
    /// The `-shm` file, if the process died with the wal-index open.
    pub(super) shm_remains: Option<InodeId>,
    /// The next sync makes the name durable (os_unix.c, `UNIXFILE_DIRSYNC`).
    pub(super) syncs_directory: bool,
    pub(super) slots_shared: u16,
    pub(super) slots_exclusive: u16,
    /// How much may be mapped; how much is; how many pages are out.
    mmap_bytes_max: i64,
    mmap_bytes: i64,
    fetched: u32,
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'a> {
    /// `None` for a temporary file.
    pub(super) name: Option<&'a [u8]>,
    pub(super) flags: c_int,
    /// The URI parameter `psow`.
    pub(super) is_powersafe: bool,
}

/// A file that was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) file: u32,
    pub(super) flags: c_int,
    pub(super) is_database: bool,
}

/// A request by `xFileControl`, with its argument's value, which may change.
#[derive(Debug)]
pub(super) enum Control<'a> {
    LockState(&'a mut c_int),
    LastErrno(&'a mut c_int),
    ChunkSize(c_int),
    SizeHint(i64),
    PersistWal(&'a mut c_int),
    PowersafeOverwrite(&'a mut c_int),
    HasMoved(&'a mut c_int),
    MmapSize(&'a mut i64),
    ExternalReader(&'a mut c_int),
}

impl OpenFile {
    #[inline]
    pub(super) fn is_database(&self) -> bool {
        self.is_database
    }

    fn unmap(&mut self) {
        if self.fetched == 0 {
            self.mmap_bytes = 0;
        }
    }
}

/// The errno and the result code of a write or truncation that failed.
fn store_code(error: StoreError, code: c_int) -> (c_int, c_int) {
    match error {
        StoreError::Full => (libc::ENOSPC, ffi::SQLITE_FULL),
        StoreError::TooLong => (libc::EFBIG, code),
    }
}

impl Machine {
    pub(super) fn open(&mut self, opening: Opening<'_>) -> Result<Opened, c_int> {
        let process = self.admit_caller()?;
        let mut flags = opening.flags;
        let (inode, is_readonly) = match opening.name {
            None => (self.disk.create(), false),
            Some(name) => self.find_or_create(name, &mut flags)?,
        };
        self.disk.open(inode);
        if flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0
            && let Some(name) = opening.name
        {
            self.take_name(name);
        }
        let number = self.free_files.pop().unwrap_or_else(|| {
            self.files.push(OpenFile::default());
            (self.files.len() - 1) as u32
        });
        let is_database = flags & ffi::SQLITE_OPEN_MAIN_DB != 0;
        let file = &mut self.files[number as usize];
        let mut name = std::mem::take(&mut file.name);
        name.clear();
        name.extend_from_slice(opening.name.unwrap_or_default());
        *file = OpenFile {
            is_open: true,
            process,
            inode,
            name,
            is_database,
            is_readonly,
            is_powersafe: opening.is_powersafe,
            syncs_directory: syncs_directory(opening.flags),
            ..OpenFile::default()
        };
        if is_database {
            self.disk.inode_mut(inode).enter(process);
        }
        self.files_open += 1;
        Ok(Opened { file: number, flags, is_database })
    }

    /// The inode for a name, and whether it can be read only (os_unix.c, `unixOpen`).
    fn find_or_create(&mut self, name: &[u8], flags: &mut c_int) -> Result<(InodeId, bool), c_int> {
        if *flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL) != 0
            && let Some(database) = database_of(name)
            && !self.is_there(database)
        {
            return Err(self.fail(libc::ENOENT, ffi::SQLITE_IOERR_FSTAT));
        }
        let has = |flag| *flags & flag != 0;
        match (self.names.get(name), self.names.revoked(name)) {
            (Some(_), Some(Revocation::ClosedFile)) => return Err(self.fail(libc::EACCES, ffi::SQLITE_CANTOPEN)),
            (Some(inode), Some(Revocation::ReadOnlyFile)) => {
                // unixOpen tries again without the right to write.
                *flags &= !(ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE);
                *flags |= ffi::SQLITE_OPEN_READONLY;
                return Ok((inode, true));
            }
            _ => {}
        }
        match self.names.get(name) {
            Some(inode) if !has(ffi::SQLITE_OPEN_EXCLUSIVE) => Ok((inode, has(ffi::SQLITE_OPEN_READONLY))),
            Some(inode) => {
                self.errno = libc::EEXIST;
                *flags &= !(ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE);
                *flags |= ffi::SQLITE_OPEN_READONLY;
                Ok((inode, true))
            }
            None if self.names.is_directory(name) => Err(self.fail(libc::EISDIR, ffi::SQLITE_CANTOPEN)),
            None if !self.names.can_change(name) => {
                let is_log = has(ffi::SQLITE_OPEN_WAL) || has(ffi::SQLITE_OPEN_MAIN_JOURNAL);
                let code = if is_log { ffi::SQLITE_READONLY_DIRECTORY } else { ffi::SQLITE_CANTOPEN };
                Err(self.fail(libc::EACCES, code))
            }
            None if has(ffi::SQLITE_OPEN_CREATE) => Ok((self.create(name), false)),
            None => Err(self.fail(libc::ENOENT, ffi::SQLITE_CANTOPEN)),
        }
    }

    /// Closing is the one call that always works. What the process died with is not given back again.
    pub(super) fn close(&mut self, number: u32) -> c_int {
        let alive = self.admit(number).is_ok();
        let Self { files, disk, names, shms, .. } = self;
        let file = &mut files[number as usize];
        let inode = file.inode;
        if alive {
            shms.unmap(disk, names, file, false);
            if file.is_database {
                lock_levels::lower(disk, file, NONE);
                disk.inode_mut(inode).leave(file.process);
            } else {
                disk.inode_mut(inode).locks.unlock(file.process, posix::ALL);
            }
        } else {
            self.files_dead -= 1;
            if let Some(remains) = file.shm_remains.take() {
                disk.close(remains);
            }
        }
        file.is_open = false;
        disk.close(inode);
        self.free_files.push(number);
        self.files_open -= 1;
        if !alive && self.files_dead == 0 {
            // The dead can reach nothing any more, and no call will ask again whose turn it is.
            self.resume_living();
        }
        ffi::SQLITE_OK
    }

    #[inline]
    pub(super) fn read(&mut self, number: u32, offset: i64, out: &mut [MaybeUninit<u8>]) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        let Ok(offset) = u64::try_from(offset) else {
            return self.fail(libc::EINVAL, ffi::SQLITE_IOERR_READ);
        };
        let inode = self.files[number as usize].inode;
        if self.disk.read(inode, offset, out) == out.len() {
            ffi::SQLITE_OK
        } else {
            self.files[number as usize].errno = 0;
            ffi::SQLITE_IOERR_SHORT_READ
        }
    }

    #[inline]
    pub(super) fn write(&mut self, number: u32, offset: i64, bytes: &[u8]) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        let file = &self.files[number as usize];
        let (errno, code) = match u64::try_from(offset) {
            _ if file.is_readonly => (libc::EBADF, ffi::SQLITE_IOERR_WRITE),
            Err(_) => (libc::EINVAL, ffi::SQLITE_IOERR_WRITE),
            Ok(offset) => match self.store(number, offset, bytes) {
                Ok(()) => return ffi::SQLITE_OK,
                Err(error) => store_code(error, ffi::SQLITE_IOERR_WRITE),
            },
        };
        self.fail_file(number, errno, code)
    }

    #[inline]
    fn store(&mut self, number: u32, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let inode = self.files[number as usize].inode;
        if self.recorder.is_none() {
            return self.disk.write(inode, offset, bytes);
        }
        let before = self.disk.size(inode);
        self.disk.write(inode, offset, bytes)?;
        let name = self.files[number as usize].name.clone();
        self.note_write(inode, &name, offset, bytes, before);
        Ok(())
    }

    /// Notes that a file has another length.
    fn cut(&mut self, number: u32, length: u64) {
        if self.recorder.is_some() {
            let file = &self.files[number as usize];
            let (inode, name) = (file.inode, file.name.clone());
            self.note_truncate(inode, &name, length);
        }
    }

    pub(super) fn truncate(&mut self, number: u32, size: i64) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        let file = &mut self.files[number as usize];
        let size = rounded(size, file.chunk_bytes);
        let (errno, code) = match u64::try_from(size) {
            _ if file.is_readonly => (libc::EINVAL, ffi::SQLITE_IOERR_TRUNCATE),
            Err(_) => (libc::EINVAL, ffi::SQLITE_IOERR_TRUNCATE),
            Ok(bytes) => match self.disk.truncate(file.inode, bytes) {
                Ok(()) => {
                    file.mmap_bytes = file.mmap_bytes.min(size);
                    self.cut(number, bytes);
                    return ffi::SQLITE_OK;
                }
                Err(error) => store_code(error, ffi::SQLITE_IOERR_TRUNCATE),
            },
        };
        self.fail_file(number, errno, code)
    }

    pub(super) fn size(&mut self, number: u32, out: &mut i64) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        let size = self.disk.size(self.files[number as usize].inode);
        // A single byte is a trick of macOS's, for which the unix VFS reports an empty file (`unixFileSize`).
        *out = if size == 1 { 0 } else { size as i64 };
        ffi::SQLITE_OK
    }

    #[inline]
    pub(super) fn lock(&mut self, number: u32, level: c_int) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        let file = &mut self.files[number as usize];
        let rc = lock_levels::raise(&mut self.disk, &self.shms, file, u8::try_from(level).unwrap_or(NONE));
        match rc {
            ffi::SQLITE_OK => rc,
            ffi::SQLITE_BUSY => self.fail(libc::EAGAIN, rc),
            _ => self.fail_file(number, libc::EBADF, rc),
        }
    }

    #[inline]
    pub(super) fn unlock(&mut self, number: u32, level: c_int) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        lock_levels::lower(&mut self.disk, &mut self.files[number as usize], u8::try_from(level).unwrap_or(NONE))
    }

    pub(super) fn check_reserved_lock(&mut self, number: u32, out: &mut c_int) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        *out = c_int::from(lock_levels::is_reserved(&mut self.disk, &self.files[number as usize]));
        ffi::SQLITE_OK
    }

    pub(super) fn control(&mut self, number: u32, control: Control<'_>) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        let file = &mut self.files[number as usize];
        match control {
            Control::LockState(out) => *out = c_int::from(file.level),
            Control::LastErrno(out) => *out = file.errno,
            Control::ChunkSize(bytes) => file.chunk_bytes = i64::from(bytes),
            Control::SizeHint(bytes) => return self.size_hint(number, bytes),
            Control::PersistWal(value) => mode_bit(&mut file.keeps_wal, value),
            Control::PowersafeOverwrite(value) => mode_bit(&mut file.is_powersafe, value),
            Control::HasMoved(out) => {
                *out = c_int::from(file.is_database && self.names.get(&file.name) != Some(file.inode));
            }
            Control::MmapSize(value) => {
                let wanted = (*value).min(MMAP_BYTES_MAX);
                *value = file.mmap_bytes_max;
                if wanted >= 0 && wanted != file.mmap_bytes_max && file.fetched == 0 {
                    file.mmap_bytes_max = wanted;
                    if file.mmap_bytes > 0 {
                        file.mmap_bytes = self.disk.size(file.inode).min(wanted as u64) as i64;
                    }
                }
            }
            Control::ExternalReader(out) => {
                let inode = file.shm.map(|shm| self.shms.inode(shm));
                let readers = posix::slots(3, posix::SLOTS - 3);
                let obstacle = |inode| self.disk.inode(inode).locks.obstacle(file.process, readers, posix::Kind::Write);
                *out = c_int::from(inode.is_some_and(|inode| obstacle(inode).is_some()));
            }
        }
        ffi::SQLITE_OK
    }

    /// `SQLITE_FCNTL_SIZE_HINT` (os_unix.c, `fcntlSizeHint`).
    fn size_hint(&mut self, number: u32, bytes: i64) -> c_int {
        let file = &mut self.files[number as usize];
        let is_mapped_less = file.mmap_bytes_max > 0 && bytes > file.mmap_bytes;
        let size = rounded(bytes, file.chunk_bytes);
        let grows = file.chunk_bytes > 0 && size as u64 > self.disk.size(file.inode);
        if grows || (file.chunk_bytes <= 0 && is_mapped_less) {
            let code = if grows { ffi::SQLITE_IOERR_WRITE } else { ffi::SQLITE_IOERR_TRUNCATE };
            if file.is_readonly {
                return self.fail_file(number, libc::EBADF, code);
            }
            if self.disk.truncate(file.inode, size as u64).is_err() {
                return self.fail_file(number, libc::EFBIG, code);
            }
            self.cut(number, size as u64);
        }
        let file = &mut self.files[number as usize];
        if is_mapped_less && file.fetched == 0 {
            file.mmap_bytes = bytes.min(file.mmap_bytes_max);
        }
        ffi::SQLITE_OK
    }

    /// Settled when it is first asked for (os_unix.c, `setDeviceCharacteristics`).
    pub(super) fn characteristics(&mut self, number: u32) -> c_int {
        let file = &mut self.files[number as usize];
        let withheld = if file.is_powersafe { 0 } else { ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE };
        let device = self.device.characteristics & !withheld;
        *file.characteristics.get_or_insert(ffi::SQLITE_IOCAP_SUBPAGE_READ | device)
    }

    #[inline]
    pub(super) fn shm_map(&mut self, number: u32, region: Region) -> Result<Option<&[Cell<u8>]>, c_int> {
        self.admit(number)?;
        let Self { files, disk, names, shms, .. } = self;
        shms.map(disk, names, &mut files[number as usize], region)
    }

    #[inline]
    pub(super) fn shm_lock(&mut self, number: u32, first: usize, count: usize, flags: c_int) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        self.shms.lock(&mut self.disk, &mut self.files[number as usize], first, count, flags)
    }

    pub(super) fn shm_unmap(&mut self, number: u32, delete: bool) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        let Self { files, disk, names, shms, .. } = self;
        shms.unmap(disk, names, &mut files[number as usize], delete);
        ffi::SQLITE_OK
    }

    /// The memory of a page, or `None` if SQLite is to read it (os_unix.c, `unixFetch`).
    pub(super) fn fetch(&mut self, number: u32, offset: i64, bytes: c_int) -> Result<Option<&[Cell<u8>]>, c_int> {
        self.admit(number)?;
        let file = &mut self.files[number as usize];
        let (Ok(position), Ok(length)) = (u64::try_from(offset), usize::try_from(bytes)) else { return Ok(None) };
        if file.mmap_bytes_max == 0 {
            return Ok(None);
        }
        if file.mmap_bytes == 0 {
            file.mmap_bytes = self.disk.size(file.inode).min(file.mmap_bytes_max as u64) as i64;
        }
        if file.mmap_bytes < offset + i64::from(bytes) + FETCH_MARGIN_BYTES {
            return Ok(None);
        }
        let memory = self.disk.memory(file.inode, position, length);
        file.fetched += u32::from(memory.is_some());
        Ok(memory)
    }

    /// Takes a page back, or the whole mapping if there is none.
    #[inline]
    pub(super) fn unfetch(&mut self, number: u32, is_page: bool) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        let file = &mut self.files[number as usize];
        if is_page {
            file.fetched = file.fetched.saturating_sub(1);
        } else {
            file.unmap();
        }
        ffi::SQLITE_OK
    }

    pub(super) fn fail_file(&mut self, number: u32, errno: c_int, code: c_int) -> c_int {
        // A full disk is no system error to the unix VFS (`unixWrite`).
        self.files[number as usize].errno = if code == ffi::SQLITE_FULL { 0 } else { errno };
        self.fail(errno, code)
    }
}

/// True if the first sync of a file that is opened so syncs its directory as well. Whether the file was there already
/// does not matter (os_unix.c, `unixOpen`, `isNewJrnl`): another process may have created it and not synced it.
fn syncs_directory(flags: c_int) -> bool {
    let logs = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
    flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & logs != 0
}

/// The size, rounded up to whole chunks if there is a chunk size.
fn rounded(bytes: i64, chunk_bytes: i64) -> i64 {
    if chunk_bytes > 0 { (bytes + chunk_bytes - 1) / chunk_bytes * chunk_bytes } else { bytes }
}

/// A negative value asks, others set (os_unix.c, `unixModeBit`).
fn mode_bit(bit: &mut bool, value: &mut c_int) {
    if *value < 0 {
        *value = c_int::from(*bit);
    } else {
        *bit = *value != 0;
    }
}

/// The database that a log or journal belongs to by its name (os_unix.c, `findCreateFileMode`).
fn database_of(name: &[u8]) -> Option<&[u8]> {
    let end = name.iter().rposition(|byte| b"-.".contains(byte))?;
    (end > 0 && name[end] == b'-').then(|| &name[..end])
}
