//! Coverage: how many different schedules and states an exploration has met, and whether there are still new ones.
//!
//! A state is an abstraction of the machine at a scheduling point: which locks each process holds on the database and
//! on the wal-index, the generation of the log, how far it is checkpointed, what the read marks point to, and which
//! kind of call each actor is about to make. To keep the simulator's speed, one scheduling point of [`SAMPLING`] is
//! looked at, the first of them at random.

use super::DATABASE;
use seawall_harness::media::sim::Machine;
use seawall_harness::oracle::walindex;
use seawall_harness::sched::{Execution, Point, Policy};
use seawall_harness::seed::{Seed, mix};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// One scheduling point of so many is looked at.
pub const SAMPLING: u32 = 32;

/// Different states that are kept at most.
const STATES_MAX: usize = 1 << 17;

/// What an exploration has met, as it is printed: field names are a contract.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Executions.
    pub executions: u64,
    /// Different lists of preemptions.
    pub schedules: u64,
    /// Different abstract states, among those that were looked at.
    pub states: u64,
    /// Those of them that were first met in the last tenth of the executions.
    pub new_states: u64,
    /// True if the last tenth of the executions has added more than one state in a hundred.
    pub is_growing: bool,
    /// True if there are more states than are kept.
    pub is_cut: bool,
    /// One scheduling point of so many was looked at.
    pub sampling: u32,
    /// What the figures are made from; gone when they are printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sets: Option<Sets>,
}

/// Hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sets {
    schedules: BTreeSet<u64>,
    /// With the number of the execution, within its share, that was the first to meet the state.
    states: BTreeMap<u64, u64>,
    /// Executions of the longest share.
    share: u64,
}

impl Coverage {
    /// Adds that of another share.
    pub(super) fn add(&mut self, other: Self) {
        self.executions += other.executions;
        match (&mut self.sets, other.sets) {
            (Some(sets), Some(others)) => {
                sets.schedules.extend(others.schedules);
                for (state, first) in others.states {
                    let known = sets.states.entry(state).or_insert(first);
                    *known = first.min(*known);
                }
                sets.share = sets.share.max(others.share);
            }
            (none @ None, others) => *none = others,
            (Some(_), None) => {}
        }
    }

    /// Makes the figures of what was met.
    pub(super) fn settle(&mut self) {
        let Some(Sets { schedules, states, share }) = self.sets.take() else { return };
        let late = share - share / 10;
        self.schedules = schedules.len() as u64;
        self.states = states.len() as u64;
        self.new_states = states.values().filter(|first| **first > late).count() as u64;
        self.is_growing = self.new_states * 100 > self.states;
        self.is_cut = states.len() >= STATES_MAX;
        self.sampling = SAMPLING;
    }
}

/// Collects states; shared with the policy that looks at them.
#[derive(Default)]
pub(super) struct Sampler {
    machine: Option<Rc<RefCell<Machine>>>,
    /// By actor: the kind of the call that it is about to make.
    about: Vec<u16>,
    /// Points until the next one that is looked at.
    left: u32,
    /// The generation of the log in which the execution began.
    generation: Option<u32>,
    executions: u64,
    sets: Sets,
}

impl Sampler {
    /// A new execution begins on this machine.
    pub(super) fn begin(&mut self, machine: &Rc<RefCell<Machine>>, seed: Seed, actors: usize) {
        self.machine = Some(Rc::clone(machine));
        self.about.clear();
        self.about.resize(actors, 0);
        self.left = (mix(seed.0) % u64::from(SAMPLING)) as u32;
        self.generation = None;
        self.executions += 1;
    }

    /// The execution has ended.
    pub(super) fn end(&mut self, execution: &Execution) {
        self.machine = None;
        let mut hash = 0;
        for preemption in &execution.preemptions {
            for part in [preemption.actor as u64, u64::from(preemption.section), preemption.nth, preemption.to as u64] {
                hash = mix(hash ^ part);
            }
        }
        self.sets.schedules.insert(hash);
    }

    /// What was met so far.
    pub(super) fn coverage(&self) -> Coverage {
        let sets = Some(Sets { share: self.executions, ..self.sets.clone() });
        Coverage { executions: self.executions, sets, ..Coverage::default() }
    }

    #[inline]
    fn pass(&mut self, point: &Point<'_>) {
        if let Some(about) = self.about.get_mut(point.current) {
            *about = point.kind() as u16;
        }
        if self.left > 0 {
            self.left -= 1;
            return;
        }
        self.left = SAMPLING - 1;
        self.look();
    }

