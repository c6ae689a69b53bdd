//! The connection layer's seam to the system, with the run's clock behind it and the machine's own files.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seawall::os::{FileId, FileLock, FileStatus, FileSystem, Holders};
use seawall::{Os, SystemOs};
use seawall_harness::clock::Clock;
use seawall_harness::runtime;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct ClockedOs {
    clock: Clock,
    pid: u32,
    lock_patience: Duration,
    system: SystemOs,
}

impl ClockedOs {
    /// A seam that goes by this clock. `pid` is what it gives for the process id: pauses depend on it, and a run must
    /// not depend on what the machine gives out.
    pub fn new(clock: Clock, pid: u32) -> Self {
        Self { clock, pid, lock_patience: Duration::ZERO, system: SystemOs::new() }
    }

    /// Waits so long, by the wall clock, for a lock file that somebody holds. For programs that start other processes
    /// meanwhile: between fork and exec a child shares every lock file that is open, and virtual time does not wait for
    /// it.
    #[must_use]
    pub fn with_lock_patience(self, lock_patience: Duration) -> Self {
        Self { lock_patience, ..self }
    }
}

impl Os for ClockedOs {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn sleep(&self, pause: Duration) {
        self.clock.sleep(pause);
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.system.canonicalize(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.system.read_link(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.system.create_dir_all(path)
    }

    fn thread(&self) -> u64 {
        // Which reader a thread gets follows from this, and a run must not depend on where the machine puts its stack.
        match runtime::current_actor().thread {
            0 => self.system.thread(),
            thread => u64::from(thread),
        }
    }

    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        self.system.status(path)
    }

    fn lock_holder(&self, path: &Path) -> Option<u32> {
        self.system.lock_holder(path)
    }

    fn names_left(&self, id: FileId) -> Option<u64> {
        self.system.names_left(id)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.system.rename(from, to)
    }

    fn file_system(&self, path: &Path) -> Option<FileSystem> {
        self.system.file_system(path)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.system.rename_new(from, to)
    }

    fn list_dir(&self, path: &Path, entries_max: usize) -> io::Result<Vec<PathBuf>> {
        self.system.list_dir(path, entries_max)
    }

    fn read_prefix(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.system.read_prefix(path, bytes_max)
    }

    fn write_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.system.write_durably(path, bytes)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.system.sync_dir(path)
    }

    fn sha256(&self, path: &Path) -> io::Result<String> {
        self.system.sha256(path)
    }

    fn same_bytes(&self, a: &Path, b: &Path) -> io::Result<bool> {
        self.system.same_bytes(a, b)
    }

    fn modified(&self, path: &Path) -> io::Result<Duration> {
        self.system.modified(path)
    }

    fn holders(&self, ids: &[FileId]) -> io::Result<Holders> {
        self.system.holders(ids)
    }

    fn try_lock_file(&self, path: &Path) -> io::Result<Option<FileLock>> {
        const POLL: Duration = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        loop {
            match self.system.try_lock_file(path)? {
                None if waited < self.lock_patience => std::thread::sleep(POLL),
                answer => return Ok(answer),
            }
            waited += POLL;
        }
    }
}
