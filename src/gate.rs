//! The breaker as threads share it: a lock around the state machine, and a pulse that mostly spares the lock.
//!
//! While the breaker is closed without a counted failure and without a window, passing and succeeding change nothing
//! but counters. One atomic word says so together with the generation, and the good path needs no more than to read it
//! twice and to add one at the end. With a rate threshold, or while the breaker is disabled or forced open, every call
//! takes the lock.
//!
//! Transitions become notes, which the caller emits once it holds no lock. Two threads may emit theirs in either order;
//! the generations tell the true one.

use crate::breaker::{Breaker, BreakerCounters, BreakerMode, BreakerPolicy, Permit, Refusal, Transition};
use crate::error::Error;
use crate::events::{EventKind, Notes};
use crate::os::Os;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

pub(crate) struct Gate {
    breaker: Mutex<Breaker>,
    /// `generation << 1 | calm`, written under the breaker's lock.
    pulse: AtomicU64,
    calm: CalmCounters,
}

/// What passed by without the lock. It has cache lines of its own: everybody writes here, and reads the pulse.
#[derive(Default)]
#[repr(align(128))]
struct CalmCounters {
    /// Both in one, as almost every call ends: admitted and succeeded here.
    passed: AtomicU64,
    /// Admitted here; what became of it is counted elsewhere, if at all.
    admitted: AtomicU64,
    /// Succeeded here; the admission is counted elsewhere.
    successes: AtomicU64,
}

impl Gate {
    pub(crate) fn new(policy: BreakerPolicy) -> Gate {
        let breaker = Breaker::new(policy);
        let pulse = AtomicU64::new(pulse_of(&breaker));
        Gate { breaker: Mutex::new(breaker), pulse, calm: CalmCounters::default() }
    }

    pub(crate) fn admit(&self, os: &dyn Os, notes: &mut Notes) -> Result<Permit, Refusal> {
        if let Some(generation) = self.calm_generation() {
            return Ok(Permit::uncounted(generation));
        }
        let mut breaker = self.breaker.lock();
        let (permit, transition) = breaker.admit(os.now());
        self.publish(breaker);
        note(transition, None, notes);
        permit
    }

    pub(crate) fn is_current(&self, permit: Permit, os: &dyn Os) -> bool {
        self.calm_generation() == Some(permit.generation()) || self.breaker.lock().is_current(permit, os.now())
    }

