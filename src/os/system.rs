//! The system that the process runs on.

use super::{
    ClaimFile, FileId, FileKind, FileLock, FileStatus, FileSystem, Holders, Os, Rights, claims, evidence, holders,
    lock_table, rights,
};
use crate::ffi;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The system the process runs on.
#[derive(Clone, Debug)]
pub struct SystemOs {
    start: Instant,
}

impl SystemOs {
    /// A system whose clock starts at zero now.
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
        ffi::pid()
    }

    fn thread(&self) -> u64 {
        thread_local!(static MARK: u8 = const { 0 });
        // Two live threads never have the same variable at the same address.
        MARK.with(|mark| std::ptr::from_ref(mark).addr() as u64)
    }

    fn descriptors_max(&self) -> Option<u64> {
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        match rustix::fs::stat(path) {
            Ok(stat) => Ok(Some(FileStatus {
                id: FileId { device: stat.st_dev, inode: stat.st_ino },
                kind: match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
                    rustix::fs::FileType::RegularFile => FileKind::File,
                    rustix::fs::FileType::Directory => FileKind::Directory,
                    _ => FileKind::Special,
                },
                bytes: stat.st_size.cast_unsigned(),
                links: stat.st_nlink,
                modified: since_1970(stat.st_mtime, stat.st_mtime_nsec),
            })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn rights(&self, path: &Path) -> io::Result<Option<Rights>> {
        Rights::of_path(path)
    }

    fn rights_of_open(&self, id: FileId) -> Option<Rights> {
        let entries = fs::read_dir("/proc/self/fd").ok()?;
        let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let path = paths.find(|path| self.status(path).is_ok_and(|found| found.is_some_and(|file| file.id == id)))?;
        Rights::of_path(&path).ok()?
    }

    fn create_new(&self, path: &Path, rights: Rights) -> io::Result<()> {
        rights::create_new(path, rights).map(drop)
    }

    fn widen_mode(&self, path: &Path, like: Rights) -> io::Result<()> {
        rights::widen(path, like)
    }

    fn create_dir(&self, path: &Path, rights: Rights) -> io::Result<()> {
        rights::create_dir(path, rights)
    }

    fn try_lock_file(&self, path: &Path, like: &Path) -> io::Result<Option<FileLock>> {
        // The layer never removes the file: a lock on an unlinked file excludes no process.
        let file = rights::open_lock_file(path, like)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(HeldLock { file, pid: self.pid() }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_holder(&self, path: &Path) -> Option<u32> {
        let id = self.status(path).ok()??.id;
        let (major, minor) = (rustix::fs::major(id.device), rustix::fs::minor(id.device));
        let name = format!("{major:02x}:{minor:02x}:{}", id.inode);
        let locks = lock_table().ok()?;
        let mut holders = locks.lines().filter_map(|line| {
            // "1: FLOCK  ADVISORY  WRITE 29319 fe:00:10014831 0 EOF"; those who wait have "->" in the second place.
            let mut words = line.split_ascii_whitespace().skip(1);
            (words.next()? == "FLOCK").then_some(())?;
            let pid = words.nth(2)?;
            (words.next()? == name).then(|| pid.parse().ok())?
        });
        holders.next()
    }

    fn names_left(&self, id: FileId) -> Option<u64> {
        // The entries lead to the open files themselves, with or without names, and looking at them opens nothing.
        let entries = fs::read_dir("/proc/self/fd").ok()?;
        let statuses = entries.filter_map(|entry| self.status(&entry.ok()?.path()).ok()?);
        statuses.into_iter().find(|status| status.id == id).map(|status| status.links)
    }

    fn name_of(&self, id: FileId) -> Option<PathBuf> {
        let links = open_files().filter(|(_, open)| *open == id).filter_map(|(entry, _)| fs::read_link(entry).ok());
        // A file without a name has the old one, with an addition; and names are those of the moment.
        links.into_iter().find(|name| self.status(name).ok().flatten().is_some_and(|file| file.id == id))
    }

    fn has_open(&self, ids: &[FileId]) -> Option<bool> {
        fs::read_dir("/proc/self/fd").ok()?;
        let mut missing = ids.to_vec();
        open_files().find(|(_, open)| {
            missing.retain(|id| id != open);
            missing.is_empty()
        });
        Some(missing.is_empty())
    }

    fn born(&self, path: &Path) -> Option<Duration> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::BTIME).ok()?;
        let is_known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        is_known.then(|| since_1970(stat.stx_btime.tv_sec, u64::from(stat.stx_btime.tv_nsec)))
    }

    fn changed(&self, path: &Path) -> Option<Duration> {
        let stat = rustix::fs::stat(path).ok()?;
        Some(since_1970(stat.st_ctime, stat.st_ctime_nsec))
    }

    fn open_claims(&self, path: &Path) -> io::Result<Box<dyn ClaimFile>> {
        claims::open(path)
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        evidence::overwrite(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn file_system(&self, path: &Path) -> Option<FileSystem> {
        let stat = rustix::fs::statfs(path).ok()?;
        let (kind, is_network) = file_system_kind(stat.f_type.cast_unsigned() & 0xffff_ffff);
        Some(FileSystem { kind, is_network, free_bytes: stat.f_bavail.saturating_mul(stat.f_bsize.cast_unsigned()) })
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        evidence::rename_new(from, to)
    }

    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
    }

    fn list_dir(&self, path: &Path, entries_max: usize) -> io::Result<Vec<PathBuf>> {
        evidence::list_dir(path, entries_max)
    }

    fn read_prefix(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        evidence::read_prefix(path, bytes_max)
    }

    fn write_durably(&self, path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
        evidence::write_durably(path, bytes, rights)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        evidence::sync_dir(path)
    }

    fn sha256(&self, path: &Path) -> io::Result<String> {
        evidence::sha256(path)
    }

    fn same_bytes(&self, a: &Path, b: &Path) -> io::Result<bool> {
        evidence::same_bytes(a, b)
    }

    fn modified(&self, path: &Path) -> io::Result<Duration> {
        evidence::modified(path)
    }

    fn holders(&self, ids: &[FileId]) -> io::Result<Holders> {
        holders::holders_of(ids, ffi::pid())
    }

    fn lock_lines(&self, ids: &[FileId]) -> io::Result<Vec<String>> {
        holders::lock_lines(ids)
    }
}

/// The descriptors of this process, as names below `/proc`, and the files behind them. The entries lead to the open
/// files themselves, with or without names, and looking at them opens nothing.
/// A lock on a file. A child between fork and exec, or one that does not exec, has a copy of the descriptor, which
/// would keep the lock. So it is given back, and not only closed; in such a child, it is the parent's.
struct HeldLock {
    file: File,
    pid: u32,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if self.pid == ffi::pid() {
            // Closing it gives it back as well.
            let _ = self.file.unlock();
        }
    }
}

fn open_files() -> impl Iterator<Item = (PathBuf, FileId)> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let stat = rustix::fs::stat(entry.path()).ok()?;
        Some((entry.path(), FileId { device: stat.st_dev, inode: stat.st_ino }))
    })
}

