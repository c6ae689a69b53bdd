//! The fault-injecting VFS: a shim that SQLite takes for a file system and that forwards to a real one.
//!
//! ```text
//! SQLite ─► ffi (trampoline) ─► injector::conduct ─► plan::decide ─► base VFS ─► trace::write ─► SQLite
//! ```
//!
//! # Assumptions about SQLite, and what the shim adds
//! - The shim has exactly the abilities of the VFS below it: versions, methods and device characteristics are mirrored,
//!   so that SQLite takes the same paths with it as without.
//! - Calls on the wal-index (`xShm*`) come on the database's file handle; they have the role `shm`.
//! - `xDelete` with its sync flag set is two calls, `delete@ROLE` and `sync@dir`.
//! - Calls that give something back (`xClose`, `xUnlock`, `xShmUnmap`, `xUnfetch`, `xShmLock` with the unlock flag) are
//!   carried out also where an error is injected, because SQLite forgets what it gave back whatever the answer.
//!   Everywhere else an injected error means that the call was not made.
//! - `xGetLastError` tells the errno of the injected failure.
//! - A panic in a callback is recorded and becomes `SQLITE_IOERR`.

pub mod api;
mod builder;
mod ffi;
pub mod injector;

pub use builder::FaultVfsBuilder;
pub use ffi::{FaultVfs, RegisterError};

#[cfg(test)]
mod tests;
