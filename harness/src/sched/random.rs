//! `random`: at each call, with a fixed probability, a random other actor goes on.

use super::policy::{Dice, ONE, Point, Policy, PolicyEntry};
use crate::seed::Seed;

/// The policy in the list.
pub const ENTRY: PolicyEntry = PolicyEntry {
    name: "random",
    summary: "preempts at each call with the same chance",
    create: || Box::<Random>::default(),
};

/// See the module's documentation. The probability is drawn for each execution from 1/2, 1/8, 1/32 and 1/128.
#[derive(Debug)]
pub struct Random {
    dice: Dice,
    chance: u64,
}

impl Default for Random {
    fn default() -> Self {
        Self { dice: Dice::new(Seed(0)), chance: 0 }
    }
}

impl Policy for Random {
    fn begin(&mut self, seed: Seed, _actors: usize) {
        self.dice = Dice::new(seed.stream("random"));
        self.chance = ONE >> [1, 3, 5, 7][self.dice.below(4)];
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        if !point.can_go_on || self.dice.chance(self.chance) { self.dice.pick(point.others) } else { point.current }
    }
}
