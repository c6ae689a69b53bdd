//! One attempt to open a database: the order of the steps is the point.
//!
//! 1. The busy timeout, before any statement that could meet a lock.
//! 2. In exclusive mode, the locking mode: set before the first read, SQLite keeps the wal-index on its heap and never
//!    touches a `-shm` file.
//! 3. The journal mode is read, and set to WAL if it is another mode, unless the setting is `Keep` or the database is
//!    read-only. The row that comes back is checked: SQLite refuses a journal mode without an error. WAL is never
//!    switched *off*; that direction unlinks the log.
//! 4. Synchronous and foreign keys.
//! 5. A first real read. It maps the wal-index and recovers the log if need be, so that what is broken there shows
//!    here, where retrying is safe, and not during a caller's work.
//! 6. `on_connect`.

pub(crate) mod first_connect;
pub(crate) mod locking_policy;
pub(crate) mod log_memory;
pub(crate) mod recovery;
pub(crate) mod schema;
pub(crate) mod side_files;

use crate::error::{BorrowKind, Cause, Error, Operation};
use crate::ffi;
use crate::settings::{JournalMode, Settings};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Which other connections may have the database open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockingMode {
    /// All processes, through the wal-index in shared memory.
    Shared,
    /// No other connection: the file is locked from the first read until the connection is closed.
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
    let conn = connect(path, settings.flags, settings)?;
    let journal_mode = configure(&conn, locking, busy_timeout, settings)
        .map_err(|error| Error::on(path, Operation::Configure, error, &conn))?;
    on_connect(path, &conn, settings)?;
    if settings.journal_mode == JournalMode::RequireWal && journal_mode != "wal" {
        return Err(Error::new(path, Operation::Configure, Cause::NoWal { effective: journal_mode }));
    }
    Ok(Opened { conn, locking, journal_mode })
}

/// Opens a reader beside a writer that is open.
pub(crate) fn open_reader(path: &Path, settings: &Settings) -> Result<Opened, Error> {
    // Not opened read-only: SQLite may have to write the wal-index to read the log.
    let conn = connect(path, settings.flags.difference(OpenFlags::SQLITE_OPEN_CREATE), settings)?;
    let result = set_up(&conn, BorrowKind::Reader, settings).and_then(|()| touch(&conn));
    match result {
        Ok(()) => Ok(Opened { conn, locking: LockingMode::Shared, journal_mode: "wal".to_owned() }),
        Err(error) => Err(Error::on(path, Operation::Configure, error, &conn)),
    }
}

/// The settings that every connection has and that a borrower may have changed.
pub(crate) fn set_up(conn: &Connection, role: BorrowKind, settings: &Settings) -> rusqlite::Result<()> {
    ffi::set_busy_timeout(conn, settings.busy_timeout);
    apply_pragmas(conn, settings)?;
    // `on_connect` may create temporary tables, on a reader too.
    conn.pragma_update(None, "query_only", false)?;
    settings.on_connect.as_ref().map_or(Ok(()), |on_connect| on_connect(conn))?;
    if role == BorrowKind::Reader { conn.pragma_update(None, "query_only", true) } else { Ok(()) }
}

fn connect(path: &Path, flags: OpenFlags, settings: &Settings) -> Result<Connection, Error> {
    // Every connection is used under a lock of this layer, so SQLite's own mutex is not needed.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    check_length(path, settings)?;
    let conn = ffi::open(path, flags, settings.vfs.as_deref())
        .map_err(|failure| Error::sqlite(path, Operation::Open, failure.error).with_errno(failure.errno))?;
    conn.set_prepared_statement_cache_capacity(settings.statement_cache);
    Ok(conn)
}

fn configure(
    conn: &Connection,
    locking: LockingMode,
    busy_timeout: Duration,
    settings: &Settings,
) -> rusqlite::Result<String> {
    ffi::set_busy_timeout(conn, busy_timeout);
    if locking == LockingMode::Exclusive {
        conn.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
    }
    let mut journal_mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let may_switch = settings.journal_mode != JournalMode::Keep && !settings.is_read_only();
    if journal_mode != "wal" && may_switch {
        journal_mode = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    }
    apply_pragmas(conn, settings)?;
    touch(conn)?;
    Ok(journal_mode)
}

/// The caller's closure. What it may fail with is of other files as well: the database itself has just been read.
fn on_connect(path: &Path, conn: &Connection, settings: &Settings) -> Result<(), Error> {
    let Some(on_connect) = &settings.on_connect else { return Ok(()) };
    on_connect(conn).map_err(|error| {
        let error = Error::on(path, Operation::Configure, error, conn);
        let is_elsewhere = !conn.is_autocommit() || touch(conn).is_ok();
        error.with_elsewhere(is_elsewhere)
    })
}

fn apply_pragmas(conn: &Connection, settings: &Settings) -> rusqlite::Result<()> {
    conn.pragma_update(None, "synchronous", settings.synchronous.pragma_value())?;
    conn.pragma_update(None, "foreign_keys", true)
}

fn touch(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// SQLite opens no path that leaves no room for the names of the side files, and gives no reason.
pub(crate) fn check_length(path: &Path, settings: &Settings) -> Result<(), Error> {
    let bytes = path.as_os_str().len();
    match ffi::path_bytes_max(settings.vfs.as_deref()) {
        Some(bytes_max) if bytes > bytes_max => {
            Err(Error::new(path, Operation::Resolve, Cause::PathTooLong { bytes, bytes_max }))
        }
        _ => Ok(()),
    }
}
