//! The options of a fault-injecting VFS, and what a test asks it.

use super::api::SqliteApi;
use super::injector::{Injector, OutsideProgram};
use super::{FaultVfs, RegisterError};
use crate::actor::Actor;
use crate::call::Call;
use crate::clock::Clock;
use crate::fault::presets::UnknownPreset;
use crate::fault::{self, FaultPlan, GrammarError, Rule, find_preset};
use crate::seed::Seed;
use crate::shared_state::{Mode, SharedState};
use crate::trace::{self, Entry};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls that the trace keeps, by default.
const TRACE_CAPACITY: usize = 1 << 14;

/// Sees each call.
type Observer = Box<dyn Fn(Actor, &Call) + Send + Sync>;

/// The options of a [`FaultVfs`].
#[must_use]
pub struct FaultVfsBuilder {
    api: SqliteApi,
    name: Option<String>,
    base: Option<String>,
    is_default: bool,
    plan: Option<FaultPlan>,
    rules: Vec<Rule>,
    seed: Seed,
    trace_capacity: usize,
    shared_state: Option<Arc<SharedState>>,
    has_clock: bool,
    clock_scale: Option<u32>,
    entropy: Option<Seed>,
    observer: Option<Observer>,
    outside_program: Option<OutsideProgram>,
    outside_target: Option<String>,
    is_coordinated: bool,
}

impl FaultVfs {
    /// A VFS over the default one of the linked SQLite, under a name of its own and without faults, until it is told
    /// otherwise.
    pub fn builder() -> FaultVfsBuilder {
        FaultVfsBuilder {
            api: SqliteApi::linked(),
            name: None,
            base: None,
            is_default: false,
            plan: None,
            rules: Vec::new(),
            seed: Seed(0),
            trace_capacity: TRACE_CAPACITY,
            shared_state: None,
            has_clock: false,
            clock_scale: None,
            entropy: None,
            observer: None,
            outside_program: None,
            outside_target: None,
            is_coordinated: false,
        }
    }

    /// Opens a database of the linked SQLite on this VFS, or creates it.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn open(&self, path: impl AsRef<Path>) -> rusqlite::Result<Connection> {
        Connection::open_with_flags_and_vfs(path, OpenFlags::default(), self.name())
    }

    /// Arms the faults.
    pub fn arm(&self) {
        self.shared_state().arm();
    }

    /// Disarms the faults.
    pub fn disarm(&self) {
        self.shared_state().disarm();
    }

    /// How often faults have fired.
    pub fn fired(&self) -> u64 {
        self.fired_by_rule().map(|(_, fired)| fired).sum()
    }

    /// Each rule, and how often it has fired.
    pub fn fired_by_rule(&self) -> impl Iterator<Item = (&Rule, u64)> {
        let rules = self.injector().plan().rules().iter().enumerate();
        rules.map(|(index, rule)| (rule, self.shared_state().rule(index).fired()))
    }

    /// The calls that the trace has kept, oldest first.
    pub fn trace(&self) -> Vec<Entry> {
        trace::read(self.shared_state())
    }

    /// The clock of the run, which SQLite goes by if the builder was told so.
    pub fn clock(&self) -> Clock {
        Clock::new(Arc::clone(self.shared_state()))
    }

    /// Switches, counters and trace.
    pub fn shared_state(&self) -> &Arc<SharedState> {
        self.injector().shared_state()
    }
}

impl FaultVfsBuilder {
    /// Adds a fault, in the [grammar](crate::fault)'s text form.
    ///
    /// # Errors
    /// See [`GrammarError`].
    pub fn fault(self, rule: &str) -> Result<Self, GrammarError> {
        Ok(self.rules([rule.parse()?]))
    }

    /// Adds the faults of a [preset](crate::fault::presets).
    ///
    /// # Errors
    /// If there is no preset of this name.
    pub fn preset(self, name: &str) -> Result<Self, UnknownPreset> {
        let rules = find_preset(name)?.parse();
        Ok(self.rules(rules.expect("the rules of presets are valid")))
    }

    /// Adds the faults of a file in the [TOML form](crate::fault::toml), and takes its seed if it has one.
    ///
    /// # Errors
    /// See [`GrammarError`].
    pub fn fault_file(self, text: &str) -> Result<Self, GrammarError> {
        let file = fault::toml::parse(text)?;
        let seed = file.seed.map_or(self.seed, Seed);
        Ok(Self { seed, ..self.rules(file.rules) })
    }

