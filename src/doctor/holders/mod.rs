//! Who has the files open: the descriptors of all processes, by device and inode, from `/proc`.
//!
//! Nothing is opened for it but folders of `/proc`. Descriptors are looked at with `stat`, which cancels no lock.

mod details;
mod libraries;
pub(super) mod lockless;
pub(super) mod strays;

pub use details::HolderProcess;
pub(super) use details::of as details_of;
pub(super) use libraries::Libraries;
pub use strays::OtherLog;

use super::{FileRole, Target};
use crate::os::{FileId, Os};
use serde::{Serialize, Serializer};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the kernel puts behind the name of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";
/// Linux has no more processes than this (PID_MAX_LIMIT).
const PROCESSES_MAX: usize = 1 << 22;
/// The most descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 1 << 20;

/// One process that has one of the files open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its name, as in `/proc/PID/comm`.
    pub command: String,
    /// Which of the files.
    pub role: FileRole,
    /// Whether the file it has open has no name any more. What it writes there is gone when it closes it.
    pub deleted: bool,
    /// Its descriptors of that file.
    pub descriptors: u32,
    /// The first of them, as in `/proc/PID/fd`.
    pub descriptor: u32,
    /// Whether it may write through one of them.
    pub can_write: bool,
    /// The file's name, as the kernel shows it.
    #[serde(serialize_with = "lossy")]
    pub name: PathBuf,
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// Whether it is the process that asks.
    pub is_self: bool,
}

impl Holder {
    /// Which file it has open.
    pub(super) fn id(&self) -> FileId {
        FileId { device: self.device, inode: self.inode }
    }
}

/// Paths that are no Unicode lose what is not; JSON has no way to say it.
pub(super) fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// What a look at all processes came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Processes {
    /// Whether there is a `/proc` to look at.
    pub is_available: bool,
    /// Processes whose descriptors were looked at.
    pub looked_into: u32,
    /// Processes of other users, whose descriptors are not shown to this one.
    pub unreadable: u32,
    /// Whether this process sees only the processes of its container (PID namespace), and only their locks.
    pub is_confined: bool,
}

impl Processes {
    /// Whether every process of the machine was looked at.
    pub(super) fn is_complete(&self) -> bool {
        self.is_available && self.unreadable == 0 && !self.is_confined
    }
}

/// The first PID namespace of a machine (PROC_PID_INIT_INO).
const OUTERMOST: &str = "pid:[4026531836]";

/// How long a process has to have a file open to be a holder. Between fork and exec a child has everything open that
/// its parent has, and the doctor's own children live like that.
const HOLDING_MIN: Duration = Duration::from_millis(5);

/// Looks at the descriptors of all processes.
pub(super) fn scan(targets: &[Target], os: &dyn Os) -> (Vec<Holder>, Processes) {
    let own_pid = os.pid();
    let namespace = fs::read_link("/proc/self/ns/pid");
    let is_confined = namespace.is_ok_and(|namespace| namespace != Path::new(OUTERMOST));
    let mut processes = Processes { is_confined, ..Processes::default() };
    let mut holders = Vec::new();
    let Ok(entries) = fs::read_dir("/proc") else { return (holders, processes) };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids.take(PROCESSES_MAX) {
        processes.is_available = true;
        match of_process(pid, targets, own_pid) {
            Ok(found) => {
                processes.looked_into += 1;
                holders.extend(found);
            }
            // A process that has just ended holds nothing.
            Err(error) if is_gone(&error) => {}
            Err(_) => processes.unreadable += 1,
        }
    }
    if holders.iter().any(|holder| !holder.is_self) {
        os.sleep(HOLDING_MIN);
        let mut pids: Vec<u32> = holders.iter().map(|holder| holder.pid).collect();
        pids.dedup();
        let again = pids.into_iter().flat_map(|pid| of_process(pid, targets, own_pid).unwrap_or_default());
        holders = again.collect();
    }
    holders.sort();
    (holders, processes)
}

fn is_gone(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

fn of_process(pid: u32, targets: &[Target], own_pid: u32) -> io::Result<Vec<Holder>> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let mut holders: Vec<Holder> = Vec::new();
    for entry in fs::read_dir(folder.join("fd"))?.take(DESCRIPTORS_MAX) {
        let descriptor = match entry {
            Ok(entry) => entry.path(),
            Err(error) if is_gone(&error) => break,
            Err(error) => return Err(error),
        };
        // Closed since the folder was read, or not a file: sockets and pipes have no path.
        let Some(Descriptor { number, name, id, links }) = Descriptor::read(&descriptor) else { continue };
        let Some((role, deleted)) = role_of(&name, id, links, targets) else { continue };
        match holders.iter_mut().find(|holder| holder.id() == id && holder.role == role) {
            Some(holder) => {
                holder.descriptors += 1;
                holder.can_write |= can_write(&folder, number);
            }
            None => holders.push(Holder {
                pid,
                command: command(&folder),
                role,
                deleted,
                descriptors: 1,
                descriptor: number,
                can_write: can_write(&folder, number),
                name: former_name(&name).0,
                device: id.device,
                inode: id.inode,
                is_self: pid == own_pid,
            }),
        }
    }
    Ok(holders)
}

/// Which of the files a descriptor stands for, and whether it has lost its name: by identity, or, for a file without a
/// name, by the name that it had.
fn role_of(name: &Path, id: FileId, links: u64, targets: &[Target]) -> Option<(FileRole, bool)> {
    if let Some(target) = targets.iter().find(|target| target.id == Some(id)) {
        return Some((target.role, false));
    }
    let former = name.as_os_str().as_bytes().strip_suffix(DELETED).filter(|_| links == 0)?;
    let target = targets.iter().find(|target| target.path.as_os_str().as_bytes() == former)?;
    Some((target.role, true))
}

fn command(process: &Path) -> String {
    let bytes = fs::read(process.join("comm")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// One descriptor of a process that is a file with a path.
struct Descriptor {
    number: u32,
    name: PathBuf,
    id: FileId,
    links: u64,
}

impl Descriptor {
    /// From an entry of `/proc/PID/fd`.
    fn read(entry: &Path) -> Option<Descriptor> {
        let name = fs::read_link(entry).ok().filter(|name| name.is_absolute())?;
        let status = fs::metadata(entry).ok().filter(fs::Metadata::is_file)?;
        let number = entry.file_name()?.to_str()?.parse().ok()?;
        let id = FileId { device: status.dev(), inode: status.ino() };
        Some(Descriptor { number, name, id, links: status.nlink() })
    }
}

/// The name without the kernel's remark, and whether there was one.
fn former_name(name: &Path) -> (PathBuf, bool) {
    match name.as_os_str().as_bytes().strip_suffix(DELETED) {
        Some(former) => (PathBuf::from(OsStr::from_bytes(former)), true),
        None => (name.to_owned(), false),
    }
}

/// Whether a descriptor may be written through; false if that is not shown.
fn can_write(process: &Path, descriptor: u32) -> bool {
    let text = fs::read_to_string(process.join(format!("fdinfo/{descriptor}"))).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u64::from_str_radix(flags.trim(), 8).ok());
    // O_ACCMODE is 3, O_RDONLY is 0.
    flags.is_some_and(|flags| flags & 3 != 0)
}

#[cfg(test)]
mod tests;
