//! Processes that use a database in WAL mode, or write to its journal, and hold no lock on it.
//!
//! Descriptors and locks cannot be read at one moment, and a process that opens and closes often has the one and not
//! the other in between. So a suspect is looked at again and again: descriptors, locks, descriptors. What is suspected
//! each time is true.

use super::{Holder, of_process};
use crate::doctor::locks::{self, Lock};
use crate::doctor::{FileRole, Target};
use crate::os::Os;
use std::time::Duration;

/// How often a suspect is looked at.
const LOOKS: u32 = 8;
/// Between two looks. Not a round number, so that it does not go along with what the suspect does.
const PAUSE: Duration = Duration::from_micros(3_700);

/// The processes, in order.
pub(in crate::doctor) fn scan(targets: &[Target], holders: &[Holder], locks: Option<&[Lock]>, os: &dyn Os) -> Vec<u32> {
    let Some(locks) = locks else { return Vec::new() };
    let mut suspects: Vec<u32> = holders.iter().map(|holder| holder.pid).collect();
    suspects.sort_unstable();
    suspects.dedup();
    suspects.retain(|&pid| is_suspect(pid, holders, locks));
    for look in 0..LOOKS {
        if suspects.is_empty() {
            break;
        }
        os.sleep(PAUSE + Duration::from_micros(u64::from(look) * 310));
        suspects.retain(|&pid| {
            let files = || of_process(pid, targets, os.pid()).unwrap_or_default();
            let before = files();
            let Some(locks) = locks::scan(targets, &before) else { return false };
            is_suspect(pid, &before, &locks) && files() == before
        });
    }
    suspects
}

/// Whether a process has the database and SQLite's side files of WAL mode open, or its journal for writing, and no lock
/// on the database. SQLite closes a journal before it gives back the lock.
fn is_suspect(pid: u32, holders: &[Holder], locks: &[Lock]) -> bool {
    let has = |role: FileRole| holders.iter().any(|holder| holder.pid == pid && holder.role == role);
    // A program that copies files reads them only.
    let writes =
        |role: FileRole| holders.iter().any(|holder| holder.pid == pid && holder.role == role && holder.can_write);
    // A lock without a process belongs to a descriptor, and may be this one's.
    let has_lock = locks
        .iter()
        .any(|lock| lock.role == FileRole::Database && !lock.is_waiting && lock.pid.is_none_or(|owner| owner == pid));
    has(FileRole::Database)
        && [FileRole::Wal, FileRole::WalIndex, FileRole::Journal].into_iter().any(writes)
        && !has_lock
}
