//! The C side of the shim: a `sqlite3_vfs` that forwards every call to another one, by way of the injector.
//!
//! # The C contract
//! The proofs below refer to these clauses of SQLite's documentation (sqlite3.h, "OS Interface Object", "OS Interface
//! Open File Handle", "OS Interface File Virtual Methods Object") by number.
//!
//! 1. **The VFS.** SQLite passes as first argument of a VFS method the structure that was registered. It must stay
//!    valid while it is registered and while any connection uses it. We never free it.
//! 2. **The file.** SQLite allocates `szOsFile` bytes for a file object, aligned to 8, passes it to `xOpen`, and from a
//!    successful `xOpen` to the end of `xClose` passes it as first argument of the file methods. It does not move.
//!    After a failed `xOpen` it calls `xClose` only if `pMethods` is not null.
//! 3. **Arguments.** Buffers are valid for the length that goes with them, out-pointers for one value, names are null
//!    or NUL-terminated, for the length of the call. `zName` of `xOpen` is a `sqlite3_filename`: memory before and
//!    behind the name is SQLite's, so the very pointer must be passed on, never a copy.
//! 4. **Method tables.** `pMethods` points to a table that lives at least as long as the file is open. Members of a
//!    table of version *n* exist if its `iVersion` is at least *n*; a member may be null where the VFS lacks the
//!    ability.
//! 5. **Threads.** Methods of one file object are never called concurrently. Methods of one VFS are.
//! 6. **Unwinding.** C frames must not be unwound: [`Injector::conduct`] catches panics, and the straight path has
//!    nothing that panics.
//!
//! The base VFS is called through pointers that SQLite handed out under the same clauses, with arguments that SQLite
//! gave us under clause 3; "passed on" below means that.
#![expect(unsafe_code, reason = "an FFI module")]

use crate::call::{Call, Method, Role};
use crate::codes::ResultCode;
use crate::fault::effect::Alteration;
use crate::fault::{PlanError, SyncFate};
use crate::vfs::api::SqliteApi;
use crate::vfs::injector::{Injector, OpenFile};
use rusqlite::ffi::{
    self, sqlite3_file, sqlite3_filename, sqlite3_int64, sqlite3_io_methods, sqlite3_syscall_ptr, sqlite3_vfs,
};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The address that `xDlSym` looks up, as bindgen spells it.
type DlSymbol = Option<unsafe extern "C" fn(*mut sqlite3_vfs, *mut c_void, *const c_char)>;

// ------------------------------------------------------------------------------------------------
// FaultVfs

/// Why a shim could not be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name cannot be a C string.
    #[error("a VFS name cannot contain a NUL byte: {0:?}")]
    BadName(String),
    /// Another VFS has the name.
    #[error("a VFS named `{0}` is registered already")]
    NameTaken(String),
    /// There is nothing to forward to.
    #[error("no VFS named `{0}` is registered; without a name the default one is taken")]
    NoBase(String),
    /// The faults make no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// SQLite refused.
    #[error("sqlite3_vfs_register returned {0}")]
    Refused(c_int),
}

/// What hangs on `pAppData` of a registered shim.
struct VfsState {
    /// The VFS forwarded to. Never unregistered by us; SQLite's built-in ones are static.
    base: NonNull<sqlite3_vfs>,
    injector: Arc<Injector>,
    name: CString,
    api: SqliteApi,
}

/// A shim that is registered with SQLite. Dropping it takes the name out of SQLite's list, so that no new connection
/// can find it; connections that are open go on. Its memory is never freed, since SQLite does not tell when the last
/// connection lets go of a VFS.
#[derive(Debug)]
pub struct FaultVfs {
    vfs: NonNull<sqlite3_vfs>,
    api: SqliteApi,
    injector: Arc<Injector>,
    name: String,
}

// SAFETY: the pointer is only handed to sqlite3_vfs_unregister, which takes SQLite's own mutex.
unsafe impl Send for FaultVfs {}
// SAFETY: as above; nothing is reachable through a shared reference but the injector, which is Sync.
unsafe impl Sync for FaultVfs {}

impl FaultVfs {
    /// Registers a shim called `name` over the VFS called `base` (or the default one) in the library behind `api`. Any
    /// number may be registered side by side, also over each other. With `make_default`, connections that name no VFS
    /// use it.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub(crate) fn new(
        api: SqliteApi,
        name: &str,
        base: Option<&str>,
        make_default: bool,
        injector: Injector,
    ) -> Result<Self, RegisterError> {
        let c_name = CString::new(name).map_err(|_| RegisterError::BadName(name.to_owned()))?;
        if find(api, Some(&c_name)).is_some() {
            return Err(RegisterError::NameTaken(name.to_owned()));
        }
        let no_base = || RegisterError::NoBase(base.unwrap_or("(default)").to_owned());
        let c_base = base.map(CString::new).transpose().map_err(|_| no_base())?;
        let base = find(api, c_base.as_deref()).ok_or_else(no_base)?;
        let injector = Arc::new(injector);
        let state = Box::leak(Box::new(VfsState { base, injector: Arc::clone(&injector), name: c_name, api }));
        let vfs = NonNull::from(Box::leak(Box::new(mirror_vfs(state))));
        // SAFETY: `vfs` is a complete structure that is never freed, and so is its name (clause 1).
        let rc = unsafe { (api.vfs_register)(vfs.as_ptr(), c_int::from(make_default)) };
        if rc != ffi::SQLITE_OK {
            return Err(RegisterError::Refused(rc));
        }
        Ok(Self { vfs, api, injector, name: name.to_owned() })
    }

    /// The name to open connections with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The injector behind the shim.
    pub fn injector(&self) -> &Arc<Injector> {
        &self.injector
    }
}

