//! `random`: at each call, with a fixed probability, somebody else goes on, whoever it is.

use super::policy::{Dice, ONE, Point, Policy};
use crate::seed::Seed;

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
    fn name(&self) -> &'static str {
        "random"
    }

    fn begin(&mut self, seed: Seed, _actors: usize) {
        self.dice = Dice::new(seed.stream("random"));
        self.chance = ONE >> [1, 3, 5, 7][self.dice.below(4)];
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        if !point.can_go_on || self.dice.chance(self.chance) { self.dice.pick(point.others) } else { point.current }
    }
}
