//! The scheduler: runs the actors of one execution to their ends, in the order that the policy wants.

use super::coroutine::{Coroutine, Stacks, Suspender};
use super::policy::{Point, Policy};
use super::pulse::Pulse;
use crate::actor::Actor;
use crate::call::{Call, Method};
use crate::clock::Clock;
use crate::runtime::{self, Processes, Runtime};
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What one actor does in an execution. It may make VFS calls through any connection.
pub type Task = Box<dyn FnOnce()>;

/// One point at which the course of an execution was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Preemption {
    /// The actor that was running, by position.
    pub actor: usize,
    /// In which of its sections (see [`runtime::section`]).
    pub section: u32,
    /// At which scheduling point of the section, from 1: calls, sleeps, locks.
    pub nth: u64,
    /// The actor that continued, by position.
    pub to: usize,
}

/// How an execution went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execution {
    /// The schedule: every choice that differs from the default, which is the current actor, or its successor if it
    /// cannot continue.
    pub preemptions: Vec<Preemption>,
    /// VFS calls of all actors.
    pub calls: u64,
    /// True if the budget of calls or of other scheduling points ran out; then every further call failed.
    pub halted: bool,
    /// The actors, by position, that waited for each other at the end, so that none of them could go on; or that did
    /// not come to their ends in any way. What they hold stays held for ever: the machine is of no further use.
    pub deadlocked: Vec<usize>,
    /// The actors, by position: those that were given, then those that were spawned, in order.
    pub actors: Vec<Actor>,
}

/// Runs executions, one after the other, on the thread that made it.
pub struct Scheduler {
    stacks: Stacks,
    shared: Rc<Shared>,
}

/// What the scheduling points work on, from inside the coroutines.
struct Shared {
    pulse: Arc<Pulse>,
    clock: Clock,
    processes: Option<Rc<dyn Processes>>,
    policy: RefCell<Box<dyn Policy>>,
    state: RefCell<ExecutionState>,
}

impl Scheduler {
    /// A scheduler that drives this clock.
    /// Its actors live in simulated processes, if any are given.
    pub fn new(clock: Clock, policy: Box<dyn Policy>, processes: Option<Rc<dyn Processes>>) -> Self {
        let (pulse, state) = Default::default();
        let shared = Shared { pulse, clock, processes, policy: RefCell::new(policy), state };
        Self { stacks: Stacks::default(), shared: Rc::new(shared) }
    }

    /// Goes by another policy from the next execution on; gives the present one back.
    pub fn set_policy(&mut self, policy: Box<dyn Policy>) -> Box<dyn Policy> {
        self.shared.policy.replace(policy)
    }

    /// Gives each actor a stack of this size.
    pub(crate) fn set_stack_bytes(&mut self, bytes: usize) {
        self.stacks = Stacks::new(bytes);
    }

    /// What a watchdog on another thread may see.
    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.shared.pulse
    }

    /// Runs the actors to their ends. After `calls_max` calls every further call fails.
    ///
    /// # Panics
    /// If there is no actor, or a task panics.
    pub fn run(&mut self, seed: Seed, calls_max: u64, actors: Vec<(Actor, Task)>) -> Execution {
        let (mut names, tasks): (Vec<Actor>, Vec<Task>) = actors.into_iter().unzip();
        let mut coroutines: Vec<Coroutine> =
            tasks.into_iter().map(|task| Coroutine::new(&mut self.stacks, task)).collect();
        let suspenders = coroutines.iter().map(Coroutine::suspender).collect();
        self.shared.policy.borrow_mut().begin(seed, names.len());
        self.shared.state.borrow_mut().begin(suspenders, calls_max);
        let shared: Rc<dyn Runtime> = Rc::<Shared>::clone(&self.shared);
        let entered = runtime::enter(shared);
        let mut next = Some(0);
        while let Some(current) = next {
            runtime::set_current_actor(names[current]);
            self.shared.pulse.note(names[current]);
            if let Some(processes) = &self.shared.processes {
                processes.resume(names[current].process);
            }
            let has_ended = coroutines[current].resume();
            for (actor, task) in self.shared.take_spawned() {
                let coroutine = Coroutine::new(&mut self.stacks, task);
                self.shared.state.borrow_mut().suspenders.push(coroutine.suspender());
                coroutines.push(coroutine);
                names.push(actor);
            }
            next = if has_ended { self.shared.end() } else { self.shared.current() };
        }
        drop(entered);
        for coroutine in coroutines {
            coroutine.recycle(&mut self.stacks);
        }
        Execution { actors: names, ..self.shared.state.borrow_mut().finish() }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What an actor is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Ready,
    /// Until this moment, in microseconds.
    Sleeping(u64),
    /// Until another actor wakes this key.
    Blocked(usize),
    /// Until another actor wakes this key, or until this moment.
    Waiting(usize, u64),
    Ended,
}

