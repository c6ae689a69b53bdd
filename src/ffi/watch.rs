//! What a borrower has changed on a connection: noticed while it happens where SQLite calls back, and asked for
//! afterwards where it does not.
//!
//! The C contracts relied upon, beside those of the parent module:
//!
//! - `sqlite3_set_authorizer(db, callback, data)` (capi3ref): the callback runs while a statement is prepared, on the
//!   thread that prepares, with the action's number and up to four strings that are NULL or end with a zero byte and
//!   live for the call. It must not use the connection. `data` must stay valid as long as the connection may prepare.
//! - `sqlite3_commit_hook` and `sqlite3_rollback_hook` (capi3ref): the callback runs on the thread that uses the
//!   connection, and must not use it. They return the `data` that was set before.
//! - `sqlite3_limit(db, id, value)` returns the old value, and sets a new one that is not negative.
//! - `sqlite3_db_config(db, op, int, int *)` sets nothing if the int is negative, and writes the value that is in
//!   force.
//! - `sqlite3_set_clientdata(db, name, pointer, NULL)` keeps a pointer that SQLite never follows.
//! - `sqlite3_next_stmt(db, statement)` names the statements of a connection one after another, and
//!   `sqlite3_finalize` frees one that no code uses any more.
#![expect(unsafe_code, reason = "the module exists for it")]

use super::log_hook::{LogNotes, Permission};
use super::{Number, handle, pragmas};
use crate::sync::{AtomicU32, AtomicUsize, Mutex, Ordering};
use rusqlite::{Connection, ffi};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::catch_unwind;
use std::ptr;

/// The settings of `sqlite3_limit` are numbered from 0; one that SQLite does not know answers -1. Today there are 15.
const LIMITS: usize = 24;

/// The names under which rusqlite keeps the closures that it hands to SQLite.
/// The other hooks are noticed without them: those of transactions and of the log by what was set before, the
/// authorizer because SQLite prepares all statements again.
const HOOKS: [&CStr; 4] =
    [c"sqlite3_update_hook", c"sqlite3_preupdate_hook", c"sqlite3_progress_handler", c"sqlite3_trace_v2"];
/// The name under which a connection keeps its number.
const TOKEN: &CStr = c"seawall";

/// What the callbacks of a connection write.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The kinds of statements that were prepared, by [`bit_of`](pragmas::bit_of).
    bits: AtomicU32,
    /// Transactions with write locks that were committed, or begun to be.
    commits: AtomicU32,
    /// Transactions that were rolled back.
    rollbacks: AtomicU32,
    log: LogNotes,
}

/// Watches one connection. It uses the connection's authorizer, commit hook, rollback hook, and the hook of the log.
///
/// The notes live in a cell that is never freed, only used again, since a borrower may keep the connection (by swapping
/// another into its place) for longer than the pool exists.
#[derive(Debug)]
pub(crate) struct Watch {
    notes: &'static Notes,
    /// The number of the connection, which no other one ever had.
    token: usize,
    before: Baseline,
}

/// The settings of a connection as they were when it was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Baseline {
    limits: [c_int; LIMITS],
    /// The settings of `sqlite3_db_config`, one bit each.
    flags: u64,
    files: FileSettings,
    hooks: [usize; HOOKS.len()],
    page_bytes: u32,
}

/// What `sqlite3_file_control` can set and tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileSettings {
    keeps_log: c_int,
    powersafe_overwrite: c_int,
    reserved_bytes: c_int,
    mmap_bytes: i64,
}

/// How many transactions ended so far on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endings {
    pub(crate) commits: u32,
    pub(crate) rollbacks: u32,
}

impl Endings {
    /// No transaction.
    pub(crate) const NONE: Endings = Endings { commits: 0, rollbacks: 0 };

    /// How many more than before.
    pub(crate) fn since(self, before: Endings) -> Endings {
        Endings {
            commits: self.commits.wrapping_sub(before.commits),
            rollbacks: self.rollbacks.wrapping_sub(before.rollbacks),
        }
    }
}

static FREE_NOTES: Mutex<Vec<&'static Notes>> = Mutex::new(Vec::new());
static TOKENS: AtomicUsize = AtomicUsize::new(1);

