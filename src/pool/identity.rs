//! A file that loses its name while it is open: noticed, and its rows rescued.

use super::{Database, WriterState, orphan};
use crate::error::{Cause, Error, Operation, Rescue};
use crate::events::{EventKind, EventQueue};
use crate::ffi::has_moved;
use crate::sync::Ordering;
use std::mem;
use std::time::Duration;

impl Database {
    /// Detects a file that was moved, replaced or deleted under its connection.
    pub(super) fn check_identity(&self, state: &mut WriterState, now: Duration) -> Result<(), Error> {
        let moved = |rescue| Err(Error::new(&self.path, Operation::Identity, Cause::Moved { rescue }));
        if let Some(rescue) = state.unreported_rescue.take() {
            return moved(rescue);
        }
        if state.connection.is_none() && state.retired.last().is_some_and(|retired| has_moved(&retired.conn)) {
            // The file that is at the path now must not be opened beside the log of the old file.
            state.connection = state.retired.pop();
            return moved(Rescue::InFile);
        }
        let Some(connection) = &mut state.connection else { return Ok(()) };
        let is_suspect = self.is_suspect.load(Ordering::Relaxed) && self.is_suspect.swap(false, Ordering::Relaxed);
        let must_ask = is_suspect || state.is_orphan;
        let interval = if must_ask { Duration::ZERO } else { self.settings.identity_check_interval };
        if connection.has_moved_since(interval, now) {
            return moved(Rescue::InFile);
        }
        if mem::take(&mut state.is_orphan) {
            // Its file has its name again. The changes of the last borrower have not been reset.
            state.connection = None;
            state.rescued_to = None;
        }
        Ok(())
    }

    /// The same error, with the result of the rescue.
    pub(super) fn with_rescue(&self, state: &mut WriterState, error: Error, events: &mut EventQueue) -> Error {
        if state.connection.is_none() {
            // It was rescued already.
            return error;
        }
        let rescue = self.rescue_orphan(state, events);
        let outcome_unknown = error.outcome_unknown();
        Error::new(&self.path, error.operation(), Cause::Moved { rescue }).with_outcome_unknown(outcome_unknown)
    }

    /// Rescues the rows of a file that has lost its name, and closes it if that worked.
    pub(super) fn rescue_orphan(&self, state: &mut WriterState, events: &mut EventQueue) -> Rescue {
        self.readers.invalidate();
        let Some(connection) = &state.connection else { return Rescue::InFile };
        let rescue = if self.readers.are_borrowed() {
            // A new file at the path would share its log and wal-index with them.
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            Rescue::Pending(rusqlite::Error::SqliteFailure(busy, Some("a reader of this store is borrowed".to_owned())))
        } else {
            orphan::secure(&self.path, &connection.conn, self.file_id(), &mut state.rescued_to, &*self.settings.os)
        };
        self.record.lock().calls.moved += 1;
        match &rescue {
            Rescue::Pending(error) => {
                events.add(EventKind::RescuePending { error: error.to_string() });
                state.is_orphan = true;
            }
            Rescue::InFile => events.add(EventKind::Moved { rescued_to: None }),
            Rescue::Copied(to) => events.add(EventKind::Moved { rescued_to: Some(to.clone()) }),
        }
        if !matches!(rescue, Rescue::Pending(_)) {
            *state = WriterState::default();
            let mut record = self.record.lock();
            record.file_id = None;
            record.discarded();
        }
        rescue
    }
}
