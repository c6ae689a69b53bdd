//! Where SQLite puts temporary files (`unixTempFileDir` in `os_unix.c`).

use crate::doctor::holders::HolderProcess;
use rustix::fs::{Access, access};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// After SQLITE_TMPDIR and TMPDIR, and before the working directory.
const DIRECTORIES: [&str; 3] = ["/var/tmp", "/usr/tmp", "/tmp"];

/// A process without a directory for temporary files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct TempProblem {
    /// Which process.
    pub(in crate::doctor) whose: String,
    /// The directories that were tried.
    pub(in crate::doctor) tried: Vec<PathBuf>,
}

/// This process if it has no such directory, and those of the holders that have none.
pub(super) fn problems(holders: &[HolderProcess]) -> Vec<TempProblem> {
    let own: Vec<PathBuf> =
        ["SQLITE_TMPDIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from).collect();
    let mut problems = Vec::new();
    let tried = directories(&own, Path::new("."));
    if usable(&tried, may_write).is_none() {
        problems.push(TempProblem { whose: "this process".to_owned(), tried });
    }
    for holder in holders {
        let (Some(temp), Some(user)) = (&holder.temp, holder.user) else { continue };
        let process = PathBuf::from(format!("/proc/{}", holder.pid));
        let tried = directories(temp, &process.join("cwd"));
        // Paths of another root are looked at below it. Where that may not be looked at, nothing is said.
        let root = process.join("root");
        if fs::metadata(&root).is_err() {
            continue;
        }
        let within = |path: &Path| {
            if path.starts_with("/proc") { path.to_owned() } else { root.join(path.strip_prefix("/").unwrap_or(path)) }
        };
        if usable(&tried, |path| may_write_as(&within(path), user, &holder.groups)).is_none() {
            problems.push(TempProblem { whose: format!("process {} ({})", holder.pid, holder.command), tried });
        }
    }
    problems
}

fn directories(first: &[PathBuf], last: &Path) -> Vec<PathBuf> {
    let fixed = DIRECTORIES.into_iter().map(PathBuf::from);
    first.iter().cloned().chain(fixed).chain([last.to_owned()]).collect()
}

/// The first directory that will do.
pub(in crate::doctor) fn usable(tried: &[PathBuf], may_write: impl Fn(&Path) -> bool) -> Option<&PathBuf> {
    tried.iter().find(|path| may_write(path))
}

fn may_write(path: &Path) -> bool {
    path.is_dir() && access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn may_write_as(path: &Path, user: u32, groups: &[u32]) -> bool {
    let Ok(status) = fs::metadata(path) else { return false };
    let is_read_only =
        rustix::fs::statvfs(path).is_ok_and(|space| space.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    let shift = if status.uid() == user {
        6
    } else if groups.contains(&status.gid()) {
        3
    } else {
        0
    };
    status.is_dir() && !is_read_only && (user == 0 || (status.mode() >> shift) & 3 == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_that_may_be_written_to_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let tried = [dir.path().join("none"), dir.path().to_owned()];
        assert_eq!(usable(&tried, may_write), Some(&tried[1]));
        assert_eq!(usable(&tried[..1], may_write), None);
        let owner = fs::metadata(dir.path()).unwrap().uid();
        assert!(may_write_as(dir.path(), owner, &[]));
        // The directories of this crate's tests are for their user alone.
        assert!(!may_write_as(dir.path(), owner.wrapping_add(1), &[]));
        assert_eq!(directories(&[PathBuf::from("/a")], Path::new("b")).len(), 5);
    }
}