impl Watch {
    /// Makes the connection report what it prepares and when transactions end. Replaces an authorizer, a commit hook
    /// and a rollback hook that it may have.
    pub(crate) fn install(conn: &Connection) -> Watch {
        let free = FREE_NOTES.lock().pop();
        let notes = free.unwrap_or_else(|| Box::leak(Box::default()));
        notes.bits.store(0, Ordering::Relaxed);
        let token = TOKENS.fetch_add(1, Ordering::Relaxed);
        let db = handle(conn);
        // SAFETY: the connection is open, the name ends with a zero byte, and SQLite does not follow the pointer.
        unsafe { ffi::sqlite3_set_clientdata(db, TOKEN.as_ptr(), ptr::without_provenance_mut(token), None) };
        let watch = Watch { notes, token, before: Baseline::of(conn) };
        // What `on_connect` has said, or else SQLite's default.
        let frames = conn.pragma_query_value(None, "wal_autocheckpoint", |row| row.get(0)).unwrap_or(0);
        notes.log.begin(token, frames);
        watch.rearm(conn);
        watch
    }

    /// Installs the authorizer and the hooks again.
    pub(crate) fn rearm(&self, conn: &Connection) {
        let data: *mut c_void = ptr::from_ref(self.notes).cast_mut().cast();
        // SAFETY: the notes are never freed, so they outlive the connection, and the callback does nothing but read the
        // strings it is given and add to the notes.
        unsafe { ffi::sqlite3_set_authorizer(handle(conn), Some(authorize), data) };
        self.rearm_endings(conn);
        self.notes.log.hook_into(conn);
    }

    /// Installs the hooks of transactions again. False if another one had been there.
    fn rearm_endings(&self, conn: &Connection) -> bool {
        let data: *mut c_void = ptr::from_ref(self.notes).cast_mut().cast();
        // SAFETY: the notes are never freed, and the callback does nothing but add to them.
        let commit = unsafe { ffi::sqlite3_commit_hook(handle(conn), Some(note_commit), data) };
        // SAFETY: as above.
        let rollback = unsafe { ffi::sqlite3_rollback_hook(handle(conn), Some(note_rollback), data) };
        commit == data && rollback == data
    }

    /// The bits since the last [`take`](Watch::take).
    pub(crate) fn bits(&self) -> u32 {
        self.notes.bits.load(Ordering::Relaxed)
    }

    /// The bits since the last time, by [`bit_of`](pragmas::bit_of).
    pub(crate) fn take(&self) -> u32 {
        // Often nothing: a load is cheaper than a swap.
        if self.bits() == 0 { 0 } else { self.notes.bits.swap(0, Ordering::Relaxed) }
    }

    /// Adds a bit, as the callbacks do.
    pub(crate) fn note(&self, bit: u32) {
        self.notes.bits.fetch_or(bit, Ordering::Relaxed);
    }

    /// How many transactions have ended.
    pub(crate) fn endings(&self) -> Endings {
        let count = |number: &AtomicU32| number.load(Ordering::Relaxed);
        Endings { commits: count(&self.notes.commits), rollbacks: count(&self.notes.rollbacks) }
    }

    /// Whether this is the connection that it was installed on, and not one that was swapped into its place.
    pub(crate) fn is_of(&self, conn: &Connection) -> bool {
        token_of(conn) == self.token
    }

    /// Sets the limits as they were.
    pub(crate) fn restore_limits(&self, conn: &Connection) {
        let db = handle(conn);
        // SAFETY: the connection is open and borrowed.
        let limit = |id, value| unsafe { ffi::sqlite3_limit(db, id, value) };
        for (id, &value) in (0..).zip(&self.before.limits).take_while(|&(_, &value)| value >= 0) {
            // A look is cheaper than setting it.
            if limit(id, -1) != value {
                limit(id, value);
            }
        }
    }

    /// Whether the file of the connection has the settings that it had. For one that never writes, and is not the
    /// last one to be closed, only one of them matters.
    pub(crate) fn has_its_file_settings(&self, conn: &Connection, is_reader: bool) -> bool {
        if is_reader {
            return control::<i64>(conn, ffi::SQLITE_FCNTL_MMAP_SIZE, -1) == self.before.files.mmap_bytes;
        }
        FileSettings::of(conn) == self.before.files && flag(conn, LOAD_EXTENSION) == self.before.flag(LOAD_EXTENSION)
    }

    /// Whether the connection has no hook that was not there, and the ones of this watch.
    pub(crate) fn has_its_hooks(&self, conn: &Connection) -> bool {
        self.rearm_endings(conn) && hooks(conn) == self.before.hooks && self.notes.log.hook_into(conn)
    }

    /// Commits ask before they checkpoint the main database. Until this is called, they do not checkpoint.
    pub(crate) fn permit_checkpoints(&self, permission: Permission) {
        self.notes.log.permit(permission);
    }

