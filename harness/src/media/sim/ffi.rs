//! The C side of the simulated machine: a `sqlite3_vfs` and its method tables.
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
//!    or NUL-terminated, for the length of the call. `zName` of `xOpen` is a `sqlite3_filename`: if `SQLITE_OPEN_URI`
//!    is set, pairs of NUL-terminated keys and values follow the name, ended by an empty key.
//! 4. **File controls.** The argument of an opcode has the type that sqlite3.h gives for it.
//! 5. **Threads.** Methods of one VFS and of files of one machine may be called from any thread. Those of a machine are
//!    not made for that, so each call compares the thread with the one that registered the VFS before it touches
//!    anything but memory that never changes.
//! 6. **Unwinding.** C frames must not be unwound: [`guarded`] catches panics, and the straight path has nothing that
//!    panics.
#![expect(unsafe_code, reason = "an FFI module")]

use super::files::{Control, Opening};
use super::machine::Machine;
use super::shm::Region;
use crate::vfs::RegisterError;
use crate::vfs::api::SqliteApi;
use rusqlite::ffi::{
    self, sqlite3_file, sqlite3_filename, sqlite3_int64, sqlite3_io_methods, sqlite3_syscall_ptr, sqlite3_vfs,
};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::slice;
use std::time::Duration;

/// The address that `xDlSym` looks up, as bindgen spells it.
type DlSymbol = Option<unsafe extern "C" fn(*mut sqlite3_vfs, *mut c_void, *const c_char)>;

/// The longest name, its NUL included, as on Unix (os_unix.c, `MAX_PATHNAME`).
const PATHNAME_BYTES_MAX: c_int = 512;

// ------------------------------------------------------------------------------------------------
// FaultVfs

/// What hangs on `pAppData`. Only `thread` may be looked at before the thread has been compared.
struct VfsState {
    thread: usize,
    /// Gone when the registration is.
    machine: RefCell<Option<Rc<RefCell<Machine>>>>,
    name: CString,
    api: SqliteApi,
}

/// A simulated machine that is registered with SQLite as a VFS. It works for the thread that registered it.
///
/// Dropping it takes the name out of SQLite's list. Files that are open go on until they are closed; nothing more can
/// be opened. The machine's memory is freed with the last of its owners, open files included.
#[derive(Debug)]
pub struct SimVfs {
    vfs: NonNull<sqlite3_vfs>,
    state: &'static VfsState,
    api: SqliteApi,
}

impl std::fmt::Debug for VfsState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VfsState").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SimVfs {
    /// Registers `machine` under `name` in the library behind `api`.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub fn register(api: SqliteApi, name: &str, machine: Rc<RefCell<Machine>>) -> Result<Self, RegisterError> {
        let c_name = CString::new(name).map_err(|_| RegisterError::BadName(name.to_owned()))?;
        // SAFETY: a NUL-terminated name; the function initialises the library if need be and takes its own mutex.
        if !unsafe { (api.vfs_find)(c_name.as_ptr()) }.is_null() {
            return Err(RegisterError::NameTaken(name.to_owned()));
        }
        let machine = RefCell::new(Some(machine));
        let state: &'static VfsState =
            Box::leak(Box::new(VfsState { thread: this_thread(), machine, name: c_name, api }));
        let vfs = NonNull::from(Box::leak(Box::new(vfs_of(state))));
        // SAFETY: `vfs` is a complete structure that is never freed, and so is its name (clause 1).
        let rc = unsafe { (api.vfs_register)(vfs.as_ptr(), 0) };
        if rc != ffi::SQLITE_OK {
            return Err(RegisterError::Refused(rc));
        }
        Ok(Self { vfs, state, api })
    }

    /// The name to open connections with, or to register a shim over.
    pub fn name(&self) -> &str {
        self.state.name.to_str().unwrap_or_default()
    }
}

impl Drop for SimVfs {
    fn drop(&mut self) {
        // SAFETY: registered in `register` with the same library and never freed.
        unsafe { (self.api.vfs_unregister)(self.vfs.as_ptr()) };
        self.state.machine.replace(None);
    }
}

