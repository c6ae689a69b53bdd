//! How the writer is opened: the lock of first connects, the connection, init and migrations, salvage.

use super::attribution::attributed;
use super::{Database, PooledConnection, WriterState};
use crate::error::{BorrowKind, Cause, Error, Operation, Rescue};
use crate::events::{EventKind, EventQueue};
use crate::ffi::has_moved;
use crate::open::locking_policy::{LockingPolicy, OpenPlan};
use crate::open::recovery::{self, Recovered};
use crate::open::{LockingMode, first_connect, schema, side_files};
use crate::settings::Settings;
use crate::sync::Ordering;
use std::path::Path;
use std::time::Duration;

impl Database {
    pub(super) fn open(
        &self,
        state: &mut WriterState,
        now: Duration,
        events: &mut EventQueue,
    ) -> Result<PooledConnection, Error> {
        let settings = &*self.settings;
        let os = &*settings.os;
        self.is_live.store(true, Ordering::Release);
        // Beside open readers, SQLite grants no exclusive connection.
        self.readers.invalidate();
        let known = self.file_id();
        let found = os.status(&self.path).ok().flatten().map(|file| file.id);
        if let Some(other) = found.and_then(|id| self.registry.other_name(id, &self.path)) {
            return Err(Error::new(&self.path, Operation::Resolve, Cause::HardLinked { other }));
        }
        // A missing directory is an outage, and SQLite will report it.
        let has_place = || os.status(self.path.parent().unwrap_or(Path::new("/"))).is_ok_and(|place| place.is_some());
        if known.is_some() && found != known && (found.is_some() || has_place()) {
            state.is_initialised = false;
        }
        let _first_connect =
            match settings.first_connect_wait.filter(|_| !state.is_initialised && !settings.is_read_only()) {
                Some(patience) => Some(first_connect::lock(&self.path, patience, os)?),
                None => None,
            };
        if !state.is_initialised && !settings.is_read_only() {
            self.resume_quarantine(state, events)?;
        }
        // Under the lock: while another process creates the database, its files are not complete.
        side_files::check(&self.path, os)?;
        let mut connection = self.connect(&mut state.locking_policy, now, events)?;
        if state.is_initialised && self.file_id() != known {
            // The file was replaced between the check and the opening. This is a first connect, which needs the lock.
            state.is_initialised = false;
            return Err(Error::new(&self.path, Operation::Identity, Cause::Moved { rescue: Rescue::InFile }));
        }
        if !state.is_initialised {
            self.initialise(&mut connection, events).inspect_err(|error| {
                // The connection is dropped with the error, so this is the last moment to ask it.
                if let Some(reason) = recovery::unwritable_wal_index(error, &connection.conn, connection.locking) {
                    state.locking_policy.record_failure(reason);
                }
            })?;
            self.salvage(state, &mut connection, events)?;
            state.is_initialised = true;
            if !connection.clean(settings) {
                // What init has set does not apply to other connections, so it must not apply to this one.
                drop(connection);
                connection = self.connect(&mut state.locking_policy, now, events)?;
            }
        }
        if connection.locking == LockingMode::Shared && self.record.lock().is_wal() {
            self.readers.enable();
        }
        Ok(connection)
    }

    fn connect(
        &self,
        locking_policy: &mut LockingPolicy,
        now: Duration,
        events: &mut EventQueue,
    ) -> Result<PooledConnection, Error> {
        let settings = &*self.settings;
        let plan = locking_policy.plan(now, settings.shared_mode_probe_interval);
        let Recovered { opened, degraded } = match plan {
            OpenPlan::Healthy => recovery::open_healthy(&self.path, settings, events)?,
            OpenPlan::Degraded { first, reason } => recovery::open_degraded(&self.path, first, reason, settings)?,
        };
        if let Some(event) = locking_policy.opened(plan, degraded, settings.os.now()) {
            events.add(event);
        }
        if opened.locking == LockingMode::Shared {
            events.add(EventKind::Opened);
        }
        // In this order, a file that replaces the open one meanwhile is not mistaken for it.
        let status = settings.os.status(&self.path).ok().flatten();
        let file_id = status.map(|status| status.id).filter(|_| !has_moved(&opened.conn));
        let mut record = self.record.lock();
        record.file_id = file_id;
        if record.opened(&opened.journal_mode, locking_policy.degraded_reason()) && opened.journal_mode != "wal" {
            events.add(EventKind::JournalModeRefused { effective: opened.journal_mode.clone() });
        }
        drop(record);
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        Ok(PooledConnection::new(opened, BorrowKind::Writer, self.readers.generation(), serial, now))
    }

    fn initialise(&self, connection: &mut PooledConnection, events: &mut EventQueue) -> Result<(), Error> {
        let Settings { init, migrations, .. } = &*self.settings;
        if self.settings.is_read_only() {
            let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
            return if known == 0 { Ok(()) } else { schema::check(&self.path, &connection.conn, known).map(drop) };
        }
        if let Some(init) = init {
            let result = init(&mut connection.conn);
            result.map_err(|error| {
                let error = Error::on(&self.path, Operation::Init, error, &connection.conn);
                attributed(error, &connection.conn, &self.settings)
            })?;
            if !connection.conn.is_autocommit() {
                // The caller drops the connection with the error, which rolls back.
                return Err(Error::new(&self.path, Operation::Init, Cause::DanglingWrite));
            }
            self.record.lock().initialised();
            events.add(EventKind::InitCompleted);
        }
        if !migrations.is_empty()
            && let Some((from, to)) = schema::migrate(&self.path, &mut connection.conn, migrations)
                .map_err(|error| attributed(error, &connection.conn, &self.settings))?
        {
            events.add(EventKind::Migrated { from, to });
        }
        Ok(())
    }
}
