//! Child processes without `exec`: forked, waited for, ended.
//!
//! The C contracts relied upon:
//!
//! - `fork(2)` in a process of many threads (POSIX, signal-safety(7)): the child has one thread and may call
//!   async-signal-safe functions until it ends. `write` and `_exit` are such.
//! - `waitpid(2)` waits for a child of this process; a NULL status is allowed.

use std::ffi::CString;
use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::ptr;

/// The path as C has it.
pub(super) fn c_string(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Forks. The body runs in the child, with the end of the pipe for its answer and the parent's end; it must call
/// nothing but what a signal handler may call. The child ends with it.
pub(super) fn fork_with(body: impl FnOnce(RawFd, RawFd)) -> io::Result<(PipeReader, libc::pid_t)> {
    let (reader, writer) = io::pipe()?;
    // SAFETY: the child runs `body` alone, which by the contract calls async-signal-safe functions only, and ends.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            body(writer.as_raw_fd(), reader.as_raw_fd());
            exit()
        }
        child => Ok((reader, child)),
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
