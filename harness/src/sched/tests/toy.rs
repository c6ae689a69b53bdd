//! `every-nth`: at every N-th point a random other actor goes on; N is drawn for each execution from 2 to 9.

use crate::sched::{Dice, Point, Policy, PolicyEntry};
use crate::seed::Seed;

/// The policy in the list.
pub const ENTRY: PolicyEntry = PolicyEntry {
    name: "every-nth",
    summary: "at every N-th call a random other actor goes on",
    create: || Box::new(EveryNth { dice: Dice::new(Seed(0)), interval: 2, points: 0 }),
};

/// See the module's documentation.
struct EveryNth {
    dice: Dice,
    interval: usize,
    points: usize,
}

impl Policy for EveryNth {
    fn begin(&mut self, seed: Seed, _actors: usize) {
        self.dice = Dice::new(seed.stream("every-nth"));
        self.interval = 2 + self.dice.below(8);
        self.points = 0;
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        self.points += 1;
        let is_due = self.points.is_multiple_of(self.interval);
        if is_due || !point.can_go_on { point.others[self.dice.below(point.others.len())] } else { point.current }
    }
}
