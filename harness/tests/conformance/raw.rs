//! Files of a VFS without a connection: the C methods as safe functions.
//!
//! What makes them safe: the file object and the name stay where they are until `xClose`; buffers are as long as they
//! say; memory that the VFS hands out is only reached through [`RawFile`], which the callers use by SQLite's rules
//! (mapped memory is looked at before it is given back).
#![expect(unsafe_code, reason = "an FFI module")]

use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};
use std::ffi::{CString, c_int, c_void};
use std::ptr::{self, NonNull};

/// A VFS in SQLite's list.
#[derive(Clone, Copy)]
pub struct RawVfs(NonNull<sqlite3_vfs>);

/// An open file. It must be closed with [`RawFile::close`].
pub struct RawFile {
    file: *mut sqlite3_file,
    // Behind `file` and the name; never touched again.
    _memory: Vec<u64>,
    _name: Vec<u8>,
}

impl RawVfs {
    pub fn find(name: &str) -> Self {
        let name = CString::new(name).unwrap();
        // SAFETY: a NUL-terminated name.
        Self(NonNull::new(unsafe { ffi::sqlite3_vfs_find(name.as_ptr()) }).unwrap())
    }

    fn methods(&self) -> &sqlite3_vfs {
        // SAFETY: registered for as long as the tests use it.
        unsafe { self.0.as_ref() }
    }

    /// Opens a file; with the flags that came back, or the code.
    pub fn open(&self, name: Option<&str>, flags: c_int) -> Result<(RawFile, c_int), c_int> {
        let mut memory = vec![0_u64; self.methods().szOsFile as usize / 8 + 1];
        let file: *mut sqlite3_file = memory.as_mut_ptr().cast();
        // Zeroes around the name make it a sqlite3_filename without parameters.
        let mut bytes = vec![0_u8; 4];
        bytes.extend_from_slice(name.unwrap_or_default().as_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let address = if name.is_some() { bytes[4..].as_ptr().cast() } else { ptr::null() };
        let mut out = 0;
        let open = self.methods().xOpen.unwrap();
        // SAFETY: szOsFile bytes, aligned to 8; a name laid out as a sqlite3_filename; a valid out-pointer.
        let rc = unsafe { open(self.0.as_ptr(), address, file, flags, &raw mut out) };
        let opened = RawFile { file, _memory: memory, _name: bytes };
        if rc == ffi::SQLITE_OK { Ok((opened, out)) } else { Err(rc) }
    }

    pub fn access(&self, name: &str, flags: c_int) -> (c_int, c_int) {
        let name = CString::new(name).unwrap();
        let mut out = -1;
        let access = self.methods().xAccess.unwrap();
        // SAFETY: a NUL-terminated name and a valid out-pointer.
        (unsafe { access(self.0.as_ptr(), name.as_ptr(), flags, &raw mut out) }, out)
    }

    pub fn delete(&self, name: &str) -> c_int {
        let name = CString::new(name).unwrap();
        let delete = self.methods().xDelete.unwrap();
        // SAFETY: a NUL-terminated name.
        unsafe { delete(self.0.as_ptr(), name.as_ptr(), 0) }
    }

    pub fn full_pathname(&self, name: &str) -> (c_int, String) {
        let name = CString::new(name).unwrap();
        let mut out = vec![0_u8; self.methods().mxPathname as usize + 1];
        let full = self.methods().xFullPathname.unwrap();
        // SAFETY: a NUL-terminated name and a buffer as long as it says.
        let rc = unsafe { full(self.0.as_ptr(), name.as_ptr(), out.len() as c_int, out.as_mut_ptr().cast()) };
        let text = out.split(|&byte| byte == 0).next().unwrap_or_default();
        (rc, String::from_utf8_lossy(text).into_owned())
    }
}

impl RawFile {
    fn methods(&self) -> &sqlite3_io_methods {
        // SAFETY: open until `close`.
        let methods = unsafe { (*self.file).pMethods };
        // SAFETY: an open file's table.
        unsafe { &*methods }
    }

    pub fn close(self) -> c_int {
        let close = self.methods().xClose.unwrap();
        // SAFETY: open, and not used afterwards.
        unsafe { close(self.file) }
    }

    pub fn read(&self, bytes: &mut [u8], offset: i64) -> c_int {
        let read = self.methods().xRead.unwrap();
        // SAFETY: the buffer is as long as it says.
        unsafe { read(self.file, bytes.as_mut_ptr().cast(), bytes.len() as c_int, offset) }
    }

    pub fn write(&self, bytes: &[u8], offset: i64) -> c_int {
        let write = self.methods().xWrite.unwrap();
        // SAFETY: the buffer is as long as it says.
        unsafe { write(self.file, bytes.as_ptr().cast(), bytes.len() as c_int, offset) }
    }

    pub fn truncate(&self, size: i64) -> c_int {
        let truncate = self.methods().xTruncate.unwrap();
        // SAFETY: an open file.
        unsafe { truncate(self.file, size) }
    }

