//! The databases that a process has open: for each one its connections, its breaker, and the path of a call.
//!
//! ```text
//! call ─► breaker (may it pass?) ─► lease ─► breaker again, if it has to open ─► open, init, migrate ─► closure
//!      ◄─ events ◄─ release the lease ◄─ breaker (the outcome) ◄─ clean up: roll back, reset, discard ◄─┘
//! ```
//!
//! Lock order: a lease, then the lock of the breaker or of the health record. The holder of the writer may lock a
//! reader, never the reverse. Events are queued, and emitted after all locks are released.

mod attribution;
mod call_site;
mod claims;
mod closing;
mod connection;
mod damage;
mod disk_guard;
mod eviction;
mod failed_sync;
mod files;
mod identity;
mod inspection;
mod lease;
mod log_limit;
mod opening;
mod orphan;
#[cfg(feature = "tokio")]
mod queueing;
mod read_path;
mod readers;
mod registry;
mod shared_breaker;
mod transaction;
mod write_path;

pub(crate) use call_site::CallSite;
#[cfg(feature = "tokio")]
pub(crate) use queueing::ConnectionNeed;
pub use registry::Registry;
pub(crate) use registry::canonical;

use crate::breaker::BreakerMode;
use crate::error::{BorrowKind, Borrower, Cause, Error, Loss, Operation, Rescue};
use crate::events::{EventHub, EventKind, EventQueue, Subscription};
use crate::health::{Checkpoint, CheckpointMode, HealthRecord, run_checkpoint};
use crate::open::locking_policy::LockingPolicy;
use crate::os::{FileId, beside};
use crate::quarantine::Bundle;
use crate::settings::Settings;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
use claims::Claim;
use connection::PooledConnection;
use disk_guard::DiskGuard;
use files::{Identity, Names};
use lease::TrackedMutex;
use log_limit::LogWatch;
use orphan::Copied;
use readers::Readers;
use rusqlite::{Connection, Transaction};
use shared_breaker::SharedBreaker;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) struct Database {
    path: Arc<Path>,
    wal_path: PathBuf,
    names: Arc<Names>,
    /// The files that the writer has open, where that is known.
    identity: Mutex<Option<Identity>>,
    settings: Arc<Settings>,
    registry: Arc<Registry>,
    /// The process that created this value. No other process touches its content.
    pid: u32,
    /// Whether SQLite has, or may have, the file open in this process.
    is_live: AtomicBool,
    /// Whether new calls are refused.
    is_closed: AtomicBool,
    /// Whether the open file may have lost its name.
    is_suspect: AtomicBool,
    /// Whether the log is over its limit, and could not be emptied.
    is_log_over: AtomicBool,
    breaker: SharedBreaker,
    disk: DiskGuard,
    writer: TrackedMutex<WriterState>,
    readers: Readers,
    record: Mutex<HealthRecord>,
    hub: EventHub,
    /// Connections opened so far, for numbering them.
    serial: AtomicU64,
    /// When it was last used, by the clock of its cache.
    last_use: AtomicU64,
    /// When the holder of a lock was last looked for, in nanoseconds; 0 for never.
    looked_at_ns: AtomicU64,
}

/// What only the holder of the writer may touch.
#[derive(Default)]
struct WriterState {
    connection: Option<PooledConnection>,
    /// At most one writer that is not used any more but stays open while a reader is borrowed. No reader outlives it,
    /// so the file is closed last by a writer, after a check of the file's name.
    retired: Vec<PooledConnection>,
    /// What became of a file that has lost its name, until a caller gets it as an error.
    unreported_rescue: Option<(Loss, Rescue)>,
    is_initialised: bool,
    locking_policy: LockingPolicy,
    log: LogWatch,
    /// The quarantined database from which the next one is filled.
    bundle: Option<Bundle>,
    /// Whether its file has lost its name, and its rows could not be rescued so far.
    is_orphan: bool,
    /// The copy of the rows of a file without a name, while its connection is kept.
    copied: Option<Copied>,
    /// Whether the last connection had no log at its name.
    was_log_missing: bool,
    /// Whether a sync has failed, and the log has not been written again since.
    has_failed_sync: bool,
    /// Whether it is noted which log belongs to the open file.
    is_log_noted: bool,
    /// What this process says of the files that it has open. Given back after they are closed, so it comes last.
    claim: Option<Claim>,
}

