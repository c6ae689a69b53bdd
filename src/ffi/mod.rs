//! The only modules with `unsafe`: what neither the standard library nor rusqlite offers safely.
//!
//! The C contracts relied upon:
//!
//! - `sqlite3_system_errno(db)` (capi3ref) reads a field of an open connection. It may be called at any time between
//!   open and close by the holder of the connection.
//! - `sqlite3_busy_timeout(db, ms)` (capi3ref) may be called like it, and replaces the busy handler.
//! - `sqlite3_file_control` with `SQLITE_FCNTL_HAS_MOVED` (c3ref) writes an int that is not zero if the file has moved.
//! - `sqlite3_open_v2` (capi3ref) writes a handle, or NULL if there is no memory for one, whether or not it succeeds. A
//!   handle has to be closed even if opening failed. Both strings end with a zero byte; a NULL VFS name means the
//!   default.
//! - `sqlite3_vfs_find` (capi3ref) returns a registered VFS or NULL; a VFS must not be unregistered while it is in use.
//! - `xAccess(vfs, path, flags, &answer)` (c3ref/vfs) writes whether there is such a file. It may be called at any
//!   time.
//! - `pthread_atfork(3)`: the child handler runs in the child of `fork`, on its only thread, before `fork` returns
//!   there. It may use async-signal-safe functions alone. `getpid(2)` is one, and so is an atomic store.
#![expect(unsafe_code, reason = "the module exists for it")]

mod child;
mod forked;
mod keeper;
mod locks;
mod log_file;
mod log_hook;
mod owned;
pub(crate) mod pragmas;
mod watch;

pub(crate) use child::{HASH_START, hash, hashes_in_child, locks_in_child, read_in_child};
pub(crate) use keeper::{LockRange, LockedFile, copy_in_child};
pub(crate) use locks::{Backfill, SoleUser, is_locked_elsewhere, lock_byte, raw_prefix, unlock_bytes};
pub(crate) use log_file::write_log_again;
pub(crate) use owned::{Kept, OwnedConnection};
pub(crate) use watch::{Endings, Watch, has_running_statement, reset_running_statements};

use crate::sync::{AtomicPtr, AtomicU32, Ordering};
use rusqlite::{Connection, OpenFlags, ffi};
use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr;
use std::sync::Once;
use std::time::Duration;

/// A file that could not be opened: rusqlite's error, and the system's reason.
#[derive(Debug)]
pub(crate) struct OpenFailure {
    pub(crate) error: rusqlite::Error,
    pub(crate) errno: Option<i32>,
}

/// The system's reason for the last CANTOPEN or IOERR of a connection; meaningful only right after one of those.
pub(crate) fn system_errno(conn: &Connection) -> Option<i32> {
    // SAFETY: the handle is used within this function alone, while `conn` is borrowed, so it is open throughout.
    let db = unsafe { conn.handle() };
    // SAFETY: `db` is an open connection, and the holder of `conn` may use it.
    let errno = unsafe { ffi::sqlite3_system_errno(db) };
    (errno != 0).then_some(errno)
}

/// The C handle of a connection, for a call that ends before the borrow does.
fn handle(conn: &Connection) -> *mut ffi::sqlite3 {
    // SAFETY: the callers use the handle while `conn` is borrowed, so it is open throughout, and close nothing.
    unsafe { conn.handle() }
}

/// A number that a file control writes.
trait Number: Copy {}
impl Number for c_int {}
impl Number for i64 {}
impl Number for u32 {}

/// Whether the file under the connection has lost its name to another one, or altogether. A VFS that does not know says
/// no.
pub(crate) fn has_moved(conn: &Connection) -> bool {
    watch::control::<c_int>(conn, ffi::SQLITE_FCNTL_HAS_MOVED, 0) != 0
}

/// A number that changes with every commit to the main database that the connection makes or notices, whatever the
/// statement: rows, the schema, pragmas, VACUUM, blobs, backups. 0 if the VFS is asked in vain.
pub(crate) fn data_version(conn: &Connection) -> u32 {
    watch::control(conn, ffi::SQLITE_FCNTL_DATA_VERSION, 0)
}

/// The system's reason for the last call on the main database's file that failed, as far as its VFS keeps it.
pub(crate) fn file_errno(conn: &Connection) -> Option<i32> {
    Some(watch::control::<c_int>(conn, ffi::SQLITE_FCNTL_LAST_ERRNO, 0)).filter(|&errno| errno != 0)
}

/// The code of the connection's last call that failed, or 0 if a later one succeeded.
pub(crate) fn last_code(conn: &Connection) -> i32 {
    // SAFETY: the connection is open, and the holder of `conn` may use it.
    unsafe { ffi::sqlite3_extended_errcode(handle(conn)) }
}