    pub fn sync(&self) -> c_int {
        let sync = self.methods().xSync.unwrap();
        // SAFETY: an open file.
        unsafe { sync(self.file, ffi::SQLITE_SYNC_NORMAL) }
    }

    pub fn size(&self) -> (c_int, i64) {
        let mut out = -1;
        let size = self.methods().xFileSize.unwrap();
        // SAFETY: an open file and a valid out-pointer.
        (unsafe { size(self.file, &raw mut out) }, out)
    }

    pub fn lock(&self, level: c_int) -> c_int {
        let lock = self.methods().xLock.unwrap();
        // SAFETY: an open file.
        unsafe { lock(self.file, level) }
    }

    pub fn unlock(&self, level: c_int) -> c_int {
        let unlock = self.methods().xUnlock.unwrap();
        // SAFETY: an open file.
        unsafe { unlock(self.file, level) }
    }

    pub fn check_reserved_lock(&self) -> (c_int, c_int) {
        let mut out = -1;
        let check = self.methods().xCheckReservedLock.unwrap();
        // SAFETY: an open file and a valid out-pointer.
        (unsafe { check(self.file, &raw mut out) }, out)
    }

    /// A file control whose argument is a number of 32 or 64 bits. SQLite reads and writes as many as the opcode wants,
    /// at the same address on the little-endian machines that the tests run on.
    pub fn control(&self, op: c_int, value: i64) -> (c_int, i64) {
        let mut value = value;
        let control = self.methods().xFileControl.unwrap();
        // SAFETY: an open file; 8 bytes are enough for all opcodes that the tests use.
        let rc = unsafe { control(self.file, op, (&raw mut value).cast()) };
        (rc, value)
    }

    pub fn sector_size(&self) -> c_int {
        let size = self.methods().xSectorSize.unwrap();
        // SAFETY: an open file.
        unsafe { size(self.file) }
    }

    pub fn characteristics(&self) -> c_int {
        let characteristics = self.methods().xDeviceCharacteristics.unwrap();
        // SAFETY: an open file.
        unsafe { characteristics(self.file) }
    }

    /// Version of the method table, and whether it has a wal-index.
    pub fn abilities(&self) -> (c_int, bool) {
        (self.methods().iVersion, self.methods().xShmMap.is_some())
    }

    pub fn shm_map(&self, region: c_int, extend: bool) -> (c_int, Option<Memory>) {
        let mut out: *mut c_void = ptr::null_mut();
        let map = self.methods().xShmMap.unwrap();
        // SAFETY: an open database file and a valid out-pointer.
        let rc = unsafe { map(self.file, region, Memory::REGION as c_int, c_int::from(extend), &raw mut out) };
        (rc, NonNull::new(out.cast()).map(Memory))
    }

    pub fn shm_lock(&self, first: c_int, count: c_int, flags: c_int) -> c_int {
        let lock = self.methods().xShmLock.unwrap();
        // SAFETY: an open file.
        unsafe { lock(self.file, first, count, flags) }
    }

    pub fn shm_barrier(&self) {
        let barrier = self.methods().xShmBarrier.unwrap();
        // SAFETY: an open file.
        unsafe { barrier(self.file) };
    }

    pub fn shm_unmap(&self, delete: bool) -> c_int {
        let unmap = self.methods().xShmUnmap.unwrap();
        // SAFETY: an open file.
        unsafe { unmap(self.file, c_int::from(delete)) }
    }

    pub fn fetch(&self, offset: i64, length: c_int) -> (c_int, Option<Memory>) {
        let mut out: *mut c_void = ptr::null_mut();
        let fetch = self.methods().xFetch.unwrap();
        // SAFETY: an open file and a valid out-pointer.
        let rc = unsafe { fetch(self.file, offset, length, &raw mut out) };
        (rc, NonNull::new(out.cast()).map(Memory))
    }

    pub fn unfetch(&self, offset: i64, page: Option<Memory>) -> c_int {
        let unfetch = self.methods().xUnfetch.unwrap();
        let page = page.map_or(ptr::null_mut(), |page| page.0.as_ptr().cast());
        // SAFETY: an open file, and a page that it gave for this offset, or none.
        unsafe { unfetch(self.file, offset, page) }
    }
}

/// Memory that a VFS has handed out and not taken back.
#[derive(Clone, Copy)]
pub struct Memory(NonNull<u8>);

impl Memory {
    /// Bytes in a region of a wal-index.
    pub const REGION: usize = 32768;

    pub fn load(self, index: usize) -> u8 {
        assert!(index < Self::REGION);
        // SAFETY: within the memory.
        let place = unsafe { self.0.add(index) };
        // SAFETY: readable; others may change it, but not at the same time.
        unsafe { place.read_volatile() }
    }

    pub fn store(self, index: usize, byte: u8) {
        assert!(index < Self::REGION);
        // SAFETY: within the memory.
        let place = unsafe { self.0.add(index) };
        // SAFETY: a region may be written.
        unsafe { place.write_volatile(byte) };
    }

    pub fn is_aligned(self) -> bool {
        self.0.cast::<u64>().is_aligned()
    }
}
