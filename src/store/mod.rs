//! The store: one database, as a program holds it.

#[cfg(feature = "tokio")]
mod alarm;
#[cfg(feature = "tokio")]
mod async_store;
mod builder;
mod cache;
#[cfg(feature = "tokio")]
mod call_queue;
#[cfg(feature = "prometheus")]
mod metrics;

#[cfg(feature = "tokio")]
pub use async_store::AsyncStore;
pub use builder::Builder;
pub use cache::Cache;
#[cfg(feature = "prometheus")]
pub use metrics::Metrics;

use crate::breaker::BreakerMode;
use crate::error::{Cause, Error, Operation};
use crate::events::Subscription;
use crate::health::{Checkpoint, CheckpointMode, Health};
use crate::pool::{Database, Registry};
use crate::settings::Settings;
use crate::sync::Arc;
use rusqlite::{Connection, Transaction};
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

/// One database: a connection that writes, some that read, and their coordination.
///
/// A handle, cheap to clone and to share between threads. All handles to one file in a process are the same store,
/// whatever the path was spelled like. When the last one is dropped, the connections are closed.
///
/// Writes run one at a time, in the order of the calls; reads run beside them, each in its own snapshot. A closure must
/// not call its own store again: for the writer this is detected and refused.
///
/// After `fork`, a child gets an error from every store that its parent had open: SQLite's table of file locks is
/// inherited, and the child would write without locks. Fork from a process of many threads and even the locks in memory
/// may be held by threads that the child does not have, SQLite's own among them: there, exec at once.
///
/// ```
/// use seawall::Store;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("notes.db");
/// let store = Store::builder()
///     .readers(4)
///     .migration(|tx| tx.execute_batch("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"))
///     .open(&path)?;
///
/// let id = store.write(|tx| {
///     tx.execute("INSERT INTO note (text) VALUES (?1)", ["buy sand"])?;
///     Ok(tx.last_insert_rowid())
/// })?;
/// let text: String = store.read(|conn| conn.query_row("SELECT text FROM note WHERE id = ?1", [id], |row| row.get(0)))?;
/// assert_eq!(text, "buy sand");
///
/// let closed = store.close(std::time::Duration::from_secs(5))?;
/// assert!(closed.is_none_or(|checkpoint| checkpoint.is_complete()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
}

impl Store {
    /// Starts building a store, or a cache of them.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Opens a store with the default settings.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let store = seawall::Store::open(dir.path().join("x.db"))?;
    /// let same = seawall::Store::open(dir.path().join("./x.db"))?;
    /// assert_eq!(store.path(), same.path());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Builder::open`].
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> Result<Store, Error> {
        Store::builder().open(path)
    }

    #[track_caller]
    pub(crate) fn open_with(path: &Path, settings: Settings, registry: &Arc<Registry>) -> Result<Store, Error> {
        let settings = Arc::new(settings);
        let database = registry.database(path, &settings)?;
        database.with_connection(Location::caller().into(), |_| Ok(()))?;
        Ok(Store { database })
    }

    /// Runs the closure inside a write transaction and commits it.
    ///
    /// The transaction begins with BEGIN IMMEDIATE, so waiting for other writers happens before the closure runs, and
    /// is rolled back if the closure fails or panics. The closure must not end it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = seawall::Store::open(dir.path().join("x.db"))?;
    /// store.write(|tx| tx.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)"))?;
    /// let failed = store.write(|tx| {
    ///     tx.execute("DELETE FROM t", [])?;
    ///     tx.execute("INSERT INTO no_such_table VALUES (1)", [])
    /// });
    /// assert!(!failed.unwrap_err().outcome_unknown(), "nothing was written");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing was written, unless [`outcome_unknown`](Error::outcome_unknown) says otherwise. Nothing is retried.
    #[track_caller]
    pub fn write<T>(&self, body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, Error> {
        self.own()?.write(Location::caller().into(), body)
    }

    /// Runs a closure that only reads, in one snapshot: it reads one consistent state, whatever is written meanwhile.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = seawall::Store::builder().readers(2).open(dir.path().join("x.db"))?;
    /// # store.write(|tx| tx.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)"))?;
    /// let (count, sum): (i64, i64) = store.read(|conn| {
    ///     let count = conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
    ///     let sum = conn.query_row("SELECT sum(x) FROM t", [], |row| row.get(0))?;
    ///     Ok((count, sum))
    /// })?;
    /// assert_eq!((count, sum), (2, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever the closure returned, with its context, or why it could not run. Never of unknown outcome.
    #[track_caller]
    pub fn read<T>(&self, body: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        self.own()?.read(Location::caller().into(), body)
    }

    /// Runs the closure on the connection that writes, without a transaction around it.
    ///
    /// The closure owns its transactions. One that it leaves open is rolled back, and if there were writes in it, the
    /// call is an error whatever the closure returned.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = seawall::Store::open(dir.path().join("x.db"))?;
    /// store.with_connection(|conn| {
    ///     conn.execute_batch("CREATE TABLE t (x)")?;
    ///     let tx = conn.transaction()?;
    ///     tx.execute("INSERT INTO t VALUES (1)", [])?;
    ///     tx.commit()
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever the closure returned, with its context, or why the closure could not run. An error of an I/O kind with
    /// no transaction left open may come from a COMMIT inside the closure, so it is reported with
    /// [`outcome_unknown`](Error::outcome_unknown). Prefer [`write`](Store::write), which knows exactly.
    #[track_caller]
    pub fn with_connection<T>(&self, body: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        self.own()?.with_connection(Location::caller().into(), body)
    }

    /// Moves frames from the log into the database. SQLite does that by itself after every 1000 frames.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = seawall::Store::open(dir.path().join("x.db"))?;
    /// use seawall::CheckpointMode;
    ///
    /// store.write(|tx| tx.execute_batch("CREATE TABLE t (x)"))?;
    /// let checkpoint = store.checkpoint(CheckpointMode::Truncate)?;
    /// assert!(checkpoint.is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// SQLite's. A checkpoint that others kept from completing is no error, but says so.
    #[track_caller]
    pub fn checkpoint(&self, mode: CheckpointMode) -> Result<Checkpoint, Error> {
        self.own()?.checkpoint(Location::caller().into(), mode)
    }

    /// What is known about the database. Asks the live connection, if it is free; opens and creates nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = seawall::Store::open(dir.path().join("x.db"))?;
    /// let health = store.health();
    /// assert_eq!(health.state, seawall::health::HealthState::Healthy);
    /// assert_eq!(health.journal_mode.as_deref(), Some("wal"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn health(&self) -> Health {
        match self.own() {
            Ok(database) => database.health(),
            // The connection that could be asked is the parent's.
            Err(_) => self.database.unopened().health(),
        }
    }

