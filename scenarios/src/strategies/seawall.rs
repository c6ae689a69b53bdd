//! `seawall`: the connection layer of this project, with the clock of the run behind its seam.

use std::path::PathBuf;
use std::sync::Arc;

use seawall::Cache;
use seawall_harness::oracle::economy::Promise;
use seawall_harness::vfs::lab;

use super::{Entry, Env, Failure, Strategy, Work};
use crate::clocked_os::ClockedOs;

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
        let os = ClockedOs::new(env.clock.clone(), pid);
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
