//! The interface to the operating system: clock, process, thread, and the file operations that do not go through
//! SQLite.
//!
//! Nothing else in the crate asks for the time, sleeps, or touches a path. None of the operations opens the database
//! file itself: POSIX drops all of a process's locks on a file as soon as the process closes *any* descriptor of it, so
//! reading the header would unlock SQLite's live connections. [`Os::status`] opens nothing.

mod claims;
mod evidence;
mod holders;
mod system;

pub use claims::ClaimFile;
pub(crate) use evidence::sha256_of;
pub use holders::Holders;
pub(crate) use holders::lock_table;
pub use system::SystemOs;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Keeps a lock file locked for as long as it lives; dropping it unlocks.
pub type FileLock = Box<dyn Send>;

/// The identity of a file, whatever its name: device and inode. Two names with the same identity are the same file, and
/// a file with another identity than before has been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The device, as `stat` numbers it.
    pub device: u64,
    /// The inode on that device.
    pub inode: u64,
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A file with content.
    File,
    /// A directory.
    Directory,
    /// A pipe, a socket, a device.
    Special,
}

/// The status of the file at a path, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// Which file it is.
    pub id: FileId,
    /// What it is.
    pub kind: FileKind,
    /// Its length.
    pub bytes: u64,
    /// How many names it has. More than one is dangerous for a database: the names of its side files differ.
    pub links: u64,
    /// When its content was last changed, as time since 1970.
    pub modified: Duration,
}

/// The file system that a path is on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FileSystem {
    /// Its kind, as `mount` calls it, where that is known: `ext2/ext3/ext4`, `tmpfs`, `nfs`; else the magic number.
    pub kind: String,
    /// Whether other machines may use it at the same time: SQLite's WAL mode is not for those.
    pub is_network: bool,
    /// What an unprivileged process may still write.
    pub free_bytes: u64,
}