fn vfs_of(state: &'static VfsState) -> sqlite3_vfs {
    sqlite3_vfs {
        iVersion: 3,
        szOsFile: c_int::try_from(size_of::<SimFile>()).unwrap_or(0),
        mxPathname: PATHNAME_BYTES_MAX,
        pNext: ptr::null_mut(),
        zName: state.name.as_ptr(),
        pAppData: ptr::from_ref(state).cast_mut().cast(),
        xOpen: Some(x_open),
        xDelete: Some(x_delete),
        xAccess: Some(x_access),
        xFullPathname: Some(x_full_pathname),
        xDlOpen: Some(x_dl_open),
        xDlError: Some(x_dl_error),
        xDlSym: Some(x_dl_sym),
        xDlClose: Some(x_dl_close),
        xRandomness: Some(x_randomness),
        xSleep: Some(x_sleep),
        xCurrentTime: Some(x_current_time),
        xGetLastError: Some(x_get_last_error),
        xCurrentTimeInt64: Some(x_current_time_int64),
        xSetSystemCall: Some(x_set_system_call),
        xGetSystemCall: Some(x_get_system_call),
        xNextSystemCall: Some(x_next_system_call),
    }
}

/// The methods of a database file.
static DATABASE: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(x_close),
    xRead: Some(x_read),
    xWrite: Some(x_write),
    xTruncate: Some(x_truncate),
    xSync: Some(x_sync),
    xFileSize: Some(x_file_size),
    xLock: Some(x_lock),
    xUnlock: Some(x_unlock),
    xCheckReservedLock: Some(x_check_reserved_lock),
    xFileControl: Some(x_file_control),
    xSectorSize: Some(x_sector_size),
    xDeviceCharacteristics: Some(x_device_characteristics),
    xShmMap: Some(x_shm_map),
    xShmLock: Some(x_shm_lock),
    xShmBarrier: Some(x_shm_barrier),
    xShmUnmap: Some(x_shm_unmap),
    xFetch: Some(x_fetch),
    xUnfetch: Some(x_unfetch),
};

/// The methods of any other file: no wal-index hangs on it (os_unix.c, `nolockIoMethods`).
static OTHER: sqlite3_io_methods = sqlite3_io_methods { xShmMap: None, ..DATABASE };

// ------------------------------------------------------------------------------------------------
// Ways in

/// The file object that SQLite allocates for us.
#[repr(C)]
struct SimFile {
    head: sqlite3_file,
    /// The thread that the machine belongs to.
    thread: usize,
    /// From `Rc::into_raw`; `x_close` gives it back.
    machine: *const RefCell<Machine>,
    /// The VFS that opened it.
    vfs: &'static VfsState,
    number: u32,
    epoch: u32,
}

/// A number for the calling thread, different from that of every other thread that is alive.
#[inline]
fn this_thread() -> usize {
    thread_local! {
        static MARK: Cell<u8> = const { Cell::new(0) };
    }
    MARK.with(|mark| ptr::from_ref(mark).addr())
}

/// Carries a call out on the machine. A panic on the way is caught, since it must not unwind into C; the call then
/// comes to `otherwise`, as it does if it is made while another is under way.
#[inline]
fn guarded<T: Copy>(machine: &RefCell<Machine>, otherwise: T, work: impl FnOnce(&mut Machine) -> T) -> T {
    let Ok(mut machine) = machine.try_borrow_mut() else { return otherwise };
    match catch_unwind(AssertUnwindSafe(|| work(&mut machine))) {
        Ok(outcome) => outcome,
        Err(payload) => {
            machine.note_panic(panic_text(&*payload));
            otherwise
        }
    }
}

