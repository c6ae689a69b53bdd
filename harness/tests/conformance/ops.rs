//! The operations, and the hands of one process that carry them out, on whatever VFS.
//!
//! Hands keep SQLite's own rules: what SQLite never does (jump from no lock to an exclusive one, unlock a slot that is
//! not held) is skipped, since the unix VFS may do anything then. What they know for that they learned from the VFS, so
//! two media that agree are asked the same. They also keep away from bus errors: mapped memory is not looked at where
//! its file may have been cut.

use crate::raw::{Memory, RawFile, RawVfs};
use proptest::prelude::*;
use rusqlite::ffi;
use serde::{Deserialize, Serialize};
use std::ffi::c_int;

/// Files that a process may have open.
pub const SLOTS: u8 = 3;

/// The names in use. The third and fourth belong to the first.
pub const NAMES: [&str; 6] = ["a.db", "b.db", "a.db-wal", "a.db-journal", "c.tmp", "a.db-shm"];

/// Kinds of `xOpen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    Database,
    DatabaseExisting,
    DatabaseReadonly,
    Wal,
    Journal,
    JournalExclusive,
    Temp,
    Nameless,
}

impl How {
    pub const ALL: [Self; 8] = [
        Self::Database,
        Self::DatabaseExisting,
        Self::DatabaseReadonly,
        Self::Wal,
        Self::Journal,
        Self::JournalExclusive,
        Self::Temp,
        Self::Nameless,
    ];

    fn flags(self) -> c_int {
        let create = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE;
        let gone = ffi::SQLITE_OPEN_EXCLUSIVE | ffi::SQLITE_OPEN_DELETEONCLOSE;
        match self {
            Self::Database => ffi::SQLITE_OPEN_MAIN_DB | create,
            Self::DatabaseExisting => ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_READWRITE,
            Self::DatabaseReadonly => ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_READONLY,
            Self::Wal => ffi::SQLITE_OPEN_WAL | create,
            Self::Journal => ffi::SQLITE_OPEN_MAIN_JOURNAL | create,
            Self::JournalExclusive => ffi::SQLITE_OPEN_SUPER_JOURNAL | create | ffi::SQLITE_OPEN_EXCLUSIVE,
            Self::Temp => ffi::SQLITE_OPEN_TEMP_JOURNAL | create | gone,
            Self::Nameless => ffi::SQLITE_OPEN_TEMP_DB | create | gone,
        }
    }
}

/// One operation of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    Open {
        slot: u8,
        name: u8,
        how: How,
    },
    Close {
        slot: u8,
    },
    Read {
        slot: u8,
        offset: u32,
        length: u32,
    },
    Write {
        slot: u8,
        offset: u32,
        length: u32,
        fill: u8,
    },
    Truncate {
        slot: u8,
        size: u32,
    },
    Sync {
        slot: u8,
    },
    Size {
        slot: u8,
    },
    Lock {
        slot: u8,
        level: u8,
    },
    Unlock {
        slot: u8,
        level: u8,
    },
    CheckReserved {
        slot: u8,
    },
    ShmMap {
        slot: u8,
        region: u8,
        extend: bool,
    },
    ShmStore {
        slot: u8,
        region: u8,
        offset: u16,
        byte: u8,
    },
    ShmLoad {
        slot: u8,
        region: u8,
        offset: u16,
    },
    ShmShared {
        slot: u8,
        first: u8,
    },
    ShmExclusive {
        slot: u8,
        first: u8,
        count: u8,
    },
    ShmUnlock {
        slot: u8,
        first: u8,
    },
    ShmUnmap {
        slot: u8,
        delete: bool,
    },
    MmapSize {
        slot: u8,
        bytes: u32,
    },
    Fetch {
        slot: u8,
        page: u8,
    },
    Unfetch {
        slot: u8,
    },
    ChunkSize {
        slot: u8,
        bytes: u32,
    },
    SizeHint {
        slot: u8,
        bytes: u32,
    },
    Mode {
        slot: u8,
        powersafe: bool,
        value: i8,
    },
    LockState {
        slot: u8,
    },
    LastErrno {
        slot: u8,
    },
    HasMoved {
        slot: u8,
    },
    Device {
        slot: u8,
    },
    Access {
        name: u8,
        write: bool,
    },
    Delete {
        name: u8,
    },
    FullPathname {
        which: u8,
    },
    // What follows happens outside of the VFS.
    Stat {
        name: u8,
    },
    Rename {
        from: u8,
        to: u8,
    },
    Unlink {
        name: u8,
    },
    /// The process opens and closes the file behind the VFS's back.
    OpenClose {
        name: u8,
    },
    Kill,
}

