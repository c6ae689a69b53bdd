//! The folder beside the database in which a repair keeps the files as they were, and works on copies of them.
//!
//! ```text
//! x.db.cure-1/x.db, x.db-wal, x.db-journal    the files as they were: copies first, the originals at the end
//! x.db.cure-1/work/x.db                       the copy that SQLite works on
//! ```
//!
//! It belongs to the owner of the database, and no other user may look into it. Each copy has the owner, the group, the
//! mode and the extended attributes of its file. This is the one module of the crate that removes files: those that it
//! has made itself, in a folder that it has made itself, before anything was changed.

use super::super::report::FileRole;
use crate::error::PrintablePath;
use crate::ffi::copy_in_child;
use crate::os::{Os, Rights, beside, create_file};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many of these folders a database may have.
const FOLDERS_MAX: u32 = 1000;
/// What must stay free, beside a twentieth of what is needed.
const FREE_BYTES_MIN: u64 = 1 << 20;
/// Longer lists of attributes than this are none (XATTR_LIST_MAX), nor are longer values (XATTR_SIZE_MAX).
const ATTRIBUTE_BYTES_MAX: usize = 1 << 16;
/// Attributes that the system gives each new file itself.
const OF_SYSTEM: &[u8] = b"security.";

pub(super) struct Workspace<'a> {
    folder: PathBuf,
    name: PathBuf,
    /// What was made, in this order.
    made: Vec<PathBuf>,
    os: &'a dyn Os,
}

impl<'a> Workspace<'a> {
    /// A new folder beside the database, or beside where it would be.
    pub(super) fn create(path: &Path, of: Rights, os: &'a dyn Os) -> io::Result<Workspace<'a>> {
        let folder = new_folder(path, ".cure", of.private(), os)?;
        let mut workspace =
            Workspace { folder, name: PathBuf::from(path.file_name().unwrap_or_default()), made: Vec::new(), os };
        let work = workspace.folder.join("work");
        if let Err(error) = os.create_dir(&work, of.private()) {
            workspace.remove();
            return Err(error);
        }
        workspace.made.push(work);
        Ok(workspace)
    }

    /// Where a file is kept as it was.
    pub(super) fn kept(&self, role: FileRole) -> PathBuf {
        role.path(&self.folder.join(&self.name))
    }

    /// Where the copy is that is worked on.
    pub(super) fn work(&self, role: FileRole) -> PathBuf {
        role.path(&self.folder.join("work").join(&self.name))
    }

    /// Where another file is kept that belongs to the database.
    pub(super) fn kept_beside(&self, path: &Path) -> PathBuf {
        self.folder.join(path.file_name().unwrap_or_default())
    }

    /// Copies a file, durably; `cut_bytes` of its end are left out.
    pub(super) fn copy(&mut self, from: &Path, to: &Path, cut_bytes: u64) -> io::Result<()> {
        let rights = self.os.rights(from)?.ok_or(io::ErrorKind::NotFound)?;
        let file = create_file(to, rights)?;
        self.made.push(to.to_owned());
        copy_in_child(from, file.as_fd())?;
        copy_attributes(from, to)?;
        if cut_bytes > 0 {
            let bytes = file.metadata()?.len().saturating_sub(cut_bytes);
            rustix::fs::ftruncate(&file, bytes)?;
        }
        file.sync_all()
    }

    /// Makes the names durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.os.sync_dir(&self.folder.join("work"))?;
        self.os.sync_dir(&self.folder)?;
        self.folder.parent().map_or(Ok(()), |parent| self.os.sync_dir(parent))
    }

    /// Removes what was copied, with what SQLite has made beside it. What else is in the folder stays, and the folder.
    pub(super) fn remove(self) {
        for role in FileRole::SIDE_FILES {
            let _ = fs::remove_file(self.work(role));
        }
        for path in self.made.iter().rev() {
            let _ = if path.ends_with("work") { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
        let _ = fs::remove_dir(&self.folder);
    }

    /// Removes the empty folder of the copies that were worked on.
    pub(super) fn close(self) -> PathBuf {
        let _ = fs::remove_dir(self.folder.join("work"));
        self.folder
    }
}

/// A folder that was not there before: `<database>.<suffix>-1` or a later number.
pub(super) fn new_folder(path: &Path, suffix: &str, rights: Rights, os: &dyn Os) -> io::Result<PathBuf> {
    for number in 1..=FOLDERS_MAX {
        let name = beside(path, &format!("{suffix}-{number}"));
        if fs::symlink_metadata(&name).is_err() {
            return os.create_dir(&name, rights).map(|()| name);
        }
    }
    Err(io::Error::other(format!("there are {FOLDERS_MAX} folders `{suffix}-N` already: clear some away")))
}

/// Why there is no room for the copies; `None` if there is. Holes of files take no room.
pub(super) fn lack_of_room(
    path: &Path,
    files: &[PathBuf],
    copies: u64,
    growth_bytes: u64,
    os: &dyn Os,
) -> Option<String> {
    let bytes: u64 = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| allocated(&file)).sum();
    let needed = bytes.saturating_mul(copies).saturating_add(growth_bytes);
    let needed = needed.saturating_add(needed / 20).saturating_add(FREE_BYTES_MIN);
    let folder = path.parent().unwrap_or(path);
    let free = os.file_system(folder)?.free_bytes;
    (free < needed).then(|| {
        format!(
            "the copies need {} MiB, and {} has {} MiB free: make room, or copy all files elsewhere and run it there",
            (needed >> 20) + 1,
            PrintablePath(folder),
            free >> 20
        )
    })
}

fn allocated(file: &fs::Metadata) -> u64 {
    file.blocks().saturating_mul(512).min(file.len().next_multiple_of(1 << 16))
}

/// Extended attributes, access control lists among them.
fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
    let mut names = vec![0; ATTRIBUTE_BYTES_MAX];
    let length = match listxattr(from, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty() && !name.starts_with(OF_SYSTEM))
    {
        let name = OsStr::from_bytes(name);
        let mut value = vec![0; ATTRIBUTE_BYTES_MAX];
        let length = getxattr(from, name, &mut value)?;
        setxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}
