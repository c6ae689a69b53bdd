//! The promises of `wal.c`, each named by its violation.

use super::layout::FORMAT;

/// A promise of `wal.c` that the wal-index does not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    /// Nothing else is ever stored there (`walRestartHdr` asserts it).
    #[error("aReadMark[0] {0}, not 0")]
    ReadMarkZero(u32),
    /// `walTryBeginRead` keeps the lock only if mark and header are still what it took; while it is held, no connection
    /// can change the mark or restart the log.
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
