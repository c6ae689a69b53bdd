//! A run on real files: worker processes, which take turns or race.

use crate::run::driver::{Driver, Medium, Trouble};
use crate::run::history::History;
use crate::run::outsider;
use crate::run::places;
use crate::run::protocol::{Assignment, Order, Report, StepReport};
use crate::run::rights;
use crate::run::shape::Schedule;
use crate::run::simulated::case::RunCase;
use crate::run::spec::RunSpec;
use rand::RngExt;
use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::outsider::{
    CHILD_LIFE, Files, Intervention, OutsideAction, SystemFiles, change_files, copy_early,
};
use seawall_harness::process::{Event, Life, Worker, was_killed};
use seawall_harness::shared_state::{Mode, SharedState};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// How long all workers may be silent before they count as stuck. Wall clock: longer than any wait that the run's
/// scaled time allows for.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// The signal of a process that reads a mapped file behind its end; the same number on Linux for most processors.
const SIGBUS: i32 = 7;

/// How many seconds of a racing run pass in one second. A busy timeout of 5 s takes 250 ms.
const RACING_SCALE: u32 = 20;

/// The program and the files of a real run.
pub struct Setup<'a> {
    /// The program to start as a worker, with its arguments.
    pub program: &'a [OsString],
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
pub struct RealRun<'a> {
    driver: &'a Driver,
    setup: &'a Setup<'a>,
    /// The next step of each actor.
    next: BTreeMap<Actor, u32>,
    workers: BTreeMap<u16, Worker>,
    /// How often each process has started.
    starts: BTreeMap<u16, u32>,
    events: Sender<Event<Report>>,
    inbox: Receiver<Event<Report>>,
    /// The processes whose actors race through their scripts.
    racing: BTreeSet<u16>,
    /// The process that was asked to end in good order.
    closing: Option<u16>,
}

/// Executes a run, to its end or to the first trouble.
pub fn execute(spec: &RunSpec, setup: &Setup<'_>) -> (History, Result<(), Trouble>) {
    let clock = Clock::new(Arc::clone(&setup.shared_state));
    let is_racing = spec.shape.schedule == Schedule::Racing;
    clock.set_scale(if is_racing { RACING_SCALE } else { 0 });
    let mode = if is_racing { Mode::TRACE } else { Mode::TRACE.and(Mode::DIGEST) };
    setup.shared_state.set_mode(mode);
    let driver = Driver::new(spec.clone(), Arc::clone(&setup.shared_state), clock, mode);
    let mut run = RealRun::new(&driver, setup);
    let result = run.play();
    if result.is_err() {
        driver.give_up_all();
    }
    // After trouble some workers are still alive. They are killed here.
    drop(run);
    (driver.take_history(), result)
}

impl<'a> RealRun<'a> {
    fn new(driver: &'a Driver, setup: &'a Setup<'a>) -> Self {
        let (events, inbox) = mpsc::channel();
        Self {
            driver,
            setup,
            next: driver.spec.shape.actors().map(|actor| (actor, 0)).collect(),
            workers: BTreeMap::new(),
            starts: BTreeMap::new(),
            events,
            inbox,
            racing: BTreeSet::new(),
            closing: None,
        }
    }

    fn play(&mut self) -> Result<(), Trouble> {
        match self.driver.spec.shape.schedule {
            Schedule::Racing => self.play_racing()?,
            Schedule::Sequential | Schedule::Simulated => self.play_sequential()?,
        }
        self.driver.finish(self)
    }

    // -- Turns ----------------------------------------------------------------------------

    fn play_sequential(&mut self) -> Result<(), Trouble> {
        let driver = self.driver;
        let mut rng = driver.spec.token.seed.stream("schedule").rng();
        let mut turns = driver.spec.turns.iter();
        loop {
            let ready: Vec<Actor> = self.unfinished().collect();
            if ready.is_empty() {
                return Ok(());
            }
            let settled = turns.next().filter(|actor| ready.contains(actor));
            let actor = settled.copied().unwrap_or_else(|| ready[rng.random_range(0..ready.len())]);
            driver.apply_due_events(self)?;
            let index = self.next[&actor];
            if driver.spec.omitted.contains(&(actor, index)) {
                self.step_taken(actor, index);
                continue;
            }
            self.start(actor.process)?;
            driver.begin(actor, index);
            self.order(actor.process, &Order::Turn { thread: actor.thread, index })?;
            while driver.is_busy(actor) {
                self.hear_news()?;
            }
        }
    }