#[derive(Default)]
struct ExecutionState {
    actors: Vec<Status>,
    suspenders: Vec<Suspender>,
    /// Actors that have no coroutine yet: none of them has run.
    spawned: Vec<(Actor, Task)>,
    /// True if another actor, and not the time, ended each actor's last wait.
    woken: Vec<bool>,
    /// The section that each actor is in.
    section: Vec<u32>,
    /// Scheduling points of the section that each actor has come to.
    nth: Vec<u64>,
    current: usize,
    /// The ready ones but for the current one, in order.
    others: Vec<usize>,
    /// The run's time, in microseconds.
    now_us: u64,
    /// When the next sleeper wakes.
    wake_us: u64,
    calls: u64,
    calls_max: u64,
    /// Scheduling points that are no calls.
    points: u64,
    halted: bool,
    deadlocked: Vec<usize>,
    preemptions: Vec<Preemption>,
}

impl Runtime for Shared {
    fn before_call(&self, call: &Call) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.count() {
            // Code that repeats its call however often it fails does not end.
            if state.calls > 2 * state.calls_max {
                self.abandon(state);
            }
            return false;
        }
        self.clock.set_us(state.now_us);
        // SQLite asks for randomness while it holds a process-wide mutex. Another actor that waits for this mutex would
        // block the thread that the holder needs. And whether a thread panics is told by the thread: no other actor may
        // run while this one unwinds.
        if !state.others.is_empty() && call.method != Method::Randomness && !std::thread::panicking() {
            self.choose(state, Some(call), true);
        }
        true
    }

    fn spawn(&self, actor: Actor, task: Task) {
        let mut state = self.state.borrow_mut();
        state.actors.push(Status::Ready);
        state.woken.push(false);
        state.section.push(0);
        state.nth.push(0);
        state.spawned.push((actor, task));
        state.sort_out();
    }

    fn section(&self, number: u32) {
        let mut state = self.state.borrow_mut();
        let current = state.current;
        state.section[current] = number;
        state.nth[current] = 0;
    }

    fn current_section(&self) -> u32 {
        let state = self.state.borrow();
        state.section[state.current]
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.state.borrow().now_us)
    }

    fn sleep(&self, duration: Duration) {
        let duration_us = micros(duration);
        let mut state = self.state.borrow_mut();
        if !state.count_point() {
            return self.abandon(state);
        }
        let current = state.current;
        if state.halted {
            // Nothing waits any more, but time passes and the others get their turns, so that an actor that polls ends.
            state.now_us = state.now_us.saturating_add(duration_us);
            self.clock.set_us(state.now_us);
            if !state.others.is_empty() {
                self.choose(state, None, false);
            }
            return;
        }
        state.actors[current] = Status::Sleeping(state.now_us.saturating_add(duration_us));
        state.sort_out();
        self.clock.set_us(state.now_us);
        let awake = state.actors[current] == Status::Ready;
        if !awake || !state.others.is_empty() {
            self.choose(state, None, awake);
        }
    }

    fn point(&self) {
        let mut state = self.state.borrow_mut();
        if !state.count_point() {
            return self.abandon(state);
        }
        if !state.others.is_empty() && !state.halted && !std::thread::panicking() {
            self.choose(state, None, true);
        }
    }

    fn block(&self, key: usize) {
        let mut state = self.state.borrow_mut();
        if !state.count_point() {
            return self.abandon(state);
        }
        let current = state.current;
        state.actors[current] = Status::Blocked(key);
        state.sort_out();
        self.clock.set_us(state.now_us);
        if !state.others.is_empty() {
            return self.choose(state, None, false);
        }
        // All that is left are blocked ones. To end their code they would have to be given what they wait for, and it
        // is not there: they are left where they are.
        state.deadlocked = state.blocked();
        self.leave_for_ever(state);
    }

    fn block_for(&self, key: usize, timeout: Duration) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.count_point() {
            self.abandon(state);
            return false;
        }
        let current = state.current;
        let until = state.now_us.saturating_add(micros(timeout));
        if state.halted {
            // As in `sleep`: the time is over at once, and the others get their turns.
            state.now_us = until;
            self.clock.set_us(until);
            if !state.others.is_empty() {
                self.choose(state, None, false);
            }
            return false;
        }
        state.actors[current] = Status::Waiting(key, until);
        state.woken[current] = false;
        state.sort_out();
        self.clock.set_us(state.now_us);
        let is_over = state.actors[current] == Status::Ready;
        if !is_over || !state.others.is_empty() {
            self.choose(state, None, is_over);
        } else {
            drop(state);
        }
        self.state.borrow().woken[current]
    }

    fn wake(&self, key: usize) {
        let mut state = self.state.borrow_mut();
        let mut found = false;
        let ExecutionState { actors, woken, .. } = &mut *state;
        for (status, woken) in actors.iter_mut().zip(woken) {
            if matches!(*status, Status::Blocked(at) | Status::Waiting(at, _) if at == key) {
                *status = Status::Ready;
                *woken = true;
                found = true;
            }
        }
        if found {
            state.sort_out();
        }
    }

    fn processes(&self) -> Option<&dyn Processes> {
        self.processes.as_deref()
    }
}

