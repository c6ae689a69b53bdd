//! The driver of a run: what happens in every run, whatever the medium.
//!
//! - While the scripts run: the driver arms and heals the faults and ends processes at the positions that the shape
//!   gives (steps, or milliseconds if the run has a time). It writes each step that ended or was interrupted to the
//!   history.
//! - After the scripts: the faults heal, each actor probes until it has committed, each process is checked and closed.
//! - After trouble: the outcome of the steps in progress is unknown.
//!
//! A [`Medium`] starts and ends the processes and performs the steps: `RealRun` with worker
//! processes, `SimRun` in the simulator. It also decides which actor goes on.

use crate::run::history::History;
use crate::run::protocol::StepReport;
use crate::run::shape::Restart;
use crate::run::spec::{PROBE, PROBE_BASE, RunSpec};
use crate::strategies::Failure;
use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::oracle::Intervened;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::oracle::ledger::Ledger;
use seawall_harness::oracle::progress::{ATTEMPTS_MAX, ActorProgress, PAUSE_MS};
use seawall_harness::oracle::table::TxnKey;
use seawall_harness::outsider::OutsideAction;
use seawall_harness::record::MarkKind;
use seawall_harness::shared_state::{Mode, SharedState};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a run did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The lab is broken: the run says nothing about the strategy.
    #[error("{0}")]
    HarnessBroken(String),
    /// The strategy does not go on. That is a finding.
    #[error("{0}")]
    Stuck(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::HarnessBroken(error.to_string())
    }
}

/// The processes of a run. All errors mean that the run cannot go on.
pub trait Medium {
    /// Why the run cannot go on.
    type Error;

    /// Starts a process, unless it is running or starts by itself with its next step.
    ///
    /// # Errors
    /// See [`Medium`].
    fn start(&mut self, process: u16) -> Result<(), Self::Error>;

    /// Kills a process, if it is running.
    ///
    /// # Errors
    /// See [`Medium`].
    fn kill(&mut self, process: u16) -> Result<(), Self::Error>;

    /// Has a process end in good order, if it is running: now, or when its steps in progress have ended.
    ///
    /// # Errors
    /// See [`Medium`].
    fn stop(&mut self, process: u16) -> Result<(), Self::Error>;

    /// Waits for the end of a process that was stopped.
    ///
    /// # Errors
    /// See [`Medium`].
    fn join(&mut self, process: u16) -> Result<(), Self::Error>;

    /// Has an actor perform [`PROBE`] as the step `PROBE_BASE + attempt`.
    ///
    /// # Errors
    /// See [`Medium`].
    fn probe(&mut self, actor: Actor, attempt: u32) -> Result<StepReport, Self::Error>;

    /// Keeps a backup and raw copies of the database, for outsiders.
    fn copy_early(&mut self);

    /// The size of the log of the database.
    fn log_bytes(&self) -> u64;

    /// An outsider acts while no process is alive.
    fn intervene(&mut self, action: OutsideAction, dice: u64);

    /// What outsiders keep up ends: rights come back, and children of a fork are gone.
    fn end_interventions(&mut self);

    /// Checks the database through the strategy of a process, and lists the locks that the idle process holds.
    ///
    /// # Errors
    /// See [`Medium`].
    fn check(&mut self, process: u16) -> Result<(Check, Vec<String>), Self::Error>;
}

/// See the module's documentation.
pub struct Driver {
    /// The run.
    pub spec: RunSpec,
    shared_state: Arc<SharedState>,
    clock: Clock,
    /// What the shim does while no fault is armed.
    mode: Mode,
    progress: RefCell<Progress>,
}

/// How far a run has come.
struct Progress {
    history: History,
    /// The ends of processes that are still to come, the next one last.
    restarts: Vec<Restart>,
    /// The actors of the steps taken, in the order in which the steps ended.
    turns: Vec<Actor>,
    /// The numbers of the steps in progress.
    busy: BTreeMap<Actor, u32>,
}

impl Driver {
    /// A driver for a run, in which the shim does `mode` while no fault is armed.
    pub fn new(spec: RunSpec, shared_state: Arc<SharedState>, clock: Clock, mode: Mode) -> Self {
        let mut restarts = spec.shape.restarts.clone();
        restarts.reverse();
        let progress = Progress { history: History::default(), restarts, turns: Vec::new(), busy: BTreeMap::new() };
        Self { spec, shared_state, clock, mode, progress: RefCell::new(progress) }
    }

    // -- History ----------------------------------------------------------------------------

    /// Writes to the history. Nothing in `write` may call SQLite or the driver.
    pub fn note<T>(&self, write: impl FnOnce(&mut History) -> T) -> T {
        write(&mut self.progress.borrow_mut().history)
    }

