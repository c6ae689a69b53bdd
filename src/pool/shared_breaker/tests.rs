//! Threads that share a breaker.

use super::*;
use crate::breaker::{BreakerState, RateThreshold};
use crate::error::Operation;
use crate::events::{EventHub, Sink};
use crate::sync::Arc;
use std::path::Path;
use std::time::Duration;

/// A clock that the test moves, and nothing else.
#[derive(Default)]
struct Clock(AtomicU64);

impl Os for Clock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, pause: Duration) {
        self.0.fetch_add(pause.as_millis() as u64, Ordering::Relaxed);
    }
}

fn policy() -> BreakerPolicy {
    BreakerPolicy {
        failures_max: 2,
        cooldown: Duration::from_millis(3),
        half_open_permits: 2,
        permit_deadline: Duration::from_millis(5),
        ..BreakerPolicy::default()
    }
}

fn outage() -> Error {
    let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(14), None);
    Error::sqlite(Path::new("x"), Operation::Open, source)
}

/// The transitions among the events, by generation.
fn announced(events: EventQueue) -> Vec<EventKind> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kinds = Arc::clone(&heard);
    let sink: Sink = Arc::new(move |event| kinds.lock().push(event.kind.clone()));
    events.emit(&Arc::from(Path::new("x")), &EventHub::new(Some(sink)));
    std::mem::take(&mut *heard.lock())
}

fn generation_of(kind: &EventKind) -> u64 {
    match kind {
        EventKind::BreakerTripped { generation, .. }
        | EventKind::BreakerHalfOpened { generation }
        | EventKind::BreakerRecovered { generation }
        | EventKind::BreakerModeChanged { generation, .. } => *generation,
        other => panic!("no transition: {other:?}"),
    }
}

/// One thread's calls: a mix of successes, failures, and tries that prove nothing, some reported very late.
fn hammer(breaker: &SharedBreaker, clock: &Clock, thread: u64, calls: u64) -> (EventQueue, u64) {
    let mut events = EventQueue::default();
    let error = outage();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(thread + 1);
    let (mut late, mut refused) = (None, 0);
    for _ in 0..calls {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        if dice.is_multiple_of(7) {
            clock.sleep(Duration::from_millis(1));
        }
        let Ok(permit) = breaker.admit(clock, &mut events) else {
            refused += 1;
            continue;
        };
        let permit = if dice.is_multiple_of(11) { late.replace(permit) } else { Some(permit) };
        let Some(permit) = permit else { continue };
        match dice >> 32 & 3 {
            0 | 1 => breaker.fail(permit, &error, clock, &mut events),
            2 => breaker.succeed(permit, clock, &mut events),
            _ => breaker.release(permit),
        }
    }
    late.into_iter().for_each(|permit| breaker.release(permit));
    (events, refused)
}

/// Whether `then` may come right after `before`, the generations aside.
fn follows(before: Option<&EventKind>, then: &EventKind) -> bool {
    use EventKind::*;
    match (before, then) {
        (_, BreakerModeChanged { .. }) => true,
        (None | Some(BreakerRecovered { .. } | BreakerModeChanged { .. }), next) => {
            matches!(next, BreakerTripped { .. })
        }
        (Some(BreakerTripped { .. }), next) => matches!(next, BreakerHalfOpened { .. }),
        (Some(BreakerHalfOpened { .. }), next) => matches!(next, BreakerTripped { .. } | BreakerRecovered { .. }),
        _ => false,
    }
}

#[track_caller]
fn check_hammered(policy: BreakerPolicy, mode_changes: u64) {
    const THREADS: u64 = 4;
    const CALLS: u64 = 20_000;
    let (breaker, clock) = (SharedBreaker::new(policy), Clock::default());
    let (mut kinds, mut refused) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let (breaker, clock) = (&breaker, &clock);
        let hammers: Vec<_> = (0..THREADS).map(|nth| scope.spawn(move || hammer(breaker, clock, nth, CALLS))).collect();
        let mut events = EventQueue::default();
        for nth in 0..mode_changes {
            let modes = [BreakerMode::MetricsOnly, BreakerMode::ForcedOpen, BreakerMode::Enforcing];
            breaker.set_mode(modes[nth as usize % modes.len()], &mut events);
            std::thread::yield_now();
        }
        kinds.extend(announced(events));
        for hammer in hammers {
            let (events, turned_away) = hammer.join().unwrap();
            kinds.extend(announced(events));
            refused += turned_away;
        }
    });
    kinds.sort_by_key(generation_of);
    let generations: Vec<u64> = kinds.iter().map(generation_of).collect();
    let expected: Vec<u64> = (1..=breaker.snapshot().generation()).collect();
    assert_eq!(generations, expected, "each generation is announced once");
    assert!(generations.len() > 100, "only {} transitions", generations.len());
    for nth in 0..kinds.len() {
        let before = nth.checked_sub(1).map(|nth| &kinds[nth]);
        assert!(follows(before, &kinds[nth]), "{:?} after {before:?}", kinds[nth]);
    }
    let (counters, trips) = (breaker.counters(), |kind: &&EventKind| matches!(kind, EventKind::BreakerTripped { .. }));
    assert_eq!(counters.admitted + counters.refused, THREADS * CALLS);
    assert!(mode_changes > 0 || counters.refused == refused);
    assert_eq!(counters.trips, kinds.iter().filter(trips).count() as u64);
}