    fn play_racing(&mut self) -> Result<(), Trouble> {
        let driver = self.driver;
        loop {
            if driver.is_time_over() {
                return driver.spec.shape.process_numbers().try_for_each(|process| self.stop(process));
            }
            driver.apply_due_events(self)?;
            let unfinished: BTreeSet<u16> = self.unfinished().map(|actor| actor.process).collect();
            if unfinished.is_empty() {
                return Ok(());
            }
            for process in unfinished {
                if !self.racing.contains(&process) {
                    self.start(process)?;
                    self.order(process, &Order::Run)?;
                    self.racing.insert(process);
                    for actor in self.unfinished().filter(|actor| actor.process == process) {
                        driver.begin(actor, self.next[&actor]);
                    }
                }
            }
            self.hear_news()?;
        }
    }

    fn unfinished(&self) -> impl Iterator<Item = Actor> + '_ {
        let steps = self.driver.spec.shape.steps;
        self.next.iter().filter(move |(_, next)| **next < steps).map(|(actor, _)| *actor)
    }

    /// A step is over: it has ended, was given up or is left out.
    fn step_taken(&mut self, actor: Actor, index: u32) {
        self.next.insert(actor, index + 1);
        self.driver.step_taken(actor);
        self.driver.watch_log(self);
        if self.racing.contains(&actor.process) && index + 1 < self.driver.spec.shape.steps {
            self.driver.begin(actor, index + 1);
        }
    }

    /// A process has ended. If it was killed, the outcome of the steps that its actors were taking is unknown.
    fn ended(&mut self, process: u16) -> Result<(), Trouble> {
        let Some(mut worker) = self.workers.remove(&process) else { return Ok(()) };
        let status = worker.wait()?;
        self.racing.remove(&process);
        if self.closing == Some(process) && status.success() {
            self.driver.process_ended(process);
            return Ok(());
        }
        // Without its locks, a process may find its wal-index cut off under it, and dies by SIGBUS.
        let is_cut_off = self.driver.spec.faults.disturbs_files() && status.signal() == Some(SIGBUS);
        if !was_killed(status) && !is_cut_off {
            return Err(Trouble::HarnessBroken(format!("worker p{process} ended with {status}")));
        }
        self.driver.killed(process);
        for actor in self.driver.spec.shape.actors().filter(|actor| actor.process == process) {
            if let Some(index) = self.driver.give_up(actor) {
                self.step_taken(actor, index);
            }
        }
        Ok(())
    }

    // -- Messages ----------------------------------------------------------------------------

    fn order(&mut self, process: u16, order: &Order) -> Result<(), Trouble> {
        match self.workers.get_mut(&process) {
            Some(worker) => Ok(worker.order(order)?),
            None => Err(Trouble::HarnessBroken(format!("worker p{process} is not running"))),
        }
    }

    /// Takes in the next event. Steps and the ends of processes are dealt with here.
    fn hear(&mut self) -> Result<Heard, Trouble> {
        let event = self.inbox.recv_timeout(SILENCE_MAX);
        let stuck = |_| Trouble::Stuck(format!("no worker answered for {} s", SILENCE_MAX.as_secs()));
        match event.map_err(stuck)? {
            Event::Report(life, Report::Step(report)) => {
                let actor = Actor { process: life.process, thread: report.thread };
                self.driver.end(actor, report.index, &report);
                self.step_taken(actor, report.index);
                Ok(Heard::News)
            }
            Event::Report(_, Report::Broken(message)) => Err(Trouble::HarnessBroken(message)),
            Event::Report(life, report) => Ok(Heard::Report(life, report)),
            Event::Garbage(_, line) => Err(Trouble::HarnessBroken(format!("a worker wrote {line}"))),
            Event::Ended(life) => {
                self.ended(life.process)?;
                Ok(Heard::End(life))
            }
        }
    }

    /// Takes in the next event while no worker has an order to answer.
    fn hear_news(&mut self) -> Result<(), Trouble> {
        match self.hear()? {
            Heard::Report(_, report) => Err(out_of_turn(&report)),
            Heard::News | Heard::End(_) => Ok(()),
        }
    }

    /// The next report of this process that is no step; `None` if the process ends first.
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

    /// The answer of a process to an order; `when` says when the process must not end.
    fn await_answer(&mut self, process: u16, when: &str) -> Result<Report, Trouble> {
        let report = self.await_report(process)?;
        report.ok_or_else(|| Trouble::HarnessBroken(format!("worker p{process} ended {when}")))
    }
}

