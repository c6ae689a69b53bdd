//! The databases of a directory: found by their first bytes, with their side files as one.

use super::journal::JOURNAL_MAGIC;
use super::report::FileRole;
use crate::error::{Cause, Error, Operation};
use crate::ffi::read_in_child;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories with more entries are looked at up to here.
const ENTRIES_MAX: usize = 100_000;
const DATABASE: &[u8] = b"SQLite format 3\0";
/// The first three bytes of a log; the last bit of the fourth is the byte order.
const WAL: &[u8] = &[0x37, 0x7f, 0x06];

/// What is in a directory.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Found {
    /// The databases, sorted. One that is gone is among them if its log or its journal is there.
    pub databases: Vec<PathBuf>,
    /// The files that could not be read, and why.
    pub unreadable: Vec<(PathBuf, io::Error)>,
    /// Whether there are more files than are looked at.
    pub is_cut: bool,
}

/// Looks for databases in a directory, and not in the directories below it. Like [`examine`](super::examine), it
/// disturbs no process.
///
/// # Errors
///
/// If the directory cannot be read.
pub fn find(directory: &Path) -> Result<Found, Error> {
    let refuse = |error| Error::new(directory, Operation::Resolve, Cause::Io(error));
    let mut found = Found::default();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).map_err(refuse)? {
        if names.len() == ENTRIES_MAX {
            found.is_cut = true;
            break;
        }
        names.insert(entry.map_err(refuse)?.file_name());
    }
    let mut databases = BTreeSet::new();
    for name in &names {
        let path = directory.join(name);
        // Links are followed, and what is no file is passed over.
        if !fs::metadata(&path).is_ok_and(|status| status.is_file()) {
            continue;
        }
        match read_in_child(&path) {
            Ok(bytes) if bytes.starts_with(DATABASE) => drop(databases.insert(path)),
            Ok(bytes) => databases.extend(database_of(name, &bytes).map(|name| directory.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => found.unreadable.push((path, error)),
        }
    }
    found.databases = databases.into_iter().collect();
    Ok(found)
}

/// The name of the database that a log or a journal belongs to.
fn database_of<'a>(name: &'a OsStr, bytes: &[u8]) -> Option<&'a OsStr> {
    let of = |role: FileRole| {
        let suffix = role.path(Path::new(""));
        name.as_bytes().strip_suffix(suffix.as_os_str().as_bytes()).filter(|name| !name.is_empty())
    };
    let name = match bytes {
        bytes if bytes.starts_with(WAL) => of(FileRole::Wal),
        bytes if bytes.starts_with(&JOURNAL_MAGIC) => of(FileRole::Journal),
        _ => None,
    };
    name.map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn databases_are_found_by_content_and_side_files_belong_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let sql = "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)";
        let conn = Connection::open(path("a.data")).unwrap();
        conn.execute_batch(sql).unwrap();
        fs::copy(path("a.data-wal"), path("gone.db-wal")).unwrap();
        fs::write(path("old.db-journal"), JOURNAL_MAGIC).unwrap();
        fs::write(path("empty.db"), "").unwrap();
        fs::write(path("text.db"), "no database").unwrap();
        fs::create_dir(path("sub.db")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(path("pipe.db")).status();
        assert!(pipe.unwrap().success());
        std::os::unix::fs::symlink(path("nowhere"), path("link.db")).unwrap();
        let weird = dir.path().join(OsStr::from_bytes(b"w\n\xff.db"));
        fs::copy(path("text.db"), &weird).unwrap();
        std::os::unix::fs::symlink(path("a.data"), path("z.db")).unwrap();
        let found = find(dir.path()).unwrap();
        assert_eq!(found.databases, [path("a.data"), path("gone.db"), path("old.db"), path("z.db")]);
        assert!(found.unreadable.is_empty() && !found.is_cut, "{found:?}");
        assert_eq!(conn.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)), Ok(1));
        assert!(find(&path("nowhere")).is_err() && find(&path("text.db")).is_err());
    }
}
