//! The identity of the open files: noticed when a name is lost, and what follows from it.

use super::claims::Claim;
use super::connection::PooledConnection;
use super::files::{Files, Finding, Identified};
use super::orphan::{self, Orphan};
use super::{Database, WriterState};
use crate::error::{Cause, Error, Loss, Operation, Rescue};
use crate::events::{EventKind, EventQueue};
use crate::ffi::{self, SoleUser, raw_prefix};
use crate::open::log_memory::{LOG_HEADER_BYTES, Note};
use crate::open::{LockingMode, first_connect, side_files};
use crate::os::{FileId, FileLock};
use crate::quarantine::keep_log;
use crate::sync::{Arc, Ordering};
use std::mem;
use std::time::Duration;

impl Database {
    /// Detects files that were moved, replaced or deleted under their connection.
    pub(super) fn check_identity(&self, state: &mut WriterState, now: Duration) -> Result<(), Error> {
        let os = &*self.settings.os;
        if let Some((loss, rescue)) = state.unreported_rescue.take() {
            return Err(self.moved(loss, rescue));
        }
        if state.connection.is_none()
            && let Some(Finding::Lost(loss)) = state.retired.last().and_then(|retired| retired.finding(os))
        {
            // The file that is at the path now must not be opened beside the log of the old file.
            state.connection = state.retired.pop();
            return Err(self.moved(loss, Rescue::InFile { moved_to: None }));
        }
        let Some(connection) = &mut state.connection else { return Ok(()) };
        let is_suspect = self.is_suspect.load(Ordering::Relaxed) && self.is_suspect.swap(false, Ordering::Relaxed);
        let must_ask = is_suspect || state.is_orphan;
        let interval = if must_ask { Duration::ZERO } else { self.settings.identity_check_interval };
        match connection.finding_since(interval, now, os) {
            Some(Finding::Lost(loss)) => return Err(self.moved(loss, Rescue::InFile { moved_to: None })),
            Some(Finding::SecondName(names)) => {
                self.is_suspect.store(true, Ordering::Relaxed);
                return Err(Error::new(&self.path, Operation::Identity, Cause::SecondName { names }));
            }
            None => {}
        }
        if mem::take(&mut state.is_orphan) {
            // Its file has its name again. The changes of the last borrower have not been reset.
            state.connection = None;
            state.copied = None;
        }
        Ok(())
    }

    pub(super) fn moved(&self, loss: Loss, rescue: Rescue) -> Error {
        Error::new(&self.path, Operation::Identity, Cause::Moved { loss, rescue })
    }

    /// The same error, with the result of the rescue.
    pub(super) fn with_rescue(
        &self,
        state: &mut WriterState,
        error: Error,
        loss: Loss,
        events: &mut EventQueue,
    ) -> Error {
        let Some(connection) = &state.connection else {
            // It was rescued already.
            return error;
        };
        if connection.files.is_some() && connection.finding(&*self.settings.os).is_none() {
            // All names are right again, or it cannot be told. Nothing is done to the files; another connection will
            // do.
            let event = EventKind::ConnectionDiscarded { code: error.extended_code() };
            self.discard(state, event, events);
            return error;
        }
        let rescue = self.leave(state, loss, events);
        let outcome_unknown = error.outcome_unknown();
        Error::new(&self.path, error.operation(), Cause::Moved { loss, rescue }).with_outcome_unknown(outcome_unknown)
    }

