//! The cache: many databases under one policy, found by the path as spelled or by the canonical path.
//!
//! A path is resolved once per spelling. After that the way to the database is one look into a map that is almost never
//! written, so that a cached call costs little more than the lock around the connection. The map's lock is held for
//! that look alone, never while a connection is opened or a closure runs. A spelling keeps the meaning of its first
//! use, even if a symbolic link on its path changes later.
//!
//! The number of open databases is bounded, as descriptors are. Before one more is opened, the least recently used ones
//! are closed that no call and no store has. What is known about a closed one is kept: that it is initialised, its
//! breaker, its counts. *Recently* is counted in openings, so that a call costs one store, and that not each time.

use super::Builder;
use crate::error::Error;
use crate::health::Health;
use crate::pool::{Database, Registry, canonical};
use crate::settings::Settings;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, RwLock};
use rusqlite::{Connection, Transaction};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

/// Stores by path: for programs that have many databases, or do not want to pass a handle around.
///
/// A cache is shared by reference, or inside an [`Arc`], between all threads of a process. It keeps a bounded number of
/// databases [open](Builder::databases_max).
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
    /// By canonical path. Locked before the spellings.
    entries: Mutex<Entries>,
    /// The most databases that are open.
    databases_max: usize,
    /// How many databases have been opened: the clock of their last use.
    openings: AtomicU64,
}

type Entries = BTreeMap<Arc<Path>, Entry>;

/// A database of the cache.
struct Entry {
    database: Arc<Database>,
    /// How many spellings lead to it.
    spellings: usize,
}

impl Entry {
    /// Whether no call and no store has it.
    fn is_unused(&self) -> bool {
        Arc::strong_count(&self.database) <= 1 + self.spellings
    }
}

/// Databases known, most of them closed: a closed one costs some memory, and knows that it has been initialised.
const ENTRIES_MAX: usize = 1 << 14;
/// Spellings remembered for one database. Others are resolved each time.
const SPELLINGS_MAX: usize = 8;
/// The most databases that are open where no number was set: each one costs some hundred kilobytes.
const DATABASES_MAX: usize = 1024;
/// Descriptors of a writer: the database, its log and wal-index, the lock file.
const WRITER_DESCRIPTORS: usize = 5;
/// Descriptors of a reader: the database and its log.
const READER_DESCRIPTORS: usize = 2;

