//! Owner, group and mode of the files that the layer creates: those of the database, as SQLite does it with its own
//! side files (`findCreateFileMode`, `robust_open` and `robustFchown` in `os_unix.c`).
//!
//! - A file is created under a name that nothing has (`O_EXCL`), so a planted link is not followed. It is created
//!   without any right for others, gets its owner and group, and then its mode.
//! - Only root can give a file away, and a user can give it to a group of their own only. Where the group stays another
//!   one, the group gets no right: the database's group bits are not meant for it.
//! - The lock file holds no secret. It is opened under its name, and must be a regular file with one name: through a
//!   link of either kind, root would change the rights of another file.

use super::Rights;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::Duration;

/// The bits of a mode that are copied.
const MODE_BITS: u32 = 0o777;
const STICKY: u32 = 0o1000;

/// How often a lock file is opened that another process is creating, or removes.
const OPENS_MAX: u32 = 5;
const OPEN_PAUSE: Duration = Duration::from_millis(2);

impl Rights {
    pub(super) fn of_path(path: &Path) -> io::Result<Option<Rights>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Rights::of(&metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(metadata: &Metadata) -> Rights {
        Rights { owner: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & MODE_BITS }
    }

    /// Of a directory for files with these rights: to be searched by all who may read.
    fn of_directory(self) -> Rights {
        let read_bits = self.mode & 0o444;
        Rights { mode: self.mode | 0o700 | read_bits >> 2, ..self }
    }
}

/// Creates an empty file.
pub(super) fn create_new(path: &Path, rights: Rights) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    give(&file, rights)?;
    Ok(file)
}

/// Creates a directory; succeeds if it exists, and is no link.
pub(super) fn create_dir(path: &Path, rights: Rights) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => give(&File::open(path)?, rights.of_directory()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && fs::symlink_metadata(path)?.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a lock file for reading and writing, or for reading where writing is not allowed. It is created if it is
/// missing, with the rights of the database `like`; before there is a database, root takes the owner, the group and the
/// mode of the directory. A lock file that has other rights than the database gets its rights if this process may
/// change them.
pub(super) fn open_lock_file(path: &Path, like: &Path) -> io::Result<File> {
    let wanted = Rights::of_path(like)?.map(|rights| Rights { mode: rights.mode | 0o600, ..rights });
    let mut result = Err(ErrorKind::NotFound.into());
    for _ in 0..OPENS_MAX {
        result = match open_existing(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => create_lock_file(path, like, wanted),
            result => result,
        };
        match &result {
            Ok(file) => {
                if let Some(wanted) = wanted.filter(|wanted| file.metadata().is_ok_and(|is| Rights::of(&is) != *wanted))
                {
                    // Where it is not allowed: the file was opened, so it serves this process.
                    let _ = give(file, wanted);
                }
                break;
            }
            // Another process is creating it, has not given it its rights so far, or has just removed it.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::PermissionDenied
                ) =>
            {
                std::thread::sleep(OPEN_PAUSE);
            }
            Err(_) => break,
        }
    }
    result
}

/// Gives a file the bits of the mode that `like` has and the file lacks, if both have the same owner and group. Another
/// kind of file, a link and a file with a second name stay as they are.
///
/// The file is not opened for reading or writing, so closing it takes no lock from this process (`O_PATH`).
pub(super) fn widen(path: &Path, like: Rights) -> io::Result<()> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    let rights = Rights::of(&metadata);
    let is_ours = (rights.owner, rights.group) == (like.owner, like.group);
    if is_ours && require_plain(&metadata).is_ok() && like.mode & !rights.mode != 0 {
        // A descriptor of this kind has no other way to a change of the mode.
        let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        fs::set_permissions(by_descriptor, Permissions::from_mode(rights.mode | like.mode))?;
    }
    Ok(())
}

fn open_existing(path: &Path) -> io::Result<File> {
    // Looked at first: to open a device or a pipe may have effects.
    require_plain(&fs::symlink_metadata(path)?)?;
    let open = |may_write| {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        OpenOptions::new().read(true).write(may_write).custom_flags(flags.bits().cast_signed()).open(path)
    };
    let file = open(true).or_else(|error| match error.kind() {
        // A lock needs no right to write, except on a network file system.
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => open(false).map_err(|_| error),
        _ => Err(error),
    })?;
    require_plain(&file.metadata()?)?;
    Ok(file)
}

fn require_plain(metadata: &Metadata) -> io::Result<()> {
    let what = if metadata.is_symlink() {
        "it is a symbolic link"
    } else if !metadata.is_file() {
        "it is no regular file"
    } else if metadata.nlink() > 1 {
        "it has more than one name"
    } else {
        return Ok(());
    };
    let text = format!("{what}, and a lock file is a regular file with one name");
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

fn create_lock_file(path: &Path, like: &Path, wanted: Option<Rights>) -> io::Result<File> {
    let directory =
        fs::metadata(like.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    let convention = directory.map(|directory| (directory.mode() & STICKY == 0, Rights::of(&directory))).ok();
    let mode = wanted.map_or(0o644, |wanted| wanted.mode);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)?;
    match (wanted, convention) {
        (Some(wanted), _) => give(&file, wanted)?,
        (None, Some((true, of_directory))) if rustix::process::geteuid().is_root() => {
            give(&file, Rights { mode: of_directory.mode & 0o666 | 0o600, ..of_directory })?;
        }
        (None, _) => {}
    }
    Ok(file)
}

/// Gives an open file the rights, as far as this process may.
fn give(file: &File, rights: Rights) -> io::Result<()> {
    let before = Rights::of(&file.metadata()?);
    if (before.owner, before.group) != (rights.owner, rights.group)
        && fchown(file, Some(rights.owner), Some(rights.group)).is_err()
        && before.group != rights.group
    {
        let _ = fchown(file, None, Some(rights.group));
    }
    let is = Rights::of(&file.metadata()?);
    let mode = if is.group == rights.group { rights.mode } else { rights.mode & !0o070 };
    if is.mode == mode { Ok(()) } else { file.set_permissions(Permissions::from_mode(mode)) }
}