impl Op {
    /// The operation's word, for the table.
    pub fn word(&self) -> String {
        let text = format!("{self:?}");
        text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
    }
}

/// What an operation brought: a result code, and whatever came with it. `None` is for what was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply(pub Option<(c_int, Vec<i64>)>);

impl Reply {
    pub const SKIPPED: Self = Self(None);

    pub fn code(code: c_int) -> Self {
        Self(Some((code, Vec::new())))
    }

    pub fn with(code: c_int, values: impl IntoIterator<Item = i64>) -> Self {
        Self(Some((code, values.into_iter().collect())))
    }
}

struct Slot {
    file: RawFile,
    is_database: bool,
    /// Mapped regions.
    regions: Vec<Memory>,
    has_shm: bool,
    shared: u16,
    /// First slot and count.
    exclusive: Vec<(u8, u8)>,
    fetched: Vec<(i64, Memory)>,
    /// The size that the file had when it was mapped.
    mapped: i64,
}

/// The open files of one process.
pub struct Hands {
    vfs: RawVfs,
    /// What stands before each name.
    folder: String,
    slots: [Option<Slot>; SLOTS as usize],
}

const PAGE: i64 = 4096;

impl Slot {
    fn level(&self) -> i64 {
        self.file.control(ffi::SQLITE_FCNTL_LOCKSTATE, 0).1 & 0xff
    }

    fn has_moved(&self) -> bool {
        self.file.control(ffi::SQLITE_FCNTL_HAS_MOVED, 0).1 != 0
    }

    /// Gives the mapping up if nothing of it is out, as SQLite does at the begin of a transaction. False if it must not
    /// be looked at.
    fn refresh(&mut self) -> bool {
        if self.fetched.is_empty() {
            self.file.unfetch(0, None);
            self.mapped = 0;
            return true;
        }
        self.file.size().1 >= self.mapped
    }

    fn unfetch_all(&mut self) {
        for (offset, page) in std::mem::take(&mut self.fetched) {
            self.file.unfetch(offset, Some(page));
        }
    }

    fn shm_unmap(&mut self, delete: bool) -> c_int {
        for first in 0..8 {
            self.shm_unlock(first);
        }
        self.regions.clear();
        self.has_shm = false;
        self.file.shm_unmap(delete)
    }

    fn shm_unlock(&mut self, first: u8) -> Reply {
        let first_slot = c_int::from(first);
        if self.shared & 1 << first != 0 {
            self.shared &= !(1 << first);
            return Reply::code(self.file.shm_lock(first_slot, 1, ffi::SQLITE_SHM_UNLOCK | ffi::SQLITE_SHM_SHARED));
        }
        let Some(index) = self.exclusive.iter().position(|held| held.0 == first) else { return Reply::SKIPPED };
        let count = c_int::from(self.exclusive.swap_remove(index).1);
        Reply::code(self.file.shm_lock(first_slot, count, ffi::SQLITE_SHM_UNLOCK | ffi::SQLITE_SHM_EXCLUSIVE))
    }

    fn holds(&self, first: u8, count: u8) -> bool {
        let exclusive = self.exclusive.iter().any(|&(f, c)| f < first + count && first < f + c);
        exclusive || (first..first + count).any(|slot| self.shared & 1 << slot != 0)
    }

