//! The hook that SQLite calls after each commit into a log. It decides about the checkpoint that the commit makes due.
//!
//! SQLite's own hook checkpoints inside of COMMIT, whatever has become of the names of the files meanwhile. This one
//! asks first, and notes how long the log is. For attached databases it does what SQLite's own does.
//!
//! The C contracts relied upon, beside those of the parent module:
//!
//! - `sqlite3_wal_hook(db, callback, data)` (c3ref) replaces the hook that `sqlite3_wal_autocheckpoint` has set and
//!   returns its `data`. The callback runs on the thread that commits, after the commit and without the write lock,
//!   with the schema name of the database and the frames in its log. It may use the connection. `data` must stay valid
//!   as long as the hook is set.
//! - `sqlite3_db_name(db, 0)` (c3ref) returns the name of the main database: the text that the callback gets for it.
//! - `sqlite3_wal_checkpoint(db, name)` (c3ref) moves as many frames as it can without waiting. What it cannot do is
//!   left in the log.
#![expect(unsafe_code, reason = "the module exists for it")]

use super::handle;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Mutex, Ordering};
use rusqlite::{Connection, ffi};
use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Whether a checkpoint of the main database may begin now.
pub(crate) type Permission = Box<dyn Fn(&Connection) -> bool + Send>;

/// What the hook of one connection knows and notes.
#[derive(Default)]
pub(super) struct LogNotes {
    /// The number of the connection that may be asked about; a borrower may have taken another one out of the pool.
    token: AtomicUsize,
    /// A commit that leaves so many frames, or more, is followed by a checkpoint; 0 for never.
    checkpoint_frames: AtomicU32,
    /// In the log of the main database after the last commit.
    frames: AtomicU32,
    /// Whether a sync has failed in a checkpoint that a commit made due.
    has_failed_sync: AtomicBool,
    permission: Mutex<Option<Permission>>,
}

impl LogNotes {
    /// For a connection with this number.
    pub(super) fn begin(&self, token: usize, checkpoint_frames: u32) {
        self.token.store(token, Ordering::Relaxed);
        self.checkpoint_frames.store(checkpoint_frames, Ordering::Relaxed);
        self.frames.store(0, Ordering::Relaxed);
        self.has_failed_sync.store(false, Ordering::Relaxed);
    }

    /// The connection is not of the pool any more.
    pub(super) fn end(&self) {
        self.token.store(0, Ordering::Relaxed);
        *self.permission.lock() = None;
    }

    pub(super) fn permit(&self, permission: Permission) {
        *self.permission.lock() = Some(permission);
    }

    /// Frames in the log after the last commit, which is asked about once; 0 without a commit since.
    pub(super) fn take_frames(&self) -> u32 {
        // Often nothing: a load is cheaper than a swap.
        if self.frames.load(Ordering::Relaxed) == 0 { 0 } else { self.frames.swap(0, Ordering::Relaxed) }
    }

    /// Whether a sync has failed since the last time, in a checkpoint that a commit made due.
    pub(super) fn take_failed_sync(&self) -> bool {
        self.has_failed_sync.load(Ordering::Relaxed) && self.has_failed_sync.swap(false, Ordering::Relaxed)
    }

    /// Sets the hook. Whether it was this one before.
    pub(super) fn hook_into(&'static self, conn: &Connection) -> bool {
        let data: *mut c_void = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the connection is open and borrowed, and the notes are never freed. The old value is not followed.
        let before = unsafe { ffi::sqlite3_wal_hook(handle(conn), Some(after_commit), data) };
        before == data
    }

    /// Without a permission, nothing has been said about the files yet.
    fn allows(&self, conn: &Connection) -> bool {
        let is_of_pool = super::watch::token_of(conn) == self.token.load(Ordering::Relaxed);
        !is_of_pool || self.permission.lock().as_ref().is_some_and(|permission| permission(conn))
    }
}

impl fmt::Debug for LogNotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogNotes").field("token", &self.token).finish_non_exhaustive()
    }
}

unsafe extern "C" fn after_commit(
    data: *mut c_void,
    db: *mut ffi::sqlite3,
    name: *const c_char,
    frames: c_int,
) -> c_int {
    // SAFETY: `data` is the notes given to `sqlite3_wal_hook`, which live for ever.
    let notes = unsafe { &*data.cast::<LogNotes>() };
    let frames = u32::try_from(frames).unwrap_or(0);
    // SAFETY: SQLite calls with a connection that is open.
    let is_main = unsafe { ffi::sqlite3_db_name(db, 0) } == name;
    if is_main {
        notes.frames.store(frames, Ordering::Relaxed);
    }
    let due = notes.checkpoint_frames.load(Ordering::Relaxed);
    if due == 0 || frames < due {
        return ffi::SQLITE_OK;
    }
    // No panic may reach C.
    let is_allowed = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the connection is open for as long as the callback runs, and is not closed by this value.
        let conn = unsafe { Connection::from_handle(db) };
        !is_main || conn.is_ok_and(|conn| notes.allows(&conn))
    }));
    if is_allowed.unwrap_or(false) {
        // SAFETY: the connection is open, the name is SQLite's own, and the callback may use the connection. A failure
        // leaves the frames in the log, and the commit is a commit: SQLite's own hook says nothing about it, either.
        let code = unsafe { ffi::sqlite3_wal_checkpoint(db, name) };
        if is_main && code == ffi::SQLITE_IOERR_FSYNC {
            notes.has_failed_sync.store(true, Ordering::Relaxed);
        }
    }
    ffi::SQLITE_OK
}
