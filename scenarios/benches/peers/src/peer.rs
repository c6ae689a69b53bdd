//! The peers. Each is set up as its documentation says, all with the same pragmas.

use crate::Failure;
use crate::work::{self, Work};
use deadpool_sqlite::{Config, Hook, HookError, Runtime};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A way to share a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One connection behind a mutex of the standard library: the baseline.
    Mutex,
    /// A pool for threads. It tests a connection with `SELECT 1` at each borrow, which is its default.
    R2d2,
    /// A pool for tasks. Calls run on tokio's blocking threads, and so does a `SELECT` before each borrow.
    Deadpool,
    /// One connection on its own thread, which takes calls from a channel. Not a pool: every caller has a clone of
    /// the handle.
    TokioRusqlite,
    /// The connection layer's store: a connection that writes, and readers beside it.
    Seawall,
    /// A connection opened for every call. Too slow to be compared; it shows that neither defect is inevitable.
    PerCall,
}

impl Kind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::R2d2 => "r2d2_sqlite",
            Self::Deadpool => "deadpool-sqlite",
            Self::TokioRusqlite => "tokio-rusqlite",
            Self::Seawall => "seawall",
            Self::PerCall => "per call",
        }
    }

    /// True if tasks await its calls. The other kinds block a thread.
    pub const fn is_async(self) -> bool {
        matches!(self, Self::Deadpool | Self::TokioRusqlite)
    }
}

/// A shared database; clones share it too.
#[derive(Clone)]
pub struct Peer {
    kind: Kind,
    shared: Shared,
}

#[derive(Clone)]
enum Shared {
    Mutex(Arc<Mutex<Connection>>),
    R2d2(r2d2::Pool<SqliteConnectionManager>),
    Deadpool(deadpool_sqlite::Pool),
    TokioRusqlite(tokio_rusqlite::Connection),
    Seawall(seawall::Store),
    PerCall(PathBuf),
}

impl Peer {
    /// Opens a database, within a tokio runtime, with so many connections if it is a pool.
    ///
    /// # Errors
    /// Any failure to open.
    pub async fn open(kind: Kind, path: &Path, connections: u32) -> Result<Self, Failure> {
        let shared = match kind {
            Kind::Mutex => Shared::Mutex(Arc::new(Mutex::new(work::open(path)?))),
            Kind::R2d2 => {
                let manager = SqliteConnectionManager::file(path).with_init(|connection| work::set_up(connection));
                Shared::R2d2(r2d2::Pool::builder().max_size(connections).build(manager)?)
            }
            Kind::Deadpool => {
                let hook = Hook::async_fn(|connection, _| {
                    Box::pin(async {
                        let set_up = connection.interact(|connection| work::set_up(connection)).await;
                        set_up.map_err(|error| HookError::message(error.to_string()))?.map_err(HookError::Backend)
                    })
                });
                let builder = Config::new(path).builder(Runtime::Tokio1)?;
                Shared::Deadpool(builder.max_size(connections as usize).post_create(hook).build()?)
            }
            Kind::TokioRusqlite => {
                let connection = tokio_rusqlite::Connection::open(path).await?;
                connection.call(|connection| work::set_up(connection)).await?;
                Shared::TokioRusqlite(connection)
            }
            Kind::Seawall => {
                // One connection of them all writes.
                let readers = connections.saturating_sub(1) as usize;
                Shared::Seawall(seawall::Store::builder().readers(readers).open(path)?)
            }
            Kind::PerCall => Shared::PerCall(path.to_owned()),
        };
        Ok(Self { kind, shared })
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Does some work for the `nth` time, through the peer's entry point for it.
    ///
    /// # Errors
    /// A failure of the work or of the borrow.
    pub async fn work(&self, work: Work, nth: i64) -> Result<(), Failure> {
        match &self.shared {
            // A snapshot, in a transaction of its own: more than the others give.
            Shared::Seawall(store) if work != Work::Commit => Ok(store.read(|connection| work.run(connection, nth))?),
            _ => self.call(move |connection| work.run(connection, nth)).await,
        }
    }

    /// Borrows a connection for a call and gives it back. Awaited by a task if the kind is async, else on a thread that
    /// may block.
    ///
    /// # Errors
    /// A failure of the call or of the borrow.
    pub async fn call<R, F>(&self, call: F) -> Result<R, Failure>
    where
        R: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    {
        Ok(match &self.shared {
            Shared::Mutex(connection) => call(&*connection.lock().map_err(|_| "a call panicked")?)?,
            Shared::R2d2(pool) => call(&*pool.get()?)?,
            Shared::Deadpool(pool) => {
                let connection = pool.get().await?;
                connection.interact(|connection| call(connection)).await.map_err(|error| error.to_string())??
            }
            Shared::TokioRusqlite(connection) => connection.call(|connection| call(connection)).await?,
            Shared::Seawall(store) => store.with_connection(|connection| call(connection))?,
            Shared::PerCall(path) => call(&work::open(path)?)?,
        })
    }
}
