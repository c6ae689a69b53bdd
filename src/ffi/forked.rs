//! Child processes without `exec`: forked, waited for, ended.
//!
//! The C contracts relied upon:
//!
//! - `fork(2)` in a process of many threads (POSIX, signal-safety(7)): the child has one thread and may call
//!   async-signal-safe functions until it ends. `write` and `_exit` are such.
//! - `close_range(2)` (Linux 5.9) is a system call and nothing else; an older kernel answers ENOSYS. Closing the copy
//!   of a descriptor in the child drops none of the parent's locks: those of `fcntl` belong to a process, and those of
//!   an open file description stay as long as one descriptor of it is open.
//! - `waitpid(2)` waits for a child of this process; a NULL status is allowed.

use std::ffi::CString;
use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::ptr;

/// The last descriptor that is closed where the kernel closes no ranges.
const OLD_KERNEL_FILES_MAX: RawFd = 65_535;

/// The path as C has it.
pub(super) fn c_string(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Forks. The body runs in the child, with the end of the pipe for its answer; it must call nothing but what a signal
/// handler may call. The child ends with it. Of the parent's descriptors it has the standard ones and the one that is
/// named: else it would be taken for a process that uses the databases which the parent has open.
pub(super) fn fork_with(needed: Option<RawFd>, body: impl FnOnce(RawFd)) -> io::Result<(PipeReader, libc::pid_t)> {
    let (reader, writer) = io::pipe()?;
    // SAFETY: the child runs `body` alone, which by the contract calls async-signal-safe functions only, and ends.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            close_all_but(writer.as_raw_fd(), needed.unwrap_or(writer.as_raw_fd()));
            body(writer.as_raw_fd());
            exit()
        }
        child => Ok((reader, child)),
    }
}

/// In the child: closes all descriptors but the standard ones and these.
fn close_all_but(one: RawFd, other: RawFd) {
    let (low, high) = (one.min(other), one.max(other));
    for (first, last) in [(3, low - 1), (3.max(low + 1), high - 1), (3.max(high + 1), RawFd::MAX)] {
        // SAFETY: in the child, whose body uses none of these; its copies of what owns them are never dropped.
        if first <= last && unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
            for file in first..=last.min(OLD_KERNEL_FILES_MAX) {
                // SAFETY: as above.
                unsafe { libc::close(file) };
            }
        }
    }
}

/// Waits until a child is gone.
pub(super) fn wait_for(child: libc::pid_t) {
    loop {
        // SAFETY: waits for a child of this process; a NULL status is allowed.
        let waited = unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
        // Anything but an interruption means that the child is gone, even if another thread has waited for it.
        if waited == child || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
}

/// Sends bytes to the parent. If that cannot be done, the parent finds nothing.
pub(super) fn send(pipe: RawFd, bytes: &[u8]) {
    // SAFETY: the buffer is valid for that many bytes.
    unsafe { libc::write(pipe, bytes.as_ptr().cast(), bytes.len()) };
}

fn exit() -> ! {
    // SAFETY: ends the child at once, without running anything of the parent's.
    unsafe { libc::_exit(0) }
}
