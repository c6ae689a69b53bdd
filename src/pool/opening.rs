//! How the writer is opened: the lock of first connects, the connection, init and migrations, salvage.

use super::attribution::attributed;
use super::{Database, PooledConnection, WriterState};
use crate::error::{BorrowKind, Cause, Error, Loss, Operation, Rescue};
use crate::events::{EventKind, EventQueue};
use crate::open::locking_policy::OpenPlan;
use crate::open::recovery::{self, Recovered};
use crate::open::{LockingMode, first_connect, schema, side_files};
use crate::os::FileId;
use crate::settings::Settings;
use crate::sync::Ordering;
use rusqlite::OpenFlags;
use std::path::Path;
use std::time::Duration;

/// While a process closes its last connection, its claim is there and its files are gone already.
const CLAIM_PATIENCE: Duration = Duration::from_millis(200);
const CLAIM_PAUSE: Duration = Duration::from_millis(5);

impl Database {
    pub(super) fn open(
        &self,
        state: &mut WriterState,
        now: Duration,
        events: &mut EventQueue,
    ) -> Result<PooledConnection, Error> {
        let os = &*self.settings.os;
        let until = os.now().saturating_add(CLAIM_PATIENCE);
        loop {
            match self.open_once(state, now, events) {
                // Without the lock of first connects: the process that has to let go needs it for that.
                Err(error) if error.is_claimed() && os.now() < until => os.sleep(CLAIM_PAUSE),
                answer => return answer,
            }
        }
    }

    fn open_once(
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
            self.put_log_back();
        }
        // Under the lock: while another process creates the database, its files are not complete.
        self.require_unmixed(state)?;
        side_files::check(&self.path, os)?;
        if !settings.is_read_only() {
            side_files::widen_modes(&self.path, os);
        }
        self.keep_rights(state);
        let mut connection = self.connect(state, found, now, events)?;
        if state.is_initialised && self.file_id() != known {
            // The file was replaced between the check and the opening. This is a first connect, which needs the lock.
            state.is_initialised = false;
            let cause = Cause::Moved { loss: Loss::Database, rescue: Rescue::InFile { moved_to: None } };
            return Err(Error::new(&self.path, Operation::Identity, cause));
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
                connection = self.connect(state, self.file_id(), now, events)?;
            }
        }
        if connection.locking == LockingMode::Shared && self.record.lock().is_wal() {
            self.readers.enable();
        }
        Ok(connection)
    }

    /// A database that takes the place of another one gets its owner and its rights: SQLite would create one that
    /// others may read.
    fn keep_rights(&self, state: &WriterState) {
        let (settings, os) = (&*self.settings, &*self.settings.os);
        let of_bundle = || os.rights(&state.bundle.as_ref()?.database).ok().flatten();
        if settings.flags.contains(OpenFlags::SQLITE_OPEN_CREATE)
            && matches!(os.status(&self.path), Ok(None))
            && let Some(rights) = of_bundle().or_else(|| self.record.lock().rights)
        {
            // If that does not work, SQLite says why.
            let _ = os.create_new(&self.path, rights);
        }
    }

    /// `found` is the file that was at the path before.
    fn connect(
        &self,
        state: &mut WriterState,
        found: Option<FileId>,
        now: Duration,
        events: &mut EventQueue,
    ) -> Result<PooledConnection, Error> {
        let settings = &*self.settings;
        let locking_policy = &mut state.locking_policy;
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
        let (journal_mode, degraded_reason) = (opened.journal_mode.clone(), locking_policy.degraded_reason());
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let generation = self.readers.generation();
        let mut connection = PooledConnection::new(opened, BorrowKind::Writer, generation, serial, now);
        self.settle_identity(state, &mut connection, found, &journal_mode).inspect_err(|error| {
            if let Some(to) = error.rescued_to() {
                events.add(EventKind::Moved { rescued_to: Some(to.to_owned()), moved_to: None });
            }
        })?;
        let rights = settings.os.rights(&self.path).ok().flatten();
        let mut record = self.record.lock();
        record.rights = rights;
        record.file_id = connection.files.as_ref().map(|files| files.identity.database);
        if record.opened(&journal_mode, degraded_reason) && journal_mode != "wal" {
            events.add(EventKind::JournalModeRefused { effective: journal_mode });
        }
        Ok(connection)
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
