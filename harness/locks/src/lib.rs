//! The simulator's locks under the names of parking_lot.
//!
//! A crate that names its locks in one place can be built a second time with this package renamed to `parking_lot`: the
//! same sources, with locks that belong to the scheduler.

pub use seawall_harness::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, WaitTimeoutResult,
};