impl Drop for FaultVfs {
    fn drop(&mut self) {
        // SAFETY: registered in `new` with the same library and never freed.
        unsafe { (self.api.vfs_unregister)(self.vfs.as_ptr()) };
    }
}

fn find(api: SqliteApi, name: Option<&CStr>) -> Option<NonNull<sqlite3_vfs>> {
    let name = name.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: a null or NUL-terminated name; the function initialises the library if need be and takes its own mutex.
    NonNull::new(unsafe { (api.vfs_find)(name) })
}

/// A structure with the abilities of the base VFS, and our trampolines in the places of its methods.
fn mirror_vfs(state: &'static VfsState) -> sqlite3_vfs {
    // SAFETY: found in SQLite's list, hence a valid structure (clause 1).
    let base = unsafe { state.base.as_ref() };
    let since = |version| base.iVersion >= version;
    sqlite3_vfs {
        iVersion: base.iVersion.min(3),
        szOsFile: c_int::try_from(size_of::<ShimFile>()).unwrap_or(0) + base.szOsFile,
        mxPathname: base.mxPathname,
        pNext: ptr::null_mut(),
        zName: state.name.as_ptr(),
        pAppData: ptr::from_ref(state).cast_mut().cast(),
        xOpen: base.xOpen.and(Some(x_open)),
        xDelete: base.xDelete.and(Some(x_delete)),
        xAccess: base.xAccess.and(Some(x_access)),
        xFullPathname: base.xFullPathname.and(Some(x_full_pathname)),
        xDlOpen: base.xDlOpen.and(Some(x_dl_open)),
        xDlError: base.xDlError.and(Some(x_dl_error)),
        xDlSym: base.xDlSym.and(Some(x_dl_sym)),
        xDlClose: base.xDlClose.and(Some(x_dl_close)),
        xRandomness: base.xRandomness.and(Some(x_randomness)),
        xSleep: base.xSleep.and(Some(x_sleep)),
        xCurrentTime: base.xCurrentTime.and(Some(x_current_time)),
        xGetLastError: base.xGetLastError.and(Some(x_get_last_error)),
        xCurrentTimeInt64: if since(2) { base.xCurrentTimeInt64.and(Some(x_current_time_int64)) } else { None },
        xSetSystemCall: if since(3) { base.xSetSystemCall.and(Some(x_set_system_call)) } else { None },
        xGetSystemCall: if since(3) { base.xGetSystemCall.and(Some(x_get_system_call)) } else { None },
        xNextSystemCall: if since(3) { base.xNextSystemCall.and(Some(x_next_system_call)) } else { None },
    }
}

/// A method table with the abilities of the base file, and our trampolines in the places of its methods.
fn mirror_methods(base: &sqlite3_io_methods) -> sqlite3_io_methods {
    let since = |version| base.iVersion >= version;
    sqlite3_io_methods {
        iVersion: base.iVersion.min(3),
        xClose: base.xClose.and(Some(x_close)),
        xRead: base.xRead.and(Some(x_read)),
        xWrite: base.xWrite.and(Some(x_write)),
        xTruncate: base.xTruncate.and(Some(x_truncate)),
        xSync: base.xSync.and(Some(x_sync)),
        xFileSize: base.xFileSize.and(Some(x_file_size)),
        xLock: base.xLock.and(Some(x_lock)),
        xUnlock: base.xUnlock.and(Some(x_unlock)),
        xCheckReservedLock: base.xCheckReservedLock.and(Some(x_check_reserved_lock)),
        xFileControl: base.xFileControl.and(Some(x_file_control)),
        xSectorSize: base.xSectorSize.and(Some(x_sector_size)),
        xDeviceCharacteristics: base.xDeviceCharacteristics.and(Some(x_device_characteristics)),
        xShmMap: if since(2) { base.xShmMap.and(Some(x_shm_map)) } else { None },
        xShmLock: if since(2) { base.xShmLock.and(Some(x_shm_lock)) } else { None },
        xShmBarrier: if since(2) { base.xShmBarrier.and(Some(x_shm_barrier)) } else { None },
        xShmUnmap: if since(2) { base.xShmUnmap.and(Some(x_shm_unmap)) } else { None },
        xFetch: if since(3) { base.xFetch.and(Some(x_fetch)) } else { None },
        xUnfetch: if since(3) { base.xUnfetch.and(Some(x_unfetch)) } else { None },
    }
}

// ------------------------------------------------------------------------------------------------
// Files

/// The file object that SQLite allocates for us. The base VFS's object follows it in the same allocation.
#[repr(C)]
struct ShimFile {
    head: sqlite3_file,
    state: *mut FileState,
}

/// What the shim keeps for an open file.
struct FileState {
    /// The table that the file's `pMethods` points to; clause 4 is kept by its standing in the same box as the rest.
    methods: sqlite3_io_methods,
    base: *mut sqlite3_file,
    vfs: &'static VfsState,
    /// The injector's switches. The word lives in the shared state, which `vfs.injector` keeps alive.
    mode: *const AtomicU64,
    open: Arc<OpenFile>,
}

impl FileState {
    /// The base file's method table. Read anew at each call, as SQLite itself does.
    #[inline]
    fn base(&self) -> &sqlite3_io_methods {
        // SAFETY: `base` is the base VFS's file object behind our own, open as long as this state exists (clause 2).
        let methods = unsafe { (*self.base).pMethods };
        // SAFETY: an open file's table is valid (clause 4); `x_open` has checked that it is not null.
        unsafe { &*methods }
    }

