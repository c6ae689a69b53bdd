//! Copies of files without a name that processes still have open: all that is left of them after the processes end.
//!
//! A deleted log is worth nothing without its database, so both are copied, from `/proc/PID/fd`: first the database,
//! then the log. If the log was begun anew meanwhile, both are copied again: only a log that was not has every page
//! that a checkpoint has written to the database in between. No process is disturbed; a child process makes the copies.

use super::holders::{Holder, lossy};
use super::report::{DoctorReport, FileRole};
use super::wal::Wal;
use crate::error::{Cause, Error, Operation};
use crate::ffi::{copy_in_child, read_in_child};
use crate::os::{FileId, Os, Rights, SystemOs, create_file};
use serde::Serialize;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often files are copied that change meanwhile.
const COPIES_MAX: u32 = 5;
/// A log with another header has been begun anew.
const WAL_HEADER_BYTES: usize = 32;
/// Neither its group nor other users may write to a copy.
const OWNER_ALONE_WRITES: u32 = 0o755;

/// A file that was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SavedFile {
    /// What it is to the database.
    pub role: FileRole,
    /// Whether it has no name any more but this one.
    pub deleted: bool,
    /// The processes that have it open.
    pub pids: Vec<u32>,
    /// The copy.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Of a log: the committed frames.
    pub committed_frames: Option<u64>,
    /// Of a log: the transactions.
    pub commits: Option<u64>,
    /// Whether it fits the other files that were saved with it. If not, they were written to each time: stop the
    /// process (SIGSTOP) and save again.
    pub is_consistent: bool,
}

/// Copies the files of a database that have lost their names and are open in a process, each with the files that the
/// process has open beside it, into a directory. It is created if it is missing. The copies have the names of the
/// originals, so each database finds its log; where there are several, each is in a directory of its own. They belong
/// to the owner of the originals, and no other user may write to them.
///
/// The list is empty if there is no such file.
///
/// # Errors
///
/// If the directory cannot be made or written to, or has a file of such a name already; if there is no room; if a file
/// cannot be copied, which includes the end of its process.
pub fn save(report: &DoctorReport, directory: &Path) -> Result<Vec<SavedFile>, Error> {
    let os = SystemOs::new();
    let groups = groups(report);
    let mut saved = Vec::new();
    if groups.is_empty() {
        return Ok(saved);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| Error::new(&path, Operation::Resolve, Cause::Io(error))
    };
    for (number, group) in groups.iter().enumerate() {
        let folder = if groups.len() == 1 { directory.to_owned() } else { directory.join((number + 1).to_string()) };
        let rights = group.rights(&os).map_err(failed(&folder))?;
        for folder in [directory, &folder] {
            os.create_dir(folder, rights.private()).map_err(failed(folder))?;
        }
        saved.extend(
            group.save(&folder.join(report.path.file_name().unwrap_or_default()), &os).map_err(failed(&folder))?,
        );
        os.sync_dir(&folder).map_err(failed(&folder))?;
    }
    Ok(saved)
}

/// The files that one process has open, and all processes that have the same open.
struct Group<'a> {
    files: Vec<&'a Holder>,
    pids: Vec<u32>,
}

fn groups(report: &DoctorReport) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let is_data = |holder: &&Holder| matches!(holder.role, FileRole::Database | FileRole::Wal | FileRole::Journal);
    for pid in report.pids() {
        let files: Vec<&Holder> = report.holders.iter().filter(|holder| holder.pid == pid).filter(is_data).collect();
        if files.iter().all(|file| !file.deleted) {
            continue;
        }
        // A process may have two of a kind open: the old one and the new one.
        let lost = |role| files.iter().copied().filter(move |file| file.role == role).max_by_key(|file| file.deleted);
        let files: Vec<&Holder> =
            [FileRole::Database, FileRole::Wal, FileRole::Journal].into_iter().filter_map(lost).collect();
        let ids = |files: &[&Holder]| files.iter().map(|file| file.id()).collect::<Vec<_>>();
        match groups.iter_mut().find(|group| ids(&group.files) == ids(&files)) {
            Some(group) => group.pids.push(pid),
            None => groups.push(Group { files, pids: vec![pid] }),
        }
    }
    groups
}

impl Group<'_> {
    /// Of the file that matters most; for its owner alone in what they leave open.
    fn rights(&self, os: &SystemOs) -> io::Result<Rights> {
        let file = self.files.first().ok_or(io::ErrorKind::NotFound)?;
        os.rights(&descriptor(file)?)?.ok_or(io::ErrorKind::NotFound.into())
    }

    fn save(&self, name: &Path, os: &SystemOs) -> io::Result<Vec<SavedFile>> {
        let mut copies = Vec::new();
        for file in &self.files {
            let from = descriptor(file)?;
            let rights = os.rights(&from)?.ok_or(io::ErrorKind::NotFound)?;
            let rights = Rights { mode: rights.mode & OWNER_ALONE_WRITES, ..rights };
            let to = file.role.path(name);
            copies.push((file, from, create_file(&to, rights)?, to));
        }
        let mut is_consistent = false;
        for _ in 0..COPIES_MAX {
            let before = self.state(&copies.iter().map(|(_, from, ..)| from.as_path()).collect::<Vec<_>>(), os)?;
            for (_, from, to, _) in &copies {
                rustix::fs::ftruncate(to, 0)?;
                copy_in_child(from, to.as_fd())?;
            }
            let after = self.state(&copies.iter().map(|(_, from, ..)| from.as_path()).collect::<Vec<_>>(), os)?;
            is_consistent = before == after;
            if is_consistent {
                break;
            }
        }
        let mut saved = Vec::new();
        for (file, _, to, path) in copies {
            to.sync_all()?;
            let wal = if file.role == FileRole::Wal { Wal::read(&path)? } else { None };
            saved.push(SavedFile {
                role: file.role,
                deleted: file.deleted,
                pids: self.pids.clone(),
                path,
                bytes: to.metadata()?.len(),
                committed_frames: wal.as_ref().map(|wal| wal.committed_frames),
                commits: wal.as_ref().map(|wal| wal.commits),
                is_consistent,
            });
        }
        Ok(saved)
    }

    /// What must be the same before and after: the header of the log, or, without a log, the time of the database.
    fn state(&self, paths: &[&Path], os: &SystemOs) -> io::Result<Vec<(Vec<u8>, Option<Duration>)>> {
        let has_log = self.files.iter().any(|file| file.role == FileRole::Wal);
        let state = |(file, path): (&&Holder, &&Path)| match file.role {
            FileRole::Wal => {
                let mut header = read_in_child(path)?;
                header.truncate(WAL_HEADER_BYTES);
                Ok((header, None))
            }
            _ if has_log => Ok((Vec::new(), None)),
            _ => Ok((Vec::new(), Some(os.modified(path)?))),
        };
        self.files.iter().zip(paths).map(state).collect()
    }
}

/// The name of a process's descriptor below `/proc`.
fn descriptor(file: &Holder) -> io::Result<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{}/fd", file.pid))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_it = |path: &PathBuf| {
        let id = |status: fs::Metadata| FileId { device: status.dev(), inode: status.ino() };
        fs::metadata(path).is_ok_and(|status| id(status) == file.id())
    };
    paths.find(is_it).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the process has closed it"))
}
