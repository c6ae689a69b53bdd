//! What a killed process's code does until it notices.
//!
//! A real process that is killed does nothing more. A simulated one is a coroutine with frames of C on its stack, which
//! cannot be unwound, so it runs on: each of its calls fails until it has given up. Its files have no effect any more,
//! but the wal-index is plain memory, and SQLite writes into it without any call.
//!
//! # Fault model
//! What a dead process's code writes into shared memory is undone before a living one runs: when control goes from the
//! living to the dead, the wal-indexes that the dead still see are copied, and when it comes back the copies are put in
//! place. Control changes hands at a call, or where the scheduler says so with
//! [`Machine::resume`](super::Machine::resume). The dead see the memory of the living, which does no harm.

use super::disk::{Disk, InodeId};
use super::files::OpenFile;

/// The memory of the living while the dead run.
#[derive(Debug, Default)]
pub(super) struct DeadProcess {
    are_walking: bool,
    saved: Vec<(InodeId, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
}

impl DeadProcess {
    /// From here on the code of dead processes runs.
    pub(super) fn enter(&mut self, disk: &Disk, files: &[OpenFile]) {
        if self.are_walking {
            return;
        }
        self.are_walking = true;
        for inode in files.iter().filter_map(|file| file.shm_remains) {
            if self.saved.iter().all(|(saved, _)| *saved != inode) {
                let mut copy = self.spare.pop().unwrap_or_default();
                copy.clear();
                copy.append(&mut disk.bytes(inode).to_vec());
                self.saved.push((inode, copy));
            }
        }
    }

    /// From here on the living run.
    pub(super) fn leave(&mut self, disk: &mut Disk) {
        if !self.are_walking {
            return;
        }
        self.are_walking = false;
        for (inode, copy) in self.saved.drain(..) {
            // The dead can close their files meanwhile, and with the last of them the inode.
            let size = disk.size(inode).min(copy.len() as u64) as usize;
            // The bytes are there already, so there is room for them.
            let _ = disk.write(inode, 0, &copy[..size]);
            self.spare.push(copy);
        }
    }

    pub(super) fn reset(&mut self) {
        self.are_walking = false;
        self.spare.extend(self.saved.drain(..).map(|(_, copy)| copy));
    }
}