    /// True if calls go straight through.
    #[inline]
    fn is_off(&self) -> bool {
        // SAFETY: see the field.
        unsafe { &*self.mode }.load(Ordering::Relaxed) == 0
    }

    fn call(&self, method: Method, role: Role, arg: i64, amount: i32) -> Call {
        Call { method, role, file: self.open.number, arg, amount }
    }

    // This one and the next three stay out of line, so that the straight path of a trampoline is a handful of
    // instructions.

    /// Runs a call on this file's own role through the injector.
    #[inline(never)]
    fn conduct(
        &self,
        method: Method,
        arg: i64,
        amount: i32,
        execute: impl FnMut(Option<&Alteration>) -> c_int,
    ) -> c_int {
        self.vfs.injector.conduct(&self.call(method, self.open.role, arg, amount), execute)
    }

    /// Runs a call on the wal-index through the injector.
    #[inline(never)]
    fn conduct_shm(&self, method: Method, arg: i64, amount: i32, mut execute: impl FnMut() -> c_int) -> c_int {
        self.vfs.injector.conduct(&self.call(method, Role::Shm, arg, amount), |_| execute())
    }

    /// Runs a call that takes a lock through the injector, and keeps the new state if it succeeded.
    #[inline(never)]
    fn conduct_lock(&self, call: Call, execute: impl Fn() -> c_int) -> c_int {
        self.vfs.injector.conduct(&call, |_| self.noted(&call, &execute))
    }

    /// Runs a call that gives something back through the injector. Where an error is injected, it is carried out all
    /// the same: no system keeps a lock or a mapping because giving it back failed, and SQLite does not ask twice.
    #[inline(never)]
    fn conduct_release(&self, call: Call, execute: impl Fn() -> c_int) -> c_int {
        let mut released = false;
        let rc = self.vfs.injector.conduct(&call, |_| {
            released = true;
            self.noted(&call, &execute)
        });
        if !released {
            self.noted(&call, &execute);
        }
        rc
    }

    fn noted(&self, call: &Call, execute: impl Fn() -> c_int) -> c_int {
        let rc = execute();
        if rc == ffi::SQLITE_OK {
            self.open.note(call);
        }
        rc
    }
}

/// The state of a file.
///
/// # Safety
/// `file` must be a file object for which `x_open` succeeded and `x_close` has not ended (clause 2).
#[inline]
unsafe fn file_state<'a>(file: *mut sqlite3_file) -> &'a FileState {
    // SAFETY: `x_open` filled in a ShimFile at this address.
    let state = unsafe { (*file.cast::<ShimFile>()).state };
    // SAFETY: `x_open` stored the box's address, and `x_close` alone frees it. It is never borrowed mutably in between.
    unsafe { &*state }
}

/// The state of a VFS.
///
/// # Safety
/// `vfs` must be a structure made by [`mirror_vfs`] (clause 1).
#[inline]
unsafe fn vfs_state(vfs: *mut sqlite3_vfs) -> &'static VfsState {
    // SAFETY: the structure is valid (clause 1).
    let state = unsafe { (*vfs).pAppData };
    // SAFETY: `mirror_vfs` stored the address of a leaked VfsState there.
    unsafe { &*state.cast::<VfsState>() }
}

impl VfsState {
    fn base(&self) -> &sqlite3_vfs {
        // SAFETY: a registered VFS stays valid (clause 1).
        unsafe { self.base.as_ref() }
    }

    /// Runs a call without a file through the injector.
    fn conduct(
        &self,
        method: Method,
        role: Role,
        arg: i64,
        amount: i32,
        execute: impl FnMut(Option<&Alteration>) -> c_int,
    ) -> c_int {
        self.injector.conduct(&Call { method, role, file: 0, arg, amount }, execute)
    }
}

/// Calls a method of the base file and yields its answer; `$or` where the base lacks the method, which the mirrored
/// tables rule out.
macro_rules! file_base {
    ($file:expr, $method:ident($($arg:expr),*), $or:expr) => {
        match $file.base().$method {
            // SAFETY: the base's own method, on the base's own open file object, with SQLite's arguments passed on
            // (clauses 2 and 3).
            Some(method) => unsafe { method($file.base $(, $arg)*) },
            None => $or,
        }
    };
}

/// Calls a method of the base VFS and yields its answer; `$or` where the base lacks the method, which the mirrored
/// structure rules out.
macro_rules! vfs_base {
    ($vfs:expr, $method:ident($($arg:expr),*), $or:expr) => {
        match $vfs.base().$method {
            // SAFETY: the base's own method, on the base VFS, with SQLite's arguments passed on (clauses 1 and 3).
            Some(method) => unsafe { method($vfs.base.as_ptr() $(, $arg)*) },
            None => $or,
        }
    };
}

// ------------------------------------------------------------------------------------------------
// VFS methods

fn role_of_open(flags: c_int) -> Role {
    const TEMP: c_int = ffi::SQLITE_OPEN_TEMP_DB
        | ffi::SQLITE_OPEN_TEMP_JOURNAL
        | ffi::SQLITE_OPEN_TRANSIENT_DB
        | ffi::SQLITE_OPEN_SUBJOURNAL;
    if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
        Role::Db
    } else if flags & ffi::SQLITE_OPEN_WAL != 0 {
        Role::Wal
    } else if flags & ffi::SQLITE_OPEN_MAIN_JOURNAL != 0 {
        Role::Journal
    } else if flags & ffi::SQLITE_OPEN_SUPER_JOURNAL != 0 {
        Role::Super
    } else if flags & TEMP != 0 {
        Role::Temp
    } else {
        Role::None
    }
}

