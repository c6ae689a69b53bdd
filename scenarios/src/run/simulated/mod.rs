//! A run in the simulator: the same spec, driver, strategies, faults and oracles, with coroutines for threads and
//! numbers for processes. Any VFS call or lock may end a turn.
//!
//! ```text
//! scheduler ─► actors ─► strategy ─► SQLite ─► shim ─► simulated machine
//! ```
//!
//! A [`Simulator`] is one machine on one thread. There is one in a process at a time, because the linked SQLite has one
//! random generator.

pub mod case;
pub(crate) mod environment;
mod os;
pub mod remote;
pub mod shrink;
mod sim_run;

use super::RunError;
use super::driver::Trouble;
use super::judge::{self, FreshLook};
use super::places;
use super::spec::RunSpec;
use case::RunCase;
use environment::Environment;
pub(crate) use os::SimulatedOs;
pub use remote::{Reply, Request};
use seawall_harness::actor::Actor;
use seawall_harness::media::sim::Machine;
use seawall_harness::media::sim::durability::{Device, Recording};
use seawall_harness::oracle::hygiene;
use seawall_harness::oracle::ledger::Ledger;
use seawall_harness::record::{RunRecord, Story};
use seawall_harness::rig::{Rig, Simulation};
use seawall_harness::runtime;
use seawall_harness::sched::rare::Rare;
use seawall_harness::sched::replay::Replay;
use seawall_harness::sched::{Execution, Policy, Preemption, Task};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::Mode;
use seawall_harness::story::{self, Log, Watched};
use seawall_harness::trace::Entry;
use seawall_harness::vfs::RegisterError;
use sim_run::SimRun;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// The folder of the database.
const FOLDER: &str = "/sim";

/// The database of every run.
pub(crate) const DATABASE: &str = "/sim/app.db";

/// Its log.
const LOG: &str = "/sim/app.db-wal";

/// The shim above it.
const SHIM_VFS: &str = "seawall-fault";

/// Calls after which a run counts as stuck. A long one makes some ten thousand.
const CALLS_MAX: u64 = 1_000_000;

/// Calls that the trace keeps: enough for all of them in nearly every run.
const TRACE_CAPACITY: usize = 1 << 15;

/// What the shim does while no fault is armed.
const MODE: Mode = Mode::TRACE.and(Mode::DIGEST).and(Mode::VIRTUAL);

/// See the module's documentation.
pub struct Simulator {
    rig: Rig<Environment>,
}

/// A run that was executed in the simulator.
#[derive(Debug)]
pub struct Simulated {
    /// Its record.
    pub record: RunRecord,
    /// Its calls, if they were asked for.
    pub calls: Vec<Entry>,
    /// Its schedule.
    pub execution: Execution,
    /// The actors of all steps, in the order in which the steps ended.
    pub turns: Vec<Actor>,
}

/// What happened to the disk in a run, and what the callers were told.
#[derive(Debug)]
pub struct RecordedDisk {
    /// What happened to the disk.
    pub disk: Recording,
    /// The ledger at each change of it, by the number of events before: what would be known if the power were cut.
    pub ledgers: Vec<(usize, Ledger)>,
}

impl Simulator {
    /// A simulator; there must be no other one in this process.
    ///
    /// # Errors
    /// If its VFS cannot be registered.
    pub fn new() -> Result<Self, RegisterError> {
        let rig = Rig::builder()
            .label(SHIM_VFS)
            .default_vfs()
            .outside_target(DATABASE)
            .calls_max(CALLS_MAX)
            .trace_capacity(TRACE_CAPACITY);
        let rig = rig.mode(MODE).processes(|simulation| Rc::new(Environment::new(simulation))).build();
        Ok(Self { rig: rig? })
    }

    /// Executes a run, by the policy or by a recorded schedule. Without `calls` the record has no timeline, and no
    /// calls are kept.
    ///
    /// # Errors
    /// If the spec's faults make no plan.
    pub fn run(&mut self, spec: &RunSpec, schedule: Option<&[Preemption]>, calls: bool) -> Result<Simulated, RunError> {
        let policy: Box<dyn Policy> = match schedule {
            None => Box::<Rare>::default(),
            Some(preemptions) => Box::new(Replay::new(preemptions)),
        };
        self.execute(spec, policy, (spec.token.seed.stream("schedule"), calls), None)
    }

