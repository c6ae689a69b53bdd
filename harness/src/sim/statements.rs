//! The statements of all connections on the simulation's VFS, told to a listener; and connections that are opened
//! elsewhere by mistake.
//!
//! SQLite calls an *automatic extension* for every new connection of the program, whatever opens it. For the
//! connections of the thread that has a listener this one sets a trace callback, and an authorizer if errors are to be
//! told: SQLite calls it before a later statement has replaced the error of the last one.
//!
//! # The C contract
//! The proofs below refer to these clauses of SQLite's documentation (sqlite3.h).
//!
//! 1. **Automatic extensions.** The entry point gets the new connection, which is valid and not used by others during
//!    the call, and a place for a message that SQLite frees. Registering the same function again has no effect.
//! 2. **Trace callbacks.** They get the context that was given, a statement of the connection, and for
//!    `SQLITE_TRACE_STMT` the text, NUL-terminated, all valid during the call. The connection is open then.
//! 3. **Authorizers.** They get the context that was given, while the connection is open.
//! 4. **Texts.** `sqlite3_errmsg`, `sqlite3_sql` and `sqlite3_db_filename` are null or NUL-terminated, valid until the
//!    next call. `sqlite3_expanded_sql` is null or to be freed.
//! 5. **File control.** `SQLITE_FCNTL_VFS_POINTER` stores a pointer to the VFS, which lives as long as the connection.
#![expect(unsafe_code, reason = "an FFI module")]

use crate::runtime;
use rusqlite::ffi::{self, sqlite3, sqlite3_api_routines, sqlite3_stmt, sqlite3_vfs};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::rc::Rc;

/// Hears of the statements of the running actor. Connections are told apart by their addresses.
pub(super) trait Listener {
    /// The VFS of the simulation.
    fn vfs(&self) -> &str;

    /// True if the texts of statements and their errors are wanted.
    fn is_telling(&self) -> bool;

    /// A statement begins.
    fn begins(&self, sql: &dyn Fn() -> String);

    /// A statement has ended; whether well, is told later.
    fn ended(&self, connection: usize, sql: &dyn Fn() -> String);

    /// The last statement of the connection that ended has failed.
    fn failed(&self, connection: usize, message: &dyn Fn() -> String);

    /// A file was opened on another VFS.
    fn strayed(&self, file: &str) -> String;
}

thread_local! {
    static LISTENER: RefCell<Option<Rc<dyn Listener>>> = const { RefCell::new(None) };
}

/// The listener of the calling thread, until this is dropped.
pub(super) struct Listening(());

impl Listening {
    pub(super) fn begin(listener: Rc<dyn Listener>) -> Self {
        LISTENER.set(Some(listener));
        // SAFETY: an entry point of the type that SQLite calls it by (clause 1).
        unsafe { ffi::sqlite3_auto_extension(Some(x_entry)) };
        Self(())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENER.set(None);
    }
}

/// Takes the automatic extension away.
pub(super) fn forget() {
    // SAFETY: any function may be asked for.
    unsafe { ffi::sqlite3_cancel_auto_extension(Some(x_entry)) };
}

/// The listener, if the caller is an actor.
fn listener() -> Option<Rc<dyn Listener>> {
    if runtime::is_simulated() { LISTENER.with_borrow(Clone::clone) } else { None }
}

/// # Safety
/// `text` must be null or NUL-terminated.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, hence NUL-terminated.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

unsafe extern "C" fn x_entry(db: *mut sqlite3, message: *mut *mut c_char, _: *const sqlite3_api_routines) -> c_int {
    let Some(listener) = listener() else { return ffi::SQLITE_OK };
    // SAFETY: the connection is valid (clause 1).
    if let Some(file) = unsafe { stray(db, listener.vfs()) } {
        let complaint = CString::new(listener.strayed(&file)).unwrap_or_default();
        // SAFETY: a format with one text, and a text.
        let copy = unsafe { ffi::sqlite3_mprintf(c"%s".as_ptr(), complaint.as_ptr()) };
        // SAFETY: a place for a message, which SQLite frees (clause 1).
        unsafe { *message = copy };
        return ffi::SQLITE_ERROR;
    }
    let events = (ffi::SQLITE_TRACE_STMT | ffi::SQLITE_TRACE_PROFILE) as c_uint;
    // SAFETY: the connection is valid, and outlives its callback (clause 2).
    unsafe { ffi::sqlite3_trace_v2(db, events, Some(x_trace), db.cast()) };
    if listener.is_telling() {
        // SAFETY: as above (clause 3).
        unsafe { ffi::sqlite3_set_authorizer(db, Some(x_authorize), db.cast()) };
    }
    ffi::SQLITE_OK
}