/// The bytes of a name; empty for null.
///
/// # Safety
/// `name` must be null or NUL-terminated, and valid for `'a` (clause 3).
unsafe fn name_bytes<'a>(name: *const c_char) -> &'a [u8] {
    if name.is_null() {
        return &[];
    }
    // SAFETY: not null, NUL-terminated.
    unsafe { CStr::from_ptr(name) }.to_bytes()
}

unsafe extern "C" fn x_open(
    vfs: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    let shim = file.cast::<ShimFile>();
    // Until the base has opened its file there is nothing to close (clause 2).
    // SAFETY: SQLite allocated szOsFile bytes, which a ShimFile fits in, aligned to 8 (clause 2).
    unsafe { (*shim).head.pMethods = ptr::null() };
    // SAFETY: szOsFile is the size of a ShimFile plus the base's szOsFile, so this address begins the base's share.
    let base = unsafe { shim.add(1) }.cast::<sqlite3_file>();
    let role = role_of_open(flags);
    let open = || vfs_base!(vfs, xOpen(name, base, flags, out_flags), ffi::SQLITE_CANTOPEN);
    let number = vfs.injector.next_file();
    let rc = if vfs.injector.is_off() {
        open()
    } else {
        let call = Call { method: Method::Open, role, file: number, arg: i64::from(flags), amount: 0 };
        let mut opened = false;
        let rc = vfs.injector.conduct(&call, |_| {
            opened = true;
            open()
        });
        if !opened {
            return rc;
        }
        rc
    };
    // SAFETY: the base's xOpen has run, and it must set pMethods whether it succeeds or not (clause 2).
    let base_methods = unsafe { (*base).pMethods };
    if base_methods.is_null() {
        return if rc == ffi::SQLITE_OK { ffi::SQLITE_CANTOPEN } else { rc };
    }
    // SAFETY: not null, hence valid (clause 4).
    let methods = mirror_methods(unsafe { &*base_methods });
    // SAFETY: clause 3.
    let name = String::from_utf8_lossy(unsafe { name_bytes(name) }).into_owned();
    let open = vfs.injector.file_opened(number, role, name);
    let state = Box::new(FileState { methods, base, vfs, mode: vfs.injector.mode_word(), open });
    let state = Box::into_raw(state);
    // SAFETY: as above for `shim`; the box is alive.
    unsafe { (*shim).state = state };
    // SAFETY: the box is alive; no reference into it exists yet.
    let methods = unsafe { &raw const (*state).methods };
    // Set last: from here on SQLite will call `x_close`, also if `rc` is an error (clause 2), so the base's file gets
    // closed as well. SAFETY: as above for `shim`.
    unsafe { (*shim).head.pMethods = methods };
    rc
}

unsafe extern "C" fn x_delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    if vfs.injector.is_off() {
        return vfs_base!(vfs, xDelete(name, sync_dir), ffi::SQLITE_IOERR_DELETE);
    }
    // SAFETY: clause 3.
    let role = Role::of_path(unsafe { name_bytes(name) });
    vfs.conduct(Method::Delete, role, i64::from(sync_dir), 0, |alteration| {
        let delete = |sync| match alteration {
            Some(Alteration::Skip) => ffi::SQLITE_OK,
            _ => vfs_base!(vfs, xDelete(name, sync), ffi::SQLITE_IOERR_DELETE),
        };
        if sync_dir == 0 {
            return delete(0);
        }
        // The base syncs the directory inside xDelete, after the deletion. To let that step fail or lie by itself, it
        // is a call of its own on the role `dir`; what the plan makes of it decides which flag the base gets.
        let mut deleted = None;
        let rc = vfs.conduct(Method::Sync, Role::Dir, 0, 0, |alteration| {
            let rc = match alteration {
                Some(Alteration::FailSync(fate, code, _)) => match delete(fate.flags(0)) {
                    ffi::SQLITE_OK => failed_sync(*fate, *code, ffi::SQLITE_OK),
                    failed => failed,
                },
                _ => delete(c_int::from(alteration.is_none())),
            };
            deleted = Some(rc);
            rc
        });
        match deleted {
            Some(rc) => rc,
            None => match delete(0) {
                ffi::SQLITE_OK => rc,
                failed => failed,
            },
        }
    })
}

unsafe extern "C" fn x_access(vfs: *mut sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    let access = || vfs_base!(vfs, xAccess(name, flags, out), ffi::SQLITE_IOERR_ACCESS);
    if vfs.injector.is_off() {
        return access();
    }
    // SAFETY: clause 3.
    let role = Role::of_path(unsafe { name_bytes(name) });
    vfs.conduct(Method::Access, role, i64::from(flags), 0, |_| access())
}

unsafe extern "C" fn x_full_pathname(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    let full = || vfs_base!(vfs, xFullPathname(name, size, out), ffi::SQLITE_CANTOPEN);
    if vfs.injector.is_off() {
        return full();
    }
    vfs.conduct(Method::FullPathname, Role::Db, 0, size, |_| full())
}

/// Runs a call whose answer is no result code through the injector; the answer goes by the side.
fn conduct_aside<T>(vfs: &VfsState, method: Method, none: T, execute: impl Fn() -> T) -> T {
    if vfs.injector.is_off() {
        return execute();
    }
    let mut answer = none;
    vfs.conduct(method, Role::None, 0, 0, |_| {
        answer = execute();
        ffi::SQLITE_OK
    });
    answer
}

unsafe extern "C" fn x_dl_open(vfs: *mut sqlite3_vfs, name: *const c_char) -> *mut c_void {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    conduct_aside(vfs, Method::DlOpen, ptr::null_mut(), || vfs_base!(vfs, xDlOpen(name), ptr::null_mut()))
}

