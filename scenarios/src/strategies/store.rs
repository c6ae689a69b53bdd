//! `seawall-store`: the connection layer of this project as a store, with readers beside the writer, each call through
//! the door that is made for it.
//!
//! Opened when it is first needed; if that fails, the next call tries again, as a program would that has to come up.

use seawall_harness::oracle::economy::Promise;

use super::{Entry, Host};

/// Connections beside the one that writes.
const READERS: usize = 2;

pub(super) const ENTRY: Entry = Entry {
    name: "seawall-store",
    summary: "this project's connection layer as a store: one connection writes, two read in snapshots beside it",
    promise: Some(Promise { opens_max: 1 + READERS as u64, schema_inits_max: 1 }),
    canary: false,
    build: |env| match env.host {
        Host::Real => Box::new(real::SeawallStore::new(env)),
        Host::Simulated => Box::new(simulated::SeawallStore::new(env)),
    },
};

/// The strategy over one of the two builds.
macro_rules! strategy {
    ($build:ident, $layer:ident, $os:expr) => {
        mod $build {
            use std::sync::Arc;
            use std::time::Duration;

            use seawall_harness::sched::sync::Mutex;
            use $layer::CheckpointMode as Mode;
            use $layer::{Registry, Store};

            use super::READERS;
            use crate::strategies::{Env, Failure, Phase, Reading, Strategy, Work, Writing, Written};
            use crate::workload::CheckpointMode;

            /// Whoever closes waits so long for calls in progress; there should be none.
            const PATIENCE: Duration = Duration::from_secs(10);

            pub(super) struct SeawallStore {
                env: Env,
                /// The process's own.
                registry: Arc<Registry>,
                /// Never locked while something is done with the store.
                store: Mutex<Option<Store>>,
            }

            impl SeawallStore {
                pub(super) fn new(env: Env) -> Self {
                    Self { env, registry: Registry::new(), store: Mutex::new(None) }
                }

                /// The store, opened if need be. Threads that open it at once get the same one from the registry.
                fn store(&self) -> Result<Store, $layer::Error> {
                    if let Some(store) = &*self.store.lock() {
                        return Ok(store.clone());
                    }
                    let env = self.env.clone();
                    let opened = Store::builder()
                        .registry(Arc::clone(&self.registry))
                        .vfs(env.vfs.clone())
                        .os(Arc::new($os(&env)))
                        .readers(READERS)
                        .init(move |connection| env.init_schema(connection))
                        .open(&self.env.path)?;
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
                    let mode = match mode {
                        CheckpointMode::Passive => Mode::Passive,
                        CheckpointMode::Full => Mode::Full,
                        CheckpointMode::Restart => Mode::Restart,
                        CheckpointMode::Truncate => Mode::Truncate,
                    };
                    Ok(self.store()?.checkpoint(mode).map(drop)?)
                }

                fn close(&self) -> Result<(), Failure> {
                    let store = self.store.lock().take();
                    Ok(store.map_or(Ok(None), |store| store.close(PATIENCE)).map(drop)?)
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
