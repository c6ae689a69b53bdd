//! The store for `async` programs: its calls, on threads that may block, a few at a time.
//!
//! SQLite blocks. A runtime has threads for that, and they are everybody's: a hundred calls that wait for one slow
//! database would keep files, name lookups and other databases waiting, too. So the calls wait for their turn as tasks,
//! which costs no thread, and only those begin that can also get a connection. Writes and reads queue apart, so that
//! neither keeps the other waiting.

use crate::checkpoint::{Checkpoint, CheckpointMode};
use crate::classify::Operation;
use crate::error::{Cause, Error};
use crate::health::Health;
use crate::store::Store;
use crate::sync::{Arc, AtomicU32, Ordering};
use rusqlite::{Connection, Transaction};
use std::panic::{Location, resume_unwind};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

/// So many calls of one kind may wait, unless set otherwise. Ours: more than any program needs that is not flooded.
const WAITING_MAX: u32 = 1024;

/// A [`Store`] for `async` programs on tokio.
///
/// A handle, cheap to clone. Clones share their bounds; two that are made from the same store by themselves do not. At
/// most so many threads of the runtime are in use at any moment: one for writes, [`reads_max`](AsyncStore::reads_max)
/// for reads, one for [`health`](AsyncStore::health) and one for [`close`](AsyncStore::close).
///
/// What the methods return does nothing until it is awaited, and belongs to nobody, so it can be spawned. Dropping it
///
/// - before the closure has begun means that the closure never runs;
/// - later means only that nobody hears of it: the closure runs to its end, and commits or is rolled back as usual.
///
/// So a `timeout` around a write does not say what has become of it, if the closure had begun. Waiting for one's turn
/// has no end by itself; the store's [acquire timeout](crate::Builder::acquire_timeout) begins after it. A panic in a
/// closure goes on in the task that awaits it.
///
/// The last handle to a store closes it, which may block: [`close`](AsyncStore::close) it before.
///
/// ```
/// use seawall::{AsyncStore, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("notes.db");
/// # let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
/// # runtime.block_on(async move {
/// // Opening blocks, too.
/// let opening = tokio::task::spawn_blocking(move || Store::builder().readers(2).open(path));
/// let notes = AsyncStore::new(opening.await??);
///
/// notes.write(|tx| tx.execute_batch("CREATE TABLE note (text TEXT); INSERT INTO note VALUES ('buy sand')")).await?;
/// let other = tokio::spawn(notes.write(|tx| tx.execute("INSERT INTO note VALUES ('sell sand')", [])));
/// let count = |conn: &rusqlite::Connection| conn.query_row("SELECT count(*) FROM note", [], |row| row.get::<_, i64>(0));
/// assert!(notes.read(count).await? >= 1);
/// other.await??;
/// assert_eq!(notes.read(count).await?, 2);
///
/// notes.close(std::time::Duration::from_secs(5)).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AsyncStore {
    store: Store,
    lanes: Arc<Lanes>,
}

impl AsyncStore {
    /// From a store. Its other handles, and other threads, may go on using it.
    pub fn new(store: Store) -> AsyncStore {
        let lanes = Arc::new(Lanes::new(store.readers(), WAITING_MAX));
        AsyncStore { store, lanes }
    }

    /// So many reads run at a time; 0 counts as 1. Default: as many as the store has
    /// [readers](crate::Builder::readers), beyond which they would only wait for each other.
    ///
    /// To be set before the first call. Clones made before keep their own bounds.
    #[must_use]
    pub fn reads_max(self, reads: usize) -> AsyncStore {
        let lanes = Arc::new(Lanes::new(reads, self.lanes.write.waiting_max));
        AsyncStore { lanes, ..self }
    }

    /// So many calls of each kind wait for their turn; the next one fails at once, as [busy](Error::is_busy). Default
    /// 1024.
    ///
    /// To be set before the first call. Clones made before keep their own bounds.
    #[must_use]
    pub fn waiting_max(self, calls: u32) -> AsyncStore {
        let lanes = Arc::new(Lanes::new(self.lanes.read.running_max, calls));
        AsyncStore { lanes, ..self }
    }

