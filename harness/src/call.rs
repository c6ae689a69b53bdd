//! What a call is: one invocation of a VFS or file method, by whom, on which kind of file, with which arguments; or an
//! allocation of SQLite's.

use std::fmt;

/// Declares an enum of words: variants, their text form, and the list of all of them in declaration order.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// Every value, in declaration order; the position is the value's number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it in the fault grammar, in traces and in reports.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.word() == word)
            }

            /// The value with this number, the inverse of `as u8`.
            pub(crate) fn from_number(number: u8) -> Option<Self> {
                Self::ALL.get(usize::from(number)).copied()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// The methods of `sqlite3_vfs` (version 3) and `sqlite3_io_methods` (version 3), by their C names without the `x`,
    /// in lower case. VFS methods first. The last one is no method of these.
    Method {
        /// `xOpen`
        Open = "open",
        /// `xDelete`
        Delete = "delete",
        /// `xAccess`
        Access = "access",
        /// `xFullPathname`
        FullPathname = "fullpathname",
        /// `xDlOpen`
        DlOpen = "dlopen",
        /// `xDlError`
        DlError = "dlerror",
        /// `xDlSym`
        DlSym = "dlsym",
        /// `xDlClose`
        DlClose = "dlclose",
        /// `xRandomness`
        Randomness = "randomness",
        /// `xSleep`
        Sleep = "sleep",
        /// `xCurrentTime`
        CurrentTime = "currenttime",
        /// `xGetLastError`
        GetLastError = "getlasterror",
        /// `xCurrentTimeInt64`
        CurrentTimeInt64 = "currenttimeint64",
        /// `xSetSystemCall`
        SetSystemCall = "setsystemcall",
        /// `xGetSystemCall`
        GetSystemCall = "getsystemcall",
        /// `xNextSystemCall`
        NextSystemCall = "nextsystemcall",
        /// `xClose`
        Close = "close",
        /// `xRead`
        Read = "read",
        /// `xWrite`
        Write = "write",
        /// `xTruncate`
        Truncate = "truncate",
        /// `xSync`; also the directory sync inside `xDelete`, which is a call of its own on the role `dir`
        Sync = "sync",
        /// `xFileSize`
        FileSize = "filesize",
        /// `xLock`
        Lock = "lock",
        /// `xUnlock`
        Unlock = "unlock",
        /// `xCheckReservedLock`
        CheckReservedLock = "checkreservedlock",
        /// `xFileControl`
        FileControl = "filecontrol",
        /// `xSectorSize`
        SectorSize = "sectorsize",
        /// `xDeviceCharacteristics`
        DeviceCharacteristics = "devicecharacteristics",
        /// `xShmMap`
        ShmMap = "shmmap",
        /// `xShmLock`
        ShmLock = "shmlock",
        /// `xShmBarrier`
        ShmBarrier = "shmbarrier",
        /// `xShmUnmap`
        ShmUnmap = "shmunmap",
        /// `xFetch`
        Fetch = "fetch",
        /// `xUnfetch`
        Unfetch = "unfetch",
        /// An allocation: `xMalloc` or `xRealloc` of `sqlite3_mem_methods`
        Alloc = "alloc",
    }
}

words! {
    /// Which kind of file a call is about.
    Role {
        /// The main database file.
        Db = "db",
        /// A rollback journal.
        Journal = "journal",
        /// A write-ahead log.
        Wal = "wal",
        /// The wal-index; its methods are called on the database's file handle.
        Shm = "shm",
        /// A temporary database, temporary journal, transient database or statement journal.
        Temp = "temp",
        /// A super-journal.
        Super = "super",
        /// A directory: the sync of a directory entry after a deletion.
        Dir = "dir",
        /// No file at all: `randomness`, `sleep`, `currenttime` and their kind.
        None = "none",
    }
}

impl Role {
    /// The role of a file by its name, for the methods that are given a path and no handle. A name without one of
    /// SQLite's suffixes is a database.
    pub(crate) fn of_path(path: &[u8]) -> Self {
        if path.ends_with(b"-wal") {
            Self::Wal
        } else if path.ends_with(b"-journal") {
            Self::Journal
        } else if path.ends_with(b"-shm") {
            Self::Shm
        } else if is_super_journal(path) {
            Self::Super
        } else {
            Self::Db
        }
    }
}

/// Super-journals are named `<db>-mjXXXXXX9XX` with hexadecimal digits (vdbeaux.c, `vdbeCommit`).
fn is_super_journal(path: &[u8]) -> bool {
    let Some(start) = path.len().checked_sub(12) else { return false };
    let suffix = &path[start..];
    suffix.starts_with(b"-mj") && suffix[3..].iter().all(u8::is_ascii_hexdigit)
}