    /// Adds faults.
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// Goes by this plan, and not by single faults and a seed.
    pub fn plan(self, plan: FaultPlan) -> Self {
        Self { plan: Some(plan), ..self }
    }

    /// Makes what is left to chance follow from this seed: 0 if it is not told.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Seed(seed), ..self }
    }

    /// The name to open connections with. Without it the VFS has a name that no other one of the process has.
    pub fn name(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// The VFS that calls are forwarded to.
    pub fn base(self, name: &str) -> Self {
        Self { base: Some(name.to_owned()), ..self }
    }

    /// Connections that name no VFS use this one.
    pub fn default_vfs(self) -> Self {
        Self { is_default: true, ..self }
    }

    /// Registers it in another SQLite than the linked one.
    pub fn library(self, api: SqliteApi) -> Self {
        Self { api, ..self }
    }

    /// How many calls the trace keeps, a power of two from 2: 16,384 if it is not told.
    pub fn trace_capacity(self, calls: usize) -> Self {
        Self { trace_capacity: calls, ..self }
    }

    /// Works on a state that other processes share. Its switches stay as they are; a state of its own traces the calls.
    pub fn shared_state(self, shared_state: Arc<SharedState>) -> Self {
        Self { shared_state: Some(shared_state), ..self }
    }

    /// Lets SQLite's sleeps, its date and stalls go by the clock of the run, as [`FaultVfs::clock`] shows it.
    pub fn run_clock(self) -> Self {
        Self { has_clock: true, ..self }
    }

    /// As [`Self::run_clock`], and lets so many seconds of the run pass in one; 0 makes the time virtual.
    pub fn clock_scale(self, scale: u32) -> Self {
        Self { has_clock: true, clock_scale: Some(scale), ..self }
    }

    /// Answers SQLite's calls for randomness from a seed. Its generator asks the default VFS alone, and once.
    pub fn entropy(self, seed: Seed) -> Self {
        Self { entropy: Some(seed), ..self }
    }

    /// Shows each call to `observer` before faults are considered.
    pub fn observer(self, observer: impl Fn(Actor, &Call) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Box::new(observer)), ..self }
    }

    /// Runs `program` where a rule says that another program opens the database at a path, writes to it and closes it:
    /// `outside=foreign`, `outside=second-name`. It must do so in another process.
    pub fn outside_program(self, program: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { outside_program: Some(Box::new(program)), ..self }
    }

    /// Outsiders act on this database alone. Without it they act on the database that the file of the call belongs to,
    /// or on the one that was opened last.
    pub fn outside_target(self, database: &Path) -> Self {
        Self { outside_target: Some(database.to_string_lossy().into_owned()), ..self }
    }

    /// Leaves what an outsider does between two lives of the application to the process that started this one, see
    /// [`SharedState::take_intervention`]. Without it the action is carried out at the call, and this process dies.
    pub fn coordinated(self) -> Self {
        Self { is_coordinated: true, ..self }
    }

    /// Registers the VFS.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub fn register(self) -> Result<FaultVfs, RegisterError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let plan = self.plan.map_or_else(|| FaultPlan::new(self.rules, self.seed), Ok)?;
        plan.check_real_medium()?;
        if self.outside_program.is_none() {
            plan.check_no_program()?;
        }
        let shared_state = self.shared_state.unwrap_or_else(|| {
            let own = SharedState::private(self.trace_capacity);
            own.set_mode(Mode::TRACE);
            Arc::new(own)
        });
        let mut injector = Injector::new(Arc::clone(&shared_state), plan);
        if self.has_clock {
            let clock = Clock::new(shared_state);
            self.clock_scale.inspect(|scale| clock.set_scale(*scale));
            injector = injector.with_clock(clock);
        }
        if let Some(seed) = self.entropy {
            injector = injector.with_entropy(seed);
        }
        if let Some(program) = self.outside_program {
            injector = injector.with_outside_program(program);
        }
        if let Some(database) = self.outside_target {
            injector = injector.with_target(database);
        }
        if self.is_coordinated {
            injector = injector.with_coordination();
        }
        if let Some(observer) = self.observer {
            injector = injector.with_hook(Box::new(move |actor, call| {
                observer(actor, call);
                true
            }));
        }
        let name = self.name.unwrap_or_else(|| format!("seawall-fault-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        FaultVfs::new(self.api, &name, self.base.as_deref(), self.is_default, injector)
    }
}