    /// Executes a case, and narrates it if there is a finding.
    ///
    /// # Errors
    /// As for [`Self::run`]; also if the case names what does not exist.
    pub fn tell(&mut self, case: &RunCase, token: &str) -> Result<(Simulated, Option<Story>), RunError> {
        let spec = case.spec(false)?;
        let log = Log::default();
        let replay = Box::new(Replay::new(&case.schedule));
        let policy = Box::new(Watched::new(replay, Arc::clone(self.rig.shared_state()), Rc::clone(&log)));
        let seed = spec.token.seed.stream("schedule");
        let simulated = self.execute(&spec, policy, (seed, true), Some(&log))?;
        let actors: Vec<Actor> = spec.shape.actors().collect();
        let finding = simulated.record.findings.first();
        let mut notes = story::notes(&actors, &log.take(), &simulated.calls, &spec.faults.rules, finding);
        story::mark_lost(&mut notes, &simulated.record.timeline);
        let rules: Vec<String> = spec.faults.rules.iter().map(ToString::to_string).collect();
        let subject = format!("{} under {}", spec.strategy.name, rules.join(" "));
        let subject = subject.trim_end_matches(" under ").to_owned();
        let told = finding.map(|finding| story::story(token, subject, finding, &actors, &notes));
        Ok((simulated, told))
    }

    /// Executes a run under another schedule of the policy.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn run_by(&mut self, spec: &RunSpec, seed: Seed) -> Result<Simulated, RunError> {
        self.execute(spec, Box::<Rare>::default(), (seed, false), None)
    }

    /// Executes the scripts of a run, and keeps what happens to the disk of this device.
    ///
    /// # Errors
    /// As for [`Self::run`]; also if the scripts do not end.
    pub fn record_disk(&mut self, spec: &RunSpec, device: Device) -> Result<RecordedDisk, RunError> {
        let plan = spec.plan()?;
        self.rig.set_policy(Box::<Rare>::default());
        let simulation = self.rig.begin(spec.token.seed, plan)?;
        simulation.machine().borrow_mut().set_device(device);
        simulation.machine().borrow_mut().record_disk(true);
        let environment = Rc::clone(self.rig.processes());
        environment.enter(None);
        environment.set_processes(spec.shape.process_numbers());
        let machine = Rc::clone(simulation.machine());
        let run = Rc::new(SimRun::new(spec.clone(), environment, simulation, (None, true)));
        let actors = spec.shape.actors().map(|actor| {
            let run = Rc::clone(&run);
            let task: Task = Box::new(move || run.perform_script(actor));
            (actor, task)
        });
        let execution = self.rig.run(spec.token.seed.stream("schedule"), actors.collect());
        let recording = machine.borrow_mut().take_recording();
        let ledgers = run.take_ledgers();
        let result = self.finish(&run, &execution);
        match (recording, result) {
            (Some(disk), Ok(())) => Ok(RecordedDisk { disk, ledgers }),
            _ => Err(RunError::Usage("the scripts of the run do not end".to_owned())),
        }
    }

    fn execute(
        &mut self,
        spec: &RunSpec,
        policy: Box<dyn Policy>,
        (seed, calls): (Seed, bool),
        log: Option<&Log>,
    ) -> Result<Simulated, RunError> {
        let plan = spec.plan()?;
        self.rig.set_policy(policy);
        let simulation = self.rig.begin(spec.token.seed, plan)?;
        let environment = Rc::clone(self.rig.processes());
        environment.enter(log.cloned());
        environment.set_processes(spec.shape.process_numbers());
        let run = Rc::new(SimRun::new(spec.clone(), environment, simulation, (log.cloned(), false)));
        let actors = spec.shape.actors().map(|actor| {
            let run = Rc::clone(&run);
            let task: Task = Box::new(move || run.perform_script(actor));
            (actor, task)
        });
        let execution = self.rig.run(seed, actors.collect());
        let turns = run.driver.turns();
        let result = self.finish(&run, &execution);
        let calls = if calls { self.rig.calls() } else { Vec::new() };
        // An execution without an end has left side files behind. The trouble is the finding, not they.
        let history = run.driver.take_history();
        let look = if spec.faults.has_outsiders() {
            let folder = Folder { simulation: self.rig.simulation() };
            FreshLook::after_outsiders(&folder, DATABASE, &history, || self.look(result.is_ok()))
        } else {
            self.look(result.is_ok())
        };
        let outcome = (history, result);
        let record = judge::judge(spec, self.rig.shared_state(), outcome, &calls, look);
        drop(run);
        Ok(Simulated { record, calls, execution, turns })
    }

    /// What follows the scripts, if they have ended.
    fn finish(&self, run: &SimRun, execution: &Execution) -> Result<(), Trouble> {
        if let Some(trouble) = trouble(&run.driver.spec, execution) {
            run.kill_all();
            return Err(trouble);
        }
        run.finish();
        match self.rig.simulation().machine().borrow().panic_message() {
            None => Ok(()),
            Some(message) => Err(Trouble::HarnessBroken(format!("the simulated machine panicked: {message}"))),
        }
    }

    fn look(&self, has_ended: bool) -> FreshLook {
        let simulation = self.rig.simulation();
        runtime::set_current_actor(Actor { process: 0, thread: 0 });
        let strays = if has_ended { strays(&simulation.machine().borrow()) } else { Vec::new() };
        FreshLook::at(Path::new(DATABASE), Some(simulation.machine_vfs()), strays)
    }
}

