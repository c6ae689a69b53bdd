//! The coordinator: starts the workers of a run, gives turns, arms and heals the faults, ends processes, and writes down
//! what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use rand::RngExt;
use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::oracle::progress::{ATTEMPTS_MAX, ActorProgress, PAUSE_MS};
use seawall_harness::process::{Event, Life, Worker, was_killed};
use seawall_harness::record::MarkKind;
use seawall_harness::shared_state::{Mode, SharedState};

use crate::run::history::History;
use crate::run::protocol::{Assignment, Order, Report};
use crate::run::shape::{Restart, Schedule};
use crate::run::simulated::case::RunCase;
use crate::run::spec::{PROBE, PROBE_BASE, RunSpec};
use crate::run::step::Outcome;
use crate::workload::Step;

/// How long a worker may be silent before it counts as stuck. Wall clock: longer than any wait that the run's scaled
/// time allows for.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// How many seconds of a racing run pass in one second. A busy timeout of 5 s takes 250 ms.
const RACING_SCALE: u32 = 20;

/// Why a run came to no proper end.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The lab is broken: nothing can be said about the strategy.
    #[error("{0}")]
    Lab(String),
    /// A worker did not answer. That is news about the strategy.
    #[error("{0}")]
    Stuck(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lab(error.to_string())
    }
}

/// Where a run takes place.
pub struct Stage<'a> {
    /// The program to start as a worker, with its arguments.
    pub program: &'a [std::ffi::OsString],
    /// The database file, in a folder of its own.
    pub database: &'a Path,
    /// The shared state's file, in another folder.
    pub shared_state_path: &'a Path,
    /// The shared state.
    pub shared_state: Arc<SharedState>,
    /// What is left of the run, if it was cut down.
    pub case: Option<&'a RunCase>,
}

/// See the module's documentation.
pub struct Coordinator<'a> {
    spec: &'a RunSpec,
    stage: &'a Stage<'a>,
    clock: Clock,
    /// What the shim does while no fault is armed.
    mode: Mode,
    scripts: BTreeMap<Actor, Vec<Step>>,
    /// The next step of each actor.
    next: BTreeMap<Actor, u32>,
    workers: BTreeMap<u16, Worker>,
    lives: BTreeMap<u16, u32>,
    events: Sender<Event<Report>>,
    inbox: Receiver<Event<Report>>,
    restarts: std::vec::IntoIter<Restart>,
    pending_restart: Option<Restart>,
    /// Steps that have been taken.
    taken: u32,
    /// Whose turn it is, in a sequential run.
    turn: Option<Actor>,
    /// The processes whose actors are racing through their scripts.
    racing: BTreeSet<u16>,
    /// The process that was asked to end in good order.
    closing: Option<u16>,
    notes: History,
}

impl<'a> Coordinator<'a> {
    /// A coordinator for one run.
    pub fn new(spec: &'a RunSpec, stage: &'a Stage<'a>) -> Self {
        let clock = Clock::new(Arc::clone(&stage.shared_state));
        clock.set_scale(if spec.shape.schedule == Schedule::Racing { RACING_SCALE } else { 0 });
        let mode = match spec.shape.schedule {
            Schedule::Racing => Mode::TRACE,
            Schedule::Sequential | Schedule::Simulated => Mode::TRACE.and(Mode::DIGEST),
        };
        stage.shared_state.set_mode(mode);
        let (events, inbox) = mpsc::channel();
        let mut restarts = spec.shape.restarts.clone().into_iter();
        Self {
            spec,
            stage,
            clock,
            mode,
            scripts: spec.scripts.clone(),
            next: spec.shape.actors().map(|actor| (actor, 0)).collect(),
            workers: BTreeMap::new(),
            lives: BTreeMap::new(),
            events,
            inbox,
            pending_restart: restarts.next(),
            restarts,
            taken: 0,
            turn: None,
            racing: BTreeSet::new(),
            closing: None,
            notes: History::default(),
        }
    }

    /// Plays the run to its end.
    pub fn play(mut self) -> (History, Result<(), Trouble>) {
        let result = self.play_all();
        if result.is_err() {
            self.give_up();
        }
        // Whoever is still alive after trouble is killed here.
        self.workers.clear();
        (self.notes, result)
    }

