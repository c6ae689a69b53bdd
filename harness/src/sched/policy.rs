//! What a policy decides, and what it knows when it does.

use crate::call::{Call, Method, Role};
use crate::seed::Seed;

/// A scheduling point.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// The actor that has come to it, by its position.
    pub current: usize,
    /// Which section of its work it is in.
    pub section: u32,
    /// Which scheduling point of the section this is, from 1.
    pub nth: u64,
    /// The call that it is about to make; `None` where it takes a lock, goes to sleep, waits or has ended.
    pub call: Option<&'a Call>,
    /// The others that could run, in the order of their positions.
    pub others: &'a [usize],
    /// False if the current one cannot go on, because it sleeps or has ended; then one of the others must be chosen.
    pub can_go_on: bool,
}

/// A policy that can be chosen by name.
#[derive(Clone, Copy, Debug)]
pub struct PolicyEntry {
    /// Its name on the command line, in tokens and in reports.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// A new policy of this kind.
    pub create: fn() -> Box<dyn Policy>,
}

/// Decides which actor runs.
pub trait Policy {
    /// A new execution begins. Everything that the policy will decide must follow from the seed.
    fn begin(&mut self, seed: Seed, actors: usize);

    /// The actor that goes on: the current one or one of the others. `others` is not empty.
    fn choose(&mut self, point: &Point<'_>) -> usize;
}

impl Point<'_> {
    /// How many kinds of points there are.
    pub const KINDS: usize = Method::ALL.len() * Role::ALL.len() + 1;

    /// Which kind it is of, below [`Self::KINDS`]: one for each method and role, and one for all that are no calls.
    pub fn kind(&self) -> usize {
        self.call.map_or(Self::KINDS - 1, |call| call.method as usize * Role::ALL.len() + call.role as usize)
    }

    /// The actor that goes on where a policy has no preference: the next one in the circle of positions.
    pub fn successor(&self) -> usize {
        self.others.iter().copied().find(|other| *other > self.current).unwrap_or(self.others[0])
    }
}

/// splitmix64 (Steele, Lea, Flood 2014) as a generator: two multiplications a draw, which a decision at every call can
/// afford.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of a seed.
    pub fn new(seed: Seed) -> Self {
        Self(seed.0)
    }

    pub(super) fn roll(&mut self) -> u64 {
        let value = crate::seed::mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        value
    }

    /// A number below `bound`, which must not be 0. The bias is below 2^-32 for the bounds that occur.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.roll()) * bound as u128) >> 64) as usize
    }

    /// True with a probability of `numerator` in 2^32.
    pub(super) fn chance(&mut self, numerator: u64) -> bool {
        self.roll() >> 32 < numerator
    }

    pub(super) fn pick(&mut self, from: &[usize]) -> usize {
        from[self.below(from.len())]
    }
}

/// Certainty, in units of 2^-32.
pub(super) const ONE: u64 = 1 << 32;
