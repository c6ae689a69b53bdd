//! A database that says it is malformed: looked into on the live connection, and moved out of the way if the caller has
//! said so.
//!
//! A misread page looks like a broken one, so nothing is done before SQLite has checked the whole file and found it
//! damaged. What is done then is up to the [policy](crate::QuarantinePolicy); by default, nothing.

use super::{Core, Slot};
use crate::classify::Operation;
use crate::connection::Lent;
use crate::error::{Cause, Error};
use crate::events::{EventKind, Notes};
use crate::quarantine::{
    Bundle, Evidence, Examination, OnCorruption, QuarantineError, Resumed, Trigger, Verdict, confirm, keep_log,
    quarantine, resume, salvage,
};
use crate::{ffi, first_connect};
use rusqlite::OpenFlags;

impl Slot {
    /// Looks into an error that speaks of corruption, and does what the policy says. Returns what the caller is told.
    pub(super) fn look_into_damage(&self, core: &mut Core, error: Error, notes: &mut Notes) -> Error {
        let may_move = !matches!(self.settings.quarantine.on_corruption, OnCorruption::Refuse);
        if !may_move || self.settings.is_read_only() {
            return error;
        }
        let examination = match &core.lent {
            Some(lent) => Some(confirm(&lent.conn)),
            None => self.examine_cold(),
        };
        let Some(examination) = examination else { return error };
        match &examination.verdict {
            Verdict::Damaged { .. } => {}
            Verdict::Sound => {
                notes.add(EventKind::FalseAlarm { code: error.extended_code() });
                return error;
            }
            Verdict::Undecided { .. } => return error,
        }
        let trigger = Trigger {
            step: error.operation().to_string(),
            code: error.extended_code(),
            errno: error.errno(),
            error: error.to_string(),
        };
        let error = Box::new(error);
        match self.move_away(core, Evidence { trigger, examination, unix_seconds: None }) {
            Ok(bundle) => {
                let directory = bundle.directory.clone();
                notes.add(EventKind::Quarantined { bundle: directory.clone(), is_duplicate: bundle.is_duplicate });
                *core = Core { bundle: Some(bundle), ..Core::default() };
                self.vitals.lock().file_id = None;
                Error::new(&self.path, Operation::Recover, Cause::Quarantined { bundle: directory, error })
            }
            Err(Refused::Lock(busy)) => busy,
            Err(Refused::Quarantine(why)) => {
                notes.add(EventKind::QuarantineRefused { error: why.to_string() });
                Error::new(&self.path, Operation::Recover, Cause::NotQuarantined { error, why })
            }
        }
    }

    /// Puts right what an interrupted quarantine has left. The caller holds the lock of first connects.
    pub(super) fn resume_quarantine(&self, core: &mut Core, notes: &mut Notes) -> Result<(), Error> {
        let settings = &*self.settings;
        match resume(&self.path, &settings.quarantine, settings.vfs.as_deref(), &*settings.os) {
            Ok(Resumed::Nothing | Resumed::PutBack) => Ok(()),
            Ok(Resumed::Completed(bundle)) => {
                let is_duplicate = bundle.is_duplicate;
                notes.add(EventKind::Quarantined { bundle: bundle.directory.clone(), is_duplicate });
                core.bundle = Some(bundle);
                Ok(())
            }
            Err(why) => Err(Error::new(&self.path, Operation::Recover, Cause::Quarantine(why))),
        }
    }

    /// Fills the new database from the old one, if the policy has a way to.
    pub(super) fn salvage(&self, core: &mut Core, lent: &mut Lent, notes: &mut Notes) -> Result<(), Error> {
        let OnCorruption::Salvage(by) = &self.settings.quarantine.on_corruption else {
            core.bundle = None;
            return Ok(());
        };
        let Some(bundle) = &core.bundle else { return Ok(()) };
        salvage(bundle, &mut lent.conn, &**by)
            .map_err(|why| Error::new(&self.path, Operation::Recover, Cause::Quarantine(why)))?;
        notes.add(EventKind::Salvaged { bundle: bundle.directory.clone() });
        core.bundle = None;
        Ok(())
    }

    /// On a connection of its own: the database could not even be set up.
    fn examine_cold(&self) -> Option<Examination> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = ffi::open(&self.path, flags, self.settings.vfs.as_deref()).ok()?;
        // Before anything is read: what is damaged must not get the log written into it when this is closed.
        keep_log(&conn).ok()?;
        conn.busy_timeout(self.settings.busy_timeout).ok()?;
        Some(confirm(&conn))
    }

    fn move_away(&self, core: &mut Core, evidence: Evidence) -> Result<Bundle, Refused> {
        let settings = &*self.settings;
        let _first_connect = match settings.first_connect_wait {
            Some(patience) => Some(first_connect::lock(&self.path, patience, &*settings.os).map_err(Refused::Lock)?),
            None => None,
        };
        // The writer last: it has been told to leave the log as it is, and whoever closes before it leaves that alone.
        self.readers.send_away();
        if self.readers.are_out() {
            let holders = "a reader of this store, lent out,".to_owned();
            return Err(Refused::Quarantine(QuarantineError::Held { holders }));
        }
        core.lent = None;
        core.retired.clear();
        quarantine(&self.path, &evidence, &settings.quarantine, settings.vfs.as_deref(), &*settings.os)
            .map_err(Refused::Quarantine)
    }
}

/// Why nothing was moved.
enum Refused {
    Lock(Error),
    Quarantine(QuarantineError),
}
