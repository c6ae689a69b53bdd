//! After a failed sync, the log is written again before a call is served.
//!
//! Many file systems drop the pages that a sync failed to write and call the cache clean (Rebello et al., "Can
//! Applications Recover from fsync Failures?", USENIX ATC 2020). Then the log has frames that every process sees and the
//! disk does not have. A commit behind them is synced, and a power cut loses it all the same: recovery ends where the
//! frames are missing. A power cut in the middle of a checkpoint even damages the database, since its log is not whole.
//!
//! The remedy: with the write lock, the bytes of the log are written again, unchanged, and synced. Until this has
//! worked, calls on the writer get an error: a commit could not be promised. What remains is SQLite's: pages of a
//! database that a checkpoint has written and whose sync fails are not written again, if an earlier checkpoint that was
//! not synced either has counted them as copied (`walCheckpoint` syncs when it has copied the whole log).

use super::connection::PooledConnection;
use super::files::Finding;
use super::{Database, WriterState};
use crate::error::{Error, Operation, Rescue};
use crate::ffi;
use rusqlite::ffi::{Error as Code, SQLITE_IOERR_FSYNC};

impl Database {
    /// Remembers a failed sync, of the call that has just ended or of a checkpoint after its commit, and writes the log
    /// again at once if possible: other processes may commit behind it.
    pub(super) fn note_failed_sync(&self, state: &mut WriterState, error: Option<&Error>) {
        let is_of_checkpoint = state.connection.as_ref().is_some_and(|pooled| pooled.watch().take_failed_sync());
        if is_of_checkpoint || error.and_then(Error::extended_code) == Some(SQLITE_IOERR_FSYNC) {
            state.has_failed_sync = true;
            // If that fails, the next call gets the error.
            let _ = self.write_log_again(state);
        }
    }

    /// Writes the log again. The connection, if there is one, is in no transaction.
    pub(super) fn write_log_again(&self, state: &mut WriterState) -> Result<(), Error> {
        let Some(pooled) = &state.connection else { return Ok(()) };
        if let Some(Finding::Lost(loss)) = pooled.finding(&*self.settings.os) {
            return Err(self.moved(loss, Rescue::InFile { moved_to: None }));
        }
        let PooledConnection { conn, .. } = pooled;
        let failed = |error| Error::on(&self.path, Operation::Configure, error, conn);
        if self.record.lock().is_wal() {
            let transaction = conn.begin().map_err(failed)?;
            let written = ffi::write_log_again(conn);
            drop(transaction);
            let why = "a sync of the log has failed, and so has writing it again".to_owned();
            written.map_err(|code| failed(rusqlite::Error::SqliteFailure(Code::new(code), Some(why))))?;
        }
        state.has_failed_sync = false;
        Ok(())
    }
}
