//! Looks at files that this process must not open, by a child process that does nothing else and ends.
//!
//! To close any descriptor of a file drops all locks of `fcntl` that *the closing process* has on it. So a file on
//! which this process may have locks, of whatever library and on whatever thread, is looked at by another process.
//!
//! The C contracts relied upon:
//!
//! - `fork(2)` in a process of many threads (POSIX, signal-safety(7)): the child has one thread and may call
//!   async-signal-safe functions until it ends. `open`, `pread`, `fcntl`, `write` and `_exit` are such. Locks of
//!   `fcntl` are not inherited, and belong to the process that took them, so nothing the child closes releases a lock
//!   of its parent's.
//! - `fcntl(fd, F_GETLK, &flock)` (POSIX) takes no lock. It writes `F_UNLCK` into `l_type` if no lock of another
//!   process is in the way of the one described, else that lock with its owner, 0 or less for one that has none here.

use super::forked::{c_string, fork_with, send, wait_for};
use std::ffi::{CStr, c_int, c_short};
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::path::Path;

/// The most that a child answers, in bytes. With the errno in front it stays below what a pipe takes in one piece, even
/// without a reader (4096 on Linux).
const ANSWER_BYTES_MAX: usize = 4000;
/// The most that [`read_in_child`] brings, in bytes.
const READ_BYTES: usize = 500;
/// The most ranges or pages of one question.
const ITEMS_MAX: usize = 256;
/// A page is read in pieces of this size, so that it fits on the stack.
const PIECE_BYTES: usize = 4096;

/// The first bytes of a file, at most 500.
pub(crate) fn read_in_child(path: &Path) -> io::Result<Vec<u8>> {
    ask(path, |file, answer| read_at(file, &mut answer[..READ_BYTES], 0))
}

/// A hash of each of some stretches of a file, given by their offsets, all of one length; `None` where the file ends
/// before. No more than 256 are looked at.
pub(crate) fn hashes_in_child(path: &Path, offsets: &[u64], bytes: usize) -> io::Result<Vec<Option<u64>>> {
    let offsets = &offsets[..offsets.len().min(ITEMS_MAX)];
    let answer = ask(path, |file, answer| {
        let mut written = 0;
        for (&offset, place) in offsets.iter().zip(answer.as_chunks_mut::<9>().0) {
            place[0] = 0;
            if let Some(hash) = hash_at(file, offset, bytes)? {
                place[0] = 1;
                place[1..].copy_from_slice(&hash.to_ne_bytes());
            }
            written += place.len();
        }
        Ok(written)
    })?;
    let entry = |entry: &[u8; 9]| {
        let hash = entry.last_chunk().copied().map(u64::from_ne_bytes);
        hash.filter(|_| entry[0] == 1)
    };
    Ok(answer.as_chunks().0.iter().map(entry).collect())
}

/// The hash that [`hashes_in_child`] makes (FNV-1a), of bytes that are here.
pub(crate) fn hash(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Where [`hash`] begins.
pub(crate) const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

/// A lock that the kernel names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockFound {
    /// Whether it excludes all others.
    pub(crate) is_write: bool,
    /// Its owner, if it is a process that can be seen from here.
    pub(crate) pid: Option<u32>,
}

/// For each stretch of a file, by first byte and length: a lock of another process or of this one on it, as the kernel
/// says. Takes none. No more than 256 are looked at.
pub(crate) fn locks_in_child(path: &Path, ranges: &[(u64, u64)]) -> io::Result<Vec<Option<LockFound>>> {
    let ranges = &ranges[..ranges.len().min(ITEMS_MAX)];
    let answer = ask(path, |file, answer| {
        let mut written = 0;
        for (&(first, length), place) in ranges.iter().zip(answer.as_chunks_mut::<5>().0) {
            let (kind, pid) = lock_at(file, first, length)?;
            place[0] = kind;
            place[1..].copy_from_slice(&pid.to_ne_bytes());
            written += place.len();
        }
        Ok(written)
    })?;
    let entry = |&[kind, a, b, c, d]: &[u8; 5]| {
        let pid = u32::try_from(i32::from_ne_bytes([a, b, c, d])).ok().filter(|&pid| pid != 0);
        (kind != 0).then_some(LockFound { is_write: kind == 2, pid })
    };
    Ok(answer.as_chunks().0.iter().map(entry).collect())
}