impl Method {
    /// True if the C method returns a result code, so that an error can be injected. `xSleep`, `xRandomness`,
    /// `xSectorSize`, `xDeviceCharacteristics` return figures, and the rest return nothing or a pointer. An allocation
    /// fails by a null pointer, and is none of these.
    pub const fn can_fail(self) -> bool {
        !matches!(
            self,
            Self::DlError
                | Self::DlSym
                | Self::DlOpen
                | Self::DlClose
                | Self::Randomness
                | Self::Sleep
                | Self::GetLastError
                | Self::GetSystemCall
                | Self::NextSystemCall
                | Self::SectorSize
                | Self::DeviceCharacteristics
                | Self::ShmBarrier
                | Self::Alloc
        )
    }

    /// True for the methods of an open file, false for those of the VFS.
    pub(crate) const fn has_file(self) -> bool {
        self as u8 >= Self::Close as u8 && !self.is_allocation()
    }

    /// True for allocations. A rule for any method does not select them.
    pub const fn is_allocation(self) -> bool {
        matches!(self, Self::Alloc)
    }

    /// True if the call moves bytes and has a size, so that a byte quota applies.
    pub(crate) const fn moves_bytes(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }
}

/// One invocation of a VFS or file method, before it is ruled upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which method.
    pub method: Method,
    /// On which kind of file.
    pub role: Role,
    /// Number of the open file in its process, from 1; 0 for a VFS method.
    pub file: u32,
    /// First argument, by method: byte offset (`read`, `write`, `fetch`, `unfetch`), new size (`truncate`), flags
    /// (`open`, `sync`, `access`), lock level (`lock`, `unlock`), opcode (`filecontrol`), region (`shmmap`), first slot
    /// (`shmlock`), delete flag (`shmunmap`), sync-the-directory flag (`delete`), microseconds (`sleep`).
    pub arg: i64,
    /// Second argument: bytes (`read`, `write`, `fetch`, `randomness`, `alloc`), region size (`shmmap`), slots and
    /// flags as `slots | flags << 8` (`shmlock`).
    pub amount: i32,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.method)?;
        if self.role != Role::None {
            write!(f, "@{}", self.role)?;
        }
        match self.method {
            Method::Read | Method::Write | Method::Fetch => write!(f, " {} bytes at {}", self.amount, self.arg),
            Method::Alloc => write!(f, " of {} bytes", self.amount),
            Method::Truncate => write!(f, " to {} bytes", self.arg),
            Method::Lock | Method::Unlock => {
                let level = ["none", "shared", "reserved", "pending", "exclusive"];
                let word = usize::try_from(self.arg).ok().and_then(|n| level.get(n).copied());
                write!(f, " to {}", word.unwrap_or("?"))
            }
            Method::ShmMap => write!(f, " region {}", self.arg),
            Method::ShmLock => write!(f, " {}", ShmLockArgs::of(self)),
            Method::Sleep => write!(f, " {} us", self.arg),
            Method::FileControl => write!(f, " op {}", self.arg),
            Method::Open | Method::Sync | Method::Access => write!(f, " flags {:#x}", self.arg),
            _ => Ok(()),
        }
    }
}

/// The arguments of `xShmLock`, unpacked for display.
struct ShmLockArgs {
    first: i64,
    slots: i32,
    flags: i32,
}

impl ShmLockArgs {
    fn of(call: &Call) -> Self {
        Self { first: call.arg, slots: call.amount & 0xff, flags: call.amount >> 8 }
    }
}

impl fmt::Display for ShmLockArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SQLITE_SHM_UNLOCK 1, LOCK 2, SHARED 4, EXCLUSIVE 8. Slot names from wal.c: WRITE 0, CKPT 1, RECOVER 2,
        // READ(i) 3+i.
        let verb = if self.flags & 1 != 0 { "unlock" } else { "lock" };
        let kind = if self.flags & 8 != 0 { "exclusive" } else { "shared" };
        let slot = match self.first {
            0 => "write".to_owned(),
            1 => "checkpoint".to_owned(),
            2 => "recover".to_owned(),
            n => format!("read({})", n - 3),
        };
        write!(f, "{verb} {kind} {slot}")?;
        if self.slots > 1 {
            write!(f, " and {} more", self.slots - 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_inverses() {
        for (number, &method) in Method::ALL.iter().enumerate() {
            assert_eq!(Method::from_word(method.word()), Some(method));
            assert_eq!(Method::from_number(number as u8), Some(method));
        }
        for &role in Role::ALL {
            assert_eq!(Role::from_word(role.word()), Some(role));
        }
        assert_eq!(Method::from_word("shmap"), None);
        assert_eq!(Role::from_number(200), None);
    }

    #[test]
    fn a_path_tells_its_role() {
        #[track_caller]
        fn check(path: &str, role: Role) {
            assert_eq!(Role::of_path(path.as_bytes()), role, "{path}");
        }
        check("/a/b.db", Role::Db);
        check("/a/b.db-wal", Role::Wal);
        check("/a/b.db-shm", Role::Shm);
        check("/a/b.db-journal", Role::Journal);
        check("/a/b.db-mj0A1B2C9D3", Role::Super);
        check("-wal", Role::Wal);
        check("x", Role::Db);
    }
}
