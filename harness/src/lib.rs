//! The lab's machinery: what it takes to run unmodified SQLite into trouble, reproducibly, and to tell what was lost.
//!
//! This crate knows SQLite and nothing of the connection layer; the two meet in the crate `seawall-lab`. A call travels
//! through it like this:
//!
//! ```text
//! SQLite ─► vfs::ffi (trampoline, catches panics) ─► vfs::lab
//!                  ─► fault::plan   proceed | fail | alter | stall | kill
//!                  ─► base VFS      the platform's own, on real files
//!                  ─► trace         call, ruling, outcome
//! ```
//!
//! To inject faults into your own tests, register a shim and open connections with its name:
//!
//! ```
//! use seawall_harness::board::{Board, Mode};
//! use seawall_harness::fault::Plan;
//! use seawall_harness::seed::Seed;
//! use seawall_harness::vfs::{Registration, api::SqliteApi, lab::Lab};
//! use std::sync::Arc;
//!
//! let board = Arc::new(Board::private(1024));
//! let plan = Plan::new(vec!["write@journal:error=FULL:when=2".parse()?], Seed(42))?;
//! let shim = Registration::new(SqliteApi::linked(), "flaky", None, false, Lab::new(Arc::clone(&board), plan))?;
//!
//! let dir = tempfile::tempdir()?;
//! let flags = rusqlite::OpenFlags::default();
//! let connection = rusqlite::Connection::open_with_flags_and_vfs(dir.path().join("a.db"), flags, shim.name())?;
//! board.set_mode(Mode::ARMED);
//! let error = connection.execute_batch("CREATE TABLE t(x)").unwrap_err();
//! assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
//! connection.execute_batch("CREATE TABLE t(x)")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod actor;
pub mod board;
pub mod clock;
pub mod codes;
pub mod engine;
pub mod fault;
pub mod media;
pub mod oracle;
pub mod process;
pub mod record;
pub mod sched;
pub mod seed;
mod sys;
pub mod token;
pub mod trace;
pub mod verdict;
pub mod vfs;