impl Shared {
    fn take_spawned(&self) -> Vec<(Actor, Task)> {
        std::mem::take(&mut self.state.borrow_mut().spawned)
    }

    /// Ends an execution whose actors do not come to their ends though every call of theirs fails.
    fn abandon(&self, mut state: RefMut<'_, ExecutionState>) {
        state.deadlocked = state.unfinished();
        self.leave_for_ever(state);
    }

    fn leave_for_ever(&self, state: RefMut<'_, ExecutionState>) {
        let suspender = state.suspenders[state.current].clone();
        drop(state);
        suspender.suspend();
    }

    /// Asks the policy, and changes to whom it names. `state` is released before.
    fn choose(&self, mut state: RefMut<'_, ExecutionState>, call: Option<&Call>, can_go_on: bool) {
        let current = state.current;
        let (section, nth) = (state.section[current], state.nth[current]);
        let point = Point { current, section, nth, call, others: &state.others, can_go_on };
        let to = self.policy.borrow_mut().choose(&point);
        let unchosen = if can_go_on { current } else { point.successor() };
        if to != unchosen {
            let (section, nth) = (point.section, point.nth);
            state.preemptions.push(Preemption { actor: current, section, nth, to });
        }
        if to != current {
            state.current = to;
            state.sort_out();
            let suspender = state.suspenders[current].clone();
            drop(state);
            suspender.suspend();
        }
    }

