//! The knobs and their defaults.

use crate::breaker::BreakerPolicy;
use crate::cache::Cache;
use crate::error::Error;
use crate::events::{Event, Sink};
use crate::os::{Os, SystemOs};
use crate::quarantine::QuarantinePolicy;
use crate::registry::Registry;
use crate::schema::Migration;
use crate::store::Store;
use crate::sync::Arc;
use rusqlite::{Connection, OpenFlags, Transaction};
use std::path::Path;
use std::time::Duration;

/// How much a COMMIT waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// A power cut may take back the last commits, never more, never in part. A crash of the process loses nothing.
    Normal,
    /// A commit that returned is on the disk.
    #[default]
    Full,
    /// As `Full`, and in a rollback journal mode the directory is synced as well when the journal is deleted.
    Extra,
}

impl Synchronous {
    pub(crate) fn pragma_value(self) -> &'static str {
        match self {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
            Synchronous::Extra => "EXTRA",
        }
    }
}

/// What to do about the journal mode of a database. Nothing ever switches WAL *off*: that direction deletes the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalMode {
    /// Switch to WAL if it is not on yet, and go on in whatever mode is in force if SQLite refuses.
    #[default]
    Wal,
    /// The same, but a refusal is an error.
    RequireWal,
    /// Leave it as it is.
    Keep,
}

pub(crate) type Init = Box<dyn Fn(&mut Connection) -> rusqlite::Result<()> + Send + Sync>;
pub(crate) type OnConnect = Box<dyn Fn(&Connection) -> rusqlite::Result<()> + Send + Sync>;

/// Everything a store or a cache was told, shared by all of its databases.
pub(crate) struct Settings {
    pub(crate) vfs: Option<String>,
    pub(crate) flags: OpenFlags,
    pub(crate) readers: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) acquire_timeout: Duration,
    pub(crate) synchronous: Synchronous,
    pub(crate) journal_mode: JournalMode,
    pub(crate) statement_cache: usize,
    pub(crate) init: Option<Init>,
    pub(crate) on_connect: Option<OnConnect>,
    pub(crate) migrations: Vec<Migration>,
    pub(crate) breaker: BreakerPolicy,
    pub(crate) first_connect_wait: Option<Duration>,
    pub(crate) shared_mode_probe_interval: Duration,
    pub(crate) identity_check_interval: Duration,
    pub(crate) disk_full_pause: Duration,
    pub(crate) quarantine: QuarantinePolicy,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) overdue_after: Duration,
    pub(crate) events: Option<Sink>,
    pub(crate) registry: Option<Arc<Registry>>,
    pub(crate) os: Arc<dyn Os>,
}

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
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            settings: Settings {
                vfs: None,
                flags: OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
                readers: 0,
                busy_timeout: Duration::from_secs(5),
                acquire_timeout: Duration::from_secs(30),
                synchronous: Synchronous::default(),
                journal_mode: JournalMode::default(),
                statement_cache: 64,
                init: None,
                on_connect: None,
                migrations: Vec::new(),
                breaker: BreakerPolicy::default(),
                first_connect_wait: Some(Duration::from_secs(10)),
                shared_mode_probe_interval: Duration::from_secs(5),
                identity_check_interval: Duration::from_secs(1),
                disk_full_pause: Duration::from_secs(1),
                quarantine: QuarantinePolicy::default(),
                lifetime: None,
                idle: None,
                overdue_after: Duration::from_secs(60),
                events: None,
                registry: None,
                os: Arc::new(SystemOs::new()),
            },
        }
    }

    /// The name of a registered SQLite VFS; without it, SQLite's default.
    pub fn vfs(mut self, name: impl Into<String>) -> Builder {
        self.settings.vfs = Some(name.into());
        self
    }

    /// How to open the file. Default read and write, create if missing. Threading flags are the layer's own business.
    ///
    /// With `SQLITE_OPEN_READ_ONLY` nothing is created, switched or migrated, and no lock file is made.
    pub fn flags(mut self, flags: OpenFlags) -> Builder {
        let threading = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_FULL_MUTEX;
        self.settings.flags = flags.difference(threading);
        self
    }

    /// So many connections serve [`read`](Store::read) beside the one that writes. Default 0: all share that one.
    ///
    /// They are opened when first needed, and used only where they help: in WAL mode, and not while
    /// [degraded](crate::health::State::Degraded).
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
    /// Runs on the first connection to each file, before anybody else gets it, under a lock that keeps other processes'
    /// first connects out. Once it has succeeded it does not run again in this process, unless another file comes to
    /// stand at the path; after a failure the next call runs it again, so it must be able to start over: use one
    /// transaction, or `IF NOT EXISTS`.
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

    /// When to stop asking a database that does not answer. Each database has a breaker of its own.
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

    /// After a write has met a full disk, [`write`](Store::write) fails at once for so long. Default 1 s. Reads go on.
    pub fn disk_full_pause(mut self, pause: Duration) -> Builder {
        self.settings.disk_full_pause = pause;
        self
    }

    /// What to do with a database whose damage `PRAGMA quick_check` has confirmed. Default: nothing but errors.
    pub fn quarantine(mut self, policy: QuarantinePolicy) -> Builder {
        self.settings.quarantine = policy;
        self
    }

    /// After so long, give or take a tenth, a connection is replaced before it is lent again. Default: never.
    pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Builder {
        self.settings.lifetime = lifetime.into();
        self
    }

    /// A reader that nobody has used for so long, give or take a tenth, is closed when the store is next used or
    /// [maintained](Store::maintain). Default: never.
    pub fn max_idle(mut self, idle: impl Into<Option<Duration>>) -> Builder {
        self.settings.idle = idle.into();
        self
    }

    /// A borrow that lasts longer than this is reported, once, as
    /// [`BorrowOverdue`](crate::EventKind::BorrowOverdue): by the next caller who waits for it in vain, or by
    /// [`maintain`](Store::maintain). Default 60 s.
    pub fn overdue_after(mut self, age: Duration) -> Builder {
        self.settings.overdue_after = age;
        self
    }

    /// Where events go. Called on the thread whose call caused the event, with no lock held; keep it short.
    pub fn events(mut self, sink: Arc<dyn Fn(&Event) + Send + Sync>) -> Builder {
        self.settings.events = Some(sink);
        self
    }

    /// Another registry than the process's own. Two registries know nothing of each other, so a file that is opened
    /// through both is opened twice.
    pub fn registry(mut self, registry: Arc<Registry>) -> Builder {
        self.settings.registry = Some(registry);
        self
    }

    /// Another clock and file system than the machine's own.
    pub fn os(mut self, os: Arc<dyn Os>) -> Builder {
        self.settings.os = os;
        self
    }

    /// Opens the store of one database: connects, and creates or migrates the schema. If this process has it open
    /// already, under whatever spelling of the path, that store is given out.
    ///
    /// # Errors
    ///
    /// Why the path cannot be a database, or the database cannot be opened; that it is open already with other
    /// settings.
    #[track_caller]
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store, Error> {
        Store::open_with(path.as_ref(), self.settings)
    }

    /// A cache with nothing open yet.
    pub fn build(self) -> Cache {
        Cache::new(self.settings)
    }
}

