//! SQLite's own mutexes, made such that the actors of an execution are kept apart by them.
//!
//! SQLite's mutexes are recursive per OS thread, and all actors of an execution run on one: two that share a connection
//! would both be let in, one in the middle of the other's statement. These go by the actor as well, and an actor that
//! has to wait lets the others run. Outside of executions they are ordinary locks, for any number of threads.
//!
//! - To enter a mutex that keeps other actors out is a scheduling point where SQLite's callers meet: at a *dynamic
//!   recursive* mutex, which is that of a connection, from the moment on when a second actor comes to it. A connection
//!   that is not shared costs an execution no points.
//! - The static mutexes (the allocator's, the random generator's) are no scheduling points. Waiting works there too,
//!   since an actor can be preempted in a VFS call that SQLite makes with one of them in its hands. They are one set
//!   for all engines of the process, and for all simulated processes: an actor may have to wait for another process's
//!   call to end. No order of events becomes possible by that which is not possible without.
//! - An actor is known by its thread and its name, so no two actors of an execution may have the same name.
//! - A connection opened with NOMUTEX has no mutex, hence no protection; rusqlite opens so unless told otherwise.
//! - **Other threads** may use the library while an execution runs, on connections of their own. What they then share
//!   with the actors are static mutexes. An actor waits for such a thread with all of its own thread, which ends: of
//!   the static mutexes that an actor can be preempted with (the random generator's; with shared caches, that of
//!   opening), SQLite asks for none while it holds another static one.
//! - **Deadlocks.** Mutexes take part: actors that wait for each other's are reported like any others. What an actor
//!   holds that was left behind in a deadlock is held for ever. A later execution that needs it deadlocks as well; code
//!   outside of executions on the same thread would wait for itself, and the process aborts instead. So a process with
//!   a deadlock behind it should not go on with the connections, or with the library if a static mutex was held.
//!
//! # The C contract
//! The proofs below refer to these clauses of SQLite's documentation (sqlite3.h, "Mutex Handle", "Mutex Methods
//! Object", "Configuring The SQLite Library", "Initialize The SQLite Library").
//!
//! 1. **Pointers.** A mutex that SQLite hands back is null or one that `xMutexAlloc` returned; a dynamic one is used no
//!    more once it was given to `xMutexFree`, which happens when it is neither held nor waited for.
//! 2. **Holders.** `xMutexLeave` is called by the holder of the mutex. Fast and static mutexes are not entered twice.
//! 3. **Configuration.** The structure is copied by `sqlite3_config`, which wants a library that is not started.
//!    `sqlite3_shutdown` wants that nothing of the library is in use, and no other thread in it. Both are harmless at a
//!    library that was never started.
//! 4. **VFSes.** `sqlite3_vfs_find(null)` gives the default VFS. Registered VFSes stay registered across a shutdown,
//!    but the platform's own one is made the default by `sqlite3_initialize`. To register one again changes its place
//!    only.
#![expect(unsafe_code, reason = "an FFI module")]

use crate::engine::error::SqlError;
use crate::engine::ffi::{ConfigApi, Functions};
use crate::runtime::{self, current_actor};
use parking_lot::RawMutex;
use parking_lot::lock_api::RawMutex as _;
use rusqlite::ffi::{self, sqlite3_mutex, sqlite3_mutex_methods};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

// ------------------------------------------------------------------------------------------------
// Who holds a mutex

/// Who enters: an OS thread, or an actor on one. Never 0.
///
/// The thread's number is in the upper 31 bits. The next bit is set for an actor, whose name is in the lower half.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Caller(u64);

const ACTOR: u64 = 1 << 32;

impl Caller {
    #[inline]
    fn current() -> Self {
        let thread = u64::from(thread_number()) << 33;
        if !runtime::is_simulated() {
            return Self(thread);
        }
        let actor = current_actor();
        Self(thread | ACTOR | u64::from(actor.process) << 16 | u64::from(actor.thread))
    }

