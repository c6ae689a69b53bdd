//! The seam to the operating system: clock, process id and the few file operations that do not go through SQLite.
//!
//! Nothing else in the crate asks for the time, sleeps, or touches a path. None of the operations opens the database
//! file itself: POSIX drops all of a process's locks on a file as soon as the process closes *any* descriptor of it, so
//! a harmless-looking look at the header would unlock SQLite's live connections.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Keeps a lock file locked for as long as it lives; dropping it unlocks.
pub type FileLock = Box<dyn Send>;

/// What the connection layer needs from the system beside SQLite.
pub trait Os: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;

    /// Blocks the calling thread.
    fn sleep(&self, pause: Duration);

    /// Identifies this process; a forked child answers differently from its parent.
    fn pid(&self) -> u32;

    /// The absolute path behind symbolic links, `.` and `..`; an error if nothing is there.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;

    /// Creates a directory and its missing parents; succeeds if it exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Whether a directory stands at the path.
    fn is_dir(&self, path: &Path) -> bool;

    /// Creates the file if need be and takes its lock against every other process and every other holder in this one;
    /// `None` if somebody else holds it. Does not wait.
    fn try_lock_file(&self, path: &Path) -> io::Result<Option<FileLock>>;
}

/// The system the process runs on.
#[derive(Clone, Debug)]
pub struct SystemOs {
    start: Instant,
}

impl SystemOs {
    /// A seam whose clock starts at zero now.
    pub fn new() -> SystemOs {
        SystemOs { start: Instant::now() }
    }
}

impl Default for SystemOs {
    fn default() -> SystemOs {
        SystemOs::new()
    }
}

impl Os for SystemOs {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn try_lock_file(&self, path: &Path) -> io::Result<Option<FileLock>> {
        // The file is never removed: a lock on an unlinked file excludes nobody.
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_has_one_holder_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let os = SystemOs::new();

        let held = os.try_lock_file(&path).unwrap();
        assert!(held.is_some());
        assert!(os.try_lock_file(&path).unwrap().is_none());
        drop(held);
        assert!(os.try_lock_file(&path).unwrap().is_some());
        assert!(path.exists());
    }
}
