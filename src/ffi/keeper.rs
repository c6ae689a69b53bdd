//! Child processes that lock or copy a file which this process may have open through SQLite.
//!
//! The C contracts relied upon, beside those of the module above:
//!
//! - `fstat`, `lseek`, `pread`, `pwrite`, `ftruncate`, `fcntl`, `read`, `close` and `kill` are system calls without
//!   state in the C library, so a child of a process of many threads may make them (signal-safety(7)).
//! - `lseek(fd, at, SEEK_DATA)` gives the next offset with data, or ENXIO where there is none; `SEEK_HOLE` gives the
//!   end of that data. A file system without holes answers as if all were data, or EINVAL.
//! - A lock of `fcntl` belongs to the process that took it. It ends with the process, or when the process closes any
//!   descriptor of the file. The child closes none.

use super::forked::{c_string, fork_with, send, wait_for};
use std::ffi::{CStr, c_int};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

/// The bytes that SQLite locks in a database file: PENDING, RESERVED, and the range for SHARED and EXCLUSIVE.
const DATABASE_LOCKS: (i64, i64) = (0x4000_0000, 512);
/// The bytes that SQLite locks in a `-shm`, that of connections included.
const WAL_INDEX_LOCKS: (i64, i64) = (120, 9);
/// What a child copies at a time. It lies on the stack, since a child must not allocate.
const CHUNK_BYTES: usize = 1 << 16;
const ANSWER_BYTES: usize = size_of::<c_int>();

/// Which locks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockRange {
    /// All of a database file, as for EXCLUSIVE.
    Database,
    /// All of a `-shm`.
    WalIndex,
}

/// A file that a child process holds locked against all connections, of this process as well, until this is dropped.
#[derive(Debug)]
pub(crate) struct LockedFile {
    child: libc::pid_t,
    /// The child ends when this does, so it does not outlive a process that is killed.
    _lifeline: PipeWriter,
}

