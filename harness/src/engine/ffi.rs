//! The C side of the engines: SQLite's functions as a table, and the two kinds of object that they work on.
//!
//! # The C contract
//! The proofs below refer to these clauses of SQLite's documentation (sqlite3.h, "C-language Interface Specification")
//! and of the dynamic loader's by number.
//!
//! 1. **Symbols.** A symbol with the name of one of SQLite's functions has the type that sqlite3.h declares; types
//!    never changed between versions. All functions of a table come from one library, which is never unloaded.
//! 2. **Strings.** Names, messages and versions that a library returns are null or NUL-terminated. Those without a
//!    connection are constants of the library. `sqlite3_errmsg` is valid until the next call on the connection.
//! 3. **Connections.** A handle from `sqlite3_open_v2`, also from a failed one if it is not null, is valid until it is
//!    closed. `sqlite3_close` that returns BUSY, since a statement has not been finalised, has not closed it.
//! 4. **Threads.** Where `sqlite3_threadsafe` is not 0, a connection and its statements may be used from any thread, by
//!    one at a time. `sqlite3_interrupt` may be called at any time by any thread while the connection is open. The
//!    functions without a connection may be called by all at once.
//! 5. **Statements.** A statement is valid until it is finalised, which happens before its connection is closed.
//!    Indices of parameters and columns that do not exist are answered with an error or with NULL, never with a crash,
//!    but a column may be asked for only while the statement stands on a row.
//! 6. **Columns.** What `sqlite3_column_text` or `sqlite3_column_blob` points to has as many bytes as
//!    `sqlite3_column_bytes`, asked right afterwards, says. It is valid until the statement is stepped, reset or
//!    finalised, or the column is read in another form.
//! 7. **Arguments.** SQL text is read for the number of bytes given. What is bound with SQLITE_TRANSIENT is copied
//!    before the call returns. Out-pointers are written to, and not kept.
#![expect(unsafe_code, reason = "an FFI module")]

use crate::codes::ResultCode;
use crate::engine::error::{EngineError, SqlError};
use crate::engine::value::Value;
use crate::vfs::api::SqliteApi;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use parking_lot::Mutex;
use rusqlite::ffi::{self, sqlite3, sqlite3_stmt, sqlite3_vfs};
use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_uint, c_void};
use std::fmt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

// ------------------------------------------------------------------------------------------------
// The table

/// The callback of `sqlite3_exec`.
type RowCallback = Option<unsafe extern "C" fn(*mut c_void, c_int, *mut *mut c_char, *mut *mut c_char) -> c_int>;
/// The destructor of a bound value.
type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;

/// Declares the table once: as a structure, filled by linkage, and filled from a library.
macro_rules! functions {
    (
        needed { $($name:ident = $symbol:ident: $kind:ty;)* }
        optional { $($spare:ident = $spare_symbol:ident: $spare_kind:ty;)* }
    ) => {
        /// SQLite's functions, all of one library.
        #[derive(Clone, Copy)]
        pub(super) struct Functions {
            $($name: $kind,)*
            $($spare: Option<$spare_kind>,)*
        }

        impl Functions {
            /// The SQLite that this program links.
            pub(super) fn linked() -> Self {
                Self { $($name: ffi::$symbol,)* $($spare: Some(ffi::$spare_symbol as $spare_kind),)* }
            }

            /// What the library has; the name of the first needed function that it lacks otherwise.
            fn of(library: &Library) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the function's own type (clause 1).
                        let found = unsafe { symbol::<$kind>(library, stringify!($symbol)) };
                        found.ok_or(stringify!($symbol))?
                    },)*
                    $($spare: {
                        // SAFETY: the function's own type (clause 1).
                        unsafe { symbol::<$spare_kind>(library, stringify!($spare_symbol)) }
                    },)*
                })
            }
        }
    };
}

