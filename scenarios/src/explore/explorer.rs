//! The explorer: executes cases.
//!
//! One [`Explorer`] is one machine on one thread, and executes any number of cases: stacks, file buffers, the
//! registered VFSes and the first databases of the scenarios are kept. Several explorers need several processes: a
//! SQLite library has one random generator, and an execution must not depend on another one.

use super::actor::{self, ExecutionContext, Process};
use super::case::{Case, CaseFile, FORMAT, Journal, Layout, Schedule};
use super::coverage::{Coverage, Observed, Sampler};
use super::history::History;
use super::{DATABASE, ExploreError, Outcome, find, judge};
use seawall_harness::engine::{Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError};
use seawall_harness::fault::{FaultPlan, Rule};
use seawall_harness::rig::Rig;
use seawall_harness::sched::{Policy, Task};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::Mode;
use seawall_harness::story::{Log, difference, lines};
use seawall_harness::trace::Entry;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Calls after which an execution counts as stuck. A long one makes a few thousand.
const CALLS_MAX: u64 = 200_000;

/// Calls that the trace keeps. Enough for every execution that does not get stuck.
const TRACE_CAPACITY: usize = 1 << 14;

/// The scenario and the settings that a first database was made for.
type ImageKey = (&'static str, Layout, bool);

/// See the module's documentation.
pub struct Explorer {
    engine: Engine,
    pub(super) rig: Rig,
    /// The policy of the scheduler, if it can be used again.
    pub(super) policy: Option<String>,
    /// Databases with the tables of a scenario.
    images: BTreeMap<ImageKey, Rc<[u8]>>,
    is_traced: bool,
    /// What was met, if that is asked for.
    sampler: Option<Rc<RefCell<Sampler>>>,
    /// True while an execution is looked at.
    is_observed: bool,
    /// Calls of all executions.
    calls_made: Rc<Cell<u64>>,
    /// True once SQLite's mutexes are the scheduler's, which costs some speed.
    has_mutexes: bool,
}

impl Explorer {
    /// An explorer of this engine. With `is_traced`, every call is kept and outcomes have a digest.
    ///
    /// # Errors
    /// If the VFSes cannot be registered.
    pub fn new(engine: Engine, is_traced: bool) -> Result<Self, ExploreError> {
        let rig = Rig::builder().engine(engine.clone()).label("seawall-explore").default_vfs();
        let rig = rig.calls_max(CALLS_MAX).trace_capacity(TRACE_CAPACITY).build()?;
        let (images, calls_made) = (BTreeMap::new(), Rc::default());
        Ok(Self {
            engine,
            rig,
            policy: None,
            images,
            is_traced,
            sampler: None,
            is_observed: false,
            calls_made,
            has_mutexes: false,
        })
    }

    /// Collects from now on what executions by policies meet.
    pub fn collect_coverage(&mut self) {
        self.sampler = Some(Rc::default());
        self.policy = None;
    }

    /// What was met since then.
    pub fn coverage(&self) -> Coverage {
        self.sampler.as_ref().map(|sampler| sampler.borrow().coverage()).unwrap_or_default()
    }

    /// The number of calls of all executions, which goes on counting.
    pub(super) fn calls_made(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.calls_made)
    }

    /// Executes the case once.
    ///
    /// # Errors
    /// If the case cannot be executed (it names an unknown policy, its rules are refused), or if its first database
    /// cannot be made: then the lab is broken.
    pub fn execute(&mut self, case: &Case) -> Result<Outcome, ExploreError> {
        let Schedule::Policy { name, seed } = &case.schedule else {
            let (policy, seed) = case.schedule.policy()?;
            return self.execute_by(case, policy, seed);
        };
        if self.policy.as_ref() != Some(name) {
            let inner = case.schedule.policy()?.0;
            self.rig.set_policy(match &self.sampler {
                Some(sampler) => Box::new(Observed { inner, sampler: Rc::clone(sampler) }),
                None => inner,
            });
            self.policy = Some(name.clone());
        }
        let Some(sampler) = self.sampler.clone() else { return self.perform(case, *seed, None) };
        self.is_observed = true;
        let outcome = self.perform(case, *seed, None);
        self.is_observed = false;
        if let Ok(outcome) = &outcome {
            sampler.borrow_mut().end(&outcome.execution);
        }
        outcome
    }

    /// Executes the case by another policy than its own.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn execute_by(&mut self, case: &Case, policy: Box<dyn Policy>, seed: Seed) -> Result<Outcome, ExploreError> {
        self.policy = None;
        self.rig.set_policy(policy);
        self.perform(case, seed, None)
    }

    /// Executes the case traced, first by its own schedule and then by the preemptions of that execution. Both must be
    /// the same, call by call.
    ///
    /// # Errors
    /// As [`Self::execute`]; the first differing call if they are not.
    pub fn record(&mut self, case: &Case, token: Option<String>) -> Result<CaseFile, ExploreError> {
        let (outcome, case, calls) = self.verify(case)?;
        let Outcome { findings, digest, .. } = outcome;
        Ok(CaseFile { format: FORMAT, token, findings, digest, case, calls: lines(&calls) })
    }

    /// As [`Self::record`], without a file: the outcome, the case with its preemptions, the calls.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn verify(&mut self, case: &Case) -> Result<(Outcome, Case, Vec<Entry>), ExploreError> {
        let was_traced = std::mem::replace(&mut self.is_traced, true);
        let verified = self.execute_twice(case);
        self.is_traced = was_traced;
        verified
    }

    /// The case under its own schedule, then by the preemptions that this one made.
    fn execute_twice(&mut self, case: &Case) -> Result<(Outcome, Case, Vec<Entry>), ExploreError> {
        let outcome = self.execute(case)?;
        let calls = self.calls();
        let by_preemptions = case.with_preemptions(&outcome.execution.preemptions);
        let again = self.execute(&by_preemptions)?;
        if again == outcome {
            return Ok((outcome, by_preemptions, calls));
        }
        let calls = lines(&calls);
        let what =
            difference(&calls, &lines(&self.calls())).unwrap_or_else(|| "the same calls, another outcome".to_owned());
        Err(ExploreError::Differs { seed: case.seed, what })
    }

    /// The calls of the last execution, if they were traced.
    pub fn calls(&self) -> Vec<Entry> {
        self.rig.calls()
    }

    /// Executes a case by the present policy.
    pub(super) fn perform(&mut self, case: &Case, schedule: Seed, log: Option<&Log>) -> Result<Outcome, ExploreError> {
        if case.actors.iter().any(|plan| plan.shared) && !std::mem::replace(&mut self.has_mutexes, true) {
            let installed = self.engine.install_scheduled_mutexes();
            installed.map_err(|error| ExploreError::sql("SQLite does not take the scheduler's mutexes", &error))?;
        }
        let image = self.image(case)?;
        let simulation = self.rig.begin(case.seed, case.plan()?)?;
        {
            let mut machine = simulation.machine().borrow_mut();
            machine.write_file(DATABASE, &image);
            if machine.disk_state().is_some() {
                // The database was there before the execution, and is on the disk.
                machine.record_disk(false);
            }
        }
        let shared_state = simulation.shared_state();
        let armed = if case.faults.is_empty() { Mode::NUMBER } else { Mode::ARMED.and(Mode::VIRTUAL) };
        let traced = self.is_traced || log.is_some();
        shared_state.set_mode(if traced { armed.and(Mode::TRACE).and(Mode::DIGEST) } else { armed });
        let processes = case.actors.iter().map(|plan| usize::from(plan.actor.process)).max().unwrap_or(0);
        let context = Rc::new(ExecutionContext {
            engine: self.engine.clone(),
            vfs: simulation.vfs().to_owned(),
            machine: Rc::clone(simulation.machine()),
            shared_state: Arc::clone(shared_state),
            history: RefCell::new(History::default()),
            case: case.clone(),
            processes: (0..=processes).map(|_| Process::default()).collect(),
            log: log.cloned(),
        });
        let actors = case.actors.iter().enumerate().map(|(position, plan)| {
            let context = Rc::clone(&context);
            let task: Task = Box::new(move || actor::play(&context, position));
            (plan.actor, task)
        });
        if let Some(sampler) = self.sampler.as_ref().filter(|_| self.is_observed) {
            sampler.borrow_mut().begin(simulation.machine(), case.seed, case.actors.len());
        }
        let execution = self.rig.run(schedule, actors.collect());
        self.calls_made.set(self.calls_made.get() + execution.calls);
        shared_state.set_mode(Mode::OFF);
        let digest = traced.then(|| self.rig.digest());
        let mut history = context.history.take();
        let fired = |rule: usize| shared_state.rule(rule).fired();
        let faults_fired = (0..case.faults.len()).map(fired).sum();
        let misled = |(rule, fault): (usize, &Rule)| fired(rule) > 0 && fault.effect.misleads(fault.select.method);
        if case.faults.iter().enumerate().any(misled) {
            history.alarms.clear();
        }
        let (acked, statements) = (history.ledger.counts().0, history.statements);
        let findings = judge::judge(&self.engine, simulation.machine_vfs(), case, &execution, history);
        Ok(Outcome { execution, findings, acked, statements, faults_fired, digest })
    }

    /// The file that an execution of this case begins with: the tables of the scenario, in the layout of the case.
    pub(super) fn image(&mut self, case: &Case) -> Result<Rc<[u8]>, ExploreError> {
        let unknown = || ExploreError::UnknownScenario(case.scenario.clone());
        let scenario = find(&case.scenario).ok_or_else(unknown)?;
        let is_wal = case.settings.journal == Journal::Wal;
        let key = (scenario.name, case.layout, is_wal);
        if let Some(image) = self.images.get(&key) {
            return Ok(Rc::clone(image));
        }
        let journal = if is_wal { "PRAGMA journal_mode = WAL" } else { "" };
        let simulation = self.rig.begin(Seed(0), FaultPlan::empty())?;
        let make = || -> Result<(), SqlError> {
            let flags = OPEN_READ_WRITE_CREATE | OPEN_NO_MUTEX;
            let db = self.engine.open(DATABASE, flags, Some(simulation.machine_vfs()))?;
            db.execute(&case.layout.sql())?;
            db.execute(scenario.sql)?;
            db.execute(journal)?;
            db.close()
        };
        make().map_err(|error| ExploreError::sql("cannot make the database of the scenario", &error))?;
        let image = simulation.machine().borrow().file(DATABASE);
        let unwritten = || ExploreError::Broken("the database of the scenario was not written".to_owned());
        let image: Rc<[u8]> = image.ok_or_else(unwritten)?.into();
        self.images.insert(key, Rc::clone(&image));
        Ok(image)
    }
}
