//! Workers: loops that poll for work and wait after a failure as long as the failure calls for.
//!
//! | a run of the job ends with | the worker | source |
//! |---|---|---|
//! | [`JobOutcome::Worked`] | runs it again at once | |
//! | [`JobOutcome::Idle`] | waits for [`WorkerPolicy::poll`], 5 s | field report: 4 workers, poll 5 s |
//! | [`JobOutcome::Done`] | ends | |
//! | [`BackoffClass::Busy`] | waits for 1 s; reports nothing | field report |
//! | [`BackoffClass::Transient`] | waits for 30 s, stretched by 0 to 30 %; reports nothing | field report: 30 s; the jitter is ours |
//! | [`BackoffClass::Other`], or a panic | reports once per episode and waits for 1 s | field report: every one was reported |
//!
//! An *episode* begins with the first such other failure and ends with the next success. However many failures it has,
//! it is two events: [`WorkerEvent::EpisodeBegan`] with the error, [`WorkerEvent::EpisodeEnded`] with the count. Busy
//! and transient failures in between belong to no episode and end none; the cache tells about those itself.
//!
//! The jitter is needed because an open circuit breaker refuses all workers in the same second: without it they would
//! all return in the same second too. It never makes a pause shorter, and no worker comes back before the breaker says
//! that there is a point in it ([`Error::retry_after`]).
//!
//! A failed job is not undone and not skipped: the job decides what the next run works on. If the outcome of a write is
//! unknown ([`Error::outcome_unknown`]), that is an *other* failure and reported: only the job can read what has become
//! of it, and it should do so before it writes again.
//!
//! Workers stop gracefully. [`StopToken::cancel`] lets the running job end, ends all waits, and begins no further job.
//!
//! ```
//! use seawall::workers::{JobOutcome, Worker, WorkerPolicy, Workers};
//! use seawall::{Cache, StopToken};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("jobs.db");
//! let cache = Cache::builder()
//!     .init(|conn| conn.execute_batch("CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY, is_done INTEGER)"))
//!     .build();
//! cache.write(&path, |tx| tx.execute_batch("INSERT INTO job (is_done) VALUES (0), (0), (0)"))?;
//!
//! let worker = Worker::new(StopToken::new())
//!     .policy(WorkerPolicy { poll: Duration::from_millis(10), ..WorkerPolicy::default() })
//!     .events(std::sync::Arc::new(|event| eprintln!("{event}")));
//! # let (cache, jobs) = (std::sync::Arc::new(cache), path.clone());
//! # let all = std::sync::Arc::clone(&cache);
//! let workers = Workers::spawn(4, &worker, move |_number| {
//!     let next = "UPDATE job SET is_done = 1 WHERE id = (SELECT min(id) FROM job WHERE NOT is_done)";
//!     let taken = cache.write(&jobs, |tx| tx.execute(next, []))?;
//!     Ok::<_, seawall::Error>(if taken == 0 { JobOutcome::Idle } else { JobOutcome::Worked })
//! })?;
//!
//! # let count = "SELECT count(*) FROM job WHERE NOT is_done";
//! # let left = || all.read(&path, |conn| conn.query_row(count, [], |row| row.get::<_, i64>(0)));
//! # for _ in 0..500 {
//! #     if left()? == 0 { break; }
//! #     std::thread::sleep(Duration::from_millis(10));
//! # }
//! let stopped = workers.stop(Duration::from_secs(10));
//! assert!(stopped.running.is_empty());
//! assert_eq!(stopped.ended.iter().map(|(_, summary)| summary.worked).sum::<u64>(), 3);
//! # Ok(())
//! # }
//! ```

mod jitter;
mod stop_token;

pub(crate) use jitter::Jitter;
pub use stop_token::StopToken;

use crate::error::{Class, Error};
use crate::events::deliver;
use crate::os::{Os, SystemOs};
use crate::sync::Arc;
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a worker waits, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerPolicy {
    /// After a run that found nothing to do. Field report: 5 s.
    pub poll: Duration,
    /// After [`BackoffClass::Busy`]. Field report: 1 s.
    pub busy_pause: Duration,
    /// After [`BackoffClass::Transient`], before the jitter. Field report: 30 s.
    pub transient_pause: Duration,
    /// A transient pause is longer by 0 to this many per cent. Ours: 30, as with the retries of a
    /// [`supervisor`](crate::supervisor).
    pub transient_jitter_percent: u32,
    /// After [`BackoffClass::Other`]. Field report: 1 s.
    pub other_pause: Duration,
}

impl Default for WorkerPolicy {
    fn default() -> WorkerPolicy {
        WorkerPolicy {
            poll: Duration::from_secs(5),
            busy_pause: Duration::from_secs(1),
            transient_pause: Duration::from_secs(30),
            transient_jitter_percent: 30,
            other_pause: Duration::from_secs(1),
        }
    }
}

/// The result of a run of the job that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// It did something, and there may be more to do.
    Worked,
    /// There was nothing to do.
    Idle,
    /// There will be nothing to do any more: the worker ends.
    Done,
}

