//! The mutexes by themselves: on threads, among actors, and both at once. The tests of a whole SQLite that goes by them
//! stand in `harness/tests/mutexes.rs`, since they need a process of their own.

use super::*;
use crate::actor::Actor;
use crate::clock::Clock;
use crate::sched::random::Random;
use crate::sched::{self, Execution, Policy, Scheduler, Task};
use crate::seed::Seed;
use crate::shared_state::SharedState;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A mutex as SQLite has it.
struct Raw(*mut sqlite3_mutex);

// SAFETY: a mutex is for all threads.
unsafe impl Send for Raw {}
// SAFETY: a mutex is for all threads.
unsafe impl Sync for Raw {}

impl Raw {
    fn new(id: c_int) -> Self {
        // SAFETY: any number may be asked for.
        let mutex = unsafe { x_alloc(id) };
        assert!(!mutex.is_null());
        Self(mutex)
    }

    fn enter(&self) {
        // SAFETY: not freed yet.
        unsafe { x_enter(self.0) }
    }

    fn try_enter(&self) -> bool {
        // SAFETY: not freed yet.
        let rc = unsafe { x_try(self.0) };
        assert!([ffi::SQLITE_OK, ffi::SQLITE_BUSY].contains(&rc));
        rc == ffi::SQLITE_OK
    }

    fn leave(&self) {
        assert!(self.is_held());
        // SAFETY: not freed yet, and held.
        unsafe { x_leave(self.0) }
    }

    fn is_held(&self) -> bool {
        // SAFETY: not freed yet.
        let held = unsafe { x_held(self.0) } != 0;
        // SAFETY: not freed yet.
        let not_held = unsafe { x_not_held(self.0) } != 0;
        assert_ne!(held, not_held);
        held
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: not used afterwards.
        unsafe { x_free(self.0) }
    }
}

fn run(seed: u64, policy: Box<dyn Policy>, tasks: Vec<Task>) -> Execution {
    let clock = Clock::new(Arc::new(SharedState::private(2)));
    clock.set_scale(0);
    let actors = (1..).zip(tasks).map(|(thread, task)| (Actor { process: 1, thread }, task));
    Scheduler::new(clock, policy, None).run(Seed(seed), 10_000, actors.collect())
}

/// Adds a preemption point where nothing is entered: a VFS call, say.
fn call() {
    runtime::point();
}

#[test]
fn a_null_mutex_is_no_mutex_and_an_unknown_number_has_none() {
    let null = ptr::null_mut();
    // SAFETY: null is allowed.
    unsafe { x_enter(null) };
    // SAFETY: null is allowed.
    unsafe { x_leave(null) };
    // SAFETY: null is allowed.
    unsafe { x_free(null) };
    // SAFETY: null is allowed.
    assert_eq!(unsafe { x_try(null) }, ffi::SQLITE_OK);
    for id in [-1, c_int::MIN, 18, c_int::MAX] {
        // SAFETY: any number may be asked for.
        assert!(unsafe { x_alloc(id) }.is_null(), "{id}");
    }
}

#[test]
fn static_mutexes_are_the_same_each_time_and_dynamic_ones_are_not() {
    let statics: std::collections::BTreeSet<usize> = (2..=13).map(|id| Raw::new(id).0.addr()).collect();
    assert_eq!(statics.len(), 12);
    assert!((2..=13).all(|id| statics.contains(&Raw::new(id).0.addr())), "and freeing one does nothing");
    let dynamic = [0, 1, 0, 1].map(Raw::new);
    let different: std::collections::BTreeSet<usize> = dynamic.iter().map(|raw| raw.0.addr()).collect();
    assert_eq!(different.len(), 4);
}

#[test]
fn threads_are_kept_apart_and_recursion_is_counted() {
    for id in [ffi::SQLITE_MUTEX_FAST, ffi::SQLITE_MUTEX_RECURSIVE, 15] {
        let raw = Raw::new(id);
        let counter = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        raw.enter();
                        let is_recursive = id == ffi::SQLITE_MUTEX_RECURSIVE;
                        if is_recursive {
                            raw.enter();
                            assert!(raw.try_enter());
                        }
                        let before = counter.load(Ordering::Relaxed);
                        std::hint::spin_loop();
                        counter.store(before + 1, Ordering::Relaxed);
                        if is_recursive {
                            raw.leave();
                            raw.leave();
                        }
                        raw.leave();
                    }
                });
            }
        });
        assert_eq!(counter.into_inner(), 8000, "{id}");
        raw.enter();
        assert!(std::thread::scope(|scope| scope.spawn(|| !raw.is_held() && !raw.try_enter()).join().unwrap()));
        raw.leave();
    }
}

#[test]
fn actors_are_kept_apart_as_threads_are() {
    for id in [ffi::SQLITE_MUTEX_FAST, ffi::SQLITE_MUTEX_RECURSIVE, 16] {
        let mut found_busy = false;
        for seed in 0..100 {
            let state = Rc::new((Raw::new(id), Cell::new((false, 0)), Cell::new(false)));
            let task = || -> Task {
                let state = Rc::clone(&state);
                Box::new(move || {
                    let (raw, within, busy) = &*state;
                    for round in 0..10 {
                        if round % 3 == 0 && !raw.try_enter() {
                            busy.set(true);
                            continue;
                        } else if round % 3 != 0 {
                            raw.enter();
                        }
                        assert!(!within.get().0, "two are in it");
                        within.set((true, within.get().1 + 1));
                        call();
                        assert!(raw.is_held());
                        within.set((false, within.get().1));
                        raw.leave();
                        call();
                    }
                })
            };
            let execution = run(seed, Box::new(Random::default()), (0..3).map(|_| task()).collect());
            assert!(execution.deadlocked.is_empty() && (18..=30).contains(&state.1.get().1));
            found_busy |= state.2.get();
        }
        assert!(found_busy, "it was never found taken");
    }
}