    /// How long a commit has left the log, if there was one since the last time, in bytes.
    pub(crate) fn take_log_bytes(&self) -> Option<u64> {
        const FRAME_HEADER_BYTES: u32 = 24;
        let frames = Some(self.notes.log.take_frames()).filter(|&frames| frames > 0)?;
        Some(u64::from(frames) * u64::from(self.before.page_bytes + FRAME_HEADER_BYTES))
    }

    /// Whether a sync has failed since the last time, in a checkpoint that a commit made due.
    pub(crate) fn take_failed_sync(&self) -> bool {
        self.notes.log.take_failed_sync()
    }

    /// Whether the settings of `sqlite3_db_config` are as they were.
    pub(crate) fn has_its_flags(&self, conn: &Connection) -> bool {
        flags(conn) == self.before.flags
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // If the connection lives on, with a borrower who has swapped it out, its changes are counted for the next user
        // of the cell: a connection is set up once too often, and that is all.
        self.notes.log.end();
        FREE_NOTES.lock().push(self.notes);
    }
}

impl Baseline {
    fn of(conn: &Connection) -> Baseline {
        let db = handle(conn);
        // SAFETY: the connection is open and borrowed; a negative value changes nothing.
        let limits = std::array::from_fn(|id| unsafe { ffi::sqlite3_limit(db, id as c_int, -1) });
        let page_bytes = conn.pragma_query_value(Some("main"), "page_size", |row| row.get(0)).unwrap_or(0);
        let (flags, files, hooks) = (flags(conn), FileSettings::of(conn), hooks(conn));
        Baseline { limits, flags, files, hooks, page_bytes }
    }

    fn flag(&self, op: c_int) -> bool {
        self.flags >> (op - FLAG_FIRST) & 1 == 1
    }
}

const FLAG_FIRST: c_int = ffi::SQLITE_DBCONFIG_ENABLE_FKEY;
const FLAG_LAST: c_int = ffi::SQLITE_DBCONFIG_ENABLE_COMMENTS;
const LOAD_EXTENSION: c_int = ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION;

fn flags(conn: &Connection) -> u64 {
    (FLAG_FIRST..=FLAG_LAST).fold(0, |flags, op| flags | u64::from(flag(conn, op)) << (op - FLAG_FIRST))
}

fn flag(conn: &Connection, op: c_int) -> bool {
    let (leave, mut value): (c_int, c_int) = (-1, 0);
    // SAFETY: the connection is open and borrowed, and these settings take an int and a place for one.
    unsafe { ffi::sqlite3_db_config(handle(conn), op, leave, &raw mut value) };
    value != 0
}

fn hooks(conn: &Connection) -> [usize; HOOKS.len()] {
    HOOKS.map(|name| client_data(conn, name))
}

/// The number of a connection; 0 if none was given to it.
pub(super) fn token_of(conn: &Connection) -> usize {
    client_data(conn, TOKEN)
}

fn client_data(conn: &Connection, name: &CStr) -> usize {
    // SAFETY: the connection is open and borrowed, and the name ends with a zero byte. The pointer is not followed.
    unsafe { ffi::sqlite3_get_clientdata(handle(conn), name.as_ptr()) }.addr()
}

impl FileSettings {
    fn of(conn: &Connection) -> FileSettings {
        FileSettings {
            keeps_log: control(conn, ffi::SQLITE_FCNTL_PERSIST_WAL, -1),
            powersafe_overwrite: control(conn, ffi::SQLITE_FCNTL_POWERSAFE_OVERWRITE, -1),
            reserved_bytes: control(conn, ffi::SQLITE_FCNTL_RESERVE_BYTES, -1),
            mmap_bytes: control(conn, ffi::SQLITE_FCNTL_MMAP_SIZE, -1),
        }
    }
}

/// The number that a control of the main database's file answers; `ask` if its VFS does not know it.
pub(super) fn control<N: Number>(conn: &Connection, op: c_int, ask: N) -> N {
    let mut value = ask;
    // SAFETY: the connection is open and borrowed, NULL stands for `main`, and the controls that this module and its
    // parent ask write a number of this type.
    let code = unsafe { ffi::sqlite3_file_control(handle(conn), ptr::null(), op, (&raw mut value).cast()) };
    if code == ffi::SQLITE_OK { value } else { ask }
}