impl Database {
    pub(crate) fn new(path: Arc<Path>, settings: Arc<Settings>, registry: Arc<Registry>) -> Database {
        Database {
            wal_path: beside(&path, "-wal"),
            names: Arc::new(Names::new(Arc::clone(&path))),
            identity: Mutex::new(None),
            path,
            pid: settings.os.pid(),
            is_live: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
            is_log_over: AtomicBool::new(false),
            breaker: SharedBreaker::new(settings.breaker.clone()),
            disk: DiskGuard::default(),
            writer: TrackedMutex::new(BorrowKind::Writer, WriterState::default()),
            readers: Readers::new(settings.readers),
            record: Mutex::new(HealthRecord::default()),
            hub: EventHub::new(settings.events.clone()),
            serial: AtomicU64::new(0),
            last_use: AtomicU64::new(0),
            looked_at_ns: AtomicU64::new(0),
            settings,
            registry,
        }
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The same database as a process sees it that has not opened it.
    pub(crate) fn unopened(&self) -> Database {
        Database::new(Arc::clone(&self.path), Arc::clone(&self.settings), Arc::clone(&self.registry))
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

    /// The file that its connections have open.
    pub(crate) fn file_id(&self) -> Option<FileId> {
        self.record.lock().file_id
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Subscription {
        self.hub.subscribe(capacity)
    }

    // --------------------------------------------------------------------------------------------
    // Entry points

    /// Runs the closure on the writer.
    pub(crate) fn with_connection<T>(
        &self,
        call_site: CallSite,
        body: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.call(call_site, |view, pooled, _| transaction::call(view, pooled, body))
    }

    /// Runs the closure on the writer, in one transaction.
    pub(crate) fn write<T>(
        &self,
        call_site: CallSite,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        if let Some(retry_after) = self.disk.refusal(|| self.settings.os.now()) {
            return Err(Error::new(&self.path, Operation::Begin, Cause::DiskFull { retry_after }));
        }
        self.call(call_site, |view, pooled, events| {
            let value = transaction::write(view, pooled, body)?;
            if self.disk.has_room() {
                events.add(EventKind::DiskHasRoom);
            }
            Ok(value)
        })
    }

    /// Runs the closure on a reader, in one snapshot; on the writer if no reader is available.
    pub(crate) fn read<T>(
        &self,
        call_site: CallSite,
        body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let from_writer = |body| self.call(call_site, |view, pooled, _| transaction::read(view.path, pooled, body));
        if !self.readers.are_enabled(&*self.settings.os) {
            return from_writer(body);
        }
        let mut events = EventQueue::default();
        let ending = self.read_on_reader(&mut events, call_site, body);
        events.emit(&self.path, &self.hub);
        match ending {
            Ok(Ok(result)) => result,
            Ok(Err(body)) => from_writer(body),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Runs a checkpoint on the writer.
    pub(crate) fn checkpoint(&self, call_site: CallSite, mode: CheckpointMode) -> Result<Checkpoint, Error> {
        let checkpoint = self.call(call_site, |view, pooled, _| {
            // Overlapping reads would make SQLite wait, with the write lock, for as long as it may.
            let _hold = (mode != CheckpointMode::Passive).then(|| self.hold_readers()).flatten();
            // It writes into the file: the names must be right now, not at the last look.
            view.require_names(pooled).map_err(|error| error.with_outcome_unknown(false))?;
            let checkpoint = run_checkpoint(&pooled.conn, mode);
            let failed = |error| Error::on(view.path, Operation::Checkpoint, error, &pooled.conn);
            let checkpoint = checkpoint.map_err(failed)?;
            // The file is another one now; it is remembered how it is with all names right.
            view.require_names(pooled)?;
            Ok(checkpoint)
        })?;
        self.record.lock().checkpointed(self.settings.os.now(), checkpoint);
        Ok(checkpoint)
    }

    // --------------------------------------------------------------------------------------------
    // Maintenance

    pub(crate) fn set_breaker_mode(&self, mode: BreakerMode) {
        let mut events = EventQueue::default();
        self.breaker.set_mode(mode, &mut events);
        events.emit(&self.path, &self.hub);
    }

    /// Closes readers that were idle for too long, empties a log that is over its limit, and reports overdue borrowers.
    /// Lets files go that have lost a name: other processes may wait for that.
    pub(crate) fn maintain(&self) {
        let now = self.settings.os.now();
        self.readers.close_if(|connection| connection.is_idle(&self.settings, now));
        let mut events = EventQueue::default();
        if self.settings.os.pid() == self.pid {
            self.let_go(&mut events);
        }
        if let Some(mut state) = self.writer.try_lock() {
            self.bound_log_now(&mut state, &mut events);
        }
        self.queue_overdue(now, &mut events);
        events.emit(&self.path, &self.hub);
    }

    fn borrowers(&self, now: Duration) -> Vec<Borrower> {
        self.writer.borrower(now).into_iter().chain(self.readers.borrowers(now)).collect()
    }

    fn queue_overdue(&self, now: Duration, events: &mut EventQueue) {
        let after = self.settings.overdue_after;
        let writer = self.writer.newly_overdue(now, after);
        for borrower in writer.into_iter().chain(self.readers.newly_overdue(now, after)) {
            events.add(EventKind::BorrowOverdue { borrower });
        }
    }
}
