//! What the actors of a simulated run share: the processes and their lives, the faults' moments, the notes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use seawall_harness::actor::Actor;
use seawall_harness::record::{MarkKind, StoryKind};
use seawall_harness::runtime::{self, Processes};
use seawall_harness::shared_state::{Mode, SharedState};

use super::environment::Environment;
use super::{DATABASE, MODE};
use crate::run::history::History;
use crate::run::protocol::StepReport;
use crate::run::shape::Restart;
use crate::run::spec::RunSpec;
use crate::story::{Event, Log, Note};
use crate::strategies::{Env, Host, Strategy};
use crate::workload::Step;
use crate::workload::ops::{self, Outcome, Task};

/// See the module's documentation.
pub(super) struct SimRun {
    pub(super) spec: RunSpec,
    pub(super) place: Rc<Environment>,
    pub(super) shared_state: Arc<SharedState>,
    /// The VFS to open the database with.
    vfs: String,
    /// Where it is written down what happens, if the run is told.
    log: Option<Log>,
    state: RefCell<State>,
}

struct State {
    notes: History,
    processes: BTreeMap<u16, Process>,
    /// What is still to happen to processes, the next one last.
    restarts: Vec<Restart>,
    /// Who has taken a step, in the order in which the steps ended.
    turns: Vec<Actor>,
    /// The steps that actors are in the midst of.
    busy: BTreeMap<Actor, (u32, Step)>,
}

/// A simulated process.
#[derive(Default)]
struct Process {
    /// The strategy of the present life.
    strategy: Option<Rc<dyn Strategy>>,
    /// CrashPattern before and with the present one.
    starts: u32,
    /// Actors that are in the midst of a step.
    inside: u16,
    /// True if it is to end in good order.
    closing: bool,
    /// True while somebody ends this life.
    ending: bool,
}

/// Plays the script of an actor to its end.
pub(super) fn play(run: &SimRun, actor: Actor) {
    let script = &run.spec.scripts[&actor];
    for (index, step) in (0..).zip(script) {
        if !run.spec.omitted.contains(&(actor, index)) {
            runtime::section(index + 1);
            run.take(actor, index, *step, script);
        }
        run.taken(actor);
    }
}

impl SimRun {
    pub(super) fn new(
        spec: RunSpec,
        place: Rc<Environment>,
        shared_state: Arc<SharedState>,
        vfs: &str,
        log: Option<Log>,
    ) -> Self {
        let mut restarts = spec.shape.restarts.clone();
        restarts.reverse();
        let processes = (1..=spec.shape.processes).map(|number| (number, Process::default())).collect();
        let state = State { notes: History::default(), processes, restarts, turns: Vec::new(), busy: BTreeMap::new() };
        let run = Self { spec, place, shared_state, vfs: vfs.to_owned(), log, state: RefCell::new(state) };
        run.apply_due_events();
        run
    }

    pub(super) fn take_notes(&self) -> History {
        std::mem::take(&mut self.state.borrow_mut().notes)
    }

    pub(super) fn turns(&self) -> Vec<Actor> {
        self.state.borrow().turns.clone()
    }

    /// Works on the notes. No SQLite in there.
    pub(super) fn note<T>(&self, write: impl FnOnce(&mut History) -> T) -> T {
        write(&mut self.state.borrow_mut().notes)
    }

    pub(super) fn now_us(&self) -> u64 {
        self.shared_state.run_time_ns() / 1000
    }

    fn mark(&self, process: u16, kind: MarkKind, label: &str) {
        let now_us = self.now_us();
        self.note(|notes| notes.mark(now_us, &format!("p{process}"), kind, label));
    }

    // -- Steps ----------------------------------------------------------------------------

    fn take(&self, actor: Actor, index: u32, step: Step, script: &[Step]) {
        if let Step::Pause { ms } = step {
            self.place.clock.sleep(Duration::from_millis(u64::from(ms)));
        }
        let strategy = self.enter(actor.process);
        let begun_us = self.now_us();
        self.state.borrow_mut().busy.insert(actor, (index, step));
        self.tell(actor, StoryKind::Begin, || step.to_string());
        let outcome = ops::perform(&*strategy, Task { actor, index, step, script });
        drop(strategy);
        self.state.borrow_mut().busy.remove(&actor);
        self.tell_outcome(actor, step, &outcome);
        if self.place.machine.borrow().is_dead(actor.process) {
            // Nobody heard of it any more.
            self.note(|notes| notes.given_up(actor, index, step));
        } else {
            self.report(actor, index, step, begun_us, outcome);
        }
        self.leave(actor.process);
    }