    /// After trouble nobody knows what became of the steps that actors were taking.
    fn give_up(&mut self) {
        let racing = |actor: &Actor| self.racing.contains(&actor.process);
        let in_flight: Vec<Actor> = self.unfinished().filter(racing).chain(self.turn).collect();
        for actor in in_flight {
            let index = self.next[&actor];
            self.notes.given_up(actor, index, self.scripts[&actor][index as usize]);
        }
    }

    fn play_all(&mut self) -> Result<(), Trouble> {
        match self.spec.shape.schedule {
            Schedule::Racing => self.play_racing()?,
            Schedule::Sequential | Schedule::Simulated => self.play_sequential()?,
        }
        self.heal();
        for process in 1..=self.spec.shape.processes {
            self.ensure_alive(process)?;
        }
        for actor in self.spec.shape.actors().collect::<Vec<_>>() {
            self.probe(actor)?;
        }
        for process in 1..=self.spec.shape.processes {
            self.check(process)?;
        }
        for process in 1..=self.spec.shape.processes {
            self.close(process)?;
        }
        Ok(())
    }

    // -- Turns ----------------------------------------------------------------------------

    fn play_sequential(&mut self) -> Result<(), Trouble> {
        let mut rng = self.spec.token.seed.stream("schedule").rng();
        let mut turns = self.spec.turns.iter();
        loop {
            let ready: Vec<Actor> = self.unfinished().collect();
            if ready.is_empty() {
                return Ok(());
            }
            let settled = turns.next().filter(|actor| ready.contains(actor));
            let actor = settled.copied().unwrap_or_else(|| ready[rng.random_range(0..ready.len())]);
            self.apply_due_events()?;
            if self.spec.omitted.contains(&(actor, self.next[&actor])) {
                self.pass_over(actor);
                continue;
            }
            self.ensure_alive(actor.process)?;
            self.turn = Some(actor);
            self.order(actor.process, &Order::Turn { thread: actor.thread, index: self.next[&actor] })?;
            while self.turn.is_some() {
                if let Heard::Report(_, report) = self.hear()? {
                    return Err(out_of_turn(&report));
                }
            }
        }
    }

    fn play_racing(&mut self) -> Result<(), Trouble> {
        loop {
            if self.spec.shape.time.is_some_and(|time| self.elapsed_ms() >= time.as_millis() as u32) {
                return self.stop_racing();
            }
            self.apply_due_events()?;
            let unfinished: BTreeSet<u16> = self.unfinished().map(|actor| actor.process).collect();
            if unfinished.is_empty() {
                return Ok(());
            }
            for process in unfinished {
                if !self.racing.contains(&process) {
                    self.ensure_alive(process)?;
                    self.order(process, &Order::Run)?;
                    self.racing.insert(process);
                }
            }
            if let Heard::Report(_, report) = self.hear()? {
                return Err(out_of_turn(&report));
            }
        }
    }

    /// Ends the processes in good order in the midst of their scripts.
    fn stop_racing(&mut self) -> Result<(), Trouble> {
        for process in 1..=self.spec.shape.processes {
            self.close(process)?;
        }
        Ok(())
    }

    /// A step that is left out counts as taken.
    fn pass_over(&mut self, actor: Actor) {
        self.next.entry(actor).and_modify(|next| *next += 1);
        self.taken += 1;
    }

