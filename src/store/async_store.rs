//! The store for `async` programs: its calls run on threads that may block, a few at a time.
//!
//! SQLite blocks. A runtime has threads for that, which the whole program shares: a hundred calls that wait for one
//! slow database would also delay files, name lookups and other databases. So calls wait in a queue as tasks, which
//! costs no thread, and a call begins only when it can get a connection. Writes and reads have separate queues, so that
//! neither delays the other.

use super::Store;
use super::call_queue::{CallQueue, CallQueues, waited};
use crate::error::{Cause, Error, Operation};
use crate::health::{Checkpoint, CheckpointMode, Health};
use crate::pool::CallSite;
use crate::sync::Arc;
use rusqlite::{Connection, Transaction};
use std::panic::{Location, resume_unwind};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// The default number of calls of one kind that may wait: more than a program needs unless it is overloaded.
const WAITING_MAX: u32 = 1024;

/// A [`Store`] for `async` programs on tokio.
///
/// A handle, cheap to clone. Clones share their bounds; two that are made from the same store by themselves do not. The
/// threads of the runtime that are in use at any moment, at most: one for writes, [`reads_max`](AsyncStore::reads_max)
/// for reads, one for [`health`](AsyncStore::health) and one for [`close`](AsyncStore::close).
///
/// The returned futures do nothing until they are awaited, and borrow nothing, so they can be spawned. Dropping one
///
/// - before the closure has begun means that the closure never runs; - later only discards the result: the closure runs
///   to its end, and commits or is rolled back as usual.
///
/// So a `timeout` around a write does not tell its outcome if the closure had begun. The time in the queue counts
/// towards the store's [acquire timeout](crate::Builder::acquire_timeout), and the error names the borrower. A closure
/// must not wait for a call of its own store: where that would wait for itself, it is refused. A panic in a closure
/// goes on in the task that awaits it.
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
    queues: Arc<CallQueues>,
}

impl AsyncStore {
    /// From a store. Its other handles, and other threads, may go on using it.
    pub fn new(store: Store) -> AsyncStore {
        let queues = Arc::new(CallQueues::new(store.readers(), WAITING_MAX, store.os()));
        AsyncStore { store, queues }
    }

    /// The most reads that run at a time; 0 counts as 1. Default: as many as the store has
    /// [readers](crate::Builder::readers), beyond which they would only wait for each other.
    ///
    /// To be set before the first call. Clones made before keep their own bounds.
    #[must_use]
    pub fn reads_max(self, reads: usize) -> AsyncStore {
        let queues = Arc::new(CallQueues::new(reads, self.queues.write.waiting_max, self.store.os()));
        AsyncStore { queues, ..self }
    }

    /// The most calls of each kind that wait; the next one fails at once, as [busy](Error::is_busy). Default 1024.
    ///
    /// To be set before the first call. Clones made before keep their own bounds.
    #[must_use]
    pub fn waiting_max(self, calls: u32) -> AsyncStore {
        let queues = Arc::new(CallQueues::new(self.queues.read.running_max, calls, self.store.os()));
        AsyncStore { queues, ..self }
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
        self.run(
            Location::caller(),
            |queues| &queues.write,
            move |store, call_site, _| store.own()?.write(call_site, body),
        )
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
        self.run(
            Location::caller(),
            |queues| &queues.read,
            move |store, call_site, _| store.own()?.read(call_site, body),
        )
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
        self.run(
            Location::caller(),
            |queues| &queues.write,
            move |store, call_site, _| store.own()?.with_connection(call_site, body),
        )
    }

    /// Moves frames from the log into the database, in the queue of the writes. As [`Store::checkpoint`].
    ///
    /// # Errors
    ///
    /// SQLite's.
    #[track_caller]
    pub fn checkpoint(&self, mode: CheckpointMode) -> impl Future<Output = Result<Checkpoint, Error>> + Send + use<> {
        self.run(
            Location::caller(),
            |queues| &queues.write,
            move |store, call_site, _| store.own()?.checkpoint(call_site, mode),
        )
    }

    /// What is known about the database. As [`Store::health`]; waits for no write and no read.
    ///
    /// # Errors
    ///
    /// There is no runtime, or too many calls wait.
    pub fn health(&self) -> impl Future<Output = Result<Health, Error>> + Send + use<> {
        self.run(Location::caller(), |queues| &queues.look, |store, _, _| Ok(store.health()))
    }

    /// Closes the store, for all handles. As [`Store::close`]. Waiting calls are refused at once.
    ///
    /// # Errors
    ///
    /// A connection is still borrowed after `patience`; [`borrowers`](Error::borrowers) names the borrowers.
    pub fn close(&self, patience: Duration) -> impl Future<Output = Result<Option<Checkpoint>, Error>> + Send + use<> {
        self.run(
            Location::caller(),
            |queues| &queues.close,
            move |store, _, queues| {
                queues.read.permits.close();
                queues.write.permits.close();
                store.close(patience)
            },
        )
    }

    /// The store itself, for what does not block: subscribing to events, the breaker's mode.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Waits in a queue, and runs the body on a thread that may block.
    fn run<T, F>(
        &self,
        location: &'static Location<'static>,
        queue: fn(&CallQueues) -> &CallQueue,
        body: F,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Store, CallSite, &CallQueues) -> Result<T, Error> + Send + 'static,
    {
        let AsyncStore { store, queues } = self.clone();
        async move {
            let os = store.os();
            let since = os.now();
            let permit = queue(&queues).acquire(&queues, &store.database).await?;
            let path = store.path().to_owned();
            let no_runtime = || Error::new(&path, Operation::Borrow, Cause::NoRuntime);
            let runtime = Handle::try_current().map_err(|_| no_runtime())?;
            let mut spawned = SpawnedCall(runtime.spawn_blocking(move || {
                // The permit is held until the closure has ended, even if its future was dropped.
                let (_permit, store) = (permit, store);
                let _running = queue(&queues).enter(&*os);
                body(&store, CallSite { location, waited: waited(&*os, since) }, &queues)
            }));
            match (&mut spawned.0).await {
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
        f.debug_struct("AsyncStore").field("store", &self.store).field("queues", &self.queues).finish()
    }
}

/// A call that was passed to the runtime. When its future is dropped, it is withdrawn, unless it runs.
struct SpawnedCall<T>(JoinHandle<T>);

impl<T> Drop for SpawnedCall<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