    fn is_actor(self) -> bool {
        self.0 & ACTOR != 0
    }

    fn thread(self) -> u64 {
        self.0 >> 33
    }
}

/// A number of its own for each thread of the process, from 1.
#[inline]
fn thread_number() -> u32 {
    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.get();
    if number != 0 {
        return number;
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(number < 1 << 31, "more threads than numbers");
    NUMBER.set(number);
    number
}

// ------------------------------------------------------------------------------------------------
// The mutex

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Static,
    Fast,
    Recursive,
}

/// In [`Mutex::visitor`] once there were two.
const SEVERAL: u64 = u64::MAX;

struct Mutex {
    lock: RawMutex,
    kind: Kind,
    /// The [`Caller`] who holds the lock, or 0. Stored by its holder only, so a thread can trust it as far as itself
    /// and its actors are concerned: it shows one of them if and only if that one holds the lock.
    holder: AtomicU64,
    /// How often its holder has entered. For the holder alone.
    depth: AtomicU32,
    /// True if actors of the holder's thread are blocked on it.
    is_awaited: AtomicBool,
    /// The one actor that has come to it so far, [`SEVERAL`], or 0.
    visitor: AtomicU64,
}

impl Mutex {
    const fn new(kind: Kind) -> Self {
        Self {
            lock: RawMutex::INIT,
            kind,
            holder: AtomicU64::new(0),
            depth: AtomicU32::new(0),
            is_awaited: AtomicBool::new(false),
            visitor: AtomicU64::new(0),
        }
    }

    fn is_held_by(&self, caller: Caller) -> bool {
        self.holder.load(Ordering::Relaxed) == caller.0
    }

