//! Workers on a clock that only moves when it is told to, and four of them on real threads.

use super::World;
use super::clock::Clock;
use crate::error::{Cause, Error};
use crate::workers::{
    Backoff, BackoffClass, JobOutcome, StopToken, Worker, WorkerEvent, WorkerPolicy, WorkerSummary, Workers,
};
use crate::{Operation, Os, SystemOs};
use rusqlite::ffi;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn sqlite(code: i32) -> Error {
    let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    Error::sqlite(Path::new("/d/x.db"), Operation::Begin, source)
}

fn breaker_open(retry_after: Duration) -> Error {
    Error::new(Path::new("/d/x.db"), Operation::Open, Cause::BreakerOpen { retry_after: Some(retry_after) })
}

/// What a run of the job comes to.
type Ran = Result<JobOutcome, Error>;

/// The pauses after each of these runs, what was reported, and the sums. The worker ends after the last one.
fn run(policy: WorkerPolicy, runs: impl IntoIterator<Item = Ran>) -> (Vec<Duration>, Vec<WorkerEvent>, WorkerSummary) {
    let os = Arc::new(Clock::default());
    let events: Arc<parking_lot::Mutex<Vec<WorkerEvent>>> = Arc::default();
    let noted = Arc::clone(&events);
    let worker = Worker::new(StopToken::new())
        .os(Arc::clone(&os) as Arc<dyn Os>)
        .policy(policy)
        .number(7)
        .events(Arc::new(move |event| noted.lock().push(event.clone())));
    let mut runs: VecDeque<Ran> = runs.into_iter().collect();
    let mut began = Vec::new();
    let summary = worker.run(|| {
        began.push(os.now());
        runs.pop_front().unwrap_or(Ok(JobOutcome::Done))
    });
    let pauses = began.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let events = events.lock().clone();
    (pauses, events, summary)
}

fn without_jitter() -> WorkerPolicy {
    WorkerPolicy { transient_jitter_percent: 0, ..WorkerPolicy::default() }
}

#[track_caller]
fn check(ran: Ran, pause: Duration, reports: usize) {
    let name = format!("{ran:?}");
    let (pauses, events, _) = run(without_jitter(), [ran]);
    assert_eq!(pauses, [pause], "{name}");
    let begun = events.iter().filter(|event| matches!(event, WorkerEvent::EpisodeBegan { .. })).count();
    assert_eq!(begun, reports, "{name}");
}

#[test]
fn each_class_has_its_own_pause_and_only_other_failures_are_reported() {
    check(Ok(JobOutcome::Worked), Duration::ZERO, 0);
    check(Ok(JobOutcome::Idle), secs(5), 0);
    for code in [ffi::SQLITE_BUSY, ffi::SQLITE_BUSY_SNAPSHOT, ffi::SQLITE_LOCKED, ffi::SQLITE_ABORT_ROLLBACK] {
        check(Err(sqlite(code)), secs(1), 0);
    }
    for code in [ffi::SQLITE_CANTOPEN, ffi::SQLITE_IOERR_TRUNCATE, ffi::SQLITE_IOERR_SHMOPEN, ffi::SQLITE_FULL] {
        check(Err(sqlite(code)), secs(30), 0);
    }
    check(Err(breaker_open(secs(12))), secs(30), 0);
    for code in [ffi::SQLITE_CONSTRAINT, ffi::SQLITE_CORRUPT, ffi::SQLITE_ERROR] {
        check(Err(sqlite(code)), secs(1), 1);
    }
}

#[test]
fn an_unknown_outcome_is_reported_and_never_just_waited_for() {
    for code in [ffi::SQLITE_IOERR, ffi::SQLITE_FULL, ffi::SQLITE_BUSY] {
        let error = sqlite(code).with_outcome_unknown(true);
        assert_eq!(error.backoff_class(), BackoffClass::Other, "{error}");
        check(Err(error), secs(1), 1);
    }
}

#[test]
fn no_worker_retries_before_the_breaker_allows_it() {
    check(Err(breaker_open(secs(45))), secs(45), 0);
}