    /// The history, which is empty from then on.
    pub fn take_history(&self) -> History {
        self.note(std::mem::take)
    }

    /// The time for the history, in microseconds since the run's beginning.
    pub fn now_us(&self) -> u64 {
        let now_ns =
            if self.spec.is_simulated() { self.shared_state.run_time_ns() } else { self.shared_state.elapsed_ns() };
        now_ns / 1000
    }

    fn mark(&self, actor: &str, kind: MarkKind, label: &str) {
        let now_us = self.now_us();
        self.note(|history| history.mark(now_us, actor, kind, label));
    }

    /// A process has started for the `nth` time, from 1.
    pub fn started(&self, process: u16, nth: u32) {
        self.note(|history| history.starts += 1);
        self.mark(&format!("p{process}"), MarkKind::Start, &format!("start number {nth}"));
    }

    /// A process was killed.
    pub fn killed(&self, process: u16) {
        let at_call = self.shared_state.calls();
        self.note(|history| {
            history.kills += 1;
            history.deaths.push(at_call);
            history.not_open(process, at_call);
        });
        self.mark(&format!("p{process}"), MarkKind::Kill, "killed (SIGKILL)");
    }

    // -- Steps ----------------------------------------------------------------------------

    /// An actor begins a step.
    pub fn begin(&self, actor: Actor, index: u32) {
        self.progress.borrow_mut().busy.insert(actor, index);
    }

    /// True if the actor has begun a step that has not ended.
    pub fn is_busy(&self, actor: Actor) -> bool {
        self.progress.borrow().busy.contains_key(&actor)
    }

    /// A step has ended, and its outcome is known.
    pub fn end(&self, actor: Actor, index: u32, report: &StepReport) {
        let progress = &mut *self.progress.borrow_mut();
        progress.busy.remove(&actor);
        progress.history.step(actor, index, self.spec.scripts[&actor][index as usize], report);
    }

    /// The process of an actor died before the actor's step ended. Returns the number of that step, if there was one.
    pub fn give_up(&self, actor: Actor) -> Option<u32> {
        let progress = &mut *self.progress.borrow_mut();
        let index = progress.busy.remove(&actor)?;
        progress.history.given_up(actor, index, self.spec.scripts[&actor][index as usize]);
        Some(index)
    }

    /// The actors of a process are between two steps: it has ended in good order.
    pub fn process_ended(&self, process: u16) {
        self.progress.borrow_mut().busy.retain(|actor, _| actor.process != process);
    }

    /// The ledger if all processes died now: the outcome of the steps in progress would be unknown.
    pub fn ledger_now(&self) -> Ledger {
        let progress = self.progress.borrow();
        let mut ledger = progress.history.ledger.clone();
        for (actor, index) in &progress.busy {
            if let Some((txn, state)) = self.spec.scripts[actor][*index as usize].intent(*index) {
                ledger.indeterminate(TxnKey { actor: *actor, txn }, state);
            }
        }
        ledger
    }

    /// After trouble: the outcome of the steps in progress is unknown.
    pub fn give_up_all(&self) {
        for actor in self.spec.shape.actors() {
            self.give_up(actor);
        }
    }

    /// A step counts as taken: it has ended, was given up or is left out.
    pub fn step_taken(&self, actor: Actor) {
        self.progress.borrow_mut().turns.push(actor);
    }

    /// After a step: how far the log has grown, in a run whose log has a limit.
    pub fn watch_log<M: Medium>(&self, medium: &M) {
        if self.spec.checkpoint_pages().is_none() {
            return;
        }
        let bytes = medium.log_bytes();
        self.note(|history| history.log_bytes_max = history.log_bytes_max.max(bytes));
    }

    /// The actors of the steps taken, in the order in which the steps ended.
    pub fn turns(&self) -> Vec<Actor> {
        self.progress.borrow().turns.clone()
    }

    // -- Due events ----------------------------------------------------------------------------