impl Settings {
    pub(crate) fn is_read_only(&self) -> bool {
        self.flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.clone().unwrap_or_else(Registry::of_process)
    }

    /// The first knob that is set otherwise than in `other`. Closures cannot be compared, only counted.
    pub(crate) fn difference(&self, other: &Settings) -> Option<&'static str> {
        let knobs = [
            ("vfs", self.vfs == other.vfs),
            ("flags", self.flags == other.flags),
            ("readers", self.readers == other.readers),
            ("busy_timeout", self.busy_timeout == other.busy_timeout),
            ("acquire_timeout", self.acquire_timeout == other.acquire_timeout),
            ("synchronous", self.synchronous == other.synchronous),
            ("journal_mode", self.journal_mode == other.journal_mode),
            ("statement_cache", self.statement_cache == other.statement_cache),
            ("init", self.init.is_some() == other.init.is_some()),
            ("on_connect", self.on_connect.is_some() == other.on_connect.is_some()),
            ("migration", self.migrations.len() == other.migrations.len()),
            ("breaker", self.breaker == other.breaker),
            ("quarantine", self.quarantine.is_like(&other.quarantine)),
            ("events", self.events.is_some() == other.events.is_some()),
            ("shared_mode_probe_interval", self.shared_mode_probe_interval == other.shared_mode_probe_interval),
            ("identity_check_interval", self.identity_check_interval == other.identity_check_interval),
            ("disk_full_pause", self.disk_full_pause == other.disk_full_pause),
            ("overdue_after", self.overdue_after == other.overdue_after),
            ("first_connect_wait", self.first_connect_wait == other.first_connect_wait),
            ("max_lifetime", self.lifetime == other.lifetime),
            ("max_idle", self.idle == other.idle),
        ];
        knobs.into_iter().find(|(_, is_same)| !is_same).map(|(name, _)| name)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("vfs", &self.vfs)
            .field("readers", &self.readers)
            .field("busy_timeout", &self.busy_timeout)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("synchronous", &self.synchronous)
            .field("journal_mode", &self.journal_mode)
            .field("migrations", &self.migrations.len())
            .field("breaker", &self.breaker)
            .field("first_connect_wait", &self.first_connect_wait)
            .finish_non_exhaustive()
    }
}