#[cold]
fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// Carries a file method out; from a strange thread, or on a file from before a reset, it comes to `otherwise`.
///
/// # Safety
/// `file` must be a file object for which `x_open` succeeded and `x_close` has not ended (clause 2).
#[inline]
unsafe fn on_file<T: Copy>(file: *mut sqlite3_file, otherwise: T, work: impl FnOnce(&mut Machine, u32) -> T) -> T {
    // SAFETY: `x_open` filled in a SimFile at this address; nothing writes to it before `x_close` (clause 2).
    let file = unsafe { &*file.cast::<SimFile>() };
    if file.thread != this_thread() {
        return otherwise;
    }
    // SAFETY: `x_open` stored an owned pointer from Rc::into_raw, which only `x_close` gives back. The thread is the
    // machine's own (clause 5).
    let machine = unsafe { &*file.machine };
    guarded(
        machine,
        otherwise,
        |machine| {
            if machine.epoch() == file.epoch { work(machine, file.number) } else { otherwise }
        },
    )
}

/// The machine of a VFS, if the call comes on its thread and the registration still stands.
///
/// # Safety
/// `vfs` must be a structure made by [`vfs_of`] (clause 1).
unsafe fn machine_of(vfs: *mut sqlite3_vfs) -> Option<Rc<RefCell<Machine>>> {
    // SAFETY: the structure is valid (clause 1).
    let state = unsafe { state_of(vfs) };
    if state.thread != this_thread() {
        return None;
    }
    state.machine.try_borrow().ok()?.clone()
}

/// # Safety
/// As for [`machine_of`]. Only the thread may look at `machine` (clause 5).
unsafe fn state_of(vfs: *mut sqlite3_vfs) -> &'static VfsState {
    // SAFETY: the structure is valid (clause 1).
    let state = unsafe { (*vfs).pAppData };
    // SAFETY: `vfs_of` stored the address of a leaked VfsState there.
    unsafe { &*state.cast::<VfsState>() }
}

