//! A turn on the writer's seat.

use super::{Core, Place, Slot};
use crate::breaker::Permit;
use crate::builder::Settings;
use crate::classify::Operation;
use crate::connection::Lent;
use crate::error::{Cause, Error, Rescue};
use crate::events::{EventKind, Notes};
use crate::ffi::has_moved;
use crate::open::{LockingMode, Role};
use crate::recovery::{self, Recovered};
use crate::regime::{Plan, Regime};
use crate::seat::{Occupied, Seated};
use crate::sync::Ordering;
use crate::{first_connect, orphan, schema, side_files};
use rusqlite::{Connection, TransactionState};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;

impl Slot {
    /// Runs the body on the writer, opening it if need be. A panic in the body goes on to the caller once the
    /// connection is tidied up.
    pub(super) fn call<T>(
        &self,
        place: Place,
        body: impl FnOnce(&Path, &mut Connection, &mut Notes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut notes = Notes::default();
        let ending = self.call_noting(&mut notes, place, body);
        notes.emit(&self.path, &self.hub);
        ending.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn call_noting<T>(
        &self,
        notes: &mut Notes,
        place: Place,
        body: impl FnOnce(&Path, &mut Connection, &mut Notes) -> Result<T, Error>,
    ) -> thread::Result<Result<T, Error>> {
        let mut permit = match self.admit(notes) {
            Ok(permit) => permit,
            Err(error) => return Ok(Err(error)),
        };
        let os = &*self.settings.os;
        let taken = self.writer.take(os, self.settings.acquire_timeout, place);
        let mut seated =
            match taken.map_err(|occupied| self.occupied(occupied, notes)).and_then(|s| self.unless_closed(s)) {
                Ok(seated) => seated,
                Err(error) => {
                    self.gate.release(permit);
                    return Ok(Err(error));
                }
            };
        let now = seated.since;
        let core = &mut *seated.core;
        if core.lent.as_ref().is_some_and(|lent| lent.is_spent(&self.settings, now)) {
            self.let_go(core, notes);
        }
        // Those who queued behind a caller that failed to open must not all go and try the same.
        if core.lent.is_none() && !self.gate.is_current(permit, os) {
            permit = match self.admit(notes) {
                Ok(permit) => permit,
                Err(error) => return Ok(Err(error)),
            };
        }
        let ending = catch_unwind(AssertUnwindSafe(|| self.run(core, now, notes, body)));
        let ending = match ending {
            Ok(result) => Ok(self.tidy(core, result, notes)),
            Err(panic) => {
                self.roll_back(core, notes);
                Err(panic)
            }
        };
        self.end_turn(core, notes);
        // Still on the seat: the next in line has to meet the breaker as this call leaves it.
        self.report(permit, &ending, notes);
        ending
    }

    /// Whether a call may go on to the seats. Whoever closes the store waits for those who have one, so it is asked
    /// [again](Self::unless_closed) once the seat is taken.
    pub(super) fn admit(&self, notes: &mut Notes) -> Result<Permit, Error> {
        if self.is_closed() {
            return Err(Error::new(&self.path, Operation::Borrow, Cause::Closed));
        }
        self.gate.admit(&*self.settings.os, notes).map_err(|refusal| {
            self.vitals.lock().calls.refused += 1;
            let cause = Cause::BreakerOpen { retry_after: refusal.retry_after };
            Error::new(&self.path, Operation::Open, cause)
        })
    }

    /// The error of a caller who has got no seat.
    pub(super) fn occupied(&self, occupied: Occupied, notes: &mut Notes) -> Error {
        let os = &*self.settings.os;
        let cause = match occupied {
            Occupied::By(_) if self.is_closed() => Cause::Closed,
            Occupied::BySelf(location) => Cause::Reentrant(location),
            Occupied::By(borrower) => {
                self.vitals.lock().calls.timed_out += 1;
                self.note_overdue(os.now(), notes);
                Cause::AcquireTimeout { borrower, waited: self.settings.acquire_timeout }
            }
        };
        Error::new(&self.path, Operation::Borrow, cause)
    }

    /// Whether a taken seat may be used.
    pub(super) fn unless_closed<'a, C>(&self, seated: Seated<'a, C>) -> Result<Seated<'a, C>, Error> {
        if self.is_closed() { Err(Error::new(&self.path, Operation::Borrow, Cause::Closed)) } else { Ok(seated) }
    }

