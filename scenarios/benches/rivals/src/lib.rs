//! Other ways to share a SQLite database between callers: the connection layer's store, r2d2_sqlite, deadpool-sqlite
//! and tokio-rusqlite, on the same work as a bare `Mutex<Connection>`.
//!
//! They stand in a workspace of their own because the pools want another rusqlite than the main workspace locks, and a
//! graph holds one package that links SQLite. The connection layer takes part with theirs, which its manifest allows.

mod contestant;
pub mod habits;
pub mod work;

pub use contestant::{Contestant, Kind};

/// What any of this can fail with.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