/// The kind of a failure, which decides how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffClass {
    /// Another connection holds a lock and will release it soon.
    Busy,
    /// It passes, but not at once: the files do not answer, the circuit is open, memory or disk are short.
    Transient {
        /// Trying again any sooner is known to be pointless.
        retry_after: Option<Duration>,
    },
    /// It does not pass by itself, or that is unknown: it has to be reported.
    Other,
}

/// An error that tells a worker how to wait. Its text is what is reported.
///
/// ```
/// use seawall::workers::{Backoff, BackoffClass};
///
/// #[derive(Debug)]
/// enum JobError { Database(seawall::Error), Input(String) }
///
/// impl std::fmt::Display for JobError {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         match self {
///             JobError::Database(error) => error.fmt(f),
///             JobError::Input(text) => f.write_str(text),
///         }
///     }
/// }
///
/// impl Backoff for JobError {
///     fn backoff_class(&self) -> BackoffClass {
///         match self {
///             JobError::Database(error) => error.backoff_class(),
///             JobError::Input(_) => BackoffClass::Other,
///         }
///     }
/// }
///
/// assert_eq!(JobError::Input("no number".into()).backoff_class(), BackoffClass::Other);
/// ```
pub trait Backoff: fmt::Display {
    /// What kind of failure it is.
    fn backoff_class(&self) -> BackoffClass;
}

/// An unknown outcome comes first, since running such a job again may do it twice. Busy goes before transient: every
/// busy error is transient, too. A lost race is over when it is reported, and counts as busy.
impl Backoff for Error {
    fn backoff_class(&self) -> BackoffClass {
        if self.outcome_unknown() {
            BackoffClass::Other
        } else if self.is_busy() || self.class() == Class::RetryNow {
            BackoffClass::Busy
        } else if self.is_transient() || self.is_breaker_open() {
            BackoffClass::Transient { retry_after: self.retry_after() }
        } else {
            BackoffClass::Other
        }
    }
}

/// Something to report about a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// The first failure of the kind *other* since the last success.
    EpisodeBegan {
        /// The worker's number, from 0.
        worker: usize,
        /// The error as text.
        error: String,
    },
    /// The first success after such failures.
    EpisodeEnded {
        /// The worker's number, from 0.
        worker: usize,
        /// How many failures of that kind there were, with the reported one.
        failures: u64,
        /// From the first failure to the success.
        lasted: Duration,
    },
}

impl fmt::Display for WorkerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerEvent::EpisodeBegan { worker, error } => write!(f, "worker {worker}: {error}"),
            WorkerEvent::EpisodeEnded { worker, failures, lasted } => {
                write!(f, "worker {worker}: works again after {failures} failures in {lasted:?}")
            }
        }
    }
}

/// Where a worker's events go. It may block or panic; only the latency of its own worker suffers.
pub type WorkerSink = Arc<dyn Fn(&WorkerEvent) + Send + Sync>;

/// The counts of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerSummary {
    /// Runs that did something.
    pub worked: u64,
    /// Runs that found nothing to do.
    pub idle: u64,
    /// Failures because another connection held a lock.
    pub busy: u64,
    /// Failures that pass.
    pub transient: u64,
    /// Other failures, panics among them.
    pub other: u64,
    /// Episodes begun, which is the number of reports. The last one may have no end.
    pub episodes: u64,
}

/// One loop, not yet running. Copies with different numbers form a group; see [`Workers::spawn`].
#[derive(Clone)]
pub struct Worker {
    os: Arc<dyn Os>,
    stop: StopToken,
    policy: WorkerPolicy,
    number: usize,
    seed: u64,
    events: Option<WorkerSink>,
}

impl Worker {
    /// A worker with the number 0 that runs until the token is cancelled.
    pub fn new(stop: StopToken) -> Worker {
        let (os, policy) = (Arc::new(SystemOs::new()), WorkerPolicy::default());
        Worker { os, stop, policy, number: 0, seed: 0, events: None }
    }

    /// The clock, for tests.
    pub fn os(self, os: Arc<dyn Os>) -> Worker {
        Worker { os, ..self }
    }

    /// How long it waits for what.
    pub fn policy(self, policy: WorkerPolicy) -> Worker {
        Worker { policy, ..self }
    }

    /// Its number in events. The jitter follows from it and from the seed.
    pub fn number(self, number: usize) -> Worker {
        Worker { number, ..self }
    }

    /// What the jitter follows from. Processes that share a database should have different ones: the process id does.
    pub fn seed(self, seed: u64) -> Worker {
        Worker { seed, ..self }
    }

    /// Where its events go.
    pub fn events(self, sink: WorkerSink) -> Worker {
        Worker { events: Some(sink), ..self }
    }

