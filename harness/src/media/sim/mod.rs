//! The simulated medium: one machine with a disk, file locks, shared memory, a clock and several processes, all in the
//! memory of one thread of one real process.
//!
//! # Fault model of the whole
//! - **Deterministic.** What a call brings follows from the calls before it, the seed and the clock. Nothing is asked
//!   of the operating system.
//! - **Faultless.** The machine itself does nothing wrong: no call fails that would succeed on a healthy Unix machine
//!   with enough disk. Faults come from the shim above, or are events: [`Machine::kill`],
//!   [`Machine::drop_process_locks`], [`Machine::cut_power`], [`Machine::rename`], [`Machine::unlink`],
//!   [`Machine::write_file`].
//! - **Like Unix.** The semantics are those of SQLite's own "unix" VFS on a local file system of Linux, weaknesses of
//!   POSIX locks included. A conformance suite holds both to the same results. Each device's module says what it
//!   leaves out.
//! - **One thread.** Actors are coroutines of the thread that registered the VFS; who calls is told by
//!   [`current_actor`](crate::runtime::current_actor). Each call is carried out at once and whole: nothing here
//!   yields. A call from another thread fails with `SQLITE_IOERR` and touches nothing.
//!
//! # The devices
//! ```text
//! ffi       the C side: sqlite3_vfs v3, sqlite3_io_methods v3
//! machine   processes, their starts and ends, the clock, randomness, what a test may look at and do
//! files     open files: one for each xOpen, with what the unix VFS keeps in its file object
//! names     the directory: absolute paths to inodes
//! disk      inodes and their bytes
//! posix     advisory locks on byte ranges, held by processes
//! levels    SQLite's five levels made of them, as the unix VFS does it
//! shm       the wal-index: regions of the -shm file's bytes, and its lock slots
//! dead_process what a killed process's code does until it notices
//! durability what of the disk survives a power cut or a failing sync
//! power     power cuts, failing syncs, eviction of the cache
//! ```

mod dead_process;
mod disk;
pub mod durability;
mod ffi;
mod files;
mod lock_levels;
mod machine;
mod names;
mod posix;
mod power;
mod shm;

pub use disk::Bytes;
pub use ffi::SimVfs;
pub use machine::Machine;
