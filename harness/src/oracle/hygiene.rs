//! `hygiene`: nothing is left over: no lock while no actor works, no open file or side file after the strategy was
//! closed, no copy of a healthy database.

use crate::oracle::{Evidence, Oracle};
use crate::outsider;
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

/// What was left over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftovers {
    /// Locks beyond SHARED that were held while no actor was working.
    pub locks: Vec<String>,
    /// Files that were open after the strategy had been closed.
    pub open_files: Vec<String>,
    /// Files in the database's folder, after all processes had closed, that are neither the database nor a lock file of
    /// the strategy.
    pub files: Vec<String>,
}

/// The files in the database's folder that should not be there: all but the database, the strategy's lock files
/// (`*.lock`) and what outsiders made.
///
/// # Errors
/// If the folder cannot be read.
pub fn stray_files(database: &Path) -> io::Result<Vec<String>> {
    let folder = database.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()));
    }
    Ok(strays(&database.file_name().unwrap_or_default().to_string_lossy(), files))
}

/// The stray ones among the files of a folder, given by name and size; see [`stray_files`].
pub fn strays(database: &str, files: impl IntoIterator<Item = (String, u64)>) -> Vec<String> {
    let is_right = |name: &str| name == database || name.ends_with(".lock") || outsider::is_outsiders(database, name);
    let is_stray = |(name, _): &(String, u64)| !is_right(name);
    let stray = files.into_iter().filter(is_stray).map(|(name, size)| format!("{name} ({size} bytes)"));
    let mut stray: Vec<String> = stray.collect();
    stray.sort();
    stray
}

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "hygiene",
    property: "no lock, open file, side file or copy of a healthy database is left over",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let Leftovers { locks, open_files, files } = &evidence.hygiene;
    // Where an outsider has acted, a log without a database and a rescue copy are right to be there.
    let files = if evidence.is_disturbed() { &Vec::new() } else { files };
    let left =
        [("locks held while no actor worked", locks), ("files open after closing", open_files), ("stray files", files)];
    left.into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(what, list)| (Verdict::Degraded, format!("{} {what}: {}", list.len(), list.join(", "))))
        .collect()
}

fn canary() -> Evidence {
    let hygiene = Leftovers { files: vec!["app.db-wal (0 bytes)".to_owned()], ..Leftovers::default() };
    Evidence { hygiene, ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_each_kind_of_leftover_is_caught() {
        let judge = |hygiene| judge(&Evidence { hygiene, ..Evidence::default() }).len();
        let one = || vec!["x".to_owned()];
        assert_eq!(judge(Leftovers::default()), 0);
        assert_eq!(judge(Leftovers { locks: one(), ..Leftovers::default() }), 1);
        assert_eq!(judge(Leftovers { open_files: one(), ..Leftovers::default() }), 1);
        assert_eq!(judge(Leftovers { files: one(), ..Leftovers::default() }), 1);
    }

    #[test]
    fn canary_a_side_file_and_a_copy_are_stray_but_a_lock_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("a.db");
        for name in ["a.db", "a.db.init.lock"] {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        assert_eq!(stray_files(&database).unwrap(), Vec::<String>::new());
        for name in ["a.db-wal", "a.db.corrupt.1.bak"] {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        assert_eq!(stray_files(&database).unwrap(), ["a.db-wal (1 bytes)", "a.db.corrupt.1.bak (1 bytes)"]);
    }
}
