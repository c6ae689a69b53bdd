//! The locks and their holders, from `/proc/locks`, with SQLite's names.
//!
//! SQLite locks bytes. In the database file: PENDING, RESERVED, and a range for SHARED (a read lock) and EXCLUSIVE (a
//! write lock), from offset 1 GiB on (`os.h`). In the `-shm` file: one byte for each lock of the wal-index, from offset
//! 120 on, and one that says that a process is connected (`os_unix.c`).

use super::holders::Holder;
use super::{FileRole, Target};
use crate::os::{FileId, lock_table};
use serde::Serialize;

const PENDING_BYTE: u64 = 0x4000_0000;
const RESERVED_BYTE: u64 = PENDING_BYTE + 1;
const SHARED_FIRST: u64 = PENDING_BYTE + 2;
const SHARED_LAST: u64 = SHARED_FIRST + 509;
/// The locks of the wal-index in the order of their bytes.
const WAL_INDEX_LOCKS: [&str; 9] = ["WRITE", "CKPT", "RECOVER", "READ0", "READ1", "READ2", "READ3", "READ4", "DMS"];
const WAL_INDEX_FIRST: u64 = 120;
/// More lines of `/proc/locks` than this are not looked at.
const LINES_MAX: usize = 1 << 20;

/// A lock of one process on one of the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lock {
    /// The process; `None` for a lock that belongs to a descriptor, or to a process outside of this one's view.
    pub pid: Option<u32>,
    /// Which of the files.
    pub role: FileRole,
    /// The inode of that file.
    pub inode: u64,
    /// Whether it excludes all others from its bytes; else only writers.
    pub is_write: bool,
    /// Whether the process still waits for it.
    pub is_waiting: bool,
    /// SQLite's names of what is locked: `SHARED`, `RESERVED`, `WRITE`, `READ1`, …
    pub names: Vec<&'static str>,
    /// The first byte.
    pub first_byte: u64,
    /// The last byte.
    pub last_byte: u64,
}

/// How often the table is read until it says the same twice. It is longer than what the kernel shows in one piece, so a
/// line may be missed while others come and go.
const READS_MAX: u32 = 6;

/// The locks on the files; `None` if the system does not show locks.
pub(super) fn scan(targets: &[Target], holders: &[Holder]) -> Option<Vec<Lock>> {
    let mut last = read(targets, holders)?;
    for _ in 1..READS_MAX {
        let before = std::mem::replace(&mut last, read(targets, holders)?);
        if before == last {
            break;
        }
    }
    Some(last)
}

fn read(targets: &[Target], holders: &[Holder]) -> Option<Vec<Lock>> {
    let table = lock_table().ok()?;
    let mut locks: Vec<Lock> = table.lines().take(LINES_MAX).filter_map(|line| parse(line, targets, holders)).collect();
    locks.sort_by_key(|lock| (lock.role, lock.inode, lock.first_byte, lock.pid, lock.is_waiting));
    Some(locks)
}

/// A line like `1: POSIX  ADVISORY  READ 29319 fe:00:10014831 1073741826 1073742335`; `->` after the number means that
/// the process waits.
fn parse(line: &str, targets: &[Target], holders: &[Holder]) -> Option<Lock> {
    let mut words = line.split_ascii_whitespace().skip(1).peekable();
    let is_waiting = words.next_if_eq(&"->").is_some();
    let (class, _manner, kind) = (words.next()?, words.next()?, words.next()?);
    let pid = words.next()?.parse::<u32>().ok().filter(|&pid| pid != 0);
    let mut file = words.next()?.split(':');
    let major = u32::from_str_radix(file.next()?, 16).ok()?;
    let minor = u32::from_str_radix(file.next()?, 16).ok()?;
    let id = FileId { device: rustix::fs::makedev(major, minor), inode: file.next()?.parse().ok()? };
    let first_byte = words.next()?.parse().ok()?;
    let last_byte = match words.next()? {
        "EOF" => u64::MAX,
        number => number.parse().ok()?,
    };
    let is_write = kind == "WRITE";
    let role = role_of(id, pid, targets, holders)?;
    // A lock of flock(2) is not SQLite's, but it is reported too.
    let names = if class == "FLOCK" { vec!["FLOCK"] } else { names(role, is_write, first_byte, last_byte) };
    Some(Lock { pid, role, inode: id.inode, is_write, is_waiting, names, first_byte, last_byte })
}

/// Some file systems (btrfs, overlays) show another device here than in `stat`: there the process has to be one that
/// has a file with that inode open.
fn role_of(id: FileId, pid: Option<u32>, targets: &[Target], holders: &[Holder]) -> Option<FileRole> {
    let by_target = targets.iter().find(|target| target.id == Some(id)).map(|target| target.role);
    let is_holders = |holder: &&Holder| holder.id() == id || (holder.inode == id.inode && Some(holder.pid) == pid);
    by_target.or_else(|| holders.iter().find(is_holders).map(|holder| holder.role))
}

