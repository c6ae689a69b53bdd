//! The worker: one process of a run. It performs the scripts of its actors and reports the outcome of each step.

use crate::run::outsider;
use crate::run::protocol::{Assignment, Order, Report, StepReport};
use crate::run::rights;
use crate::run::spec::{PROBE, PROBE_BASE, RunSpec};
use crate::run::step::{self, StepTask};
use crate::strategies::{Context, RealHost, Strategy};
use crate::workload::Step;
use parking_lot::Mutex;
use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::runtime;
use seawall_harness::shared_state::SharedState;
use seawall_harness::token::Token;
use seawall_harness::vfs::FaultVfs;
use seawall_harness::vfs::injector::OpenFile;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// Name of the lab's VFS in a worker.
const VFS: &str = "seawall-fault";

/// The entry point of a worker process: orders on standard input, reports on standard output.
pub fn main() -> ExitCode {
    let mut orders = io::stdin().lock().lines().map_while(Result::ok);
    let Some(line) = orders.next() else { return ExitCode::FAILURE };
    let assignment = serde_json::from_str(&line).map_err(Box::from);
    let mut worker = match assignment.and_then(|assignment| Worker::new(&assignment)) {
        Ok(worker) => worker,
        Err(error) => {
            report(&Report::Broken(error.to_string()));
            return ExitCode::FAILURE;
        }
    };
    report(&Report::Ready);
    for line in orders {
        match serde_json::from_str(&line) {
            Ok(Order::Close) => return worker.close(),
            Ok(order) => worker.obey(order),
            Err(error) => report(&Report::Broken(format!("{error}: {line}"))),
        }
    }
    // The lab is gone, so the steps in progress do not matter.
    std::process::exit(1)
}

/// Writes one line to standard output. It is in the pipe when this returns, so the lab gets it even if the worker is
/// killed then.
fn report(report: &Report) {
    static OUT: Mutex<()> = Mutex::new(());
    let Ok(mut line) = serde_json::to_vec(report) else { return };
    line.push(b'\n');
    let _one_line_at_a_time = OUT.lock();
    // If the lab is gone, no report is needed.
    let _ = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
}

struct Worker {
    shared: Arc<Shared>,
    shim: FaultVfs,
    threads: Vec<Thread>,
}

/// What the threads of a worker share.
struct Shared {
    strategy: Box<dyn Strategy>,
    shared_state: Arc<SharedState>,
    clock: Clock,
    stop: AtomicBool,
}

struct Thread {
    tasks: Sender<ThreadTask>,
    handle: JoinHandle<()>,
}

enum ThreadTask {
    Turn(u32),
    Run,
    Probe(u32),
}

impl Worker {
    fn new(assignment: &Assignment) -> Result<Self, Box<dyn Error>> {
        let token: Token = assignment.token.parse()?;
        let mut spec = match &assignment.case {
            Some(case) => case.spec(true)?,
            None => RunSpec::of(&token)?,
        };
        if spec.faults.takes_rights() && !rights::are_binding() {
            // Nothing fires then, and the run says that it measured nothing.
            spec.faults.rules.clear();
        }
        let shared_state = Arc::new(SharedState::open(&assignment.shared_state)?);
        let clock = Clock::new(Arc::clone(&shared_state));
        let start = u64::from(assignment.process) << 32 | u64::from(assignment.starts);
        runtime::set_current_actor(Actor { process: assignment.process, thread: 0 });
        // As the default VFS it also seeds SQLite's own generator, and with it the salts of the log.
        let builder = FaultVfs::builder().name(VFS).default_vfs().plan(spec.plan()?).run_clock();
        let entropy = token.seed.stream("entropy").nth(start);
        let builder = builder.outside_program(outsider::start).outside_target(&assignment.database).coordinated();
        let shim = builder.shared_state(Arc::clone(&shared_state)).entropy(entropy).register()?;
        let context = Context {
            host: Arc::new(RealHost),
            path: spec.path_of(assignment.process, &assignment.database, |path| path.exists()),
            vfs: VFS.to_owned(),
            clock: clock.clone(),
            shared_state: Arc::clone(&shared_state),
            checkpoint_pages: spec.checkpoint_pages(),
        };
        let strategy = (spec.strategy_of(assignment.process).build)(context);
        let shared = Arc::new(Shared { strategy, shared_state, clock, stop: AtomicBool::new(false) });
        let threads = (1..).zip(&assignment.next).map(|(thread, next)| {
            let actor = Actor { process: assignment.process, thread };
            start_thread(Arc::clone(&shared), actor, *next, spec.scripts[&actor].clone())
        });
        Ok(Self { threads: threads.collect(), shared, shim })
    }

