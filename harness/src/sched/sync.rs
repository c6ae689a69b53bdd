//! Locks for code that runs both in executions and outside of them.
//!
//! Outside they are those of parking_lot. For an actor of an execution, to take a lock is a scheduling point, and to
//! wait for one lets the others run: a thread that blocked would take all actors with it. The names and signatures are
//! those of parking_lot, so that code which goes by the door of one module for its locks can be given these instead.
//!
//! Executions on several threads may share a [`Mutex`], a static one for example. A holder on another thread is waited
//! for with the whole thread, and must not be preempted while it holds the lock.

use crate::runtime::{block, block_for, is_simulated, now, point, wake};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A lock that one holds at a time.
#[derive(Default)]
pub struct Mutex<T: ?Sized> {
    /// The [mark](mark) of the thread on which it is held; 0 if it is free.
    holder: AtomicUsize,
    inner: parking_lot::Mutex<T>,
}

/// Holds a [`Mutex`] until it is dropped.
pub struct MutexGuard<'a, T: ?Sized> {
    /// `Some` until the drop.
    inner: Option<parking_lot::MutexGuard<'a, T>>,
    holder: &'a AtomicUsize,
    key: usize,
}

impl<T> Mutex<T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Self {
        Self { holder: AtomicUsize::new(0), inner: parking_lot::Mutex::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock; waits for its holder.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let is_here = || self.is_held_here();
        self.guard(take(self.key(), is_here, || self.inner.try_lock(), || self.inner.lock()))
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        point();
        Some(self.guard(self.inner.try_lock()?))
    }

    /// Takes the lock; waits for its holder so long at most. In an execution, that is virtual time.
    pub fn try_lock_for(&self, timeout: Duration) -> Option<MutexGuard<'_, T>> {
        if !is_simulated() {
            return Some(self.guard(self.inner.try_lock_for(timeout)?));
        }
        point();
        let until = now().saturating_add(timeout);
        loop {
            match self.inner.try_lock() {
                Some(inner) => return Some(self.guard(inner)),
                None if !self.is_held_here() => std::thread::yield_now(),
                None if !block_for(self.key(), until.saturating_sub(now())) => return None,
                None => {}
            }
        }
    }

    fn guard<'a>(&'a self, inner: parking_lot::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.holder.store(mark(), Ordering::Relaxed);
        MutexGuard { inner: Some(inner), holder: &self.holder, key: self.key() }
    }

    /// Whether an actor of this thread holds it. What this thread has written, it reads.
    fn is_held_here(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == mark()
    }

    /// The value, which no other code can reach.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(&self.inner).cast::<()>().addr()
    }
}

/// A place to wait for a change to what a [`Mutex`] guards.
#[derive(Default)]
pub struct Condvar {
    inner: parking_lot::Condvar,
}

/// How a wait of limited length ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it was the time that ended it.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A place without waiters.
    pub const fn new() -> Self {
        Self { inner: parking_lot::Condvar::new() }
    }

    /// Gives the lock back, waits to be notified, so long at most, and takes the lock again. In an execution, the time
    /// is virtual.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> WaitTimeoutResult {
        let inner = guard.inner.as_mut().expect("the guard lives");
        if !is_simulated() {
            return WaitTimeoutResult(self.inner.wait_for(inner, timeout).timed_out());
        }
        let lock = parking_lot::MutexGuard::mutex(inner);
        guard.holder.store(0, Ordering::Relaxed);
        guard.inner = None;
        wake(guard.key);
        // No actor can run between giving back and waiting: neither is a scheduling point.
        let is_notified = block_for(self.key(), timeout);
        let is_here = || guard.holder.load(Ordering::Relaxed) == mark();
        let inner = take(guard.key, is_here, || lock.try_lock(), || lock.lock());
        guard.holder.store(mark(), Ordering::Relaxed);
        guard.inner = Some(inner);
        WaitTimeoutResult(!is_notified)
    }

    /// Lets one who waits go on.
    pub fn notify_one(&self) {
        // In an execution all are woken: one that finds nothing waits again, and which is first is the policy's choice.
        self.inner.notify_one();
        wake(self.key());
    }

    /// Lets all who wait go on.
    pub fn notify_all(&self) {
        self.inner.notify_all();
        wake(self.key());
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>().addr()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}

/// A lock that many hold to read, or one to write.
#[derive(Default)]
pub struct RwLock<T: ?Sized> {
    inner: parking_lot::RwLock<T>,
}

/// Holds an [`RwLock`] to read until it is dropped.
pub struct RwLockReadGuard<'a, T: ?Sized> {
    /// `Some` until the drop.
    inner: Option<parking_lot::RwLockReadGuard<'a, T>>,
    key: usize,
}

/// Holds an [`RwLock`] to write until it is dropped.
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    /// `Some` until the drop.
    inner: Option<parking_lot::RwLockWriteGuard<'a, T>>,
    key: usize,
}

impl<T> RwLock<T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Self {
        Self { inner: parking_lot::RwLock::new(value) }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read; waits for a writer.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let inner = take(self.key(), || true, || self.inner.try_read(), || self.inner.read());
        RwLockReadGuard { inner: Some(inner), key: self.key() }
    }

    /// Takes the lock to write; waits for all others.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        let inner = take(self.key(), || true, || self.inner.try_write(), || self.inner.write());
        RwLockWriteGuard { inner: Some(inner), key: self.key() }
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(&self.inner).cast::<()>().addr()
    }
}

/// A number that no other living thread has; never 0.
fn mark() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

/// Takes a lock: in an execution by trying, and blocking the actor alone if it is held on this thread.
fn take<G>(
    key: usize,
    is_held_here: impl Fn() -> bool,
    attempt: impl Fn() -> Option<G>,
    wait: impl FnOnce() -> G,
) -> G {
    if !is_simulated() {
        return wait();
    }
    point();
    loop {
        if let Some(guard) = attempt() {
            return guard;
        }
        if is_held_here() {
            block(key);
        } else {
            std::thread::yield_now();
        }
    }
}

macro_rules! guard {
    ($guard:ident $(, $holder:ident)?) => {
        impl<T: ?Sized> Deref for $guard<'_, T> {
            type Target = T;

            fn deref(&self) -> &T {
                self.inner.as_ref().expect("the guard lives")
            }
        }

        impl<T: ?Sized> Drop for $guard<'_, T> {
            fn drop(&mut self) {
                $(self.$holder.store(0, Ordering::Relaxed);)?
                self.inner = None;
                wake(self.key);
            }
        }

        impl<T: ?Sized + fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

macro_rules! guard_mut {
    ($guard:ident) => {
        impl<T: ?Sized> DerefMut for $guard<'_, T> {
            fn deref_mut(&mut self) -> &mut T {
                self.inner.as_mut().expect("the guard lives")
            }
        }
    };
}

guard!(MutexGuard, holder);
guard!(RwLockReadGuard);
guard!(RwLockWriteGuard);
guard_mut!(MutexGuard);
guard_mut!(RwLockWriteGuard);

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
