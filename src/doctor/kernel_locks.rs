//! Locks that the kernel names when it is asked, and that its table does not show here: those of processes outside of
//! this PID namespace.
//!
//! A child asks with F_GETLK, which takes no lock.

use super::locks::Lock;
use super::report::FileRole;
use crate::ffi::locks_in_child;
use std::path::Path;

/// SQLite's locks that say the most: the file, the name, the first byte, the length.
const QUESTIONS: [(FileRole, &str, u64, u64); 6] = [
    (FileRole::Database, "PENDING", 0x4000_0000, 1),
    (FileRole::Database, "RESERVED", 0x4000_0001, 1),
    (FileRole::Database, "SHARED", 0x4000_0002, 510),
    (FileRole::WalIndex, "WRITE", 120, 1),
    (FileRole::WalIndex, "CKPT", 121, 1),
    (FileRole::WalIndex, "DMS", 128, 1),
];

/// A lock that belongs to no process that can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelLock {
    pub(super) role: FileRole,
    pub(super) name: &'static str,
}

/// The locks whose owner the kernel does not name here; none if `seen` explains them.
pub(super) fn unseen(path: &Path, seen: Option<&[Lock]>) -> Vec<KernelLock> {
    let mut found = Vec::new();
    for role in [FileRole::Database, FileRole::WalIndex] {
        let questions: Vec<_> = QUESTIONS.into_iter().filter(|question| question.0 == role).collect();
        let ranges: Vec<(u64, u64)> = questions.iter().map(|&(_, _, first, length)| (first, length)).collect();
        let Ok(answers) = locks_in_child(&role.path(path), &ranges) else { continue };
        for ((role, name, ..), answer) in questions.into_iter().zip(answers) {
            let is_shown = |lock: &Lock| lock.role == role && !lock.is_waiting && lock.pid.is_none();
            let is_unseen = answer.is_some_and(|lock| lock.pid.is_none());
            if is_unseen && !seen.unwrap_or_default().iter().any(is_shown) {
                found.push(KernelLock { role, name });
            }
        }
    }
    found
}