    /// A channel that gets all events of this database from now on. With `capacity` events waiting (65,536 at most) it
    /// misses the next ones; [`Health::events_missed`] counts those.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = seawall::Store::open(dir.path().join("x.db"))?;
    /// let events = store.subscribe(256);
    /// store.close(std::time::Duration::from_secs(5))?;
    /// assert_eq!(events.try_recv()?.kind, seawall::EventKind::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(&self, capacity: usize) -> Subscription {
        self.database.subscribe(capacity)
    }

    /// Forces the circuit breaker open, disables it, or lets it only count, until it is set to
    /// [`Enforcing`](BreakerMode::Enforcing) again.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = seawall::Store::open(dir.path().join("x.db"))?;
    /// use seawall::BreakerMode;
    ///
    /// store.set_breaker_mode(BreakerMode::ForcedOpen);
    /// assert!(store.read(|_| Ok(())).unwrap_err().is_breaker_open());
    /// store.set_breaker_mode(BreakerMode::Enforcing);
    /// store.read(|_| Ok(()))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_breaker_mode(&self, mode: BreakerMode) {
        self.database.set_breaker_mode(mode);
    }

    /// Closes readers that have been idle for too long, reports borrowers who are overdue, and lets files go that have
    /// lost a name: other processes may wait for that. For a timer of the program.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use std::time::Duration;
    ///
    /// let store = seawall::Store::builder().readers(1).max_idle(Duration::ZERO).open(dir.path().join("x.db"))?;
    /// store.read(|_| Ok(()))?;
    /// assert_eq!(store.health().readers_open, 1);
    /// store.maintain();
    /// assert_eq!(store.health().readers_open, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn maintain(&self) {
        if let Ok(database) = self.own() {
            database.maintain();
        }
    }

    /// Closes the store, for all handles: calls in progress complete, new ones are refused. Then the log is
    /// checkpointed, as far as other processes allow it, and the connections are closed.
    ///
    /// Returns the result of the checkpoint; `None` if nothing was open, or the checkpoint failed. Rows that could not
    /// be checkpointed are safe in the log.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = seawall::Store::open(dir.path().join("x.db"))?;
    /// let busy = store.clone();
    /// let (began, has_begun) = std::sync::mpsc::channel();
    /// let (go_on, may_go_on) = std::sync::mpsc::channel();
    /// let working = std::thread::spawn(move || {
    ///     busy.with_connection(|_| {
    ///         began.send(()).unwrap();
    ///         may_go_on.recv().unwrap();
    ///         Ok(())
    ///     })
    /// });
    /// has_begun.recv()?;
    /// let error = store.close(std::time::Duration::from_millis(10)).unwrap_err();
    /// println!("{}", error.borrowers()[0]); // the writer borrowed at src/main.rs:7:10 12ms ago
    /// go_on.send(())?;
    /// working.join().unwrap()?;
    /// store.close(std::time::Duration::from_secs(5))?;
    /// assert!(store.read(|_| Ok(())).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A connection is still borrowed after `patience`; [`borrowers`](Error::borrowers) names the borrowers. The store
    /// stays closed for new calls, and closing may be tried again.
    pub fn close(&self, patience: Duration) -> Result<Option<Checkpoint>, Error> {
        self.own()?.close(patience, true)
    }

    /// The canonical path.
    pub fn path(&self) -> &Path {
        self.database.path()
    }

    /// How many connections serve reads beside the writer.
    #[cfg(feature = "tokio")]
    pub(crate) fn readers(&self) -> usize {
        self.database.settings().readers
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn os(&self) -> Arc<dyn crate::os::Os> {
        Arc::clone(&self.database.settings().os)
    }

    /// The database, if it was not inherited from another process.
    pub(crate) fn own(&self) -> Result<&Database, Error> {
        let os = &self.database.settings().os;
        if self.database.pid() == os.pid() {
            return Ok(&self.database);
        }
        let cause = Cause::ForkedChild { parent: self.database.pid() };
        Err(Error::new(self.database.path(), Operation::Resolve, cause))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", self.database.path()).field("settings", self.database.settings()).finish()
    }
}
