//! The folder for the databases of the runs.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;
use tempfile::TempDir;

/// How the names of the folders of runs begin.
const PREFIX: &str = "seawall-";

/// A file in the folder of a run, locked (`flock`) as long as the process of the run lives.
const ALIVE: &str = "alive";

/// `/dev/shm` if it is writable, else the system's folder for temporary files. Memory is right for most runs: they test
/// failing calls and dying processes, and neither needs a disk.
pub fn default_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let is_usable = tempfile::tempfile_in(memory).is_ok();
    if is_usable { memory.to_owned() } else { std::env::temp_dir() }
}

/// A new folder for the databases of a run. It is removed when it is dropped; if the process is killed before, by the
/// next process that makes a folder beside it.
#[derive(Debug)]
pub struct RunFolder {
    folder: TempDir,
    _alive: File,
}

impl RunFolder {
    /// Makes a folder. The first one of a process removes the folders that dead processes have left beside it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create_in(parent: &Path) -> io::Result<Self> {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| remove_abandoned(parent));
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // Locked before it has its name, so that no other process finds it without a lock.
        let unnamed = folder.path().join(format!("{ALIVE}.new"));
        let alive = File::create_new(&unnamed)?;
        alive.try_lock()?;
        fs::rename(&unnamed, folder.path().join(ALIVE))?;
        Ok(Self { folder, _alive: alive })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders of runs whose processes are dead. What cannot be removed stays.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let alive = File::open(entry.path().join(ALIVE)).ok().filter(|_| is_folder);
        if alive.is_some_and(|alive| alive.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Why a file could not be created in a folder, without the random name that it would have had.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at path ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// A file cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write {}: {reason}", path.display())]
pub struct WriteError {
    path: PathBuf,
    reason: String,
}

/// Writes a file, and its folder if there is none. A reader finds the old content or the whole text, never a part.
///
/// # Errors
/// See [`WriteError`].
pub fn write_whole(path: &Path, text: &str) -> Result<(), WriteError> {
    let write = || -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // The usual rights of a new file, before the umask.
        let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    write().map_err(|error| WriteError { path: path.to_owned(), reason: reason(&error) })
}

/// The folder with the kind of its file system: `/dev/shm (tmpfs)`.
pub fn describe(folder: &Path) -> String {
    match fs::read_to_string("/proc/mounts").ok().and_then(|mounts| file_system(folder, &mounts)) {
        Some(kind) => format!("{} ({kind})", folder.display()),
        None => folder.display().to_string(),
    }
}

/// The type of the longest mount point that is a prefix of the folder.
fn file_system(folder: &Path, mounts: &str) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let (_, kind) = mounts.filter(|(point, _)| folder.starts_with(point)).max_by_key(|(point, _)| point.len())?;
    Some(kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_no_file_that_was_not_created() {
        let error = tempfile::tempdir_in("/nowhere").unwrap_err();
        assert_eq!(reason(&error), "No such file or directory (os error 2)");
        assert_eq!(reason(&io::Error::other("full")), "full");
    }

    #[test]
    fn folders_of_dead_runs_are_removed_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let live = RunFolder::create_in(parent.path()).unwrap();
        let foreign = [parent.path().join("seawall-of-a-user"), parent.path().join("other")];
        let dead = parent.path().join("seawall-dead");
        for folder in foreign.iter().chain([&dead]) {
            fs::create_dir(folder).unwrap();
        }
        fs::write(dead.join(ALIVE), "").unwrap();
        fs::write(foreign[1].join(ALIVE), "").unwrap();
        remove_abandoned(parent.path());
        assert!(live.path().join(ALIVE).exists() && foreign.iter().all(|folder| folder.exists()));
        assert!(!dead.exists());
        let path = live.path().to_owned();
        drop(live);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file.json");
        for text in ["one", "two"] {
            write_whole(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1, "nothing is left beside it");
        assert_ne!(fs::metadata(&path).unwrap().permissions().mode() & 0o400, 0);
        let error = write_whole(&path.join("below"), "three").unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("below"), "{error}");
    }

    #[test]
    fn the_longest_mount_point_tells_the_kind() {
        let mounts = "none / ext4 rw 0 0\nnone /proc proc rw 0 0\nnone /procx tmpfs rw 0 0\n";
        assert_eq!(file_system(Path::new("/proc"), mounts).unwrap(), "proc");
        assert_eq!(file_system(Path::new("/"), mounts).unwrap(), "ext4");
    }
}
