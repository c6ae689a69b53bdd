//! `round-robin`: every actor makes the same number of calls, then the next one goes on.

use super::policy::{Dice, Point, Policy, PolicyEntry};
use crate::seed::Seed;

/// The policy in the list.
pub const ENTRY: PolicyEntry = PolicyEntry {
    name: "round-robin",
    summary: "every actor makes the same number of calls, then the next one goes on",
    create: || Box::<RoundRobin>::default(),
};

/// See the module's documentation. The length of a turn is drawn for each execution from 1, 2, 3, 5, 8, 13, 21 and 34
/// calls.
#[derive(Debug, Default)]
pub struct RoundRobin {
    turn: u64,
    left: u64,
}

impl Policy for RoundRobin {
    fn begin(&mut self, seed: Seed, _actors: usize) {
        let mut dice = Dice::new(seed.stream("round-robin"));
        self.turn = [1, 2, 3, 5, 8, 13, 21, 34][dice.below(8)];
        self.left = self.turn;
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        self.left = self.left.saturating_sub(1);
        if point.can_go_on && self.left > 0 {
            return point.current;
        }
        self.left = self.turn;
        point.successor()
    }
}