    /// Enters it once more if the caller is in it already and may.
    #[inline]
    fn reenter(&self, caller: Caller) -> bool {
        let is_again = self.kind == Kind::Recursive && self.is_held_by(caller);
        if is_again {
            self.depth.store(self.depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        is_again
    }

    /// Notes who holds the lock now.
    #[inline]
    fn taken(&self, caller: Caller) {
        self.holder.store(caller.0, Ordering::Relaxed);
        self.depth.store(1, Ordering::Relaxed);
    }

    #[inline]
    fn enter(&self) {
        let caller = Caller::current();
        if self.reenter(caller) {
            return;
        }
        if caller.is_actor() && self.kind == Kind::Recursive && self.is_shared(caller) {
            runtime::point();
        }
        while !self.lock.try_lock() {
            if self.wait(caller) {
                break;
            }
        }
        self.taken(caller);
    }

    #[inline]
    fn try_enter(&self) -> bool {
        let caller = Caller::current();
        if self.reenter(caller) {
            return true;
        }
        let is_free = self.lock.try_lock();
        if is_free {
            self.taken(caller);
        }
        is_free
    }

    /// True if two actors have come to it, this one included.
    #[inline]
    fn is_shared(&self, caller: Caller) -> bool {
        match self.visitor.load(Ordering::Relaxed) {
            SEVERAL => true,
            0 => {
                self.visitor.store(caller.0, Ordering::Relaxed);
                false
            }
            first if first == caller.0 => false,
            _ => {
                self.visitor.store(SEVERAL, Ordering::Relaxed);
                true
            }
        }
    }

    /// Waits for the holder; true if the lock was taken with it, false if it is worth another try.
    #[cold]
    fn wait(&self, caller: Caller) -> bool {
        let holder = Caller(self.holder.load(Ordering::Relaxed));
        if holder.thread() != caller.thread() {
            // Another thread runs and will leave: see the module's documentation on other threads.
            self.lock.lock();
            return true;
        }
        assert!(
            caller.is_actor(),
            "one of SQLite's mutexes is held by an actor that was left behind in a deadlock: this thread would wait \
             for itself"
        );
        self.is_awaited.store(true, Ordering::Relaxed);
        runtime::block(self.key());
        false
    }

    /// # Safety
    /// The caller must hold it.
    #[inline]
    unsafe fn leave(&self) {
        let depth = self.depth.load(Ordering::Relaxed) - 1;
        self.depth.store(depth, Ordering::Relaxed);
        if depth > 0 {
            return;
        }
        // Those who wait are actors of this very thread, so none can begin to wait in between.
        let is_awaited = self.is_awaited.load(Ordering::Relaxed);
        if is_awaited {
            self.is_awaited.store(false, Ordering::Relaxed);
        }
        let key = self.key();
        self.holder.store(0, Ordering::Relaxed);
        // SAFETY: locked since `enter` or `try_enter`, as the caller holds it.
        unsafe { self.lock.unlock() };
        // From here on another thread may free the mutex.
        if is_awaited {
            runtime::wake(key);
        }
    }

    /// What its waiters are blocked on.
    fn key(&self) -> usize {
        ptr::from_ref(self).addr()
    }
}

// ------------------------------------------------------------------------------------------------
// The methods

/// The static mutexes have the numbers from `SQLITE_MUTEX_STATIC_MAIN`, 2, to 13 (`SQLITE_MUTEX_STATIC_VFS3`) in all
/// versions so far; a few more do no harm.
static STATICS: [Mutex; 16] = [const { Mutex::new(Kind::Static) }; 16];

static METHODS: sqlite3_mutex_methods = sqlite3_mutex_methods {
    xMutexInit: Some(x_begin),
    xMutexEnd: Some(x_begin),
    xMutexAlloc: Some(x_alloc),
    xMutexFree: Some(x_free),
    xMutexEnter: Some(x_enter),
    xMutexTry: Some(x_try),
    xMutexLeave: Some(x_leave),
    xMutexHeld: Some(x_held),
    xMutexNotheld: Some(x_not_held),
};

/// There is nothing to begin or to end.
unsafe extern "C" fn x_begin() -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_alloc(id: c_int) -> *mut sqlite3_mutex {
    let kind = match id {
        ffi::SQLITE_MUTEX_FAST => Kind::Fast,
        ffi::SQLITE_MUTEX_RECURSIVE => Kind::Recursive,
        _ => {
            let place = id.checked_sub(ffi::SQLITE_MUTEX_STATIC_MAIN).and_then(|place| usize::try_from(place).ok());
            let found = place.and_then(|place| STATICS.get(place));
            return found.map_or(ptr::null_mut(), |found| ptr::from_ref(found).cast_mut().cast());
        }
    };
    Box::into_raw(Box::new(Mutex::new(kind))).cast()
}

/// # Safety
/// Clause 1, and the borrow must end before SQLite frees the mutex.
#[inline]
unsafe fn mutex<'a>(mutex: *mut sqlite3_mutex) -> Option<&'a Mutex> {
    // SAFETY: null, or a static mutex, or a box from `x_alloc` that was not freed; never borrowed mutably.
    unsafe { mutex.cast::<Mutex>().as_ref() }
}

unsafe extern "C" fn x_free(freed: *mut sqlite3_mutex) {
    // SAFETY: clause 1; not used below.
    let is_dynamic = unsafe { mutex(freed) }.is_some_and(|mutex| mutex.kind != Kind::Static);
    if is_dynamic {
        // SAFETY: made by `Box::into_raw` in `x_alloc`, and not used any more (clause 1).
        drop(unsafe { Box::from_raw(freed.cast::<Mutex>()) });
    }
}

// A panic in any of these aborts, since it may not unwind into C. The one there is can only come outside of executions.

unsafe extern "C" fn x_enter(entered: *mut sqlite3_mutex) {
    // SAFETY: clause 1.
    if let Some(mutex) = unsafe { mutex(entered) } {
        mutex.enter();
    }
}

unsafe extern "C" fn x_try(entered: *mut sqlite3_mutex) -> c_int {
    // SAFETY: clause 1.
    let is_entered = unsafe { mutex(entered) }.is_none_or(Mutex::try_enter);
    if is_entered { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
}

unsafe extern "C" fn x_leave(left: *mut sqlite3_mutex) {
    // SAFETY: clause 1.
    if let Some(mutex) = unsafe { mutex(left) } {
        // SAFETY: clause 2.
        unsafe { mutex.leave() }
    }
}

unsafe extern "C" fn x_held(asked: *mut sqlite3_mutex) -> c_int {
    // SAFETY: clause 1.
    unsafe { mutex(asked) }.is_none_or(|mutex| mutex.is_held_by(Caller::current())).into()
}

unsafe extern "C" fn x_not_held(asked: *mut sqlite3_mutex) -> c_int {
    // SAFETY: clause 1.
    unsafe { mutex(asked) }.is_none_or(|mutex| !mutex.is_held_by(Caller::current())).into()
}

// ------------------------------------------------------------------------------------------------
// The installation

/// The libraries that go by [`METHODS`], by the address of their `sqlite3_config`. The lock also keeps two
/// installations apart.
static INSTALLED: parking_lot::Mutex<Vec<usize>> = parking_lot::Mutex::new(Vec::new());

/// See [`Engine::install_scheduled_mutexes`](super::Engine::install_scheduled_mutexes).
pub(super) fn install(functions: &Functions) -> Result<(), SqlError> {
    let mut installed = INSTALLED.lock();
    let library = functions.config_api().config as usize;
    if installed.contains(&library) {
        return Ok(());
    }
    // SAFETY: the option takes a pointer to the structure, which is copied; the library is not started (clause 3).
    reconfigure(functions, |api| unsafe { (api.config)(ffi::SQLITE_CONFIG_MUTEX, &raw const METHODS) })?;
    installed.push(library);
    Ok(())
}

/// Shuts the library down, configures it, and starts it again.
pub(super) fn reconfigure(functions: &Functions, configure: impl FnOnce(ConfigApi) -> c_int) -> Result<(), SqlError> {
    let (api, vfs) = (functions.config_api(), functions.vfs_api());
    let answered = |code: c_int| if code == ffi::SQLITE_OK { Ok(()) } else { Err(functions.refusal(code, "")) };
    answered(functions.initialize())?;
    is_unused(functions)?;
    // SAFETY: a null name asks for the default VFS (clause 4).
    let default = unsafe { (vfs.vfs_find)(ptr::null()) };
    // SAFETY: nothing that was allocated is in use, so no connection is open; that no other thread is about to open one
    // is the caller's word (clause 3).
    answered(unsafe { (api.shutdown)() })?;
    let configured = answered(configure(api));
    answered(functions.initialize())?;
    if !default.is_null() {
        // SAFETY: was and is registered (clause 4).
        answered(unsafe { (vfs.vfs_register)(default, 1) })?;
    }
    configured
}

/// Refuses unless nothing that the library has allocated is in use. An open connection always has something.
fn is_unused(functions: &Functions) -> Result<(), SqlError> {
    let vfs = functions.vfs_api();
    let in_use = functions.memory_used();
    // SAFETY: any size may be asked for.
    let probe: *mut c_void = unsafe { (vfs.malloc)(1) };
    let with_probe = functions.memory_used();
    // SAFETY: null or from the library's malloc, and not used afterwards.
    unsafe { (vfs.free)(probe) };
    if with_probe <= in_use {
        let message = "this SQLite does not count its memory, so it cannot be told whether a connection is open";
        return Err(functions.refusal(ffi::SQLITE_MISUSE, message));
    }
    if in_use != 0 {
        let message = format!("{in_use} bytes of this SQLite's memory are in use, so a connection may be open");
        return Err(functions.refusal(ffi::SQLITE_BUSY, &message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
