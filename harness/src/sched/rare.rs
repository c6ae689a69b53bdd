//! `rare`: preempts where something rare happens.
//!
//! Races hide in the windows around uncommon calls: a header read between two locks, the unfetch of a stale mapping, a
//! checkpoint's first write. So the chance of a preemption at a call is inverse to how often its kind (method and role)
//! has been seen in this execution, and after a preemption the next actor is left alone for a while, so that it gets a
//! whole statement or transaction done inside the window.
//!
//! The knobs are drawn for each execution: how eager it is, and how long the calm lasts.

use super::policy::{Dice, ONE, Point, Policy};
use crate::seed::Seed;
use crate::vfs::call::{Method, Role};

/// Where the points that are no calls are counted.
const LOCK: usize = Method::ALL.len() * Role::ALL.len();

const KINDS: usize = LOCK + 1;

/// See the module's documentation.
#[derive(Debug)]
pub struct Rare {
    dice: Dice,
    seen: Box<[u32; KINDS]>,
    /// Chance at the first call of a kind, in units of 2^-32; at the n-th it is 1/n of that.
    eagerness: u64,
    /// The calm after a preemption is drawn below this, in calls.
    calm_max: usize,
    calm: usize,
}

impl Default for Rare {
    fn default() -> Self {
        Self { dice: Dice::new(Seed(0)), seen: Box::new([0; KINDS]), eagerness: 0, calm_max: 1, calm: 0 }
    }
}

impl Policy for Rare {
    fn name(&self) -> &'static str {
        "rare"
    }

    fn begin(&mut self, seed: Seed, _actors: usize) {
        self.dice = Dice::new(seed.stream("rare"));
        self.seen.fill(0);
        self.eagerness = [ONE / 4, ONE / 2, ONE, ONE * 2, ONE * 4][self.dice.below(5)];
        self.calm_max = [1, 16, 64, 256, 1024][self.dice.below(5)];
        self.calm = 0;
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        if !point.can_go_on {
            return self.dice.pick(point.others);
        }
        let kind = point.call.map_or(LOCK, |call| call.method as usize * Role::ALL.len() + call.role as usize);
        let seen = &mut self.seen[kind];
        *seen += 1;
        if self.calm > 0 {
            self.calm -= 1;
            return point.current;
        }
        if !self.dice.chance(self.eagerness / u64::from(*seen)) {
            return point.current;
        }
        self.calm = self.dice.below(self.calm_max);
        self.dice.pick(point.others)
    }
}