    /// Brings the rows of files that have lost a name to safety, and closes the files if that worked.
    pub(super) fn leave(&self, state: &mut WriterState, loss: Loss, events: &mut EventQueue) -> Rescue {
        self.readers.invalidate();
        let in_file = Rescue::InFile { moved_to: None };
        let Some(connection) = &state.connection else { return in_file };
        let (rescue, _lock) = match self.lock_for_leaving() {
            _ if self.readers.are_borrowed() => {
                // A new file at the path would share its log and wal-index with them.
                (Rescue::Pending(orphan::busy("a reader of this store is borrowed".to_owned())), None)
            }
            Err(error) => (Rescue::Pending(orphan::busy(error.to_string())), None),
            // It has no rows of its own.
            Ok(lock) if self.settings.is_read_only() => {
                let _ = keep_log(&connection.conn);
                (in_file, lock)
            }
            Ok(lock) => {
                let orphan = self.orphan(connection, state.claim.as_ref());
                (orphan.secure(loss, &mut state.copied), lock)
            }
        };
        self.record.lock().calls.moved += 1;
        self.announce(loss, &rescue, events);
        if matches!(rescue, Rescue::Pending(_)) {
            state.is_orphan = true;
            return rescue;
        }
        for retired in &state.retired {
            // Fails for no reason but a broken connection, which checkpoints nothing.
            let _ = keep_log(&retired.conn);
        }
        // The connections first, then the claim: fields are dropped in their order.
        *state = WriterState::default();
        *self.identity.lock() = None;
        let mut record = self.record.lock();
        record.file_id = None;
        record.discarded();
        rescue
    }

