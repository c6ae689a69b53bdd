//! Explore: many executions of a scenario in the simulator, each with another schedule, until an oracle finds
//! something.
//!
//! ```text
//! seed ─► scenario ─► case ─► scheduler (policy) ─► actors ─► engine ─► shim ─► simulated machine
//!                                                ─► ledger, observations ─► judge ─► finding
//! ```
//!
//! A [`Case`] is everything that an execution consists of. It is drawn from a seed, or it is one that was recorded or
//! shrunken, with its schedule as a list of preemptions.
//!
//! One [`Explorer`] is one machine on one thread, and executes as often as it is asked to: stacks, file buffers, the
//! registered VFSes and the databases that executions begin with are kept. Several explorers need several processes,
//! because a SQLite library has one random generator, and an execution must not depend on another one.
//!
//! # Faults
//! The rules of a case are armed for the whole execution, and off when it is judged. An error that SQLite is told of
//! (`IOERR`, `FULL`, `BUSY`, `CANTOPEN`, …) may refuse service, and must lose nothing. A process that is killed leaves
//! its connections; when all its code has ended it begins a new life, and its actors open new ones. What an actor had
//! in flight then is indeterminate. Where the medium itself lies (`drop`, `torn`, `bitflip`, `short`) that is what a
//! finding shows; only that SQLite says so is no false alarm then.

mod actor;
mod bank;
mod canary;
mod case;
mod connection_actor;
mod judge;
mod mixed;
mod plain;
mod scenario;
mod schema;
mod shared;
mod shrink;
mod stand;
mod story;
mod token;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use seawall_harness::engine::{Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE};
use seawall_harness::fault::Rule;
use seawall_harness::sched::pct::Pct;
use seawall_harness::sched::random::Random;
use seawall_harness::sched::rare::Rare;
use seawall_harness::sched::replay::Replay;
use seawall_harness::sched::round_robin::RoundRobin;
use seawall_harness::sched::{Execution, Policy, Preemption, Processes, Task};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::{Mode, SharedState};
use seawall_harness::trace;

pub use bank::BankStep;
pub use canary::Canary;
pub use case::{
    ActorPlan, Begin, Case, CaseFile, Checkpoint, FORMAT, Journal, Layout, Numbered, Schedule, Settings, Step,
    Synchronous, Target,
};
pub use judge::Finding;
pub use plain::Plain;
pub use scenario::{SCENARIOS, Scenario, find};
pub use schema::{Ddl, SchemaStep};
pub use shared::SharedStep;
pub use shrink::{CaseBench, Failing};
pub use story::{Note, Told, line, story};
pub use token::{ExploreToken, ExploreTokenError, NO_FAULT};

use actor::{Notebook, Process, Stage};
use stand::Stand;
use story::Log;

/// The policies with what each does, the default one first.
pub const POLICIES: [(&str, &str); 4] = [
    ("rare", "preempts a few times, evenly spread over the kinds of calls: rare ones get the same share"),
    ("pct", "the highest priority runs; priorities change at a few random calls"),
    ("random", "preempts at each call with the same chance"),
    ("round-robin", "everybody makes so many calls, then the next one does"),
];

/// Calls after which an execution counts as stuck. A long one makes a few thousand.
const CALLS_MAX: u64 = 200_000;

/// Calls that the trace keeps. Enough for every execution that does not get stuck.
const TRACE_CAPACITY: usize = 1 << 14;

/// The database of every execution.
const DATABASE: &str = "/sim/app.db";

/// The policy with this name.
pub fn policy(name: &str) -> Option<Box<dyn Policy>> {
    Some(match name {
        "rare" => Box::new(Rare::default()),
        "pct" => Box::new(Pct::default()),
        "random" => Box::new(Random::default()),
        "round-robin" => Box::new(RoundRobin::default()),
        _ => return None,
    })
}

/// What one execution came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The schedule.
    pub execution: Execution,
    /// What the oracles found, worst first.
    pub findings: Vec<Finding>,
    /// Transactions that were acknowledged.
    pub acked: u64,
    /// SQL statements that the steps executed, checkpoints included.
    pub statements: u64,
    /// How often faults fired.
    pub faults_fired: u64,
    /// Checksum over all calls, if they were traced.
    pub digest: Option<String>,
}

impl Case {
    /// The case that follows from a seed.
    ///
    /// # Errors
    /// A message if there is no such scenario or policy.
    pub fn draw(scenario: &str, sqlite: &str, policy: &str, faults: &[Rule], seed: Seed) -> Result<Self, String> {
        let known = find(scenario).ok_or_else(|| format!("there is no scenario `{scenario}`"))?;
        let scenario::World { layout, settings, actors } = (known.draw)(seed);
        let schedule = Schedule::Policy { name: policy.to_owned(), seed: seed.stream("schedule") };
        let (scenario, sqlite) = (scenario.to_owned(), sqlite.to_owned());
        Ok(Self { scenario, sqlite, seed, layout, settings, faults: faults.to_vec(), actors, schedule })
    }

