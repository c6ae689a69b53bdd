//! The one door for locks and atomics: no other module names a locking crate.
//!
//! A checker that explores interleavings has to own every lock of the code under test. With this facade it swaps them
//! in one place and leaves the rest of the crate as it is built for production.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