    /// The running actor has ended; who goes on.
    fn end(&self) -> Option<usize> {
        let mut state = self.state.borrow_mut();
        let current = state.current;
        state.actors[current] = Status::Ended;
        state.sort_out();
        self.clock.set_us(state.now_us);
        if state.others.is_empty() {
            state.deadlocked = state.blocked();
            return None;
        }
        let section = ENDED;
        let point = Point { current, section, nth: 1, call: None, others: &state.others, can_go_on: false };
        let (to, unchosen) = (self.policy.borrow_mut().choose(&point), point.successor());
        if to != unchosen {
            state.preemptions.push(Preemption { actor: current, section, nth: 1, to });
        }
        state.current = to;
        state.sort_out();
        Some(to)
    }

    fn current(&self) -> Option<usize> {
        let state = self.state.borrow();
        state.deadlocked.is_empty().then_some(state.current)
    }
}

/// In the place of a section where an actor has ended.
pub const ENDED: u32 = u32::MAX;

impl ExecutionState {
    fn begin(&mut self, suspenders: Vec<Suspender>, calls_max: u64) {
        assert!(!suspenders.is_empty(), "an execution needs an actor");
        let count = suspenders.len();
        *self = Self {
            actors: vec![Status::Ready; count],
            suspenders,
            woken: vec![false; count],
            section: vec![0; count],
            nth: vec![0; count],
            wake_us: u64::MAX,
            calls_max,
            ..Self::default()
        };
        self.sort_out();
    }

    fn finish(&mut self) -> Execution {
        let Self { preemptions, calls, halted, deadlocked, .. } = std::mem::take(self);
        Execution { preemptions, calls, halted, deadlocked, actors: Vec::new() }
    }

    /// Counts a scheduling point of the running actor that is no call. They have a budget of their own, as large as
    /// that of the calls. False after twice the budget: the execution cannot end.
    fn count_point(&mut self) -> bool {
        let current = self.current;
        self.nth[current] += 1;
        self.points += 1;
        if self.points > self.calls_max && !self.halted {
            self.halted = true;
            self.sort_out();
        }
        self.points <= 2 * self.calls_max
    }

    fn unfinished(&self) -> Vec<usize> {
        let actors = self.actors.iter().enumerate();
        actors.filter(|(_, status)| **status != Status::Ended).map(|(actor, _)| actor).collect()
    }

    /// The actors that are blocked without a timeout.
    fn blocked(&self) -> Vec<usize> {
        let actors = self.actors.iter().enumerate();
        actors.filter(|(_, status)| matches!(status, Status::Blocked(_))).map(|(actor, _)| actor).collect()
    }

    /// Counts a call of the running actor; false if the budget has run out.
    fn count(&mut self) -> bool {
        let current = self.current;
        self.nth[current] += 1;
        self.calls += 1;
        self.now_us += 1;
        if self.calls > self.calls_max {
            self.halted = true;
            // From here on no actor sleeps, so that all end.
            self.wake_us = 0;
        }
        if self.now_us >= self.wake_us {
            self.sort_out();
        }
        !self.halted
    }

    /// Wakes the actors that are due, and lists the ready ones. If there are none, time passes until one wakes.
    fn sort_out(&mut self) {
        let ready = self.actors.contains(&Status::Ready);
        if !ready && let Some(first) = self.actors.iter().filter_map(|status| status.wake_us()).min() {
            self.now_us = self.now_us.max(first);
        }
        for status in &mut self.actors {
            if status.wake_us().is_some_and(|at| at <= self.now_us || self.halted) {
                *status = Status::Ready;
            }
        }
        self.wake_us = self.actors.iter().filter_map(|status| status.wake_us()).min().unwrap_or(u64::MAX);
        self.others.clear();
        for (actor, status) in self.actors.iter().enumerate() {
            if *status == Status::Ready && actor != self.current {
                self.others.push(actor);
            }
        }
    }
}

impl Status {
    fn wake_us(self) -> Option<u64> {
        match self {
            Self::Sleeping(at) | Self::Waiting(_, at) => Some(at),
            Self::Ready | Self::Blocked(_) | Self::Ended => None,
        }
    }
}