functions! {
    needed {
        libversion = sqlite3_libversion: unsafe extern "C" fn() -> *const c_char;
        sourceid = sqlite3_sourceid: unsafe extern "C" fn() -> *const c_char;
        threadsafe = sqlite3_threadsafe: unsafe extern "C" fn() -> c_int;
        errstr = sqlite3_errstr: unsafe extern "C" fn(c_int) -> *const c_char;
        initialize = sqlite3_initialize: unsafe extern "C" fn() -> c_int;
        shutdown = sqlite3_shutdown: unsafe extern "C" fn() -> c_int;
        config = sqlite3_config: unsafe extern "C" fn(c_int, ...) -> c_int;
        randomness = sqlite3_randomness: unsafe extern "C" fn(c_int, *mut c_void);
        malloc = sqlite3_malloc: unsafe extern "C" fn(c_int) -> *mut c_void;
        free = sqlite3_free: unsafe extern "C" fn(*mut c_void);
        memory_used = sqlite3_memory_used: unsafe extern "C" fn() -> i64;
        vfs_find = sqlite3_vfs_find: unsafe extern "C" fn(*const c_char) -> *mut sqlite3_vfs;
        vfs_register = sqlite3_vfs_register: unsafe extern "C" fn(*mut sqlite3_vfs, c_int) -> c_int;
        vfs_unregister = sqlite3_vfs_unregister: unsafe extern "C" fn(*mut sqlite3_vfs) -> c_int;
        open_v2 = sqlite3_open_v2:
            unsafe extern "C" fn(*const c_char, *mut *mut sqlite3, c_int, *const c_char) -> c_int;
        close = sqlite3_close: unsafe extern "C" fn(*mut sqlite3) -> c_int;
        extended_result_codes = sqlite3_extended_result_codes: unsafe extern "C" fn(*mut sqlite3, c_int) -> c_int;
        extended_errcode = sqlite3_extended_errcode: unsafe extern "C" fn(*mut sqlite3) -> c_int;
        errmsg = sqlite3_errmsg: unsafe extern "C" fn(*mut sqlite3) -> *const c_char;
        system_errno = sqlite3_system_errno: unsafe extern "C" fn(*mut sqlite3) -> c_int;
        busy_timeout = sqlite3_busy_timeout: unsafe extern "C" fn(*mut sqlite3, c_int) -> c_int;
        get_autocommit = sqlite3_get_autocommit: unsafe extern "C" fn(*mut sqlite3) -> c_int;
        changes = sqlite3_changes: unsafe extern "C" fn(*mut sqlite3) -> c_int;
        last_insert_rowid = sqlite3_last_insert_rowid: unsafe extern "C" fn(*mut sqlite3) -> i64;
        interrupt = sqlite3_interrupt: unsafe extern "C" fn(*mut sqlite3);
        wal_checkpoint_v2 = sqlite3_wal_checkpoint_v2:
            unsafe extern "C" fn(*mut sqlite3, *const c_char, c_int, *mut c_int, *mut c_int) -> c_int;
        exec = sqlite3_exec:
            unsafe extern "C" fn(*mut sqlite3, *const c_char, RowCallback, *mut c_void, *mut *mut c_char) -> c_int;
        prepare_v2 = sqlite3_prepare_v2: unsafe extern "C" fn(
            *mut sqlite3, *const c_char, c_int, *mut *mut sqlite3_stmt, *mut *const c_char
        ) -> c_int;
        step = sqlite3_step: unsafe extern "C" fn(*mut sqlite3_stmt) -> c_int;
        reset = sqlite3_reset: unsafe extern "C" fn(*mut sqlite3_stmt) -> c_int;
        finalize = sqlite3_finalize: unsafe extern "C" fn(*mut sqlite3_stmt) -> c_int;
        clear_bindings = sqlite3_clear_bindings: unsafe extern "C" fn(*mut sqlite3_stmt) -> c_int;
        bind_null = sqlite3_bind_null: unsafe extern "C" fn(*mut sqlite3_stmt, c_int) -> c_int;
        bind_int64 = sqlite3_bind_int64: unsafe extern "C" fn(*mut sqlite3_stmt, c_int, i64) -> c_int;
        bind_double = sqlite3_bind_double: unsafe extern "C" fn(*mut sqlite3_stmt, c_int, f64) -> c_int;
        bind_text = sqlite3_bind_text:
            unsafe extern "C" fn(*mut sqlite3_stmt, c_int, *const c_char, c_int, Destructor) -> c_int;
        bind_blob = sqlite3_bind_blob:
            unsafe extern "C" fn(*mut sqlite3_stmt, c_int, *const c_void, c_int, Destructor) -> c_int;
        data_count = sqlite3_data_count: unsafe extern "C" fn(*mut sqlite3_stmt) -> c_int;
        column_type = sqlite3_column_type: unsafe extern "C" fn(*mut sqlite3_stmt, c_int) -> c_int;
        column_int64 = sqlite3_column_int64: unsafe extern "C" fn(*mut sqlite3_stmt, c_int) -> i64;
        column_double = sqlite3_column_double: unsafe extern "C" fn(*mut sqlite3_stmt, c_int) -> f64;
        column_text = sqlite3_column_text: unsafe extern "C" fn(*mut sqlite3_stmt, c_int) -> *const c_uchar;
        column_blob = sqlite3_column_blob: unsafe extern "C" fn(*mut sqlite3_stmt, c_int) -> *const c_void;
        column_bytes = sqlite3_column_bytes: unsafe extern "C" fn(*mut sqlite3_stmt, c_int) -> c_int;
    }
    optional {
        test_control = sqlite3_test_control: unsafe extern "C" fn(c_int, ...) -> c_int;
        compileoption_get = sqlite3_compileoption_get: unsafe extern "C" fn(c_int) -> *const c_char;
        compileoption_used = sqlite3_compileoption_used: unsafe extern "C" fn(*const c_char) -> c_int;
        prepare_v3 = sqlite3_prepare_v3: unsafe extern "C" fn(
            *mut sqlite3, *const c_char, c_int, c_uint, *mut *mut sqlite3_stmt, *mut *const c_char
        ) -> c_int;
        txn_state = sqlite3_txn_state: unsafe extern "C" fn(*mut sqlite3, *const c_char) -> c_int;
    }
}