impl Cache {
    /// Starts building a cache.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(settings: Settings, registry: Arc<Registry>) -> Cache {
        let databases_max = settings.databases_max.unwrap_or_else(|| default_databases_max(&settings)).max(1);
        Cache {
            settings: Arc::new(settings),
            registry,
            spelled: RwLock::default(),
            entries: Mutex::default(),
            databases_max,
            openings: AtomicU64::new(0),
        }
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
        self.database(path.as_ref())?.with_connection(Location::caller().into(), body)
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
        self.database(path.as_ref())?.write(Location::caller().into(), body)
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
        self.database(path.as_ref())?.read(Location::caller().into(), body)
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
        let databases: Vec<Arc<Database>> =
            self.entries.lock().values().map(|entry| Arc::clone(&entry.database)).collect();
        databases.iter().map(|database| self.close_own(database)).fold(Ok(()), Result::and)
    }

    /// Closes databases that have been idle for longer than [`max_idle`](crate::Builder::max_idle), and does for the
    /// others what [`Store::maintain`](crate::Store::maintain) does. For a timer of the program; nothing depends on it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("x.db");
    /// let cache = seawall::Cache::builder().max_idle(std::time::Duration::ZERO).build();
    /// cache.read(&path, |_| Ok(()))?;
    /// cache.maintain();
    /// assert_eq!(cache.health(&path).state, seawall::health::HealthState::Unopened);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn maintain(&self) {
        let mut unused = Vec::new();
        let mut databases = Vec::new();
        for entry in self.entries.lock().values() {
            let list = if entry.is_unused() { &mut unused } else { &mut databases };
            list.push(Arc::clone(&entry.database));
        }
        let is_own = |database: &&Arc<Database>| database.pid() == self.settings.os.pid();
        databases.iter().chain(&unused).filter(is_own).for_each(|database| database.maintain());
        unused.iter().filter(is_own).filter(|database| database.is_idle()).for_each(|database| {
            database.close_unused();
        });
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
        let database = match spelled {
            Some(database) if self.is_of_use(&database) => database,
            _ => self.resolve(path)?,
        };
        database.note_use(self.openings.load(Ordering::Relaxed));
        if !database.is_live() {
            self.make_room(&database);
        }
        Ok(database)
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
            self.entries.lock().get(canonical.as_path()).map(|entry| Arc::clone(&entry.database))
        })
    }

    fn resolve(&self, path: &Path) -> Result<Arc<Database>, Error> {
        let database = self.registry.database(path, &self.settings)?;
        // Dropped after the locks: dropping the last handle to a database closes it.
        let mut dropped = Vec::new();
        let mut entries = self.entries.lock();
        let mut spelled = self.spelled.write();
        match entries.get(database.path()) {
            Some(entry) if Arc::ptr_eq(&entry.database, &database) => {}
            _ => {
                dropped.extend(self.make_place(&mut entries, &mut spelled));
                let entry = Entry { database: Arc::clone(&database), spellings: 0 };
                if let Some(Entry { database: before, .. }) = entries.insert(Arc::clone(database.path()), entry) {
                    spelled.retain(|_, spelled| !Arc::ptr_eq(spelled, &before));
                    dropped.push(before);
                }
            }
        }
        // What a relative path means changes with the working directory.
        if path.is_absolute()
            && let Some(entry) = entries.get_mut(database.path())
            && entry.spellings < SPELLINGS_MAX
        {
            let before = spelled.insert(path.as_os_str().to_owned(), Arc::clone(&database));
            entry.spellings += usize::from(before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, &database)));
            dropped.extend(before);
        }
        Ok(database)
    }

    /// Forgets some of the databases that are closed and unused, if there are too many of them. Returns them, to be
    /// dropped without the locks.
    fn make_place(&self, entries: &mut Entries, spelled: &mut HashMap<OsString, Arc<Database>>) -> Vec<Arc<Database>> {
        if entries.len() < ENTRIES_MAX {
            return Vec::new();
        }
        let is_over = |entry: &&Entry| entry.is_unused() && !entry.database.is_live();
        let mut over: Vec<Arc<Database>> =
            entries.values().filter(is_over).map(|entry| Arc::clone(&entry.database)).collect();
        over.sort_by_key(|database| database.last_use());
        over.truncate(ENTRIES_MAX / 8);
        over.iter().for_each(|database| drop(entries.remove(database.path())));
        spelled.retain(|_, database| entries.contains_key(database.path()));
        over
    }

    /// Closes the databases that have not been used for longest, so that one more may be opened.
    fn make_room(&self, opening: &Arc<Database>) {
        self.openings.fetch_add(1, Ordering::Relaxed);
        let entries = self.entries.lock();
        let is_open = |entry: &&Entry| entry.database.is_live() && entry.database.pid() == self.settings.os.pid();
        let open = entries.values().filter(is_open).count();
        if open < self.databases_max {
            return;
        }
        let is_candidate =
            |entry: &&Entry| is_open(entry) && entry.is_unused() && !Arc::ptr_eq(&entry.database, opening);
        let mut unused: Vec<Arc<Database>> =
            entries.values().filter(is_candidate).map(|entry| Arc::clone(&entry.database)).collect();
        drop(entries);
        unused.sort_by_key(|database| database.last_use());
        // A few more than one, so that not each opening has to look through all of them.
        let surplus = open + 1 - self.databases_max + self.databases_max / 32;
        let mut closed = 0;
        for database in &unused {
            if closed == surplus {
                break;
            }
            closed += usize::from(database.close_unused());
        }
    }
}

/// How many databases are kept open where no number was set.
fn default_databases_max(settings: &Settings) -> usize {
    let descriptors = settings.os.descriptors_max().and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
    let readers = settings.readers.saturating_mul(READER_DESCRIPTORS);
    (descriptors / 2 / readers.saturating_add(WRITER_DESCRIPTORS)).clamp(1, DATABASES_MAX)
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths: Vec<Arc<Path>> = self.entries.lock().keys().cloned().collect();
        f.debug_struct("Cache").field("settings", &self.settings).field("databases", &paths).finish()
    }
}
