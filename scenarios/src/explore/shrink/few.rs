//! Random schedules with few preemptions.

use super::candidate::PREEMPTIONS_GOOD;
use seawall_harness::sched::{Dice, Point, Policy, Preemption};
use seawall_harness::seed::Seed;

/// Preempts three times at most: after a wait of random length, at a call of a kind that is rare in this execution;
/// some of its preemptions may repeat those of another schedule.
pub(super) struct Few {
    /// The other schedule.
    from: Vec<Preemption>,
    /// The preemptions of it that are repeated.
    repeated: Vec<Preemption>,
    dice: Dice,
    left: usize,
    wait: usize,
    seen: Box<[usize; Point::KINDS]>,
}

/// The longest wait is two to this power, in scheduling points.
const WAIT_BITS_MAX: usize = 9;

impl Default for Few {
    fn default() -> Self {
        Self {
            from: Vec::new(),
            repeated: Vec::new(),
            dice: Dice::new(Seed(0)),
            left: 0,
            wait: 0,
            seen: Box::new([0; Point::KINDS]),
        }
    }
}

impl Few {
    /// Repeats some preemptions of this schedule.
    pub(super) fn like(preemptions: &[Preemption]) -> Self {
        Self { from: preemptions.to_vec(), ..Self::default() }
    }

    fn draw_wait(&mut self) {
        let longest = 1 << self.dice.below(WAIT_BITS_MAX + 1);
        self.wait = self.dice.below(longest);
    }
}

impl Policy for Few {
    fn begin(&mut self, seed: Seed, _actors: usize) {
        self.dice = Dice::new(seed.stream("few"));
        self.seen.fill(0);
        self.left = 1 + self.dice.below(PREEMPTIONS_GOOD);
        self.repeated.clear();
        if !self.from.is_empty() {
            for _ in 0..1 + self.dice.below(2) {
                let position = self.dice.below(self.from.len());
                self.repeated.push(self.from[position]);
            }
            self.left = self.left.saturating_sub(1);
        }
        self.draw_wait();
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        let here = (point.current, point.section, point.nth);
        let repeated = self.repeated.iter().find(|p| (p.actor, p.section, p.nth) == here);
        if let Some(preemption) = repeated.filter(|p| point.others.contains(&p.to)) {
            return preemption.to;
        }
        if !point.can_go_on {
            return point.successor();
        }
        let seen = &mut self.seen[point.kind()];
        *seen += 1;
        if self.left == 0 || self.wait > 0 {
            self.wait = self.wait.saturating_sub(1);
            return point.current;
        }
        if self.dice.below(*seen) >= 4 {
            return point.current;
        }
        self.left -= 1;
        self.draw_wait();
        point.others[self.dice.below(point.others.len())]
    }
}
