//! Advisory locks on byte ranges, as `fcntl` gives them.
//!
//! # Fault model
//! - A lock belongs to a process and an inode, not to a descriptor: it does not keep out the process that has it, and
//!   **all of a process's locks on an inode go when it closes any descriptor of that inode**. That is the trap of POSIX
//!   that costs real applications their data; `files` springs it where the system would.
//! - A process that dies leaves no lock behind.
//! - Only the ranges that SQLite locks exist, each as a unit of its own: the pending byte, the reserved byte, the
//!   shared range, the eight slots of the wal-index and its dead man's switch. SQLite never locks a part of the shared
//!   range on Unix, so nothing is lost by that.
//! - There is no waiting: a lock is taken at once or refused. Nothing fails otherwise, and no lock is granted wrongly,
//!   as they are on broken network file systems; that fault belongs into the shim.

/// A set of lockable ranges, one bit each.
pub(super) type Units = u16;

pub(super) const PENDING: Units = 1;
pub(super) const RESERVED: Units = 1 << 1;
pub(super) const SHARED: Units = 1 << 2;
/// The dead man's switch: locked shared by each process that has the wal-index open.
pub(super) const SWITCH: Units = 1 << 11;
pub(super) const ALL: Units = Units::MAX;

/// The lock slots of the wal-index.
pub(super) const SLOTS: usize = 8;

/// The units of `count` slots from `first`; the caller has checked that they exist.
pub(super) fn slots(first: usize, count: usize) -> Units {
    ((1 << count) - 1) << (first + 3)
}

/// The kind of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// What one process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    process: u16,
    read: Units,
    write: Units,
}

/// The locks on one inode.
#[derive(Debug, Default)]
pub(super) struct ByteLocks {
    held: Vec<Held>,
}

impl ByteLocks {
    /// The kind of a lock that keeps `process` from locking `units` so, if there is one (`F_GETLK`).
    pub(super) fn obstacle(&self, process: u16, units: Units, kind: Kind) -> Option<Kind> {
        let others = || self.held.iter().filter(|held| held.process != process);
        if others().any(|held| held.write & units != 0) {
            Some(Kind::Write)
        } else if kind == Kind::Write && others().any(|held| held.read & units != 0) {
            Some(Kind::Read)
        } else {
            None
        }
    }

    /// Locks all of `units` or none (`F_SETLK`). A lock that the process has there becomes one of this kind.
    #[must_use]
    pub(super) fn lock(&mut self, process: u16, units: Units, kind: Kind) -> bool {
        if self.obstacle(process, units, kind).is_some() {
            return false;
        }
        let held = match self.held.iter().position(|held| held.process == process) {
            Some(index) => &mut self.held[index],
            None => self.held.push_mut(Held { process, read: 0, write: 0 }),
        };
        held.read &= !units;
        held.write &= !units;
        match kind {
            Kind::Read => held.read |= units,
            Kind::Write => held.write |= units,
        }
        true
    }

    /// Gives back what the process holds of `units`.
    pub(super) fn unlock(&mut self, process: u16, units: Units) {
        for held in self.held.iter_mut().filter(|held| held.process == process) {
            held.read &= !units;
            held.write &= !units;
        }
    }

    /// What each process holds: shared, exclusive.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, Units, Units)> {
        self.held.iter().filter(|held| held.read | held.write != 0).map(|held| (held.process, held.read, held.write))
    }

    /// True if any lock is held.
    pub(super) fn any(&self) -> bool {
        self.held.iter().any(|held| held.read | held.write != 0)
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut locks = ByteLocks::default();
        assert!(locks.lock(1, SHARED, Kind::Read));
        assert!(locks.lock(2, SHARED, Kind::Read));
        assert!(!locks.lock(2, SHARED, Kind::Write));
        assert_eq!(locks.obstacle(2, SHARED, Kind::Write), Some(Kind::Read));
        locks.unlock(1, SHARED);
        assert!(locks.lock(2, SHARED, Kind::Write));
        assert_eq!(locks.obstacle(1, SHARED, Kind::Read), Some(Kind::Write));
        assert!(locks.lock(2, SHARED, Kind::Read), "one's own lock may be changed");
        assert!(locks.lock(1, SHARED, Kind::Read));
    }

    #[test]
    fn several_units_are_locked_together_or_not_at_all() {
        let mut locks = ByteLocks::default();
        assert!(locks.lock(1, slots(4, 1), Kind::Read));
        assert!(!locks.lock(2, slots(3, 2), Kind::Write));
        assert!(locks.lock(1, slots(3, 1), Kind::Write), "the refused lock left nothing behind");
        locks.unlock(1, ALL);
        assert!(!locks.any());
    }

    #[test]
    fn the_units_do_not_overlap() {
        let named = [PENDING, RESERVED, SHARED, SWITCH, slots(0, SLOTS)];
        assert_eq!(named.iter().map(|units| units.count_ones()).sum::<u32>(), 12);
        assert_eq!(named.iter().fold(0, |all, units| all | units).count_ones(), 12);
    }
}