impl Medium for RealRun<'_> {
    type Error = Trouble;

    fn start(&mut self, process: u16) -> Result<(), Trouble> {
        if self.workers.contains_key(&process) {
            return Ok(());
        }
        let starts = self.starts.entry(process).or_default();
        let life = Life { process, number: *starts };
        *starts += 1;
        let program = self.setup.program;
        let mut command = if self.driver.spec.faults.takes_rights() {
            rights::bound(program)
        } else {
            let mut command = Command::new(&program[0]);
            command.args(&program[1..]);
            command
        };
        let mut worker = Worker::spawn(&mut command, life, self.events.clone())?;
        let next = self.next.iter().filter(|(actor, _)| actor.process == process).map(|(_, next)| *next).collect();
        worker.order(&Assignment {
            token: self.driver.spec.token.to_string(),
            case: self.setup.case.cloned(),
            process,
            starts: life.number,
            database: self.setup.database.to_owned(),
            shared_state: self.setup.shared_state_path.to_owned(),
            next,
        })?;
        self.workers.insert(process, worker);
        self.driver.started(process, life.number + 1);
        match self.await_answer(process, "before it began")? {
            Report::Ready => Ok(()),
            other => Err(out_of_turn(&other)),
        }
    }

    fn kill(&mut self, process: u16) -> Result<(), Trouble> {
        let Some(worker) = self.workers.get_mut(&process) else { return Ok(()) };
        worker.kill()?;
        self.await_report(process)?.map_or(Ok(()), |report| Err(out_of_turn(&report)))
    }

    /// The process ends now: it finishes the steps in progress and closes the strategy.
    fn stop(&mut self, process: u16) -> Result<(), Trouble> {
        let Some(worker) = self.workers.get_mut(&process) else { return Ok(()) };
        self.closing = Some(process);
        // If the pipe is broken, the process has died before, and the event of its end is on the way.
        let _ = worker.order(&Order::Close);
        while let Some(report) = self.await_report(process)? {
            let Report::Closed { begun_at_call, open_files, announced } = report else {
                return Err(out_of_turn(&report));
            };
            self.driver.note(|history| {
                history.not_open(process, begun_at_call);
                history.open_files(process, open_files);
                history.announced.extend(announced);
            });
        }
        self.closing = None;
        Ok(())
    }

    /// It has ended when [`Self::stop`] returns.
    fn join(&mut self, _process: u16) -> Result<(), Trouble> {
        Ok(())
    }

    fn probe(&mut self, actor: Actor, attempt: u32) -> Result<StepReport, Trouble> {
        self.order(actor.process, &Order::Probe { thread: actor.thread, attempt })?;
        match self.await_answer(actor.process, "during a probe")? {
            Report::Probed(report) => Ok(report),
            other => Err(out_of_turn(&other)),
        }
    }

    fn copy_early(&mut self) {
        let database = self.setup.database.to_string_lossy();
        outsider::back_up(&database, None);
        copy_early(&database, &mut SystemFiles);
    }

    fn log_bytes(&self) -> u64 {
        let log = format!("{}-wal", self.setup.database.to_string_lossy());
        fs::metadata(log).map_or(0, |log| log.len())
    }

    fn intervene(&mut self, action: OutsideAction, dice: u64) {
        let database = self.setup.database.to_string_lossy().into_owned();
        change_files(&Intervention { action, database, process: 0, dice }, &mut SystemFiles);
    }

    fn end_interventions(&mut self) {
        let mut rules = self.driver.spec.faults.rules.iter();
        if rules.any(|rule| rule.effect.outside_action() == Some(OutsideAction::Fork)) {
            // Their life is measured by the machine's clock, and what they inherited stays locked meanwhile.
            thread::sleep(CHILD_LIFE + CHILD_LIFE / 4);
        }
        SystemFiles.restore_rights(&self.setup.database.to_string_lossy());
    }

    fn check(&mut self, process: u16) -> Result<(Check, Vec<String>), Trouble> {
        self.order(process, &Order::Check)?;
        match self.await_answer(process, "during the check")? {
            Report::Checked { check, locks } => Ok((check, locks)),
            other => Err(out_of_turn(&other)),
        }
    }
}

/// What was heard from the workers, after steps and ends have been dealt with.
enum Heard {
    /// A step has ended.
    News,
    /// A process has ended.
    End(Life),
    /// A worker answers an order.
    Report(Life, Report),
}

fn out_of_turn(report: &Report) -> Trouble {
    Trouble::HarnessBroken(format!("a worker reported out of turn: {report:?}"))
}

/// The files of a run, and a folder for copies of them.
pub struct Folder<'a> {
    /// The database.
    pub database: &'a Path,
    /// The folder for copies; it is made and removed again.
    pub copies: &'a Path,
}

impl places::Files for Folder<'_> {
    fn names(&self) -> Vec<String> {
        let entries = self.database.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut names: Vec<String> = paths.map(|path| path.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn with_copy(&self, database: &str, log: Option<(&str, &str)>, look: &mut dyn FnMut(&Path, Option<&str>)) {
        let copy = self.copies.join("copy.db");
        let copied = fs::create_dir_all(self.copies).and_then(|()| fs::copy(database, &copy));
        let copied = copied.and_then(|_| match log {
            Some((suffix, log)) => fs::copy(log, self.copies.join(format!("copy.db{suffix}"))),
            None => Ok(0),
        });
        if copied.is_ok() {
            look(&copy, None);
        }
        let _ = fs::remove_dir_all(self.copies);
    }
}
