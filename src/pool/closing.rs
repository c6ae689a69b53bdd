//! How the connections of a database are closed: on request, and with the last handle.

use super::files::Finding;
use super::{Database, PooledConnection, WriterState};
use crate::error::{Cause, Error, Loss, Operation};
use crate::events::{EventKind, EventQueue};
use crate::health::{Checkpoint, CheckpointMode, run_checkpoint};
use crate::sync::Ordering;
use std::mem;
use std::time::Duration;

impl Database {
    /// Closes all connections, after the calls in progress; waits for them up to `patience`. First it moves the last
    /// frames of the log into the database, as far as other processes allow it. With `is_final`, new calls are refused
    /// from now on.
    pub(crate) fn close(&self, patience: Duration, is_final: bool) -> Result<Option<Checkpoint>, Error> {
        let os = &*self.settings.os;
        let failed = |cause| Error::new(&self.path, Operation::Close, cause);
        if let Some(own) = self.writer.held_by_caller(os).or_else(|| self.readers.held_by_caller(os)) {
            return Err(failed(Cause::Reentrant(own)));
        }
        if is_final {
            self.is_closed.store(true, Ordering::Release);
        }
        let until = os.now().saturating_add(patience);
        self.readers.invalidate();
        // The writer first: a call that holds it may be opening, and would enable readers again.
        let Some(mut state) = self.writer.try_lock_for(patience) else {
            return Err(failed(Cause::StillBorrowed(self.borrowers(os.now()))));
        };
        let left = self.readers.drain(os, until);
        if !left.is_empty() {
            return Err(failed(Cause::StillBorrowed(left)));
        }
        let mut events = EventQueue::default();
        self.close_retired(&mut state, &mut events);
        let closed = match (state.connection.take(), state.unreported_rescue.take()) {
            (Some(connection), _) => self.close_writer(&mut state, connection, &mut events),
            (None, Some((loss, rescue))) => {
                Err(Error::new(&self.path, Operation::Identity, Cause::Moved { loss, rescue }))
            }
            (None, None) => Ok(None),
        };
        // Also if its file had lost its name, and its rows are rescued.
        self.release_claim(&mut state);
        if state.connection.is_none() {
            self.is_live.store(false, Ordering::Release);
            self.record.lock().closed();
        }
        if closed.is_ok() {
            events.add(EventKind::Closed);
        }
        drop(state);
        events.emit(&self.path, &self.hub);
        closed
    }

    fn close_writer(
        &self,
        state: &mut WriterState,
        mut connection: PooledConnection,
        events: &mut EventQueue,
    ) -> Result<Option<Checkpoint>, Error> {
        let os = &*self.settings.os;
        match connection.finding_since(Duration::ZERO, os.now(), os) {
            Some(Finding::Lost(loss)) => return Err(self.close_lost(state, connection, loss, events)),
            Some(Finding::SecondName(_)) => {
                let protected = self.protect_log(&connection, state.claim.as_ref());
                protected.map_err(|error| Error::sqlite(&self.path, Operation::Close, error))?;
                return Ok(None);
            }
            None => {}
        }
        // What cannot be checkpointed stays in the log, where it is equally safe.
        let checkpoint = run_checkpoint(&connection.conn, CheckpointMode::Passive).ok();
        if let Some(checkpoint) = checkpoint {
            self.record.lock().checkpointed(os.now(), checkpoint);
        }
        // SQLite asks for the name of the database as well, and then leaves the log behind at the name of another file.
        if let Some(Finding::Lost(loss)) = connection.finding(os) {
            return Err(self.close_lost(state, connection, loss, events));
        }
        self.keep_log_of_others(&connection, state.claim.as_mut());
        match connection.close() {
            Ok(()) => Ok(checkpoint),
            Err(refused) => {
                let (connection, error) = *refused;
                if let (Some(claim), Some(files)) = (&mut state.claim, &connection.files) {
                    // Without a claim, SQLite's locks have to do.
                    let _ = claim.take(&files.identity);
                }
                state.connection = Some(connection);
                Err(Error::sqlite(&self.path, Operation::Close, error))
            }
        }
    }

    fn close_lost(
        &self,
        state: &mut WriterState,
        connection: PooledConnection,
        loss: Loss,
        events: &mut EventQueue,
    ) -> Error {
        state.connection = Some(connection);
        let rescue = self.leave(state, loss, events);
        Error::new(&self.path, Operation::Identity, Cause::Moved { loss, rescue })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // In a forked child the connections are the parent's. Closing one here could checkpoint and unlink the log
        // while the parent uses it.
        if self.settings.os.pid() != self.pid {
            let state = self.writer.get_mut();
            mem::forget(state.connection.take());
            mem::forget(mem::take(&mut state.retired));
            // The lock is that of the parent's descriptor.
            mem::forget(state.claim.take());
            self.readers.forget();
            if self.is_live() {
                self.registry.inherit(&self.path, self.pid);
            }
            return;
        }
        let mut state = mem::take(self.writer.get_mut());
        self.readers.invalidate();
        state.connection = state.connection.take().or_else(|| state.retired.pop());
        let os = &*self.settings.os;
        match state.connection.as_ref().and_then(|connection| connection.finding(os)) {
            Some(Finding::Lost(loss)) => {
                let mut events = EventQueue::default();
                self.leave(&mut state, loss, &mut events);
                if let Some(connection) = state.connection.take() {
                    // Rows that could not be rescued stay in the open file for as long as the process lives, and no
                    // other file is opened beside its log.
                    mem::forget((connection, state.claim.take()));
                }
                events.emit(&self.path, &self.hub);
            }
            Some(Finding::SecondName(_)) => {
                // The others are not the last to be closed.
                state.retired.clear();
                let _ = state.connection.as_ref().map(|last| self.protect_log(last, state.claim.as_ref()));
            }
            None => {
                state.retired.clear();
                let WriterState { connection, claim, .. } = &mut state;
                let _ = connection.as_ref().map(|last| self.keep_log_of_others(last, claim.as_mut()));
            }
        }
    }
}
