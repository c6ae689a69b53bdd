//! The `-wal` file, frame by frame (WAL format, sections 1 and 4), as SQLite's own recovery would see it.
//!
//! SQLite takes no lock on this file, ever, so opening and closing it cancels nothing. It is read while others may
//! write to it: frames are only ever appended, unless the log is restarted, and that changes the header. So the header
//! is read again at the end, and if it has changed, everything is. A log is read up to a bound.

mod compare;

pub(super) use compare::PageComparison;

use super::bytes::{Checksum, array, be_u32, is_page_size};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

const HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
/// How often a log that is being restarted is read.
const READS_MAX: u32 = 3;
/// The most bytes of a log that are read.
const READ_BYTES_MAX: u64 = 1 << 30;
/// The most frames behind the valid ones whose headers are looked at.
const OLDER_FRAMES_MAX: u64 = 1 << 14;

/// What a `-wal` file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Wal {
    /// Length of the file.
    pub bytes: u64,
    /// Its header; `None` if there is none that SQLite would accept, and then SQLite takes the log for empty.
    pub header: Option<WalHeader>,
    /// Frames that SQLite would replay: all up to the last frame that ends a transaction.
    pub committed_frames: u64,
    /// Valid frames after that: a transaction that is going on, was rolled back, or whose process died.
    pub uncommitted_frames: u64,
    /// Frames after the valid ones that are left from an earlier round of the log; they mean nothing.
    pub older_frames: u64,
    /// Frames after the valid ones that are neither: half written, or damaged.
    pub torn_frames: u64,
    /// Bytes after the last whole frame.
    pub rest_bytes: u64,
    /// Bytes that were not read, because the log is too long. The numbers are those of the part before.
    pub unread_bytes: u64,
    /// Transactions that SQLite would replay.
    pub commits: u64,
    /// Size of the database after the last committed transaction, in pages.
    pub database_pages: Option<u32>,
    /// The change counter in the newest committed copy of page 1, if the log has one.
    pub change_counter: Option<u32>,
    /// Whether the log stood still while it was read. If not, the numbers belong to a moment in between.
    pub is_stable: bool,
    /// The change counter in the oldest committed copy of page 1, if the log has one.
    #[serde(skip)]
    pub(super) first_change_counter: Option<u32>,
    /// The page of each committed frame, in order.
    #[serde(skip)]
    pub(super) page_numbers: Vec<u32>,
}

/// The header of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalHeader {
    /// Page size, in bytes.
    pub page_bytes: u32,
    /// How often the log has been restarted.
    pub checkpoint_sequence: u32,
    /// Drawn anew for each round; frames with other salts are from an earlier one.
    pub salts: [u32; 2],
    #[serde(skip)]
    is_big_endian: bool,
    #[serde(skip)]
    checksum: Checksum,
}

impl WalHeader {
    pub(super) fn parse(bytes: &[u8]) -> Option<WalHeader> {
        let magic = be_u32(bytes, 0)?;
        let is_big_endian = magic & 1 == 1;
        let word = word(is_big_endian);
        let checksum = Checksum::default().extend(bytes.get(..24)?, word);
        let page_bytes = be_u32(bytes, 8)?;
        let is_valid = magic & !1 == MAGIC
            && is_page_size(page_bytes)
            && be_u32(bytes, 4)? == VERSION
            && checksum == Checksum(be_u32(bytes, 24)?, be_u32(bytes, 28)?);
        is_valid.then_some(WalHeader {
            page_bytes,
            checkpoint_sequence: be_u32(bytes, 12)?,
            salts: [be_u32(bytes, 16)?, be_u32(bytes, 20)?],
            is_big_endian,
            checksum,
        })
    }
}

impl Wal {
    /// Reads the log at `path`; `None` if there is none.
    pub(super) fn read(path: &Path) -> io::Result<Option<Wal>> {
        let Some(mut file) = open_file(path)? else { return Ok(None) };
        let mut wal = Wal::default();
        for _ in 0..READS_MAX {
            let bytes = file.metadata()?.len();
            file.rewind()?;
            let before = read_up_to(&mut file, HEADER_BYTES)?;
            wal = Wal::scan(&mut file, bytes)?;
            file.rewind()?;
            wal.is_stable = before == read_up_to(&mut file, HEADER_BYTES)?;
            if wal.is_stable {
                break;
            }
        }
        Ok(Some(wal))
    }