    fn obey(&mut self, order: Order) {
        let (threads, task): (Vec<u16>, fn(u32) -> ThreadTask) = match order {
            Order::Turn { thread, .. } => (vec![thread], ThreadTask::Turn),
            Order::Probe { thread, .. } => (vec![thread], ThreadTask::Probe),
            Order::Run => ((1..=self.threads.len() as u16).collect(), |_| ThreadTask::Run),
            Order::Check => {
                let (check, locks) = self.check();
                return report(&Report::Checked { check, locks });
            }
            Order::Close => return,
        };
        let index = match order {
            Order::Turn { index, .. } => index,
            Order::Probe { attempt, .. } => attempt,
            _ => 0,
        };
        for thread in threads {
            let sent = self.threads.get(usize::from(thread) - 1).map(|thread| thread.tasks.send(task(index)));
            if !matches!(sent, Some(Ok(()))) {
                report(&Report::Broken(format!("thread {thread} takes no orders")));
            }
        }
    }

    fn check(&self) -> (Check, Vec<String>) {
        let locks = self.shim.injector().open_files().iter().filter_map(|file| lock_held(file)).collect();
        (step::check(&*self.shared.strategy), locks)
    }

    fn close(self) -> ExitCode {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            drop(thread.tasks);
            if thread.handle.join().is_err() {
                report(&Report::Broken("a thread of the worker panicked".to_owned()));
            }
        }
        let begun_at_call = self.shared.shared_state.calls();
        // An application would log the error.
        let closed = self.shared.strategy.close();
        let mut announced = self.shared.strategy.announcements();
        announced.extend(closed.err().map(|failure| failure.message));
        if let Some(message) = self.shim.injector().panic_message() {
            report(&Report::Broken(format!("a VFS callback panicked: {message}")));
        }
        let open_files = self.shim.injector().open_files().iter().map(|file| describe(file)).collect();
        report(&Report::Closed { begun_at_call, open_files, announced });
        ExitCode::SUCCESS
    }
}

fn describe(file: &OpenFile) -> String {
    let name = std::path::Path::new(&file.name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    format!("{} {name}", file.role)
}

fn lock_held(file: &OpenFile) -> Option<String> {
    let beyond_shared = file.lock_level() > 1 || file.shm_exclusive() != 0;
    beyond_shared
        .then(|| format!("{}: level {}, wal-index {:#x}", describe(file), file.lock_level(), file.shm_exclusive()))
}

fn start_thread(shared: Arc<Shared>, actor: Actor, next: u32, script: Vec<Step>) -> Thread {
    let (tasks, inbox) = mpsc::channel();
    let handle = std::thread::spawn(move || {
        let _broken = ReportPanic;
        runtime::set_current_actor(actor);
        for task in inbox {
            match task {
                ThreadTask::Turn(index) => report(&Report::Step(step(&shared, actor, index, &script))),
                ThreadTask::Probe(attempt) => report(&Report::Probed(probe(&shared, actor, attempt))),
                ThreadTask::Run => {
                    for index in next..script.len() as u32 {
                        if shared.stop.load(Ordering::Relaxed) {
                            return;
                        }
                        report(&Report::Step(step(&shared, actor, index, &script)));
                    }
                }
            }
        }
    });
    Thread { tasks, handle }
}

/// Reports a panic of its thread at once, so that a defect of the lab is not taken for a strategy that hangs.
struct ReportPanic;

impl Drop for ReportPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report(&Report::Broken("a thread of the worker panicked".to_owned()));
        }
    }
}

fn step(shared: &Shared, actor: Actor, index: u32, script: &[Step]) -> StepReport {
    let step = script[index as usize];
    if let Step::Pause { ms } = step {
        shared.clock.sleep(Duration::from_millis(u64::from(ms)));
    }
    perform(shared, StepTask { actor, index, step, script, clock: &shared.clock }, index)
}

fn probe(shared: &Shared, actor: Actor, attempt: u32) -> StepReport {
    let index = PROBE_BASE + attempt;
    perform(shared, StepTask { actor, index, step: PROBE, script: &[], clock: &shared.clock }, attempt)
}

fn perform(shared: &Shared, task: StepTask<'_>, index: u32) -> StepReport {
    let now_us = || shared.shared_state.elapsed_ns() / 1000;
    let begun_us = now_us();
    let outcome = step::perform(&*shared.strategy, task);
    let (calls, announced) = (shared.shared_state.calls(), shared.strategy.announcements());
    StepReport { thread: task.actor.thread, index, begun_us, ended_us: now_us(), outcome, calls, announced }
}