    fn look(&mut self) {
        let Some(machine) = &self.machine else { return };
        let Ok(machine) = machine.try_borrow() else { return };
        let mut hash = 0;
        for path in [DATABASE, WAL_INDEX] {
            for (process, shared, exclusive) in machine.locks(path) {
                hash = mix(hash ^ (u64::from(process) << 32 | u64::from(shared) << 16 | u64::from(exclusive)));
            }
            hash = mix(hash ^ 1);
        }
        let region = machine.shm_region(DATABASE, 0);
        let header = region.map(|region| region.array::<{ walindex::HEADER_BYTES }>(0));
        if let Some(header) = header {
            hash = mix(hash ^ log_state(&header, &mut self.generation));
        }
        for about in &self.about {
            hash = mix(hash ^ u64::from(*about));
        }
        if self.sets.states.len() < STATES_MAX {
            self.sets.states.entry(hash).or_insert(self.executions);
        }
    }
}

/// The wal-index of the database, as a file.
const WAL_INDEX: &str = "/sim/app.db-shm";

/// The log as the wal-index has it: generation, checkpointed part, read marks (wal.c, `WalIndexHdr`, `WalCkptInfo`).
fn log_state(header: &[u8], first: &mut Option<u32>) -> u64 {
    const FRAMES: usize = 16;
    const SALT: usize = 32;
    const BACKFILL: usize = 96;
    const MARKS: usize = 100;
    let bytes = |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 4]);
    let number = |at: usize| u32::from_ne_bytes(bytes(at));
    // The first salt grows by one with each generation.
    let salt = u32::from_be_bytes(bytes(SALT));
    let generation = salt.wrapping_sub(*first.get_or_insert(salt)).min(7);
    let frames = number(FRAMES);
    let against = |number: u32| match (number, number.cmp(&frames)) {
        (u32::MAX, _) => 4,
        (0, _) => 0,
        (_, Ordering::Less) => 1,
        (_, Ordering::Equal) => 2,
        (_, Ordering::Greater) => 3,
    };
    let mut state = u64::from(generation) << 1 | u64::from(frames == 0);
    state = state << 3 | against(number(BACKFILL));
    for mark in 0..5 {
        state = state << 3 | against(number(MARKS + 4 * mark));
    }
    state
}

/// Follows another policy, and looks at the machine at some of its points.
pub(super) struct Observed {
    pub(super) inner: Box<dyn Policy>,
    pub(super) sampler: Rc<RefCell<Sampler>>,
}

impl Policy for Observed {
    fn begin(&mut self, seed: Seed, actors: usize) {
        self.inner.begin(seed, actors);
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        self.sampler.borrow_mut().pass(point);
        self.inner.choose(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(frames: u32, salt: u32, backfill: u32, marks: [u32; 5]) -> Vec<u8> {
        let mut header = vec![0; walindex::HEADER_BYTES];
        header[16..20].copy_from_slice(&frames.to_ne_bytes());
        header[32..36].copy_from_slice(&salt.to_be_bytes());
        header[96..100].copy_from_slice(&backfill.to_ne_bytes());
        for (at, mark) in (100..).step_by(4).zip(marks) {
            header[at..at + 4].copy_from_slice(&mark.to_ne_bytes());
        }
        header
    }

    #[test]
    fn a_state_of_the_log_is_an_order_and_no_number() {
        let unused = u32::MAX;
        let state = |frames, salt, backfill, marks| log_state(&header(frames, salt, backfill, marks), &mut Some(9));
        let one = state(30, 10, 4, [0, 30, 12, unused, unused]);
        assert_eq!(one, state(70, 10, 69, [0, 70, 1, unused, unused]));
        assert_ne!(one, state(30, 11, 4, [0, 30, 12, unused, unused]));
        assert_ne!(one, state(30, 10, 30, [0, 30, 12, unused, unused]));
        assert_ne!(one, state(30, 10, 4, [0, 31, 12, unused, unused]));
        assert_ne!(one, state(30, 10, 4, [0, 30, 12, 1, unused]));
    }

    #[test]
    fn shares_are_added_and_new_states_are_those_of_the_last_tenth() {
        let share = |states: &[(u64, u64)], schedules: &[u64]| {
            let (states, schedules) = (states.iter().copied().collect(), schedules.iter().copied().collect());
            Coverage { executions: 20, sets: Some(Sets { schedules, states, share: 20 }), ..Coverage::default() }
        };
        let mut all = share(&[(1, 1), (2, 19), (3, 20)], &[5, 6]);
        all.add(share(&[(2, 4), (4, 20)], &[6, 7]));
        all.settle();
        assert_eq!((all.executions, all.schedules, all.states, all.new_states), (40, 3, 4, 2));
        assert!(all.is_growing);
        let mut known = share(&[(1, 1), (2, 18)], &[5]);
        known.settle();
        assert!(!known.is_growing && known.new_states == 0);
    }
}