/// The file of a connection that is not on this VFS. Databases in memory are at home everywhere.
///
/// # Safety
/// The connection must be valid.
unsafe fn stray(db: *mut sqlite3, vfs: &str) -> Option<String> {
    // SAFETY: the connection is valid.
    let name = unsafe { ffi::sqlite3_db_filename(db, c"main".as_ptr()) };
    // SAFETY: clause 4.
    let file = unsafe { text(name) };
    let mut found: *mut sqlite3_vfs = ptr::null_mut();
    let place = ptr::from_mut(&mut found).cast::<c_void>();
    // SAFETY: the connection is valid; the place is for a pointer (clause 5).
    unsafe { ffi::sqlite3_file_control(db, c"main".as_ptr(), ffi::SQLITE_FCNTL_VFS_POINTER, place) };
    if file.is_empty() || found.is_null() {
        return None;
    }
    // SAFETY: a VFS that is registered (clause 5).
    let name = unsafe { (*found).zName };
    // SAFETY: the name of a VFS is NUL-terminated.
    let name = unsafe { text(name) };
    (name != vfs).then_some(file)
}

unsafe extern "C" fn x_trace(event: c_uint, db: *mut c_void, statement: *mut c_void, sql: *mut c_void) -> c_int {
    let Some(listener) = listener() else { return 0 };
    let db = db.cast::<sqlite3>();
    let statement = statement.cast::<sqlite3_stmt>();
    if event == ffi::SQLITE_TRACE_STMT as c_uint {
        // SAFETY: clause 2.
        let sql = unsafe { text(sql.cast::<c_char>()) };
        // The programs of triggers come as comments.
        if !sql.starts_with("--") {
            // SAFETY: open (clause 2).
            unsafe { tell_error(&*listener, db) };
            // SAFETY: valid during the call (clause 2).
            listener.begins(&|| unsafe { expanded(statement) });
        }
    } else if event == ffi::SQLITE_TRACE_PROFILE as c_uint {
        // SAFETY: valid during the call (clause 2).
        listener.ended(db.addr(), &|| unsafe { expanded(statement) });
    }
    0
}

unsafe extern "C" fn x_authorize(
    db: *mut c_void,
    _: c_int,
    _: *const c_char,
    _: *const c_char,
    _: *const c_char,
    _: *const c_char,
) -> c_int {
    if let Some(listener) = listener() {
        // SAFETY: open (clause 3).
        unsafe { tell_error(&*listener, db.cast()) };
    }
    ffi::SQLITE_OK
}

/// # Safety
/// The connection must be open.
unsafe fn tell_error(listener: &dyn Listener, db: *mut sqlite3) {
    // SAFETY: open.
    let code = unsafe { ffi::sqlite3_errcode(db) };
    if listener.is_telling() && !matches!(code, ffi::SQLITE_OK | ffi::SQLITE_ROW | ffi::SQLITE_DONE) {
        listener.failed(db.addr(), &|| {
            // SAFETY: open.
            let message = unsafe { ffi::sqlite3_errmsg(db) };
            // SAFETY: clause 4.
            unsafe { text(message) }
        });
    }
}

/// The text of a statement, with its values.
///
/// # Safety
/// The statement must be valid.
unsafe fn expanded(statement: *mut sqlite3_stmt) -> String {
    // SAFETY: valid.
    let sql = unsafe { ffi::sqlite3_expanded_sql(statement) };
    if sql.is_null() {
        // SAFETY: valid.
        let sql = unsafe { ffi::sqlite3_sql(statement) };
        // SAFETY: clause 4.
        return unsafe { text(sql) };
    }
    // SAFETY: clause 4.
    let copy = unsafe { text(sql) };
    // SAFETY: to be freed, and not used any more (clause 4).
    unsafe { ffi::sqlite3_free(sql.cast()) };
    copy
}
