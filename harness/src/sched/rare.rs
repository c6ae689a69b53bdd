//! `rare`: preempts where something rare happens.
//!
//! Races hide in the windows around uncommon calls: a header read between two locks, the unfetch of a stale mapping, a
//! checkpoint's first write. So the preemptions are spread evenly over the *kinds* of calls (method and role) and not
//! over the calls: the chance at a call is inverse to how large a part of the execution's calls its kind makes up. The
//! kinds that there are get the same share, and as many preemptions come late, when there are rows to lose, as come
//! early, while connections are opened.
//!
//! Most races need few preemptions, and other actors that complete whole statements or transactions in the window that
//! has opened. So preemptions are far apart; how far is drawn for each execution.

use super::policy::{Dice, ONE, Point, Policy, PolicyEntry};
use crate::seed::Seed;

/// The policy in the list.
pub const ENTRY: PolicyEntry = PolicyEntry {
    name: "rare",
    summary: "preempts a few times, evenly spread over the kinds of calls: rare ones get the same share",
    create: || Box::<Rare>::default(),
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Rare {
    dice: Dice,
    /// Points of each kind.
    seen: Box<[u32; Point::KINDS]>,
    /// Kinds that there were.
    kinds: u64,
    points: u64,
    /// Points from one preemption to the next, on average.
    interval: u64,
}

impl Default for Rare {
    fn default() -> Self {
        Self { dice: Dice::new(Seed(0)), seen: Box::new([0; Point::KINDS]), kinds: 0, points: 0, interval: 1 }
    }
}

impl Rare {
    /// Counts the point; the chance of a preemption there, in units of 2^-32.
    fn chance(&mut self, point: &Point<'_>) -> u64 {
        let seen = &mut self.seen[point.kind()];
        *seen += 1;
        self.kinds += u64::from(*seen == 1);
        self.points += 1;
        // The part of the points that are of this kind would be 1/kinds if all were equally frequent.
        ONE * self.points / (u64::from(*seen) * self.kinds * self.interval)
    }
}

impl Policy for Rare {
    fn begin(&mut self, seed: Seed, _actors: usize) {
        self.dice = Dice::new(seed.stream("rare"));
        self.seen.fill(0);
        self.kinds = 0;
        self.points = 0;
        self.interval = [64, 128, 256][self.dice.below(3)];
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        let chance = self.chance(point);
        if !point.can_go_on || self.dice.chance(chance) { self.dice.pick(point.others) } else { point.current }
    }
}
