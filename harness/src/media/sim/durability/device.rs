//! The device: what it promises, which limits what a power cut can leave.

use rusqlite::ffi;
use std::ffi::c_int;
use std::fmt;
use std::str::FromStr;

/// When a change of names is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Directory {
    /// After a sync of the directory. Before that each change by itself may be durable or not.
    Strict,
    /// After a sync of the directory or of any file; a cut keeps a prefix of the changes since then. So do file systems
    /// with a journal of their metadata.
    #[default]
    Ordered,
    /// At once.
    Immediate,
}

impl Directory {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Ordered, Self::Immediate];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Ordered => "ordered",
            Self::Immediate => "immediate",
        }
    }
}

/// What a disk and its file system promise. Written as words joined by `+`: `ordered`, `strict+512+torn`,
/// `ordered+safe-append+sequential`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// When names are durable.
    pub directory: Directory,
    /// The size of a sector, which SQLite is told: 512 or 4,096.
    pub sector_bytes: u32,
    /// True if a sector is written whole or not at all.
    pub is_sector_atomic: bool,
    /// True if a sector reaches the disk with all writes to it that came before the last one that reached it, as what a
    /// page cache writes back does. Otherwise any write may be lost, whatever came after it.
    pub has_page_cache: bool,
    /// `SQLITE_IOCAP_…`, which SQLite is told. Looked at here are `ATOMIC…`, `SAFE_APPEND`, `SEQUENTIAL`,
    /// `POWERSAFE_OVERWRITE` (SQLite's own setting of a file counts as well) and `UNDELETABLE_WHEN_OPEN`.
    pub characteristics: c_int,
}

impl Default for Device {
    /// Names in order; sectors of 4,096 bytes, atomic; powersafe overwrite, as the unix VFS says of every disk.
    fn default() -> Self {
        Self {
            directory: Directory::Ordered,
            sector_bytes: 4096,
            is_sector_atomic: true,
            has_page_cache: false,
            characteristics: ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE,
        }
    }
}

/// The words for characteristics.
const WORDS: [(&str, c_int); 12] = [
    ("atomic", ffi::SQLITE_IOCAP_ATOMIC),
    ("atomic512", ffi::SQLITE_IOCAP_ATOMIC512),
    ("atomic1k", ffi::SQLITE_IOCAP_ATOMIC1K),
    ("atomic2k", ffi::SQLITE_IOCAP_ATOMIC2K),
    ("atomic4k", ffi::SQLITE_IOCAP_ATOMIC4K),
    ("atomic8k", ffi::SQLITE_IOCAP_ATOMIC8K),
    ("atomic16k", ffi::SQLITE_IOCAP_ATOMIC16K),
    ("atomic32k", ffi::SQLITE_IOCAP_ATOMIC32K),
    ("atomic64k", ffi::SQLITE_IOCAP_ATOMIC64K),
    ("safe-append", ffi::SQLITE_IOCAP_SAFE_APPEND),
    ("sequential", ffi::SQLITE_IOCAP_SEQUENTIAL),
    ("undeletable", ffi::SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN),
];

/// The word for a device without powersafe overwrite.
const NO_POWERSAFE: &str = "no-powersafe";

/// The word for a device behind a page cache.
const PAGE_CACHE: &str = "page-cache";

/// Why words are no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A word is none of a device's.
    #[error(
        "`{0}` is no word of a device: strict, ordered or immediate; 512 or 4096; torn; {PAGE_CACHE}; {NO_POWERSAFE}; atomic, \
     atomic512 to atomic64k, safe-append, sequential, undeletable; joined by +"
    )]
    Unknown(String),
    /// Two words that exclude each other.
    #[error("`{0}` and `{1}` exclude each other: give one of them")]
    Both(&'static str, &'static str),
}

impl Device {
    /// True if it has this characteristic.
    pub fn has(&self, characteristic: c_int) -> bool {
        self.characteristics & characteristic != 0
    }

    /// True if a write is never torn.
    pub(super) fn is_atomic(&self, offset: u64, length: usize) -> bool {
        if self.has(ffi::SQLITE_IOCAP_ATOMIC) {
            return true;
        }
        // The bit for a size of 512 bytes times a power of two is the next one for each doubling (sqlite3.h).
        let is_block = length >= 512 && length.is_power_of_two() && offset.is_multiple_of(length as u64);
        is_block && length <= 65_536 && self.has(ffi::SQLITE_IOCAP_ATOMIC512 << (length / 512).ilog2())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.directory.word())?;
        if self.sector_bytes != Self::default().sector_bytes {
            write!(f, "+{}", self.sector_bytes)?;
        }
        if !self.is_sector_atomic {
            f.write_str("+torn")?;
        }
        if self.has_page_cache {
            write!(f, "+{PAGE_CACHE}")?;
        }
        if !self.has(ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE) {
            write!(f, "+{NO_POWERSAFE}")?;
        }
        WORDS.iter().filter(|(_, bit)| self.has(*bit)).try_for_each(|(word, _)| write!(f, "+{word}"))
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let mut device = Self::default();
        let words: Vec<&str> = text.split('+').collect();
        for (one, other) in [
            ("512", "4096"),
            ("torn", PAGE_CACHE),
            ("strict", "ordered"),
            ("strict", "immediate"),
            ("ordered", "immediate"),
        ] {
            if words.contains(&one) && words.contains(&other) {
                return Err(DeviceError::Both(one, other));
            }
        }
        for word in words {
            let directory = Directory::ALL.into_iter().find(|directory| directory.word() == word);
            let characteristic = WORDS.iter().find(|(known, _)| *known == word).map(|(_, bit)| *bit);
            match (directory, characteristic, word) {
                (Some(directory), ..) => device.directory = directory,
                (_, Some(bit), _) => device.characteristics |= bit,
                (.., "512") => device.sector_bytes = 512,
                (.., "4096") => device.sector_bytes = 4096,
                (.., "torn") => device.is_sector_atomic = false,
                (.., PAGE_CACHE) => device.has_page_cache = true,
                (.., NO_POWERSAFE) => device.characteristics &= !ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE,
                _ => return Err(DeviceError::Unknown(word.to_owned())),
            }
        }
        Ok(device)
    }
}