    /// Looks at as many bytes of a log as it was long when that was asked.
    pub(super) fn scan(log: &mut (impl Read + Seek), bytes: u64) -> io::Result<Wal> {
        log.rewind()?;
        let mut wal = Wal { bytes, is_stable: true, ..Wal::default() };
        let Some(header) = WalHeader::parse(&read_up_to(log, HEADER_BYTES)?) else { return Ok(wal) };
        let frame_bytes = FRAME_HEADER_BYTES + u64::from(header.page_bytes);
        let frames = bytes.saturating_sub(HEADER_BYTES) / frame_bytes;
        wal.rest_bytes = bytes.saturating_sub(HEADER_BYTES) % frame_bytes;
        let readable = frames.min(READ_BYTES_MAX / frame_bytes);
        let mut buffered = io::BufReader::with_capacity(1 << 16, &mut *log);
        let mut checksum = header.checksum;
        let (mut first_counter, mut change_counter) = (None, None);
        let mut frame = vec![0; frame_bytes as usize];
        let mut valid = 0;
        while valid < readable {
            if !fill(&mut buffered, &mut frame)? || !is_valid(&frame, &header, &mut checksum) {
                break;
            }
            valid += 1;
            let page = be_u32(&frame, 0).unwrap_or(0);
            wal.page_numbers.push(page);
            if page == 1 {
                change_counter = be_u32(&frame, FRAME_HEADER_BYTES as usize + 24);
                first_counter = first_counter.or(change_counter);
            }
            if let Some(pages) = be_u32(&frame, 4).filter(|&pages| pages != 0) {
                wal.committed_frames = valid;
                wal.commits += 1;
                wal.database_pages = Some(pages);
                wal.change_counter = change_counter;
                wal.first_change_counter = first_counter;
            }
        }
        wal.uncommitted_frames = valid - wal.committed_frames;
        wal.page_numbers.truncate(usize::try_from(wal.committed_frames).unwrap_or(usize::MAX));
        wal.unread_bytes = (frames - readable) * frame_bytes;
        if valid < readable || readable == frames {
            wal.unread_bytes = wal.scan_older(log, &header, valid..frames, frame_bytes)?;
        }
        wal.header = Some(header);
        Ok(wal)
    }

    /// What follows the valid frames is looked at by its frame headers alone, up to a bound; how many bytes were not.
    fn scan_older(
        &mut self,
        log: &mut (impl Read + Seek),
        header: &WalHeader,
        frames: std::ops::Range<u64>,
        frame_bytes: u64,
    ) -> io::Result<u64> {
        let mut frame_header = [0; FRAME_HEADER_BYTES as usize];
        let end = frames.end.min(frames.start.saturating_add(OLDER_FRAMES_MAX));
        for index in frames.start..end {
            log.seek(SeekFrom::Start(HEADER_BYTES + index * frame_bytes))?;
            if !fill(log, &mut frame_header)? {
                break;
            }
            let is_older = array(&frame_header, 8).map(salts) != Some(header.salts);
            *(if is_older { &mut self.older_frames } else { &mut self.torn_frames }) += 1;
        }
        Ok((frames.end - end) * frame_bytes)
    }

    /// Whether only a part was read in which SQLite might go on to replay.
    pub(super) fn is_cut(&self) -> bool {
        self.unread_bytes > 0 && self.older_frames + self.torn_frames == 0
    }
}

/// Opens a file of `/proc`, or a program: never a database.
pub(super) fn open_proc(path: &Path) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(status) if status.is_file() => File::open(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")),
        Err(error) => Err(error),
    }
}

/// Opens a file that carries no locks; `None` if there is none. A pipe in its place would be waited for without end.
pub(super) fn open_file(path: &Path) -> io::Result<Option<File>> {
    match fs::metadata(path) {
        Ok(status) if status.is_file() => File::open(path).map(Some),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn word(is_big_endian: bool) -> fn([u8; 4]) -> u32 {
    if is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes }
}

fn salts(bytes: [u8; 8]) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = bytes;
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

/// SQLite's own test (`walDecodeFrame`), the running checksum included.
fn is_valid(frame: &[u8], header: &WalHeader, checksum: &mut Checksum) -> bool {
    let (Some((head, page)), Some(of_header)) = (frame.split_at_checked(FRAME_HEADER_BYTES as usize), frame.get(..8))
    else {
        return false;
    };
    if array(head, 8).map(salts) != Some(header.salts) || be_u32(head, 0) == Some(0) {
        return false;
    }
    let word = word(header.is_big_endian);
    *checksum = checksum.extend(of_header, word).extend(page, word);
    (be_u32(head, 16), be_u32(head, 20)) == (Some(checksum.0), Some(checksum.1))
}

fn read_up_to(file: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    file.take(bytes).read_to_end(&mut buffer)?;
    Ok(buffer)
}

/// Whether there was enough to fill the buffer; a log may be cut short while it is read.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
