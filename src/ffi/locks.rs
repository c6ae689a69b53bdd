//! Locks that neither the standard library nor rusqlite takes: of open file descriptions, and SQLite's own.
//!
//! The C contracts relied upon:
//!
//! - `fcntl(fd, F_OFD_SETLK | F_OFD_GETLK, &flock)` (fcntl(2), Linux 3.15): the lock belongs to the open file
//!   description. Closing another descriptor of the file does not drop it. `l_pid` must be 0. `F_OFD_GETLK` writes
//!   `F_UNLCK` into `l_type` if no lock of another description is in the way.
//! - `SQLITE_FCNTL_FILE_POINTER` (c3ref) writes the connection's `sqlite3_file`, which lives as long as the connection.
//!   `SQLITE_FCNTL_LOCKSTATE` writes the lock that this file has now, as an int.
//! - `xLock(file, level)` raises the lock or answers BUSY, and may then have left PENDING behind. `xUnlock(file,
//!   SHARED)` lowers it to SHARED (c3ref/io_methods). `xRead` fills the buffer whole or answers an error.
//! - `xShmMap(file, 0, 32768, 0, &p)` gives the first region of the wal-index, or NULL if there is none; the memory
//!   stays mapped while the connection is in WAL mode and is shared with other processes. Its layout is part of the
//!   file format (walformat, section 2.2).

use rusqlite::{Connection, ffi};
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

/// Takes a shared lock on one byte for the open file description. False if another one holds it exclusively.
pub(crate) fn lock_byte(file: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    let shared = c_int::from(sys::SHARED);
    match sys::control(file, sys::Command::Set, shared, byte, 1) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives back the locks of the open file description from one byte on, so many bytes long; 0 is to the end.
pub(crate) fn unlock_bytes(file: BorrowedFd<'_>, from: u64, length: u64) -> io::Result<()> {
    sys::control(file, sys::Command::Set, c_int::from(sys::UNLOCKED), from, length).map(drop)
}

/// Whether another open file description has a lock on one of these bytes.
pub(crate) fn is_locked_elsewhere(file: BorrowedFd<'_>, from: u64, length: u64) -> io::Result<bool> {
    let found = sys::control(file, sys::Command::Get, c_int::from(sys::EXCLUSIVE), from, length)?;
    Ok(found != c_int::from(sys::UNLOCKED))
}

#[cfg(target_os = "linux")]
mod sys {
    use std::ffi::{c_int, c_short};
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    pub(super) const SHARED: c_short = libc::F_RDLCK as c_short;
    pub(super) const EXCLUSIVE: c_short = libc::F_WRLCK as c_short;
    pub(super) const UNLOCKED: c_short = libc::F_UNLCK as c_short;

    pub(super) enum Command {
        Set,
        Get,
    }

    pub(super) fn control(
        file: BorrowedFd<'_>,
        command: Command,
        kind: c_int,
        from: u64,
        length: u64,
    ) -> io::Result<c_int> {
        let command = match command {
            Command::Set => libc::F_OFD_SETLK,
            Command::Get => libc::F_OFD_GETLK,
        };
        let mut lock = libc::flock {
            l_type: kind as c_short,
            l_whence: libc::SEEK_SET as c_short,
            l_start: i64::try_from(from).unwrap_or(i64::MAX) as libc::off_t,
            l_len: i64::try_from(length).unwrap_or(0) as libc::off_t,
            l_pid: 0,
        };
        // SAFETY: the descriptor is open as long as it is borrowed, and both commands take a `flock`, which lives here.
        let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) };
        if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(c_int::from(lock.l_type)) }
    }
}

#[cfg(not(target_os = "linux"))]
mod sys {
    use std::ffi::c_int;
    use std::io;
    use std::os::fd::BorrowedFd;

    pub(super) const SHARED: i16 = 0;
    pub(super) const EXCLUSIVE: i16 = 1;
    pub(super) const UNLOCKED: i16 = 2;

    pub(super) enum Command {
        Set,
        Get,
    }

    pub(super) fn control(_: BorrowedFd<'_>, _: Command, _: c_int, _: u64, _: u64) -> io::Result<c_int> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The exclusive lock on a database in WAL mode: no other connection has the file open, as far as locks tell. SQLite
/// itself asks so before the last close. Dropping it goes back to the shared lock.
pub(crate) struct SoleUser<'a> {
    conn: &'a Connection,
}

impl SoleUser<'_> {
    /// Asks for it without waiting. `None` if another connection has a lock, and if this one has none at rest.
    pub(crate) fn ask(conn: &Connection) -> Option<SoleUser<'_>> {
        let mut level: c_int = -1;
        control(conn, ffi::SQLITE_FCNTL_LOCKSTATE, (&raw mut level).cast())?;
        if level != ffi::SQLITE_LOCK_SHARED || !conn.is_autocommit() {
            return None;
        }
        let file = file_of(conn)?;
        let lock = methods_of(file)?.xLock?;
        // SAFETY: the connection is at rest with a shared lock, from which the exclusive one may be asked for.
        let code = unsafe { lock(file.as_ptr(), ffi::SQLITE_LOCK_EXCLUSIVE) };
        let sole = SoleUser { conn };
        // Dropped, it gives back what a refusal has left behind.
        if code == ffi::SQLITE_OK { Some(sole) } else { None }
    }
}

