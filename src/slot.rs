//! One database of a process: its connection, its lock, its breaker, and the way of a call through them.
//!
//! ```text
//! call ─► gate (may pass?) ─► lock ─► gate again, if it has to open ─► open, init ─► closure
//!      ◄─ events ◄─ unlock ◄─ gate (how did it go?) ◄─ tidy up: roll back, discard, close ◄─┘
//! ```
//!
//! Lock order: the core, then the gate's or the vitals'. Events are only noted down until all are released.

use crate::breaker::Permit;
use crate::builder::Settings;
use crate::classify::Operation;
use crate::error::{Cause, Error, extended_code, is_busy_code};
use crate::events::{EventKind, Notes};
use crate::first_connect;
use crate::gate::Gate;
use crate::health::{Health, Probe, Vitals};
use crate::open::LockingMode;
use crate::recovery::{self, Recovered};
use crate::regime::{Plan, Regime};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use rusqlite::{Connection, TransactionState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::{mem, thread};

pub(crate) struct Slot {
    path: Arc<Path>,
    settings: Arc<Settings>,
    /// The process that made the slot. No other one touches what is in it.
    pid: u32,
    /// Whether SQLite has, or may have, the file open in this process.
    is_live: AtomicBool,
    gate: Gate,
    core: Mutex<Core>,
    vitals: Mutex<Vitals>,
}

/// What only the holder of the slot's lock may touch.
#[derive(Default)]
struct Core {
    lent: Option<Lent>,
    is_initialised: bool,
    regime: Regime,
}

/// The connection that is lent to one closure after the other.
struct Lent {
    conn: Connection,
    locking: LockingMode,
}

impl Slot {
    pub(crate) fn new(path: Arc<Path>, settings: Arc<Settings>) -> Slot {
        Slot {
            path,
            pid: settings.os.pid(),
            is_live: AtomicBool::new(false),
            gate: Gate::new(settings.breaker.clone()),
            core: Mutex::new(Core::default()),
            vitals: Mutex::new(Vitals::default()),
            settings,
        }
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Acquire)
    }

    /// Runs the body on the connection, opening it if need be. A panic in the body goes on to the caller once the
    /// connection is tidied up.
    pub(crate) fn call<T>(&self, body: impl FnOnce(&Path, &mut Connection) -> Result<T, Error>) -> Result<T, Error> {
        let mut notes = Notes::default();
        let ending = self.call_noting(&mut notes, body);
        notes.emit(&self.path, self.settings.events.as_ref());
        ending.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// What is known, and what the live connection says now if nobody is using it.
    pub(crate) fn health(&self) -> Health {
        let probe = self.probe();
        let breaker = self.gate.snapshot();
        let state = breaker.state(self.settings.os.now());
        self.vitals.lock().health(&self.path, probe, state, &breaker)
    }

    /// Closes the connection if there is one. SQLite checkpoints if it was the last one to the file.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let mut core = self.core.lock();
        if let Some(Lent { conn, locking }) = core.lent.take()
            && let Err((conn, error)) = conn.close()
        {
            core.lent = Some(Lent { conn, locking });
            return Err(Error::sqlite(&self.path, Operation::Close, error));
        }
        self.is_live.store(false, Ordering::Release);
        self.vitals.lock().closed();
        Ok(())
    }

    fn call_noting<T>(
        &self,
        notes: &mut Notes,
        body: impl FnOnce(&Path, &mut Connection) -> Result<T, Error>,
    ) -> thread::Result<Result<T, Error>> {
        let mut permit = match self.admit(notes) {
            Ok(permit) => permit,
            Err(error) => return Ok(Err(error)),
        };
        let mut core = self.core.lock();
        // Those who queued behind a caller that failed to open must not all go and try the same.
        if core.lent.is_none() && !self.gate.is_current(permit, &*self.settings.os) {
            permit = match self.admit(notes) {
                Ok(permit) => permit,
                Err(error) => return Ok(Err(error)),
            };
        }
        let ending = catch_unwind(AssertUnwindSafe(|| self.run(&mut core, notes, body)));
        let ending = match ending {
            Ok(result) => Ok(self.tidy(&mut core, result, notes)),
            Err(panic) => {
                self.roll_back(&mut core, notes);
                Err(panic)
            }
        };
        self.end_turn(&mut core);
        // Still under the lock: the next in line has to meet the breaker as this call leaves it.
        self.report(permit, &ending, notes);
        ending
    }

    fn admit(&self, notes: &mut Notes) -> Result<Permit, Error> {
        self.gate.admit(&*self.settings.os, notes).map_err(|refusal| {
            let cause = Cause::BreakerOpen { retry_after: refusal.retry_after };
            Error::new(&self.path, Operation::Open, cause)
        })
    }

    fn run<T>(
        &self,
        core: &mut Core,
        notes: &mut Notes,
        body: impl FnOnce(&Path, &mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Core { lent, regime, is_initialised } = core;
        let Lent { conn, locking } = match lent {
            Some(lent) => lent,
            None => lent.insert(self.open(regime, is_initialised, notes)?),
        };
        if !regime.has_strikes() || *locking == LockingMode::Exclusive {
            return body(&self.path, conn);
        }
        let changes_before = conn.total_changes();
        let result = body(&self.path, conn);
        if result.is_ok() && conn.is_autocommit() && conn.total_changes() != changes_before {
            regime.forgive();
        }
        result
    }

    fn open(&self, regime: &mut Regime, is_initialised: &mut bool, notes: &mut Notes) -> Result<Lent, Error> {
        let settings = &*self.settings;
        self.is_live.store(true, Ordering::Release);
        let _first_connect = if *is_initialised { None } else { Some(first_connect::lock(&self.path, settings)?) };
        let plan = regime.plan(settings.os.now(), settings.shared_mode_probe_interval);
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
        let is_journal_mode_news = self.vitals.lock().opened(&opened.journal_mode, regime.degraded_reason());
        if is_journal_mode_news && opened.journal_mode != "wal" {
            notes.add(EventKind::JournalModeRefused { effective: opened.journal_mode });
        }
        let mut conn = opened.conn;
        if !*is_initialised {
            self.init(&mut conn, notes).inspect_err(|error| {
                // The connection goes with the error, and nobody can ask it later.
                if let Some(reason) = recovery::unwritable_wal_index(error, &conn, opened.locking) {
                    regime.strike(reason);
                }
            })?;
            *is_initialised = true;
        }
        Ok(Lent { conn, locking: opened.locking })
    }

    fn init(&self, conn: &mut Connection, notes: &mut Notes) -> Result<(), Error> {
        let Some(init) = &self.settings.init else { return Ok(()) };
        init(conn).map_err(|error| Error::sqlite(&self.path, Operation::Init, error))?;
        if !conn.is_autocommit() {
            // Dropping the connection, as the caller does with the error, rolls back.
            return Err(Error::new(&self.path, Operation::Init, Cause::DanglingWrite));
        }
        self.vitals.lock().initialised();
        notes.add(EventKind::InitCompleted);
        Ok(())
    }

    /// Leaves the connection fit for the next borrower, or no connection.
    fn tidy<T>(&self, core: &mut Core, mut result: Result<T, Error>, notes: &mut Notes) -> Result<T, Error> {
        let has_lost_writes = self.roll_back(core, notes);
        if has_lost_writes && result.is_ok() {
            // To pass the closure's Ok on would acknowledge rows that have just been rolled back.
            result = Err(Error::new(&self.path, Operation::Call, Cause::DanglingWrite));
        }
        let Err(error) = &result else { return result };
        let suspicion = recovery::wal_index_failure(error).or_else(|| {
            let lent = core.lent.as_ref()?;
            recovery::unwritable_wal_index(error, &lent.conn, lent.locking)
        });
        if !error.operation().is_opening()
            && let Some(reason) = suspicion
        {
            core.regime.strike(reason);
        }
        if (error.fault().discards_connection() || error.is_read_only()) && core.lent.is_some() {
            self.discard(core, error.extended_code(), notes);
        }
        result
    }

    /// Rolls back what the closure left open; true if it had written.
    fn roll_back(&self, core: &mut Core, notes: &mut Notes) -> bool {
        let Some(Lent { conn, .. }) = &core.lent else { return false };
        if conn.is_autocommit() {
            return false;
        }
        notes.add(EventKind::DanglingTransaction);
        let has_written =
            !matches!(conn.transaction_state(None::<&str>), Ok(TransactionState::None | TransactionState::Read));
        let is_rolled_back = conn.execute_batch("ROLLBACK").is_ok();
        if !is_rolled_back && !conn.is_autocommit() {
            self.discard(core, None, notes);
        }
        has_written
    }

    fn discard(&self, core: &mut Core, code: Option<i32>, notes: &mut Notes) {
        core.lent = None;
        self.vitals.lock().discarded();
        notes.add(EventKind::ConnectionDiscarded { code });
    }

    /// An exclusive connection locks everybody else out, so it is not kept for a next call that may never come.
    fn end_turn(&self, core: &mut Core) {
        if core.lent.as_ref().is_some_and(|lent| lent.locking == LockingMode::Exclusive) {
            core.lent = None;
        }
        if core.lent.is_none() {
            self.is_live.store(false, Ordering::Release);
        }
    }

    fn report<T>(&self, permit: Permit, ending: &thread::Result<Result<T, Error>>, notes: &mut Notes) {
        let os = &*self.settings.os;
        match ending {
            Ok(Ok(_)) => self.gate.succeed(permit, os, notes),
            Ok(Err(error)) => {
                if error.fault().is_availability() || error.operation().precedes_closure() {
                    self.vitals.lock().failed(error);
                }
                if error.fault().is_availability() {
                    self.gate.fail(permit, error, os, notes);
                } else {
                    self.gate.release(permit);
                }
            }
            // The closure panicked; that says nothing about the database.
            Err(_) => self.gate.release(permit),
        }
    }

    fn probe(&self) -> Probe {
        let Some(core) = self.core.try_lock() else { return Probe::InUse };
        let Some(Lent { conn, .. }) = &core.lent else { return Probe::NotOpen };
        match conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
            Ok(()) => Probe::Passed,
            Err(error) => match extended_code(&error) {
                Some(code) if is_busy_code(code) => Probe::Busy,
                code => Probe::Failed { code: code.unwrap_or(rusqlite::ffi::SQLITE_ERROR) },
            },
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // In a forked child the connection is the parent's. To close it here could checkpoint, and unlink the log,
        // under the parent's feet.
        if self.settings.os.pid() != self.pid {
            mem::forget(self.core.get_mut().lent.take());
        }
    }
}
