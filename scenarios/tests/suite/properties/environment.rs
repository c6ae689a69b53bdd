//! A test environment in one process: a folder, a shim with fault rules, virtual time.

use seawall::Os;
use seawall_harness::call::{Call, Method, Role};
use seawall_harness::clock::Clock;
use seawall_harness::shared_state::SharedState;
use seawall_harness::vfs::FaultVfs;
use seawall_scenarios::clocked_os::ClockedOs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// See the module's documentation. Faults are off until [`Environment::arm`].
pub(super) struct Environment {
    pub(super) shim: FaultVfs,
    pub(super) shared_state: Arc<SharedState>,
    pub(super) clock: Clock,
    pub(super) folder: tempfile::TempDir,
    wal_deletions: Arc<AtomicU64>,
    wal_truncations: Arc<AtomicU64>,
}

impl Environment {
    /// An environment with these rules, in the text form of the grammar.
    pub(super) fn new(rules: &[String], seed: u64) -> Self {
        let rules = rules.iter().map(|rule| rule.parse().expect("a valid rule"));
        let (wal_deletions, wal_truncations) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (deletions, truncations) = (Arc::clone(&wal_deletions), Arc::clone(&wal_truncations));
        let observer = move |_, call: &Call| {
            match (call.method, call.role) {
                (Method::Delete, Role::Wal) => deletions.fetch_add(1, Ordering::Relaxed),
                (Method::Truncate, Role::Wal) => truncations.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
        };
        let builder = FaultVfs::builder().rules(rules).seed(seed).clock_scale(0).trace_capacity(2);
        let shim = builder.observer(observer).register().expect("a shim");
        let (shared_state, clock) = (Arc::clone(shim.shared_state()), shim.clock());
        let folder = tempfile::tempdir_in(seawall_scenarios::scratch::default_folder()).expect("a folder");
        Self { shim, shared_state, clock, folder, wal_deletions, wal_truncations }
    }

    pub(super) fn arm(&self) {
        self.shim.arm();
    }

    pub(super) fn heal(&self) {
        self.shim.disarm();
    }

    /// How often SQLite itself has deleted, and truncated, a `-wal`.
    pub(super) fn wal_deletions_and_truncations(&self) -> (u64, u64) {
        (self.wal_deletions.load(Ordering::Relaxed), self.wal_truncations.load(Ordering::Relaxed))
    }

    /// The machine's own files with the virtual clock.
    pub(super) fn os(&self) -> Arc<dyn Os> {
        // Other tests of this program start processes.
        Arc::new(ClockedOs::new(self.clock.clone(), 1).with_lock_patience(Duration::from_millis(200)))
    }

    /// The names of the files that are open through the shim.
    pub(super) fn open_files(&self) -> Vec<String> {
        self.shim.injector().open_files().iter().map(|file| format!("{} {}", file.role, file.name)).collect()
    }
}