fn since_1970(seconds: i64, nanoseconds: u64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)) + Duration::from_nanos(nanoseconds)
}

/// The magic numbers of `statfs(2)`.
fn file_system_kind(magic: u64) -> (String, bool) {
    let (name, is_network) = match magic {
        0xef53 => ("ext2/ext3/ext4", false),
        0x0102_1994 => ("tmpfs", false),
        0x5846_5342 => ("xfs", false),
        0x9123_683e => ("btrfs", false),
        0x794c_7630 => ("overlayfs", false),
        0xf2f5_2010 => ("f2fs", false),
        0x2fc1_2fc1 => ("zfs", false),
        0x4d44 => ("vfat", false),
        0x2011_bab0 => ("exfat", false),
        0x6969 => ("nfs", true),
        0xff53_4d42 => ("cifs", true),
        0xfe53_4d42 => ("smb2", true),
        0x6573_5546 => ("fuse", true),
        0x0102_1997 => ("9p", true),
        0x00c3_6400 => ("ceph", true),
        other => return (format!("{other:#x}"), false),
    };
    (name.to_owned(), is_network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_has_one_holder_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let os = SystemOs::new();

        let held = os.try_lock_file(&path, &path).unwrap();
        assert!(held.is_some());
        assert!(os.try_lock_file(&path, &path).unwrap().is_none());
        assert_eq!(os.lock_holder(&path), Path::new("/proc/locks").exists().then(std::process::id));
        drop(held);
        assert_eq!(os.lock_holder(&path), None);
        assert!(os.try_lock_file(&path, &path).unwrap().is_some());
        assert!(path.exists());
    }

    #[test]
    fn a_lock_is_given_back_though_a_child_has_a_copy_of_the_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let (file, os) = (File::create(&path).unwrap(), SystemOs::new());
        file.try_lock().unwrap();
        let (copy, pid) = (file.try_clone().unwrap(), ffi::pid());
        drop(HeldLock { file: file.try_clone().unwrap(), pid: pid + 1 });
        assert!(os.try_lock_file(&path, &path).unwrap().is_none(), "that of the parent stays");
        drop(HeldLock { file, pid });
        assert!(os.try_lock_file(&path, &path).unwrap().is_some());
        drop(copy);
    }

    #[test]
    fn a_status_identifies_the_file_behind_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let (os, path, link) = (SystemOs::new(), dir.path().join("a"), dir.path().join("b"));
        assert_eq!(os.status(&path).unwrap(), None);
        fs::write(&path, "four").unwrap();
        fs::hard_link(&path, &link).unwrap();
        let status = os.status(&path).unwrap().unwrap();
        assert_eq!((status.kind, status.bytes, status.links), (FileKind::File, 4, 2));
        assert_eq!(os.status(&link).unwrap().unwrap().id, status.id);
        fs::write(dir.path().join("c"), "").unwrap();
        os.rename(&dir.path().join("c"), &path).unwrap();
        assert_ne!(os.status(&path).unwrap().unwrap().id, status.id);
        assert_eq!(os.status(dir.path()).unwrap().unwrap().kind, FileKind::Directory);
        assert!(os.status(&path.join("below")).is_err(), "a file in the place of a directory");
    }

    #[test]
    fn a_thread_has_a_number_of_its_own() {
        let os = SystemOs::new();
        let mine = os.thread();
        assert_eq!(os.thread(), mine);
        let other = std::thread::scope(|scope| scope.spawn(|| os.thread()).join().unwrap());
        assert_ne!(other, mine);
    }

    #[test]
    fn the_file_system_has_a_kind_and_room() {
        let file_system = SystemOs::new().file_system(&std::env::temp_dir()).unwrap();
        assert!(!file_system.kind.is_empty() && file_system.free_bytes > 0, "{file_system:?}");
        assert_eq!(file_system_kind(0x6969), ("nfs".to_owned(), true));
        assert_eq!(file_system_kind(0x1234), ("0x1234".to_owned(), false));
    }
}
