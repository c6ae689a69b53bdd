//! The scheduler with actors that make calls and nothing else.

use super::random::Random;
use super::rare::Rare;
use super::replay::Replay;
use super::sync::Mutex;
use super::{Execution, POLICIES, Policy, PolicyEntry, Preemption, Scheduler, Task, policy};
use crate::actor::Actor;
use crate::call::{Call, Method, Role};
use crate::clock::Clock;
use crate::runtime;
use crate::seed::Seed;
use crate::shared_state::SharedState;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

mod toy;

fn call(method: Method) -> Call {
    Call { method, role: Role::Db, file: 1, arg: 0, amount: 0 }
}

type Log = Rc<RefCell<Vec<(u16, u32)>>>;

/// Three actors of twenty calls each; what they did, in the order in which they did it.
fn execute(policy: Box<dyn Policy>, seed: u64, calls_max: u64) -> (Vec<(u16, u32)>, Execution) {
    let clock = Clock::new(Arc::new(SharedState::private(2)));
    clock.set_scale(0);
    let log: Log = Rc::default();
    let actors = (1..=3_u16).map(|thread| {
        let (log, clock) = (Rc::clone(&log), clock.clone());
        let task: Task = Box::new(move || {
            for step in 0..20 {
                assert_eq!(runtime::current_actor().thread, thread);
                if !runtime::before_call(&call(if step == 7 { Method::Truncate } else { Method::Read })) {
                    return;
                }
                log.borrow_mut().push((thread, step));
                if step == 10 {
                    clock.sleep(Duration::from_millis(5));
                }
            }
        });
        (Actor { process: 1, thread }, task)
    });
    let execution = Scheduler::new(clock.clone(), policy, None).run(Seed(seed), calls_max, actors.collect());
    (Rc::try_unwrap(log).unwrap().into_inner(), execution)
}

/// The list, and the toy policy of the page on policies.
fn entries() -> impl Iterator<Item = &'static PolicyEntry> {
    POLICIES.iter().chain(&[toy::ENTRY])
}

const PAGE: &str = include_str!("../../../../docs/contributing/policy.md");

#[test]
fn the_page_lists_every_policy_and_shows_the_toy_policy() {
    for PolicyEntry { name, summary, .. } in POLICIES {
        assert!(PAGE.contains(&format!("| `{name}` | {summary} |\n")), "{name}");
        assert!(policy(name).is_some());
    }
    assert!(PAGE.contains(&format!("```rust\n{}```\n", include_str!("toy.rs"))));
    assert!(policy(toy::ENTRY.name).is_none());
}

#[test]
fn every_policy_repeats_by_seed_and_differs_between_seeds() {
    for entry in entries() {
        let run = |seed| execute((entry.create)(), seed, 1000);
        let different: std::collections::BTreeSet<_> = (0..40).map(|seed| run(seed).0).collect();
        assert!(different.len() > 3, "{}", entry.name);
        for seed in 0..40 {
            assert_eq!(run(seed), run(seed));
            assert_eq!(run(seed).1.calls, 60, "every actor comes to the end");
        }
    }
}

#[test]
fn a_recorded_schedule_replays() {
    for entry in entries() {
        for seed in 0..40 {
            let (log, execution) = execute((entry.create)(), seed, 1000);
            let replayed = execute(Box::new(Replay::new(&execution.preemptions)), 99, 1000);
            assert_eq!(replayed, (log, execution));
        }
    }
}