/// What the connection layer needs of the system, on the machine of this simulation: for a store in a world of
/// [`sim::check`](seawall_harness::sim). To be called once for each execution.
pub fn os_of(simulation: &Simulation) -> Arc<dyn seawall_simulated::Os> {
    Rc::new(Environment::new(simulation)).enter(None);
    Arc::new(SimulatedOs)
}

/// The files of the simulated machine.
struct Folder<'a> {
    simulation: &'a Simulation,
}

impl places::Files for Folder<'_> {
    fn names(&self) -> Vec<String> {
        let names = self.simulation.machine().borrow().list().into_iter().map(|(name, _)| name);
        names.filter(|name| name.starts_with(DATABASE)).collect()
    }

    fn with_copy(&self, database: &str, log: Option<(&str, &str)>, look: &mut dyn FnMut(&Path, Option<&str>)) {
        const COPY: &str = "/copies/copy.db";
        self.simulation.enter(Actor { process: 0, thread: 0 });
        let copy = |from: &str, to: &str| {
            let mut machine = self.simulation.machine().borrow_mut();
            let bytes = machine.file(from);
            bytes.is_some_and(|bytes| machine.write_file(to, &bytes))
        };
        let is_copied = copy(database, COPY) && log.is_none_or(|(suffix, log)| copy(log, &format!("{COPY}{suffix}")));
        if is_copied {
            look(Path::new(COPY), Some(self.simulation.machine_vfs()));
        }
        for suffix in ["", "-wal", "-shm", "-journal"] {
            self.simulation.machine().borrow_mut().unlink(&format!("{COPY}{suffix}"));
        }
    }
}

/// The files beside the database that should not be there once it has been closed.
pub(crate) fn strays(machine: &Machine) -> Vec<String> {
    let prefix = format!("{FOLDER}/");
    let files = machine.list().into_iter();
    let files = files.filter_map(|(name, size)| Some((name.strip_prefix(&prefix)?.to_owned(), size)));
    hygiene::strays(DATABASE.strip_prefix(&prefix).unwrap_or(DATABASE), files)
}

/// Why the actors did not reach their ends.
fn trouble(spec: &RunSpec, execution: &Execution) -> Option<Trouble> {
    if execution.halted {
        return Some(Trouble::Stuck(format!("no end after {CALLS_MAX} calls")));
    }
    if !execution.deadlocked.is_empty() {
        let actors: Vec<Actor> = spec.shape.actors().collect();
        let names: Vec<String> = execution.deadlocked.iter().map(|position| actors[*position].to_string()).collect();
        return Some(Trouble::Stuck(format!("{} wait for each other for ever", names.join(" and "))));
    }
    None
}
