//! `walindex`: the wal-index is in order whenever no connection is writing it.
//!
//! The wal-index is the shared memory by which connections in WAL mode agree on what is committed and what has been
//! moved into the database. Damage there shows long before it costs a row: the WAL-reset defect leaves
//! `nBackfill 95 > mxFrame 30` while integrity_check still says ok.
//!
//! The functions are pure and read bytes: the wal-index from its first region on, as it lies in memory. They hold
//! what `wal.c` promises at any moment between two VFS calls (every xShmLock, xShmBarrier and xShmMap is one), as
//! long as the two copies of the header agree; while they differ, somebody is writing it, or died doing so and the
//! next reader runs recovery. Each [`Violation`] names the function that keeps the promise. Three things void it, and
//! are the caller's to know: a process killed by the operating system between two instructions, not at a call; a lab
//! fault that alters the wal-index or the WAL itself, or lies about locks (what is found then is the fault's damage);
//! and code of a killed simulated process that runs on into the shared memory.
//!
//! Left out, because it is not always so: read marks that nobody holds may lie beyond mxFrame (`walTryBeginRead`
//! stores the mark before it looks whether the log was restarted), a held mark may lie below nBackfill, and entries
//! beyond mxFrame may be anything (an unfinished transaction, the remains of a dead one, uninitialised memory after
//! recovery).

use std::iter;

use super::{Evidence, Oracle, observed};
use crate::verdict::Verdict;

/// The two copies of `WalIndexHdr` and the `WalCkptInfo` behind them: all that [`check`] reads (`WALINDEX_HDR_SIZE`).
pub const HEADER_BYTES: usize = 136;

/// One region of the wal-index (`WALINDEX_PGSZ`).
pub const REGION_BYTES: usize = 32 * 1024;

/// Size of one copy of the header.
const COPY_BYTES: usize = 48;
/// How many bytes of the header its checksum covers.
const SUMMED_BYTES: usize = 40;
/// `WALINDEX_MAX_VERSION` and `WAL_MAX_VERSION`, the only ones there are.
const FORMAT: u32 = 3_007_000;
/// `WAL_MAGIC` without its lowest bit.
const MAGIC: u32 = 0x377f_0682;
/// `READMARK_NOT_USED`.
const NOT_USED: u32 = u32::MAX;
const WAL_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// `HASHTABLE_NPAGE`: frames that a region holds; the first holds fewer, for the header's sake.
const FRAMES: usize = 4096;
const FRAMES_FIRST: usize = FRAMES - HEADER_BYTES / 4;
/// `HASHTABLE_NSLOT`.
const SLOTS: usize = 2 * FRAMES;

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

