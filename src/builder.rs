//! The knobs of a cache and their defaults.

use crate::breaker::BreakerPolicy;
use crate::cache::Cache;
use crate::events::{Event, Sink};
use crate::os::{Os, SystemOs};
use crate::sync::Arc;
use rusqlite::Connection;
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
}

impl Synchronous {
    pub(crate) fn pragma_value(self) -> &'static str {
        match self {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        }
    }
}

type Init = Box<dyn Fn(&mut Connection) -> rusqlite::Result<()> + Send + Sync>;

/// Everything a cache was told, shared by all of its databases.
pub(crate) struct Settings {
    pub(crate) vfs: Option<String>,
    pub(crate) busy_timeout: Duration,
    pub(crate) synchronous: Synchronous,
    pub(crate) init: Option<Init>,
    pub(crate) breaker: BreakerPolicy,
    pub(crate) first_connect_wait: Duration,
    pub(crate) shared_mode_probe_interval: Duration,
    pub(crate) events: Option<Sink>,
    pub(crate) os: Arc<dyn Os>,
}

/// Builds a [`Cache`].
pub struct Builder {
    settings: Settings,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            settings: Settings {
                vfs: None,
                busy_timeout: Duration::from_secs(5),
                synchronous: Synchronous::default(),
                init: None,
                breaker: BreakerPolicy::default(),
                first_connect_wait: Duration::from_secs(10),
                shared_mode_probe_interval: Duration::from_secs(5),
                events: None,
                os: Arc::new(SystemOs::new()),
            },
        }
    }

    /// The name of a registered SQLite VFS; without it, SQLite's default.
    pub fn vfs(mut self, name: impl Into<String>) -> Builder {
        self.settings.vfs = Some(name.into());
        self
    }

    /// How long SQLite waits for a lock before it says busy. Default 5 s.
    pub fn busy_timeout(mut self, timeout: Duration) -> Builder {
        self.settings.busy_timeout = timeout;
        self
    }

    /// How much a COMMIT waits for the disk. Default [`Synchronous::Full`].
    pub fn synchronous(mut self, synchronous: Synchronous) -> Builder {
        self.settings.synchronous = synchronous;
        self
    }

    /// Creates or migrates the schema.
    ///
    /// Runs on the first connection to each file, before anybody else gets it, under a lock that keeps other processes'
    /// first connects out. Once it has succeeded it does not run again in this process; after a failure the next call
    /// runs it again, so it must be able to start over: use one transaction, or `IF NOT EXISTS`.
    pub fn init(mut self, init: impl Fn(&mut Connection) -> rusqlite::Result<()> + Send + Sync + 'static) -> Builder {
        self.settings.init = Some(Box::new(init));
        self
    }

    /// When to stop asking a database that does not answer. Each database has a breaker of its own.
    pub fn breaker(mut self, policy: BreakerPolicy) -> Builder {
        self.settings.breaker = policy;
        self
    }

    /// How long to wait for another process's first connect before giving up. Default 10 s.
    pub fn first_connect_wait(mut self, wait: Duration) -> Builder {
        self.settings.first_connect_wait = wait;
        self
    }

    /// How often a degraded database tries the shared mode first. Default 5 s.
    pub fn shared_mode_probe_interval(mut self, interval: Duration) -> Builder {
        self.settings.shared_mode_probe_interval = interval;
        self
    }

    /// Where events go. Called on the thread whose call caused the event, with no lock held; keep it short.
    pub fn events(mut self, sink: Arc<dyn Fn(&Event) + Send + Sync>) -> Builder {
        self.settings.events = Some(sink);
        self
    }

    /// Another clock and file system than the machine's own.
    pub fn os(mut self, os: Arc<dyn Os>) -> Builder {
        self.settings.os = os;
        self
    }

    /// A cache with nothing open yet.
    pub fn build(self) -> Cache {
        Cache::new(self.settings)
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
            .field("busy_timeout", &self.busy_timeout)
            .field("synchronous", &self.synchronous)
            .field("breaker", &self.breaker)
            .field("first_connect_wait", &self.first_connect_wait)
            .field("shared_mode_probe_interval", &self.shared_mode_probe_interval)
            .finish_non_exhaustive()
    }
}
