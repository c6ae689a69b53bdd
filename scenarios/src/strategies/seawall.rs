//! `seawall`: the connection layer of this project, with the clock of the run in its system interface.
//!
//! On real files it is the crate as it is built for production. In the simulator it is the same sources with the
//! simulator's locks and the simulated machine behind the interface.

use super::{Entry, LayerOs};
use seawall_harness::oracle::economy::Promise;

pub(super) const ENTRY: Entry = Entry {
    name: "seawall",
    summary: "this project's connection layer: exactly-once init, half-open breaker, no file ever unlinked, exclusive mode if the wal-index fails",
    promise: Some(Promise { opens_max: 1, schema_inits_max: 1 }),
    is_canary: false,
    is_layer: true,
    build: |context| match context.host.layer_os(&context.clock) {
        LayerOs::Real(os) => Box::new(real::Seawall::new(context, os)),
        LayerOs::Simulated(os) => Box::new(simulated::Seawall::new(context, os)),
    },
};

/// The strategy over one of the two builds.
macro_rules! strategy {
    ($build:ident, $layer:ident) => {
        mod $build {
            use crate::strategies::{Context, Failure, Strategy, Work};
            use parking_lot::Mutex;
            use std::path::PathBuf;
            use std::sync::Arc;
            use $layer::{Cache, Event, Os, Registry};

            pub(super) struct Seawall {
                cache: Cache,
                path: PathBuf,
                told: Arc<Mutex<Vec<String>>>,
            }

            impl Seawall {
                pub(super) fn new(context: Context, os: Arc<dyn Os>) -> Self {
                    let (path, told) = (context.path.clone(), Arc::new(Mutex::new(Vec::new())));
                    let (sink, configured) = (Arc::clone(&told), context.clone());
                    let cache = Cache::builder()
                        .registry(Registry::new())
                        .vfs(context.vfs.clone())
                        .os(os)
                        .events(Arc::new(move |event: &Event| sink.lock().push(event.to_string())))
                        .wal_limit(configured.wal_limit())
                        .on_connect(move |connection| configured.configure(connection))
                        .init(move |connection| context.init_schema(connection))
                        .build();
                    Self { cache, path, told }
                }
            }

            impl Strategy for Seawall {
                fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure> {
                    Ok(self.cache.with_connection(&self.path, |connection| work(connection))?)
                }

                fn announcements(&self) -> Vec<String> {
                    std::mem::take(&mut self.told.lock())
                }

                fn close(&self) -> Result<(), Failure> {
                    Ok(self.cache.close_all()?)
                }
            }

            impl From<$layer::Error> for Failure {
                fn from(error: $layer::Error) -> Self {
                    let (code, is_alarm) = (error.extended_code(), error.is_corruption());
                    // Not a failure of SQLite, and waiting does not help: the layer waits for a person.
                    let is_refusal = code.is_none() && !is_alarm && !error.is_transient();
                    Self { message: error.to_string(), code, is_alarm, is_refusal }
                }
            }
        }
    };
}

strategy!(real, seawall);
strategy!(simulated, seawall_simulated);
