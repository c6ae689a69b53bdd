//! A connection layer for SQLite, for programs that embed it.
//!
//! A [`Store`] owns one database: one connection writes, others read in snapshots of their own. It runs init and
//! migrations exactly once, stops calls to a database that does not answer (a circuit breaker), recovers from broken
//! side files without deleting one, and says in its errors what became of the caller's writes. A [`Cache`] does the
//! same for many databases under one policy.
//!
//! ```
//! use seawall::Store;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("notes.db");
//! let store = Store::builder()
//!     .readers(4)
//!     .migration(|tx| tx.execute_batch("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)"))
//!     .open(&path)?;
//!
//! store.write(|tx| tx.execute("INSERT INTO note (text) VALUES (?1)", ["buy sand"]))?;
//! let notes: i64 = store.read(|conn| conn.query_row("SELECT count(*) FROM note", [], |row| row.get(0)))?;
//! assert_eq!(notes, 1);
//!
//! match store.write(|tx| tx.execute("UPDATE note SET text = 'buy more sand'", [])) {
//!     Ok(_) => {}
//!     Err(error) if error.outcome_unknown() => { /* read, then decide */ }
//!     Err(error) if error.is_transient() => { /* later */ }
//!     Err(error) => return Err(error.into()),
//! }
//! store.close(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! The [`guide`] says which setting fits which case, and what to do about an error.
//!
//! Invariants, above all by absence:
//!
//! - Nothing in this crate unlinks or truncates a file, but for copies that the [`doctor`] has made: a `-wal` with
//!   frames is data. Two modules rename: [`quarantine`], and the [`doctor`] when the user asks for a repair.
//! - In this process, only SQLite opens a database file that may be in use. POSIX drops SQLite's locks when any other
//!   descriptor of the file is closed. The [`doctor`] uses a child process.
//! - Nothing in this crate retries a write. Only opening is retried.
//! - While the maps are locked, no event is sent and only the borrower's closure runs. Clock, process id and file
//!   operations go through [`os::Os`], locks through one internal module.

mod store;

mod pool;

pub mod breaker;
pub mod doctor;
pub mod error;
pub mod events;
pub mod guide;
pub mod health;
mod open;
pub mod os;
pub mod quarantine;
mod settings;
pub mod supervisor;
pub mod workers;

mod ffi;
mod sync;

pub use breaker::{BreakerCounters, BreakerMode, BreakerPolicy, BreakerState, RateThreshold};
pub use error::{BorrowKind, Borrower, Class, DegradedReason, Error, Operation};
pub use events::{Event, EventKind, Subscription};
pub use health::{Checkpoint, CheckpointMode, Health, HealthState};
pub use os::{Os, SystemOs};
pub use pool::Registry;
pub use quarantine::{OnCorruption, QuarantinePolicy};
pub use rusqlite;
pub use settings::{JournalMode, Synchronous};
#[cfg(feature = "tokio")]
pub use store::AsyncStore;
#[cfg(feature = "prometheus")]
pub use store::Metrics;
pub use store::{Builder, Cache, Store};
pub use workers::StopToken;

#[cfg(test)]
mod tests;
