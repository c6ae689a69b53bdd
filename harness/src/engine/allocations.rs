//! SQLite's allocations, made such that a fault rule can let one fail.
//!
//! `SQLITE_CONFIG_MALLOC` takes a table of functions before SQLite starts. This one has the functions that were there,
//! with two of its own before them: `xMalloc` and `xRealloc` ask the open [gates](Gate) of their thread. While no gate
//! is open in the process, that costs one load of a word.
//!
//! Together with it lookaside memory is turned off: SQLite would take small allocations of a connection from there, and
//! no rule would see them. SQLite's own tests of failing allocations do the same.
//!
//! SQLite calls both functions with the mutex of its allocator held. So a gate must neither call SQLite nor be a
//! scheduling point.
//!
//! # The C contract
//! The proofs below refer to these clauses of SQLite's documentation (sqlite3.h, "Memory Allocation Routines",
//! "Configuring The SQLite Library").
//!
//! 1. **Methods.** `xMalloc` may be called with any size; `xRealloc` with a pointer that `xMalloc` or `xRealloc` of the
//!    same table returned. Null is the answer for a failure; a block that is not resized then stays as it is.
//! 2. **Configuration.** `SQLITE_CONFIG_GETMALLOC` writes the present table, `SQLITE_CONFIG_MALLOC` copies one, and
//!    `SQLITE_CONFIG_LOOKASIDE` takes two integers. All want a library that is not started.
#![expect(unsafe_code, reason = "an FFI module")]

use crate::engine::error::SqlError;
use crate::engine::ffi::Functions;
use crate::engine::mutexes;
use rusqlite::ffi::{self, sqlite3_mem_methods};
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Asked at each allocation of this many bytes; true if it is to fail.
type Ask = Rc<dyn Fn(c_int) -> bool>;

/// Gates that are open in the process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The gates of this thread.
    static GATES: RefCell<Vec<Ask>> = const { RefCell::new(Vec::new()) };
}

/// Lets allocations of its thread pass or fail, while it is there.
pub(crate) struct Gate(Ask);

impl Gate {
    /// Opens a gate on the calling thread. `ask` must not call SQLite.
    pub(crate) fn open(ask: impl Fn(c_int) -> bool + 'static) -> Self {
        let ask: Ask = Rc::new(ask);
        GATES.with_borrow_mut(|gates| gates.push(Rc::clone(&ask)));
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(ask)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        GATES.with_borrow_mut(|gates| gates.retain(|ask| !Rc::ptr_eq(ask, &self.0)));
    }
}

/// True if an allocation is to fail.
#[inline]
fn is_refused(bytes: c_int) -> bool {
    OPEN.load(Ordering::Relaxed) > 0 && ask(bytes)
}

#[cold]
fn ask(bytes: c_int) -> bool {
    // All are asked, since each counts. A thread that ends has none.
    let asked = GATES.try_with(|gates| {
        let gates = gates.try_borrow().ok()?;
        Some(gates.iter().fold(false, |is_refused, gate| gate(bytes) | is_refused))
    });
    asked.ok().flatten().unwrap_or(false)
}

// ------------------------------------------------------------------------------------------------
// The methods

/// The functions that were there.
#[derive(Clone, Copy)]
struct Original {
    malloc: unsafe extern "C" fn(c_int) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
}

static ORIGINAL: OnceLock<Original> = OnceLock::new();

unsafe extern "C" fn x_malloc(bytes: c_int) -> *mut c_void {
    match ORIGINAL.get() {
        // SAFETY: any size may be asked for (clause 1).
        Some(original) if !is_refused(bytes) => unsafe { (original.malloc)(bytes) },
        _ => ptr::null_mut(),
    }
}

unsafe extern "C" fn x_realloc(block: *mut c_void, bytes: c_int) -> *mut c_void {
    match ORIGINAL.get() {
        // SAFETY: the block is from `x_malloc` or from here, so from the functions that were there (clause 1).
        Some(original) if !is_refused(bytes) => unsafe { (original.realloc)(block, bytes) },
        _ => ptr::null_mut(),
    }
}

// ------------------------------------------------------------------------------------------------
// The installation

/// See [`Engine::install_allocation_faults`](super::Engine::install_allocation_faults).
pub(super) fn install(functions: &Functions) -> Result<(), SqlError> {
    static INSTALLING: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
    let _alone = INSTALLING.lock();
    if ORIGINAL.get().is_some() {
        return Ok(());
    }
    mutexes::reconfigure(functions, |api| {
        // SAFETY: a table of null pointers is a valid value.
        let mut table: sqlite3_mem_methods = unsafe { std::mem::zeroed() };
        // SAFETY: the option takes a pointer to a table, which is written to; the library is not started (clause 2).
        let code = unsafe { (api.config)(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut table) };
        let (Some(malloc), Some(realloc), ffi::SQLITE_OK) = (table.xMalloc, table.xRealloc, code) else {
            return ffi::SQLITE_MISUSE;
        };
        table.xMalloc = Some(x_malloc);
        table.xRealloc = Some(x_realloc);
        // Before SQLite can call them.
        let _ = ORIGINAL.set(Original { malloc, realloc });
        // SAFETY: the option takes a pointer to a table, which is copied; the library is not started (clause 2).
        let code = unsafe { (api.config)(ffi::SQLITE_CONFIG_MALLOC, &raw const table) };
        let none: c_int = 0;
        // SAFETY: the option takes two integers; the library is not started (clause 2).
        let lookaside = unsafe { (api.config)(ffi::SQLITE_CONFIG_LOOKASIDE, none, none) };
        if code == ffi::SQLITE_OK { lookaside } else { code }
    })
}