/// What a child answers that opens the file and does the work. In the child: async-signal-safe functions alone, and no
/// memory is allocated.
fn ask(
    path: &Path,
    work: impl FnOnce(RawFd, &mut [u8; ANSWER_BYTES_MAX]) -> Result<usize, c_int>,
) -> io::Result<Vec<u8>> {
    let name = c_string(path)?;
    let (mut reader, child) = fork_with(None, |pipe| answer(&name, pipe, work))?;
    wait_for(child);
    // A child of another thread may have inherited the writing end: this does not wait for its closing.
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK)?;
    let mut message = [0; ANSWER_BYTES_MAX + size_of::<c_int>()];
    let bytes = reader.read(&mut message).unwrap_or(0);
    let Some((errno, content)) = message[..bytes].split_first_chunk() else {
        return Err(io::Error::other("the child process that was to look at the file ended without an answer"));
    };
    match c_int::from_ne_bytes(*errno) {
        0 => Ok(content.to_vec()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// In the child: an errno and what was found, into the pipe.
fn answer(name: &CStr, pipe: RawFd, work: impl FnOnce(RawFd, &mut [u8; ANSWER_BYTES_MAX]) -> Result<usize, c_int>) {
    let mut answer = [0; ANSWER_BYTES_MAX];
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
    // SAFETY: the name ends with a zero byte; without O_CREAT there is no third argument.
    let file = unsafe { libc::open(name.as_ptr(), flags) };
    let result = if file == -1 { Err(errno()) } else { work(file, &mut answer) };
    let (errno, length) = match result {
        Ok(length) => (0, length),
        Err(errno) => (errno, 0),
    };
    let mut message = [0; ANSWER_BYTES_MAX + size_of::<c_int>()];
    message[..size_of::<c_int>()].copy_from_slice(&errno.to_ne_bytes());
    message[size_of::<c_int>()..].copy_from_slice(&answer);
    send(pipe, &message[..size_of::<c_int>() + length]);
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn read_at(file: RawFd, buffer: &mut [u8], offset: u64) -> Result<usize, c_int> {
    let Ok(offset) = libc::off_t::try_from(offset) else { return Ok(0) };
    // SAFETY: the buffer is valid for as many bytes as are asked for.
    let read = unsafe { libc::pread(file, buffer.as_mut_ptr().cast(), buffer.len(), offset) };
    usize::try_from(read).map_err(|_| errno())
}

fn hash_at(file: RawFd, offset: u64, bytes: usize) -> Result<Option<u64>, c_int> {
    let (mut state, mut done) = (HASH_START, 0);
    let mut piece = [0; PIECE_BYTES];
    while done < bytes {
        let wanted = PIECE_BYTES.min(bytes - done);
        let read = read_at(file, &mut piece[..wanted], offset.saturating_add(done as u64))?;
        if read != wanted {
            return Ok(None);
        }
        state = hash(state, &piece[..wanted]);
        done += wanted;
    }
    Ok(Some(state))
}

/// 0, 1 for a lock for reading, or 2 for one for writing; and its owner.
fn lock_at(file: RawFd, first: u64, length: u64) -> Result<(u8, i32), c_int> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as c_short,
        l_whence: libc::SEEK_SET as c_short,
        l_start: libc::off_t::try_from(first).unwrap_or(libc::off_t::MAX),
        l_len: libc::off_t::try_from(length).unwrap_or(0),
        l_pid: 0,
    };
    // SAFETY: the descriptor is open in this child, and `lock` is a valid place of the type that F_GETLK wants.
    if unsafe { libc::fcntl(file, libc::F_GETLK, &raw mut lock) } == -1 {
        return Err(errno());
    }
    let kind = match c_int::from(lock.l_type) {
        kind if kind == c_int::from(libc::F_UNLCK as c_short) => 0,
        kind if kind == c_int::from(libc::F_WRLCK as c_short) => 2,
        _ => 1,
    };
    Ok((kind, lock.l_pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_child_reads_a_file_or_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let not_found = read_in_child(&path).unwrap_err();
        assert_eq!(not_found.kind(), io::ErrorKind::NotFound);
        for length in [0, 1, READ_BYTES, READ_BYTES + 1] {
            let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&content).unwrap();
            assert_eq!(read_in_child(file.path()).unwrap(), content[..length.min(READ_BYTES)]);
        }
        assert!(read_in_child(dir.path()).is_err(), "a folder has no bytes");
        assert!(read_in_child(Path::new("a\0b")).is_err());
    }

    #[test]
    fn a_child_hashes_pages_as_this_process_does() {
        let content: Vec<u8> = (0..20_000_u32).map(|n| (n / 7) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&content).unwrap();
        let found = hashes_in_child(file.path(), &[0, 8192, 16384, u64::MAX], 8192).unwrap();
        let here = |range: std::ops::Range<usize>| Some(hash(HASH_START, &content[range]));
        assert_eq!(found, [here(0..8192), here(8192..16384), None, None]);
        assert_ne!(found[0], found[1]);
        assert_eq!(hashes_in_child(file.path(), &[0; 1000], 512).unwrap().len(), ITEMS_MAX);
    }

    #[test]
    fn the_kernel_names_the_locks_of_this_process_to_a_child() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (x); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").unwrap();
        let ranges = [(0x4000_0000, 1), (0x4000_0001, 1), (0x4000_0002, 510)];
        let found = || locks_in_child(&path, &ranges).unwrap();
        let own = |is_write| Some(LockFound { is_write, pid: Some(crate::ffi::pid()) });
        assert_eq!(found(), [None, own(true), own(false)]);
        assert_eq!(found(), [None, own(true), own(false)], "to ask drops no lock");
        conn.execute_batch("COMMIT").unwrap();
        assert_eq!(found(), [None; 3]);
    }
}
