//! Which files each process uses together, said in a way that survives the loss of SQLite's locks.
//!
//! A process that opens and closes the database by plain system calls loses all its locks on it, and others then take
//! it for gone. So each process that has a store open also claims its *identity*: database, log and wal-index. It does
//! so by locks of an open file description on bytes of the lock file of first connects. Each of the three files has a
//! range of bytes of its own, and the identity chooses the byte in it. So a process that is about to use one of the
//! files can ask whether another process uses it *with other files beside it*, which must never be.
//!
//! A claim costs one descriptor for each open database, and for each opening of a writer some ten calls of `fcntl`.
//! There are no claims where there is no lock file (`first_connect_wait(None)`), on network file systems, where `flock`
//! and `fcntl` are one, and on systems without such locks.

use super::files::{Identity, Names};
use crate::os::{ClaimFile, FileId, Os};
use std::io;
use std::path::Path;

/// How many bytes stand for one file.
const RANGE_BYTES: u64 = 1 << 20;
/// Ranges to choose from. All offsets stay positive as the system counts them.
const RANGES: u64 = 1 << 40;

/// The claim of this process.
pub(crate) struct Claim {
    file: Box<dyn ClaimFile>,
    /// Whether anything is claimed.
    identity: Option<Identity>,
}

/// Files that may be used together: those that are there.
type Parts = [Option<FileId>; 3];

impl Claim {
    /// Claims nothing yet. `None` where there can be no claims.
    pub(super) fn open(lock_path: &Path, os: &dyn Os) -> Option<Claim> {
        if os.file_system(lock_path).is_some_and(|file_system| file_system.is_network) {
            return None;
        }
        os.open_claims(lock_path).ok().map(|file| Claim { file, identity: None })
    }

    /// Claims this identity and gives back another one.
    pub(super) fn take(&mut self, identity: &Identity) -> io::Result<()> {
        if self.identity.as_ref() != Some(identity) {
            self.file.claim(&bytes(&parts(identity)))?;
            self.identity = Some(*identity);
        }
        Ok(())
    }

    /// Gives back what is claimed.
    pub(super) fn release(&mut self) {
        if self.identity.take().is_some() {
            // What cannot be given back now ends with the process.
            let _ = self.file.claim(&[]);
        }
    }

    /// Whether another process uses one of the files that are at the names with others than those.
    pub(super) fn is_mixed(&self, names: &Names, os: &dyn Os) -> bool {
        let (database, log, index) = names.identity(os);
        self.conflicts([database, log, index])
    }

    /// Whether another process uses one of the files of the identity with others than those.
    pub(super) fn is_in_conflict(&self, identity: &Identity) -> bool {
        self.conflicts(parts(identity))
    }

    /// Whether another process claims the database of this identity, with whatever files.
    pub(super) fn is_shared(&self, identity: &Identity) -> bool {
        self.file.is_claimed_elsewhere(range(identity.database), RANGE_BYTES).unwrap_or(false)
    }

    fn conflicts(&self, parts: Parts) -> bool {
        let own = place(&parts);
        let is_claimed = |from, length| self.file.is_claimed_elsewhere(from, length).unwrap_or(false);
        parts.into_iter().flatten().any(|id| {
            let start = range(id);
            is_claimed(start, own) || is_claimed(start + own + 1, RANGE_BYTES - own - 1)
        })
    }
}

fn parts(identity: &Identity) -> Parts {
    [Some(identity.database), identity.log, identity.index]
}

/// The bytes that stand for the identity, one for each file.
fn bytes(parts: &Parts) -> Vec<u64> {
    parts.iter().flatten().map(|id| range(*id) + place(parts)).collect()
}

fn range(id: FileId) -> u64 {
    mixed(mixed(id.device) ^ id.inode) % RANGES * RANGE_BYTES
}

fn place(parts: &Parts) -> u64 {
    let number = |id: &Option<FileId>| id.map_or(1, |id| mixed(id.device) ^ id.inode);
    parts.iter().fold(0, |all, id| mixed(all ^ number(id))) % RANGE_BYTES
}

/// SplitMix64's finaliser.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (number ^ (number >> 31)).wrapping_add(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::SystemOs;

    fn identity(database: u64, log: u64, index: u64) -> Identity {
        let id = |inode| Some(FileId { device: 1, inode });
        Identity { database: FileId { device: 1, inode: database }, log: id(log), index: id(index) }
    }

    #[track_caller]
    fn check(mine: &Identity, theirs: &Identity, is_in_conflict: bool, is_shared: bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        drop(SystemOs::new().try_lock_file(&path, &path).unwrap());
        let [mut a, mut b] = [(); 2].map(|()| Claim::open(&path, &SystemOs::new()).unwrap());
        b.take(theirs).unwrap();
        a.take(mine).unwrap();
        assert_eq!((a.is_in_conflict(mine), a.is_shared(mine)), (is_in_conflict, is_shared));
        b.release();
        assert_eq!((a.is_in_conflict(mine), a.is_shared(mine)), (false, false));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_may_be_used_with_the_same_files_only() {
        check(&identity(1, 2, 3), &identity(1, 2, 3), false, true);
        check(&identity(1, 2, 3), &identity(1, 2, 4), true, true);
        check(&identity(1, 2, 3), &identity(1, 4, 5), true, true);
        check(&identity(1, 2, 3), &identity(4, 2, 3), true, false);
        check(&identity(1, 2, 3), &identity(4, 5, 3), true, false);
        check(&identity(1, 2, 3), &identity(4, 5, 6), false, false);
        let without_index = Identity { index: None, ..identity(1, 2, 3) };
        check(&without_index, &identity(1, 2, 3), true, true);
    }
}