#[test]
fn threads_that_race_announce_each_transition_exactly_once() {
    check_hammered(policy(), 0);
}

#[test]
fn threads_that_race_under_a_rate_threshold_announce_each_transition_exactly_once() {
    let rate = RateThreshold { window: Duration::from_millis(20), calls_min: 5, failures_percent: 40 };
    check_hammered(BreakerPolicy { failures_max: u32::MAX, rate: Some(rate), ..policy() }, 0);
}

#[test]
fn changes_of_mode_under_load_are_announced_exactly_once() {
    check_hammered(policy(), 999);
}

#[test]
fn the_fast_path_counts_calls_and_takes_no_lock() {
    let breaker = SharedBreaker::new(policy());
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let held = breaker.breaker.lock();
        scope.spawn(|| {
            let (clock, mut events) = (Clock::default(), EventQueue::default());
            let permit = breaker.admit(&clock, &mut events).unwrap();
            breaker.succeed(permit, &clock, &mut events);
            breaker.release(breaker.admit(&clock, &mut events).unwrap());
            done.send(breaker.is_current(permit, &clock)).unwrap();
        });
        let answer = is_done.recv_timeout(Duration::from_secs(20));
        drop(held);
        assert_eq!(answer, Ok(true), "a call waits for the lock");
    });
    assert_eq!(breaker.counters(), BreakerCounters { admitted: 2, successes: 1, ..BreakerCounters::default() });
}

#[test]
fn every_admission_and_every_result_is_counted_once_whichever_way_it_took() {
    let (breaker, clock, mut events) = (SharedBreaker::new(policy()), Clock::default(), EventQueue::default());
    let admit = || breaker.admit(&clock, &mut EventQueue::default()).unwrap();
    let (calm, failing) = (admit(), admit());
    breaker.fail(failing, &outage(), &clock, &mut events);
    let locked = [admit(), admit()];
    // The first of them makes it calm again, so the second need not take the lock.
    breaker.succeed(locked[0], &clock, &mut events);
    breaker.succeed(locked[1], &clock, &mut events);
    breaker.succeed(calm, &clock, &mut events);
    let expected = BreakerCounters { admitted: 4, successes: 3, failures: 1, ..BreakerCounters::default() };
    assert_eq!(breaker.counters(), expected);
}

#[test]
fn the_lock_is_skipped_only_where_nothing_would_change() {
    let rate = RateThreshold { window: Duration::from_secs(1), calls_min: 1, failures_percent: 50 };
    for (policy, can_skip_lock) in [
        (policy(), true),
        (BreakerPolicy { mode: BreakerMode::MetricsOnly, ..policy() }, true),
        (BreakerPolicy { mode: BreakerMode::ForcedOpen, ..policy() }, false),
        (BreakerPolicy { mode: BreakerMode::Disabled, ..policy() }, false),
        (BreakerPolicy { rate: Some(rate), ..policy() }, false),
    ] {
        assert_eq!(SharedBreaker::new(policy.clone()).fast_path_generation().is_some(), can_skip_lock, "{policy:?}");
    }
}

#[test]
fn a_mode_set_by_hand_is_in_force_at_once_and_announced_once() {
    let (breaker, clock, mut events) = (SharedBreaker::new(policy()), Clock::default(), EventQueue::default());
    let permit = breaker.admit(&clock, &mut events).unwrap();
    breaker.set_mode(BreakerMode::ForcedOpen, &mut events);
    breaker.set_mode(BreakerMode::ForcedOpen, &mut events);
    assert_eq!(breaker.admit(&clock, &mut events), Err(Refusal { retry_after: None }));
    assert!(!breaker.is_current(permit, &clock));
    assert_eq!(breaker.snapshot().state(clock.now()), BreakerState::ForcedOpen);
    breaker.set_mode(BreakerMode::Enforcing, &mut events);
    assert!(breaker.admit(&clock, &mut events).is_ok());
    let changed = |generation, mode| EventKind::BreakerModeChanged { generation, mode };
    assert_eq!(announced(events), [changed(1, BreakerMode::ForcedOpen), changed(2, BreakerMode::Enforcing)]);
}
