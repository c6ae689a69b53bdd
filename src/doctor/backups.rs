//! Copies beside the database: backups, quarantines.

use super::report::BackupFiles;
use super::report::FileRole;
use std::fs;
use std::path::Path;

/// Folders with more entries are counted up to here.
const ENTRIES_MAX: usize = 1 << 20;

impl BackupFiles {
    /// Counts the files beside a database whose names begin with the database's, its own side files left out.
    pub(super) fn beside(path: &Path) -> BackupFiles {
        let mut copies = BackupFiles::default();
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return copies };
        let Ok(entries) = fs::read_dir(folder) else { return copies };
        let own: Vec<_> = FileRole::ALL.iter().map(|role| role.path(path)).collect();
        for entry in entries.flatten().take(ENTRIES_MAX) {
            let other = entry.file_name();
            let rest = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
            // A super-journal is `<database>-mj` and some digits, and belongs to a transaction.
            let is_copy =
                rest.is_some_and(|rest| matches!(rest, [b'.' | b'-' | b'~', ..]) && !rest.starts_with(b"-mj"));
            if is_copy && !own.contains(&entry.path()) {
                copies.count += 1;
                copies.bytes = copies.bytes.saturating_add(entry.metadata().map_or(0, |metadata| metadata.len()));
            }
        }
        copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_and_side_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["x.db", "x.db-wal", "x.db-shm", "x.db-journal", "x.db.init.lock", "x.db-mj01", "x.dbx", "y.db"];
        for name in names.iter().chain(&["x.db.corrupt.1.bak", "x.db-copy", "x.db~"]) {
            fs::write(dir.path().join(name), "12345").unwrap();
        }
        assert_eq!(BackupFiles::beside(&dir.path().join("x.db")), BackupFiles { count: 3, bytes: 15 });
        assert_eq!(BackupFiles::beside(Path::new("/")), BackupFiles::default());
    }
}