    fn io(&mut self, op: Op) -> Reply {
        match op {
            Op::Read { offset, length, .. } => {
                if !self.refresh() {
                    return Reply::SKIPPED;
                }
                let mut bytes = vec![0xee; length as usize];
                let rc = self.file.read(&mut bytes, i64::from(offset));
                // A failed read leaves the buffer as it likes.
                let is_filled = rc == ffi::SQLITE_OK || rc == ffi::SQLITE_IOERR_SHORT_READ;
                Reply::with(rc, is_filled.then(|| i64::from(crc32fast::hash(&bytes))))
            }
            Op::Write { offset, length, fill, .. } => {
                let bytes: Vec<u8> = (0..length).map(|n| fill.wrapping_add(n as u8)).collect();
                Reply::code(self.file.write(&bytes, i64::from(offset)))
            }
            // The mapping must not become shorter than what is out.
            Op::Truncate { .. } if !self.fetched.is_empty() => Reply::SKIPPED,
            Op::Truncate { size, .. } => Reply::code(self.file.truncate(i64::from(size))),
            Op::Sync { .. } => Reply::code(self.file.sync()),
            Op::Size { .. } => {
                let (rc, size) = self.file.size();
                Reply::with(rc, [size])
            }
            Op::MmapSize { bytes, .. } => {
                self.unfetch_all();
                let (rc, old) = self.file.control(ffi::SQLITE_FCNTL_MMAP_SIZE, i64::from(bytes));
                Reply::with(rc, [old])
            }
            Op::Fetch { page, .. } => {
                if !self.refresh() {
                    return Reply::SKIPPED;
                }
                if self.fetched.is_empty() {
                    self.mapped = self.file.size().1;
                }
                let offset = i64::from(page) * PAGE;
                let (rc, memory) = self.file.fetch(offset, PAGE as c_int);
                let crc = memory.map(|memory| {
                    self.fetched.push((offset, memory));
                    let bytes: Vec<u8> = (0..PAGE as usize).map(|n| memory.load(n)).collect();
                    i64::from(crc32fast::hash(&bytes))
                });
                Reply::with(rc, [crc.unwrap_or(-1)])
            }
            Op::Unfetch { .. } => {
                let count = self.fetched.len();
                self.unfetch_all();
                Reply::with(self.file.unfetch(0, None), [count as i64])
            }
            Op::ChunkSize { bytes, .. } => {
                Reply::code(self.file.control(ffi::SQLITE_FCNTL_CHUNK_SIZE, i64::from(bytes)).0)
            }
            // With a mapping the hint may cut the file.
            Op::SizeHint { .. } if !self.fetched.is_empty() => Reply::SKIPPED,
            Op::SizeHint { bytes, .. } => {
                self.refresh();
                Reply::code(self.file.control(ffi::SQLITE_FCNTL_SIZE_HINT, i64::from(bytes)).0)
            }
            _ => unreachable!("{op:?}"),
        }
    }

    fn locks(&mut self, op: Op) -> Reply {
        match op {
            Op::Lock { level, .. } => {
                let now = self.level();
                let is_legal = match level {
                    1 => true,
                    2 => !self.is_database || now == 1,
                    4 => !self.is_database || now >= 1,
                    _ => false,
                };
                if !is_legal {
                    return Reply::SKIPPED;
                }
                Reply::with(self.file.lock(c_int::from(level)), [self.level()])
            }
            Op::Unlock { level, .. } if level <= 1 => {
                self.unfetch_all();
                Reply::with(self.file.unlock(c_int::from(level)), [self.level()])
            }
            Op::CheckReserved { .. } if self.level() <= 1 => {
                let (rc, reserved) = self.file.check_reserved_lock();
                Reply::with(rc, [i64::from(reserved)])
            }
            Op::LockState { .. } => Reply::with(ffi::SQLITE_OK, [self.level()]),
            _ => Reply::SKIPPED,
        }
    }

    fn shm(&mut self, op: Op) -> Reply {
        match op {
            Op::ShmMap { region, extend, .. } if self.is_database => {
                let (rc, memory) = self.file.shm_map(c_int::from(region), extend);
                self.has_shm = true;
                if let Some(memory) = memory {
                    assert!(memory.is_aligned());
                    // A region that is there has all before it mapped as well.
                    while self.regions.len() <= usize::from(region) {
                        let (_, memory) = self.file.shm_map(self.regions.len() as c_int, false);
                        self.regions.push(memory.unwrap());
                    }
                }
                Reply::with(rc, [i64::from(memory.is_some())])
            }
            Op::ShmStore { region, offset, byte, .. } => match self.regions.get(usize::from(region)) {
                Some(memory) => {
                    memory.store(usize::from(offset) % Memory::REGION, byte);
                    self.file.shm_barrier();
                    Reply::code(ffi::SQLITE_OK)
                }
                None => Reply::SKIPPED,
            },
            Op::ShmLoad { region, offset, .. } => match self.regions.get(usize::from(region)) {
                Some(memory) => {
                    Reply::with(ffi::SQLITE_OK, [i64::from(memory.load(usize::from(offset) % Memory::REGION))])
                }
                None => Reply::SKIPPED,
            },
            // Without a wal-index the calls must fail, not crash.
            Op::ShmShared { first, .. } if first < 8 && !self.holds(first, 1) => {
                let rc = self.file.shm_lock(c_int::from(first), 1, ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_SHARED);
                if rc == ffi::SQLITE_OK {
                    self.shared |= 1 << first;
                }
                Reply::code(rc)
            }
            Op::ShmExclusive { first, count, .. } if count > 0 && first + count <= 8 && !self.holds(first, count) => {
                let flags = ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_EXCLUSIVE;
                let rc = self.file.shm_lock(c_int::from(first), c_int::from(count), flags);
                if rc == ffi::SQLITE_OK {
                    self.exclusive.push((first, count));
                }
                Reply::code(rc)
            }
            Op::ShmUnlock { first, .. } if first < 8 => self.shm_unlock(first),
            Op::ShmUnmap { delete, .. } => Reply::code(self.shm_unmap(delete)),
            _ => Reply::SKIPPED,
        }
    }