    fn run<T>(
        &self,
        core: &mut Core,
        now: Duration,
        notes: &mut Notes,
        body: impl FnOnce(&Path, &mut Connection, &mut Notes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_identity(core, now)?;
        if core.lent.is_none() {
            let lent = self.open(core, now, notes)?;
            core.lent = Some(lent);
        }
        let Core { lent: Some(Lent { conn, locking, .. }), regime, .. } = core else {
            unreachable!("it has just been put there");
        };
        if !regime.has_strikes() || *locking == LockingMode::Exclusive {
            return body(&self.path, conn, notes);
        }
        let changes_before = conn.total_changes();
        let result = body(&self.path, conn, notes);
        if result.is_ok() && conn.is_autocommit() && conn.total_changes() != changes_before {
            regime.forgive();
        }
        result
    }

    /// Leaves the connection fit for the next borrower, or no connection.
    fn tidy<T>(&self, core: &mut Core, mut result: Result<T, Error>, notes: &mut Notes) -> Result<T, Error> {
        let has_lost_writes = self.roll_back(core, notes);
        if has_lost_writes && result.is_ok() {
            // To pass the closure's Ok on would acknowledge rows that have just been rolled back.
            result = Err(Error::new(&self.path, Operation::Call, Cause::DanglingWrite));
        }
        let Err(error) = result else { return result };
        let suspicion = recovery::wal_index_failure(&error).or_else(|| {
            let lent = core.lent.as_ref()?;
            recovery::unwritable_wal_index(&error, &lent.conn, lent.locking)
        });
        if !error.operation().is_opening()
            && let Some(reason) = suspicion
        {
            core.regime.strike(reason);
        }
        if error.is_disk_full() && !error.operation().precedes_closure() {
            let now = self.settings.os.now();
            if self.disk.full(now, self.settings.disk_full_pause) {
                notes.add(EventKind::DiskFull);
            }
        }
        if error.is_moved() {
            return Err(self.tell_rescue(core, error, notes));
        }
        let error = if error.is_corruption() { self.look_into_damage(core, error, notes) } else { error };
        if (error.fault().discards_connection() || error.is_read_only()) && core.lent.is_some() {
            self.discard(core, EventKind::ConnectionDiscarded { code: error.extended_code() }, notes);
        }
        Err(error)
    }

    /// Rolls back what the closure left open; true if it had written.
    fn roll_back(&self, core: &mut Core, notes: &mut Notes) -> bool {
        let Some(Lent { conn, .. }) = &core.lent else { return false };
        if conn.is_autocommit() {
            return false;
        }
        notes.add(EventKind::DanglingTransaction);
        self.vitals.lock().calls.dangling += 1;
        let has_written =
            !matches!(conn.transaction_state(None::<&str>), Ok(TransactionState::None | TransactionState::Read));
        let is_rolled_back = conn.execute_batch("ROLLBACK").is_ok();
        if !is_rolled_back && !conn.is_autocommit() {
            self.discard(core, EventKind::ConnectionDiscarded { code: None }, notes);
        }
        has_written
    }

    /// Closes the writer. If its file has lost its name, its rows come first; see [`leave_orphan`](Self::leave_orphan).
    fn let_go(&self, core: &mut Core, notes: &mut Notes) {
        let Some(lent) = core.lent.take() else { return };
        self.readers.send_away();
        if has_moved(&lent.conn) {
            core.lent = Some(lent);
            let rescue = self.leave_orphan(core, notes);
            // Whoever comes next has to know that it is another database.
            core.untold = Some(rescue).filter(|rescue| !matches!(rescue, Rescue::Pending(_)));
        } else if self.readers.are_out() {
            core.retired.push(lent);
        }
    }

    /// Closes writers that were kept for readers who were out, once those are back.
    pub(super) fn close_retired(&self, core: &mut Core, notes: &mut Notes) {
        while !core.retired.is_empty() && !self.readers.are_out() {
            let retired = core.retired.pop();
            if core.lent.is_none() {
                core.lent = retired;
                self.let_go(core, notes);
            }
        }
    }

    fn discard(&self, core: &mut Core, why: EventKind, notes: &mut Notes) {
        self.let_go(core, notes);
        self.vitals.lock().discarded();
        notes.add(why);
    }

    /// An exclusive connection locks everybody else out, so it is not kept for a next call that may never come.
    fn end_turn(&self, core: &mut Core, notes: &mut Notes) {
        if core.is_orphan {
            return;
        }
        if core.lent.as_ref().is_some_and(|lent| lent.locking == LockingMode::Exclusive) {
            self.let_go(core, notes);
        }
        if core.lent.as_mut().is_some_and(|lent| !lent.clean(&self.settings)) {
            self.discard(core, EventKind::SettingsChanged, notes);
        }
        if core.lent.is_none() {
            self.readers.send_away();
        }
        if !core.retired.is_empty() {
            self.close_retired(core, notes);
        }
        if core.lent.is_none() {
            self.is_live.store(!core.retired.is_empty() || self.readers.open() > 0, Ordering::Release);
        }
    }

    pub(super) fn report<T>(&self, permit: Permit, ending: &thread::Result<Result<T, Error>>, notes: &mut Notes) {
        let os = &*self.settings.os;
        match ending {
            Ok(Ok(_)) => self.gate.succeed(permit, os, notes),
            Ok(Err(error)) => {
                let mut vitals = self.vitals.lock();
                vitals.calls.failed += 1;
                vitals.calls.unknown += u64::from(error.outcome_unknown());
                if error.fault().is_availability() || error.operation().precedes_closure() {
                    vitals.failed(error);
                }
                drop(vitals);
                // A file that has lost its name says so, and "circuit open" would only hide that.
                if error.fault().is_availability() && !error.is_moved() {
                    self.gate.fail(permit, error, os, notes);
                } else {
                    self.gate.release(permit);
                }
            }
            // The closure panicked; that says nothing about the database.
            Err(_) => self.gate.release(permit),
        }
    }

    // --------------------------------------------------------------------------------------------
    // Opening

    fn open(&self, core: &mut Core, now: Duration, notes: &mut Notes) -> Result<Lent, Error> {
        let settings = &*self.settings;
        let os = &*settings.os;
        self.is_live.store(true, Ordering::Release);
        // An exclusive connection is not to be had beside them.
        self.readers.send_away();
        let known = self.file_id();
        let registry = settings.registry();
        let found = os.status(&self.path).ok().flatten().map(|file| file.id);
        if let Some(other) = found.and_then(|id| registry.other_name(id, &self.path)) {
            return Err(Error::new(&self.path, Operation::Resolve, Cause::HardLinked { other }));
        }
        // Nothing at all in its place, not even a directory, is an outage, and SQLite will say so.
        let has_place = || os.status(self.path.parent().unwrap_or(Path::new("/"))).is_ok_and(|place| place.is_some());
        if known.is_some() && found != known && (found.is_some() || has_place()) {
            core.is_initialised = false;
        }
        let _first_connect =
            match settings.first_connect_wait.filter(|_| !core.is_initialised && !settings.is_read_only()) {
                Some(patience) => Some(first_connect::lock(&self.path, patience, os)?),
                None => None,
            };
        if !core.is_initialised && !settings.is_read_only() {
            self.resume_quarantine(core, notes)?;
        }
        // Behind the lock: whoever creates the database has files that are not yet what they will be.
        side_files::check(&self.path, os)?;
        let mut lent = self.connect(&mut core.regime, now, notes)?;
        if core.is_initialised && self.file_id() != known {
            // Another file has come between the look and the opening. It is a first connect, and wants its lock.
            core.is_initialised = false;
            return Err(Error::new(&self.path, Operation::Identity, Cause::Moved { rescue: Rescue::InFile }));
        }
        if !core.is_initialised {
            self.initialise(&mut lent, notes).inspect_err(|error| {
                // The connection goes with the error, and nobody can ask it later.
                if let Some(reason) = recovery::unwritable_wal_index(error, &lent.conn, lent.locking) {
                    core.regime.strike(reason);
                }
            })?;
            self.salvage(core, &mut lent, notes)?;
            core.is_initialised = true;
            if !lent.clean(settings) {
                // What init has set applies to no other connection, so it shall not apply to this one.
                drop(lent);
                lent = self.connect(&mut core.regime, now, notes)?;
            }
        }
        if lent.locking == LockingMode::Shared && self.vitals.lock().is_wal() {
            self.readers.welcome();
        }
        Ok(lent)
    }

    fn connect(&self, regime: &mut Regime, now: Duration, notes: &mut Notes) -> Result<Lent, Error> {
        let settings = &*self.settings;
        let plan = regime.plan(now, settings.shared_mode_probe_interval);
        let Recovered { opened, degraded } = match plan {
            Plan::Healthy => recovery::open_healthy(&self.path, settings, notes)?,
            Plan::Degraded { first, reason } => recovery::open_degraded(&self.path, first, reason, settings)?,
        };
        if let Some(event) = regime.opened(plan, degraded, settings.os.now()) {
            notes.add(event);
        }
        if opened.locking == LockingMode::Shared {
            notes.add(EventKind::Opened);
        }
        // In this order, a file that is replaced meanwhile is not taken for the open one.
        let status = settings.os.status(&self.path).ok().flatten();
        let file_id = status.map(|status| status.id).filter(|_| !has_moved(&opened.conn));
        let mut vitals = self.vitals.lock();
        vitals.file_id = file_id;
        if vitals.opened(&opened.journal_mode, regime.degraded_reason()) && opened.journal_mode != "wal" {
            notes.add(EventKind::JournalModeRefused { effective: opened.journal_mode.clone() });
        }
        drop(vitals);
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        Ok(Lent::new(opened, Role::Writer, self.readers.generation(), serial, now))
    }

    fn initialise(&self, lent: &mut Lent, notes: &mut Notes) -> Result<(), Error> {
        let Settings { init, migrations, .. } = &*self.settings;
        if self.settings.is_read_only() {
            let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
            return if known == 0 { Ok(()) } else { schema::check(&self.path, &lent.conn, known).map(drop) };
        }
        if let Some(init) = init {
            let result = init(&mut lent.conn);
            result.map_err(|error| Error::on(&self.path, Operation::Init, error, &lent.conn))?;
            if !lent.conn.is_autocommit() {
                // Dropping the connection, as the caller does with the error, rolls back.
                return Err(Error::new(&self.path, Operation::Init, Cause::DanglingWrite));
            }
            self.vitals.lock().initialised();
            notes.add(EventKind::InitCompleted);
        }
        if !migrations.is_empty()
            && let Some((from, to)) = schema::migrate(&self.path, &mut lent.conn, migrations)?
        {
            notes.add(EventKind::Migrated { from, to });
        }
        Ok(())
    }

    // --------------------------------------------------------------------------------------------
    // Files that have lost their names

    /// Notices a file that was moved, replaced or deleted under its connection.
    fn check_identity(&self, core: &mut Core, now: Duration) -> Result<(), Error> {
        let moved = |rescue| Err(Error::new(&self.path, Operation::Identity, Cause::Moved { rescue }));
        if let Some(rescue) = core.untold.take() {
            return moved(rescue);
        }
        if core.lent.is_none() && core.retired.last().is_some_and(|retired| has_moved(&retired.conn)) {
            // What stands at the path now must not be opened beside the log of the old file.
            core.lent = core.retired.pop();
            return moved(Rescue::InFile);
        }
        let Some(lent) = &mut core.lent else { return Ok(()) };
        let is_suspect = self.is_suspect.load(Ordering::Relaxed) && self.is_suspect.swap(false, Ordering::Relaxed);
        let must_ask = is_suspect || core.is_orphan;
        let interval = if must_ask { Duration::ZERO } else { self.settings.identity_check_interval };
        if lent.has_moved_since(interval, now) {
            return moved(Rescue::InFile);
        }
        if mem::take(&mut core.is_orphan) {
            // Its file has been given its name back. What the last borrower has changed has not been set again.
            core.lent = None;
            core.rescued_to = None;
        }
        Ok(())
    }

    /// The same error, with what has been done about it.
    fn tell_rescue(&self, core: &mut Core, error: Error, notes: &mut Notes) -> Error {
        if core.lent.is_none() {
            // It has been done already.
            return error;
        }
        let rescue = self.leave_orphan(core, notes);
        let outcome_unknown = error.outcome_unknown();
        Error::new(&self.path, error.operation(), Cause::Moved { rescue }).with_outcome_unknown(outcome_unknown)
    }

    /// Brings the rows of a file that has lost its name to safety, and lets go of it if that worked.
    pub(super) fn leave_orphan(&self, core: &mut Core, notes: &mut Notes) -> Rescue {
        self.readers.send_away();
        let Some(lent) = &core.lent else { return Rescue::InFile };
        let rescue = if self.readers.are_out() {
            // What comes to stand at the path would find them on its log and its wal-index.
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            Rescue::Pending(rusqlite::Error::SqliteFailure(busy, Some("a reader of this store is lent out".to_owned())))
        } else {
            orphan::secure(&self.path, &lent.conn, self.file_id(), &mut core.rescued_to, &*self.settings.os)
        };
        self.vitals.lock().calls.moved += 1;
        match &rescue {
            Rescue::Pending(error) => {
                notes.add(EventKind::RescuePending { error: error.to_string() });
                core.is_orphan = true;
            }
            Rescue::InFile => notes.add(EventKind::Moved { rescued_to: None }),
            Rescue::Copied(to) => notes.add(EventKind::Moved { rescued_to: Some(to.clone()) }),
        }
        if !matches!(rescue, Rescue::Pending(_)) {
            *core = Core::default();
            let mut vitals = self.vitals.lock();
            vitals.file_id = None;
            vitals.discarded();
        }
        rescue
    }
}
