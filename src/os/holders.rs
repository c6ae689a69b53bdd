//! The processes that have a file open, from `/proc`, without opening the file.
//!
//! Looking at `/proc/<pid>/fd/<n>` with `stat` tells the device and inode behind a descriptor and touches no lock. What
//! cannot be seen this way: processes in other process namespaces, other machines on a network file system, and, unless
//! one is root, the descriptors of other users' processes. Those last are counted.

use crate::os::FileId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Room for some thousand lines of `/proc/locks`.
const TABLE_BYTES: usize = 1 << 18;
/// How often the table is read until it says the same twice: it is longer than what the kernel shows at one moment.
const READS_MAX: u32 = 6;

/// The processes that have some files open, or a lock on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holders {
    /// Other processes with a descriptor of one of the files, in ascending order.
    pub pids: Vec<u32>,
    /// Descriptors of the files in this very process.
    pub own_descriptors: u32,
    /// Processes whose descriptors may not be looked at.
    pub unreadable: u32,
    /// The lines of `/proc/locks` that name one of the files.
    pub locks: Vec<String>,
}

impl Holders {
    /// Whether another process surely has one of the files open.
    pub fn has_others(&self) -> bool {
        !self.pids.is_empty()
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pids: Vec<String> = self.pids.iter().map(u32::to_string).collect();
        match (self.pids.as_slice(), self.own_descriptors) {
            ([], 0) => f.write_str("no visible process")?,
            ([], _) => f.write_str("this process itself")?,
            ([_], _) => write!(f, "process {}", pids[0])?,
            _ => write!(f, "processes {}", pids.join(", "))?,
        }
        if self.unreadable > 0 {
            write!(f, " (the descriptors of {} more may not be looked at)", self.unreadable)?;
        }
        Ok(())
    }
}

/// Looks through all processes. An error means that nothing is known, not that no process has them open.
pub(super) fn holders_of(ids: &[FileId], own_pid: u32) -> io::Result<Holders> {
    let mut pids = BTreeSet::new();
    let mut holders = Holders { locks: lock_lines(ids)?, ..Holders::default() };
    // As many entries as there are processes; the kernel bounds them.
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        match descriptors_of(&entry.path().join("fd"), ids) {
            Ok(0) => {}
            Ok(count) if pid == own_pid => holders.own_descriptors = count,
            Ok(_) => drop(pids.insert(pid)),
            Err(error) if is_gone(&error) => {}
            Err(_) => holders.unreadable += 1,
        }
    }
    holders.pids = pids.into_iter().collect();
    Ok(holders)
}

/// How many of the descriptors in a process's list are of one of the files.
fn descriptors_of(list: &Path, ids: &[FileId]) -> io::Result<u32> {
    let mut count = 0;
    for entry in fs::read_dir(list)? {
        match rustix::fs::stat(entry?.path()) {
            Ok(stat) if ids.contains(&FileId { device: stat.st_dev, inode: stat.st_ino }) => count += 1,
            Ok(_) => {}
            // A file of another kind that cannot be looked at is none of ours: those are on a file system of ours.
            Err(_) => {}
        }
    }
    Ok(count)
}

pub(super) fn lock_lines(ids: &[FileId]) -> io::Result<Vec<String>> {
    let names: Vec<String> = ids
        .iter()
        .map(|id| {
            let (major, minor) = (rustix::fs::major(id.device), rustix::fs::minor(id.device));
            format!("{major:02x}:{minor:02x}:{}", id.inode)
        })
        .collect();
    let read = || {
        let table = lock_table()?;
        let is_named = |line: &&str| line.split_ascii_whitespace().any(|word| names.iter().any(|name| name == word));
        Ok::<Vec<String>, io::Error>(table.lines().filter(is_named).map(str::to_owned).collect())
    };
    let mut last = read()?;
    for _ in 1..READS_MAX {
        let before = std::mem::replace(&mut last, read()?);
        // The numbers in front are those of the moment.
        if before.iter().map(|line| lock_of(line)).eq(last.iter().map(|line| lock_of(line))) {
            break;
        }
    }
    Ok(last)
}

/// A line of the table without its number.
fn lock_of(line: &str) -> &str {
    line.split_once(':').map_or(line, |(_, lock)| lock)
}

/// `/proc/locks` as the kernel writes it. Each call of `read` gets as many whole lines as fit into a page, taken at one
/// moment; between two calls lines may come and go, and one may be missed or shown twice. So the calls are for much at
/// a time, and not for the few bytes that the standard library tries first where a file has no length.
pub(crate) fn lock_table() -> io::Result<String> {
    let mut table = String::with_capacity(TABLE_BYTES);
    File::open("/proc/locks")?.read_to_string(&mut table)?;
    Ok(table)
}

/// The process ended while we were looking.
fn is_gone(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::{Os, SystemOs};

    #[test]
    #[cfg(target_os = "linux")]
    fn an_open_file_has_holders_and_a_closed_one_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let (os, path) = (SystemOs::new(), dir.path().join("x"));
        let file = fs::File::create(&path).unwrap();
        let id = os.status(&path).unwrap().unwrap().id;
        file.lock().unwrap();
        let holders = os.holders(&[id]).unwrap();
        assert_eq!(holders.own_descriptors, 1);
        assert_eq!(holders.locks.len(), 1, "{holders:?}");
        assert!(holders.to_string().starts_with("this process itself"), "{holders}");
        drop(file);
        assert_eq!(os.holders(&[id]).unwrap().own_descriptors, 0);
    }
}
