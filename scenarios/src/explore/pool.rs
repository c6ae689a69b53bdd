//! A search that is shared by child processes, since a SQLite library has one random generator.
//!
//! A child reads one [`Search`] from its standard input and writes one [`Reply`] to its standard output. It stops early
//! when its standard input ends, so none outlives its parent.

use super::{Explorer, Progress, Search, Tally};
use crate::engines;
use seawall_harness::process::{Event, Life, Worker};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read as _, Write as _};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// How often the parent looks whether it has to stop.
const STOP_PERIOD: Duration = Duration::from_millis(50);

/// From a child to its parent.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// How far the child is.
    Progress(Progress),
    /// The result of the child's share.
    Tally(Box<Tally>),
    /// Why there is none.
    Broken(String),
}

/// Why a shared search has no result.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A child could not be started.
    #[error("cannot start a process of the exploration: {0}")]
    Start(#[from] io::Error),
    /// A child ended without a reply.
    #[error("a process of the exploration has ended without a report")]
    NoReply,
    /// A child could not work.
    #[error("{0}")]
    Broken(String),
}

/// Executes the search in `jobs` child processes, each started by `command`, and adds up their results. `progress` is
/// told now and then how far all of them are.
///
/// # Errors
/// See [`PoolError`].
pub fn execute(
    search: &Search,
    jobs: u64,
    command: impl Fn() -> Command,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Tally, PoolError> {
    let (sender, events) = mpsc::channel();
    let mut children = Vec::new();
    let (share, shares) = search.share;
    for job in 0..jobs {
        let part = Search { share: (share + shares * job, shares * jobs), ..search.clone() };
        let life = Life { process: job as u16 + 1, number: 0 };
        let mut child = Worker::spawn(&mut command(), life, sender.clone())?;
        child.order(&part)?;
        children.push(child);
    }
    drop(sender);
    let mut tally = Tally::default();
    let mut has_replied = vec![false; children.len()];
    let mut done = vec![Progress::default(); children.len()];
    loop {
        if stop.load(Ordering::Relaxed) || tally.finding.is_some() && !search.is_exhaustive {
            children.iter_mut().for_each(Worker::close_orders);
        }
        match events.recv_timeout(STOP_PERIOD) {
            Ok(Event::Report(life, Reply::Progress(part))) => {
                done[usize::from(life.process) - 1] = part;
                let sum = |of: fn(&Progress) -> u64| done.iter().map(of).sum();
                progress(Progress { executions: sum(|it| it.executions), findings: sum(|it| it.findings) });
            }
            Ok(Event::Report(life, Reply::Tally(part))) => {
                tally.add(*part);
                has_replied[usize::from(life.process) - 1] = true;
            }
            Ok(Event::Report(_, Reply::Broken(message))) => return Err(PoolError::Broken(message)),
            Ok(Event::Garbage(..)) => return Err(PoolError::NoReply),
            Ok(Event::Ended(life)) if !has_replied[usize::from(life.process) - 1] => return Err(PoolError::NoReply),
            Ok(Event::Ended(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(tally),
        }
    }
}

/// The work of a child.
///
/// # Errors
/// If the reply cannot be written.
pub fn child() -> io::Result<()> {
    let mut order = String::new();
    io::stdin().lock().read_line(&mut order)?;
    let stop = Arc::new(AtomicBool::new(false));
    let parent_is_gone = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        parent_is_gone.store(true, Ordering::Relaxed);
    });
    let reply = search(&order, &stop)
        .map_or_else(|error| Reply::Broken(error.to_string()), |tally| Reply::Tally(Box::new(tally)));
    tell(&reply)
}

fn tell(reply: &Reply) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, reply)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn search(order: &str, stop: &AtomicBool) -> Result<Tally, Box<dyn std::error::Error>> {
    let search: Search = serde_json::from_str(order)?;
    let engine = engines::resolve(&search.token.sqlite)?;
    // A parent that is gone needs no progress.
    let mut progress = |progress| drop(tell(&Reply::Progress(progress)));
    Ok(search.execute(&mut Explorer::new(engine, false)?, stop, &mut progress)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::{ExploreToken, Museum};

    fn search() -> Search {
        let token = "sx2:bank:linked:rare:none:1";
        let token: ExploreToken = seawall_harness::token::seal(token).parse().unwrap();
        Search {
            token,
            executions_max: 9,
            share: (1, 1),
            seconds_max: None,
            is_exhaustive: false,
            is_verified: false,
            museum: Museum::default(),
            shrunk_max: 0,
        }
    }

    fn shell(script: &str) -> Result<Tally, PoolError> {
        let command = || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        execute(&search(), 3, command, &AtomicBool::new(false), &mut |_| {})
    }

    #[test]
    fn the_results_of_all_children_are_added_up() {
        let one = r#"{"Tally":{"executions":3,"calls":5,"acked":1,"faults_fired":0,"seconds":0.5,"finding":null,"findings":0}}"#;
        let tally = shell(&format!("read order; echo '{one}'")).unwrap();
        assert_eq!((tally.executions, tally.calls, tally.acked), (9, 15, 3));
    }

    #[test]
    fn a_child_without_a_reply_is_an_error() {
        assert!(matches!(shell("read order"), Err(PoolError::NoReply)));
        assert!(matches!(shell("read order; echo hello"), Err(PoolError::NoReply)));
        let broken = shell(r#"read order; echo '{"Broken":"no engine"}'"#).unwrap_err();
        assert_eq!(broken.to_string(), "no engine");
    }

    #[test]
    fn children_stop_when_they_are_asked_to() {
        let script = r#"read order; read more; echo '{"Tally":{"executions":1,"calls":0,"acked":0,"faults_fired":0,"seconds":0.5,"finding":null,"findings":0}}'"#;
        let command = || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let tally = execute(&search(), 2, command, &AtomicBool::new(true), &mut |_| {}).unwrap();
        assert_eq!(tally.executions, 2);
    }
}
