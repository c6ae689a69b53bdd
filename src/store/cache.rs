//! The cache: many databases under one policy, found by the path as spelled or by the canonical path.
//!
//! A path is resolved once per spelling. After that the way to the database is one look into a map that is almost never
//! written, so that a cached call costs little more than the lock around the connection. The map's lock is held for
//! that look alone, never while a connection is opened or a closure runs. A spelling keeps the meaning of its first
//! use, even if a symbolic link on its path changes later.

use super::Builder;
use crate::error::Error;
use crate::health::Health;
use crate::pool::{Database, Registry, canonical};
use crate::settings::Settings;
use crate::sync::{Arc, Mutex, RwLock};
use rusqlite::{Connection, Transaction};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

/// Stores by path: for programs that have many databases, or do not want to pass a handle around.
///
/// A cache is shared by reference, or inside an [`Arc`], between all threads of a process.
///
/// After `fork`, a child cannot use the databases that the parent had open, not even through new connections: SQLite's
/// table of file locks is inherited, and the child would write without locks. The cache refuses with a clear error.
///
/// ```
/// use seawall::Cache;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let cache = Cache::builder()
///     .init(|conn| conn.execute_batch("CREATE TABLE IF NOT EXISTS note (text TEXT)"))
///     .build();
/// for tenant in ["a.db", "b.db"] {
///     cache.write(dir.path().join(tenant), |tx| tx.execute("INSERT INTO note VALUES ('hello')", []))?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Cache {
    settings: Arc<Settings>,
    registry: Arc<Registry>,
    /// By absolute path as spelled by callers.
    spelled: RwLock<HashMap<OsString, Arc<Database>>>,
    /// By canonical path.
    canonical: Mutex<BTreeMap<Arc<Path>, Arc<Database>>>,
}

impl Cache {
    /// Starts building a cache.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(settings: Settings, registry: Arc<Registry>) -> Cache {
        Cache { settings: Arc::new(settings), registry, spelled: RwLock::default(), canonical: Mutex::default() }
    }

    /// Runs the closure on the cached connection, opening and initialising it first if need be. As
    /// [`Store::with_connection`](crate::Store::with_connection).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("x.db");
    /// # let cache = seawall::Cache::builder().build();
    /// cache.with_connection(&path, |conn| conn.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever the closure returned, with its context, or why the closure could not run.
    #[track_caller]
    pub fn with_connection<T>(
        &self,
        path: impl AsRef<Path>,
        body: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.database(path.as_ref())?.with_connection(Location::caller(), body)
    }

    /// Runs the closure inside a write transaction and commits it. As [`Store::write`](crate::Store::write).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("x.db");
    /// # let cache = seawall::Cache::builder().build();
    /// cache.write(&path, |tx| tx.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing was written, unless [`outcome_unknown`](Error::outcome_unknown) says otherwise. Nothing is retried.
    #[track_caller]
    pub fn write<T>(
        &self,
        path: impl AsRef<Path>,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.database(path.as_ref())?.write(Location::caller(), body)
    }

    /// Runs a closure that only reads, in one snapshot. As [`Store::read`](crate::Store::read).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("x.db");
    /// # let cache = seawall::Cache::builder().build();
    /// let tables: i64 = cache.read(&path, |conn| conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)))?;
    /// assert_eq!(tables, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever the closure returned, with its context, or why the closure could not run.
    #[track_caller]
    pub fn read<T>(
        &self,
        path: impl AsRef<Path>,
        body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.database(path.as_ref())?.read(Location::caller(), body)
    }

    /// What is known about a database. Asks the live connection, if it is free; opens and creates nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("x.db");
    /// # let cache = seawall::Cache::builder().build();
    /// use seawall::health::HealthState;
    ///
    /// assert_eq!(cache.health(&path).state, HealthState::Unopened);
    /// cache.read(&path, |_| Ok(()))?;
    /// assert_eq!(cache.health(&path).state, HealthState::Healthy);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn health(&self, path: impl AsRef<Path>) -> Health {
        let path = path.as_ref();
        let known = self.known(path).filter(|database| database.pid() == self.settings.os.pid());
        known
            .unwrap_or_else(|| {
                Arc::new(Database::new(path.into(), Arc::clone(&self.settings), Arc::clone(&self.registry)))
            })
            .health()
    }

    /// Closes the cached connections to a database, after the calls in progress; the next call opens new ones.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("x.db");
    /// # let cache = seawall::Cache::builder().build();
    /// cache.read(&path, |_| Ok(()))?;
    /// cache.close(&path)?;
    /// assert_eq!(cache.health(&path).state, seawall::health::HealthState::Unopened);
    /// cache.read(&path, |_| Ok(()))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// SQLite's, if it refuses; the connection stays open then.
    pub fn close(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.known(path.as_ref()).map_or(Ok(()), |database| self.close_own(&database))
    }

    /// Closes all cached connections.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("x.db");
    /// # let cache = seawall::Cache::builder().build();
    /// cache.read(&path, |_| Ok(()))?;
    /// cache.close_all()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first one; the other databases are closed all the same.
    pub fn close_all(&self) -> Result<(), Error> {
        let databases: Vec<Arc<Database>> = self.canonical.lock().values().cloned().collect();
        databases.iter().map(|database| self.close_own(database)).fold(Ok(()), Result::and)
    }

    fn close_own(&self, database: &Database) -> Result<(), Error> {
        if database.pid() != self.settings.os.pid() {
            return Ok(());
        }
        database.close(Duration::MAX, false).map(drop)
    }

    /// The database at a path, created if it is not registered yet.
    fn database(&self, path: &Path) -> Result<Arc<Database>, Error> {
        // Bound before the match: a guard in the scrutinee would live as long as the arms, and they lock the map to
        // write.
        let spelled = self.spelled.read().get(path.as_os_str()).cloned();
        match spelled {
            Some(database) if self.is_of_use(&database) => Ok(database),
            _ => self.resolve(path),
        }
    }

    fn is_of_use(&self, database: &Database) -> bool {
        database.pid() == self.settings.os.pid() && !database.is_closed()
    }

    /// The database at a path, if it was used before.
    fn known(&self, path: &Path) -> Option<Arc<Database>> {
        let spelled = self.spelled.read().get(path.as_os_str()).cloned();
        // A database that was closed, or inherited in a fork, may have a successor under another spelling.
        spelled.filter(|database| self.is_of_use(database)).or_else(|| {
            let canonical = canonical(path, &self.settings)?;
            self.canonical.lock().get(canonical.as_path()).cloned()
        })
    }

    fn resolve(&self, path: &Path) -> Result<Arc<Database>, Error> {
        let database = self.registry.database(path, &self.settings)?;
        self.canonical.lock().insert(Arc::clone(database.path()), Arc::clone(&database));
        // What a relative path means changes with the working directory.
        if path.is_absolute() {
            self.spelled.write().insert(path.as_os_str().to_owned(), Arc::clone(&database));
        }
        Ok(database)
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths: Vec<Arc<Path>> = self.canonical.lock().keys().cloned().collect();
        f.debug_struct("Cache").field("settings", &self.settings).field("databases", &paths).finish()
    }
}
