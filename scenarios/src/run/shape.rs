//! The processes and threads of a run, the order of their steps, and the restarts: all drawn from the seed.

use crate::faults::{self, CrashPattern, Faults};
use rand::{Rng, RngExt};
use seawall_harness::actor::Actor;
use seawall_harness::record;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Steps in the script of an actor under pressure: more than any machine performs in the time.
const PRESSURE_STEPS: u32 = 20_000;

/// How the actors take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// One step of one actor at a time, in an order drawn from the seed: the run repeats exactly.
    Sequential,
    /// All at once, on real threads.
    Racing,
    /// In the simulator: one at a time, and any call may end a turn.
    Simulated,
}

/// The shape of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunShape {
    /// How the actors take turns.
    pub schedule: Schedule,
    /// Number of worker processes.
    pub processes: u16,
    /// Number of threads in each.
    pub threads: u16,
    /// Steps in each actor's script.
    pub steps: u32,
    /// When to stop though the scripts have not ended; wall-clock time. Such a run counts the fields that follow in
    /// milliseconds and not in steps.
    pub time: Option<Duration>,
    /// The faults are armed before this step of all steps taken.
    pub arm_at: u32,
    /// The faults heal before this step.
    pub heal_at: u32,
    /// The ends of processes, in the order of `at`.
    pub restarts: Vec<Restart>,
}

/// The end of a process. It starts again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Before this step of all steps taken.
    pub at: u32,
    /// Which process.
    pub process: u16,
    /// True for SIGKILL, false for an orderly shutdown.
    pub kill: bool,
}

impl RunShape {
    /// The shape of the run with this seed and these faults.
    pub fn draw(seed: Seed, faults: &Faults) -> Self {
        let mut rng = seed.stream("outline").rng();
        match faults.crash_pattern {
            CrashPattern::Orderly | CrashPattern::Crashing => Self::draw_mixed(&mut rng, faults),
            CrashPattern::OneCrash => Self::draw_one_crash(&mut rng),
            CrashPattern::OverlappingReads => Self::draw_overlapping(&mut rng),
            CrashPattern::UnderPressure => Self::draw_pressure(&mut rng, faults),
        }
    }

    fn draw_mixed(rng: &mut impl Rng, faults: &Faults) -> Self {
        let schedule = if rng.random_bool(0.6) { Schedule::Sequential } else { Schedule::Racing };
        let processes: u16 = [1, 2, 2, 3][rng.random_range(0..4)];
        let processes = if faults.foreign.is_some() || faults.has_second_name() { 2 } else { processes };
        let threads: u16 = [1, 1, 2, 4][rng.random_range(0..if processes == 3 { 3 } else { 4 })];
        let mut shape = Self::plain(rng, schedule, processes, threads);
        // Half of the runs have the fault from the beginning, the others when rows have been committed.
        // Outsiders come to a database that is there.
        let is_early = rng.random_bool(0.5) && !faults.has_outsiders();
        let first = u32::from(faults.has_outsiders());
        shape.arm_at = if is_early { 0 } else { rng.random_range(first..shape.steps_total() / 3) };
        for _ in 0..rng.random_range(0..=4_u32) {
            let kill = faults.crash_pattern == CrashPattern::Crashing && rng.random_bool(0.4);
            shape.add_restart(rng, kill);
        }
        for _ in 0..faults.kills {
            shape.add_restart(rng, true);
        }
        if faults.has_second_name() {
            // With its next start it finds the second name.
            let (at, process) = (rng.random_range(shape.arm_at..shape.heal_at), shape.processes);
            shape.restarts.push(Restart { at, process, kill: false });
            shape.restarts.sort_by_key(|restart| restart.at);
        }
        shape
    }

    fn draw_one_crash(rng: &mut impl Rng) -> Self {
        let threads: u16 = [1, 1, 2, 4][rng.random_range(0..4)];
        let mut shape = Self::plain(rng, Schedule::Sequential, 1, threads);
        shape.arm_at = rng.random_range(2..shape.steps_total() / 2);
        shape.restarts.push(Restart { at: shape.arm_at, process: 1, kill: true });
        shape
    }

    /// Two threads that read, and one or two that write.
    fn draw_overlapping(rng: &mut impl Rng) -> Self {
        let threads = rng.random_range(3..=4);
        let shape = Self::plain(rng, Schedule::Racing, 1, threads);
        Self { steps: rng.random_range(60..=120), heal_at: u32::MAX, ..shape }
    }

    fn draw_pressure(rng: &mut impl Rng, faults: &Faults) -> Self {
        let mut shape = Self::plain(rng, Schedule::Racing, 2, 4);
        let time_ms = faults::PRESSURE.as_millis() as u32;
        for _ in 0..faults.kills {
            let (at, process) = (rng.random_range(200..time_ms - 500), rng.random_range(1..=shape.processes));
            shape.restarts.push(Restart { at, process, kill: true });
        }
        shape.restarts.sort_by_key(|restart| restart.at);
        Self { steps: PRESSURE_STEPS, heal_at: u32::MAX, time: Some(faults::PRESSURE), ..shape }
    }

    /// A shape without restarts, with a step at which the faults heal.
    fn plain(rng: &mut impl Rng, schedule: Schedule, processes: u16, threads: u16) -> Self {
        let actors = u32::from(processes) * u32::from(threads);
        let steps = rng.random_range(24..=64_u32).div_ceil(actors).max(5);
        let total = steps * actors;
        let heal_at = rng.random_range(total * 6 / 10..total * 9 / 10);
        Self { schedule, processes, threads, steps, time: None, arm_at: 0, heal_at, restarts: Vec::new() }
    }

    fn add_restart(&mut self, rng: &mut impl Rng, kill: bool) {
        let (at, process) = (rng.random_range(1..self.steps_total()), rng.random_range(1..=self.processes));
        self.restarts.push(Restart { at, process, kill });
        self.restarts.sort_by_key(|restart| restart.at);
    }

    /// The numbers of the processes.
    pub fn process_numbers(&self) -> RangeInclusive<u16> {
        1..=self.processes
    }

    /// All actors, in the order of their numbers.
    pub fn actors(&self) -> impl Iterator<Item = Actor> + '_ {
        self.process_numbers().flat_map(|process| (1..=self.threads).map(move |thread| Actor { process, thread }))
    }

    /// Steps of all scripts together.
    pub fn steps_total(&self) -> u32 {
        self.steps * u32::from(self.processes) * u32::from(self.threads)
    }

    /// The form for records.
    pub fn topology(&self) -> record::Topology {
        let schedule = match self.schedule {
            Schedule::Sequential => "sequential",
            Schedule::Racing => "racing",
            Schedule::Simulated => "simulated",
        };
        record::Topology { processes: self.processes, threads: self.threads, schedule: schedule.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_repeat_and_cover_threads_and_processes() {
        let faults = Faults {
            rules: Vec::new(),
            kills: 2,
            crash_pattern: CrashPattern::Crashing,
            foreign: None,
            workload: Default::default(),
        };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let shape = RunShape::draw(Seed(seed), &faults);
            assert_eq!(shape, RunShape::draw(Seed(seed), &faults));
            assert!(shape.arm_at < shape.heal_at && shape.heal_at < shape.steps_total());
            assert!(shape.restarts.iter().filter(|restart| restart.kill).count() >= 2);
            seen.insert((shape.processes, shape.threads, shape.schedule == Schedule::Racing));
        }
        assert_eq!(seen.len(), 16, "{seen:?}");
    }
}
