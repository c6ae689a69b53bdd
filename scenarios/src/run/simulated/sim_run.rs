//! What the actors of a simulated run share: the driver, and the processes with their strategies.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use seawall_harness::actor::Actor;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::record::StoryKind;
use seawall_harness::runtime::{self, Processes};
use seawall_harness::shared_state::SharedState;

use super::environment::{Environment, SimHost};
use super::{DATABASE, MODE};
use crate::run::driver::{Driver, Medium};
use crate::run::protocol::StepReport;
use crate::run::spec::{PROBE, PROBE_BASE, RunSpec};
use crate::run::step::{self, Outcome, StepTask};
use crate::story::{Event, Log, Note};
use crate::strategies::{Context, Strategy};
use crate::workload::Step;

/// See the module's documentation.
pub(super) struct SimRun {
    pub(super) driver: Driver,
    place: Rc<Environment>,
    shared_state: Arc<SharedState>,
    /// The VFS to open the database with.
    vfs: String,
    /// Where it is written down what happens, if the run is told.
    log: Option<Log>,
    processes: RefCell<BTreeMap<u16, Process>>,
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
        place: Rc<Environment>,
        shared_state: Arc<SharedState>,
        vfs: &str,
        log: Option<Log>,
    ) -> Self {
        let driver = Driver::new(spec, Arc::clone(&shared_state), place.clock.clone(), MODE);
        let (vfs, processes) = (vfs.to_owned(), RefCell::default());
        let run = Self { driver, place, shared_state, vfs, log, processes };
        run.apply_due_events();
        run
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
            self.place.kill(process);
            self.driver.note(|history| history.kills += 1);
        }
        self.driver.give_up_all();
    }

    // -- Steps ----------------------------------------------------------------------------

    /// Plays the script of an actor to its end.
    pub(super) fn play(&self, actor: Actor) {
        let spec = &self.driver.spec;
        let script = &spec.scripts[&actor];
        for (index, step) in (0..).zip(script) {
            if !spec.omitted.contains(&(actor, index)) {
                runtime::section(index + 1);
                self.take(StepTask { actor, index, step: *step, script });
            }
            self.driver.taken(actor);
            self.apply_due_events();
        }
    }

    fn take(&self, task: StepTask<'_>) {
        let StepTask { actor, index, step, .. } = task;
        if let Step::Pause { ms } = step {
            self.place.clock.sleep(Duration::from_millis(u64::from(ms)));
        }
        let strategy = self.enter(actor.process);
        self.driver.begin(actor, index);
        self.tell(actor, StoryKind::Begin, || step.to_string());
        let report = self.perform(&*strategy, task);
        drop(strategy);
        if self.is_dead(actor.process) {
            // The outcome was not reported.
            self.driver.give_up(actor);
        } else {
            self.tell_outcome(actor, step, &report.outcome);
            self.driver.end(actor, index, &report);
        }
        self.leave(actor.process);
    }

    fn perform(&self, strategy: &dyn Strategy, task: StepTask<'_>) -> StepReport {
        let (begun_us, outcome) = (self.driver.now_us(), step::perform(strategy, task));
        StepReport { thread: task.actor.thread, index: task.index, begun_us, ended_us: self.driver.now_us(), outcome }
    }

    fn tell(&self, actor: Actor, kind: StoryKind, text: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            let note = Note { at: self.shared_state.calls(), actor: Some(actor), kind, text: text() };
            log.borrow_mut().push(Event::Note(note));
        }
    }

    fn tell_outcome(&self, actor: Actor, step: Step, outcome: &Outcome) {
        let kind = match outcome {
            Outcome::Acked(_) => StoryKind::Commit,
            Outcome::Indeterminate(_) | Outcome::Refused(_) => StoryKind::Refused,
            Outcome::Missed | Outcome::Read { .. } | Outcome::Done => StoryKind::End,
        };
        self.tell(actor, kind, || match outcome.failure() {
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
            let strategy: Rc<dyn Strategy> = Rc::from((self.driver.spec.strategy.build)(self.context()));
            here.strategy = Some(Rc::clone(&strategy));
            drop(processes);
            self.driver.started(process, starts);
            let actor = Actor { process, thread: 1 };
            self.tell(actor, StoryKind::Start, || if starts > 1 { "again".to_owned() } else { String::new() });
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
        self.place.machine.borrow().is_dead(process)
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
            let _ = strategy.close();
        }
        let left = self.place.machine.borrow().open_files_of(process);
        if self.is_dead(process) {
            self.place.machine.borrow_mut().revive(process);
            self.driver.killed(process);
            self.tell(Actor { process, thread: 1 }, StoryKind::Kill, String::new);
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

    fn context(&self) -> Context {
        Context {
            host: Arc::new(SimHost),
            path: PathBuf::from(DATABASE),
            vfs: self.vfs.clone(),
            clock: self.place.clock.clone(),
            shared_state: Arc::clone(&self.shared_state),
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
            self.place.kill(process);
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
        let task = StepTask { actor, index: PROBE_BASE + attempt, step: PROBE, script: &[] };
        let strategy = self.enter(actor.process);
        let report = self.perform(&*strategy, task);
        drop(strategy);
        self.leave(actor.process);
        Ok(report)
    }

    fn check(&mut self, process: u16) -> Result<(Check, Vec<String>), Infallible> {
        runtime::set_current_actor(Actor { process, thread: 0 });
        let check = step::check(&*self.enter(process));
        self.leave(process);
        Ok((check, Vec::new()))
    }
}
