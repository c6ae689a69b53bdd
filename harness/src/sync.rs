//! Locks for code that runs in the simulator as well as outside of it.
//!
//! Outside they are those of parking_lot, whose names and signatures they have. In the simulator all actors run on one
//! thread of the system, so an actor that waited for a lock of `std` would block the one that holds it; these let the
//! others run. Code that names its locks in one place can be given either.

pub use crate::sched::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, WaitTimeoutResult,
};
