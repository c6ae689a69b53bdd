//! The log, through the file that a connection has open.
//!
//! The C contracts relied upon, beside those of the parent module:
//!
//! - `sqlite3_file_control` with `SQLITE_FCNTL_JOURNAL_POINTER` (c3ref) writes the `sqlite3_file` of the log of a
//!   connection in WAL mode. It stays open until the connection leaves that mode or is closed.
//! - `xFileSize`, `xRead`, `xWrite` and `xSync` (c3ref/io_methods) may be called on an open file by the thread that
//!   holds the connection. A VFS may rely on SQLite's offsets and amounts, so these are used: the header of the log,
//!   and each frame's header and page by themselves (<https://sqlite.org/fileformat2.html#walformat>).
#![expect(unsafe_code, reason = "the module exists for it")]

use super::locks::{control, methods_of};
use rusqlite::{Connection, ffi};
use std::ffi::c_int;
use std::ptr::{self, NonNull};

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// Writes the bytes of the log again, unchanged, and syncs them. The connection is in WAL mode and has the write lock,
/// so no other one writes to the log.
///
/// # Errors
/// The code of the method that failed.
pub(crate) fn write_log_again(conn: &Connection) -> Result<(), c_int> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    control(conn, ffi::SQLITE_FCNTL_JOURNAL_POINTER, (&raw mut file).cast()).ok_or(ffi::SQLITE_ERROR)?;
    let file = NonNull::new(file).ok_or(ffi::SQLITE_ERROR)?;
    let log = Log { file, methods: methods_of(file).ok_or(ffi::SQLITE_ERROR)? };
    let size = log.size()?;
    let mut header = [0; HEADER_BYTES];
    if size < HEADER_BYTES as u64 {
        return Ok(());
    }
    log.repeat(0, &mut header)?;
    let page_bytes = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if !(512..=65536).contains(&page_bytes) {
        // Not SQLite's: there is no frame in it that recovery would read.
        return log.sync();
    }
    let (mut frame_header, mut page) = ([0; FRAME_HEADER_BYTES], vec![0; page_bytes as usize]);
    let mut offset = HEADER_BYTES as u64;
    while offset + (FRAME_HEADER_BYTES + page.len()) as u64 <= size {
        log.repeat(offset, &mut frame_header)?;
        log.repeat(offset + FRAME_HEADER_BYTES as u64, &mut page)?;
        offset += (FRAME_HEADER_BYTES + page.len()) as u64;
    }
    log.sync()
}

/// The log of a connection that is borrowed.
struct Log {
    file: NonNull<ffi::sqlite3_file>,
    methods: &'static ffi::sqlite3_io_methods,
}

impl Log {
    fn size(&self) -> Result<u64, c_int> {
        let mut bytes: ffi::sqlite3_int64 = 0;
        let ask = self.methods.xFileSize.ok_or(ffi::SQLITE_ERROR)?;
        // SAFETY: the file is open, and `bytes` is a valid place for the answer.
        ok(unsafe { ask(self.file.as_ptr(), &raw mut bytes) })?;
        u64::try_from(bytes).map_err(|_| ffi::SQLITE_ERROR)
    }

    /// Reads as many bytes as the buffer has and writes them to their place.
    fn repeat(&self, offset: u64, buffer: &mut [u8]) -> Result<(), c_int> {
        let (read, write) = self.methods.xRead.zip(self.methods.xWrite).ok_or(ffi::SQLITE_ERROR)?;
        let amount = c_int::try_from(buffer.len()).map_err(|_| ffi::SQLITE_ERROR)?;
        let offset = ffi::sqlite3_int64::try_from(offset).map_err(|_| ffi::SQLITE_ERROR)?;
        // SAFETY: the file is open, and the buffer has so many bytes.
        ok(unsafe { read(self.file.as_ptr(), buffer.as_mut_ptr().cast(), amount, offset) })?;
        // SAFETY: the same; the bytes are only read.
        ok(unsafe { write(self.file.as_ptr(), buffer.as_ptr().cast(), amount, offset) })
    }

    fn sync(&self) -> Result<(), c_int> {
        let sync = self.methods.xSync.ok_or(ffi::SQLITE_ERROR)?;
        // SAFETY: the file is open.
        ok(unsafe { sync(self.file.as_ptr(), ffi::SQLITE_SYNC_NORMAL) })
    }
}

fn ok(code: c_int) -> Result<(), c_int> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}