/// Scheduling points that are no calls, counted: two actors enter and leave, so many times each.
fn points_of(id: c_int, shared: bool) -> u64 {
    /// Counts, and never preempts.
    struct Counting(Rc<Cell<u64>>);

    impl Policy for Counting {
        fn begin(&mut self, _seed: Seed, _actors: usize) {}

        fn choose(&mut self, point: &sched::Point<'_>) -> usize {
            self.0.set(self.0.get() + u64::from(point.section != sched::ENDED));
            if point.can_go_on { point.current } else { point.successor() }
        }
    }

    let count: Rc<Cell<u64>> = Rc::default();
    let mutexes = Rc::new([Raw::new(id), Raw::new(id)]);
    // Code that is no actor does not count as one.
    mutexes[0].enter();
    mutexes[0].leave();
    let task = |which: usize| -> Task {
        let mutexes = Rc::clone(&mutexes);
        Box::new(move || {
            for _ in 0..5 {
                mutexes[which].enter();
                mutexes[which].leave();
            }
        })
    };
    // The third one only sees to it that there is always an actor to go on.
    let idle: Task = Box::new(|| ());
    run(1, Box::new(Counting(Rc::clone(&count))), vec![task(0), task(usize::from(!shared)), idle]);
    count.get()
}

#[test]
fn only_a_recursive_mutex_that_actors_share_is_a_scheduling_point() {
    assert_eq!(points_of(ffi::SQLITE_MUTEX_RECURSIVE, false), 0);
    assert_eq!(points_of(ffi::SQLITE_MUTEX_RECURSIVE, true), 5, "from the second actor on");
    assert_eq!(points_of(ffi::SQLITE_MUTEX_FAST, true), 0);
    assert_eq!(points_of(17, true), 0);
}

#[test]
fn actors_that_wait_for_each_others_mutexes_are_deadlocked() {
    let deadlocks = (0..100).filter(|seed| {
        let mutexes = Rc::new([Raw::new(1), Raw::new(1)]);
        let task = |first: usize| -> Task {
            let mutexes = Rc::clone(&mutexes);
            Box::new(move || {
                mutexes[first].enter();
                call();
                mutexes[1 - first].enter();
                mutexes[1 - first].leave();
                mutexes[first].leave();
            })
        };
        let execution = run(*seed, Box::new(Random::default()), vec![task(0), task(1)]);
        assert!(execution.deadlocked.is_empty() || execution.deadlocked == [0, 1]);
        !execution.deadlocked.is_empty()
    });
    assert!((5..95).contains(&deadlocks.count()));
}

/// Ends a process that would hang, and says why.
#[test]
fn who_waits_for_an_actor_that_was_left_behind_aborts() {
    const CHILD: &str = "SEAWALL_LEFT_BEHIND";
    if std::env::var_os(CHILD).is_none() {
        let name = "engine::mutexes::tests::who_waits_for_an_actor_that_was_left_behind_aborts";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains("left behind in a deadlock"), "{stderr}");
        return;
    }
    let raw = Rc::new(Raw::new(ffi::SQLITE_MUTEX_RECURSIVE));
    let task: Task = {
        let raw = Rc::clone(&raw);
        Box::new(move || {
            raw.enter();
            runtime::block(1);
        })
    };
    assert_eq!(run(1, Box::new(Random::default()), vec![task]).deadlocked, [0]);
    assert!(!raw.try_enter());
    raw.enter();
}

#[test]
fn an_actor_waits_for_another_thread_and_a_thread_for_an_actor() {
    let raw = Arc::new(Raw::new(ffi::SQLITE_MUTEX_FAST));
    let counter = Arc::new(AtomicU32::new(0));
    let add = |raw: &Raw, counter: &AtomicU32, within: &dyn Fn()| {
        raw.enter();
        let before = counter.load(Ordering::Relaxed);
        within();
        counter.store(before + 1, Ordering::Relaxed);
        raw.leave();
    };
    let other = {
        let (raw, counter) = (Arc::clone(&raw), Arc::clone(&counter));
        std::thread::spawn(move || {
            for round in 0..3000 {
                let within = || {
                    if round % 100 == 0 {
                        std::thread::sleep(Duration::from_micros(200))
                    }
                };
                add(&raw, &counter, &within);
            }
        })
    };
    for seed in 0..100 {
        let task = || -> Task {
            let (raw, counter) = (Arc::clone(&raw), Arc::clone(&counter));
            Box::new(move || (0..10).for_each(|_| add(&raw, &counter, &call)))
        };
        assert!(run(seed, Box::new(Random::default()), (0..3).map(|_| task()).collect()).deadlocked.is_empty());
    }
    other.join().unwrap();
    assert_eq!(counter.load(Ordering::Relaxed), 6000);
}
