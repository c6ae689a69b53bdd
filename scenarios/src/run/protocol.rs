//! The messages between the lab and the workers of a run, one JSON object in each line.

use crate::run::simulated::case::RunCase;
use crate::run::step::Outcome;
use seawall_harness::oracle::integrity::Check;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The first line to a worker. Everything else follows from the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// The run's token.
    pub token: String,
    /// What is left of it, if it was cut down.
    pub case: Option<RunCase>,
    /// The process number, from 1.
    pub process: u16,
    /// How often the process has started before.
    pub starts: u32,
    /// The database file.
    pub database: PathBuf,
    /// The shared state's file.
    pub shared_state: PathBuf,
    /// The next step of each thread's script.
    pub next: Vec<u32>,
}

/// From the lab to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One thread takes one step.
    Turn {
        /// Number of the thread, from 1.
        thread: u16,
        /// Number of the step.
        index: u32,
    },
    /// All threads perform their scripts to the end.
    Run,
    /// One thread tries to commit after the faults have healed.
    Probe {
        /// Number of the thread, from 1.
        thread: u16,
        /// Number of the attempt, from 1.
        attempt: u32,
    },
    /// Check the database through the strategy, and the locks that are held.
    Check,
    /// Finish the steps in progress, close the strategy, end.
    Close,
}

/// From a worker to the lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The worker has read its assignment.
    Ready,
    /// A step has ended.
    Step(StepReport),
    /// A probe has ended.
    Probed(StepReport),
    /// The result of the checks.
    Checked {
        /// The pragmas.
        check: Check,
        /// Locks beyond SHARED that the idle process holds.
        locks: Vec<String>,
    },
    /// The strategy is closed; the process is about to end.
    Closed {
        /// How many calls the run had made when closing began.
        begun_at_call: u64,
        /// Files that are still open.
        open_files: Vec<String>,
        /// What the strategy has announced since the last report, and the error of closing.
        announced: Vec<String>,
    },
    /// The worker is broken, and why.
    Broken(String),
}

/// How a step or a probe ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepReport {
    /// Number of the thread.
    pub thread: u16,
    /// Number of the step or of the attempt.
    pub index: u32,
    /// When it began, in microseconds since the run's beginning.
    pub begun_us: u64,
    /// When it ended.
    pub ended_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The number of the call that was next then, over all processes.
    pub calls: u64,
    /// What the strategy has announced since the last report.
    pub announced: Vec<String>,
}
