//! The interface to the operating system: clock, process, thread, and the file operations that do not go through
//! SQLite.
//!
//! Nothing else in the crate asks for the time, sleeps, or touches a path. None of the operations opens the database
//! file itself: POSIX drops all of a process's locks on a file as soon as the process closes *any* descriptor of it, so
//! reading the header would unlock SQLite's live connections. [`Os::status`] opens nothing.

mod claims;
mod evidence;
mod holders;
mod rights;
mod system;

pub use claims::ClaimFile;
pub(crate) use evidence::sha256_of;
pub use holders::Holders;
pub(crate) use holders::lock_table;
pub use system::SystemOs;

use std::fs::File;
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

/// Who may use a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The number of its user.
    pub owner: u32,
    /// The number of its group.
    pub group: u32,
    /// The nine bits of its mode.
    pub mode: u32,
}

impl Rights {
    /// As a part of a message.
    pub(crate) fn told(self) -> String {
        format!(" (it belongs to user {} and group {}, and its mode is {:04o})", self.owner, self.group, self.mode)
    }

    /// For its owner alone.
    pub(crate) fn private(self) -> Rights {
        Rights { mode: 0o600, ..self }
    }
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

    /// How many files the process may have open at a time, where the system tells.
    fn descriptors_max(&self) -> Option<u64> {
        self.base().and_then(|os| os.descriptors_max())
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

    /// Creates a directory and its missing parents, with the rights that the process gives to new ones; succeeds if it
    /// exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.create_dir_all(path))
    }

    /// The file at the path; `None` if there is none.
    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        self.base().map_or_else(unsupported, |os| os.status(path))
    }

    /// Who may use the file at the path, links followed; `None` if there is none.
    fn rights(&self, path: &Path) -> io::Result<Option<Rights>> {
        self.base().map_or_else(unsupported, |os| os.rights(path))
    }

    /// Who may use a file that this process has open, whether or not it has a name, where the system tells.
    fn rights_of_open(&self, id: FileId) -> Option<Rights> {
        self.base().and_then(|os| os.rights_of_open(id))
    }

    /// Creates an empty file with these rights; fails if the name exists, a link included. A right that this process
    /// cannot give is left out.
    fn create_new(&self, path: &Path, rights: Rights) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.create_new(path, rights))
    }

    /// Gives a file the bits of the mode that it lacks, if its owner and its group are these. A link, another kind of
    /// file and one with a second name stay as they are. Does not open the file: other code may have locks on it.
    fn widen_mode(&self, path: &Path, like: Rights) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.widen_mode(path, like))
    }

    /// Creates a directory for files with these rights. Succeeds if it exists, and fails if it is a link.
    fn create_dir(&self, path: &Path, rights: Rights) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.create_dir(path, rights))
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

    /// Gives each of two files the name of the other one, in one step. Not every file system can.
    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.exchange(a, b))
    }

    // Locks and holders

    /// Takes the lock of a file against every other process and every other holder in this process; `None` if the lock
    /// is held. Does not wait. A missing file is created with the rights of the database `like`, and one with other
    /// rights gets those if it may. A file that is no regular one, or has several names, is an error.
    fn try_lock_file(&self, path: &Path, like: &Path) -> io::Result<Option<FileLock>> {
        self.base().map_or_else(unsupported, |os| os.try_lock_file(path, like))
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

    /// The lines of the system's table of locks (`/proc/locks`) that name one of these files. After an error nothing is
    /// known.
    fn lock_lines(&self, ids: &[FileId]) -> io::Result<Vec<String>> {
        self.base().map_or_else(unsupported, |os| os.lock_lines(ids))
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

    /// Replaces a small file by one with this content and these rights. After a power cut it is the old one or the new
    /// one.
    fn write_durably(&self, path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
        self.base().map_or_else(unsupported, |os| os.write_durably(path, bytes, rights))
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

/// Creates an empty file for a copy of a file that may have no name: with the rights of that file, or, where they are
/// not known, for the user of the directory alone.
pub(crate) fn create_for_copy(to: &Path, of: Option<FileId>, os: &dyn Os) -> io::Result<()> {
    let known = of.and_then(|id| os.rights_of_open(id));
    let rights = match (known, to.parent()) {
        (Some(rights), _) => Some(rights),
        (None, Some(directory)) => os.rights(directory).ok().flatten().map(Rights::private),
        (None, None) => None,
    };
    os.create_new(to, rights.unwrap_or(Rights { owner: 0, group: 0, mode: 0o600 }))
}

/// Creates an empty file with these rights, and opens it for writing whatever they are; fails if the name exists.
pub(crate) fn create_file(path: &Path, rights: Rights) -> io::Result<File> {
    rights::create_new(path, rights)
}

/// The name of a database's side file.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
