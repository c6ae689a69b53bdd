//! The harness: runs unmodified SQLite under faults, reproducibly, and says what was lost.
//!
//! This crate knows SQLite and nothing of the connection layer; the two meet in the crate `seawall-scenarios`. A call
//! passes through it like this:
//!
//! ```text
//! SQLite ─► vfs::ffi (trampoline) ─► vfs::injector (numbers the call, catches panics)
//!                  ─► fault::plan   proceed | fail | alter | stall | drop locks | kill
//!                  ─► base VFS      the platform's own, on real files, or the simulated machine
//!                  ─► trace         call, ruling, outcome
//! ```
//!
//! There are two ways into it for your own tests: [`vfs::FaultVfs::builder`] injects faults on real files, and
//! [`sim::check`] runs your code in the simulator.
//!
//! ```
//! use seawall_harness::vfs::FaultVfs;
//!
//! let dir = tempfile::tempdir()?;
//! let vfs = FaultVfs::builder().fault("write@journal:error=FULL:when=2")?.seed(42).register()?;
//! let connection = vfs.open(dir.path().join("a.db"))?;
//! vfs.arm();
//! let error = connection.execute_batch("CREATE TABLE t(x)").unwrap_err();
//! assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
//! assert_eq!(vfs.fired(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod actor;
pub mod call;
pub mod clock;
pub mod codes;
pub mod engine;
pub mod fault;
pub mod media;
pub mod narrative;
pub mod oracle;
pub mod outsider;
pub mod picture;
pub mod process;
pub mod record;
pub mod rig;
pub mod runtime;
pub mod sched;
pub mod seed;
pub mod shared_state;
pub mod shrink;
pub mod sim;
pub mod story;
pub mod suggest;
pub mod sync;
mod sys;
pub mod token;
pub mod trace;
pub mod verdict;
pub mod vfs;