/// A promise of `wal.c` that the wal-index does not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// `walIndexWriteHdr` writes both copies with the checksum that it has just computed.
    #[error("the header's checksum is {stored:08x?}, its content's is {computed:08x?}")]
    HeaderChecksum {
        /// `aCksum`.
        stored: [u32; 2],
        /// What it should be.
        computed: [u32; 2],
    },
    /// `walIndexWriteHdr` writes no other.
    #[error("iVersion {0}, not {FORMAT}")]
    Version(u32),
    /// `walFrames` and `walIndexRecover` set it from a page size that is a power of two from 512 to 65,536, and
    /// publish a frame only with it.
    #[error("szPage {code} beside mxFrame {max_frame} is no page size")]
    PageSize {
        /// `szPage`.
        code: u16,
        /// `mxFrame`.
        max_frame: u32,
    },
    /// `walFrames` and `walIndexRecover` advance mxFrame at a commit frame alone, and take nPage from it.
    #[error("nPage 0 beside mxFrame {0}")]
    NoPages(u32),
    /// `walCheckpoint` stores nBackfill only under a read lock 0 that bars a restart, after it has made sure that the
    /// log is the one it read about; `walRestartHdr` and `walIndexRecover` set it to 0 before their next call.
    #[error("nBackfill {backfilled} > mxFrame {max_frame}")]
    Backfilled {
        /// `nBackfill`.
        backfilled: u32,
        /// `mxFrame`.
        max_frame: u32,
    },
    /// The same, for nBackfillAttempted ("mxFrame must never be less", says the comment on `WalCkptInfo`).
    #[error("nBackfillAttempted {attempted} > mxFrame {max_frame}")]
    Attempted {
        /// `nBackfillAttempted`.
        attempted: u32,
        /// `mxFrame`.
        max_frame: u32,
    },
    /// `walCheckpoint` stores the attempt, which is beyond nBackfill, before it begins, and nBackfill when it is
    /// done; `walSnapshotRecover` lowers the attempt no further than to nBackfill.
    #[error("nBackfill {backfilled} > nBackfillAttempted {attempted}")]
    Unattempted {
        /// `nBackfill`.
        backfilled: u32,
        /// `nBackfillAttempted`.
        attempted: u32,
    },
    /// Nobody stores anything else there (`walRestartHdr` asserts it).
    #[error("aReadMark[0] {0}, not 0")]
    ReadMarkZero(u32),
    /// `walTryBeginRead` keeps the lock only if mark and header are still what it took; while it is held, nobody can
    /// change the mark or restart the log.
    #[error("aReadMark[{slot}] {mark} of a reader > mxFrame {max_frame}")]
    ReadMark {
        /// Which mark.
        slot: usize,
        /// Its value; 4294967295 means unused.
        mark: u32,
        /// `mxFrame`.
        max_frame: u32,
    },
    /// `walIndexAppend` enters every frame before `walIndexWriteHdr` publishes it; `walCleanupHash` removes only what
    /// is beyond the caller's mxFrame.
    #[error("frame {frame} of {max_frame} has no page number")]
    NoPage {
        /// The frame.
        frame: u32,
        /// `mxFrame`.
        max_frame: u32,
    },
    /// The same: readers look frames up by their hash (`walFindFrame`), and miss this one.
    #[error("frame {frame} of {max_frame}, page {page}, is not to be found by its hash")]
    Unreachable {
        /// The frame.
        frame: u32,
        /// `mxFrame`.
        max_frame: u32,
        /// The page that it holds.
        page: u32,
    },
    /// `walFrames` writes frames before it publishes them, and `walLimitSize` cuts behind them; a restart sets
    /// mxFrame to 0 before the file is touched.
    #[error("the WAL has {bytes} bytes, which is less than mxFrame {max_frame} needs")]
    WalShort {
        /// The file's size.
        bytes: usize,
        /// `mxFrame`.
        max_frame: u32,
    },
    /// `walFrames` writes it before the first frame: magic, version and checksum.
    #[error("the WAL's header is not valid beside mxFrame {0}")]
    WalHeader(u32),
    /// `walFrames` and `walIndexRecover` publish frames with the salts, the page size and the byte order of the WAL's
    /// header.
    #[error("{what} in the WAL's header is not that of the wal-index beside mxFrame {max_frame}")]
    WalIdentity {
        /// What differs.
        what: &'static str,
        /// `mxFrame`.
        max_frame: u32,
    },
    /// `walEncodeFrame` gives each frame the salts, and a checksum over all that is before it; frames that are
    /// published are not written again before the next restart.
    #[error("frame {frame} of {max_frame} in the WAL has a wrong {what}")]
    Frame {
        /// The frame.
        frame: u32,
        /// `mxFrame`.
        max_frame: u32,
        /// What is wrong with it.
        what: &'static str,
    },
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(array(bytes, offset))
}

fn u32_be(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(array(bytes, offset))
}

fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut copy = [0; N];
    copy.copy_from_slice(&bytes[offset..offset + N]);
    copy
}

