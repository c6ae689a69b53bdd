//! The lab's machinery: what it takes to run unmodified SQLite into trouble, reproducibly, and to tell what was lost.
//!
//! This crate knows SQLite and nothing of the connection layer; the two meet in the crate `seawall-scenarios`. A call travels
//! through it like this:
//!
//! ```text
//! SQLite ─► vfs::ffi (trampoline, catches panics) ─► vfs::injector
//!                  ─► fault::plan   proceed | fail | alter | stall | kill
//!                  ─► base VFS      the platform's own, on real files
//!                  ─► trace         call, ruling, outcome
//! ```
//!
//! To inject faults into your own tests, register a shim and open connections with its name:
//!
//! ```
//! use seawall_harness::shared_state::{SharedState, Mode};
//! use seawall_harness::fault::FaultPlan;
//! use seawall_harness::seed::Seed;
//! use seawall_harness::vfs::{FaultVfs, api::SqliteApi, injector::Injector};
//! use std::sync::Arc;
//!
//! let shared_state = Arc::new(SharedState::private(1024));
//! let plan = FaultPlan::new(vec!["write@journal:error=FULL:when=2".parse()?], Seed(42))?;
//! let shim = FaultVfs::new(SqliteApi::linked(), "flaky", None, false, Injector::new(Arc::clone(&shared_state), plan))?;
//!
//! let dir = tempfile::tempdir()?;
//! let flags = rusqlite::OpenFlags::default();
//! let connection = rusqlite::Connection::open_with_flags_and_vfs(dir.path().join("a.db"), flags, shim.name())?;
//! shared_state.set_mode(Mode::ARMED);
//! let error = connection.execute_batch("CREATE TABLE t(x)").unwrap_err();
//! assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
//! connection.execute_batch("CREATE TABLE t(x)")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod actor;
pub mod call;
pub mod clock;
pub mod codes;
pub mod engine;
pub mod fault;
pub mod media;
pub mod oracle;
pub mod process;
pub mod record;
pub mod rig;
pub mod runtime;
pub mod sched;
pub mod seed;
pub mod shared_state;
pub mod suggest;
mod sys;
pub mod token;
pub mod trace;
pub mod verdict;
pub mod vfs;
