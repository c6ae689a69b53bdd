//! `pct`: priorities that change at a few points (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010).
//!
//! Each actor gets a random priority, and the ready one with the highest runs. At `d - 1` calls, drawn from the
//! expected length of the execution, the running actor's priority drops below all others. A bug that needs `d` ordering
//! constraints is found with a probability of at least 1/(n k^(d-1)), for n actors and k calls.

use super::policy::{Dice, Point, Policy, PolicyEntry};
use crate::seed::Seed;

/// The most change points (d - 1) of an execution; how many there are is drawn for each.
const CHANGES_MAX: usize = 4;

/// The policy in the list.
pub const ENTRY: PolicyEntry = PolicyEntry {
    name: "pct",
    summary: "the highest priority runs; priorities change at a few random calls",
    create: || Box::<Pct>::default(),
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Pct {
    dice: Dice,
    /// By actor; the higher runs.
    priorities: Vec<i64>,
    /// Numbers of the calls at which the running actor drops, latest first.
    changes: Vec<u64>,
    calls: u64,
    lowest: i64,
}

impl Default for Pct {
    fn default() -> Self {
        let dice = Dice::new(Seed(0));
        Self { dice, priorities: Vec::new(), changes: Vec::new(), calls: 0, lowest: 0 }
    }
}

/// The k of the method: how many calls an execution is expected to make. A constant, because an estimate that is
/// learned from earlier executions would make a schedule depend on them.
const LENGTH: usize = 2000;

impl Policy for Pct {
    fn begin(&mut self, seed: Seed, actors: usize) {
        self.dice = Dice::new(seed.stream("pct"));
        self.priorities = (0..actors as i64).collect();
        for last in (1..actors).rev() {
            let other = self.dice.below(last + 1);
            self.priorities.swap(last, other);
        }
        let changes = 1 + self.dice.below(CHANGES_MAX);
        self.changes = (0..changes).map(|_| self.dice.below(LENGTH) as u64).collect();
        self.changes.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        self.calls = 0;
        self.lowest = -1;
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        self.calls += 1;
        while self.changes.last().is_some_and(|at| *at < self.calls) {
            self.changes.pop();
            self.priorities[point.current] = self.lowest;
            self.lowest -= 1;
        }
        // Actors that have been spawned since.
        while point.others.last().is_some_and(|last| *last >= self.priorities.len()) {
            let priority = self.dice.below(self.priorities.len() + 1) as i64;
            self.priorities.push(priority);
        }
        let others = point.others.iter().copied();
        let ready = others.chain(point.can_go_on.then_some(point.current));
        ready.max_by_key(|actor| self.priorities[*actor]).unwrap_or(point.current)
    }
}