    pub(crate) fn succeed(&self, permit: Permit, os: &dyn Os, notes: &mut Notes) {
        if self.calm_generation() == Some(permit.generation()) {
            let counter = if permit.is_uncounted() { &self.calm.passed } else { &self.calm.successes };
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.count(permit);
        let mut breaker = self.breaker.lock();
        let transition = breaker.success(permit, os.now());
        self.publish(breaker);
        note(transition, None, notes);
    }

    pub(crate) fn fail(&self, permit: Permit, error: &Error, os: &dyn Os, notes: &mut Notes) {
        self.count(permit);
        let mut breaker = self.breaker.lock();
        let transition = breaker.failure(permit, os.now());
        self.publish(breaker);
        note(transition, Some(error), notes);
    }

    pub(crate) fn release(&self, permit: Permit) {
        self.count(permit);
        if self.calm_generation() != Some(permit.generation()) {
            self.breaker.lock().release(permit);
        }
    }

    pub(crate) fn set_mode(&self, mode: BreakerMode, notes: &mut Notes) {
        let mut breaker = self.breaker.lock();
        let transition = breaker.set_mode(mode);
        self.publish(breaker);
        note(transition, None, notes);
    }

    /// A copy to look at. Its counters lack what passed without the lock: see [`Gate::counters`].
    pub(crate) fn snapshot(&self) -> Breaker {
        self.breaker.lock().clone()
    }

    /// What has happened so far, with or without the lock. Each number only grows. Callers that passed without the lock
    /// are counted once they report.
    pub(crate) fn counters(&self) -> BreakerCounters {
        let mut counters = self.breaker.lock().counters();
        let passed = self.calm.passed.load(Ordering::Relaxed);
        counters.admitted += passed + self.calm.admitted.load(Ordering::Relaxed);
        counters.successes += passed + self.calm.successes.load(Ordering::Relaxed);
        counters
    }

    fn count(&self, permit: Permit) {
        if permit.is_uncounted() {
            self.calm.admitted.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn calm_generation(&self) -> Option<u64> {
        let pulse = self.pulse.load(Ordering::Acquire);
        (pulse & 1 == 1).then_some(pulse >> 1)
    }

    fn publish(&self, breaker: MutexGuard<'_, Breaker>) {
        self.pulse.store(pulse_of(&breaker), Ordering::Release);
    }
}

fn pulse_of(breaker: &Breaker) -> u64 {
    breaker.generation() << 1 | u64::from(breaker.is_calm())
}

fn note(transition: Option<Transition>, error: Option<&Error>, notes: &mut Notes) {
    let Some(transition) = transition else { return };
    notes.add(match transition {
        Transition::Tripped { generation } => {
            EventKind::BreakerTripped { generation, error: error.map(Error::to_string).unwrap_or_default() }
        }
        Transition::HalfOpened { generation } => EventKind::BreakerHalfOpened { generation },
        Transition::Recovered { generation } => EventKind::BreakerRecovered { generation },
        Transition::ModeChanged { generation, mode } => EventKind::BreakerModeChanged { generation, mode },
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{BreakerState, RateThreshold};
    use crate::classify::Operation;
    use crate::events::{Hub, Sink};
    use crate::os::{FileLock, FileStatus};
    use crate::sync::Arc;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    /// A clock that somebody else moves, and nothing else.
    #[derive(Default)]
    struct Clock(AtomicU64);

    impl Os for Clock {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn sleep(&self, pause: Duration) {
            self.0.fetch_add(pause.as_millis() as u64, Ordering::Relaxed);
        }

        fn pid(&self) -> u32 {
            1
        }

        fn thread(&self) -> u64 {
            1
        }

        fn canonicalize(&self, _: &Path) -> io::Result<PathBuf> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn create_dir_all(&self, _: &Path) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn status(&self, _: &Path) -> io::Result<Option<FileStatus>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn try_lock_file(&self, _: &Path) -> io::Result<Option<FileLock>> {
            Err(io::ErrorKind::Unsupported.into())
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
    fn announced(notes: Notes) -> Vec<EventKind> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kinds = Arc::clone(&heard);
        let sink: Sink = Arc::new(move |event| kinds.lock().push(event.kind.clone()));
        notes.emit(&Arc::from(Path::new("x")), &Hub::new(Some(sink)));
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
    fn hammer(gate: &Gate, clock: &Clock, thread: u64, calls: u64) -> (Notes, u64) {
        let mut notes = Notes::default();
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
            let Ok(permit) = gate.admit(clock, &mut notes) else {
                refused += 1;
                continue;
            };
            let permit = if dice.is_multiple_of(11) { late.replace(permit) } else { Some(permit) };
            let Some(permit) = permit else { continue };
            match dice >> 32 & 3 {
                0 | 1 => gate.fail(permit, &error, clock, &mut notes),
                2 => gate.succeed(permit, clock, &mut notes),
                _ => gate.release(permit),
            }
        }
        late.into_iter().for_each(|permit| gate.release(permit));
        (notes, refused)
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
        let (gate, clock) = (Gate::new(policy), Clock::default());
        let (mut kinds, mut refused) = (Vec::new(), 0);
        std::thread::scope(|scope| {
            let (gate, clock) = (&gate, &clock);
            let hammers: Vec<_> =
                (0..THREADS).map(|nth| scope.spawn(move || hammer(gate, clock, nth, CALLS))).collect();
            let mut notes = Notes::default();
            for nth in 0..mode_changes {
                let modes = [BreakerMode::MetricsOnly, BreakerMode::ForcedOpen, BreakerMode::Enforcing];
                gate.set_mode(modes[nth as usize % modes.len()], &mut notes);
                std::thread::yield_now();
            }
            kinds.extend(announced(notes));
            for hammer in hammers {
                let (notes, turned_away) = hammer.join().unwrap();
                kinds.extend(announced(notes));
                refused += turned_away;
            }
        });
        kinds.sort_by_key(generation_of);
        let generations: Vec<u64> = kinds.iter().map(generation_of).collect();
        let expected: Vec<u64> = (1..=gate.snapshot().generation()).collect();
        assert_eq!(generations, expected, "each generation is announced once");
        assert!(generations.len() > 100, "only {} transitions", generations.len());
        for nth in 0..kinds.len() {
            let before = nth.checked_sub(1).map(|nth| &kinds[nth]);
            assert!(follows(before, &kinds[nth]), "{:?} after {before:?}", kinds[nth]);
        }
        let (counters, trips) = (gate.counters(), |kind: &&EventKind| matches!(kind, EventKind::BreakerTripped { .. }));
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
    fn the_calm_path_counts_what_passes_and_takes_no_lock() {
        let gate = Gate::new(policy());
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let held = gate.breaker.lock();
            scope.spawn(|| {
                let (clock, mut notes) = (Clock::default(), Notes::default());
                let permit = gate.admit(&clock, &mut notes).unwrap();
                gate.succeed(permit, &clock, &mut notes);
                gate.release(gate.admit(&clock, &mut notes).unwrap());
                done.send(gate.is_current(permit, &clock)).unwrap();
            });
            let answer = is_done.recv_timeout(Duration::from_secs(20));
            drop(held);
            assert_eq!(answer, Ok(true), "somebody waits for the lock");
        });
        assert_eq!(gate.counters(), BreakerCounters { admitted: 2, successes: 1, ..BreakerCounters::default() });
    }

    #[test]
    fn every_admission_and_every_result_is_counted_once_whichever_way_it_took() {
        let (gate, clock, mut notes) = (Gate::new(policy()), Clock::default(), Notes::default());
        let admit = || gate.admit(&clock, &mut Notes::default()).unwrap();
        let (calm, failing) = (admit(), admit());
        gate.fail(failing, &outage(), &clock, &mut notes);
        let locked = [admit(), admit()];
        // The first of them makes it calm again, so the second need not take the lock.
        gate.succeed(locked[0], &clock, &mut notes);
        gate.succeed(locked[1], &clock, &mut notes);
        gate.succeed(calm, &clock, &mut notes);
        let expected = BreakerCounters { admitted: 4, successes: 3, failures: 1, ..BreakerCounters::default() };
        assert_eq!(gate.counters(), expected);
    }

    #[test]
    fn the_pulse_is_calm_only_where_nothing_would_change() {
        let rate = RateThreshold { window: Duration::from_secs(1), calls_min: 1, failures_percent: 50 };
        for (policy, is_calm) in [
            (policy(), true),
            (BreakerPolicy { mode: BreakerMode::MetricsOnly, ..policy() }, true),
            (BreakerPolicy { mode: BreakerMode::ForcedOpen, ..policy() }, false),
            (BreakerPolicy { mode: BreakerMode::Disabled, ..policy() }, false),
            (BreakerPolicy { rate: Some(rate), ..policy() }, false),
        ] {
            assert_eq!(Gate::new(policy.clone()).calm_generation().is_some(), is_calm, "{policy:?}");
        }
    }

    #[test]
    fn a_mode_set_by_hand_is_in_force_at_once_and_announced_once() {
        let (gate, clock, mut notes) = (Gate::new(policy()), Clock::default(), Notes::default());
        let permit = gate.admit(&clock, &mut notes).unwrap();
        gate.set_mode(BreakerMode::ForcedOpen, &mut notes);
        gate.set_mode(BreakerMode::ForcedOpen, &mut notes);
        assert_eq!(gate.admit(&clock, &mut notes), Err(Refusal { retry_after: None }));
        assert!(!gate.is_current(permit, &clock));
        assert_eq!(gate.snapshot().state(clock.now()), BreakerState::ForcedOpen);
        gate.set_mode(BreakerMode::Enforcing, &mut notes);
        assert!(gate.admit(&clock, &mut notes).is_ok());
        let changed = |generation, mode| EventKind::BreakerModeChanged { generation, mode };
        assert_eq!(announced(notes), [changed(1, BreakerMode::ForcedOpen), changed(2, BreakerMode::Enforcing)]);
    }
}