    fn unfinished(&self) -> impl Iterator<Item = Actor> + '_ {
        self.next.iter().filter(|(_, next)| **next < self.spec.shape.steps).map(|(actor, _)| *actor)
    }

    /// What is due before the next step: arming, healing, the ends of processes.
    fn apply_due_events(&mut self) -> Result<(), Trouble> {
        while let Some(restart) = self.pending_restart.filter(|restart| restart.at <= self.progress()) {
            self.pending_restart = self.restarts.next();
            if restart.kill { self.kill(restart.process)? } else { self.close(restart.process)? }
        }
        let shape = &self.spec.shape;
        if self.progress() >= shape.heal_at {
            self.heal();
        } else if self.progress() >= shape.arm_at {
            self.stage.shared_state.set_mode(self.mode.and(Mode::ARMED));
        }
        Ok(())
    }

    /// How far the run has come, in the unit in which its shape counts.
    fn progress(&self) -> u32 {
        if self.spec.shape.time.is_some() { self.elapsed_ms() } else { self.taken }
    }

    fn elapsed_ms(&self) -> u32 {
        u32::try_from(self.stage.shared_state.elapsed_ns() / 1_000_000).unwrap_or(u32::MAX)
    }

    fn heal(&mut self) {
        if self.stage.shared_state.mode().has(Mode::ARMED) {
            self.stage.shared_state.set_mode(self.mode);
            self.mark("run", MarkKind::Heal, "the faults are switched off");
        }
    }

    // -- Processes ----------------------------------------------------------------------------

    fn ensure_alive(&mut self, process: u16) -> Result<(), Trouble> {
        if self.workers.contains_key(&process) {
            return Ok(());
        }
        let number = *self.lives.entry(process).and_modify(|life| *life += 1).or_insert(0);
        let life = Life { process, number };
        let mut command = Command::new(&self.stage.program[0]);
        command.args(&self.stage.program[1..]);
        let mut worker = Worker::spawn(&mut command, life, self.events.clone())?;
        let next = self.next.iter().filter(|(actor, _)| actor.process == process).map(|(_, next)| *next).collect();
        worker.order(&Assignment {
            token: self.spec.token.to_string(),
            case: self.stage.case.cloned(),
            process,
            life: number,
            database: self.stage.database.to_owned(),
            shared_state: self.stage.shared_state_path.to_owned(),
            next,
        })?;
        self.workers.insert(process, worker);
        self.notes.starts += 1;
        self.mark(&format!("p{process}"), MarkKind::Start, &format!("start number {}", number + 1));
        match self.await_report(process)? {
            Some(Report::Ready) => Ok(()),
            Some(other) => Err(out_of_turn(&other)),
            None => Err(Trouble::Lab(format!("worker p{process} ended before it began"))),
        }
    }

    /// Ends a process as a crash would, between two orders.
    fn kill(&mut self, process: u16) -> Result<(), Trouble> {
        let Some(worker) = self.workers.get_mut(&process) else { return Ok(()) };
        worker.kill()?;
        match self.await_report(process)? {
            None => Ok(()),
            Some(report) => Err(out_of_turn(&report)),
        }
    }

    /// Ends a process in good order: it finishes the steps in progress and closes the strategy.
    fn close(&mut self, process: u16) -> Result<(), Trouble> {
        let Some(worker) = self.workers.get_mut(&process) else { return Ok(()) };
        self.closing = Some(process);
        // Where the pipe is broken the process has died before it could be asked, and its end is on the way.
        let _ = worker.order(&Order::Close);
        loop {
            match self.await_report(process)? {
                None => break,
                Some(Report::Closed { open_files }) => self.notes.open_files(process, open_files),
                Some(report) => return Err(out_of_turn(&report)),
            }
        }
        self.closing = None;
        Ok(())
    }

    /// A process has ended. Nobody knows what became of the steps that its actors were taking.
    fn life_over(&mut self, process: u16) -> Result<(), Trouble> {
        let Some(mut worker) = self.workers.remove(&process) else { return Ok(()) };
        let status = worker.wait()?;
        let raced = self.racing.remove(&process);
        if self.closing == Some(process) && status.success() {
            return Ok(());
        }
        if !was_killed(status) {
            return Err(Trouble::Lab(format!("worker p{process} ended with {status}")));
        }
        self.notes.kills += 1;
        self.mark(&format!("p{process}"), MarkKind::Kill, "killed (SIGKILL)");
        let turn = self.turn.take_if(|actor| actor.process == process);
        let in_flight: Vec<Actor> = if raced {
            self.unfinished().filter(|actor| actor.process == process).collect()
        } else {
            turn.into_iter().collect()
        };
        for actor in in_flight {
            let index = self.next[&actor];
            self.notes.given_up(actor, index, self.scripts[&actor][index as usize]);
            self.next.insert(actor, index + 1);
            self.taken += 1;
        }
        Ok(())
    }

    // -- After the faults ----------------------------------------------------------------------------

    fn probe(&mut self, actor: Actor) -> Result<(), Trouble> {
        let mut progress = ActorProgress { actor, committed: false, attempts: 0, error: None };
        while !progress.committed && progress.attempts < ATTEMPTS_MAX {
            progress.attempts += 1;
            self.clock.advance(Duration::from_millis(PAUSE_MS));
            self.order(actor.process, &Order::Probe { thread: actor.thread, attempt: progress.attempts })?;
            let report = match self.await_report(actor.process)? {
                Some(Report::Probed(report)) => report,
                Some(other) => return Err(out_of_turn(&other)),
                None => return Err(Trouble::Lab(format!("worker p{} ended during a probe", actor.process))),
            };
            self.notes.step(actor, PROBE_BASE + progress.attempts, PROBE, &report);
            match report.outcome {
                Outcome::Acked(_) => progress.committed = true,
                Outcome::Refused(failure) | Outcome::Indeterminate(failure) => progress.error = Some(failure.message),
                Outcome::Missed | Outcome::Read { .. } | Outcome::Done => {}
            }
        }
        self.notes.progress.push(progress);
        Ok(())
    }

    fn check(&mut self, process: u16) -> Result<(), Trouble> {
        self.order(process, &Order::Check)?;
        match self.await_report(process)? {
            Some(Report::Checked { check, locks }) => self.notes.checked(process, check, locks),
            Some(other) => return Err(out_of_turn(&other)),
            None => return Err(Trouble::Lab(format!("worker p{process} ended during the check"))),
        }
        Ok(())
    }

    // -- Messages ----------------------------------------------------------------------------

    fn order(&mut self, process: u16, order: &Order) -> Result<(), Trouble> {
        match self.workers.get_mut(&process) {
            Some(worker) => Ok(worker.order(order)?),
            None => Err(Trouble::Lab(format!("worker p{process} is not running"))),
        }
    }

    /// Takes in the next event. Steps and ends are dealt with here, whoever waits for what.
    fn hear(&mut self) -> Result<Heard, Trouble> {
        let event = self.inbox.recv_timeout(SILENCE_MAX);
        let stuck = |_| Trouble::Stuck(format!("no worker answered for {} s", SILENCE_MAX.as_secs()));
        match event.map_err(stuck)? {
            Event::Report(life, Report::Step(report)) => {
                let actor = Actor { process: life.process, thread: report.thread };
                self.notes.step(actor, report.index, self.scripts[&actor][report.index as usize], &report);
                self.next.insert(actor, report.index + 1);
                self.taken += 1;
                self.turn.take_if(|turn| *turn == actor);
                Ok(Heard::News)
            }
            Event::Report(_, Report::Broken(message)) => Err(Trouble::Lab(message)),
            Event::Report(life, report) => Ok(Heard::Report(life, report)),
            Event::Garbage(_, line) => Err(Trouble::Lab(format!("a worker wrote {line}"))),
            Event::Ended(life) => {
                self.life_over(life.process)?;
                Ok(Heard::End(life))
            }
        }
    }

    /// The next report of this process that is no step; `None` if it ends first.
    fn await_report(&mut self, process: u16) -> Result<Option<Report>, Trouble> {
        loop {
            match self.hear()? {
                Heard::Report(life, report) if life.process == process => return Ok(Some(report)),
                Heard::Report(_, report) => return Err(out_of_turn(&report)),
                Heard::End(life) if life.process == process => return Ok(None),
                Heard::End(_) | Heard::News => {}
            }
        }
    }

    fn mark(&mut self, actor: &str, kind: MarkKind, label: &str) {
        self.notes.mark(self.stage.shared_state.elapsed_ns() / 1000, actor, kind, label);
    }
}

/// What was heard of the workers, after steps and ends have been dealt with.
enum Heard {
    /// A step has ended.
    News,
    /// A process has ended.
    End(Life),
    /// Somebody answers an order.
    Report(Life, Report),
}

fn out_of_turn(report: &Report) -> Trouble {
    Trouble::Lab(format!("a worker reported out of turn: {report:?}"))
}