impl Drop for SoleUser<'_> {
    fn drop(&mut self) {
        let Some(file) = file_of(self.conn) else { return };
        let Some(unlock) = methods_of(file).and_then(|methods| methods.xUnlock) else { return };
        // SAFETY: lowers a lock that is SHARED or more; SQLite believes that it is SHARED.
        unsafe { unlock(file.as_ptr(), ffi::SQLITE_LOCK_SHARED) };
    }
}

/// The first bytes of the database file as they are on the disk, without the log; read through SQLite's own file.
pub(crate) fn raw_prefix<const N: usize>(conn: &Connection) -> Option<[u8; N]> {
    let file = file_of(conn)?;
    let mut bytes = [0; N];
    let read = methods_of(file)?.xRead?;
    // SAFETY: the buffer has that many bytes.
    let code = unsafe { read(file.as_ptr(), bytes.as_mut_ptr().cast(), c_int::try_from(N).ok()?, 0) };
    (code == ffi::SQLITE_OK).then_some(bytes)
}

/// How far checkpoints have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backfill {
    /// They change whenever the log is begun anew.
    salts: [u32; 2],
    frames: u32,
    frames_attempted: u32,
    /// In the log.
    frames_all: u32,
}

impl Backfill {
    /// Looks into the wal-index. `None` without one.
    pub(crate) fn of(conn: &Connection) -> Option<Backfill> {
        const REGION_BYTES: c_int = 32 * 1024;
        let file = file_of(conn)?;
        let methods = methods_of(file)?;
        let map = methods.xShmMap.filter(|_| methods.iVersion >= 2)?;
        let mut region: *mut c_void = ptr::null_mut();
        // SAFETY: asks for the first region without making it longer; `region` is a valid place for its address.
        let code = unsafe { map(file.as_ptr(), 0, REGION_BYTES, 0, &raw mut region) };
        let words: *const u32 = region.cast_const().cast();
        if code != ffi::SQLITE_OK || !words.is_aligned() || words.is_null() {
            return None;
        }
        let word = |offset_bytes: usize| {
            // SAFETY: the offset lies within the region.
            let word = unsafe { words.byte_add(offset_bytes) };
            // SAFETY: the offset is a multiple of 4. Other processes write the region word by word.
            unsafe { word.read_volatile() }
        };
        let (salts, frames_all) = ([word(32), word(36)], word(16));
        Some(Backfill { salts, frames: word(96), frames_attempted: word(128), frames_all })
    }

    /// Whether a part of the log is in the database. Without the rest, the database is of no moment: a checkpoint
    /// leaves out the pages that a later frame has again.
    pub(crate) fn is_partial(self) -> bool {
        self.frames_attempted > 0 && self.frames < self.frames_all
    }

    /// Whether they have come as far as at another time; the log may have grown.
    pub(crate) fn is_as_far_as(self, other: Backfill) -> bool {
        (self.salts, self.frames, self.frames_attempted) == (other.salts, other.frames, other.frames_attempted)
    }

    /// Whether no checkpoint is under way, and none has stopped half way.
    pub(crate) fn is_at_rest(self) -> bool {
        self.frames == self.frames_attempted
    }
}

fn file_of(conn: &Connection) -> Option<NonNull<ffi::sqlite3_file>> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    control(conn, ffi::SQLITE_FCNTL_FILE_POINTER, (&raw mut file).cast())?;
    NonNull::new(file)
}

/// The methods of a connection's file, from `file_of`, while the connection is borrowed. `None` if it is not open.
pub(super) fn methods_of(file: NonNull<ffi::sqlite3_file>) -> Option<&'static ffi::sqlite3_io_methods> {
    // SAFETY: SQLite has given the address of its file, which lives as long as the connection.
    let methods = unsafe { (*file.as_ptr()).pMethods };
    // SAFETY: a table of methods that is not NULL is a static of its VFS, which is not unloaded while files are open.
    unsafe { methods.as_ref() }
}

pub(super) fn control(conn: &Connection, operation: c_int, out: *mut c_void) -> Option<()> {
    // SAFETY: the handle is used within this function alone, while `conn` is borrowed, so it is open throughout.
    let db = unsafe { conn.handle() };
    // SAFETY: `db` is an open connection, the name ends with a zero byte, and `out` is what the control writes.
    let code = unsafe { ffi::sqlite3_file_control(db, c"main".as_ptr(), operation, out) };
    (code == ffi::SQLITE_OK).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sole_user_is_asked_as_sqlite_asks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)").unwrap();
        let second = Connection::open(&path).unwrap();
        second.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
        assert!(SoleUser::ask(&conn).is_none());
        second.execute_batch("INSERT INTO t VALUES (1)").expect("the refused lock has left nothing behind");
        drop(second);
        let sole = SoleUser::ask(&conn).unwrap();
        let third = Connection::open(&path).unwrap();
        third.busy_timeout(std::time::Duration::ZERO).unwrap();
        third.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap_err();
        drop(sole);
        third.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
        assert_eq!(&raw_prefix::<16>(&conn).unwrap(), b"SQLite format 3\0");
    }
}
