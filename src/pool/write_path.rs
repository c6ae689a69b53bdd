//! The path of a call on the writer.

use super::attribution::{attributed, is_of_main};
use super::connection::PooledConnection;
use super::files::Finding;
use super::lease::{AcquireError, Lease};
use super::transaction::View;
use super::{CallSite, Database, WriterState};
use crate::breaker::Permit;
use crate::error::{Cause, Error, Operation, Rescue};
use crate::events::{EventKind, EventQueue};
use crate::open::{LockingMode, recovery};
use crate::sync::Ordering;
use rusqlite::TransactionState;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

impl Database {
    /// Runs the body on the writer, opening it if need be. A panic in the body goes on to the caller once the
    /// connection is tidied up.
    pub(super) fn call<T>(
        &self,
        call_site: CallSite,
        body: impl FnOnce(&View<'_>, &mut PooledConnection, &mut EventQueue) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut events = EventQueue::default();
        let ending = self.call_noting(&mut events, call_site, body);
        events.emit(&self.path, &self.hub);
        ending.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn call_noting<T>(
        &self,
        events: &mut EventQueue,
        call_site: CallSite,
        body: impl FnOnce(&View<'_>, &mut PooledConnection, &mut EventQueue) -> Result<T, Error>,
    ) -> thread::Result<Result<T, Error>> {
        let mut permit = match self.admit(events) {
            Ok(permit) => permit,
            Err(error) => return Ok(Err(error)),
        };
        let os = &*self.settings.os;
        let taken =
            self.writer.take(os, self.settings.acquire_timeout.saturating_sub(call_site.waited), call_site.location);
        let mut lease = match taken
            .map_err(|acquire_error| self.acquire_error(acquire_error, events))
            .and_then(|lease| self.unless_closed(lease))
        {
            Ok(lease) => lease,
            Err(error) => {
                self.breaker.release(permit);
                return Ok(Err(error));
            }
        };
        let now = lease.since;
        let state = &mut *lease.value;
        if state.connection.as_ref().is_some_and(|connection| connection.is_expired(&self.settings, now)) {
            self.release_writer(state, events);
        }
        // The callers that queued behind one that failed to open must not all try the same.
        if state.connection.is_none() && !self.breaker.is_current(permit, os) {
            permit = match self.admit(events) {
                Ok(permit) => permit,
                Err(error) => return Ok(Err(error)),
            };
        }
        let ending = catch_unwind(AssertUnwindSafe(|| self.run(state, now, events, body)));
        let ending = match ending {
            Ok(result) => Ok(self.clean_up(state, result, events)),
            Err(panic) => {
                self.roll_back(state, events);
                Err(panic)
            }
        };
        let has_written = state.connection.as_ref().is_some_and(|pooled| pooled.has_written.take());
        self.finish_call(state, events);
        self.bound_log(state, events);
        let ending = if has_written { ending.map(|result| self.checked(state, result, events)) } else { ending };
        // Before the lease is released: the next call must see the breaker as this call leaves it.
        self.report(permit, &ending, events);
        ending
    }

    /// Whether a call may wait for a connection. Closing waits for the borrowers, so this is asked
    /// [again](Self::unless_closed) once the lease is taken.
    pub(super) fn admit(&self, events: &mut EventQueue) -> Result<Permit, Error> {
        if self.is_closed() {
            return Err(Error::new(&self.path, Operation::Borrow, Cause::Closed));
        }
        self.breaker.admit(&*self.settings.os, events).map_err(|refusal| {
            self.record.lock().calls.refused += 1;
            let cause = Cause::BreakerOpen { retry_after: refusal.retry_after };
            Error::new(&self.path, Operation::Open, cause)
        })
    }

    /// The error of a caller that got no lease.
    pub(super) fn acquire_error(&self, acquire_error: AcquireError, events: &mut EventQueue) -> Error {
        let os = &*self.settings.os;
        let cause = match acquire_error {
            AcquireError::Timeout(_) if self.is_closed() => Cause::Closed,
            AcquireError::Reentrant(location) => Cause::Reentrant(location),
            AcquireError::Timeout(borrower) => {
                self.record.lock().calls.timed_out += 1;
                self.queue_overdue(os.now(), events);
                Cause::AcquireTimeout { borrower, waited: self.settings.acquire_timeout }
            }
        };
        Error::new(&self.path, Operation::Borrow, cause)
    }

    /// The lease, or an error if the database is closed.
    pub(super) fn unless_closed<'a, C>(&self, lease: Lease<'a, C>) -> Result<Lease<'a, C>, Error> {
        if self.is_closed() { Err(Error::new(&self.path, Operation::Borrow, Cause::Closed)) } else { Ok(lease) }
    }

    fn run<T>(
        &self,
        state: &mut WriterState,
        now: Duration,
        events: &mut EventQueue,
        body: impl FnOnce(&View<'_>, &mut PooledConnection, &mut EventQueue) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_identity(state, now)?;
        if state.connection.is_none() {
            let connection = self.open(state, now, events)?;
            state.connection = Some(connection);
            self.note_log(state);
        }
        if state.has_failed_sync {
            self.write_log_again(state)?;
        }
        let WriterState { connection: Some(pooled), locking_policy, .. } = state else {
            unreachable!("the connection was set above");
        };
        let view = View { path: &self.path, os: &*self.settings.os };
        let is_exclusive = pooled.locking == LockingMode::Exclusive;
        if state.is_log_noted && (!locking_policy.has_failures() || is_exclusive) {
            return body(&view, pooled, events);
        }
        let changes_before = pooled.conn.total_changes();
        let result = body(&view, pooled, events);
        if result.is_ok() && pooled.conn.is_autocommit() && pooled.conn.total_changes() != changes_before {
            if locking_policy.has_failures() && !is_exclusive {
                locking_policy.reset();
            }
            self.note_log(state);
        }
        result
    }

    /// Leaves a connection that is clean for the next borrower, or no connection.
    fn clean_up<T>(
        &self,
        state: &mut WriterState,
        mut result: Result<T, Error>,
        events: &mut EventQueue,
    ) -> Result<T, Error> {
        let has_lost_writes = self.roll_back(state, events);
        if has_lost_writes && result.is_ok() {
            // An Ok would acknowledge rows that have just been rolled back.
            result = Err(Error::new(&self.path, Operation::Call, Cause::DanglingWrite));
        }
        self.note_failed_sync(state, result.as_ref().err());
        let Err(error) = result else { return result };
        let mut error = self.with_lock_owner(error);
        if let Some(pooled) = &state.connection {
            error = attributed(error, &pooled.conn, &self.settings);
        }
        let is_of_main =
            state.connection.as_ref().map_or(error.is_of_connection(), |pooled| is_of_main(&error, pooled));
        let suspicion = recovery::wal_index_failure(&error).or_else(|| {
            let pooled = state.connection.as_ref()?;
            recovery::unwritable_wal_index(&error, &pooled.conn, pooled.locking)
        });
        if let Some(reason) = suspicion.filter(|_| is_of_main && !error.operation().is_opening()) {
            state.locking_policy.record_failure(reason);
        }
        if error.is_disk_full() && !error.operation().precedes_closure() && is_of_main {
            let now = self.settings.os.now();
            if self.disk.full(now, self.settings.disk_full_pause) {
                events.add(EventKind::DiskFull);
            }
        }
        if let Some(loss) = error.loss() {
            return Err(self.with_rescue(state, error, loss, events));
        }
        let error = if error.is_corruption() { self.investigate_damage(state, error, events) } else { error };
        if (error.fault().discards_connection() || error.is_read_only()) && state.connection.is_some() {
            self.discard(state, EventKind::ConnectionDiscarded { code: error.extended_code() }, events);
        }
        Err(error)
    }

    /// An error instead of an acknowledgement if a name of the files is lost. This is asked last, when SQLite makes no
    /// call for this one any more: a name may be lost at any of them.
    fn checked<T>(
        &self,
        state: &mut WriterState,
        result: Result<T, Error>,
        events: &mut EventQueue,
    ) -> Result<T, Error> {
        let value = result?;
        if let Some((loss, rescue)) = state.unreported_rescue.take() {
            // Noticed when the connection was closed, just now.
            return Err(self.moved(loss, rescue).with_outcome_unknown(true));
        }
        let Some(pooled) = &state.connection else { return Ok(value) };
        let view = View { path: &self.path, os: &*self.settings.os };
        let Err(error) = view.require_names(pooled) else { return Ok(value) };
        let told = self.clean_up(state, Err(error), events);
        self.finish_call(state, events);
        told
    }

    /// Rolls back what the closure left open; true if it had written.
    pub(super) fn roll_back(&self, state: &mut WriterState, events: &mut EventQueue) -> bool {
        let Some(PooledConnection { conn, .. }) = &state.connection else { return false };
        if conn.is_autocommit() {
            return false;
        }
        events.add(EventKind::DanglingTransaction);
        self.record.lock().calls.dangling += 1;
        let has_written =
            !matches!(conn.transaction_state(None::<&str>), Ok(TransactionState::None | TransactionState::Read));
        let is_rolled_back = conn.execute_batch("ROLLBACK").is_ok();
        if !is_rolled_back && !conn.is_autocommit() {
            self.discard(state, EventKind::ConnectionDiscarded { code: None }, events);
        }
        has_written
    }

    /// Closes the writer. If its file has lost its name, its rows are rescued first; see
    /// [`rescue_orphan`](Self::rescue_orphan).
    pub(super) fn release_writer(&self, state: &mut WriterState, events: &mut EventQueue) {
        let Some(connection) = state.connection.take() else { return };
        self.readers.invalidate();
        match connection.finding(&*self.settings.os) {
            Some(Finding::Lost(loss)) => {
                state.connection = Some(connection);
                let rescue = self.leave(state, loss, events);
                // The next caller must be told that it gets another database.
                state.unreported_rescue =
                    Some((loss, rescue)).filter(|(_, rescue)| !matches!(rescue, Rescue::Pending(_)));
            }
            _ if state.retired.is_empty() && self.readers.are_borrowed() => state.retired.push(connection),
            Some(Finding::SecondName(_)) => drop(self.protect_log(&connection, state.claim.as_ref())),
            None if state.retired.is_empty() => self.keep_log_of_others(&connection, state.claim.as_mut()),
            None => {}
        }
        // Any other one is closed at once: beside the retired one it is not the last, so its close neither checkpoints
        // nor unlinks anything.
    }

    /// Closes writers that were kept for borrowed readers, once those are returned.
    pub(super) fn close_retired(&self, state: &mut WriterState, events: &mut EventQueue) {
        while !state.retired.is_empty() && !self.readers.are_borrowed() {
            let retired = state.retired.pop();
            if state.connection.is_none() {
                state.connection = retired;
                self.release_writer(state, events);
            }
        }
    }

    pub(super) fn discard(&self, state: &mut WriterState, why: EventKind, events: &mut EventQueue) {
        self.release_writer(state, events);
        self.record.lock().discarded();
        events.add(why);
    }

    /// An exclusive connection locks all other processes out, so it is not kept for a next call that may never come.
    fn finish_call(&self, state: &mut WriterState, events: &mut EventQueue) {
        if state.is_orphan {
            return;
        }
        if state.connection.as_ref().is_some_and(|connection| connection.locking == LockingMode::Exclusive) {
            self.release_writer(state, events);
        }
        if state.connection.as_mut().is_some_and(|connection| !connection.clean(&self.settings)) {
            self.discard(state, EventKind::SettingsChanged, events);
        }
        if state.connection.is_none() {
            self.readers.invalidate();
        }
        if !state.retired.is_empty() {
            self.close_retired(state, events);
        }
        if state.connection.is_none() {
            self.is_live.store(!state.retired.is_empty() || self.readers.open() > 0, Ordering::Release);
            self.release_claim(state);
        }
    }

    pub(super) fn report<T>(&self, permit: Permit, ending: &thread::Result<Result<T, Error>>, events: &mut EventQueue) {
        let os = &*self.settings.os;
        match ending {
            Ok(Ok(_)) => self.breaker.succeed(permit, os, events),
            Ok(Err(error)) => {
                let mut record = self.record.lock();
                record.calls.failed += 1;
                record.calls.unknown += u64::from(error.outcome_unknown());
                if error.is_outage() || error.is_moved() || error.operation().precedes_closure() {
                    record.failed(error);
                }
                drop(record);
                // "Circuit open" would hide that the file has lost its name.
                if error.is_outage() {
                    self.breaker.fail(permit, error, os, events);
                } else {
                    self.breaker.release(permit);
                }
            }
            // The closure panicked; that says nothing about the database.
            Err(_) => self.breaker.release(permit),
        }
    }
}
