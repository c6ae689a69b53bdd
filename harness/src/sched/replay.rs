//! `replay`: the preemptions of a recorded schedule, and no others.

use super::policy::{Point, Policy};
use super::scheduler::Preemption;
use crate::seed::Seed;
use std::collections::BTreeMap;

/// See the module's documentation. Where a recorded choice cannot be made, because that actor is not ready, no actor
/// is preempted.
#[derive(Debug, Default)]
pub struct Replay {
    preemptions: BTreeMap<(usize, u32, u64), usize>,
}

impl Replay {
    /// A policy that repeats these preemptions.
    pub fn new(preemptions: &[Preemption]) -> Self {
        Self { preemptions: preemptions.iter().map(|p| ((p.actor, p.section, p.nth), p.to)).collect() }
    }
}

impl Policy for Replay {
    fn begin(&mut self, _seed: Seed, _actors: usize) {}

    fn choose(&mut self, point: &Point<'_>) -> usize {
        let recorded = self.preemptions.get(&(point.current, point.section, point.nth)).copied();
        match recorded.filter(|to| point.others.contains(to)) {
            Some(to) => to,
            None if point.can_go_on => point.current,
            None => point.successor(),
        }
    }
}
