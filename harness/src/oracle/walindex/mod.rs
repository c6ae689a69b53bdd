//! `walindex`: the wal-index is in order whenever no connection is writing it.
//!
//! The wal-index is the shared memory by which connections in WAL mode agree on what is committed and what has been
//! moved into the database. Damage there shows long before it costs a row: the WAL-reset defect leaves
//! `nBackfill 95 > mxFrame 30` while integrity_check still says ok.
//!
//! The functions are pure and read bytes: the wal-index from its first region on, as it lies in memory. They hold
//! what `wal.c` promises at any moment between two VFS calls (every xShmLock, xShmBarrier and xShmMap is one), as
//! long as the two copies of the header agree; while they differ, a connection is writing it, or died doing so and the
//! next reader runs recovery. Each [`Violation`] names the function that keeps the promise. Three things void it, and
//! are the caller's to know: a process killed by the operating system between two instructions, not at a call; a lab
//! fault that alters the wal-index or the WAL itself, or lies about locks (what is found then is the fault's damage);
//! and code of a killed simulated process that runs on into the shared memory.
//!
//! Left out, because it is not always so: read marks that no reader holds may lie beyond mxFrame (`walTryBeginRead`
//! stores the mark before it looks whether the log was restarted), a held mark may lie below nBackfill, and entries
//! beyond mxFrame may be anything (an unfinished transaction, the remains of a dead one, uninitialised memory after
//! recovery).

use super::{Evidence, Oracle, observed};
use crate::verdict::Verdict;
use frames::{FrameEntry, check_wal};
use layout::{FORMAT, NOT_USED, SUMMED_BYTES, checksum};

mod frames;
mod layout;
#[cfg(test)]
mod tests;
mod violation;

pub use layout::{HEADER_BYTES, REGION_BYTES, WalIndex, WalIndexHeader};
pub use violation::Violation;

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

/// Judges the first [`HEADER_BYTES`] of a wal-index; cheap enough to be called after each operation.
pub fn check(first: &[u8]) -> Vec<Violation> {
    WalIndex::parse(first).map_or_else(Vec::new, |index| check_header(&index, first))
}

fn check_header(index: &WalIndex, first: &[u8]) -> Vec<Violation> {
    let header = &index.header;
    let computed = checksum(&first[..SUMMED_BYTES], u32::from_ne_bytes, [0; 2]);
    if header.checksum != computed {
        // No connection trusts it: walIndexTryHdr has it recovered.
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
    /// The WAL file as other processes see it, synced or not. Only while a connection has the wal-index mapped: what
    /// the last connection leaves behind is stale, and is made anew by the next.
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
    found
        .extend((1..=max_frame).map_while(|frame| FrameEntry::of(shm, frame)).find_map(|entry| entry.check(max_frame)));
    if let Some(wal) = surroundings.wal {
        found.extend(check_wal(&index, shm, wal).err());
    }
    found
}
