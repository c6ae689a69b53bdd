//! The settings of a database and their defaults: what the [`Builder`](crate::Builder) sets and everything else reads.

use crate::breaker::BreakerPolicy;
use crate::events::Sink;
use crate::os::{Os, SystemOs};
use crate::quarantine::QuarantinePolicy;
use crate::sync::Arc;
use rusqlite::{Connection, OpenFlags, Transaction};
use std::time::Duration;

/// Makes version n of a schema of version n - 1.
pub(crate) type Migration = Box<dyn Fn(&Transaction<'_>) -> rusqlite::Result<()> + Send + Sync>;
/// How much a COMMIT waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// A power cut may take back the commits since the last checkpoint, 999 of them unless a reader holds a snapshot,
    /// never in part. A crash of the process loses nothing.
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
    pub(crate) creates_directories: bool,
    pub(crate) wal_limit: Option<u64>,
    pub(crate) databases_max: Option<usize>,
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
    pub(crate) os: Arc<dyn Os>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            vfs: None,
            flags: OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            readers: 0,
            creates_directories: false,
            wal_limit: Some(64 << 20),
            databases_max: None,
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
            os: Arc::new(SystemOs::new()),
        }
    }
}

impl Settings {
    pub(crate) fn is_read_only(&self) -> bool {
        self.flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// The first setting that differs from `other`. Closures cannot be compared, only counted.
    pub(crate) fn difference(&self, other: &Settings) -> Option<&'static str> {
        let knobs = [
            ("vfs", self.vfs == other.vfs),
            ("flags", self.flags == other.flags),
            ("readers", self.readers == other.readers),
            ("wal_limit", self.wal_limit == other.wal_limit),
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
