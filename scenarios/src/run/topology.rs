//! Who runs in a run, in which order, and what happens to the processes: all drawn from the seed.

use rand::RngExt;
use seawall_harness::actor::Actor;
use seawall_harness::record;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

use crate::faults::{Faults, Lives};

/// How the actors get their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// One step of one actor at a time, in an order drawn from the seed: the run repeats exactly.
    Sequential,
    /// All at once, as the machine likes.
    Racing,
}

/// The outline of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// How the actors get their turns.
    pub schedule: Schedule,
    /// Number of worker processes.
    pub processes: u16,
    /// Number of threads in each.
    pub threads: u16,
    /// Steps in each actor's script.
    pub steps: u32,
    /// The faults are armed before this step of all steps taken.
    pub arm_at: u32,
    /// The faults heal before this step.
    pub heal_at: u32,
    /// What happens to processes, in the order of `at`.
    pub restarts: Vec<Restart>,
}

/// The end of a process's life; it starts anew at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Before this step of all steps taken.
    pub at: u32,
    /// Which process.
    pub process: u16,
    /// True for SIGKILL, false for an orderly shutdown.
    pub kill: bool,
}

impl Outline {
    /// The outline of the run with this seed and these faults.
    pub fn draw(seed: Seed, faults: &Faults) -> Self {
        let mut rng = seed.stream("outline").rng();
        let one_crash = faults.lives == Lives::OneCrash;
        let schedule = if one_crash || rng.random_bool(0.6) { Schedule::Sequential } else { Schedule::Racing };
        let processes: u16 = if one_crash { 1 } else { [1, 2, 2, 3][rng.random_range(0..4)] };
        let threads: u16 = [1, 1, 2, 4][rng.random_range(0..if processes == 3 { 3 } else { 4 })];
        let actors = u32::from(processes) * u32::from(threads);
        let steps = rng.random_range(24..=64_u32).div_ceil(actors).max(5);
        let total = steps * actors;
        let heal_at = rng.random_range(total * 6 / 10..total * 9 / 10);
        // Half of the runs meet the fault cold, the others when rows have been committed.
        let mut arm_at = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..total / 3) };
        let mut restarts = Vec::new();
        if one_crash {
            arm_at = rng.random_range(2..total / 2);
            restarts.push(Restart { at: arm_at, process: 1, kill: true });
        } else {
            for _ in 0..rng.random_range(0..=4_u32) {
                let kill = faults.lives == Lives::Crashing && rng.random_bool(0.4);
                restarts.push(Restart {
                    at: rng.random_range(1..total),
                    process: rng.random_range(1..=processes),
                    kill,
                });
            }
            for _ in 0..faults.kills {
                let (at, process) = (rng.random_range(1..total), rng.random_range(1..=processes));
                restarts.push(Restart { at, process, kill: true });
            }
        }
        restarts.sort_by_key(|restart| restart.at);
        Self { schedule, processes, threads, steps, arm_at, heal_at, restarts }
    }

    /// All actors, in the order of their numbers.
    pub fn actors(&self) -> impl Iterator<Item = Actor> + '_ {
        (1..=self.processes).flat_map(|process| (1..=self.threads).map(move |thread| Actor { process, thread }))
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
        };
        record::Topology { processes: self.processes, threads: self.threads, schedule: schedule.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_repeat_and_cover_threads_and_processes() {
        let faults = Faults { rules: Vec::new(), kills: 2, lives: Lives::Crashing };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let outline = Outline::draw(Seed(seed), &faults);
            assert_eq!(outline, Outline::draw(Seed(seed), &faults));
            assert!(outline.arm_at < outline.heal_at && outline.heal_at < outline.steps_total());
            assert!(outline.restarts.iter().filter(|restart| restart.kill).count() >= 2);
            seen.insert((outline.processes, outline.threads, outline.schedule == Schedule::Racing));
        }
        assert_eq!(seen.len(), 16, "{seen:?}");
    }
}