fn names(role: FileRole, is_write: bool, first: u64, last: u64) -> Vec<&'static str> {
    let covers = |from: u64, to: u64| first <= to && last >= from;
    match role {
        FileRole::Database => {
            let shared = if is_write { "EXCLUSIVE" } else { "SHARED" };
            let known = [
                (PENDING_BYTE, PENDING_BYTE, "PENDING"),
                (RESERVED_BYTE, RESERVED_BYTE, "RESERVED"),
                (SHARED_FIRST, SHARED_LAST, shared),
            ];
            known.iter().filter(|(from, to, _)| covers(*from, *to)).map(|(_, _, name)| *name).collect()
        }
        FileRole::WalIndex => {
            let bytes = (WAL_INDEX_FIRST..).zip(WAL_INDEX_LOCKS);
            bytes.filter(|(byte, _)| covers(*byte, *byte)).map(|(_, name)| name).collect()
        }
        _ => Vec::new(),
    }
}

impl Lock {
    /// Whether the lock is held, not waited for, and has that name.
    pub(super) fn holds(&self, role: FileRole, name: &str) -> bool {
        self.role == role && !self.is_waiting && self.names.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::tests::Damage;
    use super::*;

    fn targets() -> [Target; 2] {
        let id = |inode| Some(FileId { device: rustix::fs::makedev(0xfe, 0x10), inode });
        [
            Target { role: FileRole::Database, path: "/d/x.db".into(), id: id(77) },
            Target { role: FileRole::WalIndex, path: "/d/x.db-shm".into(), id: id(78) },
        ]
    }

    #[track_caller]
    fn check(line: &str, expected: Option<(Option<u32>, &str, bool)>) {
        let lock = parse(line, &targets(), &[]);
        let told = lock.as_ref().map(|lock| (lock.pid, lock.names.join("+"), lock.is_waiting));
        assert_eq!(told, expected.map(|(pid, names, waits)| (pid, names.to_owned(), waits)), "{line}");
    }

    #[test]
    fn locks_are_reported_with_sqlites_names() {
        check("1: POSIX  ADVISORY  READ 12 fe:10:77 1073741826 1073742335", Some((Some(12), "SHARED", false)));
        check("1: POSIX  ADVISORY  WRITE 12 fe:10:77 1073741825 1073741825", Some((Some(12), "RESERVED", false)));
        let all = "PENDING+RESERVED+EXCLUSIVE";
        check("9: POSIX  ADVISORY  WRITE 12 fe:10:77 1073741824 1073742335", Some((Some(12), all, false)));
        check("2: POSIX  ADVISORY  READ 12 fe:10:78 128 128", Some((Some(12), "DMS", false)));
        check("2: POSIX  ADVISORY  WRITE 12 fe:10:78 120 122", Some((Some(12), "WRITE+CKPT+RECOVER", false)));
        check("2: -> POSIX  ADVISORY  WRITE 13 fe:10:78 124 124", Some((Some(13), "READ1", true)));
        check("3: OFDLCK ADVISORY  READ -1 fe:10:78 127 128", Some((None, "READ4+DMS", false)));
        check("3: FLOCK  ADVISORY  WRITE 14 fe:10:77 0 EOF", Some((Some(14), "FLOCK", false)));
    }

    #[test]
    fn locks_on_other_files_and_other_lines_are_passed_over() {
        check("1: POSIX  ADVISORY  READ 12 fe:11:77 1073741826 1073742335", None);
        check("1: POSIX  ADVISORY  READ 12 fe:10:79 0 EOF", None);
        check("", None);
        let line = b"1: POSIX  ADVISORY  READ 12 fe:10:77 1073741826 1073742335";
        let mut damage = Damage(5);
        for _ in 0..2000 {
            parse(&String::from_utf8_lossy(&damage.of(line)), &targets(), &[]);
        }
    }

    #[test]
    fn another_device_will_do_if_the_process_has_that_inode_open() {
        let holder = Holder {
            pid: 12,
            command: "x".into(),
            role: FileRole::Database,
            deleted: false,
            descriptors: 1,
            descriptor: 3,
            can_write: true,
            name: "/d/x.db".into(),
            device: 40,
            inode: 79,
            is_self: false,
        };
        let line = |pid: u32| format!("1: POSIX  ADVISORY  READ {pid} 00:1f:79 1073741826 1073742335");
        assert!(parse(&line(12), &targets(), std::slice::from_ref(&holder)).is_some());
        assert_eq!(parse(&line(13), &targets(), &[holder]), None);
    }
}