#[test]
fn without_preemptions_actors_run_until_they_sleep_or_end() {
    let (log, execution) = execute(Box::new(Replay::new(&[])), 0, 1000);
    assert!(execution.preemptions.is_empty());
    let switches: Vec<u16> = log.chunk_by(|a, b| a.0 == b.0).map(|run| run[0].0).collect();
    assert_eq!(switches, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_budget_of_calls_ends_every_actor() {
    let (log, execution) = execute(Box::new(Random::default()), 1, 25);
    assert!(execution.halted);
    assert_eq!(log.len(), 25);
    assert_eq!(execution.calls, 28, "each actor made one more call, which failed");
}

#[test]
fn a_sleeper_lets_the_others_run_and_wakes_in_time() {
    let clock = Clock::new(Arc::new(SharedState::private(2)));
    clock.set_scale(0);
    let woken: Rc<RefCell<Vec<(u16, Duration)>>> = Rc::default();
    let actors = [(1_u16, 500_u64), (2, 200), (3, 900)].map(|(thread, ms)| {
        let (woken, clock) = (Rc::clone(&woken), clock.clone());
        let task: Task = Box::new(move || {
            clock.sleep(Duration::from_millis(ms));
            woken.borrow_mut().push((thread, clock.now()));
        });
        (Actor { process: 1, thread }, task)
    });
    Scheduler::new(clock.clone(), Box::new(Rare::default()), None).run(Seed(1), 1000, actors.into());
    let ms = Duration::from_millis;
    assert_eq!(*woken.borrow(), [(2, ms(200)), (1, ms(500)), (3, ms(900))]);
}

/// Actors that run these closures; what became of it.
fn run(policy: Box<dyn Policy>, seed: u64, tasks: Vec<Task>) -> Execution {
    let clock = Clock::new(Arc::new(SharedState::private(2)));
    clock.set_scale(0);
    let actors = (1..).zip(tasks).map(|(thread, task)| (Actor { process: 1, thread }, task));
    Scheduler::new(clock, policy, None).run(Seed(seed), 10_000, actors.collect())
}

#[test]
fn a_lock_lets_the_others_run_while_one_waits_for_it() {
    for seed in 0..200 {
        let counter = Rc::new(Mutex::new((0, false)));
        let task = |counter: &Rc<Mutex<(u32, bool)>>| -> Task {
            let counter = Rc::clone(counter);
            Box::new(move || {
                for _ in 0..5 {
                    let mut held = counter.lock();
                    assert!(!held.1, "two hold the lock");
                    held.1 = true;
                    runtime::before_call(&call(Method::Read));
                    held.0 += 1;
                    held.1 = false;
                }
            })
        };
        let execution = run(Box::new(Random::default()), seed, (0..3).map(|_| task(&counter)).collect());
        assert_eq!(counter.lock().0, 15);
        assert!(execution.deadlocked.is_empty());
    }
}

#[test]
fn actors_that_wait_for_each_other_are_deadlocked_and_nothing_hangs() {
    let deadlocks = (0..200).filter(|seed| {
        let locks = Rc::new([Mutex::new(()), Mutex::new(())]);
        let task = |first: usize| -> Task {
            let locks = Rc::clone(&locks);
            Box::new(move || {
                let _first = locks[first].lock();
                let _second = locks[1 - first].lock();
            })
        };
        let execution = run(Box::new(Random::default()), *seed, vec![task(0), task(1)]);
        assert!(execution.deadlocked.is_empty() || execution.deadlocked == [0, 1]);
        !execution.deadlocked.is_empty()
    });
    let deadlocks = deadlocks.count();
    assert!((5..195).contains(&deadlocks), "{deadlocks} of 200");
}

#[test]
fn a_preemption_stays_where_it_was_if_an_earlier_section_is_left_out() {
    let log: Rc<RefCell<Vec<(usize, u32)>>> = Rc::default();
    let task = |actor: usize, sections: &'static [u32]| -> Task {
        let log = Rc::clone(&log);
        Box::new(move || {
            for number in sections {
                runtime::section(*number);
                for _ in 0..3 {
                    runtime::before_call(&call(Method::Read));
                    log.borrow_mut().push((actor, *number));
                }
            }
        })
    };
    let preemptions = [Preemption { actor: 0, section: 7, nth: 2, to: 1 }];
    let policy = || Box::new(Replay::new(&preemptions));
    let whole = run(policy(), 0, vec![task(0, &[5, 7]), task(1, &[1])]);
    let order = log.take();
    assert_eq!(order[3..8], [(0, 7), (1, 1), (1, 1), (1, 1), (0, 7)]);
    let shorter = run(policy(), 0, vec![task(0, &[7]), task(1, &[1])]);
    assert_eq!(log.take(), order[3..]);
    assert_eq!((whole.preemptions, shorter.preemptions), (preemptions.to_vec(), preemptions.to_vec()));
}

/// Waits for a flag by sleeping, and by nothing else, as code does that polls a lock file.
#[test]
fn an_actor_that_polls_ends_when_the_budget_has_run_out() {
    let flag = Rc::new(RefCell::new(false));
    let clock = Clock::new(Arc::new(SharedState::private(2)));
    clock.set_scale(0);
    let (asker, setter) = (Rc::clone(&flag), Rc::clone(&flag));
    let polling = clock.clone();
    let poll: Task = Box::new(move || {
        let begun = polling.now();
        while !*asker.borrow() && polling.now() < begun + Duration::from_secs(3600) {
            polling.sleep(Duration::from_millis(1));
        }
    });
    let work: Task = Box::new(move || {
        while runtime::before_call(&call(Method::Read)) {}
        *setter.borrow_mut() = true;
    });
    let actors = [poll, work].into_iter().zip(1..).map(|(task, thread)| (Actor { process: 1, thread }, task));
    let execution = Scheduler::new(clock, Box::new(Random::default()), None).run(Seed(1), 500, actors.collect());
    assert!(execution.halted && execution.deadlocked.is_empty() && *flag.borrow());
}

#[test]
fn an_actor_that_never_ends_and_makes_no_call_is_left_behind() {
    let spin: Task = Box::new(|| {
        while runtime::is_simulated() {
            runtime::point();
        }
    });
    let execution = run(Box::new(Random::default()), 1, vec![spin]);
    assert!(execution.halted);
    assert_eq!(execution.deadlocked, [0]);
}
