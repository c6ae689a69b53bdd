//! A check of the names beside a database before it is opened.
//!
//! SQLite deletes a log, or a hot journal, whose database is not there or is empty: it takes them for leftovers. But a
//! database that was moved, or deleted by mistake, leaves just that behind, and the log may hold what was committed
//! last. So opening is refused until a person has decided. The same goes for a log that is known to belong to another
//! file than the one that is there, which SQLite would replay into it, and for a file with a second name.

use super::log_memory::{Header, LOG_HEADER_BYTES, Note};
use crate::error::{Cause, Error, Operation};
use crate::os::{FileId, FileKind, Os, Rights, beside};
use std::io;
use std::path::Path;

/// Checks the file at the path and the files beside it, and refuses what must not be opened.
pub(crate) fn check(path: &Path, os: &dyn Os) -> Result<(), Error> {
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
    if let Some(links) = database.map(|file| file.links).filter(|links| *links > 1) {
        return Err(Error::new(path, Operation::Resolve, Cause::SecondName { names: links }));
    }
    if let Some(database) = database.filter(|file| file.bytes > 0) {
        return check_log(path, (database.id, None), os);
    }
    // An empty file may have a hot journal: the process that was creating it has died.
    let suffixes: &[&str] = if database.is_some() { &["-wal"] } else { &["-wal", "-journal"] };
    for suffix in suffixes {
        let log = beside(path, suffix);
        let Some(bytes) = status(&log)?.map(|file| file.bytes).filter(|bytes| *bytes > 0) else { continue };
        // Another process may be creating the database at this moment: first the file, then the journal, then the first
        // page, then the log.
        let again = status(path)?;
        if again.is_some_and(|file| file.bytes > 0 || *suffix == "-journal") {
            return Ok(());
        }
        return Err(Error::new(path, Operation::Open, Cause::OrphanedLog { log, bytes }));
    }
    Ok(())
}

/// Gives the side files the rights of the database where they lack some. SQLite creates them with its mode: a read of a
/// database that was read-only for a while leaves side files that are read-only for good, and with them the database.
pub(crate) fn widen_modes(path: &Path, os: &dyn Os) {
    let Some(wanted) = os.rights(path).ok().flatten() else { return };
    for side_file in ["-wal", "-shm"].map(|suffix| beside(path, suffix)) {
        let lacks = |found: Rights| wanted.mode & !found.mode != 0;
        if os.rights(&side_file).ok().flatten().is_some_and(lacks) {
            // If that is not allowed, SQLite says what does not work.
            let _ = os.widen_mode(&side_file, wanted);
        }
    }
}

/// Refuses a log with frames that belongs to another file than this one, which has this header, if it is known.
pub(crate) fn check_log(path: &Path, database: (FileId, Option<Header>), os: &dyn Os) -> Result<(), Error> {
    let log = beside(path, "-wal");
    // What cannot be looked at is for SQLite to report.
    let Some(found) = os.status(&log).ok().flatten().filter(|file| file.bytes > LOG_HEADER_BYTES) else {
        return Ok(());
    };
    match Note::read(path, os) {
        Some(note) if note.is_foreign(path, database, &log, found.id, os) => {
            Err(Error::new(path, Operation::Open, Cause::ForeignLog { log, bytes: found.bytes }))
        }
        _ => Ok(()),
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::new(path, Operation::Resolve, Cause::Io(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::FileStatus;
    use crate::sync::Mutex;
    use std::time::Duration;

    /// Answers one `status` after another: a length in bytes, or no file.
    struct Looks(Mutex<Vec<Option<u64>>>);

    impl Os for Looks {
        fn status(&self, _: &Path) -> io::Result<Option<FileStatus>> {
            let id = FileId { device: 1, inode: 1 };
            let bytes = self.0.lock().remove(0);
            Ok(bytes.map(|bytes| FileStatus { id, kind: FileKind::File, bytes, links: 1, modified: Duration::ZERO }))
        }
    }

    #[track_caller]
    fn check_looks(looks: &[Option<u64>], is_refused: bool) {
        let os = Looks(Mutex::new(looks.to_vec()));
        assert_eq!(check(Path::new("/x.db"), &os).is_err(), is_refused, "{looks:?}");
        assert!(os.0.lock().is_empty(), "{looks:?}");
    }

    #[test]
    fn a_database_in_the_making_is_no_lost_one() {
        // The database, its -wal, its -journal, and the database again.
        check_looks(&[Some(4096), None], false);
        check_looks(&[None, None, None], false);
        check_looks(&[None, None, Some(512), None], true);
        check_looks(&[None, None, Some(512), Some(0)], false);
        check_looks(&[None, Some(4152), None], true);
        check_looks(&[None, Some(4152), Some(0)], true);
        check_looks(&[None, Some(4152), Some(4096)], false);
        check_looks(&[Some(0), Some(4152), Some(0)], true);
        check_looks(&[Some(0), None], false);
    }
}