/// Looks a function up.
///
/// # Safety
/// `T` must be the type of the function (clause 1).
unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Option<T> {
    // SAFETY: see above.
    unsafe { library.get::<T>(name.as_bytes()) }.ok().map(|found| *found)
}

/// The functions by which a SQLite is configured before it starts: for allocators and mutexes of one's own. All entries
/// come from one and the same library.
#[derive(Clone, Copy, Debug)]
pub struct ConfigApi {
    /// `sqlite3_config`
    pub config: unsafe extern "C" fn(c_int, ...) -> c_int,
    /// `sqlite3_initialize`
    pub initialize: unsafe extern "C" fn() -> c_int,
    /// `sqlite3_shutdown`; only while no connection is open
    pub shutdown: unsafe extern "C" fn() -> c_int,
}

/// Text of the library's own.
///
/// # Safety
/// `text` must be null or NUL-terminated, and not change during the call.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: see above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

impl Functions {
    /// Loads a library for good. Whether it is fit for use is the caller's to check. Errors call it by the name that it
    /// was `given`.
    ///
    /// # Errors
    /// [`EngineError::Unloadable`], [`EngineError::Lacks`].
    pub(super) fn load(file: &Path, given: &Path) -> Result<Self, EngineError> {
        // SAFETY: initialisers of a library may do anything; the caller that names a file to load vouches for it, as
        // for any program that they start.
        let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| EngineError::unloadable(file, given, &error))?;
        let found = Self::of(&library);
        if found.is_ok() {
            // Connections, registered VFSes and the table itself point into it (clause 1).
            std::mem::forget(library);
        }
        found.map_err(|function| EngineError::Lacks { path: given.to_owned(), function })
    }

    pub(super) fn version(&self) -> String {
        // SAFETY: a call without arguments (clause 1).
        let text = unsafe { (self.libversion)() };
        // SAFETY: clause 2.
        unsafe { owned(text) }
    }

    pub(super) fn source_id(&self) -> String {
        // SAFETY: a call without arguments (clause 1).
        let text = unsafe { (self.sourceid)() };
        // SAFETY: clause 2.
        unsafe { owned(text) }
    }

    pub(super) fn is_threadsafe(&self) -> bool {
        // SAFETY: a call without arguments (clause 1).
        (unsafe { (self.threadsafe)() }) != 0
    }

    /// Starts the library, for those built not to start by themselves.
    pub(super) fn initialize(&self) -> c_int {
        // SAFETY: harmless if done before (clause 4).
        unsafe { (self.initialize)() }
    }

    /// The n-th option that the library was compiled with, counted from 0.
    pub(super) fn compile_option(&self, number: c_int) -> Option<String> {
        // SAFETY: any number may be asked for.
        let text = unsafe { (self.compileoption_get?)(number) };
        // SAFETY: clause 2.
        (!text.is_null()).then(|| unsafe { owned(text) })
    }

    /// Whether the library was compiled with an option; false where it does not tell.
    pub(super) fn has_compile_option(&self, option: &CStr) -> bool {
        // SAFETY: a NUL-terminated name.
        self.compileoption_used.is_some_and(|used| unsafe { used(option.as_ptr()) } != 0)
    }

    /// Whether a VFS of this name is registered; `None` asks for a default one.
    pub(super) fn has_vfs(&self, name: Option<&CStr>) -> bool {
        // SAFETY: a null or NUL-terminated name.
        !unsafe { (self.vfs_find)(name.map_or(ptr::null(), CStr::as_ptr)) }.is_null()
    }

    /// The seed of SQLite's random generator from now on; 0 for that of the default VFS. Without effect in a library
    /// that was built without test controls.
    pub(super) fn seed_randomness(&self, seed: c_int) {
        if let Some(test_control) = self.test_control {
            // SAFETY: the opcode takes an integer and a connection, which may be null.
            unsafe { test_control(ffi::SQLITE_TESTCTRL_PRNG_SEED, seed, ptr::null_mut::<sqlite3>()) };
        }
    }

    pub(super) fn reset_randomness(&self) {
        // SAFETY: zero bytes are written to nowhere; sqlite3.h: "the PRNG is reset".
        unsafe { (self.randomness)(0, ptr::null_mut()) }
    }

    /// Bytes that the library has allocated and not freed; 0 where it does not count them.
    pub(super) fn memory_used(&self) -> i64 {
        // SAFETY: a call without arguments (clauses 1 and 4).
        unsafe { (self.memory_used)() }
    }

    pub(super) fn vfs_api(&self) -> SqliteApi {
        SqliteApi {
            vfs_find: self.vfs_find,
            vfs_register: self.vfs_register,
            vfs_unregister: self.vfs_unregister,
            malloc: self.malloc,
            free: self.free,
        }
    }

    pub(super) fn config_api(&self) -> ConfigApi {
        ConfigApi { config: self.config, initialize: self.initialize, shutdown: self.shutdown }
    }

    fn code_text(&self, code: c_int) -> String {
        // SAFETY: any number may be asked for.
        let text = unsafe { (self.errstr)(code) };
        // SAFETY: clause 2.
        unsafe { owned(text) }
    }

    /// An error found before SQLite was asked.
    pub(super) fn refusal(&self, code: c_int, message: &str) -> SqlError {
        let message = if message.is_empty() { self.code_text(code) } else { message.to_owned() };
        SqlError { code, errno: 0, message }
    }
}

