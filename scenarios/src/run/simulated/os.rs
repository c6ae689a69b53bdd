//! The system interface of the connection layer, on the simulated machine.

use super::environment;
use seawall_harness::runtime;
use seawall_simulated::Os;
use seawall_simulated::os::{ClaimFile, FileId, FileKind, FileLock, FileStatus, Holders, Rights};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The machine has one disk.
const DEVICE: u64 = 1;

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
        let of = |inode, kind, bytes, links, modified| FileStatus {
            id: FileId { device: DEVICE, inode },
            kind,
            bytes,
            links,
            modified: Duration::from_nanos(modified),
        };
        if path == Path::new(super::FOLDER) {
            return Ok(Some(of(u64::MAX, FileKind::Directory, 0, 1, 0)));
        }
        let file = environment::file(path)?;
        let links = environment::look(|machine| u64::from(machine.links(&path.to_string_lossy())))?;
        Ok(file.map(|(inode, bytes, modified)| of(inode, FileKind::File, bytes, links, modified)))
    }

    fn born(&self, path: &Path) -> Option<Duration> {
        let [born, ..] = environment::look(|machine| machine.changes(&path.to_string_lossy())).ok()??;
        Some(Duration::from_nanos(born))
    }

    fn changed(&self, path: &Path) -> Option<Duration> {
        let [.., changed] = environment::look(|machine| machine.changes(&path.to_string_lossy())).ok()??;
        Some(Duration::from_nanos(changed))
    }

    fn names_left(&self, id: FileId) -> Option<u64> {
        environment::look(|machine| u64::from(machine.name_of(id.inode).is_some())).ok()
    }

    fn name_of(&self, id: FileId) -> Option<PathBuf> {
        environment::look(|machine| machine.name_of(id.inode)).ok()?.map(PathBuf::from)
    }

    fn has_open(&self, ids: &[FileId]) -> Option<bool> {
        let process = runtime::current_actor().process;
        environment::look(|machine| ids.iter().all(|id| machine.holders(id.inode).contains(&process))).ok()
    }

    fn holders(&self, ids: &[FileId]) -> io::Result<Holders> {
        let process = runtime::current_actor().process;
        environment::look(|machine| {
            let mut holders = Holders::default();
            for holder in ids.iter().flat_map(|id| machine.holders(id.inode)) {
                match holder == process {
                    true => holders.own_descriptors += 1,
                    false => holders.pids.push(u32::from(holder)),
                }
            }
            holders.pids.sort_unstable();
            holders.pids.dedup();
            holders
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        environment::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        environment::rename_new(from, to)
    }

    fn read_prefix(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = environment::look(|machine| machine.file(&path.to_string_lossy()))?;
        let mut bytes = file.ok_or(io::ErrorKind::NotFound)?;
        bytes.truncate(usize::try_from(bytes_max).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        environment::overwrite(path, bytes)
    }

    /// The machine has no owners.
    fn create_new(&self, path: &Path, _rights: Rights) -> io::Result<()> {
        environment::create_new(path)
    }

    fn try_lock_file(&self, path: &Path, _like: &Path) -> io::Result<Option<FileLock>> {
        Ok(environment::try_lock_file(path)?.map(|held| Box::new(held) as FileLock))
    }

    fn open_claims(&self, path: &Path) -> io::Result<Box<dyn ClaimFile>> {
        Ok(Box::new(environment::open_claims(path)?))
    }
}