/// Whether a statement that is still running keeps a transaction open, though none was begun.
pub(crate) fn has_running_statement(conn: &Connection) -> bool {
    // SAFETY: the connection is open and borrowed; NULL asks for all of its databases.
    conn.is_autocommit() && unsafe { ffi::sqlite3_txn_state(handle(conn), ptr::null()) } > ffi::SQLITE_TXN_NONE
}

/// Ends the statements that borrowers have left running, and with them their snapshots. What one has written outside
/// of a transaction is committed by this; false if that failed.
///
/// Statements that a virtual table runs for its own are ended as well, and used again by it, which SQLite allows.
pub(crate) fn reset_running_statements(conn: &Connection) -> bool {
    let mut is_ok = true;
    // A reset may free others, so each search begins anew.
    while let Some(statement) = statements(conn).find(|&statement| is_running(statement)) {
        // SAFETY: SQLite has just named the statement, and the connection is borrowed.
        is_ok &= unsafe { ffi::sqlite3_reset(statement) } == ffi::SQLITE_OK;
    }
    is_ok
}

/// Frees the statements that borrowers have left behind, so that the connection can be closed. Those of the layer must
/// have been finalized.
///
/// A statement borrows its connection, so one that is there when the connection is closed and is not in rusqlite's
/// cache was leaked, and no safe code can reach it any more. But virtual tables have statements of their own, which
/// they free themselves and cannot be told from others: where there are such tables, nothing is freed.
pub(super) fn free_leaked_statements(conn: &Connection) {
    conn.flush_prepared_statement_cache();
    reset_running_statements(conn);
    let virtual_tables = "SELECT count(*) FROM pragma_table_list WHERE type = 'virtual'";
    if !matches!(conn.query_row(virtual_tables, [], |row| row.get::<_, i64>(0)), Ok(0)) {
        return;
    }
    while let Some(statement) = statements(conn).next() {
        // SAFETY: SQLite has just named it, and no other code has it, as said above.
        unsafe { ffi::sqlite3_finalize(statement) };
    }
}

/// The statements of a connection. None of them may be freed before the next one is asked for.
pub(super) fn statements(conn: &Connection) -> impl Iterator<Item = *mut ffi::sqlite3_stmt> {
    let next = |after| {
        // SAFETY: the connection is open and borrowed; NULL asks for the first statement.
        let statement = unsafe { ffi::sqlite3_next_stmt(handle(conn), after) };
        (!statement.is_null()).then_some(statement)
    };
    std::iter::successors(next(ptr::null_mut()), move |&statement| next(statement))
}

/// Whether one of the [`statements`] has begun and has not ended.
pub(super) fn is_running(statement: *mut ffi::sqlite3_stmt) -> bool {
    // SAFETY: SQLite has just named the statement, and its connection is borrowed.
    unsafe { ffi::sqlite3_stmt_busy(statement) != 0 }
}

unsafe extern "C" fn note_commit(data: *mut c_void) -> c_int {
    // SAFETY: `data` is the notes given to `sqlite3_commit_hook`, which live for ever.
    let notes = unsafe { &*data.cast::<Notes>() };
    notes.commits.fetch_add(1, Ordering::Relaxed);
    0
}

unsafe extern "C" fn note_rollback(data: *mut c_void) {
    // SAFETY: `data` is the notes given to `sqlite3_rollback_hook`, which live for ever.
    let notes = unsafe { &*data.cast::<Notes>() };
    notes.rollbacks.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn authorize(
    data: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    database: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    // The actions of most statements, which change no setting.
    if matches!(
        action,
        ffi::SQLITE_READ
            | ffi::SQLITE_SELECT
            | ffi::SQLITE_INSERT
            | ffi::SQLITE_UPDATE
            | ffi::SQLITE_DELETE
            | ffi::SQLITE_FUNCTION
            | ffi::SQLITE_TRANSACTION
    ) {
        return ffi::SQLITE_OK;
    }
    let text = |text: *const c_char| {
        // SAFETY: a string that is not NULL ends with a zero byte and lives for the call.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
    };
    let (first, has_second, database) = (text(first), !second.is_null(), text(database));
    // No panic may reach C. What cannot be judged counts as a change.
    let bits = catch_unwind(|| pragmas::bits_of(action, first, has_second, database)).unwrap_or(pragmas::DOUBTFUL);
    if bits != 0 {
        // SAFETY: `data` is the notes given to `sqlite3_set_authorizer`, which live for ever.
        let notes = unsafe { &*data.cast::<Notes>() };
        notes.bits.fetch_or(bits, Ordering::Relaxed);
    }
    ffi::SQLITE_OK
}