// ------------------------------------------------------------------------------------------------
// Connections

/// The address of a connection.
#[derive(Clone, Copy)]
struct Address(NonNull<sqlite3>);

// SAFETY: only `Interrupter` sends it between threads, and uses it under the lock that `Handle::forget` clears it
// with, for `sqlite3_interrupt` alone (clause 4).
unsafe impl Send for Address {}

/// Ends what a connection is doing, from any thread. Does nothing once the connection is closed.
#[derive(Clone)]
pub struct Interrupter {
    functions: Arc<Functions>,
    address: Arc<Mutex<Option<Address>>>,
}

impl Interrupter {
    /// Makes the statements that are running return INTERRUPT at their next opportunity.
    pub fn interrupt(&self) {
        if let Some(Address(db)) = *self.address.lock() {
            // SAFETY: open, since the address is taken away before the connection is closed (clause 4).
            unsafe { (self.functions.interrupt)(db.as_ptr()) }
        }
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}

/// An open connection.
pub(super) struct Handle {
    db: NonNull<sqlite3>,
    interrupter: Interrupter,
    is_closed: bool,
}

// SAFETY: engines without thread safety are refused, so that any thread may use the connection, one at a time (clause
// 4); it is not Sync. Statements borrow it and stay on its thread.
unsafe impl Send for Handle {}

impl Handle {
    /// Opens a database, with extended result codes.
    pub(super) fn open(
        functions: &Arc<Functions>,
        path: &str,
        flags: c_int,
        vfs: Option<&str>,
    ) -> Result<Self, SqlError> {
        let c_string = |text: &str| {
            CString::new(text).map_err(|_| functions.refusal(ffi::SQLITE_MISUSE, &format!("a NUL byte in {text:?}")))
        };
        let path = c_string(path)?;
        let vfs = vfs.map(c_string).transpose()?;
        let vfs = vfs.as_deref().map_or(ptr::null(), CStr::as_ptr);
        let mut db = ptr::null_mut();
        // SAFETY: NUL-terminated names, or null; the out-pointer is valid (clause 7).
        let rc = unsafe { (functions.open_v2)(path.as_ptr(), &raw mut db, flags, vfs) };
        let Some(db) = NonNull::new(db) else {
            return Err(functions.refusal(if rc == ffi::SQLITE_OK { ffi::SQLITE_NOMEM } else { rc }, ""));
        };
        let address = Arc::new(Mutex::new(Some(Address(db))));
        // From here on the connection is closed by dropping (clause 3).
        let interrupter = Interrupter { functions: Arc::clone(functions), address };
        let handle = Self { db, interrupter, is_closed: false };
        if rc == ffi::SQLITE_OK {
            // SAFETY: open (clause 3).
            unsafe { (functions.extended_result_codes)(db.as_ptr(), 1) };
            return Ok(handle);
        }
        // Without extended codes the number itself is the family only; the connection knows better.
        let extended = handle.extended_code();
        let code = if ResultCode(extended).primary().0 == rc & 0xff { extended } else { rc };
        Err(handle.error(code))
    }