/// `walChecksumBytes`, from `sum` on.
fn checksum(bytes: &[u8], word: impl Fn([u8; 4]) -> u32, sum: [u32; 2]) -> [u32; 2] {
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
    /// initialised, or the copies of the header differ because somebody is writing it.
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

/// Judges the first [`HEADER_BYTES`] of a wal-index; cheap enough to be called after each operation.
pub fn check(first: &[u8]) -> Vec<Violation> {
    WalIndex::parse(first).map_or_else(Vec::new, |index| check_header(&index, first))
}

fn check_header(index: &WalIndex, first: &[u8]) -> Vec<Violation> {
    let header = &index.header;
    let computed = checksum(&first[..SUMMED_BYTES], u32::from_ne_bytes, [0; 2]);
    if header.checksum != computed {
        // Nobody trusts it: walIndexTryHdr has it recovered.
        return vec![Violation::HeaderChecksum { stored: header.checksum, computed }];
    }
    let (backfilled, attempted, max_frame) = (index.backfilled, index.backfill_attempted, header.max_frame);
    let code = header.page_size_code;
    let mut found = Vec::new();
    let mut expect = |holds: bool, violation: Violation| {
        if !holds {
            found.push(violation);
        }
    };
    expect(backfilled <= max_frame, Violation::Backfilled { backfilled, max_frame });
    expect(attempted <= max_frame, Violation::Attempted { attempted, max_frame });
    expect(backfilled <= attempted, Violation::Unattempted { backfilled, attempted });
    expect(index.read_marks[0] == 0, Violation::ReadMarkZero(index.read_marks[0]));
    expect(header.version == FORMAT, Violation::Version(header.version));
    let none_yet = max_frame == 0 && code == 0;
    expect(none_yet || header.page_size().is_some(), Violation::PageSize { code, max_frame });
    expect(max_frame == 0 || header.pages > 0, Violation::NoPages(max_frame));
    found
}

/// What else is known at the moment of [`check_deep`]. What is absent is not judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// Numbers (1 to 4) of the read locks that are held by connections whose read transaction has begun. A lock that
    /// a connection holds within its first call proves nothing: it may still find that it has to try again.
    pub readers: &'a [usize],
    /// The WAL file as other processes see it, synced or not. Only while somebody has the wal-index mapped: what the
    /// last connection leaves behind is stale, and is made anew by the next.
    pub wal: Option<&'a [u8]>,
}

/// Judges a whole wal-index, all regions one after the other as they lie in the `-shm` file; costly. Includes what
/// [`check`] finds. At most one violation is reported of the hash table and one of the WAL.
pub fn check_deep(shm: &[u8], surroundings: Surroundings<'_>) -> Vec<Violation> {
    let Some(index) = WalIndex::parse(shm) else { return Vec::new() };
    let mut found = check_header(&index, shm);
    if found.iter().any(|violation| matches!(violation, Violation::HeaderChecksum { .. })) {
        return found;
    }
    let max_frame = index.header.max_frame;
    for slot in surroundings.readers.iter().copied().filter(|slot| (1..index.read_marks.len()).contains(slot)) {
        let mark = index.read_marks[slot];
        if mark == NOT_USED || mark > max_frame {
            found.push(Violation::ReadMark { slot, mark, max_frame });
        }
    }
    found.extend((1..=max_frame).map_while(|frame| Place::of(shm, frame)).find_map(|place| place.check(max_frame)));
    if let Some(wal) = surroundings.wal {
        found.extend(check_wal(&index, shm, wal).err());
    }
    found
}

/// Where a frame is entered (`walHashGet`, `walFramePage`).
struct Place<'a> {
    frame: u32,
    /// The page numbers of its region.
    pages: &'a [u8],
    /// The hash table behind them.
    slots: &'a [u8],
    /// Its position in both, from 1.
    position: usize,
}

impl<'a> Place<'a> {
    /// `None` if the frame's region is not among the bytes.
    fn of(shm: &'a [u8], frame: u32) -> Option<Self> {
        let number = frame as usize + FRAMES - FRAMES_FIRST - 1;
        let (region, within) = (number / FRAMES, number % FRAMES);
        let bytes = shm.get(region * REGION_BYTES..(region + 1) * REGION_BYTES)?;
        let (pages, slots) = bytes.split_at(4 * FRAMES);
        let skipped = if region == 0 { HEADER_BYTES } else { 0 };
        Some(Self { frame, pages: &pages[skipped..], slots, position: within + 1 - skipped / 4 })
    }

    fn page(&self) -> u32 {
        u32_at(self.pages, 4 * (self.position - 1))
    }

