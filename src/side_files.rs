//! A look at the names beside a database before it is opened.
//!
//! SQLite deletes a log, or a hot journal, whose database is not there or is empty: it takes them for leftovers. But a
//! database that was moved, or deleted by mistake, leaves just that behind, and the log may hold what was committed
//! last. So opening is refused until somebody has decided.

use crate::classify::Operation;
use crate::error::{Cause, Error};
use crate::os::{FileKind, FileStatus, Os};
use std::io;
use std::path::{Path, PathBuf};

/// The name of a database's side file.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Looks at what stands at the path and beside it. Returns what is known of the file, if it is there.
pub(crate) fn check(path: &Path, os: &dyn Os) -> Result<Option<FileStatus>, Error> {
    let status = |path: &Path| os.status(path).map_err(|error| failed(path, error));
    let database = status(path)?;
    match database.map(|file| file.kind) {
        Some(FileKind::Directory) => return Err(Error::new(path, Operation::Resolve, Cause::Directory)),
        Some(FileKind::Special) => {
            let cause = Cause::NoFile("it is a pipe, a socket or a device");
            return Err(Error::new(path, Operation::Resolve, cause));
        }
        Some(FileKind::File) | None => {}
    }
    if database.is_some_and(|file| file.bytes > 0) {
        return Ok(database);
    }
    // An empty file may have a hot journal: whoever was creating it has died.
    let suffixes: &[&str] = if database.is_some() { &["-wal"] } else { &["-wal", "-journal"] };
    for suffix in suffixes {
        let log = beside(path, suffix);
        let Some(bytes) = status(&log)?.map(|file| file.bytes).filter(|bytes| *bytes > 0) else { continue };
        // Somebody may be creating the database at this moment: the file comes first, then the journal, then the first
        // page, then the log.
        let again = status(path)?;
        if again.is_some_and(|file| file.bytes > 0 || *suffix == "-journal") {
            return Ok(again);
        }
        return Err(Error::new(path, Operation::Open, Cause::OrphanedLog { log, bytes }));
    }
    Ok(database)
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::new(path, Operation::Resolve, Cause::Io(error))
}
