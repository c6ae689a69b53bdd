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
//! The [`guide`] says which setting fits which case, and what to do about an error.
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
pub use events::{Event, EventKind};
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
