//! `seawall`: the connection layer of this project, with the clock of the run behind its seam.
//!
//! On real files it is the crate as it is built for production. In the simulator it is the same sources with the
//! simulator's locks and the simulated machine behind the seam.

use seawall_harness::oracle::economy::Promise;

use super::{Entry, Host};

pub(super) const ENTRY: Entry = Entry {
    name: "seawall",
    summary: "this project's connection layer: exactly-once init, half-open breaker, no file ever unlinked, exclusive mode if the wal-index fails",
    promise: Some(Promise { opens_max: 1, schema_inits_max: 1 }),
    canary: false,
    build: |env| match env.host {
        Host::Real => Box::new(real::Seawall::new(env)),
        Host::Simulated => Box::new(simulated::Seawall::new(env)),
    },
};

/// The strategy over one of the two builds.
macro_rules! strategy {
    ($build:ident, $layer:ident, $os:expr) => {
        mod $build {
            use std::path::PathBuf;
            use std::sync::Arc;

            use $layer::{Cache, Registry};

            use crate::strategies::{Env, Failure, Strategy, Work};

            pub(super) struct Seawall {
                cache: Cache,
                path: PathBuf,
            }

            impl Seawall {
                pub(super) fn new(env: Env) -> Self {
                    let os = $os(&env);
                    let path = env.path.clone();
                    let cache = Cache::builder()
                        .registry(Registry::new())
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

            impl From<$layer::Error> for Failure {
                fn from(error: $layer::Error) -> Self {
                    Self { message: error.to_string(), code: error.extended_code(), alarm: error.is_corruption() }
                }
            }
        }
    };
}

strategy!(real, seawall, |env: &Env| {
    let pid = u32::from(seawall_harness::runtime::current_actor().process);
    crate::clocked_os::ClockedOs::new(env.clock.clone(), pid)
});
strategy!(simulated, seawall_simulated, |_: &Env| crate::run::simulated::SimulatedOs);
