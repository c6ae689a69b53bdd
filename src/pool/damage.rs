//! A database that SQLite calls malformed: checked on the live connection, and moved away if the policy says so.
//!
//! A misread page looks like a broken one, so nothing is done before SQLite has checked the whole file and found it
//! damaged. What is done then is up to the [policy](crate::QuarantinePolicy); by default, nothing.

use super::connection::PooledConnection;
use super::{Database, WriterState};
use crate::error::{Cause, Error, Operation, QuarantineError};
use crate::events::{EventKind, EventQueue};
use crate::ffi;
use crate::open::first_connect;
use crate::quarantine::{
    Bundle, CheckVerdict, Evidence, Examination, OnCorruption, Resumed, Trigger, confirm, keep_log, quarantine, resume,
    salvage,
};
use rusqlite::OpenFlags;

impl Database {
    /// Investigates an error that reports corruption, and applies the policy. Returns the error for the caller.
    pub(super) fn investigate_damage(&self, state: &mut WriterState, error: Error, events: &mut EventQueue) -> Error {
        let may_move = !matches!(self.settings.quarantine.on_corruption, OnCorruption::Refuse);
        if !may_move || self.settings.is_read_only() {
            return error;
        }
        let examination = match &state.connection {
            Some(connection) => Some(confirm(&connection.conn)),
            None => self.examine_on_new_connection(),
        };
        let Some(examination) = examination else { return error };
        match &examination.verdict {
            CheckVerdict::Damaged { .. } => {}
            CheckVerdict::Sound | CheckVerdict::OutOfStep { .. } => {
                events.add(EventKind::FalseAlarm { code: error.extended_code() });
                return error;
            }
            CheckVerdict::Undecided { .. } => return error,
        }
        let trigger = Trigger {
            step: error.operation().to_string(),
            code: error.extended_code(),
            errno: error.errno(),
            error: error.to_string(),
        };
        let error = Box::new(error);
        match self.move_to_quarantine(state, Evidence { trigger, examination, unix_seconds: None }) {
            Ok(bundle) => {
                let directory = bundle.directory.clone();
                events.add(EventKind::Quarantined { bundle: directory.clone(), is_duplicate: bundle.is_duplicate });
                *state = WriterState { bundle: Some(bundle), ..WriterState::default() };
                self.record.lock().file_id = None;
                Error::new(&self.path, Operation::Recover, Cause::Quarantined { bundle: directory, error })
            }
            Err(Refused::Lock(busy)) => busy,
            Err(Refused::Quarantine(why)) => {
                events.add(EventKind::QuarantineRefused { error: why.to_string() });
                Error::new(&self.path, Operation::Recover, Cause::NotQuarantined { error, why })
            }
        }
    }

    /// Completes or undoes an interrupted quarantine. The caller holds the lock of first connects.
    pub(super) fn resume_quarantine(&self, state: &mut WriterState, events: &mut EventQueue) -> Result<(), Error> {
        let settings = &*self.settings;
        match resume(&self.path, &settings.quarantine, settings.vfs.as_deref(), &*settings.os) {
            Ok(Resumed::Nothing | Resumed::PutBack) => Ok(()),
            Ok(Resumed::Completed(bundle)) => {
                let is_duplicate = bundle.is_duplicate;
                events.add(EventKind::Quarantined { bundle: bundle.directory.clone(), is_duplicate });
                state.bundle = Some(bundle);
                Ok(())
            }
            Err(why) => Err(Error::new(&self.path, Operation::Recover, Cause::Quarantine(why))),
        }
    }

    /// Fills the new database from the old one, if the policy has a closure for it.
    pub(super) fn salvage(
        &self,
        state: &mut WriterState,
        connection: &mut PooledConnection,
        events: &mut EventQueue,
    ) -> Result<(), Error> {
        let OnCorruption::Salvage(by) = &self.settings.quarantine.on_corruption else {
            state.bundle = None;
            return Ok(());
        };
        let Some(bundle) = &state.bundle else { return Ok(()) };
        salvage(bundle, &mut connection.conn, &**by)
            .map_err(|why| Error::new(&self.path, Operation::Recover, Cause::Quarantine(why)))?;
        events.add(EventKind::Salvaged { bundle: bundle.directory.clone() });
        state.bundle = None;
        Ok(())
    }

    /// On a new connection: the database could not even be set up.
    fn examine_on_new_connection(&self) -> Option<Examination> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = ffi::open(&self.path, flags, self.settings.vfs.as_deref()).ok()?;
        // Before anything is read: closing this connection must not write the log into a damaged file.
        keep_log(&conn).ok()?;
        conn.busy_timeout(self.settings.busy_timeout).ok()?;
        Some(confirm(&conn))
    }

    fn move_to_quarantine(&self, state: &mut WriterState, evidence: Evidence) -> Result<Bundle, Refused> {
        let settings = &*self.settings;
        let _first_connect = match settings.first_connect_wait {
            Some(patience) => Some(first_connect::lock(&self.path, patience, &*settings.os).map_err(Refused::Lock)?),
            None => None,
        };
        // The writer last: it was told to keep the log, and a connection that closes before the last one leaves the log
        // alone.
        self.readers.invalidate();
        if self.readers.are_borrowed() {
            let holders = "a borrowed reader of this store".to_owned();
            return Err(Refused::Quarantine(QuarantineError::Held { holders }));
        }
        state.connection = None;
        state.retired.clear();
        quarantine(&self.path, &evidence, &settings.quarantine, settings.vfs.as_deref(), &*settings.os)
            .map_err(Refused::Quarantine)
    }
}

/// Why nothing was moved.
enum Refused {
    Lock(Error),
    Quarantine(QuarantineError),
}
