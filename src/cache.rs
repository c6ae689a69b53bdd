//! The cache: one slot per database file, found by the path as spelled or as it really is.
//!
//! A path is resolved once per spelling. After that the way to the slot is one look into a map that is almost never
//! written, so that a cached call costs little more than the lock around the connection. The maps' locks are held for
//! that look alone, never while a connection is opened or a closure runs. A spelling keeps the meaning it had when it
//! was first used, even if a symbolic link on its way is turned elsewhere.

use crate::breaker::{Breaker, BreakerState};
use crate::builder::{Builder, Settings};
use crate::classify::Operation;
use crate::error::{Cause, Error};
use crate::health::{Health, Probe, Vitals};
use crate::os::FileKind;
use crate::slot::Slot;
use crate::sync::{Arc, Mutex, RwLock};
use crate::transaction;
use rusqlite::{Connection, Transaction};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Connections to SQLite databases, one per file, kept open and kept in order.
///
/// A cache is shared by reference, or inside an [`Arc`], between all threads of a process. Closures run one at a time
/// per database. A closure must not call the cache for its own database again: it would wait for itself.
///
/// After `fork`, a child cannot use the databases that the parent had open, not even through new connections: SQLite's
/// table of file locks is inherited, and the child would write without locks. The cache refuses with a clear error.
pub struct Cache {
    settings: Arc<Settings>,
    /// By absolute path as spelled by callers.
    spelled: RwLock<HashMap<OsString, Arc<Slot>>>,
    /// By canonical path.
    canonical: Mutex<HashMap<Arc<Path>, Arc<Slot>>>,
}

