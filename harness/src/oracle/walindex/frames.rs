//! The frames: where the wal-index enters them, and what the WAL itself holds of them.

use super::layout::{
    FORMAT, FRAME_HEADER_BYTES, FRAMES, FRAMES_FIRST, HEADER_BYTES, MAGIC, REGION_BYTES, SLOTS, WAL_HEADER_BYTES,
    WalIndex, checksum, u32_at, u32_be,
};
use super::violation::Violation;
use std::iter;

/// Where a frame is entered (`walHashGet`, `walFramePage`).
pub(super) struct FrameEntry<'a> {
    frame: u32,
    /// The page numbers of its region.
    pages: &'a [u8],
    /// The hash table behind them.
    slots: &'a [u8],
    /// Its position in both, from 1.
    position: usize,
}

impl<'a> FrameEntry<'a> {
    /// `None` if the frame's region is not among the bytes.
    pub(super) fn of(shm: &'a [u8], frame: u32) -> Option<Self> {
        let number = frame as usize + FRAMES - FRAMES_FIRST - 1;
        let (region, within) = (number / FRAMES, number % FRAMES);
        let bytes = shm.get(region * REGION_BYTES..(region + 1) * REGION_BYTES)?;
        let (pages, slots) = bytes.split_at(4 * FRAMES);
        let skipped = if region == 0 { HEADER_BYTES } else { 0 };
        Some(Self { frame, pages: &pages[skipped..], slots, position: within + 1 - skipped / 4 })
    }

    pub(super) fn page(&self) -> u32 {
        u32_at(self.pages, 4 * (self.position - 1))
    }

    pub(super) fn check(&self, max_frame: u32) -> Option<Violation> {
        let (frame, page) = (self.frame, self.page());
        if page == 0 {
            return Some(Violation::NoPage { frame, max_frame });
        }
        // walHash and walNextHash, until the frame or an empty slot.
        let start = page.wrapping_mul(383) as usize;
        let chain = (0..SLOTS).map(|step| {
            let offset = 2 * ((start + step) % SLOTS);
            usize::from(u16::from_ne_bytes([self.slots[offset], self.slots[offset + 1]]))
        });
        let is_there = chain.take_while(|slot| *slot != 0).any(|slot| slot == self.position);
        (!is_there).then_some(Violation::Unreachable { frame, max_frame, page })
    }
}

/// The WAL beside the wal-index, up to mxFrame.
pub(super) fn check_wal(index: &WalIndex, shm: &[u8], wal: &[u8]) -> Result<(), Violation> {
    let (header, max_frame) = (&index.header, index.header.max_frame);
    let Some(page_size) = header.page_size().filter(|_| max_frame > 0) else { return Ok(()) };
    if wal.is_empty() && index.backfilled == max_frame {
        // sqlite3WalClose of the last connection with a persistent WAL: walLimitSize(0), and no connection is left.
        return Ok(());
    }
    let frame_bytes = FRAME_HEADER_BYTES + page_size;
    if wal.len() < WAL_HEADER_BYTES + frame_bytes * max_frame as usize {
        return Err(Violation::WalShort { bytes: wal.len(), max_frame });
    }
    let word = if header.is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    let magic = u32_be(wal, 0);
    let identity = [
        ("the page size", u32_be(wal, 8) as usize == page_size),
        ("the salt", wal[16..24] == header.salt),
        ("the byte order", (magic & 1 == 1) == header.is_big_endian),
    ];
    let mut sum = checksum(&wal[..24], word, [0; 2]);
    if let Some((what, _)) = identity.into_iter().find(|(_, same)| !same) {
        return Err(Violation::WalIdentity { what, max_frame });
    }
    if magic & !1 != MAGIC || u32_be(wal, 4) != FORMAT || sum != [u32_be(wal, 24), u32_be(wal, 28)] {
        return Err(Violation::WalHeader(max_frame));
    }
    for (frame, bytes) in iter::zip(1..=max_frame, wal[WAL_HEADER_BYTES..].chunks_exact(frame_bytes)) {
        sum = checksum(&bytes[FRAME_HEADER_BYTES..], word, checksum(&bytes[..8], word, sum));
        let page = FrameEntry::of(shm, frame).map_or(u32_be(bytes, 0), |entry| entry.page());
        let is_last = frame == max_frame;
        let right = [
            ("salt", bytes[8..16] == header.salt),
            ("page number", u32_be(bytes, 0) == page),
            ("checksum", sum == [u32_be(bytes, 16), u32_be(bytes, 20)]),
            ("database size", !is_last || u32_be(bytes, 4) == header.pages),
            ("checksum, by the wal-index", !is_last || sum == header.frame_checksum),
        ];
        if let Some((what, _)) = right.into_iter().find(|(_, right)| !right) {
            return Err(Violation::Frame { frame, max_frame, what });
        }
    }
    Ok(())
}
