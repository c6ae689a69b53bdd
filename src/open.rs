//! One attempt to open a database: the order of the steps is the point.
//!
//! 1. The busy timeout, before any statement that could meet a lock.
//! 2. In exclusive mode, the locking mode: set before the first read, SQLite keeps the wal-index on its heap and never
//!    touches a `-shm` file.
//! 3. The journal mode is read, and set only if it is not WAL already. The row that comes back is checked: SQLite
//!    refuses a journal mode without an error. WAL is never switched *off*; that direction unlinks the log.
//! 4. Synchronous and foreign keys.
//! 5. A first real read. It maps the wal-index and recovers the log if need be, so that what is broken there shows
//!    here, where trying again is safe, and not in the middle of somebody's work.

use crate::builder::Settings;
use crate::classify::Operation;
use crate::error::Error;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Who else may have the database open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockingMode {
    /// Everybody, through the wal-index in shared memory.
    Shared,
    /// Nobody: the file is locked from the first read until the connection is closed.
    Exclusive,
}

/// A connection that has read from its database.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) conn: Connection,
    pub(crate) locking: LockingMode,
    /// The journal mode in force.
    pub(crate) journal_mode: String,
}

/// Opens once, without retrying.
pub(crate) fn open(
    path: &Path,
    locking: LockingMode,
    busy_timeout: Duration,
    settings: &Settings,
) -> Result<Opened, Error> {
    // Every connection is used under a lock of ours, so SQLite need not take its own.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = match &settings.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
        None => Connection::open_with_flags(path, flags),
    };
    let conn = conn.map_err(|error| Error::sqlite(path, Operation::Open, error))?;
    let journal_mode = configure(&conn, locking, busy_timeout, settings)
        .map_err(|error| Error::sqlite(path, Operation::Configure, error))?;
    Ok(Opened { conn, locking, journal_mode })
}

/// Sets how long SQLite waits for locks; values beyond SQLite's 32 bits of milliseconds (24 days) are cut.
pub(crate) fn set_busy_timeout(conn: &Connection, timeout: Duration) -> rusqlite::Result<()> {
    conn.busy_timeout(timeout.min(Duration::from_millis(i32::MAX as u64)))
}

fn configure(
    conn: &Connection,
    locking: LockingMode,
    busy_timeout: Duration,
    settings: &Settings,
) -> rusqlite::Result<String> {
    set_busy_timeout(conn, busy_timeout)?;
    if locking == LockingMode::Exclusive {
        conn.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
    }
    let mut journal_mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if journal_mode != "wal" {
        journal_mode = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    }
    conn.pragma_update(None, "synchronous", settings.synchronous.pragma_value())?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(journal_mode)
}