/// Whether the connection has a database beside `main` and `temp`.
pub(crate) fn has_attached(conn: &Connection) -> bool {
    // SAFETY: the connection is open, and the holder of `conn` may use it. A number without a database gives NULL.
    !unsafe { ffi::sqlite3_db_name(handle(conn), 2) }.is_null()
}

/// The most bytes that the path of a database may have with a VFS, so that its journal has room as well; `None` if
/// there is no such VFS.
pub(crate) fn path_bytes_max(vfs: Option<&str>) -> Option<usize> {
    let name = vfs.map(CString::new).transpose().ok()?;
    // SAFETY: the name ends with a zero byte and outlives the call; NULL asks for the default.
    let vfs = unsafe { ffi::sqlite3_vfs_find(name.as_ref().map_or(ptr::null(), |name| name.as_ptr())) };
    // SAFETY: a VFS that is not NULL is registered, and nothing unregisters one that databases are opened with.
    let vfs = unsafe { vfs.as_ref() }?;
    // SQLite wants room for "-journal", and for a slash and a zero byte.
    usize::try_from(vfs.mxPathname).ok()?.checked_sub("-journal".len())
}

/// Whether a VFS has a file with this name that may be read and written; `None` if it cannot be asked.
pub(crate) fn vfs_has(vfs: Option<&str>, path: &Path) -> Option<bool> {
    use std::os::unix::ffi::OsStrExt;
    let name = vfs.map(CString::new).transpose().ok()?;
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: as in `path_bytes_max`.
    let vfs = unsafe { ffi::sqlite3_vfs_find(name.as_ref().map_or(ptr::null(), |name| name.as_ptr())) };
    // SAFETY: as in `path_bytes_max`.
    let access = unsafe { vfs.as_ref() }?.xAccess?;
    let mut found: c_int = 0;
    // SAFETY: the VFS is registered, the path ends with a zero byte, and `found` is a valid place for the answer. The
    // question for an existing file would say no to an empty one.
    let code = unsafe { access(vfs, path.as_ptr(), ffi::SQLITE_ACCESS_READWRITE, &raw mut found) };
    (code == ffi::SQLITE_OK).then_some(found != 0)
}

/// Sets how long SQLite waits for locks, as rusqlite does, but without what it costs there: this runs after every
/// borrow.
pub(crate) fn set_busy_timeout(conn: &Connection, timeout: Duration) {
    let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the handle is used within this function alone, while `conn` is borrowed, so it is open throughout.
    let db = unsafe { conn.handle() };
    // SAFETY: `db` is an open connection, and the holder of `conn` may use it. It fails for no other reason than a
    // connection that is not.
    unsafe { ffi::sqlite3_busy_timeout(db, timeout_ms) };
}

/// Opens a connection like rusqlite does, and keeps the errno if that fails.
pub(crate) fn open(path: &Path, flags: OpenFlags, vfs: Option<&str>) -> Result<Connection, OpenFailure> {
    use std::os::unix::ffi::OsStrExt;
    let name = CString::new(path.as_os_str().as_bytes()).map_err(without_errno)?;
    let vfs = vfs.map(CString::new).transpose().map_err(without_errno)?;
    let mut db = ptr::null_mut();
    // The new handle gives extended codes from the first call on.
    let flags = flags.bits() | ffi::SQLITE_OPEN_EXRESCODE;
    // SAFETY: both strings end with a zero byte and outlive the call; `db` is a valid place for the handle.
    let code = unsafe {
        ffi::sqlite3_open_v2(name.as_ptr(), &raw mut db, flags, vfs.as_ref().map_or(ptr::null(), |vfs| vfs.as_ptr()))
    };
    if db.is_null() {
        return Err(failure(code, None, None));
    }
    // SAFETY: SQLite has just returned the handle, and no other code has it. rusqlite closes it when it is dropped.
    let conn = unsafe { Connection::from_handle_owned(db) }.map_err(|error| OpenFailure { error, errno: None })?;
    if code == ffi::SQLITE_OK {
        return Ok(conn);
    }
    // SAFETY: `db` is open as long as `conn` lives. The text belongs to the connection and is copied at once.
    let message = unsafe { ffi::sqlite3_errmsg(db) };
    let message = (!message.is_null())
        // SAFETY: a text that is not NULL ends with a zero byte and stays until the connection is used again.
        .then(|| unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned());
    Err(failure(code, message, system_errno(&conn)))
}

fn failure(code: c_int, message: Option<String>, errno: Option<i32>) -> OpenFailure {
    OpenFailure { error: rusqlite::Error::SqliteFailure(ffi::Error::new(code), message), errno }
}