unsafe extern "C" fn x_dl_error(vfs: *mut sqlite3_vfs, size: c_int, out: *mut c_char) {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    conduct_aside(vfs, Method::DlError, (), || vfs_base!(vfs, xDlError(size, out), ()));
}

unsafe extern "C" fn x_dl_sym(vfs: *mut sqlite3_vfs, handle: *mut c_void, symbol: *const c_char) -> DlSymbol {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    conduct_aside(vfs, Method::DlSym, None, || vfs_base!(vfs, xDlSym(handle, symbol), None))
}

unsafe extern "C" fn x_dl_close(vfs: *mut sqlite3_vfs, handle: *mut c_void) {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    conduct_aside(vfs, Method::DlClose, (), || vfs_base!(vfs, xDlClose(handle), ()));
}

unsafe extern "C" fn x_randomness(vfs: *mut sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    let fill = || {
        let length = usize::try_from(size).unwrap_or(0);
        if length == 0 || out.is_null() {
            return 0;
        }
        // The buffer may be uninitialised, so it gets zeroes before it is seen as a slice.
        // SAFETY: valid for `size` bytes (clause 3).
        unsafe { ptr::write_bytes(out, 0, length) };
        // SAFETY: valid for `size` bytes (clause 3), initialised above.
        let bytes = unsafe { slice::from_raw_parts_mut(out.cast::<u8>(), length) };
        if vfs.injector.fill_random(bytes) { size } else { vfs_base!(vfs, xRandomness(size, out), 0) }
    };
    if vfs.injector.is_off() { fill() } else { vfs.conduct(Method::Randomness, Role::None, 0, size, |_| fill()) }
}

unsafe extern "C" fn x_sleep(vfs: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    let sleep = || {
        let duration = Duration::from_micros(u64::try_from(microseconds).unwrap_or(0));
        if vfs.injector.sleep(duration) { microseconds } else { vfs_base!(vfs, xSleep(microseconds), 0) }
    };
    if vfs.injector.is_off() {
        return sleep();
    }
    vfs.conduct(Method::Sleep, Role::None, i64::from(microseconds), 0, |_| sleep())
}

unsafe extern "C" fn x_current_time(vfs: *mut sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    let time = || match vfs.injector.julian_ms() {
        Some(ms) => {
            // SAFETY: valid for one value (clause 3).
            unsafe { *out = ms as f64 / 86_400_000.0 };
            ffi::SQLITE_OK
        }
        None => vfs_base!(vfs, xCurrentTime(out), ffi::SQLITE_ERROR),
    };
    if vfs.injector.is_off() { time() } else { vfs.conduct(Method::CurrentTime, Role::None, 0, 0, |_| time()) }
}

unsafe extern "C" fn x_current_time_int64(vfs: *mut sqlite3_vfs, out: *mut sqlite3_int64) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    let time = || match vfs.injector.julian_ms() {
        Some(ms) => {
            // SAFETY: valid for one value (clause 3).
            unsafe { *out = ms };
            ffi::SQLITE_OK
        }
        None => vfs_base!(vfs, xCurrentTimeInt64(out), ffi::SQLITE_ERROR),
    };
    if vfs.injector.is_off() { time() } else { vfs.conduct(Method::CurrentTimeInt64, Role::None, 0, 0, |_| time()) }
}

unsafe extern "C" fn x_get_last_error(vfs: *mut sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    let last = || match Injector::injected_errno() {
        Some(errno) => errno,
        None => vfs_base!(vfs, xGetLastError(size, out), 0),
    };
    // Not numbered and not traced: the base answers from errno, and the tracing in between must not change it.
    last()
}

unsafe extern "C" fn x_set_system_call(vfs: *mut sqlite3_vfs, name: *const c_char, call: sqlite3_syscall_ptr) -> c_int {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    let set = || vfs_base!(vfs, xSetSystemCall(name, call), ffi::SQLITE_NOTFOUND);
    if vfs.injector.is_off() { set() } else { vfs.conduct(Method::SetSystemCall, Role::None, 0, 0, |_| set()) }
}

unsafe extern "C" fn x_get_system_call(vfs: *mut sqlite3_vfs, name: *const c_char) -> sqlite3_syscall_ptr {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    conduct_aside(vfs, Method::GetSystemCall, None, || vfs_base!(vfs, xGetSystemCall(name), None))
}

unsafe extern "C" fn x_next_system_call(vfs: *mut sqlite3_vfs, name: *const c_char) -> *const c_char {
    // SAFETY: clause 1.
    let vfs = unsafe { vfs_state(vfs) };
    conduct_aside(vfs, Method::NextSystemCall, ptr::null(), || vfs_base!(vfs, xNextSystemCall(name), ptr::null()))
}

// ------------------------------------------------------------------------------------------------
// File methods

unsafe extern "C" fn x_close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let close = move || file_base!(state, xClose(), ffi::SQLITE_IOERR_CLOSE);
    let rc = if state.is_off() {
        close()
    } else {
        state.conduct_release(state.call(Method::Close, state.open.role, 0, 0), close)
    };
    state.vfs.injector.file_closed(&state.open);
    let state = ptr::from_ref(state).cast_mut();
    // SAFETY: the address is the one that `x_open` got from Box::into_raw; the file is never used again (clause 2), and
    // no reference into the box is used below.
    drop(unsafe { Box::from_raw(state) });
    rc
}

