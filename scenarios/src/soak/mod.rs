//! Soak: many runs of each strategy under each fault, and the matrix of their verdicts. Beside the expectations, which
//! judge each cell by itself, the layer is compared with plain SQLite.

pub mod comparison;
pub mod merge;
mod tally;

use crate::expectations::Expectations;
use crate::faults::Fault;
use crate::run::spec::SIM;
use crate::run::{RunError, Runner};
use crate::strategies;
use comparison::Baseline;
use parking_lot::Mutex;
use seawall_harness::record::{Cell, SCHEMA, Share, SoakRecord};
use seawall_harness::seed::Seed;
use seawall_harness::token::Token;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tally::{Heading, Tally};

/// What to run.
pub struct SoakConfig {
    /// The seed from which the seed of every run is derived.
    pub seed: Seed,
    /// The columns.
    pub strategies: Vec<&'static strategies::Entry>,
    /// The rows.
    pub faults: Vec<Fault>,
    /// The media. Each row is run on all of them: [`REAL`](crate::run::spec::REAL) or [`SIM`].
    pub media: Vec<&'static str>,
    /// When to stop starting runs. Every cell gets one run at least.
    pub duration: Option<Duration>,
    /// How many runs each cell gets.
    pub count: Option<u64>,
    /// How many runs are executed at once.
    pub jobs: usize,
    /// Which share of the runs is executed here: `(k, n)` for the k-th of n, from 1.
    pub partition: (u64, u64),
}

/// How far a soak has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Runs executed.
    pub runs: u64,
    /// Transactions acknowledged.
    pub acked: u64,
    /// Of those, lost.
    pub lost: u64,
}

impl SoakConfig {
    /// Number of cells.
    pub fn cells(&self) -> u64 {
        self.media.iter().map(|medium| self.cells_of(medium).len() as u64).sum()
    }

    /// The token of the `nth` run of a strategy under a fault. All strategies get the same seeds under a fault, and
    /// with them the same workload, processes and faults.
    pub fn token(&self, strategy: &strategies::Entry, fault: &Fault, medium: &str, nth: u64) -> Token {
        Token {
            strategy: strategy.name.to_owned(),
            fault: fault.name.clone(),
            medium: medium.to_owned(),
            seed: self.seed.stream(&fault.title).nth(nth),
        }
    }

    /// Executes the runs, until all are done, the time is over or `stop` is set.
    ///
    /// # Errors
    /// The first [`RunError`]; the results of the runs before are lost then.
    pub fn execute(
        &self,
        runner: &Runner,
        expectations: &Expectations,
        stop: &AtomicBool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<SoakRecord, RunError> {
        let begun = Instant::now();
        let tallies: Mutex<BTreeMap<Position, Tally>> = Mutex::default();
        let trouble = Mutex::new(None);
        let lanes = self.lanes();
        std::thread::scope(|scope| {
            for lane in &lanes {
                for _ in 0..lane.jobs {
                    scope.spawn(|| {
                        while let Some((position, nth)) = self.next_run(lane, begun, stop) {
                            let token = self.token(
                                self.strategies[position.column],
                                &self.faults[position.row],
                                position.medium,
                                nth,
                            );
                            match runner.record(&token, false) {
                                Ok(record) => {
                                    let mut tallies = tallies.lock();
                                    tallies.entry(position).or_default().add(nth, record);
                                    progress(tally::progress(&tallies));
                                }
                                Err(error) => {
                                    stop.store(true, Ordering::Relaxed);
                                    trouble.lock().get_or_insert(error);
                                }
                            }
                        }
                    });
                }
            }
        });
        if let Some(error) = trouble.into_inner() {
            return Err(error);
        }
        let matrix = self.matrix(runner, expectations, tallies.into_inner())?;
        let (seconds, interrupted) = (begun.elapsed().as_secs_f64(), stop.load(Ordering::Relaxed));
        let scratch = crate::scratch::describe(&runner.scratch);
        let platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
        let shares = vec![self.share(&matrix, (&scratch, &platform), (seconds, interrupted))];
        let (schema, seed, sqlite) = (SCHEMA, self.seed.0, rusqlite::version().to_owned());
        Ok(SoakRecord { schema, seed, sqlite, scratch, platform, seconds, interrupted, matrix, shares })
    }

    /// The jobs of each medium. They share the processors evenly, so each medium gets the same time.
    fn lanes(&self) -> Vec<Lane> {
        let jobs = |medium| match medium {
            // A simulator does not wait for anything.
            SIM if self.media.len() > 1 => self.jobs.div_ceil(4),
            SIM => self.jobs.div_ceil(2),
            _ => self.jobs.max(1),
        };
        let lane = |medium: &&'static str| Lane {
            medium,
            cells: self.cells_of(medium),
            jobs: jobs(medium),
            next: AtomicU64::new(0),
        };
        self.media.iter().map(lane).collect()
    }