    fn tell(&self, actor: Actor, kind: StoryKind, text: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            let note = Note { at: self.shared_state.calls(), actor: Some(actor), kind, text: text() };
            log.borrow_mut().push(Event::Note(note));
        }
    }

    fn tell_outcome(&self, actor: Actor, step: Step, outcome: &Outcome) {
        let kind = match outcome {
            _ if self.place.machine.borrow().is_dead(actor.process) => return,
            Outcome::Acked(_) => StoryKind::Commit,
            Outcome::Indeterminate(_) | Outcome::Refused(_) => StoryKind::Refused,
            Outcome::Missed | Outcome::Read { .. } | Outcome::Done => StoryKind::End,
        };
        self.tell(actor, kind, || match outcome {
            Outcome::Indeterminate(failure) | Outcome::Refused(failure) => format!("{step}: {}", failure.message),
            _ => step.to_string(),
        });
    }

    /// Writes down how a step or a probe ended.
    pub(super) fn report(&self, actor: Actor, index: u32, step: Step, begun_us: u64, outcome: Outcome) {
        let report = StepReport { thread: actor.thread, index, begun_us, ended_us: self.now_us(), outcome };
        self.note(|notes| notes.step(actor, index, step, &report));
    }

    /// A step of somebody's script is over, or was left out.
    fn taken(&self, actor: Actor) {
        self.state.borrow_mut().turns.push(actor);
        self.apply_due_events();
    }

    /// What is due before the next step: arming, healing, the ends of processes.
    fn apply_due_events(&self) {
        let taken = self.state.borrow().turns.len() as u32;
        while let Some(restart) = self.due(taken) {
            let Restart { process, kill, .. } = restart;
            let alive = self.state.borrow().processes.get(&process).is_some_and(|process| process.strategy.is_some());
            if alive && kill {
                self.place.kill(process);
            } else if alive && let Some(process) = self.state.borrow_mut().processes.get_mut(&process) {
                process.closing = true;
            }
        }
        let shape = &self.spec.shape;
        if taken >= shape.heal_at {
            self.heal();
        } else if taken >= shape.arm_at && !self.shared_state.mode().has(Mode::ARMED) {
            self.shared_state.set_mode(MODE.and(Mode::ARMED));
        }
    }

    fn due(&self, taken: u32) -> Option<Restart> {
        self.state.borrow_mut().restarts.pop_if(|restart| restart.at <= taken)
    }

    pub(super) fn heal(&self) {
        if self.shared_state.mode().has(Mode::ARMED) {
            self.shared_state.set_mode(MODE);
            let now_us = self.now_us();
            self.note(|notes| notes.mark(now_us, "run", MarkKind::Heal, "the faults are switched off"));
        }
    }

    // -- Processes ----------------------------------------------------------------------------

    /// The strategy of the process, in a life that is not about to end.
    pub(super) fn enter(&self, process: u16) -> Rc<dyn Strategy> {
        loop {
            self.end_if_due(process);
            let mut state = self.state.borrow_mut();
            let here = state.processes.entry(process).or_default();
            if here.ending || self.is_doomed(here, process) {
                drop(state);
                // Those who are inside end this life when they leave.
                runtime::block(self.key(process));
                continue;
            }
            here.inside += 1;
            if let Some(strategy) = &here.strategy {
                return Rc::clone(strategy);
            }
            here.starts += 1;
            let starts = here.starts;
            let strategy: Rc<dyn Strategy> = Rc::from((self.spec.strategy.build)(self.env()));
            here.strategy = Some(Rc::clone(&strategy));
            state.notes.starts += 1;
            drop(state);
            self.mark(process, MarkKind::Start, &format!("start number {starts}"));
            let actor = Actor { process, thread: 1 };
            self.tell(actor, StoryKind::Start, || if starts > 1 { "again".to_owned() } else { String::new() });
            return strategy;
        }
    }

    /// The end of a step.
    pub(super) fn leave(&self, process: u16) {
        if let Some(here) = self.state.borrow_mut().processes.get_mut(&process) {
            here.inside -= 1;
        }
        self.end_if_due(process);
    }

    /// Asks a process to end in good order, and ends it if nobody is in the midst of anything.
    pub(super) fn close(&self, process: u16) {
        if let Some(here) = self.state.borrow_mut().processes.get_mut(&process) {
            here.closing = here.strategy.is_some();
        }
        self.end_if_due(process);
    }

    /// After an execution without an end: all processes die as they stand, and nobody hears of what they were doing.
    pub(super) fn kill_all(&self) {
        for process in 1..=self.spec.shape.processes {
            self.place.kill(process);
            self.note(|notes| notes.kills += 1);
        }
        let busy = std::mem::take(&mut self.state.borrow_mut().busy);
        for (actor, (index, step)) in busy {
            self.note(|notes| notes.given_up(actor, index, step));
        }
    }

    fn is_doomed(&self, here: &Process, process: u16) -> bool {
        here.closing || self.place.machine.borrow().is_dead(process)
    }

    /// Ends the life of a process that is dead or to be closed, once nobody is inside.
    fn end_if_due(&self, process: u16) {
        let strategy = {
            let mut state = self.state.borrow_mut();
            let here = state.processes.entry(process).or_default();
            if here.inside > 0 || here.ending || !self.is_doomed(here, process) {
                return;
            }
            here.ending = true;
            here.strategy.take()
        };
        if let Some(strategy) = strategy {
            // What a dead process would still log about it, nobody reads.
            let _ = strategy.close();
        }
        let is_dead = self.place.machine.borrow().is_dead(process);
        let left = self.place.machine.borrow().open_files_of(process);
        if is_dead {
            self.place.machine.borrow_mut().revive(process);
            self.note(|notes| notes.kills += 1);
            self.mark(process, MarkKind::Kill, "killed (SIGKILL)");
            self.tell(Actor { process, thread: 1 }, StoryKind::Kill, String::new);
        } else {
            self.note(|notes| notes.open_files(process, left));
        }
        if let Some(here) = self.state.borrow_mut().processes.get_mut(&process) {
            here.ending = false;
            here.closing = false;
        }
        runtime::wake(self.key(process));
    }

    /// What those wait for who want to enter a process whose life is ending.
    fn key(&self, process: u16) -> usize {
        std::ptr::from_ref(self).addr() + usize::from(process)
    }

    fn env(&self) -> Env {
        Env {
            host: Host::Simulated,
            path: PathBuf::from(DATABASE),
            vfs: self.vfs.clone(),
            clock: self.place.clock.clone(),
            shared_state: Arc::clone(&self.shared_state),
        }
    }
}