    /// Runs the closure inside a write transaction and commits it. As [`Store::write`].
    ///
    /// # Errors
    ///
    /// Nothing was written, unless [`outcome_unknown`](Error::outcome_unknown) says otherwise. Nothing is retried.
    #[track_caller]
    pub fn write<T, F>(&self, body: F) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let place = Location::caller();
        self.run(|lanes| &lanes.write, move |store, _| store.own()?.write(place, body))
    }

    /// Runs a closure that only reads, in one snapshot. As [`Store::read`].
    ///
    /// # Errors
    ///
    /// Whatever the closure returned, with its context, or why it could not run. Never of unknown outcome.
    #[track_caller]
    pub fn read<T, F>(&self, body: F) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let place = Location::caller();
        self.run(|lanes| &lanes.read, move |store, _| store.own()?.read(place, body))
    }

    /// Runs the closure on the connection that writes. As [`Store::with_connection`].
    ///
    /// # Errors
    ///
    /// Whatever the closure returned, with its context, or why it could not run.
    #[track_caller]
    pub fn with_connection<T, F>(&self, body: F) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let place = Location::caller();
        self.run(|lanes| &lanes.write, move |store, _| store.own()?.with_connection(place, body))
    }

    /// Moves frames from the log into the database, in turn with the writes. As [`Store::checkpoint`].
    ///
    /// # Errors
    ///
    /// SQLite's.
    #[track_caller]
    pub fn checkpoint(&self, mode: CheckpointMode) -> impl Future<Output = Result<Checkpoint, Error>> + Send + use<> {
        let place = Location::caller();
        self.run(|lanes| &lanes.write, move |store, _| store.own()?.checkpoint(place, mode))
    }

    /// What is known about the database. As [`Store::health`]; waits for no write and no read.
    ///
    /// # Errors
    ///
    /// Only that there is no runtime, or too many ask.
    pub fn health(&self) -> impl Future<Output = Result<Health, Error>> + Send + use<> {
        self.run(|lanes| &lanes.look, |store, _| Ok(store.health()))
    }

    /// Closes the store, for all handles. As [`Store::close`]. Calls that wait for their turn are refused at once.
    ///
    /// # Errors
    ///
    /// Somebody still has a connection when the patience is over; [`borrowers`](Error::borrowers) says who and where.
    pub fn close(&self, patience: Duration) -> impl Future<Output = Result<Option<Checkpoint>, Error>> + Send + use<> {
        self.run(
            |lanes| &lanes.close,
            move |store, lanes| {
                lanes.read.permits.close();
                lanes.write.permits.close();
                store.close(patience)
            },
        )
    }

    /// The store itself, for what does not block: subscribing to events, the breaker's mode.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Waits for a turn in a lane, and runs the body on a thread that may block.
    fn run<T, F>(&self, lane: fn(&Lanes) -> &Lane, body: F) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Store, &Lanes) -> Result<T, Error> + Send + 'static,
    {
        let AsyncStore { store, lanes } = self.clone();
        async move {
            let permit = lane(&lanes).turn(store.path()).await?;
            let path = store.path().to_owned();
            let no_runtime = || Error::new(&path, Operation::Borrow, Cause::NoRuntime);
            let runtime = Handle::try_current().map_err(|_| no_runtime())?;
            let mut begun = Begun(runtime.spawn_blocking(move || {
                // Its turn lasts until the closure has ended, whether anybody waits for it or not.
                let (_permit, store) = (permit, store);
                body(&store, &lanes)
            }));
            match (&mut begun.0).await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => Err(no_runtime()),
                },
            }
        }
    }
}

impl std::fmt::Debug for AsyncStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncStore").field("store", &self.store).field("lanes", &self.lanes).finish()
    }
}

/// Where calls wait for their turn, by kind.
#[derive(Debug)]
struct Lanes {
    write: Lane,
    read: Lane,
    look: Lane,
    close: Lane,
}

impl Lanes {
    fn new(reads: usize, waiting_max: u32) -> Lanes {
        let lane = |running_max| Lane::new(running_max, waiting_max);
        Lanes { write: lane(1), read: lane(reads), look: lane(1), close: lane(1) }
    }
}

/// A queue of tasks in front of a few turns.
#[derive(Debug)]
struct Lane {
    permits: Arc<Semaphore>,
    running_max: usize,
    waiting: AtomicU32,
    waiting_max: u32,
}

impl Lane {
    fn new(running_max: usize, waiting_max: u32) -> Lane {
        let running_max = running_max.clamp(1, Semaphore::MAX_PERMITS);
        Lane { permits: Arc::new(Semaphore::new(running_max)), running_max, waiting: AtomicU32::new(0), waiting_max }
    }

    async fn turn(&self, path: &Path) -> Result<OwnedSemaphorePermit, Error> {
        let failed = |cause| Error::new(path, Operation::Borrow, cause);
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        if waiting >= self.waiting_max {
            return Err(failed(Cause::TooManyWaiting { waiting }));
        }
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| failed(Cause::Closed))
    }
}

/// One who waits, counted until he has his turn or gives up.
struct Waits<'a>(&'a AtomicU32);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that has been handed to the runtime. If nobody waits for it any more, it is taken back, unless it runs.
struct Begun<T>(JoinHandle<T>);

impl<T> Drop for Begun<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