    fn functions(&self) -> &Arc<Functions> {
        &self.interrupter.functions
    }

    /// What is known of a call on this connection that has just returned `code`.
    pub(super) fn error(&self, code: c_int) -> SqlError {
        let family = ResultCode(code).primary().0;
        // SQLite notes the errno for these families alone; for others it stays at what an earlier failure left.
        let errno = if matches!(family, ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN) { self.system_errno() } else { 0 };
        // Likewise the message of a call that was refused at the door belongs to an earlier one.
        let is_noted = ResultCode(self.extended_code()).primary().0 == family;
        let message = if is_noted { self.message() } else { self.functions().code_text(code) };
        SqlError { code, errno, message }
    }

    /// Ok for OK, the error otherwise.
    fn check(&self, code: c_int) -> Result<(), SqlError> {
        if code == ffi::SQLITE_OK { Ok(()) } else { Err(self.error(code)) }
    }

    pub(super) fn extended_code(&self) -> c_int {
        // SAFETY: open (clause 3).
        unsafe { (self.functions().extended_errcode)(self.db.as_ptr()) }
    }

    pub(super) fn system_errno(&self) -> c_int {
        // SAFETY: open (clause 3).
        unsafe { (self.functions().system_errno)(self.db.as_ptr()) }
    }

    fn message(&self) -> String {
        // SAFETY: open (clause 3).
        let text = unsafe { (self.functions().errmsg)(self.db.as_ptr()) };
        // SAFETY: nothing happens on the connection in between (clause 2).
        unsafe { owned(text) }
    }

