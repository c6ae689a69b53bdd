//! A file that has lost its name while it was open: its rows must not be lost, and its log must not reach its
//! successor.
//!
//! The log keeps its name. Frames of the old file in it would be replayed into a new file at the path, so they are
//! checkpointed first, through the connection that still has both files open. If the old file has no name at all, it
//! vanishes with the last connection; then its rows are copied to a file beside the path, which SQLite writes as a
//! separate database (`VACUUM INTO`).

use crate::error::Rescue;
use crate::os::{FileId, Os, beside, create_for_copy};
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Rescues the rows of the file under the connection. Afterwards the connection may be closed, unless the answer is
/// [`Rescue::Pending`]; then call it again with the same `copied`, so that there is one copy.
pub(crate) fn secure(
    path: &Path,
    conn: &Connection,
    id: Option<FileId>,
    copied: &mut Option<PathBuf>,
    os: &dyn Os,
) -> Rescue {
    let has_name = id.and_then(|id| os.names_left(id)).is_some_and(|names| names > 0);
    if !has_name && copied.is_none() {
        match copy(path, conn, id, os) {
            Ok(to) => *copied = Some(to),
            Err(error) => return Rescue::Pending(error),
        }
    }
    match (empty_log(conn), copied.take_if(|_| !has_name)) {
        (Ok(()), Some(to)) => Rescue::Copied(to),
        (Ok(()), None) => Rescue::InFile,
        (Err(error), to) => {
            *copied = to;
            Rescue::Pending(error)
        }
    }
}

fn copy(path: &Path, conn: &Connection, id: Option<FileId>, os: &dyn Os) -> rusqlite::Result<PathBuf> {
    let suffix = format!(".rescued-{:x}", id.map_or(0, |id| id.inode));
    let names = (0..1000).map(|n| beside(path, &if n == 0 { suffix.clone() } else { format!("{suffix}-{n}") }));
    let is_free = |to: &PathBuf| matches!(os.status(to), Ok(None));
    let to = names.into_iter().find(is_free).unwrap_or_else(|| beside(path, &suffix));
    // SQLite fills an empty file, and would create one that others may read.
    create_for_copy(&to, id, os).map_err(|error| cannot_create(&to, &error))?;
    // As bytes: a path may not be valid text.
    let name = ToSqlOutput::Borrowed(ValueRef::Text(to.as_os_str().as_bytes()));
    conn.execute("VACUUM INTO ?1", [name])?;
    Ok(to)
}

fn cannot_create(to: &Path, error: &io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    rusqlite::Error::SqliteFailure(code, Some(format!("{} cannot be created: {error}", to.display())))
}

/// Checkpoints the log into the file that it belongs to.
fn empty_log(conn: &Connection) -> rusqlite::Result<()> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let is_busy: bool = conn.query_row(sql, [], |row| row.get(0))?;
    if is_busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(
            busy,
            Some("another connection is still reading from the log".to_owned()),
        ));
    }
    Ok(())
}
