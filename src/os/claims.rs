//! Claims of identities: shared locks on bytes of a file, held by the open file description.
//!
//! POSIX drops all of a process's locks on a file when the process closes any descriptor of it. A claim does not go
//! that way: it lasts until it is given back or the process ends. It costs one descriptor, and two calls of `fcntl` for
//! each byte.

use crate::ffi;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// The claims of one holder in a file that all holders share. Dropping it gives them back.
pub trait ClaimFile: Send {
    /// Claims these bytes, beside others who claim them, and gives back what was claimed before.
    fn claim(&self, bytes: &[u64]) -> io::Result<()>;

    /// Whether another holder claims one of so many bytes from `from` on.
    fn is_claimed_elsewhere(&self, from: u64, length: u64) -> io::Result<bool>;
}

struct SystemClaims(File);

pub(super) fn open(path: &Path) -> io::Result<Box<dyn ClaimFile>> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(Box::new(SystemClaims(File::from(rustix::fs::open(path, flags, Mode::empty())?))))
}

impl ClaimFile for SystemClaims {
    fn claim(&self, bytes: &[u64]) -> io::Result<()> {
        ffi::unlock_bytes(self.0.as_fd(), 0, 0)?;
        for &byte in bytes {
            if !ffi::lock_byte(self.0.as_fd(), byte)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }

    fn is_claimed_elsewhere(&self, from: u64, length: u64) -> io::Result<bool> {
        if length == 0 { Ok(false) } else { ffi::is_locked_elsewhere(self.0.as_fd(), from, length) }
    }
}

impl Drop for SystemClaims {
    fn drop(&mut self) {
        // A child between fork and exec has a copy of the descriptor, which would keep the locks.
        let _ = ffi::unlock_bytes(self.0.as_fd(), 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_claim_survives_the_closing_of_another_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert!(open(&path).is_err(), "it is not created");
        File::create(&path).unwrap();
        let [mine, other] = [(); 2].map(|()| open(&path).unwrap());
        mine.claim(&[7 << 40, 9]).unwrap();
        other.claim(&[7 << 40]).unwrap();
        drop(File::open(&path).unwrap());
        assert!(other.is_claimed_elsewhere(7 << 40, 1).unwrap());
        assert!(other.is_claimed_elsewhere(0, 10).unwrap() && !other.is_claimed_elsewhere(10, 1 << 40).unwrap());
        mine.claim(&[9]).unwrap();
        assert!(!other.is_claimed_elsewhere(7 << 40, 1).unwrap(), "given back");
        drop(mine);
        assert!(!other.is_claimed_elsewhere(0, 1 << 50).unwrap());
    }
}