    pub(super) fn busy_timeout(&self, ms: c_int) -> Result<(), SqlError> {
        // SAFETY: open (clause 3).
        self.check(unsafe { (self.functions().busy_timeout)(self.db.as_ptr(), ms) })
    }

    pub(super) fn is_autocommit(&self) -> bool {
        // SAFETY: open (clause 3).
        (unsafe { (self.functions().get_autocommit)(self.db.as_ptr()) }) != 0
    }

    pub(super) fn changes(&self) -> c_int {
        // SAFETY: open (clause 3).
        unsafe { (self.functions().changes)(self.db.as_ptr()) }
    }

    pub(super) fn last_insert_rowid(&self) -> i64 {
        // SAFETY: open (clause 3).
        unsafe { (self.functions().last_insert_rowid)(self.db.as_ptr()) }
    }

    /// The greatest transaction state of all attached databases, where the library can tell.
    pub(super) fn txn_state(&self) -> Option<c_int> {
        // SAFETY: open (clause 3); a null name asks for all databases.
        self.functions().txn_state.map(|state| unsafe { state(self.db.as_ptr(), ptr::null()) })
    }

    pub(super) fn interrupter(&self) -> &Interrupter {
        &self.interrupter
    }

    /// The result code, the frames in the log, and how many of them are in the database file.
    pub(super) fn checkpoint(&self, mode: c_int) -> (c_int, c_int, c_int) {
        let (mut log, mut done) = (-1, -1);
        let main = c"main".as_ptr();
        let checkpoint = self.functions().wal_checkpoint_v2;
        // SAFETY: open (clause 3); a NUL-terminated name, valid out-pointers (clause 7).
        let rc = unsafe { checkpoint(self.db.as_ptr(), main, mode, &raw mut log, &raw mut done) };
        (rc, log, done)
    }

    /// Executes all statements of the text.
    pub(super) fn execute(&self, sql: &str) -> Result<(), SqlError> {
        let functions = self.functions();
        let sql =
            CString::new(sql).map_err(|_| functions.refusal(ffi::SQLITE_MISUSE, "a NUL byte in an SQL statement"))?;
        // SAFETY: open (clause 3); NUL-terminated text; no callback and no message asked for.
        self.check(unsafe { (functions.exec)(self.db.as_ptr(), sql.as_ptr(), None, ptr::null_mut(), ptr::null_mut()) })
    }

    /// Compiles the one statement of the text.
    pub(super) fn prepare(&self, sql: &str) -> Result<Prepared<'_>, SqlError> {
        let functions = self.functions();
        let length = c_int::try_from(sql.len()).map_err(|_| functions.refusal(ffi::SQLITE_TOOBIG, ""))?;
        let text = sql.as_ptr().cast::<c_char>();
        let (mut statement, mut tail) = (ptr::null_mut(), ptr::null());
        let db = self.db.as_ptr();
        let rc = match functions.prepare_v3 {
            // SAFETY: open (clause 3); `length` bytes of text, valid out-pointers (clause 7).
            Some(prepare) => unsafe {
                prepare(db, text, length, ffi::SQLITE_PREPARE_PERSISTENT, &raw mut statement, &raw mut tail)
            },
            // SAFETY: as above.
            None => unsafe { (functions.prepare_v2)(db, text, length, &raw mut statement, &raw mut tail) },
        };
        self.check(rc)?;
        let Some(statement) = NonNull::new(statement) else {
            return Err(functions.refusal(ffi::SQLITE_MISUSE, "no statement in the SQL text"));
        };
        // From here on the statement is finalised by dropping.
        let prepared = Prepared { handle: self, statement, columns: 0 };
        let used = if tail.is_null() { sql.len() } else { tail.addr() - text.addr() };
        if sql.get(used..).is_some_and(|rest| !rest.trim().is_empty()) {
            return Err(functions.refusal(ffi::SQLITE_MISUSE, "more than one statement in the SQL text"));
        }
        Ok(prepared)
    }

