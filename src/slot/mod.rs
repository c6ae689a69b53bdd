//! One database of a process: its connections, their seats, its breaker, and the way of a call through them.
//!
//! ```text
//! call ─► gate (may pass?) ─► seat ─► gate again, if it has to open ─► open, init, migrate ─► closure
//!      ◄─ events ◄─ give the seat back ◄─ gate (how did it go?) ◄─ tidy up: roll back, clean, discard ◄─┘
//! ```
//!
//! Lock order: a seat, then the gate's or the vitals'. Whoever sits on the writer's seat may look into the readers';
//! never the other way round. Events are only noted down until all are released.

mod damage;
mod readers;
mod reading;
mod turn;

use crate::breaker::BreakerMode;
use crate::builder::Settings;
use crate::checkpoint::{Checkpoint, CheckpointMode};
use crate::classify::Operation;
use crate::connection::Lent;
use crate::disk::DiskGuard;
use crate::error::{Cause, Error, Rescue, extended_code, is_busy_code};
use crate::events::{Event, EventKind, Hub, Notes};
use crate::ffi::{self, has_moved};
use crate::gate::Gate;
use crate::health::{Health, Now, Probe, Vitals, WalHealth};
use crate::os::FileId;
use crate::quarantine::Bundle;
use crate::regime::Regime;
use crate::seat::{BorrowKind, Borrower, Seat};
use crate::side_files::beside;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
use crate::{checkpoint, transaction};
use readers::Readers;
use rusqlite::{Connection, Transaction};
use std::mem;
use std::panic::{Location, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

pub(crate) type Place = &'static Location<'static>;

pub(crate) struct Slot {
    path: Arc<Path>,
    settings: Arc<Settings>,
    /// The process that made the slot. No other one touches what is in it.
    pid: u32,
    /// Whether SQLite has, or may have, the file open in this process.
    is_live: AtomicBool,
    /// Whether nobody is to be served any more.
    is_closed: AtomicBool,
    /// Whether there is reason to think that the open file has lost its name.
    is_suspect: AtomicBool,
    gate: Gate,
    disk: DiskGuard,
    writer: Seat<Core>,
    readers: Readers,
    vitals: Mutex<Vitals>,
    hub: Hub,
    /// Connections opened so far, for numbering them.
    serial: AtomicU64,
}

/// What only the holder of the writer's seat may touch.
#[derive(Default)]
struct Core {
    lent: Option<Lent>,
    /// Writers that are not lent any more and stay open while a reader is out: no reader outlives the last writer, so
    /// that whoever closes a file last does it here, where it is asked for the file's name first.
    retired: Vec<Lent>,
    /// What became of a file that has lost its name, until somebody is told.
    untold: Option<Rescue>,
    is_initialised: bool,
    regime: Regime,
    /// A quarantined database that the next one is to be filled from.
    bundle: Option<Bundle>,
    /// Whether its file has lost its name, and its rows could not be brought to safety so far.
    is_orphan: bool,
    /// Where the rows of a file without a name have been copied to, while its log is still to be emptied.
    rescued_to: Option<PathBuf>,
}

impl Slot {
    pub(crate) fn new(path: Arc<Path>, settings: Arc<Settings>) -> Slot {
        Slot {
            path,
            pid: settings.os.pid(),
            is_live: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
            gate: Gate::new(settings.breaker.clone()),
            disk: DiskGuard::default(),
            writer: Seat::new(BorrowKind::Writer, Core::default()),
            readers: Readers::new(settings.readers),
            vitals: Mutex::new(Vitals::default()),
            hub: Hub::new(settings.events.clone()),
            serial: AtomicU64::new(0),
            settings,
        }
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Acquire)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Which file its connections have open.
    pub(crate) fn file_id(&self) -> Option<FileId> {
        self.vitals.lock().file_id
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Receiver<Event> {
        self.hub.subscribe(capacity)
    }

    // --------------------------------------------------------------------------------------------
    // The doors

    /// Lends the writer.
    pub(crate) fn with_connection<T>(
        &self,
        place: Place,
        body: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.call(place, |path, conn, _| transaction::call(path, conn, body))
    }

    /// Lends the writer for one transaction.
    pub(crate) fn write<T>(
        &self,
        place: Place,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        if let Some(retry_after) = self.disk.refusal(|| self.settings.os.now()) {
            return Err(Error::new(&self.path, Operation::Begin, Cause::DiskFull { retry_after }));
        }
        self.call(place, |path, conn, notes| {
            let value = transaction::write(path, conn, body)?;
            if self.disk.has_room() {
                notes.add(EventKind::DiskHasRoom);
            }
            Ok(value)
        })
    }

    /// Lends a reader for one snapshot; the writer, where no reader is to be had.
    pub(crate) fn read<T>(
        &self,
        place: Place,
        body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let from_writer = |body| self.call(place, |path, conn, _| transaction::read(path, conn, body));
        if !self.readers.are_welcome(&*self.settings.os) {
            return from_writer(body);
        }
        let mut notes = Notes::default();
        let ending = self.read_beside(&mut notes, place, body);
        notes.emit(&self.path, &self.hub);
        match ending {
            Ok(Ok(result)) => result,
            Ok(Err(body)) => from_writer(body),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Runs a checkpoint on the writer.
    pub(crate) fn checkpoint(&self, place: Place, mode: CheckpointMode) -> Result<Checkpoint, Error> {
        let checkpoint = self.call(place, |path, conn, _| {
            checkpoint::run(conn, mode).map_err(|error| Error::on(path, Operation::Checkpoint, error, conn))
        })?;
        self.vitals.lock().checkpointed(self.settings.os.now(), checkpoint);
        Ok(checkpoint)
    }

    // --------------------------------------------------------------------------------------------
    // Care

    pub(crate) fn set_breaker_mode(&self, mode: BreakerMode) {
        let mut notes = Notes::default();
        self.gate.set_mode(mode, &mut notes);
        notes.emit(&self.path, &self.hub);
    }

    /// Closes readers that nobody has used for long, and reports borrowers who are overdue.
    pub(crate) fn maintain(&self) {
        let now = self.settings.os.now();
        self.readers.close_if(|lent| lent.is_idle(&self.settings, now));
        let mut notes = Notes::default();
        self.note_overdue(now, &mut notes);
        notes.emit(&self.path, &self.hub);
    }

    /// What is known, and what the live connection says now if nobody is using it.
    pub(crate) fn health(&self) -> Health {
        let os = &*self.settings.os;
        let (probe, mut wal) = self.probe();
        if let Some(wal) = &mut wal {
            wal.bytes = os.status(&beside(&self.path, "-wal")).ok().flatten().map_or(0, |file| file.bytes);
        }
        let time = os.now();
        let now = Now {
            time,
            probe,
            breaker: &self.gate.snapshot(),
            breaker_counters: self.gate.counters(),
            journal_mode: self.settings.journal_mode,
            wal,
            borrowers: self.borrowers(time),
            readers_open: self.readers.open(),
            is_disk_full: self.disk.is_full(),
            file_system: os.file_system(&self.path),
            events: self.hub.counts(),
            events_missed: self.hub.missed(),
        };
        self.vitals.lock().health(&self.path, now)
    }

    /// Closes all connections, after the calls in progress; waits so long for them at most. The last frames of the log
    /// are moved into the database first, as far as others allow it. `is_final` says that nobody is served any more.
    pub(crate) fn close(&self, patience: Duration, is_final: bool) -> Result<Option<Checkpoint>, Error> {
        let os = &*self.settings.os;
        let failed = |cause| Error::new(&self.path, Operation::Close, cause);
        if let Some(own) = self.writer.is_mine(os).or_else(|| self.readers.is_mine(os)) {
            return Err(failed(Cause::Reentrant(own)));
        }
        if is_final {
            self.is_closed.store(true, Ordering::Release);
        }
        let until = os.now().saturating_add(patience);
        self.readers.send_away();
        // The writer first: while it is out, it may be opening, and would welcome readers again.
        let Some(mut core) = self.writer.peek_for(patience) else {
            return Err(failed(Cause::StillBorrowed(self.borrowers(os.now()))));
        };
        let left = self.readers.drain(os, until);
        if !left.is_empty() {
            return Err(failed(Cause::StillBorrowed(left)));
        }
        let mut notes = Notes::default();
        self.close_retired(&mut core, &mut notes);
        let closed = match (core.lent.take(), core.untold.take()) {
            (Some(lent), _) => self.close_writer(&mut core, lent, &mut notes),
            (None, Some(rescue)) => Err(Error::new(&self.path, Operation::Identity, Cause::Moved { rescue })),
            (None, None) => Ok(None),
        };
        // Also if its file had lost its name, and its rows are safe by now.
        if core.lent.is_none() {
            self.is_live.store(false, Ordering::Release);
            self.vitals.lock().closed();
        }
        if closed.is_ok() {
            notes.add(EventKind::Closed);
        }
        drop(core);
        notes.emit(&self.path, &self.hub);
        closed
    }

    fn close_writer(&self, core: &mut Core, mut lent: Lent, notes: &mut Notes) -> Result<Option<Checkpoint>, Error> {
        let os = &*self.settings.os;
        if lent.has_moved_since(Duration::ZERO, os.now()) {
            core.lent = Some(lent);
            let rescue = self.leave_orphan(core, notes);
            return Err(Error::new(&self.path, Operation::Identity, Cause::Moved { rescue }));
        }
        // What cannot be checkpointed stays in the log, where it is just as safe.
        let checkpoint = checkpoint::run(&lent.conn, CheckpointMode::Passive).ok();
        if let Some(checkpoint) = checkpoint {
            self.vitals.lock().checkpointed(os.now(), checkpoint);
        }
        match lent.close() {
            Ok(()) => Ok(checkpoint),
            Err(refused) => {
                let (lent, error) = *refused;
                core.lent = Some(lent);
                Err(Error::sqlite(&self.path, Operation::Close, error))
            }
        }
    }

    fn borrowers(&self, now: Duration) -> Vec<Borrower> {
        self.writer.borrower(now).into_iter().chain(self.readers.borrowers(now)).collect()
    }

    fn note_overdue(&self, now: Duration, notes: &mut Notes) {
        let after = self.settings.overdue_after;
        let writer = self.writer.newly_overdue(now, after);
        for borrower in writer.into_iter().chain(self.readers.newly_overdue(now, after)) {
            notes.add(EventKind::BorrowOverdue { borrower });
        }
    }

    fn probe(&self) -> (Probe, Option<WalHealth>) {
        let Some(core) = self.writer.peek() else { return (Probe::InUse, None) };
        let Some(Lent { conn, .. }) = &core.lent else { return (Probe::NotOpen, None) };
        // Whoever looks does not want to wait, and the seat is taken meanwhile.
        ffi::set_busy_timeout(conn, Duration::ZERO);
        let answer = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        ffi::set_busy_timeout(conn, self.settings.busy_timeout);
        match answer {
            Ok(()) => (Probe::Passed, log_of(conn)),
            Err(error) => match extended_code(&error) {
                Some(code) if is_busy_code(code) => (Probe::Busy, None),
                code => (Probe::Failed { code: code.unwrap_or(rusqlite::ffi::SQLITE_ERROR) }, None),
            },
        }
    }
}

/// How many frames the log has, and how many of them are in the database.
fn log_of(conn: &Connection) -> Option<WalHealth> {
    let Checkpoint { frames, frames_checkpointed, .. } = checkpoint::look(conn)?;
    Some(WalHealth { bytes: 0, frames, frames_checkpointed })
}

impl Drop for Slot {
    fn drop(&mut self) {
        // In a forked child the connections are the parent's. To close one here could checkpoint, and unlink the log,
        // under the parent's feet.
        if self.settings.os.pid() != self.pid {
            let core = self.writer.get_mut();
            mem::forget(core.lent.take());
            mem::forget(mem::take(&mut core.retired));
            self.readers.forget();
            if self.is_live() {
                self.settings.registry().inherit(&self.path, self.pid);
            }
            return;
        }
        let mut core = mem::take(self.writer.get_mut());
        self.readers.send_away();
        core.lent = core.lent.take().or_else(|| core.retired.pop());
        if core.lent.as_ref().is_some_and(|lent| has_moved(&lent.conn)) {
            let mut notes = Notes::default();
            self.leave_orphan(&mut core, &mut notes);
            // What could not be brought to safety stays open, and in reach, for as long as the process lives.
            mem::forget(core.lent.take());
            notes.emit(&self.path, &self.hub);
        }
    }
}