/// Carries a VFS method out; see [`on_file`].
///
/// # Safety
/// As for [`machine_of`].
unsafe fn on_vfs<T: Copy>(vfs: *mut sqlite3_vfs, otherwise: T, work: impl FnOnce(&mut Machine) -> T) -> T {
    // SAFETY: clause 1.
    match unsafe { machine_of(vfs) } {
        Some(machine) => guarded(&machine, otherwise, work),
        None => otherwise,
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

/// The buffer of a call, which may be uninitialised; empty if the length makes no sense.
///
/// # Safety
/// `buffer` must be valid for writing `length` bytes for `'a`, and no other code may use it (clause 3).
#[inline]
unsafe fn buffer_mut<'a, T>(buffer: *mut T, length: c_int) -> &'a mut [MaybeUninit<u8>] {
    let length = usize::try_from(length).unwrap_or(0);
    if buffer.is_null() {
        return &mut [];
    }
    // SAFETY: valid for `length` bytes (above), and a MaybeUninit may be anything.
    unsafe { slice::from_raw_parts_mut(buffer.cast(), length) }
}

/// The address of memory for SQLite, aligned for the 64-bit words that it may use there; null if it is not.
fn address(memory: &[Cell<u8>]) -> *mut c_void {
    let address = memory.as_ptr().cast_mut().cast::<u8>();
    if address.cast::<u64>().is_aligned() { address.cast() } else { ptr::null_mut() }
}

// ------------------------------------------------------------------------------------------------
// VFS methods

unsafe extern "C" fn x_open(
    vfs: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let sim = file.cast::<SimFile>();
    // SAFETY: SQLite allocated szOsFile bytes, the size of a SimFile, aligned to 8 (clause 2).
    unsafe { (*sim).head.pMethods = ptr::null() };
    // SAFETY: clause 1.
    let Some(machine) = (unsafe { machine_of(vfs) }) else { return ffi::SQLITE_IOERR };
    // SAFETY: clause 1.
    let state = unsafe { state_of(vfs) };
    // SAFETY: clause 3.
    let bytes = unsafe { name_bytes(name) };
    // SAFETY: clause 3.
    let is_powersafe = flags & ffi::SQLITE_OPEN_URI == 0 || unsafe { uri_boolean(name, b"psow", true) };
    let opening = Opening { name: (!name.is_null()).then_some(bytes), flags, is_powersafe };
    let opened = guarded(&machine, Err(ffi::SQLITE_IOERR), |machine| {
        machine.open(opening).map(|opened| (opened, machine.epoch()))
    });
    let (opened, epoch) = match opened {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    // A temporary file without a name leaves the flags alone (os_unix.c, `unixOpen` with O_TMPFILE).
    if !out_flags.is_null() && !name.is_null() {
        // SAFETY: not null, hence valid for one value (clause 3).
        unsafe { *out_flags = opened.flags };
    }
    let head = sqlite3_file { pMethods: if opened.is_database { &raw const DATABASE } else { &raw const OTHER } };
    let machine = Rc::into_raw(machine);
    // SAFETY: as above for `sim`; nothing in it needs dropping.
    unsafe { sim.write(SimFile { head, thread: this_thread(), machine, vfs: state, number: opened.file, epoch }) };
    ffi::SQLITE_OK
}

/// A truth value among the parameters behind a name (`sqlite3_uri_boolean`).
///
/// # Safety
/// `name` must be null or a `sqlite3_filename` with parameters (clause 3).
unsafe fn uri_boolean(name: *const c_char, key: &[u8], default: bool) -> bool {
    let mut position = name;
    let mut next = || {
        // SAFETY: at the name, or right behind the NUL of a string that was not the empty key, so at another string
        // (clause 3).
        let text = unsafe { name_bytes(position) };
        position = position.wrapping_add(text.len() + 1);
        text
    };
    if next().is_empty() {
        return default;
    }
    loop {
        let found = next();
        if found.is_empty() {
            return default;
        }
        let value = next();
        if found == key {
            return match value.to_ascii_lowercase().as_slice() {
                b"on" | b"yes" | b"true" => true,
                b"off" | b"no" | b"false" => false,
                [b'0'..=b'9', ..] => {
                    value.iter().take_while(|digit| digit.is_ascii_digit()).any(|&digit| digit != b'0')
                }
                _ => default,
            };
        }
    }
}

unsafe extern "C" fn x_delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: clause 3.
    let name = unsafe { name_bytes(name) };
    // SAFETY: clause 1.
    unsafe { on_vfs(vfs, ffi::SQLITE_IOERR, |machine| machine.delete(name, sync_dir)) }
}

unsafe extern "C" fn x_access(vfs: *mut sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: clause 3.
    let name = unsafe { name_bytes(name) };
    // SAFETY: clause 1.
    match unsafe { on_vfs(vfs, Err(ffi::SQLITE_IOERR), |machine| machine.access(name, flags)) } {
        Ok(is_there) => {
            // SAFETY: valid for one value (clause 3).
            unsafe { *out = c_int::from(is_there) };
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn x_full_pathname(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: clause 3.
    let name = unsafe { name_bytes(name) };
    // SAFETY: clause 3.
    let out = unsafe { buffer_mut(out, size) };
    let limit = out.len();
    let mut full = Vec::new();
    let full_name = &mut full;
    // SAFETY: clause 1.
    let rc = unsafe { on_vfs(vfs, ffi::SQLITE_IOERR, |machine| machine.full_pathname(name, limit, full_name)) };
    full.push(0);
    for (byte, from) in out.iter_mut().zip(full) {
        byte.write(from);
    }
    rc
}

unsafe extern "C" fn x_dl_open(_vfs: *mut sqlite3_vfs, _name: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

unsafe extern "C" fn x_dl_error(_vfs: *mut sqlite3_vfs, size: c_int, out: *mut c_char) {
    // SAFETY: clause 3.
    let out = unsafe { buffer_mut(out, size) };
    let limit = out.len().saturating_sub(1);
    let text = b"a simulated machine loads no libraries".iter().take(limit).chain(b"\0");
    for (byte, &from) in out.iter_mut().zip(text) {
        byte.write(from);
    }
}

unsafe extern "C" fn x_dl_sym(_vfs: *mut sqlite3_vfs, _handle: *mut c_void, _symbol: *const c_char) -> DlSymbol {
    None
}

unsafe extern "C" fn x_dl_close(_vfs: *mut sqlite3_vfs, _handle: *mut c_void) {}

unsafe extern "C" fn x_randomness(vfs: *mut sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    // SAFETY: clause 3.
    let out = unsafe { buffer_mut(out, size) };
    let mut bytes = [0_u8; 64];
    for part in out.chunks_mut(bytes.len()) {
        let random = &mut bytes;
        // SAFETY: clause 1.
        unsafe { on_vfs(vfs, (), |machine| machine.fill_random(random)) };
        for (byte, &from) in part.iter_mut().zip(&bytes) {
            byte.write(from);
        }
    }
    size
}

unsafe extern "C" fn x_sleep(vfs: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    let duration = Duration::from_micros(u64::try_from(microseconds).unwrap_or(0));
    // SAFETY: clause 1.
    unsafe { on_vfs(vfs, (), |machine| machine.sleep(duration)) };
    microseconds
}

unsafe extern "C" fn x_current_time(vfs: *mut sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: clause 1.
    let Some(ms) = (unsafe { on_vfs(vfs, None, |machine| Some(machine.julian_ms())) }) else {
        return ffi::SQLITE_ERROR;
    };
    // SAFETY: valid for one value (clause 3).
    unsafe { *out = ms as f64 / 86_400_000.0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_current_time_int64(vfs: *mut sqlite3_vfs, out: *mut sqlite3_int64) -> c_int {
    // SAFETY: clause 1.
    let Some(ms) = (unsafe { on_vfs(vfs, None, |machine| Some(machine.julian_ms())) }) else {
        return ffi::SQLITE_ERROR;
    };
    // SAFETY: valid for one value (clause 3).
    unsafe { *out = ms };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_get_last_error(vfs: *mut sqlite3_vfs, _size: c_int, _out: *mut c_char) -> c_int {
    // SAFETY: clause 1.
    unsafe { on_vfs(vfs, 0, |machine| machine.errno) }
}

unsafe extern "C" fn x_set_system_call(
    _vfs: *mut sqlite3_vfs,
    _name: *const c_char,
    _call: sqlite3_syscall_ptr,
) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn x_get_system_call(_vfs: *mut sqlite3_vfs, _name: *const c_char) -> sqlite3_syscall_ptr {
    None
}

unsafe extern "C" fn x_next_system_call(_vfs: *mut sqlite3_vfs, _name: *const c_char) -> *const c_char {
    ptr::null()
}

// ------------------------------------------------------------------------------------------------
// File methods

unsafe extern "C" fn x_close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: clause 2.
    let rc = unsafe { on_file(file, ffi::SQLITE_IOERR, Machine::close) };
    // SAFETY: `x_open` filled in a SimFile at this address (clause 2).
    let sim = unsafe { &mut *file.cast::<SimFile>() };
    sim.head.pMethods = ptr::null();
    // Rc counts without atomics, so on a strange thread the machine is leaked rather than let go of.
    if sim.thread == this_thread() {
        // SAFETY: from Rc::into_raw in `x_open`; the file is never used again (clause 2).
        drop(unsafe { Rc::from_raw(sim.machine) });
    }
    rc
}

unsafe extern "C" fn x_read(
    file: *mut sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: clause 3.
    let out = unsafe { buffer_mut(buffer, amount) };
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.read(number, offset, out)) }
}

unsafe extern "C" fn x_write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    let length = usize::try_from(amount).unwrap_or(0);
    // SAFETY: the buffer is valid for `amount` bytes, and SQLite writes initialised memory (clause 3).
    let bytes = unsafe { slice::from_raw_parts(buffer.cast::<u8>(), length) };
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.write(number, offset, bytes)) }
}

unsafe extern "C" fn x_truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.truncate(number, size)) }
}

