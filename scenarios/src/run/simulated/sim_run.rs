//! What the actors of a simulated run share: the driver, and the processes with their strategies.

use super::environment::{Environment, SimHost};
use super::{DATABASE, LOG, MODE};
use crate::run::driver::{Driver, Medium};
use crate::run::outsider;
use crate::run::protocol::StepReport;
use crate::run::spec::{PROBE, PROBE_BASE, RunSpec};
use crate::run::step::{self, Outcome, StepTask};
use crate::strategies::{Context, Strategy};
use crate::workload::Step;
use seawall_harness::actor::Actor;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::oracle::ledger::Ledger;
use seawall_harness::outsider::{Files, OUTSIDER, OutsideAction, copy_early};
use seawall_harness::record::StoryKind;
use seawall_harness::rig::Simulation;
use seawall_harness::runtime::{self, Processes};
use seawall_harness::story::{Event, Log, Note};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// See the module's documentation.
pub(super) struct SimRun {
    pub(super) driver: Driver,
    environment: Rc<Environment>,
    simulation: Simulation,
    /// The log of the steps and processes, if there is one.
    log: Option<Log>,
    processes: RefCell<BTreeMap<u16, Process>>,
    /// The ledger at each change of it, by the number of events on the disk before, if it is kept.
    ledgers: Option<RefCell<Vec<(usize, Ledger)>>>,
}

/// A simulated process.
#[derive(Default)]
struct Process {
    /// The strategy, from the start of the process to its end.
    strategy: Option<Rc<dyn Strategy>>,
    /// How often the process has started.
    starts: u32,
    /// How many actors are in the middle of a step.
    inside: u16,
    /// True if it is to end in good order.
    is_closing: bool,
    /// True while an actor ends it.
    is_ending: bool,
}

impl SimRun {
    pub(super) fn new(
        spec: RunSpec,
        environment: Rc<Environment>,
        simulation: Simulation,
        (log, keeps_ledgers): (Option<Log>, bool),
    ) -> Self {
        let (shared_state, clock) = (Arc::clone(simulation.shared_state()), simulation.clock().clone());
        let driver = Driver::new(spec, shared_state, clock, MODE);
        let ledgers = keeps_ledgers.then(RefCell::default);
        let run = Self { driver, environment, simulation, log, processes: RefCell::default(), ledgers };
        run.apply_due_events();
        run
    }

    fn keep_ledger(&self) {
        if let Some(ledgers) = &self.ledgers {
            let events = self.simulation.machine().borrow().recorded_events();
            ledgers.borrow_mut().push((events, self.driver.ledger_now()));
        }
    }

    /// The ledgers that were kept.
    pub(super) fn take_ledgers(&self) -> Vec<(usize, Ledger)> {
        self.ledgers.as_ref().map(RefCell::take).unwrap_or_default()
    }

    fn apply_due_events(&self) {
        let Ok(()) = self.driver.apply_due_events(&mut &*self);
    }

    /// What follows the scripts.
    pub(super) fn finish(&self) {
        let Ok(()) = self.driver.finish(&mut &*self);
    }

    /// After an execution without an end: all processes die in the middle of their steps.
    pub(super) fn kill_all(&self) {
        for process in self.driver.spec.shape.process_numbers() {
            self.environment.kill(process);
            self.driver.note(|history| history.kills += 1);
        }
        self.driver.give_up_all();
    }

    // -- Steps ----------------------------------------------------------------------------

    /// Performs the script of an actor to its end.
    pub(super) fn perform_script(&self, actor: Actor) {
        let spec = &self.driver.spec;
        let script = &spec.scripts[&actor];
        for (index, step) in (0..).zip(script) {
            if !spec.omitted.contains(&(actor, index)) {
                runtime::section(index + 1);
                self.perform_step(StepTask { actor, index, step: *step, script, clock: self.simulation.clock() });
            }
            self.driver.step_taken(actor);
            self.driver.watch_log(&self);
            self.apply_due_events();
        }
    }