    fn facts(&mut self, op: Op) -> Reply {
        match op {
            Op::Mode { powersafe, value, .. } => {
                let op = if powersafe { ffi::SQLITE_FCNTL_POWERSAFE_OVERWRITE } else { ffi::SQLITE_FCNTL_PERSIST_WAL };
                let value = i64::from(value.clamp(-1, 1)) & 0xffff_ffff;
                let (rc, value) = self.file.control(op, value);
                Reply::with(rc, [value, i64::from(self.file.characteristics())])
            }
            Op::LastErrno { .. } => {
                let (rc, errno) = self.file.control(ffi::SQLITE_FCNTL_LAST_ERRNO, 0);
                Reply::with(rc, [errno])
            }
            Op::HasMoved { .. } => Reply::with(ffi::SQLITE_OK, [i64::from(self.has_moved())]),
            Op::Device { .. } => {
                let (version, has_shm) = self.file.abilities();
                let device = [self.file.sector_size(), self.file.characteristics(), version, c_int::from(has_shm)];
                Reply::with(ffi::SQLITE_OK, device.map(i64::from))
            }
            _ => unreachable!("{op:?}"),
        }
    }
}

impl Hands {
    pub fn new(vfs: &str, folder: &str) -> Self {
        Self { vfs: RawVfs::find(vfs), folder: folder.to_owned(), slots: [None, None, None] }
    }

    pub fn path(&self, name: u8) -> String {
        format!("{}{}", self.folder, NAMES[usize::from(name) % NAMES.len()])
    }

    /// Closes everything.
    pub fn reset(&mut self) {
        for slot in 0..SLOTS {
            self.close(slot);
        }
    }

    /// Carries an operation out, if it is one that the VFS does.
    pub fn execute(&mut self, op: Op) -> Reply {
        match op {
            Op::Open { slot, name, how } => self.open(slot, name, how),
            Op::Close { slot } => self.close(slot),
            Op::Access { name, write } => {
                let flags = if write { ffi::SQLITE_ACCESS_READWRITE } else { ffi::SQLITE_ACCESS_EXISTS };
                let (rc, out) = self.vfs.access(&self.path(name), flags);
                Reply::with(rc, [i64::from(out)])
            }
            Op::Delete { name } => Reply::code(self.vfs.delete(&self.path(name))),
            Op::FullPathname { which } => {
                let tails = ["x", "./x", "y/../x", "y//x/", "..", ".", "../../../../../../x/y"];
                let (rc, full) =
                    self.vfs.full_pathname(&format!("{}{}", self.folder, tails[usize::from(which) % tails.len()]));
                // Only what comes after the folder can be the same on both media.
                let tail = full.strip_prefix(&self.folder).unwrap_or("elsewhere").to_owned();
                Reply::with(rc, [i64::from(crc32fast::hash(tail.as_bytes()))])
            }
            _ => self.on_slot(op),
        }
    }

    fn open(&mut self, slot: u8, name: u8, how: How) -> Reply {
        // The wal-index is never opened as a file: cutting it would be a bus error for those who have it mapped.
        if self.slots[usize::from(slot % SLOTS)].is_some() || usize::from(name) % NAMES.len() == 5 {
            return Reply::SKIPPED;
        }
        let path = self.path(name);
        match self.vfs.open((how != How::Nameless).then_some(path.as_str()), how.flags()) {
            Ok((file, flags)) => {
                self.slots[usize::from(slot % SLOTS)] = Some(Slot {
                    file,
                    is_database: how.flags() & ffi::SQLITE_OPEN_MAIN_DB != 0,
                    regions: Vec::new(),
                    has_shm: false,
                    shared: 0,
                    exclusive: Vec::new(),
                    fetched: Vec::new(),
                    mapped: 0,
                });
                // What comes back for a temporary file without a name depends on the file system's O_TMPFILE.
                Reply::with(ffi::SQLITE_OK, (how != How::Nameless).then_some(i64::from(flags)))
            }
            Err(rc) => Reply::code(rc),
        }
    }