unsafe extern "C" fn x_sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.sync(number, flags)) }
}

unsafe extern "C" fn x_file_size(file: *mut sqlite3_file, out: *mut sqlite3_int64) -> c_int {
    // SAFETY: valid for one value (clause 3).
    let out = unsafe { &mut *out };
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.size(number, out)) }
}

unsafe extern "C" fn x_lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.lock(number, level)) }
}

unsafe extern "C" fn x_unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.unlock(number, level)) }
}

unsafe extern "C" fn x_check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: valid for one value (clause 3).
    let out = unsafe { &mut *out };
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.check_reserved_lock(number, out)) }
}

unsafe extern "C" fn x_file_control(file: *mut sqlite3_file, op: c_int, arg: *mut c_void) -> c_int {
    /// The argument as a reference to the type that goes with the opcode.
    macro_rules! arg {
        ($type:ty) => {
            // SAFETY: for this opcode the argument points to such a value (clause 4).
            unsafe { &mut *arg.cast::<$type>() }
        };
    }
    let control = match op {
        ffi::SQLITE_FCNTL_LOCKSTATE => Control::LockState(arg!(c_int)),
        ffi::SQLITE_FCNTL_LAST_ERRNO => Control::LastErrno(arg!(c_int)),
        ffi::SQLITE_FCNTL_CHUNK_SIZE => Control::ChunkSize(*arg!(c_int)),
        ffi::SQLITE_FCNTL_SIZE_HINT => Control::SizeHint(*arg!(i64)),
        ffi::SQLITE_FCNTL_PERSIST_WAL => Control::PersistWal(arg!(c_int)),
        ffi::SQLITE_FCNTL_POWERSAFE_OVERWRITE => Control::PowersafeOverwrite(arg!(c_int)),
        ffi::SQLITE_FCNTL_HAS_MOVED => Control::HasMoved(arg!(c_int)),
        ffi::SQLITE_FCNTL_MMAP_SIZE => Control::MmapSize(arg!(i64)),
        ffi::SQLITE_FCNTL_EXTERNAL_READER => Control::ExternalReader(arg!(c_int)),
        ffi::SQLITE_FCNTL_VFSNAME | ffi::SQLITE_FCNTL_TEMPFILENAME => {
            // SAFETY: clause 2; clause 4: the argument is a `char**`.
            return unsafe { give_name(file, op, arg.cast()) };
        }
        _ => return ffi::SQLITE_NOTFOUND,
    };
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.control(number, control)) }
}