    fn perform_step(&self, task: StepTask<'_>) {
        let StepTask { actor, index, step, .. } = task;
        if let Step::Pause { ms } = step {
            self.simulation.clock().sleep(Duration::from_millis(u64::from(ms)));
        }
        let strategy = self.enter(actor.process);
        self.driver.begin(actor, index);
        self.keep_ledger();
        self.log(actor, StoryKind::Begin, || step.to_string());
        let report = self.perform(&*strategy, task);
        drop(strategy);
        if self.is_dead(actor.process) {
            // The outcome was not reported.
            self.driver.give_up(actor);
        } else {
            self.log_outcome(actor, step, &report.outcome);
            self.driver.end(actor, index, &report);
        }
        self.keep_ledger();
        self.leave(actor.process);
    }

    fn perform(&self, strategy: &dyn Strategy, task: StepTask<'_>) -> StepReport {
        let (begun_us, outcome) = (self.driver.now_us(), step::perform(strategy, task));
        let (calls, announced) = (self.simulation.shared_state().calls(), strategy.announcements());
        let StepTask { actor: Actor { thread, .. }, index, .. } = task;
        StepReport { thread, index, begun_us, ended_us: self.driver.now_us(), outcome, calls, announced }
    }

    fn log(&self, actor: Actor, kind: StoryKind, text: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            let note = Note { at: self.simulation.shared_state().calls(), actor: Some(actor), kind, text: text() };
            log.borrow_mut().push(Event::Note(note));
        }
    }

    fn log_outcome(&self, actor: Actor, step: Step, outcome: &Outcome) {
        let kind = match outcome {
            Outcome::Acked(_) => StoryKind::Commit,
            Outcome::Indeterminate(_) | Outcome::Refused(_) => StoryKind::Refused,
            Outcome::Missed | Outcome::Read { .. } | Outcome::Done => StoryKind::End,
        };
        self.log(actor, kind, || match outcome.failure() {
            Some(failure) => format!("{step}: {}", failure.message),
            None => step.to_string(),
        });
    }

    // -- Processes ----------------------------------------------------------------------------

    /// The strategy of the process, which is started if need be. Waits while the process is about to end.
    fn enter(&self, process: u16) -> Rc<dyn Strategy> {
        loop {
            self.end_if_due(process);
            let mut processes = self.processes.borrow_mut();
            let here = processes.entry(process).or_default();
            if here.is_ending || self.is_doomed(here, process) {
                drop(processes);
                // The last actor inside ends the process.
                runtime::block(self.key(process));
                continue;
            }
            here.inside += 1;
            if let Some(strategy) = &here.strategy {
                return Rc::clone(strategy);
            }
            here.starts += 1;
            let starts = here.starts;
            let strategy: Rc<dyn Strategy> =
                Rc::from((self.driver.spec.strategy_of(process).build)(self.context(process)));
            here.strategy = Some(Rc::clone(&strategy));
            drop(processes);
            self.driver.started(process, starts);
            let actor = Actor { process, thread: 1 };
            self.log(actor, StoryKind::Start, || if starts > 1 { "again".to_owned() } else { String::new() });
            return strategy;
        }
    }

    /// The end of a step.
    fn leave(&self, process: u16) {
        if let Some(here) = self.processes.borrow_mut().get_mut(&process) {
            here.inside -= 1;
        }
        self.end_if_due(process);
    }

    fn is_running(&self, process: u16) -> bool {
        self.processes.borrow().get(&process).is_some_and(|here| here.strategy.is_some())
    }

    fn is_dead(&self, process: u16) -> bool {
        self.simulation.machine().borrow().is_dead(process)
    }

    fn is_doomed(&self, here: &Process, process: u16) -> bool {
        here.is_closing || self.is_dead(process)
    }

    /// Ends a process that is dead or to be closed, once no actor is inside.
    fn end_if_due(&self, process: u16) {
        let strategy = {
            let mut processes = self.processes.borrow_mut();
            let here = processes.entry(process).or_default();
            if here.inside > 0 || here.is_ending || !self.is_doomed(here, process) {
                return;
            }
            here.is_ending = true;
            here.strategy.take()
        };
        if let Some(strategy) = strategy {
            // An application would log the error.
            let at_call = self.simulation.shared_state().calls();
            self.driver.note(|history| history.not_open(process, at_call));
            let closed = strategy.close();
            let announced = strategy.announcements().into_iter().chain(closed.err().map(|failure| failure.message));
            let announced: Vec<String> = announced.collect();
            // A process that was killed tells nothing.
            if !self.is_dead(process) {
                self.driver.note(|history| history.announced.extend(announced));
            }
        }
        let left = self.simulation.machine().borrow().open_files_of(process);
        if self.is_dead(process) {
            self.simulation.machine().borrow_mut().revive(process);
            self.driver.killed(process);
            self.log(Actor { process, thread: 1 }, StoryKind::Kill, String::new);
        } else {
            self.driver.note(|history| history.open_files(process, left));
        }
        if let Some(here) = self.processes.borrow_mut().get_mut(&process) {
            (here.is_ending, here.is_closing) = (false, false);
        }
        runtime::wake(self.key(process));
    }

    /// What the actors wait for that want to enter a process which is about to end.
    fn key(&self, process: u16) -> usize {
        std::ptr::from_ref(self).addr() + usize::from(process)
    }

    fn context(&self, process: u16) -> Context {
        let exists = |path: &Path| self.simulation.machine().borrow().exists(&path.to_string_lossy());
        Context {
            host: Arc::new(SimHost),
            path: self.driver.spec.path_of(process, Path::new(DATABASE), exists),
            vfs: self.simulation.vfs().to_owned(),
            clock: self.simulation.clock().clone(),
            shared_state: Arc::clone(self.simulation.shared_state()),
            checkpoint_pages: self.driver.spec.checkpoint_pages(),
        }
    }
}