#[test]
fn transient_pauses_are_stretched_by_up_to_30_percent_and_differ_between_workers() {
    let (pauses, ..) = run(WorkerPolicy::default(), (0..50).map(|_| Err(sqlite(ffi::SQLITE_CANTOPEN))));
    assert!(pauses.iter().all(|pause| (secs(30)..=secs(39)).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().max().unwrap().saturating_sub(*pauses.iter().min().unwrap()) > secs(6), "{pauses:?}");
    let first = |number, seed| {
        let os = Arc::new(Clock::default());
        let worker = Worker::new(StopToken::new()).os(Arc::clone(&os) as Arc<dyn Os>).number(number).seed(seed);
        let mut has_run = false;
        worker.run(|| match std::mem::replace(&mut has_run, true) {
            false => Err(sqlite(ffi::SQLITE_CANTOPEN)),
            true => Ok(JobOutcome::Done),
        });
        os.now()
    };
    assert_eq!(first(0, 1), first(0, 1), "the same seed, the same pause");
    assert_ne!(first(0, 1), first(1, 1), "workers of one crew");
    assert_ne!(first(0, 1), first(0, 2), "crews of two processes");
}

#[test]
fn an_episode_is_reported_once_and_ends_with_a_success_and_a_count() {
    let other = || Err(sqlite(ffi::SQLITE_CONSTRAINT));
    let busy = || Err(sqlite(ffi::SQLITE_BUSY));
    let transient = || Err(sqlite(ffi::SQLITE_CANTOPEN));
    let runs = [busy(), other(), other(), busy(), transient(), other(), Ok(JobOutcome::Worked), other()];
    let (_, events, summary) = run(without_jitter(), runs.into_iter().chain([Ok(JobOutcome::Idle)]));
    let began = WorkerEvent::EpisodeBegan { worker: 7, error: sqlite(ffi::SQLITE_CONSTRAINT).to_string() };
    let ended = |failures, lasted| WorkerEvent::EpisodeEnded { worker: 7, failures, lasted: secs(lasted) };
    // Three others, a busy and a transient one: 1 + 1 + 1 + 30 + 1 s.
    assert_eq!(events, [began.clone(), ended(3, 34), began, ended(1, 1)]);
    let expected = (1, 1, 2, 1, 4, 2);
    let WorkerSummary { worked, idle, busy, transient, other, episodes, .. } = summary;
    assert_eq!((worked, idle, busy, transient, other, episodes), expected);
}

#[test]
fn a_panic_is_an_other_failure_and_the_worker_lives_on() {
    let (stop, mut runs) = (StopToken::new(), 0);
    let events: Arc<parking_lot::Mutex<Vec<WorkerEvent>>> = Arc::default();
    let noted = Arc::clone(&events);
    let worker = Worker::new(stop).os(Arc::new(Clock::default())).events(Arc::new(move |event| {
        noted.lock().push(event.clone());
        panic!("so does the sink");
    }));
    let summary = worker.run(|| {
        runs += 1;
        assert!(runs > 2, "run {runs} is bad");
        Ok::<_, Error>(JobOutcome::Done)
    });
    assert_eq!((runs, summary.other, summary.episodes), (3, 2, 1));
    let error = "the job panicked: run 1 is bad".to_owned();
    let ended = WorkerEvent::EpisodeEnded { worker: 0, failures: 2, lasted: secs(2) };
    assert_eq!(*events.lock(), [WorkerEvent::EpisodeBegan { worker: 0, error }, ended]);
}

#[test]
fn a_stop_ends_a_wait_within_its_latency_and_no_job_is_begun_after_it() {
    let stop = StopToken::new();
    let canceller = stop.clone();
    let os = Arc::new(Clock::default().on_sleep(move |now| {
        if now >= secs(2) {
            canceller.cancel();
        }
    }));
    let worker = Worker::new(stop.clone())
        .os(Arc::clone(&os) as Arc<dyn Os>)
        .policy(WorkerPolicy { poll: Duration::MAX, ..WorkerPolicy::default() });
    let mut runs = 0;
    worker.run(|| {
        runs += 1;
        Ok::<_, Error>(JobOutcome::Idle)
    });
    assert!(os.now() <= secs(2) + StopToken::LATENCY_MAX, "{:?}", os.now());
    assert_eq!(runs, 1);
    assert_eq!(Worker::new(stop).run(|| -> Ran { panic!("a job was begun") }), WorkerSummary::default());
}

#[test]
fn workers_stop_in_time_and_those_still_running_are_named() {
    let (release, stuck) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let worker = Worker::new(StopToken::new()).policy(WorkerPolicy { poll: secs(3600), ..WorkerPolicy::default() });
    let (released, at_work) = (Arc::clone(&release), Arc::clone(&stuck));
    let workers = Workers::spawn(4, &worker, move |number| {
        if number == 2 {
            at_work.fetch_add(1, SeqCst);
            while !released.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            at_work.fetch_sub(1, SeqCst);
        }
        Ok::<_, Error>(JobOutcome::Idle)
    });
    let workers = workers.unwrap();
    while stuck.load(SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let began = Instant::now();
    let stopped = workers.stop(secs(1));
    assert!(began.elapsed() >= secs(1) && began.elapsed() < secs(5), "{:?}", began.elapsed());
    assert_eq!(stopped.running, [2]);
    assert_eq!(stopped.ended.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 3]);
    // The job that was running is not interrupted; it ends by itself.
    assert_eq!(stuck.load(SeqCst), 1);
    release.store(true, SeqCst);
    while stuck.load(SeqCst) == 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_outage_is_waited_out_behind_the_breaker_and_not_reported() {
    let world = World::new();
    let (cache, path) = (world.cache(), world.path());
    let reports = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reports);
    let worker = Worker::new(StopToken::new())
        .os(Arc::clone(&world.os) as Arc<dyn Os>)
        .policy(without_jitter())
        .events(Arc::new(move |_| {
            counted.fetch_add(1, SeqCst);
        }));
    let mut began = Vec::new();
    let summary = worker.run(|| {
        began.push(world.os.now());
        if began.len() == 1 {
            cache.read(&path, |_| Err::<(), _>(super::sqlite_failure(ffi::SQLITE_CANTOPEN))).unwrap_err();
            world.unreachable(|| {
                for _ in 0..3 {
                    cache.read(&path, super::rows).unwrap_err();
                }
            });
        }
        let answer = cache.read(&path, super::rows);
        assert_eq!(answer.as_ref().is_err_and(Error::is_breaker_open), began.len() == 1);
        answer.map(|_| JobOutcome::Done)
    });
    // The pauses between the attempts to open.
    let attempts = Duration::from_millis(90);
    assert_eq!((began, summary.transient, reports.load(SeqCst)), (vec![secs(0), secs(30) + attempts], 1, 0));
}

/// Real parts: a database, four threads, the real clock, and a lock in their way.
#[test]
fn four_workers_do_every_job_once_in_spite_of_a_lock_in_their_way() {
    const JOBS: i64 = 60;
    let world = World::new();
    let path = world.path();
    let cache = Arc::new(world.builder().os(Arc::new(SystemOs::new())).busy_timeout(Duration::from_millis(1)).build());
    let fill = "CREATE TABLE job (id INTEGER PRIMARY KEY, runs INTEGER NOT NULL DEFAULT 0);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) INSERT INTO job (id) SELECT i FROM n";
    cache.write(&path, |tx| tx.execute_batch(fill)).unwrap();
    let ms = Duration::from_millis;
    let policy = WorkerPolicy {
        poll: ms(2),
        busy_pause: ms(2),
        transient_pause: ms(5),
        transient_jitter_percent: 30,
        other_pause: ms(2),
    };
    let events: Arc<parking_lot::Mutex<Vec<WorkerEvent>>> = Arc::default();
    let noted = Arc::clone(&events);
    let stop = StopToken::new();
    let worker =
        Worker::new(stop.clone()).policy(policy).events(Arc::new(move |event| noted.lock().push(event.clone())));

    // Another connection holds the write lock when they begin.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (shared, jobs) = (Arc::clone(&cache), path.clone());
    let workers = Workers::spawn(4, &worker, move |_| -> Ran {
        let next = "UPDATE job SET runs = runs + 1 WHERE id = (SELECT min(id) FROM job WHERE runs = 0)";
        let changed = shared.write(&jobs, |tx| tx.execute(next, []))?;
        Ok(if changed == 0 { JobOutcome::Idle } else { JobOutcome::Worked })
    });
    let workers = workers.unwrap();
    std::thread::sleep(ms(50));
    let done = || -> i64 { other.query_row("SELECT sum(runs) FROM job", [], |row| row.get(0)).unwrap() };
    assert_eq!(done(), 0);
    other.execute_batch("COMMIT").unwrap();
    for _ in 0..2000 {
        if done() == JOBS {
            break;
        }
        std::thread::sleep(ms(5));
    }
    let stopped = workers.stop(secs(10));
    assert!(stopped.running.is_empty());
    let sum = |count: fn(&WorkerSummary) -> u64| stopped.ended.iter().map(|(_, summary)| count(summary)).sum::<u64>();
    assert_eq!(sum(|summary| summary.worked), JOBS as u64);
    assert!(sum(|summary| summary.busy) > 0, "no worker met the lock");
    let once: i64 = other.query_row("SELECT count(*) FROM job WHERE runs = 1", [], |row| row.get(0)).unwrap();
    assert_eq!((once, events.lock().len()), (JOBS, 0));
}