    fn check(&self, max_frame: u32) -> Option<Violation> {
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
fn check_wal(index: &WalIndex, shm: &[u8], wal: &[u8]) -> Result<(), Violation> {
    let (header, max_frame) = (&index.header, index.header.max_frame);
    let Some(page_size) = header.page_size().filter(|_| max_frame > 0) else { return Ok(()) };
    if wal.is_empty() && index.backfilled == max_frame {
        // sqlite3WalClose of the last connection with a persistent WAL: walLimitSize(0), and nobody left to be told.
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
        let page = Place::of(shm, frame).map_or(u32_be(bytes, 0), |place| place.page());
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

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "walindex",
    property: "the wal-index is in order whenever no connection is writing it, for example nBackfill <= mxFrame",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    observed(Verdict::Corrupt, &evidence.walindex).into_iter().collect()
}

fn canary() -> Evidence {
    let seen = Violation::Backfilled { backfilled: 95, max_frame: 30 };
    Evidence { walindex: vec![seen.to_string()], ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rusqlite::{Connection, ErrorCode};

    use super::*;

    /// A database in WAL mode, in a folder of its own. The files are read beside SQLite, which cancels the process's
    /// locks: harmless here, where there is one process.
    struct World {
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap() }
        }

        fn path(&self, suffix: &str) -> PathBuf {
            self.folder.path().join(format!("db{suffix}"))
        }

        fn open(&self) -> Connection {
            let db = Connection::open(self.path("")).unwrap();
            db.busy_timeout(std::time::Duration::ZERO).unwrap();
            db.execute_batch(
                "PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
                 PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 10;
                 CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, body)",
            )
            .unwrap();
            db
        }

        fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
            (fs::read(self.path("-shm")).unwrap(), fs::read(self.path("-wal")).unwrap())
        }

        #[track_caller]
        fn is_healthy(&self, readers: &[usize]) -> WalIndex {
            let (shm, wal) = self.bytes();
            assert_eq!(check_deep(&shm, Surroundings { readers, wal: Some(&wal) }), []);
            WalIndex::parse(&shm).unwrap()
        }
    }

    fn fill(db: &Connection, rows: u32) {
        let sql = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                   INSERT INTO t(body) SELECT zeroblob(400) FROM n";
        db.execute(sql, [rows]).unwrap();
    }

    /// Thirty frames and a reader at mark 1 who has held a checkpoint back.
    fn half_backfilled() -> (World, Connection, Connection) {
        let world = World::new();
        let (writer, reader) = (world.open(), world.open());
        fill(&writer, 10);
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        reader.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
        fill(&writer, 20);
        writer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        (world, writer, reader)
    }

    #[test]
    fn what_sqlite_leaves_between_two_statements_is_healthy() {
        let (world, writer, reader) = half_backfilled();
        let index = world.is_healthy(&[1]);
        assert!(0 < index.backfilled && index.backfilled < index.header.max_frame, "{index:?}");
        reader.execute_batch("COMMIT").unwrap();
        // A transaction that spills, undone in part and then as a whole, leaves entries beyond mxFrame.
        writer.execute_batch("BEGIN; SAVEPOINT one").unwrap();
        fill(&writer, 100);
        world.is_healthy(&[]);
        writer.execute_batch("ROLLBACK TO one").unwrap();
        fill(&writer, 50);
        world.is_healthy(&[]);
        writer.execute_batch("UPDATE t SET body = zeroblob(300); ROLLBACK").unwrap();
        world.is_healthy(&[]);
        fill(&writer, 6000);
        assert!(world.is_healthy(&[]).header.max_frame as usize > FRAMES_FIRST, "a second region");
        // A checkpoint of everything, a restarted log, a truncated one.
        for mode in ["FULL", "RESTART", "PASSIVE", "TRUNCATE"] {
            writer.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
            let index = world.is_healthy(&[]);
            assert_eq!(index.backfilled, index.header.max_frame, "{mode}");
            fill(&writer, 3);
            world.is_healthy(&[]);
        }
    }

    #[test]
    fn what_recovery_leaves_is_healthy() {
        let (world, _writer, _reader) = half_backfilled();
        let copy = World::new();
        for suffix in ["", "-wal"] {
            fs::copy(world.path(suffix), copy.path(suffix)).unwrap();
        }
        let db = copy.open();
        let index = copy.is_healthy(&[]);
        assert_eq!((index.backfilled, index.backfill_attempted), (0, index.header.max_frame));
        fill(&db, 1);
        copy.is_healthy(&[]);
        let empty = World::new();
        let _db = empty.open();
        empty.is_healthy(&[]);
    }