unsafe extern "C" fn x_read(
    file: *mut sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let read = move || file_base!(state, xRead(buffer, amount, offset), ffi::SQLITE_IOERR_READ);
    if state.is_off() {
        return read();
    }
    state.conduct(Method::Read, offset, amount, move |alteration| {
        let rc = read();
        let Some(alteration) = alteration else { return rc };
        let readable = rc == ffi::SQLITE_OK || rc == ffi::SQLITE_IOERR_SHORT_READ;
        let length = usize::try_from(amount).unwrap_or(0);
        if !readable || length == 0 {
            return rc;
        }
        // SAFETY: the buffer is valid for `amount` bytes (clause 3), all of which xRead has filled, zeroes included, if
        // it returned OK or SHORT_READ.
        let bytes = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        match alteration {
            Alteration::Bytes(change, number) => change(bytes, *number).map_or(rc, |code| code.0),
            _ => rc,
        }
    })
}

unsafe extern "C" fn x_write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let write =
        move |buffer: *const c_void, amount| file_base!(state, xWrite(buffer, amount, offset), ffi::SQLITE_IOERR_WRITE);
    if state.is_off() {
        return write(buffer, amount);
    }
    state.conduct(Method::Write, offset, amount, move |alteration| match alteration {
        None => write(buffer, amount),
        // SAFETY: the buffer is valid for `amount` bytes (clause 3), and SQLite writes initialised memory.
        Some(alteration) => unsafe { write_altered(buffer, amount, alteration, write) },
    })
}

/// Carries a write out in a changed way.
///
/// # Safety
/// `buffer` must be valid for `amount` initialised bytes.
#[cold]
unsafe fn write_altered(
    buffer: *const c_void,
    amount: c_int,
    alteration: &Alteration,
    write: impl Fn(*const c_void, c_int) -> c_int,
) -> c_int {
    let length = usize::try_from(amount).unwrap_or(0);
    match alteration {
        Alteration::Skip => ffi::SQLITE_OK,
        Alteration::Cut(bytes, code) => {
            let bytes = c_int::try_from(*bytes).unwrap_or(c_int::MAX).min(amount);
            let rc = if bytes > 0 { write(buffer, bytes) } else { ffi::SQLITE_OK };
            if rc == ffi::SQLITE_OK { code.map_or(rc, |code| code.0) } else { rc }
        }
        Alteration::Bytes(change, number) if length > 0 => {
            // SAFETY: see above.
            let mut changed = unsafe { slice::from_raw_parts(buffer.cast::<u8>(), length) }.to_vec();
            let code = change(&mut changed, *number);
            let rc = write(changed.as_ptr().cast(), amount);
            if rc == ffi::SQLITE_OK { code.map_or(rc, |code| code.0) } else { rc }
        }
        Alteration::Bytes(..) | Alteration::FailSync(..) => write(buffer, amount),
    }
}

unsafe extern "C" fn x_truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let truncate = move || file_base!(state, xTruncate(size), ffi::SQLITE_IOERR_TRUNCATE);
    if state.is_off() {
        return truncate();
    }
    state.conduct(Method::Truncate, size, 0, move |alteration| match alteration {
        Some(Alteration::Skip) => ffi::SQLITE_OK,
        _ => truncate(),
    })
}

/// What a sync returns whose pages have this fate, if the base returned `done`.
fn failed_sync(fate: SyncFate, code: ResultCode, done: c_int) -> c_int {
    if fate == SyncFate::Late { done } else { code.0 }
}

unsafe extern "C" fn x_sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let sync = move |flags| file_base!(state, xSync(flags), ffi::SQLITE_IOERR_FSYNC);
    if state.is_off() {
        return sync(flags);
    }
    state.conduct(Method::Sync, i64::from(flags), 0, move |alteration| match alteration {
        Some(Alteration::Skip) => ffi::SQLITE_OK,
        Some(Alteration::FailSync(fate, code, _)) => failed_sync(*fate, *code, sync(fate.flags(flags))),
        _ => sync(flags),
    })
}

unsafe extern "C" fn x_file_size(file: *mut sqlite3_file, out: *mut sqlite3_int64) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let size = move || file_base!(state, xFileSize(out), ffi::SQLITE_IOERR_FSTAT);
    if state.is_off() { size() } else { state.conduct(Method::FileSize, 0, 0, move |_| size()) }
}

unsafe extern "C" fn x_lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let lock = move || file_base!(state, xLock(level), ffi::SQLITE_IOERR_LOCK);
    if state.is_off() {
        return lock();
    }
    state.conduct_lock(state.call(Method::Lock, state.open.role, i64::from(level), 0), lock)
}

unsafe extern "C" fn x_unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let unlock = move || file_base!(state, xUnlock(level), ffi::SQLITE_IOERR_UNLOCK);
    if state.is_off() {
        return unlock();
    }
    state.conduct_release(state.call(Method::Unlock, state.open.role, i64::from(level), 0), unlock)
}

unsafe extern "C" fn x_check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let check = move || file_base!(state, xCheckReservedLock(out), ffi::SQLITE_IOERR_CHECKRESERVEDLOCK);
    if state.is_off() { check() } else { state.conduct(Method::CheckReservedLock, 0, 0, move |_| check()) }
}

unsafe extern "C" fn x_file_control(file: *mut sqlite3_file, op: c_int, arg: *mut c_void) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let control = move || file_base!(state, xFileControl(op, arg), ffi::SQLITE_NOTFOUND);
    if state.is_off() && op != ffi::SQLITE_FCNTL_VFSNAME {
        return control();
    }
    let rc = if state.is_off() {
        control()
    } else {
        state.conduct(Method::FileControl, i64::from(op), 0, move |_| control())
    };
    if op == ffi::SQLITE_FCNTL_VFSNAME && rc == ffi::SQLITE_OK {
        // SAFETY: for this opcode `arg` is a `char**` (sqlite3.h), which the base has just filled in.
        unsafe { prepend_vfs_name(state.vfs, arg.cast()) };
    }
    rc
}