/// Answers an opcode that wants a string from `sqlite3_malloc`.
///
/// # Safety
/// `file` as for [`on_file`]; `out` valid for one pointer.
unsafe fn give_name(file: *mut sqlite3_file, op: c_int, out: *mut *mut c_char) -> c_int {
    // SAFETY: `x_open` filled in a SimFile at this address (clause 2).
    let vfs = unsafe { (*file.cast::<SimFile>()).vfs };
    let mut name = String::new();
    let text = &mut name;
    let give = |machine: &mut Machine, number| {
        if let Err(code) = machine.admit(number) {
            return code;
        }
        *text = match op {
            ffi::SQLITE_FCNTL_VFSNAME => vfs.name.to_string_lossy().into_owned(),
            _ => machine.temporary_name(),
        };
        ffi::SQLITE_OK
    };
    // SAFETY: clause 2.
    let rc = unsafe { on_file(file, ffi::SQLITE_IOERR, give) };
    if rc != ffi::SQLITE_OK {
        return rc;
    }
    name.push('\0');
    // SAFETY: any size may be asked for; the answer is checked.
    let memory = unsafe { (vfs.api.malloc)(c_int::try_from(name.len()).unwrap_or(0)) };
    if memory.is_null() {
        return ffi::SQLITE_NOMEM;
    }
    // SAFETY: both are valid for `name.len()` bytes, and a new allocation overlaps nothing.
    unsafe { ptr::copy_nonoverlapping(name.as_ptr(), memory.cast::<u8>(), name.len()) };
    // SAFETY: valid for one pointer.
    unsafe { *out = memory.cast() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_sector_size(file: *mut sqlite3_file) -> c_int {
    // Asking settles the characteristics as well.
    let size = |machine: &mut Machine, number| {
        machine.characteristics(number);
        c_int::try_from(machine.device.sector_bytes).unwrap_or(4096)
    };
    // SAFETY: clause 2.
    unsafe { on_file(file, 4096, size) }
}

unsafe extern "C" fn x_device_characteristics(file: *mut sqlite3_file) -> c_int {
    // SAFETY: clause 2.
    unsafe { on_file(file, 0, |machine, number| machine.characteristics(number)) }
}

unsafe extern "C" fn x_shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let (index, size) = (u64::try_from(region).unwrap_or(0), u64::try_from(size).unwrap_or(0));
    let region = Region { index, size, extend: extend != 0 };
    let map = |machine: &mut Machine, number| match machine.shm_map(number, region) {
        Ok(None) => (ffi::SQLITE_OK, ptr::null_mut()),
        Ok(Some(memory)) => match address(memory) {
            memory if memory.is_null() => (ffi::SQLITE_IOERR_SHMMAP, memory),
            memory => (ffi::SQLITE_OK, memory),
        },
        Err(code) => (code, ptr::null_mut()),
    };
    // SAFETY: clause 2.
    let (rc, memory) = unsafe { on_file(file, (ffi::SQLITE_IOERR, ptr::null_mut()), map) };
    // SAFETY: valid for one pointer (clause 3).
    unsafe { *out = memory };
    rc
}

unsafe extern "C" fn x_shm_lock(file: *mut sqlite3_file, first: c_int, slots: c_int, flags: c_int) -> c_int {
    let (first, slots) = (usize::try_from(first).unwrap_or(0), usize::try_from(slots).unwrap_or(0));
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.shm_lock(number, first, slots, flags)) }
}