impl Medium for &SimRun {
    type Error = Infallible;

    /// A process starts with the next step in it.
    fn start(&mut self, _process: u16) -> Result<(), Infallible> {
        Ok(())
    }

    fn kill(&mut self, process: u16) -> Result<(), Infallible> {
        if self.is_running(process) {
            self.environment.kill(process);
        }
        Ok(())
    }

    fn stop(&mut self, process: u16) -> Result<(), Infallible> {
        if self.is_running(process)
            && let Some(here) = self.processes.borrow_mut().get_mut(&process)
        {
            here.is_closing = true;
        }
        Ok(())
    }

    fn join(&mut self, process: u16) -> Result<(), Infallible> {
        runtime::set_current_actor(Actor { process, thread: 0 });
        self.end_if_due(process);
        Ok(())
    }

    fn probe(&mut self, actor: Actor, attempt: u32) -> Result<StepReport, Infallible> {
        runtime::set_current_actor(actor);
        let clock = self.simulation.clock();
        let task = StepTask { actor, index: PROBE_BASE + attempt, step: PROBE, script: &[], clock };
        let strategy = self.enter(actor.process);
        let report = self.perform(&*strategy, task);
        drop(strategy);
        self.leave(actor.process);
        Ok(report)
    }

    fn copy_early(&mut self) {
        let caller = runtime::current_actor();
        self.simulation.enter(OUTSIDER);
        outsider::back_up(DATABASE, Some(self.simulation.machine_vfs()));
        self.simulation.enter(caller);
        copy_early(DATABASE, &mut *self.simulation.machine().borrow_mut());
    }

    fn log_bytes(&self) -> u64 {
        self.simulation.machine().borrow().inode(LOG).map_or(0, |(_, bytes)| bytes)
    }

    /// It has acted at the call already.
    fn intervene(&mut self, _action: OutsideAction, _dice: u64) {}

    fn end_interventions(&mut self) {
        self.simulation.machine().borrow_mut().restore_rights(DATABASE);
    }

    fn check(&mut self, process: u16) -> Result<(Check, Vec<String>), Infallible> {
        runtime::set_current_actor(Actor { process, thread: 0 });
        let check = step::check(&*self.enter(process));
        self.leave(process);
        Ok((check, Vec::new()))
    }
}
