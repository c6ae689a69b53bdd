//! Other ways to share a SQLite database between callers: the connection layer's store, r2d2_sqlite, deadpool-sqlite
//! and tokio-rusqlite, on the same work as a bare `Mutex<Connection>`.
//!
//! They have their own workspace because the pools need another rusqlite than the main workspace locks, and a Cargo
//! graph holds one package that links SQLite. The connection layer is built with their rusqlite, which its manifest
//! allows.

pub mod behavior;
mod peer;
pub mod work;

pub use peer::{Kind, Peer};

/// Any failure.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
