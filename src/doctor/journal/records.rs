//! All that a journal can put back, segment by segment (file format, section 3; `pager_playback`).

use super::JOURNAL_MAGIC;
use crate::doctor::bytes::{array, be_u32, is_page_size};
use std::io::{self, Read, Seek, SeekFrom};

const HEADER_BYTES: usize = 28;
/// The most bytes of a journal that are read.
const READ_BYTES_MAX: u64 = 1 << 30;
/// The most segments that are looked at. Each has a sector of its own, so this is a journal of at least 32 MiB.
const SEGMENTS_MAX: u64 = 1 << 16;
/// Instead of a count of pages: count them by the file's length.
const BY_LENGTH: u32 = u32::MAX;
/// Pages behind this byte are numbered with a gap: the page of the locks is never used.
const LOCK_BYTE: u64 = 0x4000_0000;

/// What a journal can put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::doctor) struct JournalRecords {
    pub(in crate::doctor) records: u64,
    pub(in crate::doctor) segments: u64,
    pub(in crate::doctor) page_bytes: u32,
    /// The beginning of page 1 as it was before the transaction, if the journal has that page.
    pub(in crate::doctor) first_page: Option<Vec<u8>>,
    /// Bytes that were not read, because the journal is too long.
    pub(in crate::doctor) unread_bytes: u64,
}

/// The header of a segment.
struct SegmentHeader {
    records: u32,
    nonce: u32,
    sector_bytes: u32,
    page_bytes: u32,
}

impl SegmentHeader {
    fn parse(bytes: &[u8]) -> Option<SegmentHeader> {
        (array(bytes, 0)? == JOURNAL_MAGIC).then_some(())?;
        Some(SegmentHeader {
            records: be_u32(bytes, 8)?,
            nonce: be_u32(bytes, 12)?,
            sector_bytes: be_u32(bytes, 20)?,
            page_bytes: be_u32(bytes, 24)?,
        })
    }
}

impl JournalRecords {
    /// Looks at as many bytes of a journal as it was long when that was asked.
    pub(in crate::doctor) fn scan(file: &mut (impl Read + Seek), bytes: u64) -> io::Result<JournalRecords> {
        let mut found = JournalRecords::default();
        let end = bytes.min(READ_BYTES_MAX);
        let (mut at, mut sector_bytes) = (0_u64, 0_u64);
        let mut page = Vec::new();
        while found.segments < SEGMENTS_MAX && at < end {
            file.seek(SeekFrom::Start(at))?;
            let mut reader = io::BufReader::new(&mut *file);
            let mut header = [0; HEADER_BYTES];
            if !fill(&mut reader, &mut header)? {
                break;
            }
            let Some(header) = SegmentHeader::parse(&header) else { break };
            if found.page_bytes == 0 {
                // The first header says the sizes for all; those of later ones are not looked at by SQLite either.
                let is_sector = header.sector_bytes.is_power_of_two() && (32..=65536).contains(&header.sector_bytes);
                if !is_sector || !is_page_size(header.page_bytes) {
                    break;
                }
                found.page_bytes = header.page_bytes;
                sector_bytes = header.sector_bytes.into();
                page = vec![0; header.page_bytes as usize + 8];
            }
            let record_bytes = page.len() as u64;
            let room = end.saturating_sub(at + sector_bytes) / record_bytes;
            let claimed = if header.records == BY_LENGTH { room } else { u64::from(header.records) };
            drop(reader);
            file.seek(SeekFrom::Start(at + sector_bytes))?;
            let mut reader = io::BufReader::with_capacity(1 << 16, &mut *file);
            let mut read = 0;
            while read < claimed.min(room) && fill(&mut reader, &mut page)? && found.take(&page, header.nonce) {
                read += 1;
            }
            found.segments += u64::from(read > 0);
            if read < claimed {
                break;
            }
            let records_end = at + sector_bytes + read * record_bytes;
            let next = records_end.next_multiple_of(sector_bytes);
            if next <= at {
                break;
            }
            at = next;
        }
        if at >= end || bytes > end {
            found.unread_bytes = bytes - end;
        }
        Ok(found)
    }

    /// Counts a record; false if it is none that SQLite would put back.
    fn take(&mut self, record: &[u8], nonce: u32) -> bool {
        let Some((page, checksum)) = record.get(4..).and_then(|rest| rest.split_last_chunk::<4>()) else {
            return false;
        };
        let number = be_u32(record, 0).unwrap_or(0);
        let lock_page = LOCK_BYTE / u64::from(self.page_bytes.max(1)) + 1;
        if number == 0 || u64::from(number) == lock_page || sum(page, nonce) != u32::from_be_bytes(*checksum) {
            return false;
        }
        if number == 1 && self.first_page.is_none() {
            self.first_page = Some(page[..page.len().min(100)].to_vec());
        }
        self.records += 1;
        true
    }

    /// The change counter before the transaction, if the journal has page 1.
    pub(in crate::doctor) fn change_counter(&self) -> Option<u32> {
        be_u32(self.first_page.as_deref()?, 24)
    }
}

/// SQLite's sum over a record (`pager_cksum`): every 200th byte, from the end.
fn sum(page: &[u8], nonce: u32) -> u32 {
    let places = (1..).map(|n| page.len().checked_sub(200 * n)).map_while(|place| place.filter(|&place| place > 0));
    places.fold(nonce, |sum, place| sum.wrapping_add(page[place].into()))
}

fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
