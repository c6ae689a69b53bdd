//! Policies for short executions, such as those of tests.

use crate::call::Method;
use crate::sched::pct::Pct;
use crate::sched::random::Random;
use crate::sched::rare::Rare;
use crate::sched::{Dice, Point, Policy, Preemption};
use crate::seed::Seed;
use std::cell::RefCell;
use std::rc::Rc;

/// The policy that a seed draws, for an execution that is expected to have so many calls.
pub(super) fn policy(seed: Seed, calls: u64) -> Box<dyn Policy> {
    match Dice::new(seed.stream("policy")).below(6) {
        0 => Box::new(Rare::default()),
        1 => Box::new(Pct::default()),
        2 => Box::new(Random::default()),
        _ => Box::new(Sparse::new(calls, 3)),
    }
}

/// A few preemptions, at any point with the same probability. Most races need one or two.
pub(super) struct Sparse {
    /// How many points there are.
    points: u64,
    preemptions_max: usize,
    dice: Dice,
    /// The points of the preemptions, from 1.
    at: Vec<u64>,
    seen: u64,
}

impl Sparse {
    pub(super) fn new(points: u64, preemptions_max: usize) -> Self {
        Self { points, preemptions_max, dice: Dice::new(Seed(0)), at: Vec::new(), seen: 0 }
    }
}

impl Policy for Sparse {
    fn begin(&mut self, seed: Seed, _actors: usize) {
        self.dice = Dice::new(seed.stream("sparse"));
        self.seen = 0;
        let points = usize::try_from(self.points).unwrap_or(usize::MAX).max(8);
        let preemptions = 1 + self.dice.below(self.preemptions_max);
        self.at = (0..preemptions).map(|_| 1 + self.dice.below(points) as u64).collect();
        if self.dice.below(2) == 0 {
            // Another actor begins.
            self.at.push(1);
        }
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        self.seen += 1;
        if !point.can_go_on {
            return if self.dice.below(4) == 0 { self.other(point) } else { point.successor() };
        }
        if self.at.contains(&self.seen) { self.other(point) } else { point.current }
    }
}

impl Sparse {
    fn other(&mut self, point: &Point<'_>) -> usize {
        point.others[self.dice.below(point.others.len())]
    }
}

/// Follows another policy, but lets the next actor run after so many points of one actor. Code that repeats a statement
/// until another process has ended its transaction would never end otherwise.
pub(super) struct Fair {
    inner: Box<dyn Policy>,
    last: usize,
    points: u64,
    locks: u64,
    /// Points that the present actor has for itself, since another one had too many.
    own: u64,
}

/// Points that an actor then has for itself: enough for the end of a transaction.
const OWN: u64 = 100;

/// Points of one actor in a row. Long statements have a few hundred.
const POINTS_MAX: u64 = 2_000;

/// Calls of one actor in a row that take a lock. A transaction has a few; code that tries again has no end of them.
const LOCKS_MAX: u64 = 100;

impl Fair {
    pub(super) fn new(inner: Box<dyn Policy>) -> Self {
        Self { inner, last: 0, points: 0, locks: 0, own: 0 }
    }
}

impl Policy for Fair {
    fn begin(&mut self, seed: Seed, actors: usize) {
        self.inner.begin(seed, actors);
        (self.last, self.points, self.locks, self.own) = (0, 0, 0, 0);
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        if point.current != self.last {
            (self.last, self.points, self.locks) = (point.current, 0, 0);
        }
        let has_own = self.own > 0;
        self.own = self.own.saturating_sub(1);
        self.points += 1;
        self.locks += u64::from(point.call.is_some_and(|call| matches!(call.method, Method::Lock | Method::ShmLock)));
        let to = self.inner.choose(point);
        if has_own && point.can_go_on {
            return point.current;
        }
        self.own = 0;
        if to != point.current || (self.points < POINTS_MAX && self.locks < LOCKS_MAX) {
            return to;
        }
        (self.points, self.locks, self.own) = (0, 0, OWN);
        point.successor()
    }
}

/// Preempts nowhere, and notes where it could have.
#[derive(Default)]
pub(super) struct Scout {
    possible: Rc<RefCell<Vec<Preemption>>>,
}

impl Scout {
    /// All schedules of one preemption, in the order of their points.
    pub(super) fn possible(&self) -> Rc<RefCell<Vec<Preemption>>> {
        Rc::clone(&self.possible)
    }
}

impl Policy for Scout {
    fn begin(&mut self, _seed: Seed, _actors: usize) {
        self.possible.borrow_mut().clear();
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        let unchosen = if point.can_go_on { point.current } else { point.successor() };
        let Point { current: actor, section, nth, .. } = *point;
        let others = point.others.iter().copied().filter(|to| *to != unchosen);
        self.possible.borrow_mut().extend(others.map(|to| Preemption { actor, section, nth, to }));
        unchosen
    }
}