impl LockedFile {
    /// Locks the file against readers and writers, without waiting. `None` if a connection of any process has a lock.
    pub(crate) fn take(path: &Path, range: LockRange) -> io::Result<Option<LockedFile>> {
        let name = c_string(path)?;
        let (lifeline, writer) = io::pipe()?;
        // It has no copy of the writing end, which would keep the lifeline open for ever.
        let lifeline = lifeline.as_raw_fd();
        let (answer, child) = fork_with(Some(lifeline), |answer| lock_and_wait(&name, range, lifeline, answer))?;
        let locked = LockedFile { child, _lifeline: writer };
        match answered(answer) {
            Ok(()) => Ok(Some(locked)),
            // Both are allowed for a lock that is held (fcntl(2)). A right that is missing is told by `open`.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The child process, which is a holder of the file like others.
    pub(crate) fn pid(&self) -> u32 {
        self.child.unsigned_abs()
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // SAFETY: the child was made by this process and is not waited for anywhere else.
        unsafe { libc::kill(self.child, libc::SIGKILL) };
        wait_for(self.child);
    }
}

/// Copies a whole file into another one, which is empty. Holes stay holes. The file that is read may be one that this
/// process has open through SQLite, and may change meanwhile.
pub(crate) fn copy_in_child(from: &Path, to: BorrowedFd<'_>) -> io::Result<()> {
    let name = c_string(from)?;
    let to = to.as_raw_fd();
    let (answer, child) = fork_with(Some(to), |answer| tell(answer, errno_of(copy(&name, to))))?;
    let result = answered(answer);
    wait_for(child);
    result
}

/// The child's answer. A child that is killed gives none.
fn answered(mut reader: PipeReader) -> io::Result<()> {
    let mut errno = [0; ANSWER_BYTES];
    match reader.read_exact(&mut errno) {
        Ok(()) => match c_int::from_ne_bytes(errno) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
        Err(_) => Err(io::Error::other("the child process ended without an answer")),
    }
}

/// In the child: opens, locks, answers, and waits until the parent lets go.
fn lock_and_wait(name: &CStr, range: LockRange, lifeline: RawFd, answer: RawFd) {
    match open_regular(name, libc::O_RDWR).and_then(|file| lock(file, range)) {
        Ok(()) => tell(answer, 0),
        Err(error) => return tell(answer, errno_of(Err(error))),
    }
    let mut byte = 0_u8;
    loop {
        // SAFETY: the place is valid for one byte.
        let read = unsafe { libc::read(lifeline, (&raw mut byte).cast(), 1) };
        if read != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
}

fn lock(file: RawFd, range: LockRange) -> io::Result<()> {
    let (start, length) = match range {
        LockRange::Database => DATABASE_LOCKS,
        LockRange::WalIndex => WAL_INDEX_LOCKS,
    };
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: length as libc::off_t,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the command reads a `flock`, which lives here.
    match unsafe { libc::fcntl(file, libc::F_SETLK, &raw const lock) } {
        -1 => match io::Error::last_os_error().raw_os_error() {
            Some(libc::EACCES | libc::EAGAIN) => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
            _ => Err(io::Error::last_os_error()),
        },
        _ => Ok(()),
    }
}

/// Opens a file that is a regular one; a pipe or a device in its place is not waited for.
fn open_regular(name: &CStr, access: c_int) -> io::Result<RawFd> {
    let flags = access | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
    // SAFETY: the name ends with a zero byte; without O_CREAT there is no third argument.
    let file = unsafe { libc::open(name.as_ptr(), flags) };
    if file == -1 {
        return Err(io::Error::last_os_error());
    }
    let status = status(file)?;
    if status.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(file)
}

fn status(file: RawFd) -> io::Result<libc::stat> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the descriptor is open, and the place is valid for a `stat`.
    if unsafe { libc::fstat(file, status.as_mut_ptr()) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all fields are numbers, which were zeroed and then written.
    Ok(unsafe { status.assume_init() })
}

fn copy(name: &CStr, to: RawFd) -> io::Result<()> {
    let from = open_regular(name, libc::O_RDONLY)?;
    let length = status(from)?.st_size;
    let mut at = 0;
    while at < length {
        let Some((start, end)) = next_data(from, at, length)? else { break };
        at = copy_range(from, to, start, end)?;
        if at < end {
            // Cut off meanwhile.
            break;
        }
    }
    // SAFETY: the descriptor is open for writing.
    if unsafe { libc::ftruncate(to, length) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Where the next data is; `None` if only a hole is left.
fn next_data(file: RawFd, at: i64, length: i64) -> io::Result<Option<(i64, i64)>> {
    // SAFETY: the descriptor is open; its offset is used by nothing else.
    let start = unsafe { libc::lseek(file, at, libc::SEEK_DATA) };
    if start == -1 {
        return match io::Error::last_os_error().raw_os_error() {
            Some(libc::ENXIO) => Ok(None),
            Some(libc::EINVAL | libc::EOPNOTSUPP) => Ok(Some((at, length))),
            _ => Err(io::Error::last_os_error()),
        };
    }
    // SAFETY: as above.
    let end = unsafe { libc::lseek(file, start, libc::SEEK_HOLE) };
    Ok(Some((start, if end > start { end.min(length) } else { length })))
}

/// Copies up to `end`, or to the end of the file if that comes first. Returns how far it came.
fn copy_range(from: RawFd, to: RawFd, start: i64, end: i64) -> io::Result<i64> {
    let mut chunk = [0_u8; CHUNK_BYTES];
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        // SAFETY: the buffer is valid for that many bytes.
        let read = retry(|| unsafe { libc::pread(from, chunk.as_mut_ptr().cast(), wanted, at) })?;
        if read == 0 {
            break;
        }
        let mut written = 0;
        while written < read {
            let rest = chunk.get(written..read).unwrap_or_default();
            let place = at + written as i64;
            // SAFETY: the buffer is valid for as many bytes as it has.
            written += retry(|| unsafe { libc::pwrite(to, rest.as_ptr().cast(), rest.len(), place) })?;
        }
        at += read as i64;
    }
    Ok(at)
}

fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(bytes) => return Ok(bytes),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
}

fn errno_of(result: io::Result<()>) -> c_int {
    result.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO))
}

fn tell(answer: RawFd, errno: c_int) {
    send(answer, &errno.to_ne_bytes());
}