    /// Closes the connection, and reports what went wrong.
    pub(super) fn close(mut self) -> Result<(), SqlError> {
        let rc = self.end();
        self.check(rc)
    }

    /// Closes the connection, once. BUSY means that a statement was leaked: the connection is leaked with it.
    fn end(&mut self) -> c_int {
        if self.is_closed {
            return ffi::SQLITE_OK;
        }
        self.forget();
        // SAFETY: open; not used afterwards if this succeeds (clause 3).
        let rc = unsafe { (self.functions().close)(self.db.as_ptr()) };
        self.is_closed = rc == ffi::SQLITE_OK;
        rc
    }

    /// Interrupters lose the address. The lock is not held while SQLite works: closing calls the VFS, which may hand
    /// the turn to the thread that interrupts.
    fn forget(&self) {
        *self.interrupter.address.lock() = None;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

// ------------------------------------------------------------------------------------------------
// Statements

/// A compiled statement. It borrows its connection, so that it is finalised first.
pub(super) struct Prepared<'db> {
    handle: &'db Handle,
    statement: NonNull<sqlite3_stmt>,
    /// The columns of the row that the statement stands on; 0 if it stands on none.
    columns: usize,
}

impl Prepared<'_> {
    fn functions(&self) -> &Functions {
        self.handle.functions()
    }

    fn raw(&self) -> *mut sqlite3_stmt {
        self.statement.as_ptr()
    }

    /// True if there is a row, false at the end.
    #[inline]
    pub(super) fn step(&mut self) -> Result<bool, SqlError> {
        self.columns = 0;
        // SAFETY: not finalised (clause 5).
        let rc = unsafe { (self.functions().step)(self.raw()) };
        match rc {
            ffi::SQLITE_ROW => {
                // SAFETY: not finalised (clause 5).
                let columns = unsafe { (self.functions().data_count)(self.raw()) };
                self.columns = usize::try_from(columns).unwrap_or(0);
                Ok(true)
            }
            ffi::SQLITE_DONE => Ok(false),
            code => Err(self.handle.error(code)),
        }
    }

    pub(super) fn reset(&mut self) {
        self.columns = 0;
        // What it returns is the error of the last step, which that has reported already.
        // SAFETY: not finalised (clause 5).
        unsafe { (self.functions().reset)(self.raw()) };
    }

    pub(super) fn clear_bindings(&mut self) {
        // SAFETY: not finalised (clause 5).
        unsafe { (self.functions().clear_bindings)(self.raw()) };
    }

    pub(super) fn bind_null(&mut self, index: usize) -> Result<(), SqlError> {
        // SAFETY: not finalised (clause 5).
        self.handle.check(unsafe { (self.functions().bind_null)(self.raw(), parameter(index)) })
    }

    pub(super) fn bind_int(&mut self, index: usize, value: i64) -> Result<(), SqlError> {
        // SAFETY: not finalised (clause 5).
        self.handle.check(unsafe { (self.functions().bind_int64)(self.raw(), parameter(index), value) })
    }

    pub(super) fn bind_real(&mut self, index: usize, value: f64) -> Result<(), SqlError> {
        // SAFETY: not finalised (clause 5).
        self.handle.check(unsafe { (self.functions().bind_double)(self.raw(), parameter(index), value) })
    }

    pub(super) fn bind_text(&mut self, index: usize, value: &str) -> Result<(), SqlError> {
        let length = self.length(value.len())?;
        let (bind, text) = (self.functions().bind_text, value.as_ptr().cast());
        // SAFETY: not finalised (clause 5); `length` bytes, copied before the call returns (clause 7).
        self.handle.check(unsafe { bind(self.raw(), parameter(index), text, length, ffi::SQLITE_TRANSIENT()) })
    }

