//! Checkpoints that the caller requests, and their results.

use rusqlite::{Connection, Row};

/// How much a checkpoint waits for others (`PRAGMA wal_checkpoint`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointMode {
    /// As much as possible without waiting.
    #[default]
    Passive,
    /// All of it: waits for the writer, and for readers of older snapshots.
    Full,
    /// And waits for the readers of the log, so that the next writer begins it anew.
    Restart,
    /// And cuts the log to nothing.
    Truncate,
}

/// The result of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Frames in the log, none if the database is not in WAL mode.
    pub frames: u32,
    /// Frames that are in the database now.
    pub frames_checkpointed: u32,
    /// Whether it was blocked: another checkpoint was running, in which case both counts are 0, or readers prevented a
    /// restart of the log.
    pub was_blocked: bool,
}

impl Checkpoint {
    /// Whether every frame is in the database: nothing would be missing without the log.
    pub fn is_complete(&self) -> bool {
        self.frames == self.frames_checkpointed && !(self.was_blocked && self.frames == 0)
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Checkpoint> {
        // -1 for a database that is not in WAL mode, or if it could not begin.
        let count = |column| Ok::<u32, rusqlite::Error>(u32::try_from(row.get::<_, i32>(column)?).unwrap_or(0));
        Ok(Checkpoint { was_blocked: row.get(0)?, frames: count(1)?, frames_checkpointed: count(2)? })
    }
}

/// Runs one. Through the pragma, because the C function returns no counts when it was blocked.
pub(crate) fn run_checkpoint(conn: &Connection, mode: CheckpointMode) -> rusqlite::Result<Checkpoint> {
    let sql = match mode {
        CheckpointMode::Passive => "PRAGMA main.wal_checkpoint(PASSIVE)",
        CheckpointMode::Full => "PRAGMA main.wal_checkpoint(FULL)",
        CheckpointMode::Restart => "PRAGMA main.wal_checkpoint(RESTART)",
        CheckpointMode::Truncate => "PRAGMA main.wal_checkpoint(TRUNCATE)",
    };
    conn.query_row(sql, [], Checkpoint::from_row)
}

/// The extent of the log, by a checkpoint that does nothing. `None` where SQLite is too old for that (before 3.51).
pub(crate) fn wal_extent(conn: &Connection) -> Option<Checkpoint> {
    const NOOP_SINCE: i32 = 3_051_000;
    if rusqlite::version_number() < NOOP_SINCE {
        return None;
    }
    let read = |row: &Row<'_>| Ok((row.get::<_, i32>(1)? >= 0).then_some(Checkpoint::from_row(row)?));
    conn.query_row("PRAGMA main.wal_checkpoint(NOOP)", [], read).ok().flatten()
}
