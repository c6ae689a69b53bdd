//! Images: what a power cut left.

use super::change::{Change, ChangeKind, Name};
use super::content::Content;
use super::device::Directory;
use super::page_cache;
use super::state::{DiskState, apply_to_names};
use crate::seed::mix;
use rusqlite::ffi;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// What became of one pending change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// It is not there.
    Lost,
    /// It is there.
    Kept,
    /// Of a write, the bytes from one position to another are there.
    Torn {
        /// The first byte that arrived.
        from: u32,
        /// The end of those that arrived.
        to: u32,
    },
    /// Of a write that extends the file, the length is there, with zeroes.
    Extended,
    /// A write is there, and the rest of its sectors is zeroes.
    Smeared,
}

/// The files of a disk after a power cut.
#[derive(Clone, Debug)]
pub struct Image {
    pub(in crate::media::sim) files: BTreeMap<Name, Content>,
    hash: u64,
}

impl Image {
    /// The image of these files.
    pub fn new(files: BTreeMap<Name, Content>) -> Self {
        let entry = |(name, content): (&Name, &Content)| {
            let named = name.iter().fold(0, |sum, byte| mix(sum ^ u64::from(*byte)));
            mix(named ^ content.hash())
        };
        let hash = files.iter().map(entry).fold(0_u64, u64::wrapping_add);
        Self { files, hash }
    }

    /// A checksum of 64 bits over names and bytes: two images of a million have the same one by accident with a
    /// probability of 1 to 30 million.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The files, by name.
    pub fn files(&self) -> impl Iterator<Item = (&[u8], &Content)> {
        self.files.iter().map(|(name, content)| (&**name, content))
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> Option<&Content> {
        self.files.get(name.as_bytes())
    }
}

impl DiskState {
    /// What is on the disk if the pending changes have these fates. Changes without one are lost.
    pub fn image(&self, fates: &[Fate]) -> Image {
        let mut names = self.names.clone();
        let mut contents: BTreeMap<u64, Content> = BTreeMap::new();
        for (change, fate) in self.pending.iter().zip(fates) {
            if *fate == Fate::Lost {
                continue;
            }
            match change.kind.file() {
                None => apply_to_names(&mut names, &change.kind),
                Some(file) => {
                    let durable = || self.files.get(&file).cloned().unwrap_or_default();
                    self.keep(contents.entry(file).or_insert_with(durable), &change.kind, *fate);
                }
            }
        }
        let content = |file| contents.get(&file).or_else(|| self.files.get(&file)).cloned().unwrap_or_default();
        Image::new(names.into_iter().map(|(name, file)| (name, content(file))).collect())
    }

    fn keep(&self, content: &mut Content, kind: &ChangeKind, fate: Fate) {
        match kind {
            ChangeKind::Truncate { length, .. } => content.truncate(*length),
            ChangeKind::Write { offset, bytes, .. } => match fate {
                Fate::Extended => {
                    let length = content.len().max(offset + bytes.len() as u64);
                    content.truncate(length);
                }
                Fate::Torn { from, to } => {
                    let (from, to) = (from as usize, (to as usize).min(bytes.len()));
                    content.write(offset + from as u64, &bytes[from.min(to)..to]);
                }
                Fate::Smeared => {
                    let sector = u64::from(self.device.sector_bytes);
                    let (start, end) =
                        (offset / sector * sector, (offset + bytes.len() as u64).div_ceil(sector) * sector);
                    content.zero(start, offset - start);
                    let after = offset + bytes.len() as u64;
                    content.zero(after, end.min(content.len()).saturating_sub(after));
                    content.write(*offset, bytes);
                }
                _ => content.write(*offset, bytes),
            },
            _ => {}
        }
    }

    /// True if a power cut on this device can come to these fates.
    pub fn is_possible(&self, fates: &[Fate]) -> bool {
        let fate_of = |index: usize| fates.get(index).copied().unwrap_or(Fate::Lost);
        let each = |(index, change): (usize, &std::rc::Rc<Change>)| self.suits(&change.kind, fate_of(index));
        self.pending.iter().enumerate().all(each)
            && self.is_in_order(fate_of)
            && (!self.device.has_page_cache || page_cache::is_in_order(self, fate_of))
    }

    fn is_in_order(&self, fate_of: impl Fn(usize) -> Fate) -> bool {
        let is_ordered = |kind: &ChangeKind| {
            self.device.has(ffi::SQLITE_IOCAP_SEQUENTIAL)
                || kind.is_entry() && self.device.directory == Directory::Ordered
        };
        if self.device.has(ffi::SQLITE_IOCAP_SAFE_APPEND) && !self.appends_in_order(&fate_of) {
            return false;
        }
        let mut is_over = false;
        for (index, _) in self.pending.iter().enumerate().filter(|(_, change)| is_ordered(&change.kind)) {
            if is_over && fate_of(index) != Fate::Lost {
                return false;
            }
            is_over |= fate_of(index) != Fate::Kept;
        }
        true
    }

    /// With safe appends, a file does not get longer before the bytes are there, so no append comes without the earlier
    /// ones of the same file.
    fn appends_in_order(&self, fate_of: &impl Fn(usize) -> Fate) -> bool {
        let mut ended = BTreeSet::new();
        for (index, change) in self.pending.iter().enumerate() {
            match &change.kind {
                ChangeKind::Write { file, offset, bytes, length_before }
                    if offset + bytes.len() as u64 > *length_before =>
                {
                    if fate_of(index) != Fate::Lost && ended.contains(file) {
                        return false;
                    }
                    if fate_of(index) != Fate::Kept {
                        ended.insert(*file);
                    }
                }
                ChangeKind::Truncate { file, .. } => {
                    ended.remove(file);
                }
                _ => {}
            }
        }
        true
    }

    /// True if the device can do this to such a change.
    fn suits(&self, kind: &ChangeKind, fate: Fate) -> bool {
        let ChangeKind::Write { offset, bytes, length_before, .. } = kind else {
            return matches!(fate, Fate::Lost | Fate::Kept);
        };
        match fate {
            Fate::Lost | Fate::Kept => true,
            Fate::Torn { from, .. } => {
                let is_append = offset + bytes.len() as u64 > *length_before;
                let leaves_hole = from > 0 && is_append && self.device.has(ffi::SQLITE_IOCAP_SAFE_APPEND);
                !leaves_hole && !self.device.is_atomic(*offset, bytes.len())
            }
            Fate::Extended => {
                offset + bytes.len() as u64 > *length_before && !self.device.has(ffi::SQLITE_IOCAP_SAFE_APPEND)
            }
            Fate::Smeared => {
                let sector = u64::from(self.device.sector_bytes);
                let is_whole = offset.is_multiple_of(sector) && (bytes.len() as u64).is_multiple_of(sector);
                !is_whole && !self.device.has(ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE)
            }
        }
    }
}

/// As a part of a token: `0`, `1`, `t0-512`, `x`, `s`.
impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("0"),
            Self::Kept => f.write_str("1"),
            Self::Torn { from, to } => write!(f, "t{from}-{to}"),
            Self::Extended => f.write_str("x"),
            Self::Smeared => f.write_str("s"),
        }
    }
}

impl FromStr for Fate {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "0" => Self::Lost,
            "1" => Self::Kept,
            "x" => Self::Extended,
            "s" => Self::Smeared,
            _ => {
                let (from, to) = text.strip_prefix('t').and_then(|range| range.split_once('-')).ok_or(())?;
                Self::Torn { from: from.parse().map_err(drop)?, to: to.parse().map_err(drop)? }
            }
        })
    }
}