    pub(super) fn bind_blob(&mut self, index: usize, value: &[u8]) -> Result<(), SqlError> {
        let length = self.length(value.len())?;
        // The pointer of an empty slice is not null, which makes it an empty blob and not NULL.
        let (bind, bytes) = (self.functions().bind_blob, value.as_ptr().cast());
        // SAFETY: not finalised (clause 5); `length` bytes, copied before the call returns (clause 7).
        self.handle.check(unsafe { bind(self.raw(), parameter(index), bytes, length, ffi::SQLITE_TRANSIENT()) })
    }

    fn length(&self, bytes: usize) -> Result<c_int, SqlError> {
        c_int::try_from(bytes).map_err(|_| self.functions().refusal(ffi::SQLITE_TOOBIG, ""))
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The number of a column of the row that the statement stands on (clause 5).
    #[track_caller]
    #[inline]
    fn column(&self, column: usize) -> c_int {
        assert!(column < self.columns, "column {column} of a row of {}", self.columns);
        // Fits: the number of columns came from a c_int.
        column as c_int
    }

    #[track_caller]
    #[inline]
    pub(super) fn int(&self, column: usize) -> i64 {
        // SAFETY: on a row (clause 5).
        unsafe { (self.functions().column_int64)(self.raw(), self.column(column)) }
    }

    #[track_caller]
    pub(super) fn real(&self, column: usize) -> f64 {
        // SAFETY: on a row (clause 5).
        unsafe { (self.functions().column_double)(self.raw(), self.column(column)) }
    }

    #[track_caller]
    pub(super) fn kind(&self, column: usize) -> c_int {
        // SAFETY: on a row (clause 5).
        unsafe { (self.functions().column_type)(self.raw(), self.column(column)) }
    }

    /// The bytes of the column read as text. The exclusive borrow rules out a call that would move them (clause 6).
    #[track_caller]
    pub(super) fn text(&mut self, column: usize) -> &[u8] {
        let column = self.column(column);
        // SAFETY: on a row (clause 5).
        let bytes = unsafe { (self.functions().column_text)(self.raw(), column) };
        // SAFETY: the column's text, asked for just now.
        unsafe { self.bytes(bytes, column) }
    }

    /// The bytes of the column read as a blob. The exclusive borrow rules out a call that would move them (clause 6).
    #[track_caller]
    pub(super) fn blob(&mut self, column: usize) -> &[u8] {
        let column = self.column(column);
        // SAFETY: on a row (clause 5).
        let bytes = unsafe { (self.functions().column_blob)(self.raw(), column) };
        // SAFETY: the column's blob, asked for just now.
        unsafe { self.bytes(bytes.cast(), column) }
    }

    /// # Safety
    /// `bytes` must be what `sqlite3_column_text` or `_blob` has just returned for the column, and the borrow of `self`
    /// must rule out further calls while the slice lives (clause 6).
    unsafe fn bytes(&self, bytes: *const u8, column: c_int) -> &[u8] {
        // SAFETY: on a row, as the caller has checked (clause 5).
        let length = unsafe { (self.functions().column_bytes)(self.raw(), column) };
        if bytes.is_null() {
            return &[];
        }
        // SAFETY: see above.
        unsafe { slice::from_raw_parts(bytes, usize::try_from(length).unwrap_or(0)) }
    }

    #[track_caller]
    pub(super) fn value(&mut self, column: usize) -> Value {
        match self.kind(column) {
            ffi::SQLITE_INTEGER => Value::Integer(self.int(column)),
            ffi::SQLITE_FLOAT => Value::Real(self.real(column)),
            ffi::SQLITE_TEXT => Value::Text(String::from_utf8_lossy(self.text(column)).into_owned()),
            ffi::SQLITE_BLOB => Value::Blob(self.blob(column).to_vec()),
            _ => Value::Null,
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        // SAFETY: not finalised before, and not used afterwards (clause 5).
        unsafe { (self.functions().finalize)(self.raw()) };
    }
}

/// The number of a parameter. One too great for SQLite becomes one that no statement has.
fn parameter(index: usize) -> c_int {
    c_int::try_from(index).unwrap_or(c_int::MAX)
}