fn without_errno(error: std::ffi::NulError) -> OpenFailure {
    OpenFailure { error: error.into(), errno: None }
}

/// A place for a reference that lives for ever, shared between threads without a lock.
#[derive(Debug)]
pub(crate) struct StaticRef<T: 'static> {
    pointer: AtomicPtr<T>,
}

impl<T: Sync + 'static> StaticRef<T> {
    pub(crate) const fn none() -> StaticRef<T> {
        StaticRef { pointer: AtomicPtr::new(ptr::null_mut()) }
    }

    pub(crate) fn store(&self, value: Option<&'static T>) {
        self.pointer.store(value.map_or(ptr::null_mut(), |value| ptr::from_ref(value).cast_mut()), Ordering::Release);
    }

    pub(crate) fn load(&self) -> Option<&'static T> {
        let pointer = self.pointer.load(Ordering::Acquire);
        // SAFETY: it is NULL or came from a reference in `store`, which is valid for ever and only ever read through.
        unsafe { pointer.as_ref() }
    }
}

/// The process's id. The system is asked once in each process: a call into the kernel for every borrow would cost more
/// than all other bookkeeping together.
///
/// Children made with `clone` or `_Exit`-like tricks behind the C library's back are not noticed.
pub(crate) fn pid() -> u32 {
    static PID: AtomicU32 = AtomicU32::new(0);
    static ONCE: Once = Once::new();

    extern "C" fn in_child() {
        PID.store(std::process::id(), Ordering::Relaxed);
    }

    let known = PID.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    ONCE.call_once(|| {
        // SAFETY: the handler is a function without state that calls `getpid` and stores into an atomic.
        let code = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        // Without the handler nothing is remembered, and every call asks the system.
        if code == 0 {
            PID.store(std::process::id(), Ordering::Relaxed);
        }
    });
    std::process::id()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::ffi::c_void;
    use std::panic::catch_unwind;

    #[test]
    fn a_failure_to_open_carries_the_errno() {
        let dir = tempfile::tempdir().unwrap();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let failure = open(&dir.path().join("none.db"), flags, None).unwrap_err();
        assert_eq!((failure.error.sqlite_error().map(|error| error.extended_code), failure.errno), (Some(14), Some(2)));
        assert!(failure.error.to_string().contains("unable to open database file"), "{}", failure.error);
        let failure = open(&dir.path().join("x.db"), flags, Some("no such vfs")).unwrap_err();
        assert!(failure.error.to_string().contains("no such vfs"), "{}", failure.error);
        assert!(open(Path::new("a\0b"), flags, None).is_err());
        let flags = flags | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = open(&dir.path().join("x.db"), flags, None).unwrap();
        assert_eq!(last_code(&conn), 0);
        assert!(!has_attached(&conn));
        assert_eq!(path_bytes_max(None), Some(504));
        assert_eq!(path_bytes_max(Some("no such vfs")), None);
        assert_eq!(system_errno(&conn), None);
    }

    /// What a connection does when it meets a lock.
    pub(crate) trait Busy {
        /// Whether to try again.
        fn goes_on() -> bool;
    }

    /// rusqlite requires an owned connection for this, and a transaction is none.
    pub(crate) fn when_busy<B: Busy>(conn: &Connection) {
        extern "C" fn handler<B: Busy>(_: *mut c_void, _: c_int) -> c_int {
            catch_unwind(B::goes_on).map_or(0, c_int::from)
        }
        // SAFETY: the handle is used within this function alone, while `conn` is borrowed, so it is open throughout.
        let db = unsafe { conn.handle() };
        // SAFETY: the handler is a function without state that lets no panic through.
        let code = unsafe { ffi::sqlite3_busy_handler(db, Some(handler::<B>), ptr::null_mut()) };
        assert_eq!(code, ffi::SQLITE_OK);
    }

    /// Whether the body says yes in a forked child, which ends without running anything else of the parent's.
    ///
    /// Only for processes with no other thread at work, and for bodies that need none.
    pub(crate) fn in_forked_child(body: impl FnOnce() -> bool) -> bool {
        // SAFETY: no other thread holds a lock that the child could need, by the contract above. It ends with `_exit`.
        let child = unsafe { libc::fork() };
        assert_ne!(child, -1);
        if child == 0 {
            let is_yes = catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(false);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!is_yes)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made, and writes to a place of its own.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        status == 0
    }

    #[test]
    fn a_forked_child_has_its_own_id() {
        let parent = pid();
        assert_eq!(parent, std::process::id());
        // Reads an atomic and calls `getpid`, which is safe after a fork of many threads.
        assert!(in_forked_child(|| pid() != parent && pid() == std::process::id()), "the child saw its parent's id");
    }
}
