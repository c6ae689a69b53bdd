//! `seawall`: the connection layer of this project, with the clock of the run behind its seam.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use seawall::os::FileLock;
use seawall::{Cache, Os, SystemOs};
use seawall_harness::clock::Clock;
use seawall_harness::oracle::economy::Promise;
use seawall_harness::vfs::lab;

use super::{Entry, Env, Failure, Strategy, Work};

pub(super) const ENTRY: Entry = Entry {
    name: "seawall",
    summary: "this project's connection layer: exactly-once init, half-open breaker, no file ever unlinked, exclusive mode if the wal-index fails",
    promise: Some(Promise { opens_max: 1, schema_inits_max: 1 }),
    canary: false,
    build: |env| Box::new(Seawall::new(env)),
};

struct Seawall {
    cache: Cache,
    path: PathBuf,
}

impl Seawall {
    fn new(env: Env) -> Self {
        let pid = u32::from(lab::current_actor().process);
        let os = LabOs { clock: env.clock.clone(), pid, system: SystemOs::new() };
        let path = env.path.clone();
        let cache = Cache::builder()
            .vfs(env.vfs.clone())
            .os(Arc::new(os))
            .init(move |connection| env.init_schema(connection))
            .build();
        Self { cache, path }
    }
}

impl Strategy for Seawall {
    fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        Ok(self.cache.with_connection(&self.path, |connection| work(connection))?)
    }

    fn close(&self) -> Result<(), Failure> {
        Ok(self.cache.close_all()?)
    }
}

impl From<seawall::Error> for Failure {
    fn from(error: seawall::Error) -> Self {
        Self { message: error.to_string(), code: error.extended_code(), alarm: error.is_corruption() }
    }
}

/// The machine's own files with the run's clock.
struct LabOs {
    clock: Clock,
    /// The number of the process in its run. Pauses depend on the process id, and a run must not depend on what the
    /// machine gives out.
    pid: u32,
    system: SystemOs,
}

impl Os for LabOs {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn sleep(&self, pause: Duration) {
        self.clock.sleep(pause);
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.system.canonicalize(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.system.create_dir_all(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.system.is_dir(path)
    }

    fn try_lock_file(&self, path: &Path) -> io::Result<Option<FileLock>> {
        self.system.try_lock_file(path)
    }
}