    /// Runs the job on this thread until it is done or the token is cancelled.
    ///
    /// A job that panics has failed with [`BackoffClass::Other`], and is run again: the job has to handle what it left
    /// half done.
    pub fn run<E: Backoff>(&self, mut job: impl FnMut() -> Result<JobOutcome, E>) -> WorkerSummary {
        let mut state = RunState {
            worker: self,
            jitter: Jitter::new(self.seed.wrapping_add((self.number as u64).wrapping_mul(0xd134_2543_de82_ef95))),
            summary: WorkerSummary::default(),
            episode: None,
        };
        while !self.stop.is_cancelled() {
            let attempt = AssertUnwindSafe(|| job().map_err(|failure| (failure.backoff_class(), failure.to_string())));
            let pause = match catch_unwind(attempt) {
                Ok(Ok(JobOutcome::Done)) => {
                    state.succeeded();
                    break;
                }
                Ok(Ok(JobOutcome::Worked)) => {
                    state.summary.worked += 1;
                    state.succeeded();
                    Duration::ZERO
                }
                Ok(Ok(JobOutcome::Idle)) => {
                    state.summary.idle += 1;
                    state.succeeded();
                    self.policy.poll
                }
                Ok(Err((backoff_class, text))) => state.failed(backoff_class, text),
                Err(panic) => state.failed(BackoffClass::Other, format!("the job panicked: {}", panic_text(&*panic))),
            };
            self.stop.wait(&*self.os, pause);
        }
        state.summary
    }
}

/// The text of a panic, where it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}

/// The state of a run so far.
struct RunState<'a> {
    worker: &'a Worker,
    jitter: Jitter,
    summary: WorkerSummary,
    episode: Option<Episode>,
}

struct Episode {
    began: Duration,
    failures: u64,
}

impl RunState<'_> {
    fn succeeded(&mut self) {
        let Some(Episode { began, failures }) = self.episode.take() else { return };
        let lasted = self.worker.os.now().saturating_sub(began);
        self.report(|worker| WorkerEvent::EpisodeEnded { worker, failures, lasted });
    }

    /// The pause that the failure calls for.
    fn failed(&mut self, backoff_class: BackoffClass, error: String) -> Duration {
        let policy = &self.worker.policy;
        match backoff_class {
            BackoffClass::Busy => {
                self.summary.busy += 1;
                policy.busy_pause
            }
            BackoffClass::Transient { retry_after } => {
                self.summary.transient += 1;
                let pause = policy.transient_pause.max(retry_after.unwrap_or_default());
                self.jitter.stretch(pause, policy.transient_jitter_percent)
            }
            BackoffClass::Other => {
                self.summary.other += 1;
                match &mut self.episode {
                    Some(episode) => episode.failures += 1,
                    None => {
                        self.summary.episodes += 1;
                        self.episode = Some(Episode { began: self.worker.os.now(), failures: 1 });
                        self.report(|worker| WorkerEvent::EpisodeBegan { worker, error });
                    }
                }
                policy.other_pause
            }
        }
    }

    fn report(&self, event: impl FnOnce(usize) -> WorkerEvent) {
        if let Some(sink) = &self.worker.events {
            deliver(&**sink, &event(self.worker.number));
        }
    }
}

/// Running workers, each on its own thread. Dropping them cancels them and does not wait.
pub struct Workers {
    stop: StopToken,
    os: Arc<dyn Os>,
    /// By number.
    threads: Vec<(usize, JoinHandle<WorkerSummary>)>,
}

/// Which workers ended in time, and which did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The numbers of those that ended, and what they did.
    pub ended: Vec<(usize, WorkerSummary)>,
    /// The numbers of those whose job was still running. They end after it, and are not waited for.
    pub running: Vec<usize>,
}

impl Workers {
    /// Starts `count` copies of the worker with the numbers from 0, one thread each. The job is told the number.
    ///
    /// # Errors
    /// A thread could not be started; those before it are cancelled.
    pub fn spawn<E: Backoff>(
        count: usize,
        worker: &Worker,
        job: impl Fn(usize) -> Result<JobOutcome, E> + Send + Sync + 'static,
    ) -> io::Result<Workers> {
        let job = Arc::new(job);
        let mut workers =
            Workers { stop: worker.stop.clone(), os: Arc::clone(&worker.os), threads: Vec::with_capacity(count) };
        for number in 0..count {
            let (worker, job) = (worker.clone().number(number), Arc::clone(&job));
            let thread = thread::Builder::new().name(format!("seawall-worker-{number}"));
            // On an error, dropping `workers` cancels the others.
            workers.threads.push((number, thread.spawn(move || worker.run(|| job(number)))?));
        }
        Ok(workers)
    }

    /// Cancels all and waits for them, up to `wait`. Running jobs are not interrupted.
    pub fn stop(mut self, wait: Duration) -> Stopped {
        const LOOK: Duration = Duration::from_millis(5);
        self.stop.cancel();
        let until = self.os.now().saturating_add(wait);
        while self.threads.iter().any(|(_, thread)| !thread.is_finished()) {
            let left = until.saturating_sub(self.os.now());
            if left.is_zero() {
                break;
            }
            self.os.sleep(left.min(LOOK));
        }
        let mut stopped = Stopped::default();
        for (number, thread) in self.threads.drain(..) {
            // The loop contains the panics of its job and of its sink, so there is a summary.
            match thread.is_finished().then(|| thread.join().unwrap_or_default()) {
                Some(summary) => stopped.ended.push((number, summary)),
                None => stopped.running.push(number),
            }
        }
        stopped
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
