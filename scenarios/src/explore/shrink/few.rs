//! Random schedules with few preemptions.

use seawall_harness::sched::{Point, Policy, Preemption};
use seawall_harness::seed::{Seed, mix};
use seawall_harness::vfs::call::{Method, Role};

use super::PREEMPTIONS_GOOD;

/// Preempts three times at most: after a wait of random length, at a call of a kind that is rare in this execution; and
/// some of the times as another schedule did.
pub(super) struct Few {
    /// The other schedule.
    from: Vec<Preemption>,
    /// What of it is repeated.
    repeated: Vec<Preemption>,
    dice: Dice,
    left: u64,
    calm: u64,
    seen: Box<[u64; KINDS]>,
}

const KINDS: usize = Method::ALL.len() * Role::ALL.len() + 1;

/// What kind of call it is: method and role, or none.
pub(super) fn kind_of(point: &Point<'_>) -> usize {
    point.call.map_or(KINDS - 1, |call| call.method as usize * Role::ALL.len() + call.role as usize)
}

/// The longest wait is two to this power, in scheduling points.
const CALM_BITS_MAX: u64 = 9;

impl Default for Few {
    fn default() -> Self {
        Self { from: Vec::new(), repeated: Vec::new(), dice: Dice(0), left: 0, calm: 0, seen: Box::new([0; KINDS]) }
    }
}

impl Few {
    /// Some of the times as this schedule did.
    pub(super) fn like(preemptions: &[Preemption]) -> Self {
        Self { from: preemptions.to_vec(), ..Self::default() }
    }

    fn wait(&mut self) {
        let longest = 1 << self.dice.below(CALM_BITS_MAX + 1);
        self.calm = self.dice.below(longest);
    }
}

impl Policy for Few {
    fn name(&self) -> &'static str {
        "few"
    }

    fn begin(&mut self, seed: Seed, _actors: usize) {
        self.dice = Dice(seed.stream("few").0);
        self.seen.fill(0);
        self.left = 1 + self.dice.below(PREEMPTIONS_GOOD as u64);
        self.repeated.clear();
        if !self.from.is_empty() {
            for _ in 0..1 + self.dice.below(2) {
                let position = self.dice.below(self.from.len() as u64) as usize;
                self.repeated.push(self.from[position]);
            }
            self.left = self.left.saturating_sub(1);
        }
        self.wait();
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
        let kind = kind_of(point);
        self.seen[kind] += 1;
        if self.left == 0 || self.calm > 0 {
            self.calm = self.calm.saturating_sub(1);
            return point.current;
        }
        if self.dice.below(self.seen[kind]) >= 4 {
            return point.current;
        }
        self.left -= 1;
        self.wait();
        point.others[self.dice.below(point.others.len() as u64) as usize]
    }
}

/// splitmix64 as a generator: a draw for every decision.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let value = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(value) * u128::from(bound)) >> 64) as u64
    }
}
