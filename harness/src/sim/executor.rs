//! The executor: one rig, and any number of executions of the same test.

use super::DATABASE;
use super::case::Case;
use super::judge::judge;
use super::narrator::Narrator;
use super::panics::Quiet;
use super::process::live;
use super::processes::WorldProcesses;
use super::schedules::Fair;
use super::statements::Listening;
use super::world::{Settings, World};
use crate::actor::Actor;
use crate::record::Finding;
use crate::rig::Rig;
use crate::sched::{Execution, Policy, Task};
use crate::seed::Seed;
use crate::shared_state::{Mode, SharedState};
use crate::story::{self, Log, Note, Watched};
use crate::trace::Entry;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

/// Calls after which an execution counts as stuck.
const CALLS_MAX: u64 = 200_000;

/// Calls that the trace keeps.
const TRACE_CAPACITY: usize = 1 << 14;

/// The stack of each actor: as much as a thread of `std` has.
const STACK_BYTES: usize = 2 << 20;

/// What the shim does while no fault is armed.
const MODE: Mode = Mode::TRACE.and(Mode::DIGEST).and(Mode::VIRTUAL);

/// See the module's documentation.
pub(super) struct Executor<A, F> {
    rig: Rig<WorldProcesses>,
    test: F,
    settings: Settings,
    values: PhantomData<A>,
}

/// How an execution went.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) finding: Option<Finding>,
    pub(super) execution: Execution,
    /// The checksum over all calls.
    pub(super) digest: String,
    /// Values that were acknowledged.
    pub(super) acked: usize,
}

impl<A: fmt::Debug + 'static, F: Fn(&mut World<A>)> Executor<A, F> {
    /// # Panics
    /// If the VFSes cannot be registered.
    pub(super) fn new(test: F, settings: Settings) -> Self {
        let rig = Rig::builder().label("seawall-sim").seeds_randomness().watches_threads().stack_bytes(STACK_BYTES);
        let rig = rig.calls_max(CALLS_MAX).trace_capacity(TRACE_CAPACITY).mode(MODE).outside_target(DATABASE);
        let rig = rig.processes(|simulation| Rc::new(WorldProcesses::new(simulation))).build();
        let rig = rig.unwrap_or_else(|error| panic!("the simulator cannot be made: {error}"));
        Self { rig, test, settings, values: PhantomData }
    }

    pub(super) fn rig(&self) -> &Rig<WorldProcesses> {
        &self.rig
    }

    /// Executes a case.
    pub(super) fn execute(&mut self, case: &Case) -> Outcome {
        self.execute_by(case, case.policy(), case.seed)
    }

    /// Executes a case by this policy, from this seed.
    pub(super) fn execute_by(&mut self, case: &Case, policy: Box<dyn Policy>, seed: Seed) -> Outcome {
        self.rig.set_policy(Box::new(Fair::new(policy)));
        self.perform(case, seed, None)
    }

    /// Executes a case and tells what happened.
    pub(super) fn tell(&mut self, case: &Case) -> (Outcome, Vec<Note>) {
        let log = Log::default();
        let shared_state: Arc<SharedState> = Arc::clone(self.rig.shared_state());
        self.rig.set_policy(Box::new(Watched::new(Box::new(Fair::new(case.policy())), shared_state, Rc::clone(&log))));
        let outcome = self.perform(case, case.seed, Some(Rc::clone(&log)));
        let calls = self.calls();
        let actors = &outcome.execution.actors;
        let mut notes = story::notes(actors, &log.take(), &calls, &case.faults, None);
        let is_finding = |note: &Note| outcome.finding.as_ref().is_some_and(|finding| finding.detail == note.text);
        if let Some(end) = notes.iter().position(is_finding) {
            // What others did after an actor had failed says nothing.
            notes.truncate(end + 1);
        }
        (outcome, notes)
    }

    /// The calls of the last execution.
    pub(super) fn calls(&self) -> Vec<Entry> {
        self.rig.calls()
    }

    fn perform(&mut self, case: &Case, schedule: Seed, log: Option<Log>) -> Outcome {
        let plan = case.plan().unwrap_or_else(|error| panic!("{error}"));
        let needs_disk = plan.needs_recorded_disk();
        let simulation = self.rig.begin(case.seed, plan).unwrap_or_else(|error| panic!("{error}"));
        simulation.enter(Actor { process: 0, thread: 0 });
        let narrator = Rc::new(Narrator::new(&simulation, log));
        let mut world = World::new(&simulation, &narrator, self.settings, case.seed);
        if self.settings.is_wal {
            world.setup(|db| db.pragma_update(None, "journal_mode", "WAL"));
        }
        (self.test)(&mut world);
        self.rig.processes().begin(world.processes.len() as u16, &narrator);
        if needs_disk {
            // What was set up is on the disk.
            simulation.machine().borrow_mut().record_disk(false);
        }
        let quiet = Quiet::begin();
        let execution = {
            let _listening = Listening::begin(narrator);
            simulation.shared_state().set_mode(MODE);
            if !case.faults.is_empty() {
                simulation.arm();
            }
            self.run(&world, schedule.stream("schedule"))
        };
        simulation.disarm();
        let digest = self.rig.digest();
        let stranger = self.rig.stranger();
        let finding = judge(&world, &execution, &case.faults, stranger);
        drop(quiet);
        if let Some(message) = simulation.machine().borrow().panic_message() {
            panic!("the simulated machine panicked: {message}");
        }
        let acked = world.stage.acked.borrow().len();
        Outcome { finding, execution, digest, acked }
    }

    fn run(&mut self, world: &World<A>, schedule: Seed) -> Execution {
        let actors = (1..).zip(&world.processes).map(|(number, body)| {
            let (stage, body) = (Rc::clone(&world.stage), Rc::clone(body));
            let task: Task = Box::new(move || live(stage, number, &body));
            (Actor { process: number, thread: 1 }, task)
        });
        let actors: Vec<(Actor, Task)> = actors.collect();
        if actors.is_empty() { Execution::default() } else { self.rig.run(schedule, actors) }
    }
}
