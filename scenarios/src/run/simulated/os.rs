//! The system interface of the connection layer, on the simulated machine.

use super::environment;
use seawall_harness::runtime;
use seawall_simulated::Os;
use seawall_simulated::os::{FileId, FileKind, FileLock, FileStatus, Rights};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SimulatedOs;

impl Os for SimulatedOs {
    fn now(&self) -> Duration {
        environment::clock().map(|clock| clock.now()).unwrap_or_default()
    }

    fn sleep(&self, pause: Duration) {
        // In a dead process no code waits: it must reach its end.
        if let Some(clock) = environment::clock().filter(|_| !environment::is_dead()) {
            clock.sleep(pause);
        }
    }

    fn pid(&self) -> u32 {
        u32::from(runtime::current_actor().process)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        // The machine has no links, and its names are absolute. Its one folder is always there.
        let found = path == Path::new(super::FOLDER) || environment::exists(path)?;
        found.then(|| path.to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn thread(&self) -> u64 {
        let actor = runtime::current_actor();
        u64::from(actor.process) << 16 | u64::from(actor.thread)
    }

    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        let id = |inode| FileId { device: 1, inode };
        if path == Path::new(super::FOLDER) {
            return Ok(Some(FileStatus { id: id(u64::MAX), kind: FileKind::Directory, bytes: 0, links: 1 }));
        }
        let file = environment::file(path)?;
        Ok(file.map(|(inode, bytes)| FileStatus { id: id(inode), kind: FileKind::File, bytes, links: 1 }))
    }

    /// The machine has no owners. SQLite creates what is missing.
    fn create_new(&self, _path: &Path, _rights: Rights) -> io::Result<()> {
        Ok(())
    }

    fn try_lock_file(&self, path: &Path, _like: &Path) -> io::Result<Option<FileLock>> {
        Ok(environment::try_lock_file(path)?.map(|held| Box::new(held) as FileLock))
    }
}