unsafe extern "C" fn x_shm_barrier(_file: *mut sqlite3_file) {}

unsafe extern "C" fn x_shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.shm_unmap(number, delete != 0)) }
}

unsafe extern "C" fn x_fetch(
    file: *mut sqlite3_file,
    offset: sqlite3_int64,
    amount: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let fetch = |machine: &mut Machine, number| match machine.fetch(number, offset, amount) {
        // SQLite reads pages byte by byte or copies them, so no alignment is asked for here.
        Ok(Some(memory)) => (ffi::SQLITE_OK, memory.as_ptr().cast_mut().cast()),
        Ok(None) => (ffi::SQLITE_OK, ptr::null_mut()),
        Err(code) => (code, ptr::null_mut()),
    };
    // SAFETY: clause 2.
    let (rc, page) = unsafe { on_file(file, (ffi::SQLITE_IOERR, ptr::null_mut()), fetch) };
    // SAFETY: valid for one pointer (clause 3). Null means "not mapped, read it".
    unsafe { *out = page };
    rc
}

unsafe extern "C" fn x_unfetch(file: *mut sqlite3_file, _offset: sqlite3_int64, page: *mut c_void) -> c_int {
    // SAFETY: clause 2.
    unsafe { on_file(file, ffi::SQLITE_IOERR, |machine, number| machine.unfetch(number, !page.is_null())) }
}

// ------------------------------------------------------------------------------------------------
// Bytes of the disk

/// Copies `bytes` to the disk. A loop over the cells would not be compiled to a `memcpy`.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub(super) fn copy_in(cells: &[Cell<u8>], bytes: &[u8]) {
    assert_eq!(cells.len(), bytes.len());
    // SAFETY: both are valid for the length, which is the same. A cell has the layout of its content and may be written
    // through a shared borrow. SQLite may hand over bytes of a mapped page, which is memory of the disk: `copy` allows
    // the two to overlap.
    unsafe { ptr::copy(bytes.as_ptr(), cells.as_ptr().cast::<u8>().cast_mut(), bytes.len()) }
}

/// Copies bytes of the disk to `out`.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub(super) fn copy_out(cells: &[Cell<u8>], out: &mut [MaybeUninit<u8>]) {
    assert_eq!(cells.len(), out.len());
    // SAFETY: both are valid for the length, which is the same. A cell has the layout of its content, and nothing
    // writes to it during the copy: all of it happens on one thread.
    unsafe { ptr::copy(cells.as_ptr().cast::<MaybeUninit<u8>>(), out.as_mut_ptr(), out.len()) }
}