    fn orphan<'a>(&'a self, connection: &'a PooledConnection, claim: Option<&'a Claim>) -> Orphan<'a> {
        Orphan {
            path: &self.path,
            conn: &connection.conn,
            locking: connection.locking,
            files: connection.files.as_deref(),
            claim,
            vfs: self.settings.vfs.as_deref(),
            os: &*self.settings.os,
        }
    }

    /// Closes the files if they have lost a name and no call is using them. The next caller is told.
    pub(super) fn let_go(&self, events: &mut EventQueue) {
        let Some(mut state) = self.writer.try_lock() else { return };
        let finding = state.connection.as_ref().and_then(|connection| connection.finding(&*self.settings.os));
        if matches!(finding, Some(Finding::Lost(_))) {
            self.release_writer(&mut state, events);
            self.release_claim(&mut state);
            self.is_live.store(state.connection.is_some() || !state.retired.is_empty(), Ordering::Release);
        }
    }

    fn announce(&self, loss: Loss, rescue: &Rescue, events: &mut EventQueue) {
        let (rescued_to, moved_to) = match rescue {
            Rescue::Pending(error) => return events.add(EventKind::RescuePending { error: error.to_string() }),
            Rescue::Unreadable(error) => return events.add(EventKind::RescueFailed { error: error.to_string() }),
            Rescue::LogKept(to) => return events.add(EventKind::Overwritten { log_kept: to.clone() }),
            Rescue::Copied { to, .. } => (Some(to.clone()), None),
            Rescue::InFile { moved_to } => (None, moved_to.clone()),
        };
        events.add(match loss {
            Loss::Database => EventKind::Moved { rescued_to, moved_to },
            _ => EventKind::LogLost { rescued_to },
        });
    }

    /// Processes leave one by one, and none opens meanwhile. Where the lock file cannot be had (its directory was moved
    /// too, or may not be written to), there is no lock.
    fn lock_for_leaving(&self) -> Result<Option<FileLock>, Error> {
        let Some(patience) = self.settings.first_connect_wait.filter(|_| !self.settings.is_read_only()) else {
            return Ok(None);
        };
        match first_connect::lock(&self.path, patience, &*self.settings.os) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.is_busy() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Before a file with a second name is closed: whether its log may be checkpointed. It may be that of one of the
    /// names only, and then it stays for those who open the file under this one.
    pub(super) fn protect_log(&self, connection: &PooledConnection, claim: Option<&Claim>) -> rusqlite::Result<()> {
        let os = &*self.settings.os;
        let is_alone = connection.files.as_ref().is_some_and(|files| {
            let is_claimed = claim.is_some_and(|claim| claim.is_shared(&files.identity));
            !is_claimed && files.is_unchanged(&self.path, os) && SoleUser::ask(&connection.conn).is_some()
        });
        if is_alone { Ok(()) } else { keep_log(&connection.conn) }
    }

    /// Before the last connection is closed. If another process has lost its locks, SQLite takes this one for the last
    /// user and unlinks the log. The claim of that process is still there.
    pub(super) fn keep_log_of_others(&self, connection: &PooledConnection, claim: Option<&mut Claim>) {
        let (Some(claim), Some(files)) = (claim, &connection.files) else { return };
        // First: of two processes that close at once, one finds no claim, and empties the log.
        claim.release();
        if claim.is_shared(&files.identity) {
            // Fails for no reason but a broken connection, which checkpoints nothing.
            let _ = keep_log(&connection.conn);
        }
    }

    // --------------------------------------------------------------------------------------------
    // On the way in

    /// Refuses to open beside files that other processes use with other files.
    pub(super) fn require_unmixed(&self, state: &mut WriterState) -> Result<(), Error> {
        let os = &*self.settings.os;
        if state.claim.is_none() && self.settings.first_connect_wait.is_some() {
            state.claim = Claim::open(&first_connect::lock_path(&self.path), os);
        }
        let Some(claim) = &state.claim else { return Ok(()) };
        self.require_free(claim.is_mixed(&self.names, os))
    }

    /// Finds out which files the connection has open, and claims them.
    pub(super) fn settle_identity(
        &self,
        state: &mut WriterState,
        connection: &mut PooledConnection,
        found: Option<FileId>,
        journal_mode: &str,
    ) -> Result<(), Error> {
        let settled = self.identified(state, connection, found, journal_mode);
        if settled.is_err() {
            // What it has opened by name may belong to others.
            let _ = keep_log(&connection.conn);
        }
        settled
    }

    fn identified(
        &self,
        state: &mut WriterState,
        connection: &mut PooledConnection,
        found: Option<FileId>,
        journal_mode: &str,
    ) -> Result<(), Error> {
        let os = &*self.settings.os;
        let lost = |loss| Err(self.moved(loss, Rescue::InFile { moved_to: None }));
        let files = match Files::identify(&self.names, &connection.conn, (journal_mode, connection.locking), os) {
            Identified::Files(files) => {
                state.was_log_missing = false;
                files
            }
            Identified::Lost(Loss::Database) => {
                return Err(self.moved(Loss::Database, self.copy_nameless(connection, found)));
            }
            Identified::Lost(loss) => return lost(loss),
            // Taken away at this moment, unless this VFS keeps it elsewhere: then it has one with this name.
            Identified::NoLog(_) if !self.is_log_elsewhere(state) => return lost(Loss::Log),
            Identified::NoLog(files) => files,
            Identified::Unknown => {
                connection.identified(None, Arc::clone(&self.settings.os));
                *self.identity.lock() = None;
                return Ok(());
            }
        };
        let identity = files.identity;
        if let Some(claim) = &mut state.claim {
            if connection.locking == LockingMode::Exclusive {
                claim.release();
                self.require_free(claim.is_shared(&identity))?;
            } else if identity.log.is_some() {
                // Without a claim, SQLite's locks have to do.
                let _ = claim.take(&identity);
                self.require_free(claim.is_in_conflict(&identity)).inspect_err(|_| claim.release())?;
            } else {
                claim.release();
            }
        }
        // The file may have been replaced since the look before the opening, and its last user may be gone by now.
        side_files::check_log(&self.path, (identity.database, raw_prefix(&connection.conn)), os)?;
        connection.identified(Some(files), Arc::clone(&self.settings.os));
        *self.identity.lock() = Some(identity);
        state.is_log_noted = false;
        Ok(())
    }

    /// The database that was found at the path has lost its name while it was opened. If it had no other one, this
    /// connection may be the last that has its rows.
    fn copy_nameless(&self, connection: &PooledConnection, found: Option<FileId>) -> Rescue {
        let os = &*self.settings.os;
        let is_nameless = |id: &FileId| os.has_open(&[*id]) == Some(true) && os.names_left(*id) == Some(0);
        match found.filter(is_nameless) {
            Some(database) if !self.settings.is_read_only() => self.orphan(connection, None).copy_nameless(database),
            _ => Rescue::InFile { moved_to: None },
        }
    }

    /// Whether the VFS says that the log is there. One that cannot be asked is believed the second time.
    fn is_log_elsewhere(&self, state: &mut WriterState) -> bool {
        let was_missing = mem::replace(&mut state.was_log_missing, true);
        ffi::vfs_has(self.settings.vfs.as_deref(), &self.names.log).unwrap_or(was_missing)
    }

    fn require_free(&self, is_in_the_way: bool) -> Result<(), Error> {
        if !is_in_the_way {
            return Ok(());
        }
        let holders = self.other_claimants();
        Err(Error::new(&self.path, Operation::Open, Cause::Claimed { holders }))
    }

    /// The processes that have the lock file open, which all who claim do.
    fn other_claimants(&self) -> String {
        let os = &*self.settings.os;
        let lock = os.status(&first_connect::lock_path(&self.path)).ok().flatten();
        let holders = lock.and_then(|lock| os.holders(&[lock.id]).ok());
        holders
            .filter(|holders| holders.has_others())
            .map_or("another process".to_owned(), |holders| holders.to_string())
    }

    /// Gives the claim back, once nothing is open any more.
    pub(super) fn release_claim(&self, state: &mut WriterState) {
        if state.connection.is_none() && state.retired.is_empty() {
            state.claim = None;
        }
    }

    /// Notes which log belongs to the file, once the log has a header.
    pub(super) fn note_log(&self, state: &mut WriterState) {
        let os = &*self.settings.os;
        if state.is_log_noted || state.claim.is_none() || self.settings.is_read_only() {
            return;
        }
        let Some(PooledConnection { conn, files: Some(files), .. }) = &state.connection else { return };
        let identity = files.identity;
        let Some(log) = identity.log else { return };
        let has_frames = |file: crate::os::FileStatus| file.id == log && file.bytes > LOG_HEADER_BYTES;
        if !os.status(&self.names.log).ok().flatten().is_some_and(has_frames) {
            return;
        }
        if let Some(note) = Note::about(&self.path, (identity.database, raw_prefix(conn)), &self.names.log, log, os) {
            note.write(&self.path, os);
            files.refresh(conn, os);
            state.is_log_noted = true;
        }
    }

    /// Puts a log back that was set aside when its database had lost the name that it has again. The caller holds the
    /// lock of first connects.
    pub(super) fn put_log_back(&self) {
        let os = &*self.settings.os;
        let (Some(database), None, _) = self.names.identity(os) else { return };
        let Some(note) = Note::read(&self.path, os) else { return };
        let Some(base) = note.set_aside(database) else { return };
        let (log, index) = (crate::os::beside(&base, "-wal"), crate::os::beside(&base, "-shm"));
        if os.status(&log).ok().flatten().is_some_and(|file| note.is_log(file.id)) {
            // The index first, and never without it: those who have it open go on with both.
            let is_index_back = match os.status(&index) {
                Ok(Some(_)) => os.rename_new(&index, &self.names.index).is_ok(),
                Ok(None) => true,
                Err(_) => false,
            };
            if is_index_back {
                let _ = os.rename_new(&log, &self.names.log);
            }
        }
    }

    /// The files that the writer has open, for a reader that is to have the same.
    pub(super) fn has_same_files(&self, connection: &PooledConnection) -> bool {
        let wanted = *self.identity.lock();
        wanted.is_none_or(|wanted| connection.files.as_ref().is_some_and(|files| files.identity == wanted))
    }

    /// A reader's files.
    pub(super) fn identify_reader(&self, connection: &mut PooledConnection) {
        let os = &*self.settings.os;
        let names = Arc::clone(&self.names);
        if let Identified::Files(files) | Identified::NoLog(files) =
            Files::identify(&names, &connection.conn, ("wal", connection.locking), os)
        {
            connection.identified(Some(files), Arc::clone(&self.settings.os));
        }
    }
}
