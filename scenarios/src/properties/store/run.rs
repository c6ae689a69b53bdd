//! One execution of a case: simulated processes with a store each, and the outcomes of the rows.

use super::case::{Case, Config};
use crate::run::simulated::{self, SimulatedOs};
use parking_lot::Mutex;
use seawall_harness::actor::Actor;
use seawall_harness::rig::Simulation;
use seawall_simulated::{Error, Registry, Store};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The outcome of a row, as its caller got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Acked,
    Refused,
    Unknown,
}

/// See the module's documentation.
pub(super) struct StoreRun {
    pub(super) simulation: Simulation,
    pub(super) config: Config,
    pub(super) is_undisturbed: bool,
    pub(super) has_faults: bool,
    pub(super) processes: BTreeMap<u16, Process>,
    /// The rows by number: the actor that wrote each, and its outcome.
    pub(super) rows: RefCell<BTreeMap<u32, (Actor, Outcome)>>,
    complaints: Complaints,
    log: Option<RefCell<Vec<String>>>,
}

type Complaints = Arc<Mutex<Vec<String>>>;

/// A process, from its start to its end.
#[derive(Default)]
pub(super) struct Process {
    registry: Arc<Registry>,
    pub(super) store: RefCell<Option<Store>>,
    /// Successful inits.
    inits: Arc<AtomicU32>,
    pub(super) closes: Cell<u32>,
    failed_opens: Cell<u32>,
}

impl StoreRun {
    pub(super) fn new(case: &Case, simulation: Simulation, is_logged: bool) -> Self {
        Self {
            simulation,
            config: case.config,
            is_undisturbed: case.is_undisturbed(),
            has_faults: !case.rules.is_empty(),
            processes: (1..=case.processes).map(|number| (number, Process::default())).collect(),
            rows: RefCell::default(),
            complaints: Complaints::default(),
            log: is_logged.then(RefCell::default),
        }
    }

    /// Starts a process that was killed.
    pub(super) fn restart(&mut self, process: u16) {
        self.processes.insert(process, Process::default());
        self.simulation.machine().borrow_mut().revive(process);
        self.log(|| format!("p{process} starts again"));
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().clone()
    }

    /// The lines of the log.
    pub(super) fn lines(&self) -> String {
        self.log.as_ref().map(|log| log.borrow().join("\n")).unwrap_or_default()
    }

    pub(super) fn complain(&self, what: fmt::Arguments<'_>) {
        self.complaints.lock().push(what.to_string());
    }

    pub(super) fn log(&self, line: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            log.borrow_mut().push(format!("  {:?}: {}", self.simulation.clock().now(), line()));
        }
    }

    pub(super) fn is_dead(&self, actor: Actor) -> bool {
        self.simulation.machine().borrow().is_dead(actor.process)
    }

    // -- Stores ----------------------------------------------------------------------------

    /// The store, opened if need be.
    pub(super) fn store(&self, process: u16) -> Result<Store, Error> {
        let here = &self.processes[&process];
        if let Some(store) = &*here.store.borrow() {
            return Ok(store.clone());
        }
        let opened = self.builder(here).open(simulated::DATABASE);
        let opened = opened.inspect_err(|_| here.failed_opens.set(here.failed_opens.get() + 1))?;
        // Other actors go on while a store is dropped, so nothing may be borrowed then.
        let store = here.store.borrow_mut().get_or_insert_with(|| opened.clone()).clone();
        Ok(store)
    }

    /// Removes the store, to close it or because it was closed.
    pub(super) fn take_store(&self, process: u16) -> Option<Store> {
        let mut store = self.processes[&process].store.borrow_mut();
        store.take()
    }

    fn builder(&self, here: &Process) -> seawall_simulated::Builder {
        let Config { readers, busy_timeout, acquire_timeout, first_connect_wait, lifetime, idle, migrates } =
            self.config;
        let (inits, complaints) = (Arc::clone(&here.inits), Arc::clone(&self.complaints));
        let own = AtomicU32::new(0);
        let builder = Store::builder()
            .registry(Arc::clone(&here.registry))
            .os(Arc::new(SimulatedOs))
            .vfs(self.simulation.vfs())
            .readers(readers)
            .busy_timeout(busy_timeout)
            .acquire_timeout(acquire_timeout)
            .first_connect_wait(first_connect_wait)
            .max_lifetime(lifetime)
            .max_idle(idle)
            .identity_check_interval(Duration::from_secs(1))
            .init(move |conn| {
                // A migration that fails takes the init with it.
                if own.load(Ordering::Relaxed) > 0 && !migrates {
                    complaints.lock().push("the init ran again after it had succeeded".to_owned());
                }
                conn.execute_batch(
                    "BEGIN IMMEDIATE;
                     CREATE TABLE IF NOT EXISTS entry(n INTEGER PRIMARY KEY, actor TEXT NOT NULL);
                     CREATE TABLE IF NOT EXISTS tally(id INTEGER PRIMARY KEY, entries INTEGER NOT NULL);
                     INSERT OR IGNORE INTO tally VALUES(1, 0);
                     COMMIT",
                )?;
                own.fetch_add(1, Ordering::Relaxed);
                inits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        if !migrates {
            return builder;
        }
        // Not to be repeated without an error.
        builder.migration(|tx| tx.execute_batch("CREATE TABLE mark(x); INSERT INTO mark VALUES(1)"))
    }

    /// Successful inits must not be more than there were stores.
    pub(super) fn check_inits(&self, process: u16) {
        let here = &self.processes[&process];
        let (inits, closes, failed) = (here.inits.load(Ordering::Relaxed), here.closes.get(), here.failed_opens.get());
        if inits > 1 + closes + failed && !self.config.migrates {
            self.complain(format_args!("p{process}: {inits} inits with {closes} closes and {failed} failed opens"));
        }
    }
}
