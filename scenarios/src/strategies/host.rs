//! What a strategy needs of the machine beside SQLite. Each medium of the lab implements it.

use crate::clocked_os::ClockedOs;
use seawall_harness::clock::Clock;
use seawall_harness::runtime;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

/// The machine on which a strategy runs.
pub trait Host: fmt::Debug + Send + Sync {
    /// Unlinks a file.
    ///
    /// # Errors
    /// If there is no such file, or the process is dead.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder and its parents.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Copies a file.
    ///
    /// # Errors
    /// As for [`Self::remove_file`].
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Overwrites a part of a file.
    ///
    /// # Errors
    /// As for [`Self::remove_file`]; also if the part is not within the file.
    fn overwrite(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// A number that no other file of the machine has now; `None` if there is no such file.
    fn file_number(&self, path: &Path) -> Option<u64>;

    /// The system interface of the connection layer on this machine.
    fn layer_os(&self, clock: &Clock) -> LayerOs;
}

/// A system interface for one of the two builds of the connection layer.
pub enum LayerOs {
    /// The crate as it is built for production.
    Real(Arc<dyn seawall::Os>),
    /// The same sources with the simulator's locks.
    Simulated(Arc<dyn seawall_simulated::Os>),
}

/// A process of the real machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealHost;

impl Host for RealHost {
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::copy(from, to).map(drop)
    }

    fn overwrite(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.write_all_at(bytes, at)
    }

    fn file_number(&self, path: &Path) -> Option<u64> {
        fs::metadata(path).ok().map(|file| file.ino())
    }

    fn layer_os(&self, clock: &Clock) -> LayerOs {
        let pid = u32::from(runtime::current_actor().process);
        LayerOs::Real(Arc::new(ClockedOs::new(clock.clone(), pid)))
    }
}
