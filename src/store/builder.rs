//! The builder of stores and caches.

use super::{Cache, Store};
use crate::breaker::BreakerPolicy;
use crate::error::Error;
use crate::events::Event;
use crate::os::Os;
use crate::pool::Registry;
use crate::quarantine::QuarantinePolicy;
use crate::settings::{JournalMode, Settings, Synchronous};
use crate::sync::Arc;
use rusqlite::{Connection, OpenFlags, Transaction};
use std::path::Path;
use std::time::Duration;

/// Builds a [`Store`] for one database, or a [`Cache`] for many under the same policy.
///
/// ```
/// use seawall::{BreakerPolicy, JournalMode, Store, Synchronous};
/// use std::time::Duration;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("x.db");
/// let store = Store::builder()
///     .readers(4)
///     .busy_timeout(Duration::from_secs(10))
///     .acquire_timeout(Duration::from_secs(10))
///     .journal_mode(JournalMode::RequireWal)
///     .synchronous(Synchronous::Normal)
///     .statement_cache(128)
///     .on_connect(|conn| conn.pragma_update(None, "cache_size", -16_000))
///     .init(|conn| conn.execute_batch("CREATE TABLE IF NOT EXISTS t (x)"))
///     .breaker(BreakerPolicy { cooldown: Duration::from_secs(5), ..BreakerPolicy::default() })
///     .first_connect_wait(Duration::from_secs(30))
///     .identity_check_interval(Duration::from_secs(5))
///     .max_idle(Duration::from_secs(600))
///     .overdue_after(Duration::from_secs(20))
///     .events(std::sync::Arc::new(|event| eprintln!("{event}")))
///     .open(&path)?;
/// assert_eq!(store.health().journal_mode.as_deref(), Some("wal"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Builder {
    settings: Settings,
    registry: Option<Arc<Registry>>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder { settings: Settings::default(), registry: None }
    }

    /// The name of a registered SQLite VFS; without it, SQLite's default.
    pub fn vfs(mut self, name: impl Into<String>) -> Builder {
        self.settings.vfs = Some(name.into());
        self
    }

    /// The flags to open the file with. Default: read and write, create if missing. Threading flags are ignored.
    ///
    /// With `SQLITE_OPEN_READ_ONLY` nothing is created, switched or migrated, and no lock file is made.
    pub fn flags(mut self, flags: OpenFlags) -> Builder {
        let threading = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_FULL_MUTEX;
        self.settings.flags = flags.difference(threading);
        self
    }

    /// Whether missing directories of the path are created, with the rights that the process gives to new ones.
    /// Default: no. A missing directory is an error that names it: it is a mistake in the path or a volume that is not
    /// mounted more often than a wish.
    pub fn create_directories(mut self, should_create: bool) -> Builder {
        self.settings.creates_directories = should_create;
        self
    }

    /// The number of connections that serve [`read`](Store::read) beside the one that writes. Default 0: all share that
    /// one.
    ///
    /// They are opened when first needed, and used only where they help: in WAL mode, and not while
    /// [degraded](crate::health::HealthState::Degraded).
    pub fn readers(mut self, readers: usize) -> Builder {
        self.settings.readers = readers;
        self
    }

    /// How long SQLite waits for a lock before it says busy. Default 5 s.
    pub fn busy_timeout(mut self, timeout: Duration) -> Builder {
        self.settings.busy_timeout = timeout;
        self
    }

    /// How long a caller waits for a connection that another thread has borrowed. Default 30 s. The error names the
    /// borrower.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Builder {
        self.settings.acquire_timeout = timeout;
        self
    }

    /// How much a COMMIT waits for the disk. Default [`Synchronous::Full`].
    pub fn synchronous(mut self, synchronous: Synchronous) -> Builder {
        self.settings.synchronous = synchronous;
        self
    }

    /// What to do about the journal mode. Default [`JournalMode::Wal`].
    pub fn journal_mode(mut self, journal_mode: JournalMode) -> Builder {
        self.settings.journal_mode = journal_mode;
        self
    }

    /// How many prepared statements each connection keeps for `prepare_cached`. Default 64.
    pub fn statement_cache(mut self, statements: usize) -> Builder {
        self.settings.statement_cache = statements;
        self
    }

    /// Creates or migrates the schema in the caller's own way; see [`migration`](Builder::migration) for the other one.
    ///
    /// Runs on the first connection to each file, before any other caller gets it, under a lock that excludes the first
    /// connects of other processes. Once it has succeeded it does not run again in this process, unless another file
    /// replaces the file at the path; after a failure the next call runs it again, so it must be able to start over:
    /// use one transaction, or `IF NOT EXISTS`.
    pub fn init(mut self, init: impl Fn(&mut Connection) -> rusqlite::Result<()> + Send + Sync + 'static) -> Builder {
        self.settings.init = Some(Box::new(init));
        self
    }

    /// Adds the next version of the schema: the n-th call makes version n of version n - 1.
    ///
    /// `PRAGMA user_version` says which versions a file has. What is missing is applied on the first connection, after
    /// [`init`](Builder::init), all in one transaction with the new version number, so that a failure leaves the old
    /// schema. Foreign keys are not enforced meanwhile, and checked before the transaction is committed. A file of a
    /// newer version than the last one here is refused.
    pub fn migration(
        mut self,
        apply: impl Fn(&Transaction<'_>) -> rusqlite::Result<()> + Send + Sync + 'static,
    ) -> Builder {
        self.settings.migrations.push(Box::new(apply));
        self
    }

    /// Sets up each new connection, readers included: functions, collations, settings that the layer knows nothing of.
    pub fn on_connect(
        mut self,
        set_up: impl Fn(&Connection) -> rusqlite::Result<()> + Send + Sync + 'static,
    ) -> Builder {
        self.settings.on_connect = Some(Box::new(set_up));
        self
    }

    /// When to stop calling a database that does not answer. Each database has its own breaker.
    pub fn breaker(mut self, policy: BreakerPolicy) -> Builder {
        self.settings.breaker = policy;
        self
    }

    /// How long to wait for another process's first connect before giving up. Default 10 s; `None` goes without the
    /// lock, for directories in which no side file may be made.
    pub fn first_connect_wait(mut self, wait: impl Into<Option<Duration>>) -> Builder {
        self.settings.first_connect_wait = wait.into();
        self
    }

    /// How often a degraded database tries the shared mode first. Default 5 s.
    pub fn shared_mode_probe_interval(mut self, interval: Duration) -> Builder {
        self.settings.shared_mode_probe_interval = interval;
        self
    }

    /// How often a *reading* call asks whether the file under its connection still has its name. Default 1 s; zero asks
    /// each time. Before a write is acknowledged it is asked in any case.
    pub fn identity_check_interval(mut self, interval: Duration) -> Builder {
        self.settings.identity_check_interval = interval;
        self
    }

    /// How long [`write`](Store::write) fails at once after a write has met a full disk. Default 1 s. Reads continue.
    pub fn disk_full_pause(mut self, pause: Duration) -> Builder {
        self.settings.disk_full_pause = pause;
        self
    }

    /// The size in bytes up to which the log may grow. Default 64 MiB; `None` leaves it to SQLite, whose checkpoints
    /// never restart a log that is always being read.
    ///
    /// After a write that leaves the log larger, new reads of this store wait for a moment (100 ms at most), and once
    /// the running ones have ended, the log is emptied. Where other reads keep that from working, an event says so
    /// ([`LogOverLimit`](crate::EventKind::LogOverLimit)), and it is tried again from time to time. One transaction may
    /// write any amount: the log is as large as the limit, and the largest transaction.
    pub fn wal_limit(mut self, bytes: impl Into<Option<u64>>) -> Builder {
        self.settings.wal_limit = bytes.into();
        self
    }

    /// The most databases that a [`Cache`] keeps open; 0 counts as 1. Default: as many as need half of the descriptors
    /// that the process may have open (`RLIMIT_NOFILE`), at most 1024.
    ///
    /// When one more is opened, those that have not been used for longest are closed, as with [`Cache::close`]. One
    /// that a call is using, or of which there is a [`Store`], stays open.
    pub fn databases_max(mut self, databases: usize) -> Builder {
        self.settings.databases_max = Some(databases);
        self
    }

    /// What to do with a database whose damage `PRAGMA quick_check` has confirmed. Default: return errors only.
    pub fn quarantine(mut self, policy: QuarantinePolicy) -> Builder {
        self.settings.quarantine = policy;
        self
    }

    /// The age after which a connection is replaced before it is borrowed again, within a tenth. Default: never.
    pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Builder {
        self.settings.lifetime = lifetime.into();
        self
    }

    /// The idle time after which a reader is closed, within a tenth, when the store is next used or
    /// [maintained](Store::maintain). Default: never.
    pub fn max_idle(mut self, idle: impl Into<Option<Duration>>) -> Builder {
        self.settings.idle = idle.into();
        self
    }

    /// A borrow that lasts longer than this is reported, once, as [`BorrowOverdue`](crate::EventKind::BorrowOverdue):
    /// by the next caller that times out waiting for it, or by [`maintain`](Store::maintain). Default 60 s.
    pub fn overdue_after(mut self, age: Duration) -> Builder {
        self.settings.overdue_after = age;
        self
    }

    /// Where events go. Called on the thread whose call caused the event, with no lock held; keep it short.
    pub fn events(mut self, sink: Arc<dyn Fn(&Event) + Send + Sync>) -> Builder {
        self.settings.events = Some(sink);
        self
    }

    /// Another registry than the process's own. Two registries are independent, so a file that is opened through both
    /// is opened twice.
    pub fn registry(mut self, registry: Arc<Registry>) -> Builder {
        self.registry = Some(registry);
        self
    }

    /// Another clock and file system than the machine's own.
    pub fn os(mut self, os: Arc<dyn Os>) -> Builder {
        self.settings.os = os;
        self
    }

    /// Opens the store of one database: connects, and creates or migrates the schema. If this process has it open
    /// already, under any spelling of the path, that store is returned.
    ///
    /// # Errors
    ///
    /// Why the path cannot be a database, or the database cannot be opened; that it is open already with other
    /// settings.
    #[track_caller]
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store, Error> {
        let registry = self.registry.unwrap_or_else(Registry::of_process);
        Store::open_with(path.as_ref(), self.settings, &registry)
    }

    /// A cache with nothing open yet.
    pub fn build(self) -> Cache {
        Cache::new(self.settings, self.registry.unwrap_or_else(Registry::of_process))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}
