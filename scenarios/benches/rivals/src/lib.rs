//! Other ways to share a SQLite database between callers: r2d2_sqlite, deadpool-sqlite and tokio-rusqlite, on the same
//! work as a bare `Mutex<Connection>`.
//!
//! They stand in a workspace of their own because they want another rusqlite than the connection layer does, and a
//! graph holds one package that links SQLite. So the connection layer is not here; it has the same yardstick, the bare
//! mutex, in the bench `connections`.

mod contestant;
pub mod habits;
pub mod work;

pub use contestant::{Contestant, Kind};

/// What any of this can fail with.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