    /// Applies what is due before the next step: the ends of processes, arming, healing.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn apply_due_events<M: Medium>(&self, medium: &mut M) -> Result<(), M::Error> {
        if let Some((action, dice)) = self.shared_state.take_intervention() {
            for process in self.spec.shape.process_numbers() {
                medium.kill(process)?;
            }
            medium.intervene(action, dice);
            // Up to now, living processes have acknowledged rows.
            let at_call = self.shared_state.calls();
            self.note(|history| history.intervened_late(Intervened { at_call, action }));
        }
        while let Some(Restart { process, kill, .. }) = self.due_restart() {
            if kill { medium.kill(process)? } else { medium.stop(process)? }
        }
        let (position, shape) = (self.position(), &self.spec.shape);
        if position >= shape.heal_at {
            self.heal(medium);
        } else if position >= shape.arm_at && !self.shared_state.mode().has(Mode::ARMED) {
            if self.spec.faults.has_outsiders() {
                medium.copy_early();
            }
            self.shared_state.set_mode(self.mode.and(Mode::ARMED));
        }
        Ok(())
    }

    fn due_restart(&self) -> Option<Restart> {
        let position = self.position();
        self.progress.borrow_mut().restarts.pop_if(|restart| restart.at <= position)
    }

    /// How far the run has come, in the unit in which its shape counts.
    fn position(&self) -> u32 {
        match self.spec.shape.time {
            Some(_) => self.elapsed_ms(),
            None => self.progress.borrow().turns.len() as u32,
        }
    }

    /// True if the run's time is over, if it has one.
    pub fn is_time_over(&self) -> bool {
        self.spec.shape.time.is_some_and(|time| self.elapsed_ms() >= time.as_millis() as u32)
    }

    fn elapsed_ms(&self) -> u32 {
        u32::try_from(self.shared_state.elapsed_ns() / 1_000_000).unwrap_or(u32::MAX)
    }

    fn heal<M: Medium>(&self, medium: &mut M) {
        if self.shared_state.mode().has(Mode::ARMED) {
            if self.spec.faults.has_outsiders() {
                medium.end_interventions();
            }
            self.shared_state.set_mode(self.mode);
            self.mark("run", MarkKind::Heal, "the faults are switched off");
        }
    }

    // -- After the scripts ----------------------------------------------------------------------------

    /// What follows the scripts: healing, probes, checks, closing.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn finish<M: Medium>(&self, medium: &mut M) -> Result<(), M::Error> {
        self.heal(medium);
        for process in self.spec.shape.process_numbers() {
            medium.start(process)?;
        }
        self.probe_all(medium)?;
        for process in self.spec.shape.process_numbers() {
            let (check, locks) = medium.check(process)?;
            self.note(|history| history.checked(process, check, locks));
        }
        for process in self.spec.shape.process_numbers() {
            medium.stop(process)?;
            medium.join(process)?;
        }
        Ok(())
    }

    /// One actor after the other tries until it commits. Where files were disturbed they take turns at each attempt,
    /// since one process may have to wait for another one to let go of the files.
    fn probe_all<M: Medium>(&self, medium: &mut M) -> Result<(), M::Error> {
        let first = if self.spec.faults.disturbs_files() { 1 } else { ATTEMPTS_MAX };
        let mut all: Vec<ActorProgress> = self.spec.shape.actors().map(not_tried).collect();
        for attempts_max in first..=ATTEMPTS_MAX {
            for progress in &mut all {
                let actor = progress.actor;
                probe_further(progress, &self.clock, attempts_max, |attempt| {
                    let report = medium.probe(actor, attempt)?;
                    self.note(|history| history.step(actor, PROBE_BASE + attempt, PROBE, &report));
                    Ok(report.outcome.failure().cloned())
                })?;
            }
        }
        self.note(|history| history.progress.extend(all));
        Ok(())
    }
}

/// Has an actor try to commit until it succeeds, at most `attempts_max` times, with a pause before each attempt that is
/// longer than every cooldown. An attempt, by its number from 1, returns its error.
///
/// # Errors
/// The first error of the medium.
pub fn probe<E>(
    actor: Actor,
    clock: &Clock,
    attempts_max: u32,
    attempt: impl FnMut(u32) -> Result<Option<Failure>, E>,
) -> Result<ActorProgress, E> {
    let mut progress = not_tried(actor);
    probe_further(&mut progress, clock, attempts_max, attempt)?;
    Ok(progress)
}

fn not_tried(actor: Actor) -> ActorProgress {
    ActorProgress { actor, committed: false, attempts: 0, error: None, is_refused: false }
}

/// The same, after the attempts that were made before.
fn probe_further<E>(
    progress: &mut ActorProgress,
    clock: &Clock,
    attempts_max: u32,
    mut attempt: impl FnMut(u32) -> Result<Option<Failure>, E>,
) -> Result<(), E> {
    while !progress.committed && progress.attempts < attempts_max {
        progress.attempts += 1;
        clock.advance(Duration::from_millis(PAUSE_MS));
        let error = attempt(progress.attempts)?;
        progress.committed = error.is_none();
        if let Some(failure) = error {
            (progress.is_refused, progress.error) = (failure.is_refusal, Some(failure.message));
        }
    }
    Ok(())
}
