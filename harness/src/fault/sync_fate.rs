//! What a failing sync leaves behind.
//!
//! The shim tells the simulated machine by the flags of the sync: SQLite uses the lower half of them only, so the fate
//! stands in the upper half. That of a directory stands in the flag of `xDelete`.

use std::ffi::c_int;

/// What becomes of the pending changes of a file when a sync of it fails. That they stay pending is no fate: the sync
/// was then not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncFate {
    /// They are visible, count as clean, and are not on the disk (ext4, XFS). A later write to the same page makes the
    /// whole page dirty again. The length is on the disk.
    Dropped,
    /// As dropped, but the sync reports success; the next sync of the file fails (ext4 `data=journal`).
    Late,
    /// They are not visible any more (btrfs).
    Reverted,
}

impl SyncFate {
    const SHIFT: u32 = 16;

    /// The fate with this word; `kept` is none.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        match word {
            "dropped" => Some(Self::Dropped),
            "late" => Some(Self::Late),
            "reverted" => Some(Self::Reverted),
            _ => None,
        }
    }

    /// The flags of a sync with this fate.
    pub(crate) fn flags(self, flags: c_int) -> c_int {
        flags | (self as c_int + 1) << Self::SHIFT
    }

    /// The fate that the flags of a sync ask for.
    pub(crate) fn of_flags(flags: c_int) -> Option<Self> {
        match flags >> Self::SHIFT {
            1 => Some(Self::Dropped),
            2 => Some(Self::Late),
            3 => Some(Self::Reverted),
            _ => None,
        }
    }
}