    #[test]
    fn what_racing_connections_leave_is_healthy() {
        let world = World::new();
        let mut connections = [world.open(), world.open(), world.open()];
        let mut state = 1_u32;
        for _ in 0..2000 {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let (who, what) = ((state >> 16) as usize % 3, (state >> 20) % 9);
            let sql = match what {
                0 => "BEGIN",
                1 => "BEGIN IMMEDIATE",
                2 => "COMMIT",
                3 => "ROLLBACK",
                4 => "PRAGMA wal_checkpoint(PASSIVE)",
                5 => "PRAGMA wal_checkpoint(TRUNCATE)",
                6 => "INSERT INTO t(body) VALUES(zeroblob(4000))",
                7 => "UPDATE t SET body = zeroblob(3000) WHERE id % 3 = 0",
                _ => "SELECT count(*) FROM t",
            };
            let result = connections[who]
                .prepare(sql)
                .and_then(|mut s| s.query([]).and_then(|mut rows| rows.next().map(|_| ())));
            if let Err(error) = result {
                let expected = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked, ErrorCode::Unknown];
                assert!(expected.contains(&error.sqlite_error_code().unwrap()), "{sql}: {error}");
            }
            world.is_healthy(&[]);
            if state.is_multiple_of(97) {
                connections[who] = world.open();
            }
        }
    }

    /// Writes a number into both copies of the header, or behind them, and makes the header's checksum right again.
    fn planted(shm: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
        let mut shm = shm.to_vec();
        shm[offset..offset + bytes.len()].copy_from_slice(bytes);
        let sum = checksum(&shm[..SUMMED_BYTES], u32::from_ne_bytes, [0; 2]);
        shm[40..44].copy_from_slice(&sum[0].to_ne_bytes());
        shm[44..48].copy_from_slice(&sum[1].to_ne_bytes());
        shm.copy_within(..COPY_BYTES, COPY_BYTES);
        shm
    }

    fn texts(violations: &[Violation]) -> Vec<String> {
        violations.iter().map(Violation::to_string).collect()
    }

    #[test]
    fn canary_each_broken_promise_of_the_header_is_caught() {
        let (world, _writer, _reader) = half_backfilled();
        let (shm, _) = world.bytes();
        let index = WalIndex::parse(&shm).unwrap();
        let (max, done) = (index.header.max_frame, index.backfilled);
        assert_eq!(check(&shm), []);
        let found = |offset, value: u32| texts(&check(&planted(&shm, offset, &value.to_ne_bytes()))).join("; ");
        assert_eq!(
            found(96, max + 1),
            format!("nBackfill {} > mxFrame {max}; nBackfill {} > nBackfillAttempted {done}", max + 1, max + 1)
        );
        assert_eq!(found(128, max + 1), format!("nBackfillAttempted {} > mxFrame {max}", max + 1));
        assert_eq!(found(128, done - 1), format!("nBackfill {done} > nBackfillAttempted {}", done - 1));
        assert_eq!(found(100, 7), "aReadMark[0] 7, not 0");
        assert_eq!(found(0, 3_008_000), "iVersion 3008000, not 3007000");
        assert_eq!(found(20, 0), format!("nPage 0 beside mxFrame {max}"));
        let page_size = |code: u16| texts(&check(&planted(&shm, 14, &code.to_ne_bytes()))).join("; ");
        assert_eq!(page_size(0), format!("szPage 0 beside mxFrame {max} is no page size"));
        assert_eq!(page_size(1000), format!("szPage 1000 beside mxFrame {max} is no page size"));
        assert_eq!([page_size(1), page_size(32768)], ["", ""]);
        let mut unsealed = shm.clone();
        (unsealed[8], unsealed[COPY_BYTES + 8]) = (99, 99);
        assert!(texts(&check(&unsealed))[0].starts_with("the header's checksum is ["));
        // While somebody writes it, and before anybody has, there is nothing to judge.
        unsealed[9] ^= 1;
        assert_eq!(check(&unsealed), []);
        assert_eq!(check(&planted(&planted(&shm, 96, &[255; 4]), 12, &[0])), []);
        assert_eq!([check(&[]), check(&[1; HEADER_BYTES - 1])], [[], []]);
    }

    #[track_caller]
    fn deep(shm: &[u8], surroundings: Surroundings<'_>, expected: &str) {
        assert_eq!(texts(&check_deep(shm, surroundings)).join("; "), expected);
        assert_eq!(check(shm), [], "the header alone shows nothing");
    }

    #[test]
    fn canary_each_broken_promise_of_marks_and_hash_table_is_caught() {
        let (world, _writer, _reader) = half_backfilled();
        let (shm, _) = world.bytes();
        let max = WalIndex::parse(&shm).unwrap().header.max_frame;
        let readers = Surroundings { readers: &[2, 1], wal: None };
        let unused = format!("aReadMark[2] {NOT_USED} of a reader > mxFrame {max}");
        deep(&shm, readers, &unused);
        let stale = planted(&shm, 104, &(max + 9).to_ne_bytes());
        deep(&stale, readers, &format!("{unused}; aReadMark[1] {} of a reader > mxFrame {max}", max + 9));
        deep(&stale, Surroundings::default(), "");

        let page_of = |frame: u32| HEADER_BYTES + 4 * (frame as usize - 1);
        let nameless = planted(&shm, page_of(5), &[0; 4]);
        deep(&nameless, Surroundings::default(), &format!("frame 5 of {max} has no page number"));
        let renamed = planted(&shm, page_of(5), &77_u32.to_ne_bytes());
        let lost = format!("frame 5 of {max}, page 77, is not to be found by its hash");
        deep(&renamed, Surroundings::default(), &lost);
        let page = u32_at(&shm, page_of(max));
        let table = 4 * FRAMES;
        let slot = (table..REGION_BYTES).step_by(2).find(|at| array(&shm, *at) == (max as u16).to_ne_bytes()).unwrap();
        let lost = format!("frame {max} of {max}, page {page}, is not to be found by its hash");
        deep(&planted(&shm, slot, &[0; 2]), Surroundings::default(), &lost);
        deep(&planted(&shm, page_of(max + 1), &[9; 4]), Surroundings::default(), "");
    }

    #[test]
    fn canary_each_difference_between_wal_and_wal_index_is_caught() {
        let (world, _writer, _reader) = half_backfilled();
        let (shm, wal) = world.bytes();
        let max = WalIndex::parse(&shm).unwrap().header.max_frame;
        fn of(wal: &[u8]) -> Surroundings<'_> {
            Surroundings { readers: &[], wal: Some(wal) }
        }
        let frame = |number: usize| WAL_HEADER_BYTES + (number - 1) * (FRAME_HEADER_BYTES + 512);
        let damaged = |at: usize, expected: &str| {
            let mut wal = wal.clone();
            wal[at] ^= 1;
            deep(&shm, of(&wal), expected);
        };
        let in_header =
            |what: &str| format!("{what} in the WAL's header is not that of the wal-index beside mxFrame {max}");
        damaged(10, &in_header("the page size"));
        damaged(16, &in_header("the salt"));
        damaged(3, &in_header("the byte order"));
        for at in [0, 7, 12, 24, 31] {
            damaged(at, &format!("the WAL's header is not valid beside mxFrame {max}"));
        }
        let in_frame = |number: usize, what: &str| format!("frame {number} of {max} in the WAL has a wrong {what}");
        damaged(frame(3) + 3, &in_frame(3, "page number"));
        damaged(frame(3) + 7, &in_frame(3, "checksum"));
        damaged(frame(3) + 8, &in_frame(3, "salt"));
        damaged(frame(3) + 16, &in_frame(3, "checksum"));
        damaged(frame(3) + FRAME_HEADER_BYTES + 99, &in_frame(3, "checksum"));
        damaged(frame(max as usize) + FRAME_HEADER_BYTES, &in_frame(max as usize, "checksum"));
        let bigger = planted(&shm, 20, &99_u32.to_ne_bytes());
        deep(&bigger, of(&wal), &in_frame(max as usize, "database size"));
        let other = planted(&shm, 24, &[9; 8]);
        deep(&other, of(&wal), &in_frame(max as usize, "checksum, by the wal-index"));
        let short = &wal[..frame(max as usize + 1) - 1];
        let needs = format!("the WAL has {} bytes, which is less than mxFrame {max} needs", short.len());
        deep(&shm, of(short), &needs);
        deep(&shm, of(&wal[..frame(max as usize + 1)]), "");
    }

    #[test]
    fn canary_what_was_seen_is_reported() {
        let judge = |walindex| judge(&Evidence { walindex, ..Evidence::default() });
        assert_eq!(judge(Vec::new()), []);
        let note = Violation::Backfilled { backfilled: 95, max_frame: 30 }.to_string();
        let detail = "nBackfill 95 > mxFrame 30 (2 such observations)".to_owned();
        assert_eq!(judge(vec![note.clone(), note]), [(Verdict::Corrupt, detail)]);
    }
}