    /// The same with this schedule.
    #[must_use]
    pub fn with_preemptions(&self, preemptions: &[Preemption]) -> Self {
        Self { schedule: Schedule::Preemptions(preemptions.to_vec()), ..self.clone() }
    }
}

impl ExploreToken {
    /// The case that the token names.
    ///
    /// # Errors
    /// A message if there is no such scenario, policy or preset.
    pub fn case(&self) -> Result<Case, String> {
        Case::draw(&self.scenario, &self.sqlite, &self.policy, &self.rules()?, self.seed)
    }
}

/// What a database to begin with was made for.
type ImageKey = (&'static str, Layout, bool);

/// See the module's documentation.
pub struct Explorer {
    engine: Engine,
    stand: Stand,
    /// The policy that the scheduler goes by, if it may go by it again.
    policy: Option<String>,
    /// True after an execution whose actors are still there.
    is_spent: bool,
    /// Databases with the schema in them.
    images: BTreeMap<ImageKey, Rc<[u8]>>,
    traced: bool,
    /// True once SQLite's own mutexes are the scheduler's, which costs some speed.
    has_mutexes: bool,
}

impl Explorer {
    /// An explorer of this engine. With `traced`, every call is kept and outcomes have a digest.
    ///
    /// # Errors
    /// A message if the VFSes cannot be registered.
    pub fn new(engine: Engine, traced: bool) -> Result<Self, String> {
        let stand = Stand::new(&engine, Arc::new(SharedState::private(TRACE_CAPACITY)))?;
        Ok(Self { engine, stand, policy: None, is_spent: false, images: BTreeMap::new(), traced, has_mutexes: false })
    }

    /// Executes the case once.
    ///
    /// # Errors
    /// A message if the case cannot be executed (it names an unknown policy, its rules are refused), or if the database
    /// to begin with cannot be made: then the lab is broken.
    pub fn execute(&mut self, case: &Case) -> Result<Outcome, String> {
        let Schedule::Policy { name, seed } = &case.schedule else {
            let (policy, seed) = case.schedule.policy()?;
            return self.execute_by(case, policy, seed);
        };
        if self.policy.as_ref() != Some(name) || self.is_spent {
            self.renew()?;
            self.stand.scheduler.set_policy(case.schedule.policy()?.0);
            self.policy = Some(name.clone());
        }
        self.perform(case, *seed, None)
    }

    /// Executes the case under another policy than its own.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn execute_by(&mut self, case: &Case, policy: Box<dyn Policy>, seed: Seed) -> Result<Outcome, String> {
        self.renew()?;
        self.policy = None;
        self.stand.scheduler.set_policy(policy);
        self.perform(case, seed, None)
    }

    /// From now on every call is kept, and outcomes have a digest; or not.
    pub fn set_traced(&mut self, traced: bool) {
        self.traced = traced;
    }

    /// Executes the case traced, first under its own schedule and then by the preemptions that this one made. Both must
    /// be the same, call by call.
    ///
    /// # Errors
    /// As [`Self::execute`]; a message with the first differing call if they are not.
    pub fn record(&mut self, case: &Case, token: Option<String>) -> Result<CaseFile, String> {
        let (outcome, case, calls) = self.verify(case)?;
        let Outcome { findings, digest, .. } = outcome;
        Ok(CaseFile { format: FORMAT, token, findings, digest, case, calls: calls.iter().map(line).collect() })
    }

    /// As [`Self::record`], for who does not want a file: the outcome, the case by its preemptions, the calls.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn verify(&mut self, case: &Case) -> Result<(Outcome, Case, Vec<trace::Entry>), String> {
        let was_traced = std::mem::replace(&mut self.traced, true);
        let outcome = self.execute(case)?;
        let calls = self.calls();
        let by_preemptions = case.with_preemptions(&outcome.execution.preemptions);
        let again = self.execute(&by_preemptions)?;
        self.traced = was_traced;
        if again == outcome {
            return Ok((outcome, by_preemptions, calls));
        }
        let calls: Vec<String> = calls.iter().map(line).collect();
        let what = difference(&calls, &self.lines()).unwrap_or_else(|| "the same calls, another outcome".to_owned());
        Err(format!("the execution with seed {:#x} does not repeat: {what}", case.seed.0))
    }

    /// The calls of the last execution, one a line.
    pub fn lines(&self) -> Vec<String> {
        self.calls().iter().map(line).collect()
    }

    /// The calls of the last execution, if they were traced.
    pub fn calls(&self) -> Vec<trace::Entry> {
        trace::read(&self.stand.shared_state)
    }

    /// Replaces what the execution before has left unusable.
    fn renew(&mut self) -> Result<(), String> {
        if self.is_spent {
            let stand = Stand::new(&self.engine, Arc::clone(&self.stand.shared_state))?;
            std::mem::replace(&mut self.stand, stand).abandon();
            self.is_spent = false;
        }
        Ok(())
    }

    /// Executes a case under the policy that is in place.
    fn perform(&mut self, case: &Case, schedule: Seed, log: Option<&Log>) -> Result<Outcome, String> {
        if case.actors.iter().any(|plan| plan.shared) && !std::mem::replace(&mut self.has_mutexes, true) {
            let installed = self.engine.install_scheduled_mutexes();
            installed.map_err(|error| format!("SQLite does not take the scheduler's mutexes: {error}"))?;
        }
        let image = self.image(case)?;
        let stand = &mut self.stand;
        stand.machine.borrow_mut().reset(case.seed.stream("machine"));
        stand.machine.borrow_mut().write_file(DATABASE, &image);
        stand.begin(&case.faults, case.seed)?;
        let armed = if case.faults.is_empty() { Mode::NUMBER } else { Mode::ARMED.and(Mode::VIRTUAL) };
        let traced = self.traced || log.is_some();
        stand.shared_state.set_mode(if traced { armed.and(Mode::TRACE).and(Mode::DIGEST) } else { armed });
        self.engine.reset_randomness();
        let processes = case.actors.iter().map(|plan| usize::from(plan.actor.process)).max().unwrap_or(0);
        let stage = Rc::new(Stage {
            engine: self.engine.clone(),
            vfs: stand.shim.name().to_owned(),
            machine: Rc::clone(&stand.machine),
            shared_state: Arc::clone(&stand.shared_state),
            notebook: RefCell::new(Notebook::default()),
            case: case.clone(),
            processes: (0..=processes).map(|_| Process::default()).collect(),
            log: log.cloned(),
        });
        let actors = case.actors.iter().enumerate().map(|(position, plan)| {
            let stage = Rc::clone(&stage);
            let task: Task = Box::new(move || actor::play(&stage, position));
            (plan.actor, task)
        });
        let execution = stand.scheduler.run(schedule, CALLS_MAX, actors.collect());
        stand.shared_state.set_mode(Mode::OFF);
        stand.machine.resume(judge::NOBODY.process);
        let digest = traced.then(|| trace::digest(&stand.shared_state));
        let mut notebook = stage.notebook.take();
        let fired = |rule: usize| stand.shared_state.rule(rule).fired();
        let faults_fired = (0..case.faults.len()).map(fired).sum();
        let misled = |(rule, fault): (usize, &Rule)| fired(rule) > 0 && fault.effect.misleads(fault.select.method);
        if case.faults.iter().enumerate().any(misled) {
            notebook.alarms.clear();
        }
        self.is_spent = !execution.deadlocked.is_empty();
        let (acked, statements) = (notebook.ledger.counts().0, notebook.statements);
        let findings = judge::judge(&self.engine, stand.sim.name(), case, &execution, notebook);
        Ok(Outcome { execution, findings, acked, statements, faults_fired, digest })
    }

    /// The file that an execution of this case begins with: the scenario's tables in a database of the case's layout.
    fn image(&mut self, case: &Case) -> Result<Rc<[u8]>, String> {
        let scenario = find(&case.scenario).ok_or_else(|| format!("there is no scenario `{}`", case.scenario))?;
        let is_wal = case.settings.journal == Journal::Wal;
        let key = (scenario.name, case.layout, is_wal);
        if let Some(image) = self.images.get(&key) {
            return Ok(Rc::clone(image));
        }
        let journal = if is_wal { "PRAGMA journal_mode = WAL" } else { "" };
        self.stand.machine.borrow_mut().reset(Seed(0));
        let make = || -> Result<(), seawall_harness::engine::SqlError> {
            let db = self.engine.open(DATABASE, OPEN_READ_WRITE_CREATE | OPEN_NO_MUTEX, Some(self.stand.sim.name()))?;
            db.execute(&case.layout.sql())?;
            db.execute(scenario.sql)?;
            db.execute(journal)?;
            db.close()
        };
        make().map_err(|error| format!("cannot make the database of the scenario: {error}"))?;
        let image = self.stand.machine.borrow().file(DATABASE);
        let image: Rc<[u8]> = image.ok_or("the database of the scenario was not written")?.into();
        self.images.insert(key, Rc::clone(&image));
        Ok(image)
    }
}

impl Schedule {
    /// The policy that it amounts to, with its seed.
    fn policy(&self) -> Result<(Box<dyn Policy>, Seed), String> {
        match self {
            Self::Preemptions(preemptions) => Ok((Box::new(Replay::new(preemptions)), Seed(0))),
            Self::Policy { name, seed } => {
                let policy = policy(name).ok_or_else(|| format!("there is no policy `{name}`"))?;
                Ok((policy, *seed))
            }
        }
    }
}

/// The first call in which two executions differ, in words.
pub fn difference(one: &[String], other: &[String]) -> Option<String> {
    let none = "no further call".to_owned();
    let length = one.len().max(other.len());
    let at = (0..length).find(|at| one.get(*at) != other.get(*at))?;
    let (one, other) = (one.get(at).unwrap_or(&none), other.get(at).unwrap_or(&none));
    Some(format!("the first differing call is `{one}` in one and `{other}` in the other"))
}