/// A shim puts its own name before the one that the VFS below it has given: `seawall/unix` (sqlite3.h,
/// SQLITE_FCNTL_VFSNAME).
///
/// # Safety
/// `out` must point to null or to a NUL-terminated string from `sqlite3_malloc`.
unsafe fn prepend_vfs_name(vfs: &VfsState, out: *mut *mut c_char) {
    // SAFETY: see above.
    let below = unsafe { *out };
    // SAFETY: see above.
    let tail = unsafe { name_bytes(below) };
    let mut whole = vfs.name.to_bytes().to_vec();
    whole.push(b'/');
    whole.extend_from_slice(tail);
    whole.push(0);
    // SAFETY: any size may be asked for; the answer is checked.
    let memory = unsafe { (vfs.api.malloc)(c_int::try_from(whole.len()).unwrap_or(0)) };
    if memory.is_null() {
        return;
    }
    // SAFETY: both are valid for `whole.len()` bytes, and a new allocation overlaps nothing.
    unsafe { ptr::copy_nonoverlapping(whole.as_ptr(), memory.cast::<u8>(), whole.len()) };
    // SAFETY: null or from sqlite3_malloc; no other code has the pointer.
    unsafe { (vfs.api.free)(below.cast()) };
    // SAFETY: `out` is valid for one pointer.
    unsafe { *out = memory.cast() };
}

unsafe extern "C" fn x_sector_size(file: *mut sqlite3_file) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let size = move || file_base!(state, xSectorSize(), 0);
    if state.is_off() { size() } else { state.conduct(Method::SectorSize, 0, 0, move |_| size()) }
}

unsafe extern "C" fn x_device_characteristics(file: *mut sqlite3_file) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let characteristics = move || file_base!(state, xDeviceCharacteristics(), 0);
    if state.is_off() {
        return characteristics();
    }
    state.conduct(Method::DeviceCharacteristics, 0, 0, move |_| characteristics())
}

unsafe extern "C" fn x_shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let map = move || file_base!(state, xShmMap(region, size, extend, out), ffi::SQLITE_IOERR_SHMMAP);
    if state.is_off() {
        return map();
    }
    let mapped = Cell::new(false);
    let rc = state.conduct_shm(Method::ShmMap, i64::from(region), size, || {
        mapped.set(true);
        map()
    });
    if rc == ffi::SQLITE_READONLY {
        // The one failure that brings a mapping, which may be read (wal.c, `walIndexPageRealloc`).
        let rc_map = if mapped.get() { rc } else { map() };
        return if rc_map == ffi::SQLITE_OK { rc } else { rc_map };
    }
    if rc != ffi::SQLITE_OK {
        // On an error the pointer must be null (os_unix.c sets it so); after an injected one it is set here.
        // SAFETY: valid for one pointer (clause 3).
        unsafe { *out = ptr::null_mut() };
    }
    rc
}

unsafe extern "C" fn x_shm_lock(file: *mut sqlite3_file, first: c_int, slots: c_int, flags: c_int) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let lock = move || file_base!(state, xShmLock(first, slots, flags), ffi::SQLITE_IOERR_SHMLOCK);
    if state.is_off() {
        return lock();
    }
    let call = state.call(Method::ShmLock, Role::Shm, i64::from(first), slots | flags << 8);
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 { state.conduct_release(call, lock) } else { state.conduct_lock(call, lock) }
}

unsafe extern "C" fn x_shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let barrier = move || file_base!(state, xShmBarrier(), ());
    if state.is_off() {
        return barrier();
    }
    state.conduct_shm(Method::ShmBarrier, 0, 0, || {
        barrier();
        ffi::SQLITE_OK
    });
}

unsafe extern "C" fn x_shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let unmap = move || file_base!(state, xShmUnmap(delete), ffi::SQLITE_OK);
    if state.is_off() {
        return unmap();
    }
    state.conduct_release(state.call(Method::ShmUnmap, Role::Shm, i64::from(delete), 0), unmap)
}

unsafe extern "C" fn x_fetch(
    file: *mut sqlite3_file,
    offset: sqlite3_int64,
    amount: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let fetch = move || file_base!(state, xFetch(offset, amount, out), ffi::SQLITE_IOERR_MMAP);
    if state.is_off() {
        return fetch();
    }
    let rc = state.conduct(Method::Fetch, offset, amount, move |_| fetch());
    if rc != ffi::SQLITE_OK {
        // SAFETY: valid for one pointer (clause 3). Null means "not mapped, read it".
        unsafe { *out = ptr::null_mut() };
    }
    rc
}

unsafe extern "C" fn x_unfetch(file: *mut sqlite3_file, offset: sqlite3_int64, page: *mut c_void) -> c_int {
    // SAFETY: clause 2.
    let state = unsafe { file_state(file) };
    let unfetch = move || file_base!(state, xUnfetch(offset, page), ffi::SQLITE_OK);
    if state.is_off() {
        return unfetch();
    }
    state.conduct_release(state.call(Method::Unfetch, state.open.role, offset, 0), unfetch)
}

#[cfg(test)]
pub(super) mod tests {
    //! C-level access to a VFS and to connections, for the shim's tests.

    use super::*;
    use rusqlite::Connection;
    use std::path::Path;

    fn control(connection: &Connection, op: c_int, arg: *mut c_void) -> c_int {
        // SAFETY: the handle is used while `connection` is borrowed.
        let handle = unsafe { connection.handle() };
        // SAFETY: an open connection, a NUL-terminated name, and an argument of the type that the caller chose for
        // `op`.
        unsafe { ffi::sqlite3_file_control(handle, c"main".as_ptr(), op, arg) }
    }