impl Cache {
    /// Starts building a cache.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(settings: Settings) -> Cache {
        Cache { settings: Arc::new(settings), spelled: RwLock::default(), canonical: Mutex::default() }
    }

    /// Runs the closure on the cached connection, opening and initialising it first if need be.
    ///
    /// The closure owns its transactions. One that it leaves open is rolled back, and if there were writes in it, the
    /// call is an error whatever the closure returned.
    ///
    /// # Errors
    ///
    /// Whatever the closure returned, with its context, or why the closure could not run. An error of an I/O kind with
    /// no transaction left open may come from a COMMIT inside the closure, so it is reported with
    /// [`outcome_unknown`](Error::outcome_unknown). Prefer [`write`](Cache::write), which knows exactly.
    pub fn with_connection<T>(
        &self,
        path: impl AsRef<Path>,
        body: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.slot(path.as_ref())?.call(|path, conn| transaction::call(path, conn, body))
    }

    /// Runs the closure inside a write transaction and commits it.
    ///
    /// The transaction begins with BEGIN IMMEDIATE, so waiting for other writers happens before the closure runs, and
    /// is rolled back if the closure fails or panics. The closure must not end it.
    ///
    /// # Errors
    ///
    /// Nothing was written, unless [`outcome_unknown`](Error::outcome_unknown) says otherwise. Nothing is retried.
    pub fn write<T>(
        &self,
        path: impl AsRef<Path>,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.slot(path.as_ref())?.call(|path, conn| transaction::write(path, conn, body))
    }

    /// Runs a closure that only reads. Errors are never of unknown outcome, so the closure must not write.
    ///
    /// # Errors
    ///
    /// Whatever the closure returned, with its context, or why the closure could not run.
    pub fn read<T>(
        &self,
        path: impl AsRef<Path>,
        body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.slot(path.as_ref())?.call(|path, conn| transaction::read(path, conn, body))
    }

    /// What is known about a database. Asks the live connection, if it is free; opens and creates nothing.
    pub fn health(&self, path: impl AsRef<Path>) -> Health {
        let path = path.as_ref();
        match self.known(path) {
            Some(slot) if slot.pid() == self.settings.os.pid() => slot.health(),
            _ => {
                let breaker = Breaker::new(self.settings.breaker.clone());
                Vitals::default().health(path, Probe::NotOpen, BreakerState::Closed, &breaker)
            }
        }
    }

    /// Closes the cached connection to a database, after the call in progress; the next call opens a new one. SQLite
    /// checkpoints if it was the last connection to the file.
    ///
    /// # Errors
    ///
    /// SQLite's, if it refuses; the connection stays open then.
    pub fn close(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.known(path.as_ref()).map_or(Ok(()), |slot| self.close_own(&slot))
    }

    /// Closes all cached connections.
    ///
    /// # Errors
    ///
    /// The first one; the other databases are closed all the same.
    pub fn close_all(&self) -> Result<(), Error> {
        let slots: Vec<Arc<Slot>> = self.canonical.lock().values().cloned().collect();
        slots.iter().map(|slot| self.close_own(slot)).fold(Ok(()), Result::and)
    }

    fn close_own(&self, slot: &Slot) -> Result<(), Error> {
        if slot.pid() == self.settings.os.pid() { slot.close() } else { Ok(()) }
    }

    /// The slot of a database, made if need be.
    fn slot(&self, path: &Path) -> Result<Arc<Slot>, Error> {
        // Bound before the match: a guard in its head would live as long as the arms, and they take the lock to write.
        let spelled = self.spelled.read().get(path.as_os_str()).cloned();
        let slot = match spelled {
            Some(slot) => slot,
            None => self.resolve_slot(path)?,
        };
        if slot.pid() == self.settings.os.pid() { Ok(slot) } else { self.replace_inherited(&slot) }
    }

    /// The slot of a database that has been asked for before.
    fn known(&self, path: &Path) -> Option<Arc<Slot>> {
        let spelled = self.spelled.read().get(path.as_os_str()).cloned();
        spelled.or_else(|| {
            let canonical = self.settings.os.canonicalize(path).ok()?;
            self.canonical.lock().get(canonical.as_path()).cloned()
        })
    }

    fn resolve_slot(&self, path: &Path) -> Result<Arc<Slot>, Error> {
        let canonical: Arc<Path> = self.resolve(path)?.into();
        let slot = {
            let mut slots = self.canonical.lock();
            let fresh = || Arc::new(Slot::new(Arc::clone(&canonical), Arc::clone(&self.settings)));
            Arc::clone(slots.entry(Arc::clone(&canonical)).or_insert_with(fresh))
        };
        // What a relative path means changes with the working directory.
        if path.is_absolute() {
            self.spelled.write().insert(path.as_os_str().to_owned(), Arc::clone(&slot));
        }
        Ok(slot)
    }

    /// The canonical path of a database file, which need not exist yet; its directory is created.
    fn resolve(&self, path: &Path) -> Result<PathBuf, Error> {
        let os = &*self.settings.os;
        let failed = |cause| Error::new(path, Operation::Resolve, cause);
        let canonical = match os.canonicalize(path) {
            Ok(canonical) => canonical,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = path.file_name().ok_or_else(|| failed(Cause::Directory))?;
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                os.create_dir_all(parent).map_err(|error| failed(Cause::Io(error)))?;
                os.canonicalize(parent).map_err(|error| failed(Cause::Io(error)))?.join(name)
            }
            Err(error) => return Err(failed(Cause::Io(error))),
        };
        match os.status(&canonical) {
            Ok(Some(status)) if status.kind == FileKind::Directory => Err(failed(Cause::Directory)),
            _ => Ok(canonical),
        }
    }

    /// In a forked child: a fresh slot in the place of the parent's, if SQLite had not opened the file there.
    fn replace_inherited(&self, inherited: &Arc<Slot>) -> Result<Arc<Slot>, Error> {
        let path = inherited.path();
        if inherited.is_live() {
            let cause = Cause::ForkedChild { parent: inherited.pid() };
            return Err(Error::new(path, Operation::Resolve, cause));
        }
        let fresh = {
            let mut slots = self.canonical.lock();
            let entry = slots.entry(Arc::clone(path)).or_insert_with(|| Arc::clone(inherited));
            // Another thread of the child may have been here first.
            if entry.pid() != self.settings.os.pid() {
                *entry = Arc::new(Slot::new(Arc::clone(path), Arc::clone(&self.settings)));
            }
            Arc::clone(entry)
        };
        for slot in self.spelled.write().values_mut() {
            if Arc::ptr_eq(slot, inherited) {
                *slot = Arc::clone(&fresh);
            }
        }
        Ok(fresh)
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths: Vec<Arc<Path>> = self.canonical.lock().keys().cloned().collect();
        f.debug_struct("Cache").field("settings", &self.settings).field("databases", &paths).finish()
    }
}
