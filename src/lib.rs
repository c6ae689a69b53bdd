//! A connection layer for SQLite that loses nothing.
//!
//! A [`Cache`] keeps one connection per database file, runs the schema's init exactly once, stops asking a database
//! that does not answer (a circuit breaker), recovers from broken side files without ever deleting one, and says in its
//! errors what has become of the caller's writes.
//!
//! ```
//! use seawall::Cache;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("notes.db");
//! let cache = Cache::builder()
//!     .init(|conn| conn.execute_batch("CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text TEXT)"))
//!     .build();
//!
//! cache.write(&path, |tx| tx.execute("INSERT INTO note (text) VALUES (?1)", ["buy sand"]))?;
//! let notes: i64 = cache.read(&path, |conn| conn.query_row("SELECT count(*) FROM note", [], |row| row.get(0)))?;
//! assert_eq!(notes, 1);
//!
//! match cache.write(&path, |tx| tx.execute("UPDATE note SET text = 'buy more sand'", [])) {
//!     Ok(_) => {}
//!     Err(error) if error.outcome_unknown() => { /* read, then decide */ }
//!     Err(error) if error.is_transient() => { /* later */ }
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Which of the knobs to turn when, and what to do about which error: see the [`guide`].
//!
//! What holds throughout, above all by absence:
//!
//! - Nothing here unlinks or truncates a file: a `-wal` with frames is data. Two things rename: [`quarantine`], and the
//!   [`doctor`] when it is told to.
//! - Nothing in this process opens a database file that may be in use except SQLite. POSIX would drop SQLite's locks at
//!   the close. The [`doctor`] has a child process look.
//! - Nothing here retries a write. Opening is retried, and that is all.
//! - No event is sent and no closure but the borrower's is run while the maps are locked; no clock, process id or file
//!   operation is used but through [`os::Os`]; no lock but through one internal module.

#[cfg(feature = "tokio")]
mod asynchronous;
pub mod breaker;
mod builder;
mod cache;
mod checkpoint;
pub mod classify;
mod connection;
mod disk;
pub mod doctor;
mod error;
pub mod events;
mod ffi;
mod first_connect;
mod gate;
pub mod guide;
pub mod health;
mod hygiene;
mod jitter;
#[cfg(feature = "prometheus")]
mod metrics;
mod open;
mod orphan;
pub mod os;
pub mod quarantine;
mod recovery;
mod regime;
mod registry;
mod schema;
mod seat;
mod side_files;
mod slot;
mod stop;
mod store;
pub mod supervisor;
mod sync;
mod transaction;
pub mod worker;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncStore;
pub use breaker::{BreakerCounters, BreakerMode, BreakerPolicy, BreakerState, RateThreshold};
pub use builder::{Builder, JournalMode, Synchronous};
pub use cache::Cache;
pub use checkpoint::{Checkpoint, CheckpointMode};
pub use classify::{Class, Operation};
pub use error::Error;
pub use events::{Event, EventKind};
pub use health::{DegradedReason, Health};
#[cfg(feature = "prometheus")]
pub use metrics::Metrics;
pub use os::{Os, SystemOs};
pub use quarantine::{OnCorruption, QuarantinePolicy};
pub use registry::Registry;
pub use rusqlite;
pub use seat::{BorrowKind, Borrower};
pub use stop::Stop;
pub use store::Store;

#[cfg(test)]
mod tests;