    pub(in super::super) fn vfs_name(connection: &Connection) -> String {
        let mut name: *mut c_char = ptr::null_mut();
        assert_eq!(control(connection, ffi::SQLITE_FCNTL_VFSNAME, (&raw mut name).cast()), ffi::SQLITE_OK);
        // SAFETY: the call has filled in a NUL-terminated string.
        let text = unsafe { CStr::from_ptr(name) }.to_str().unwrap().to_owned();
        // SAFETY: the string is ours to free.
        unsafe { ffi::sqlite3_free(name.cast()) };
        text
    }

    /// Version of the method table, sector size, device characteristics.
    pub(in super::super) fn characteristics(connection: &Connection) -> (i32, i32, i32) {
        let mut file: *mut sqlite3_file = ptr::null_mut();
        assert_eq!(control(connection, ffi::SQLITE_FCNTL_FILE_POINTER, (&raw mut file).cast()), ffi::SQLITE_OK);
        // SAFETY: the connection's open file.
        let methods = unsafe { (*file).pMethods };
        // SAFETY: an open file's table.
        let methods = unsafe { &*methods };
        // SAFETY: the file's own method.
        let sector = unsafe { methods.xSectorSize.unwrap()(file) };
        // SAFETY: the file's own method.
        let device = unsafe { methods.xDeviceCharacteristics.unwrap()(file) };
        (methods.iVersion, sector, device)
    }

    /// An open file of a VFS.
    pub(in super::super) struct RawFile(*mut sqlite3_file);

    impl RawFile {
        fn methods(&self) -> &sqlite3_io_methods {
            // SAFETY: open until `with_file` closes it.
            let methods = unsafe { (*self.0).pMethods };
            // SAFETY: an open file's table.
            unsafe { &*methods }
        }

        pub(in super::super) fn read(&self, bytes: &mut [u8], offset: i64) -> c_int {
            let read = self.methods().xRead.unwrap();
            // SAFETY: the buffer is as long as it says.
            unsafe { read(self.0, bytes.as_mut_ptr().cast(), bytes.len() as c_int, offset) }
        }

        pub(in super::super) fn write(&self, bytes: &[u8], offset: i64) -> c_int {
            let write = self.methods().xWrite.unwrap();
            // SAFETY: the buffer is as long as it says.
            unsafe { write(self.0, bytes.as_ptr().cast(), bytes.len() as c_int, offset) }
        }
    }

    fn found(name: &str) -> NonNull<sqlite3_vfs> {
        find(SqliteApi::linked(), Some(&CString::new(name).unwrap())).unwrap()
    }

    fn vfs(name: &str) -> &'static sqlite3_vfs {
        // SAFETY: in SQLite's list, and never freed.
        unsafe { found(name).as_ref() }
    }

    /// Opens the main database file at the VFS level, without a connection.
    pub(in super::super) fn with_file(path: &Path, name: &str, work: impl FnOnce(&RawFile)) {
        let vfs = vfs(name);
        let mut memory = vec![0_u64; vfs.szOsFile as usize / 8 + 1];
        let file = RawFile(memory.as_mut_ptr().cast());
        // The two zeroes end the list of URI parameters that stands behind a sqlite3_filename.
        let mut c_path = vec![0_u8; 4];
        c_path.extend_from_slice(path.to_str().unwrap().as_bytes());
        c_path.extend_from_slice(&[0; 4]);
        let flags = ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_READWRITE;
        let open = vfs.xOpen.unwrap();
        // SAFETY: szOsFile bytes, aligned to 8; a name laid out as a sqlite3_filename; a null out-pointer is allowed.
        let rc = unsafe { open(found(name).as_ptr(), c_path[4..].as_ptr().cast(), file.0, flags, ptr::null_mut()) };
        assert_eq!(rc, ffi::SQLITE_OK);
        work(&file);
        let close = file.methods().xClose.unwrap();
        // SAFETY: open, and not used afterwards.
        assert_eq!(unsafe { close(file.0) }, ffi::SQLITE_OK);
    }

    /// The result code of opening a database and reading its schema, and `sqlite3_system_errno` after it.
    pub(in super::super) fn open_errno(path: &Path, name: &str) -> (c_int, c_int) {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        let name = CString::new(name).unwrap();
        let flags = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE;
        let mut db = ptr::null_mut();
        // SAFETY: NUL-terminated names and a valid out-pointer.
        let rc = unsafe { ffi::sqlite3_open_v2(path.as_ptr(), &raw mut db, flags, name.as_ptr()) };
        // SAFETY: also after a failure the handle is valid (sqlite3_open_v2).
        let errno = unsafe { ffi::sqlite3_system_errno(db) };
        // SAFETY: closed once.
        unsafe { ffi::sqlite3_close(db) };
        (rc, errno)
    }

    pub(in super::super) fn first_system_call(name: &str) -> Option<String> {
        let next = vfs(name).xNextSystemCall?;
        // SAFETY: null asks for the first name.
        let call = unsafe { next(found(name).as_ptr(), ptr::null()) };
        // SAFETY: a static string of the VFS.
        (!call.is_null()).then(|| unsafe { CStr::from_ptr(call) }.to_str().unwrap().to_owned())
    }

    pub(in super::super) fn randomness(name: &str) -> [u8; 32] {
        let mut bytes = [0_u8; 32];
        let fill = vfs(name).xRandomness.unwrap();
        // SAFETY: a buffer of 32 bytes.
        assert_eq!(unsafe { fill(found(name).as_ptr(), 32, bytes.as_mut_ptr().cast()) }, 32);
        bytes
    }
}
