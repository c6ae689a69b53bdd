//! The few system calls that the standard library does not offer, each behind a safe function.
//!
//! Contracts relied upon (POSIX.1-2017, Linux man-pages 6.x): `mmap` with `MAP_SHARED` on a regular file of at least
//! `length` bytes returns a page-aligned address that is readable and writable for `length` bytes until `munmap`;
//! `clock_gettime` with `CLOCK_MONOTONIC` fills the structure and is the same clock in every process of the machine;
//! `kill` has no memory effects; `fork` copies the process with the calling thread alone.
#![expect(unsafe_code, reason = "an FFI module")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A region of shared memory, seen as 64-bit atomics. Processes that map the same file see each other's stores.
#[derive(Debug)]
pub(crate) struct SharedWords {
    address: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the region is only ever reached as `&[AtomicU64]`, and atomics may be shared and sent between threads; the
// mapping belongs to the process, not to a thread.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps the first `words * 8` bytes of `file`, which is grown to that size if it is shorter.
    ///
    /// # Errors
    /// What `ftruncate` or `mmap` returned; `InvalidInput` for zero words.
    pub(crate) fn map(file: &File, words: usize) -> io::Result<Self> {
        if words == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a shared region needs at least one word"));
        }
        let bytes = words * size_of::<AtomicU64>();
        if file.metadata()?.len() < bytes as u64 {
            reserve(file, bytes)?;
        }
        // SAFETY: a null hint lets the kernel choose the address; the descriptor is open for the duration of the call
        // (borrowed from `file`), and the file has at least `bytes` bytes. The result is checked before use.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        Ok(Self { address, words })
    }

    /// The region's words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `map` got this address and length from mmap; it is page-aligned, zero-filled or written through
        // atomics only, and stays mapped until `drop`, which the returned borrow outlives not. Every bit pattern is a
        // valid AtomicU64.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.words) }
    }
}

/// Grows a file to this size and takes up the room at once: a process that touches a page of a sparse file for which
/// the disk has no room is killed (SIGBUS).
fn reserve(file: &File, bytes: usize) -> io::Result<()> {
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the duration of the call (borrowed from `file`), and no memory is involved.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: exactly the region that `map` created; no borrow of it can be alive, since `drop` has the only
        // reference. A failure would leave the region mapped, which is harmless.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.words * size_of::<AtomicU64>()) };
    }
}

/// Nanoseconds on `CLOCK_MONOTONIC`; comparable between processes of one machine.
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec. The call cannot fail for CLOCK_MONOTONIC on Linux and macOS; if it
    // did, the zeroes stay.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Ends this process at once, as the kernel's out-of-memory killer or `kill -9` would: no destructors, no flushing.
pub(crate) fn kill_self() -> ! {
    // SAFETY: signalling oneself has no memory effects.
    let pid = unsafe { libc::getpid() };
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    // SIGKILL to oneself is delivered before kill returns (POSIX); abort is for a system that delays it.
    std::process::abort()
}

/// Stops this process until another one sends it `SIGCONT`.
pub(crate) fn stop_self() {
    // SAFETY: signalling oneself has no memory effects.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Makes a child process that keeps what this process has open for so long, and then ends without running any code of
/// the program.
pub(crate) fn fork_and_linger(time: std::time::Duration) {
    let pause = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(1),
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: the child of a process with threads may call async-signal-safe functions only (POSIX, fork); it calls
    // nanosleep and _exit, which are.
    if unsafe { libc::fork() } == 0 {
        // SAFETY: `pause` is a valid timespec; the remainder is not asked for.
        unsafe { libc::nanosleep(&raw const pause, std::ptr::null_mut()) };
        // SAFETY: ends the child at once, without destructors.
        unsafe { libc::_exit(0) };
    }
}

/// Clears `errno` for the calling thread or sets it, so that a caller that looks at it sees what an injected failure
/// would have left.
pub(crate) fn set_errno(errno: i32) {
    // SAFETY: the function returns the address of the calling thread's errno, valid for the thread's life.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: see above; no other thread can reach this location.
    unsafe { *location = errno };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn two_mappings_of_one_file_see_each_other() {
        let file = tempfile::tempfile().unwrap();
        let one = SharedWords::map(&file, 100).unwrap();
        let two = SharedWords::map(&file, 100).unwrap();
        one.words()[99].store(7, Ordering::Relaxed);
        assert_eq!(two.words()[99].load(Ordering::Relaxed), 7);
        assert!(SharedWords::map(&file, 0).is_err());
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let before = monotonic_ns();
        assert!(monotonic_ns() >= before);
        assert!(before > 0);
    }
}
