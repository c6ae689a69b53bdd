//! The path of a call on a reader.

use super::attribution::attributed;
use super::connection::PooledConnection;
use super::transaction;
use super::{CallSite, Database};
use crate::error::{BorrowKind, Error};
use crate::events::{EventKind, EventQueue};
use crate::open::open_reader;
use crate::quarantine::keep_log;
use crate::sync::Ordering;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

/// The result of a read, or the closure again if no reader was available.
type Ending<T, B> = thread::Result<Result<Result<T, Error>, B>>;

impl Database {
    /// Runs the body in its own snapshot, beside the writer.
    pub(super) fn read_on_reader<T, B>(&self, events: &mut EventQueue, call_site: CallSite, body: B) -> Ending<T, B>
    where
        B: FnOnce(&Connection) -> rusqlite::Result<T>,
    {
        let settings = &*self.settings;
        let os = &*settings.os;
        let permit = match self.admit(events) {
            Ok(permit) => permit,
            Err(error) => return Ok(Ok(Err(error))),
        };
        let taken =
            self.readers.take(os, settings.acquire_timeout.saturating_sub(call_site.waited), call_site.location);
        let taken = taken
            .map_err(|acquire_error| self.acquire_error(acquire_error, events))
            .and_then(|lease| self.unless_closed(lease));
        let mut lease = match taken {
            Ok(lease) => lease,
            Err(error) => {
                self.breaker.release(permit);
                return Ok(Ok(Err(error)));
            }
        };
        let now = lease.since;
        let ending = match self.usable_reader(&mut lease.value, now, events) {
            Some(pooled) => {
                let result = catch_unwind(AssertUnwindSafe(|| transaction::read(&self.path, pooled, body)));
                let result = result.map(|result| {
                    result.map_err(|error| attributed(self.with_lock_owner(error), &pooled.conn, settings))
                });
                self.clean_up_reader(&mut lease.value, &result, now, events);
                self.report(permit, &result, events);
                result.map(Ok)
            }
            None => {
                self.breaker.release(permit);
                Ok(Err(body))
            }
        };
        drop(lease);
        self.readers.notify_released();
        ending
    }

    /// A reader that may be used, opened if necessary; `None` if the read should use the writer.
    fn usable_reader<'a>(
        &self,
        reader: &'a mut Option<PooledConnection>,
        now: Duration,
        events: &mut EventQueue,
    ) -> Option<&'a PooledConnection> {
        let settings = &*self.settings;
        // The writer may have invalidated the readers meanwhile. A reader opened now would block it.
        if !self.readers.are_enabled(&*settings.os) {
            *reader = None;
            return None;
        }
        let generation = self.readers.generation();
        reader.take_if(|connection| connection.generation != generation || connection.is_expired(settings, now));
        let os = &*settings.os;
        let interval = settings.identity_check_interval;
        if reader.as_mut().is_some_and(|connection| connection.finding_since(interval, now, os).is_some()) {
            // The writer has the same file open, so closing this connection loses nothing. The writer handles the rest.
            *reader = None;
            self.is_suspect.store(true, Ordering::Relaxed);
            return None;
        }
        if reader.is_none() {
            match open_reader(&self.path, settings) {
                Ok(opened) => {
                    let serial = self.serial.fetch_add(1, Ordering::Relaxed);
                    let mut connection = PooledConnection::new(opened, BorrowKind::Reader, generation, serial, now);
                    self.identify_reader(&mut connection);
                    if !self.has_same_files(&connection) {
                        // Of another file than the writer's it may be the only connection, so it changes nothing.
                        let _ = keep_log(&connection.conn);
                        self.is_suspect.store(true, Ordering::Relaxed);
                        return None;
                    }
                    *reader = Some(connection);
                    self.record.lock().reader_opened();
                }
                Err(error) => self.suspend_readers(&error, now, events),
            }
        }
        reader.as_ref()
    }

    fn clean_up_reader<T>(
        &self,
        reader: &mut Option<PooledConnection>,
        result: &thread::Result<Result<T, Error>>,
        now: Duration,
        events: &mut EventQueue,
    ) {
        let Some(connection) = reader else { return };
        let mut is_fit = true;
        if !connection.conn.is_autocommit() {
            events.add(EventKind::DanglingTransaction);
            is_fit = connection.conn.execute_batch("ROLLBACK").is_ok();
        }
        if let Ok(Err(error)) = result
            && error.fault().discards_connection()
        {
            is_fit = false;
            if !error.is_elsewhere() {
                self.suspend_readers(error, now, events);
            }
        }
        if !connection.clean(&self.settings) {
            is_fit = false;
            events.add(EventKind::SettingsChanged);
        }
        connection.used(now);
        if !is_fit {
            *reader = None;
            self.record.lock().discarded();
        } else if connection.generation != self.readers.generation() {
            *reader = None;
        }
    }

    /// Sends reads to the writer for a while, which finds out what is wrong.
    fn suspend_readers(&self, error: &Error, now: Duration, events: &mut EventQueue) {
        self.readers.suspend(now.saturating_add(self.settings.shared_mode_probe_interval));
        events.add(EventKind::ReadersSuspended { code: error.extended_code() });
    }
}
