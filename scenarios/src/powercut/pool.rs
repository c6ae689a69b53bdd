//! Cells that are shared by child processes, since a SQLite library has one random generator.
//!
//! A child reads one [`Work`] after the other from its standard input, and writes one [`Reply`] for each to its
//! standard output. It stops when its standard input ends, so none outlives its parent.

use super::PowercutError;
use super::search::Search;
use super::sweep::Sweep;
use seawall_harness::process::{Event, Life, Worker};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write as _};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often the parent looks whether it has to stop.
const STOP_PERIOD: Duration = Duration::from_millis(50);

/// From the parent to a child: one cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// Power cuts; the result is a [`CellResult`](super::CellResult).
    Cuts(Search),
    /// Single errors; the result is a [`SweepResult`](super::sweep::SweepResult).
    Sweep(Sweep),
}

/// From a child to its parent.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply<R> {
    /// A part of the work is done: so many distinct images, or executions, of the cell.
    Progress(u64),
    /// The result of a cell.
    Done(Box<R>),
    /// Why there is none.
    Broken(String),
}

/// How much is done at once, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Child processes at once.
    pub jobs: usize,
    /// When the last cell has to be done.
    pub end: Option<Instant>,
}

/// Why shared cells have no result.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A child could not be started.
    #[error("cannot start a process for power cuts: {0}")]
    Start(#[from] io::Error),
    /// A child ended without a reply.
    #[error("a process for power cuts has ended without a report")]
    NoReply,
    /// A child could not work.
    #[error("{0}")]
    Broken(String),
}

/// Told of each cell that is done, and of what is done of one in between.
pub type OnEvent<'a, R> = dyn FnMut(usize, &Reply<R>) + 'a;

/// Executes the work in child processes, each started by `command`. Cells that were not done when `stop` was set have
/// no result.
///
/// # Errors
/// See [`PoolError`].
pub fn execute<R: DeserializeOwned + Send + 'static>(
    works: &[Work],
    limits: Limits,
    command: impl Fn() -> Command,
    stop: &AtomicBool,
    told: &mut OnEvent<'_, R>,
) -> Result<Vec<Option<R>>, PoolError> {
    let (sender, events) = mpsc::channel();
    let mut results: Vec<Option<R>> = works.iter().map(|_| None).collect();
    let mut waiting = (0..works.len()).map(|cell| (cell, works[cell].clone()));
    // By the number of the child: the child and its cell.
    let mut children: BTreeMap<u16, (Worker, usize)> = BTreeMap::new();
    let order = |child: &mut Worker, work: Work, left: usize| child.order(&work.within(limits, left));
    for job in 0..limits.jobs.min(works.len()) {
        let number = job as u16 + 1;
        if let Some((cell, work)) = waiting.next() {
            let mut child = Worker::spawn(&mut command(), Life { process: number, number: 0 }, sender.clone())?;
            order(&mut child, work, works.len() - cell)?;
            children.insert(number, (child, cell));
        }
    }
    drop(sender);
    loop {
        let is_stopped = stop.load(Ordering::Relaxed);
        if is_stopped {
            children.values_mut().for_each(|(child, _)| child.close_orders());
        }
        match events.recv_timeout(STOP_PERIOD) {
            Ok(Event::Report(_, Reply::Broken(message))) => return Err(PoolError::Broken(message)),
            Ok(Event::Report(life, reply)) => {
                let Some((child, cell)) = children.get_mut(&life.process) else { continue };
                told(*cell, &reply);
                let Reply::Done(result) = reply else { continue };
                results[*cell] = Some(*result);
                match waiting.next().filter(|_| !is_stopped) {
                    Some((next, work)) => {
                        *cell = next;
                        order(child, work, works.len() - next)?;
                    }
                    None => child.close_orders(),
                }
            }
            Ok(Event::Garbage(..)) => return Err(PoolError::NoReply),
            Ok(Event::Ended(life)) => {
                let cell = children.remove(&life.process).map(|(_, cell)| cell);
                if cell.is_some_and(|cell| results[cell].is_none()) && !is_stopped {
                    return Err(PoolError::NoReply);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(results),
        }
    }
}

impl Work {
    /// The same, within its share of the time: as many cells as are left, this one included, share what is left.
    fn within(mut self, limits: Limits, left: usize) -> Self {
        let Some(end) = limits.end else { return self };
        let milliseconds = end.saturating_duration_since(Instant::now()).as_millis() as u64;
        let share = milliseconds * limits.jobs.min(left) as u64 / left.max(1) as u64;
        let time_max_ms = match &mut self {
            Self::Cuts(search) => &mut search.time_max_ms,
            Self::Sweep(sweep) => &mut sweep.time_max_ms,
        };
        *time_max_ms = Some(share);
        self
    }
}

/// The work of a child.
///
/// # Errors
/// If a reply cannot be written.
pub fn child() -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, orders) = mpsc::channel();
    let parent_is_gone = Arc::clone(&stop);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
        parent_is_gone.store(true, Ordering::Relaxed);
    });
    let progress = |done: u64| drop(write(&Reply::<()>::Progress(done)));
    for order in orders {
        match serde_json::from_str(&order) {
            Ok(Work::Cuts(search)) => answer(search.execute(&stop, &progress))?,
            Ok(Work::Sweep(sweep)) => answer(sweep.execute(&stop, &progress))?,
            Err(error) => write(&Reply::<()>::Broken(error.to_string()))?,
        }
    }
    Ok(())
}

fn answer(result: Result<impl Serialize, PowercutError>) -> io::Result<()> {
    match result {
        Ok(result) => write(&Reply::Done(Box::new(result))),
        Err(error) => write(&Reply::<()>::Broken(error.to_string())),
    }
}

fn write(reply: &Reply<impl Serialize>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, reply)?;
    out.write_all(b"\n")?;
    out.flush()
}
