//! How the applications of the field reports open a connection.

use super::Context;
use rusqlite::{Connection, OpenFlags};
use std::time::Duration;

/// The result codes that the applications treat as errors of the disk, with the names of their reports.
pub(super) mod codes {
    /// "unable to open database file"
    pub(in super::super) const CANTOPEN: i32 = 14;
    /// "disk I/O error", truncating
    pub(in super::super) const IOERR_TRUNCATE: i32 = 1546;
    /// Called "SHMMAP" in the reports; it is IOERR_SHMSIZE.
    pub(in super::super) const IOERR_SHMSIZE: i32 = 4874;
}

/// Opens the file with the default flags.
///
/// # Errors
/// What SQLite returned.
pub fn open(context: &Context) -> rusqlite::Result<Connection> {
    Connection::open_with_flags_and_vfs(&context.path, OpenFlags::default(), context.vfs.as_str())
}

/// `create_dir_all`, open, busy timeout of 5 s, foreign keys on, journal mode WAL (a failure of which is only logged),
/// schema, migrations.
///
/// # Errors
/// What SQLite returned.
pub fn open_and_init(context: &Context) -> rusqlite::Result<Connection> {
    if let Some(parent) = context.path.parent() {
        // The code of the reports ignores the result, because the open that follows fails too.
        let _ = context.host.create_dir_all(parent);
    }
    let connection = open(context)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    let _logged_only = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
    context.configure(&connection)?;
    context.init_schema(&connection)?;
    Ok(connection)
}