    fn close(&mut self, slot: u8) -> Reply {
        let Some(mut slot) = self.slots[usize::from(slot % SLOTS)].take() else { return Reply::SKIPPED };
        slot.unfetch_all();
        slot.shm_unmap(false);
        Reply::code(slot.file.close())
    }

    fn on_slot(&mut self, op: Op) -> Reply {
        use Op::*;
        let (Read { slot, .. }
        | Write { slot, .. }
        | Truncate { slot, .. }
        | Sync { slot }
        | Size { slot }
        | Lock { slot, .. }
        | Unlock { slot, .. }
        | CheckReserved { slot }
        | LockState { slot }
        | ShmMap { slot, .. }
        | ShmStore { slot, .. }
        | ShmLoad { slot, .. }
        | ShmShared { slot, .. }
        | ShmExclusive { slot, .. }
        | ShmUnlock { slot, .. }
        | ShmUnmap { slot, .. }
        | MmapSize { slot, .. }
        | Fetch { slot, .. }
        | Unfetch { slot }
        | ChunkSize { slot, .. }
        | SizeHint { slot, .. }
        | Mode { slot, .. }
        | LastErrno { slot }
        | HasMoved { slot }
        | Device { slot }) = op
        else {
            return Reply::SKIPPED;
        };
        let number = usize::from(slot % SLOTS);
        if matches!(op, ShmMap { .. }) && self.has_two_generations(number) {
            return Reply::SKIPPED;
        }
        let Some(slot) = &mut self.slots[number] else { return Reply::SKIPPED };
        match op {
            Lock { .. } | Unlock { .. } | CheckReserved { .. } | LockState { .. } => slot.locks(op),
            ShmMap { .. }
            | ShmStore { .. }
            | ShmLoad { .. }
            | ShmShared { .. }
            | ShmExclusive { .. }
            | ShmUnlock { .. }
            | ShmUnmap { .. } => slot.shm(op),
            Mode { .. } | LastErrno { .. } | HasMoved { .. } | Device { .. } => slot.facts(op),
            _ => slot.io(op),
        }
    }

    /// True if mapping the wal-index might open it a second time in this process, for another inode of the database.
    /// The unix VFS then cuts the file under the first one's mapping: a bus error for a process that looks at it.
    fn has_two_generations(&self, number: usize) -> bool {
        let moved = |slot: &Slot| slot.is_database && slot.has_moved();
        let others = self.slots.iter().enumerate().filter(|(other, _)| *other != number);
        let mapped = others.filter_map(|(_, slot)| slot.as_ref()).filter(|slot| slot.has_shm);
        let mine = self.slots[number].as_ref().is_some_and(moved);
        mapped.clone().any(moved) || (mine && mapped.count() > 0)
    }
}

/// Operations of the processes 0, 1 and 2, most of which have the same database open to begin with.
pub fn steps() -> impl Strategy<Value = Vec<(u8, Op)>> {
    let begin = prop_oneof![
        2 => Just(Op::Open { slot: 0, name: 0, how: How::Database }),
        1 => Just(Op::Open { slot: 1, name: 0, how: How::Database }),
        1 => Just(Op::ShmMap { slot: 0, region: 0, extend: true }),
        1 => Just(Op::Write { slot: 0, offset: 0, length: 20_000, fill: 1 }),
    ];
    let begin = proptest::collection::vec((0..3_u8, begin), 0..16);
    let rest = proptest::collection::vec((0..3_u8, any_op()), 1..100);
    (begin, rest).prop_map(|(mut steps, rest)| {
        steps.extend(rest);
        steps
    })
}

fn slot() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0_u8), 2 => Just(1), 1 => Just(SLOTS - 1)]
}

/// An offset or a size.
fn place() -> impl Strategy<Value = u32> {
    prop_oneof![0..300_u32, (0..40_u32).prop_map(|n| n * 4096), 0..200_000_u32]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![8 => on_bytes(), 8 => on_locks(), 10 => on_shm(), 2 => on_names()]
}

