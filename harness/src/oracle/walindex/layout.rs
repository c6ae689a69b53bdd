//! The bytes of the wal-index: constants of `wal.c`, the header, the checksum.

/// The two copies of `WalIndexHdr` and the `WalCkptInfo` behind them: all that `check` reads (`WALINDEX_HDR_SIZE`).
pub const HEADER_BYTES: usize = 136;

/// One region of the wal-index (`WALINDEX_PGSZ`).
pub const REGION_BYTES: usize = 32 * 1024;

/// Size of one copy of the header.
pub(super) const COPY_BYTES: usize = 48;
/// How many bytes of the header its checksum covers.
pub(super) const SUMMED_BYTES: usize = 40;
/// `WALINDEX_MAX_VERSION` and `WAL_MAX_VERSION`, the only ones there are.
pub(super) const FORMAT: u32 = 3_007_000;
/// `WAL_MAGIC` without its lowest bit.
pub(super) const MAGIC: u32 = 0x377f_0682;
/// `READMARK_NOT_USED`.
pub(super) const NOT_USED: u32 = u32::MAX;
pub(super) const WAL_HEADER_BYTES: usize = 32;
pub(super) const FRAME_HEADER_BYTES: usize = 24;
/// `HASHTABLE_NPAGE`: frames that a region holds; the first holds fewer, for the header's sake.
pub(super) const FRAMES: usize = 4096;
pub(super) const FRAMES_FIRST: usize = FRAMES - HEADER_BYTES / 4;
/// `HASHTABLE_NSLOT`.
pub(super) const SLOTS: usize = 2 * FRAMES;

/// One copy of the header (`WalIndexHdr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalIndexHeader {
    /// `iVersion`.
    pub version: u32,
    /// `iChange`, counts transactions.
    pub change: u32,
    /// `bigEndCksum`: the WAL's checksums read its words as big-endian.
    pub is_big_endian: bool,
    /// `szPage` as it stands there: 1 means 65,536 and 0 that no frame was ever seen.
    pub page_size_code: u16,
    /// `mxFrame`, the last committed frame.
    pub max_frame: u32,
    /// `nPage`, the size of the database in pages.
    pub pages: u32,
    /// `aFrameCksum`, the checksum of the last committed frame.
    pub frame_checksum: [u32; 2],
    /// `aSalt`, byte by byte as in the WAL's header.
    pub salt: [u8; 8],
    /// `aCksum`.
    pub checksum: [u32; 2],
}

/// The header and what checkpoints and readers keep behind it (`WalCkptInfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalIndex {
    /// The header, of which both copies are the same.
    pub header: WalIndexHeader,
    /// `nBackfill`: frames that are in the database.
    pub backfilled: u32,
    /// `aReadMark`.
    pub read_marks: [u32; 5],
    /// `nBackfillAttempted`: frames that may be in the database.
    pub backfill_attempted: u32,
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(array(bytes, offset))
}

pub(super) fn u32_be(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(array(bytes, offset))
}

pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut copy = [0; N];
    copy.copy_from_slice(&bytes[offset..offset + N]);
    copy
}

/// `walChecksumBytes`, from `sum` on.
pub(super) fn checksum(bytes: &[u8], word: impl Fn([u8; 4]) -> u32, sum: [u32; 2]) -> [u32; 2] {
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(sum, |[one, two], [a, b, c, d, e, f, g, h]| {
        let one = one.wrapping_add(word([*a, *b, *c, *d])).wrapping_add(two);
        [one, two.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(one)]
    })
}

impl WalIndexHeader {
    fn parse(copy: &[u8; COPY_BYTES]) -> Self {
        Self {
            version: u32_at(copy, 0),
            change: u32_at(copy, 8),
            is_big_endian: copy[13] != 0,
            page_size_code: u16::from_ne_bytes(array(copy, 14)),
            max_frame: u32_at(copy, 16),
            pages: u32_at(copy, 20),
            frame_checksum: [u32_at(copy, 24), u32_at(copy, 28)],
            salt: array(copy, 32),
            checksum: [u32_at(copy, 40), u32_at(copy, 44)],
        }
    }

    /// The page size in bytes (`walPagesize`), if the code stands for one.
    pub fn page_size(&self) -> Option<usize> {
        match self.page_size_code {
            1 => Some(65_536),
            code if code >= 512 && code.is_power_of_two() => Some(code.into()),
            _ => None,
        }
    }
}

impl WalIndex {
    /// Reads the first [`HEADER_BYTES`] of a wal-index. `None` if there is nothing to judge: too few bytes, not
    /// initialised, or the copies of the header differ because a connection is writing it.
    pub fn parse(first: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = first.first_chunk()?;
        let copy: &[u8; COPY_BYTES] = bytes.first_chunk()?;
        if copy[..] != bytes[COPY_BYTES..2 * COPY_BYTES] || copy[12] == 0 {
            return None;
        }
        Some(Self {
            header: WalIndexHeader::parse(copy),
            backfilled: u32_at(bytes, 96),
            read_marks: std::array::from_fn(|slot| u32_at(bytes, 100 + 4 * slot)),
            backfill_attempted: u32_at(bytes, 128),
        })
    }
}