/// The operating system as the connection layer uses it, beside SQLite: clock, identity, files, locks, evidence.
///
/// Programs use [`SystemOs`]. A test overrides single methods; all others go to its [`base`](Os::base):
///
/// ```
/// use seawall::{Os, Store, SystemOs};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
///
/// #[derive(Default)]
/// struct Clock { system: SystemOs, now_s: AtomicU64 }
///
/// impl Os for Clock {
///     fn base(&self) -> Option<&dyn Os> { Some(&self.system) }
///     fn now(&self) -> Duration { Duration::from_secs(self.now_s.load(Ordering::SeqCst)) }
///     fn sleep(&self, pause: Duration) { self.now_s.fetch_add(pause.as_secs().max(1), Ordering::SeqCst); }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let clock = Arc::new(Clock::default());
/// let store = Store::builder().os(clock.clone()).open(dir.path().join("x.db"))?;
/// store.checkpoint(seawall::CheckpointMode::Passive)?;
/// clock.now_s.fetch_add(60, Ordering::SeqCst);
/// assert_eq!(store.health().last_checkpoint.unwrap().age, Duration::from_secs(60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Os: Send + Sync {
    /// The system that answers what this one does not override. Without one, time stands still, all ids are 0, and
    /// file operations are unsupported.
    fn base(&self) -> Option<&dyn Os> {
        None
    }

    // The clock

    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration {
        self.base().map_or(Duration::ZERO, |os| os.now())
    }

    /// Blocks the calling thread for `pause`.
    fn sleep(&self, pause: Duration) {
        if let Some(os) = self.base() {
            os.sleep(pause);
        }
    }

    // Process and thread

    /// The id of this process. A forked child answers differently from its parent.
    fn pid(&self) -> u32 {
        self.base().map_or(0, |os| os.pid())
    }

    /// The number of the calling thread within its process.
    fn thread(&self) -> u64 {
        self.base().map_or(0, |os| os.thread())
    }

    // Names and files

    /// The absolute path behind symbolic links, `.` and `..`; an error if nothing is there.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.base().map_or_else(unsupported, |os| os.canonicalize(path))
    }

    /// The target of a symbolic link, which need not exist; an error if the path is no link.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.base().map_or_else(unsupported, |os| os.read_link(path))
    }

    /// Creates a directory and its missing parents; succeeds if it exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.create_dir_all(path))
    }

    /// The file at the path; `None` if there is none.
    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        self.base().map_or_else(unsupported, |os| os.status(path))
    }

    /// The file system of the path, where the system tells.
    fn file_system(&self, path: &Path) -> Option<FileSystem> {
        self.base().and_then(|os| os.file_system(path))
    }

    /// How many names a file has that this process has open, where the system tells.
    fn names_left(&self, id: FileId) -> Option<u64> {
        self.base().and_then(|os| os.names_left(id))
    }

    /// A name of a file that this process has open, where the system tells; `None` also if it has no name left.
    fn name_of(&self, id: FileId) -> Option<PathBuf> {
        self.base().and_then(|os| os.name_of(id))
    }

    /// Whether this process has all of these files open, where the system tells.
    fn has_open(&self, ids: &[FileId]) -> Option<bool> {
        self.base().and_then(|os| os.has_open(ids))
    }

    /// When the file at the path was created, as time since 1970, where the file system knows. Tells a file from
    /// another one that has got its inode.
    fn born(&self, path: &Path) -> Option<Duration> {
        self.base().and_then(|os| os.born(path))
    }

    /// When the file at the path was last changed or got its name, as time since 1970, where the file system knows.
    fn changed(&self, path: &Path) -> Option<Duration> {
        self.base().and_then(|os| os.changed(path))
    }

    /// Renames a file in one step. A file that had the new name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.rename(from, to))
    }

    /// Renames a file or directory in one step; fails if the new name exists.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.rename_new(from, to))
    }

    // Locks and holders

    /// Creates the file if it is missing and takes its lock against every other process and every other holder in this
    /// process; `None` if the lock is held. Does not wait.
    fn try_lock_file(&self, path: &Path) -> io::Result<Option<FileLock>> {
        self.base().map_or_else(unsupported, |os| os.try_lock_file(path))
    }

    /// The process that holds the lock of a lock file, where the system tells.
    fn lock_holder(&self, path: &Path) -> Option<u32> {
        self.base().and_then(|os| os.lock_holder(path))
    }

    /// Opens a file in which processes claim identities of databases. It must exist.
    fn open_claims(&self, path: &Path) -> io::Result<Box<dyn ClaimFile>> {
        self.base().map_or_else(unsupported, |os| os.open_claims(path))
    }

    /// Writes over the beginning of a small file that exists, in place: locks on it stay, and so does what is behind. A
    /// reader, or a crash, may find a part of it.
    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.overwrite(path, bytes))
    }

    /// The processes that have one of these files open, found without opening them. After an error nothing is known.
    fn holders(&self, ids: &[FileId]) -> io::Result<Holders> {
        self.base().map_or_else(unsupported, |os| os.holders(ids))
    }

    // Evidence: contents, digests, durable names

    /// The entries of a directory, sorted; an error if there are more than `entries_max`.
    fn list_dir(&self, path: &Path, entries_max: usize) -> io::Result<Vec<PathBuf>> {
        self.base().map_or_else(unsupported, |os| os.list_dir(path, entries_max))
    }

    /// The first `bytes_max` bytes of a file. Never of a database file that SQLite has open in this process.
    fn read_prefix(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.base().map_or_else(unsupported, |os| os.read_prefix(path, bytes_max))
    }

    /// Replaces the content of a small file. After a power cut it has the old content or the new one.
    fn write_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.write_durably(path, bytes))
    }

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.sync_dir(path))
    }

    /// The SHA-256 of a file, in hexadecimal digits. Never of a database file that SQLite has open in this process.
    fn sha256(&self, path: &Path) -> io::Result<String> {
        self.base().map_or_else(unsupported, |os| os.sha256(path))
    }

    /// Whether two files have equal content. Never for a database file that SQLite has open in this process.
    fn same_bytes(&self, a: &Path, b: &Path) -> io::Result<bool> {
        self.base().map_or_else(unsupported, |os| os.same_bytes(a, b))
    }

    /// When the content of a file was last changed, as time since 1970.
    fn modified(&self, path: &Path) -> io::Result<Duration> {
        self.base().map_or_else(unsupported, |os| os.modified(path))
    }
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The name of a database's side file.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