fn on_bytes() -> impl Strategy<Value = Op> {
    let name = prop_oneof![6 => Just(0_u8), 1 => 1..5_u8];
    let how = prop_oneof![5 => Just(How::Database), 3 => (0..How::ALL.len()).prop_map(|n| How::ALL[n])];
    let length = || prop_oneof![1..200_u32, Just(4096_u32), 1..70_000_u32];
    prop_oneof![
        5 => (slot(), name, how).prop_map(|(slot, name, how)| Op::Open { slot, name, how }),
        2 => slot().prop_map(|slot| Op::Close { slot }),
        3 => (slot(), place(), length()).prop_map(|(slot, offset, length)| Op::Read { slot, offset, length }),
        4 => (slot(), place(), length(), any::<u8>())
            .prop_map(|(slot, offset, length, fill)| Op::Write { slot, offset, length, fill }),
        1 => (slot(), place()).prop_map(|(slot, size)| Op::Truncate { slot, size }),
        1 => slot().prop_map(|slot| Op::Size { slot }),
        1 => slot().prop_map(|slot| Op::Sync { slot }),
        1 => (slot(), place()).prop_map(|(slot, bytes)| Op::MmapSize { slot, bytes }),
        2 => (slot(), 0..20_u8).prop_map(|(slot, page)| Op::Fetch { slot, page }),
        1 => slot().prop_map(|slot| Op::Unfetch { slot }),
        1 => (slot(), prop_oneof![Just(0_u32), Just(10_000)]).prop_map(|(slot, bytes)| Op::ChunkSize { slot, bytes }),
        1 => (slot(), place()).prop_map(|(slot, bytes)| Op::SizeHint { slot, bytes }),
        1 => (slot(), any::<bool>(), -1..2_i8)
            .prop_map(|(slot, powersafe, value)| Op::Mode { slot, powersafe, value }),
        1 => slot().prop_map(|slot| Op::LastErrno { slot }),
        1 => slot().prop_map(|slot| Op::Device { slot }),
    ]
}

fn on_locks() -> impl Strategy<Value = Op> {
    let level = prop_oneof![Just(1_u8), Just(2), Just(4)];
    prop_oneof![
        6 => (slot(), level).prop_map(|(slot, level)| Op::Lock { slot, level }),
        3 => (slot(), 0..2_u8).prop_map(|(slot, level)| Op::Unlock { slot, level }),
        1 => slot().prop_map(|slot| Op::CheckReserved { slot }),
        1 => slot().prop_map(|slot| Op::LockState { slot }),
    ]
}

fn on_shm() -> impl Strategy<Value = Op> {
    let first = || prop_oneof![3 => Just(3_u8), 2 => Just(4), 1 => 0..8_u8];
    let region = || prop_oneof![4 => Just(0_u8), 1 => 0..3_u8];
    prop_oneof![
        4 => (slot(), region(), prop::bool::weighted(0.8))
            .prop_map(|(slot, region, extend)| Op::ShmMap { slot, region, extend }),
        2 => (slot(), region(), any::<u16>(), any::<u8>())
            .prop_map(|(slot, region, offset, byte)| Op::ShmStore { slot, region, offset: offset % 8, byte }),
        2 => (slot(), region(), any::<u16>())
            .prop_map(|(slot, region, offset)| Op::ShmLoad { slot, region, offset: offset % 8 }),
        4 => (slot(), first()).prop_map(|(slot, first)| Op::ShmShared { slot, first }),
        4 => (slot(), first(), 1..4_u8).prop_map(|(slot, first, count)| Op::ShmExclusive { slot, first, count }),
        4 => (slot(), first()).prop_map(|(slot, first)| Op::ShmUnlock { slot, first }),
        1 => (slot(), any::<bool>()).prop_map(|(slot, delete)| Op::ShmUnmap { slot, delete }),
    ]
}

fn on_names() -> impl Strategy<Value = Op> {
    let names = || 0..6_u8;
    prop_oneof![
        2 => (names(), any::<bool>()).prop_map(|(name, write)| Op::Access { name, write }),
        1 => names().prop_map(|name| Op::Delete { name }),
        1 => names().prop_map(|name| Op::Unlink { name }),
        1 => names().prop_map(|name| Op::Stat { name }),
        1 => (0..5_u8, 0..5_u8).prop_map(|(from, to)| Op::Rename { from, to }),
        1 => (0..5_u8).prop_map(|name| Op::OpenClose { name }),
        1 => slot().prop_map(|slot| Op::HasMoved { slot }),
        1 => (0..8_u8).prop_map(|which| Op::FullPathname { which }),
        1 => Just(Op::Kill),
    ]
}