    /// The cells of one medium as columns and rows, row by row.
    fn cells_of(&self, medium: &str) -> Vec<(usize, usize)> {
        let rows = self.faults.iter().enumerate().filter(|(_, fault)| fault.works_on(medium == SIM));
        rows.flat_map(|(row, _)| (0..self.strategies.len()).map(move |column| (column, row))).collect()
    }

    /// The next run of a medium that belongs to this partition. Cells take turns, so they get equally many runs.
    fn next_run(&self, lane: &Lane, begun: Instant, stop: &AtomicBool) -> Option<(Position, u64)> {
        let (part, parts) = self.partition;
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let turn = lane.next.fetch_add(1, Ordering::Relaxed);
        let number = turn.checked_mul(parts)?.checked_add(part - 1)?;
        let cells = lane.cells.len() as u64;
        let (nth, cell) = (number.checked_div(cells)?, (number % cells) as usize);
        if self.count.is_some_and(|count| nth >= count) {
            return None;
        }
        let first_round = turn < cells.div_ceil(parts);
        if !first_round && self.duration.is_some_and(|duration| begun.elapsed() >= duration) {
            return None;
        }
        let (column, row) = lane.cells[cell];
        Some((Position { column, row, medium: lane.medium }, nth))
    }

    /// The cells, strategies outermost, then faults, then media.
    fn matrix(
        &self,
        runner: &Runner,
        expectations: &Expectations,
        mut tallies: BTreeMap<Position, Tally>,
    ) -> Result<Vec<Cell>, RunError> {
        let mut matrix = Vec::new();
        for (column, strategy) in self.strategies.iter().enumerate() {
            for (row, fault) in self.faults.iter().enumerate() {
                for medium in self.media.iter().filter(|medium| fault.works_on(**medium == SIM)) {
                    let position = Position { column, row, medium };
                    let mut tally = tallies.remove(&position).unwrap_or_default();
                    if let Some((nth, sample)) = tally.sample.as_mut().filter(|(_, sample)| sample.timeline.is_empty())
                    {
                        // It repeats exactly, so the timeline can be recorded afterwards.
                        *sample = runner.record(&self.token(strategy, fault, medium, *nth), true)?;
                    }
                    matrix.push(tally.into_cell(Heading::new(strategy, fault, medium), expectations));
                }
            }
        }
        let baseline = Baseline::of(&matrix);
        matrix.iter_mut().for_each(|cell| baseline.judge(expectations, cell));
        Ok(matrix)
    }

    /// This share as a record has it.
    fn share(&self, matrix: &[Cell], (scratch, platform): (&str, &str), (seconds, interrupted): (f64, bool)) -> Share {
        let (number, of) = self.partition;
        let (scratch, platform) = (scratch.to_owned(), platform.to_owned());
        let cells = matrix.iter().map(|cell| Cell { sample: None, ..cell.clone() }).collect();
        Share { number, of, scratch, platform, seconds, interrupted, cells }
    }
}

/// The position of a cell in the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    column: usize,
    row: usize,
    medium: &'static str,
}

/// The runs of one medium.
struct Lane {
    medium: &'static str,
    /// Columns and rows.
    cells: Vec<(usize, usize)>,
    jobs: usize,
    next: AtomicU64,
}
