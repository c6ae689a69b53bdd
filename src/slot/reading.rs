//! A turn on a reader's seat.

use super::{Place, Slot};
use crate::connection::Lent;
use crate::error::Error;
use crate::events::{EventKind, Notes};
use crate::open::{Role, open_reader};
use crate::sync::Ordering;
use crate::transaction;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

/// What has come of a read, or the closure again if no reader could be had for it.
type Ending<T, B> = thread::Result<Result<Result<T, Error>, B>>;

impl Slot {
    /// Runs the body in a snapshot of its own, beside the writer.
    pub(super) fn read_beside<T, B>(&self, notes: &mut Notes, place: Place, body: B) -> Ending<T, B>
    where
        B: FnOnce(&Connection) -> rusqlite::Result<T>,
    {
        let settings = &*self.settings;
        let os = &*settings.os;
        let permit = match self.admit(notes) {
            Ok(permit) => permit,
            Err(error) => return Ok(Ok(Err(error))),
        };
        let taken = self.readers.take(os, settings.acquire_timeout, place);
        let taken =
            taken.map_err(|occupied| self.occupied(occupied, notes)).and_then(|seated| self.unless_closed(seated));
        let mut seated = match taken {
            Ok(seated) => seated,
            Err(error) => {
                self.gate.release(permit);
                return Ok(Ok(Err(error)));
            }
        };
        let now = seated.since;
        let ending = match self.fit_reader(&mut seated.core, now, notes) {
            Some(Lent { conn, .. }) => {
                let result = catch_unwind(AssertUnwindSafe(|| transaction::read(&self.path, conn, body)));
                self.tidy_reader(&mut seated.core, &result, now, notes);
                self.report(permit, &result, notes);
                result.map(Ok)
            }
            None => {
                self.gate.release(permit);
                Ok(Err(body))
            }
        };
        drop(seated);
        self.readers.gave_back();
        ending
    }

    /// A reader that is fit to be lent, opened if need be; `None` if the writer had better do it.
    fn fit_reader<'a>(&self, seat: &'a mut Option<Lent>, now: Duration, notes: &mut Notes) -> Option<&'a Lent> {
        let settings = &*self.settings;
        // The writer may have sent the readers away since it was asked. What is opened now would be in its way.
        if !self.readers.are_welcome(&*settings.os) {
            *seat = None;
            return None;
        }
        let generation = self.readers.generation();
        seat.take_if(|lent| lent.generation != generation || lent.is_spent(settings, now));
        if seat.as_mut().is_some_and(|lent| lent.has_moved_since(settings.identity_check_interval, now)) {
            // The writer has the same file open, so closing this connection loses nothing. What is to be done about it
            // is the writer's business.
            *seat = None;
            self.is_suspect.store(true, Ordering::Relaxed);
            return None;
        }
        if seat.is_none() {
            match open_reader(&self.path, settings) {
                Ok(opened) => {
                    let serial = self.serial.fetch_add(1, Ordering::Relaxed);
                    *seat = Some(Lent::new(opened, Role::Reader, generation, serial, now));
                    self.vitals.lock().reader_opened();
                }
                Err(error) => self.suspend_readers(&error, now, notes),
            }
        }
        seat.as_ref()
    }

    fn tidy_reader<T>(
        &self,
        seat: &mut Option<Lent>,
        result: &thread::Result<Result<T, Error>>,
        now: Duration,
        notes: &mut Notes,
    ) {
        let Some(lent) = seat else { return };
        let mut is_fit = true;
        if !lent.conn.is_autocommit() {
            notes.add(EventKind::DanglingTransaction);
            is_fit = lent.conn.execute_batch("ROLLBACK").is_ok();
        }
        if let Ok(Err(error)) = result
            && error.fault().discards_connection()
        {
            is_fit = false;
            self.suspend_readers(error, now, notes);
        }
        if !lent.clean(&self.settings) {
            is_fit = false;
            notes.add(EventKind::SettingsChanged);
        }
        lent.used(now);
        if !is_fit {
            *seat = None;
            self.vitals.lock().discarded();
        } else if lent.generation != self.readers.generation() {
            *seat = None;
        }
    }

    /// Lets reads go to the writer for a while, which finds out what is wrong.
    fn suspend_readers(&self, error: &Error, now: Duration, notes: &mut Notes) {
        self.readers.ban(now.saturating_add(self.settings.shared_mode_probe_interval));
        notes.add(EventKind::ReadersSuspended { code: error.extended_code() });
    }
}
