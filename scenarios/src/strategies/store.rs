//! `seawall-store`: the connection layer of this project as a store, with readers beside the writer, each call through
//! the entry point that is made for it.
//!
//! It is opened by the first call. If that fails, the next call tries again.

use super::{Entry, LayerOs};
use seawall_harness::oracle::economy::Promise;

/// Connections beside the one that writes.
const READERS: usize = 2;

pub(super) const ENTRY: Entry = Entry {
    name: "seawall-store",
    summary: "this project's connection layer as a store: one connection writes, two read in snapshots beside it",
    promise: Some(Promise { opens_max: 1 + READERS as u64, schema_inits_max: 1 }),
    is_canary: false,
    is_layer: true,
    build: |context| match context.host.layer_os(&context.clock) {
        LayerOs::Real(os) => Box::new(real::SeawallStore::new(context, os)),
        LayerOs::Simulated(os) => Box::new(simulated::SeawallStore::new(context, os)),
    },
};

/// The strategy over one of the two builds.
macro_rules! strategy {
    ($build:ident, $layer:ident) => {
        mod $build {
            use super::READERS;
            use crate::strategies::{Context, Failure, Phase, Reading, Strategy, Work, Writing, Written};
            use crate::workload::CheckpointMode;
            use seawall_harness::sched::sync::Mutex;
            use std::sync::Arc;
            use std::time::Duration;
            use $layer::CheckpointMode as Mode;
            use $layer::{Event, Os, Registry, Store};

            /// How long closing waits for calls in progress; there should be none.
            const PATIENCE: Duration = Duration::from_secs(10);

            pub(super) struct SeawallStore {
                context: Context,
                os: Arc<dyn Os>,
                /// The process's own.
                registry: Arc<Registry>,
                /// Never locked while something is done with the store.
                store: Mutex<Option<Store>>,
                told: Arc<parking_lot::Mutex<Vec<String>>>,
            }

            impl SeawallStore {
                pub(super) fn new(context: Context, os: Arc<dyn Os>) -> Self {
                    Self { context, os, registry: Registry::new(), store: Mutex::new(None), told: Arc::default() }
                }

                /// The store, opened if need be. Threads that open it at once get the same one from the registry.
                fn store(&self) -> Result<Store, $layer::Error> {
                    if let Some(store) = &*self.store.lock() {
                        return Ok(store.clone());
                    }
                    let (context, sink) = (self.context.clone(), Arc::clone(&self.told));
                    let configured = context.clone();
                    let opened = Store::builder()
                        .registry(Arc::clone(&self.registry))
                        .vfs(context.vfs.clone())
                        .os(Arc::clone(&self.os))
                        .events(Arc::new(move |event: &Event| sink.lock().push(event.to_string())))
                        .readers(READERS)
                        .wal_limit(configured.wal_limit())
                        .on_connect(move |connection| configured.configure(connection))
                        .init(move |connection| context.init_schema(connection))
                        .open(&self.context.path)?;
                    let store = self.store.lock().get_or_insert_with(|| opened.clone()).clone();
                    Ok(store)
                }
            }

            impl Strategy for SeawallStore {
                fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure> {
                    Ok(self.store()?.with_connection(|connection| work(connection))?)
                }

                fn read(&self, work: &mut Reading<'_>) -> Result<(), Failure> {
                    Ok(self.store()?.read(|connection| work(connection))?)
                }

                fn write(&self, work: &mut Writing<'_>) -> Written {
                    match self.store().and_then(|store| store.write(|transaction| work(transaction))) {
                        Ok(()) => Written { result: Ok(()), phase: Phase::Committed },
                        // Taken at its word: unless it says that it does not know, nothing was written.
                        Err(error) => {
                            let phase = if error.outcome_unknown() { Phase::Committing } else { Phase::BeforeCommit };
                            Written { result: Err(error.into()), phase }
                        }
                    }
                }

                fn checkpoint(&self, mode: CheckpointMode) -> Result<(), Failure> {
                    Ok(self.store()?.checkpoint(mode.into()).map(drop)?)
                }

                fn announcements(&self) -> Vec<String> {
                    std::mem::take(&mut self.told.lock())
                }

                fn close(&self) -> Result<(), Failure> {
                    let store = self.store.lock().take();
                    Ok(store.map_or(Ok(None), |store| store.close(PATIENCE)).map(drop)?)
                }
            }

            impl From<CheckpointMode> for Mode {
                fn from(mode: CheckpointMode) -> Self {
                    match mode {
                        CheckpointMode::Passive => Self::Passive,
                        CheckpointMode::Full => Self::Full,
                        CheckpointMode::Restart => Self::Restart,
                        CheckpointMode::Truncate => Self::Truncate,
                    }
                }
            }
        }
    };
}

strategy!(real, seawall);
strategy!(simulated, seawall_simulated);
