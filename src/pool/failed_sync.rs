//! After a failed sync, the log begins anew before a call is served.
//!
//! Many file systems drop the pages that a sync failed to write and call the cache clean (Rebello et al., "Can
//! Applications Recover from fsync Failures?", USENIX ATC 2020). Then the log has frames that every process sees and the
//! disk does not have. A commit behind them is synced, and a power cut loses it all the same: recovery ends where the
//! frames are missing. If they were checkpointed meanwhile, recovery even brings older pages back.
//!
//! The remedy: a checkpoint copies the frames into the database, syncs that, and begins the log anew. Until this has
//! worked, calls on the writer get the error: a commit could not be promised.

use super::connection::PooledConnection;
use super::files::Finding;
use super::{Database, WriterState, orphan};
use crate::error::{Error, Operation, Rescue};
use rusqlite::ffi::SQLITE_IOERR_FSYNC;

impl Database {
    /// Remembers a failed sync, of the call that has just ended or of a checkpoint after its commit.
    pub(super) fn note_failed_sync(state: &mut WriterState, error: Option<&Error>) {
        let is_of_commit = || state.connection.as_ref().is_some_and(|pooled| pooled.watch().take_failed_sync());
        state.has_failed_sync |= error.and_then(Error::extended_code) == Some(SQLITE_IOERR_FSYNC) || is_of_commit();
    }

    /// Begins the log anew if a sync has failed. The caller has a connection and is in no transaction.
    pub(super) fn renew_log(&self, state: &mut WriterState) -> Result<(), Error> {
        let Some(pooled) = &state.connection else { return Ok(()) };
        if let Some(Finding::Lost(loss)) = pooled.finding(&*self.settings.os) {
            return Err(self.moved(loss, Rescue::InFile { moved_to: None }));
        }
        let PooledConnection { conn, .. } = pooled;
        if !self.empty_log(conn) {
            let why = "a sync of the log has failed, and a snapshot keeps the log from being begun anew".to_owned();
            return Err(Error::on(&self.path, Operation::Configure, orphan::busy(why), conn));
        }
        state.has_failed_sync = false;
        Ok(())
    }
}
