//! Cells that are shared by child processes, since a SQLite library has one random generator.
//!
//! A child reads one [`Search`] after the other from its standard input, and writes one [`Reply`] for each to its
//! standard output. It stops when its standard input ends, so none outlives its parent.

use super::search::{CellResult, Search};
use seawall_harness::process::{Event, Life, Worker};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write as _};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// How often the parent looks whether it has to stop.
const STOP_PERIOD: Duration = Duration::from_millis(50);

/// From a child to its parent.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// A part of the work is done: so many distinct images of the cell.
    Progress(u64),
    /// The result of a cell.
    Cell(Box<CellResult>),
    /// Why there is none.
    Broken(String),
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

/// Told of each cell that is done, and of images in between.
pub type OnEvent<'a> = dyn FnMut(usize, &Reply) + 'a;

/// Executes the searches in up to `jobs` child processes, each started by `command`. Cells that were not done when
/// `stop` was set have no result.
///
/// # Errors
/// See [`PoolError`].
pub fn execute(
    searches: &[Search],
    jobs: usize,
    command: impl Fn() -> Command,
    stop: &AtomicBool,
    told: &mut OnEvent<'_>,
) -> Result<Vec<Option<CellResult>>, PoolError> {
    let (sender, events) = mpsc::channel();
    let mut results: Vec<Option<CellResult>> = searches.iter().map(|_| None).collect();
    let mut waiting = searches.iter().enumerate();
    // By the number of the child: the child and its cell.
    let mut children: BTreeMap<u16, (Worker, usize)> = BTreeMap::new();
    for job in 0..jobs.min(searches.len()) {
        let number = job as u16 + 1;
        if let Some((cell, search)) = waiting.next() {
            children.insert(number, (start(&command, number, search, &sender)?, cell));
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
                let Reply::Cell(result) = reply else { continue };
                results[*cell] = Some(*result);
                match waiting.next().filter(|_| !is_stopped) {
                    Some((next, search)) => {
                        *cell = next;
                        child.order(search)?;
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

fn start(
    command: &impl Fn() -> Command,
    number: u16,
    search: &Search,
    events: &Sender<Event<Reply>>,
) -> Result<Worker, PoolError> {
    let mut child = Worker::spawn(&mut command(), Life { process: number, number: 0 }, events.clone())?;
    child.order(search)?;
    Ok(child)
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
    for order in orders {
        let reply = match serde_json::from_str::<Search>(&order) {
            Ok(search) => search.execute(&stop, &|distinct| drop(write(&Reply::Progress(distinct)))),
            Err(error) => return write(&Reply::Broken(error.to_string())),
        };
        write(&reply.map_or_else(|error| Reply::Broken(error.to_string()), |result| Reply::Cell(Box::new(result))))?;
    }
    Ok(())
}

fn write(reply: &Reply) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, reply)?;
    out.write_all(b"\n")?;
    out.flush()
}
