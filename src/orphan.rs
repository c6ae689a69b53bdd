//! A file that has lost its name while it was open: nothing of it may be lost, and nothing of it may poison its
//! successor.
//!
//! The log keeps the name that it had. Frames in it that belong to the old file would be replayed into whatever comes
//! to stand at the path, so they are brought home first, through the connection that still has both files open. If the
//! old file has no name left at all, it will vanish with the last connection; then its rows are copied to a file beside
//! the path, which SQLite writes as a database of its own (`VACUUM INTO`).

use crate::error::Rescue;
use crate::os::{FileId, Os};
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};

/// Brings the rows of the file under the connection to safety. Afterwards the connection may be closed, unless the
/// answer is [`Rescue::Pending`]; then this is to be called again, with the same `copied`, so that there is one copy.
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
    let stem = format!("{}.rescued-{:x}", path.display(), id.map_or(0, |id| id.inode));
    let is_taken = |to: &Path| !matches!(os.status(to), Ok(None));
    let candidates = (0..1000).map(|n| if n == 0 { stem.clone().into() } else { PathBuf::from(format!("{stem}-{n}")) });
    let to = candidates.into_iter().find(|to: &PathBuf| !is_taken(to)).unwrap_or_else(|| stem.into());
    conn.execute("VACUUM INTO ?1", params![to.to_string_lossy()])?;
    Ok(to)
}

/// Moves what is in the log into the file that it belongs to.
fn empty_log(conn: &Connection) -> rusqlite::Result<()> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let is_busy: bool = conn.query_row(sql, [], |row| row.get(0))?;
    if is_busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, Some("somebody is still reading from the log".to_owned())));
    }
    Ok(())
}
