//! The files beside SQLite's, on either medium.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::run::simulated::environment;

/// Where a strategy lives, and what it can do to files there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// A process of this machine.
    Real,
    /// A simulated process.
    Simulated,
}

impl Host {
    pub(super) fn remove_file(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Real => fs::remove_file(path),
            Self::Simulated => environment::remove_file(path),
        }
    }

    pub(super) fn create_dir_all(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Real => fs::create_dir_all(path),
            // The folder of the database is always there.
            Self::Simulated => Ok(()),
        }
    }

    pub(super) fn copy(self, from: &Path, to: &Path) -> io::Result<()> {
        match self {
            Self::Real => fs::copy(from, to).map(drop),
            Self::Simulated => environment::copy(from, to),
        }
    }

    /// Overwrites a part of a file.
    pub(super) fn overwrite(self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Real => OpenOptions::new().write(true).open(path)?.write_all_at(bytes, at),
            Self::Simulated => environment::overwrite(path, at, bytes),
        }
    }
}
