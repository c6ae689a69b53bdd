//! Simulators in processes of their own.
//!
//! There is one execution in a process at a time, because a SQLite library has one random generator and one default
//! VFS. To execute several runs at once, the lab keeps a pool of child processes.

use super::Simulator;
use crate::run::RunError;
use crate::run::spec::RunSpec;
use parking_lot::Mutex;
use seawall_harness::process::{Event, Life, Worker};
use seawall_harness::record::RunRecord;
use seawall_harness::token::Token;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// To a simulator's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The token of the run.
    pub token: String,
    /// True if the record needs its timeline.
    pub has_timeline: bool,
}

/// From a simulator's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The record of the run.
    Record(Box<RunRecord>),
    /// The token cannot be executed.
    Usage(String),
    /// The lab is broken, and why.
    Broken(String),
}

/// Idle simulators.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    idle: Arc<Mutex<Vec<Remote>>>,
}

#[derive(Debug)]
struct Remote {
    worker: Worker,
    replies: Receiver<Event<Reply>>,
}

/// How long a simulator may take for a run, by the wall clock. A long run takes some tens of milliseconds.
const SILENCE_MAX: Duration = Duration::from_secs(120);

impl Simulator {
    /// Executes what is asked for.
    pub fn reply(&mut self, request: &Request) -> Reply {
        let token = match request.token.parse::<Token>() {
            Ok(token) => token,
            Err(error) => return Reply::Broken(error.to_string()),
        };
        let result = RunSpec::of(&token).map_err(RunError::from);
        match result.and_then(|spec| self.run(&spec, None, request.has_timeline)) {
            Ok(simulated) => Reply::Record(Box::new(simulated.record)),
            Err(error) => Reply::Usage(error.to_string()),
        }
    }
}

impl Pool {
    /// Executes a run with a simulator of the pool, or with a new one, which is `program`.
    ///
    /// # Errors
    /// [`RunError`], also if the process cannot be started or does not answer.
    pub fn execute(&self, program: &[OsString], token: &Token, has_timeline: bool) -> Result<RunRecord, RunError> {
        let request = Request { token: token.to_string(), has_timeline };
        // The lock is released before the run begins.
        let idle = self.idle.lock().pop();
        let asked = idle.and_then(|mut remote| remote.worker.order(&request).is_ok().then_some(remote));
        let mut remote = match asked {
            Some(remote) => remote,
            // There was none, or it has died since.
            None => Remote::start(program, &request).map_err(|error| RunError::Simulator(error.to_string()))?,
        };
        match remote.reply(token)? {
            Reply::Record(record) => {
                self.idle.lock().push(remote);
                Ok(*record)
            }
            Reply::Usage(message) => Err(RunError::Usage(message)),
            Reply::Broken(message) => Err(RunError::Simulator(message)),
        }
    }
}

impl Remote {
    fn start(program: &[OsString], request: &Request) -> std::io::Result<Self> {
        let (sender, replies) = mpsc::channel();
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]);
        let mut worker = Worker::spawn(&mut command, Life { process: 0, number: 0 }, sender)?;
        worker.order(request)?;
        Ok(Self { worker, replies })
    }

    fn reply(&mut self, token: &Token) -> Result<Reply, RunError> {
        match self.replies.recv_timeout(SILENCE_MAX) {
            Ok(Event::Report(_, reply)) => Ok(reply),
            Ok(Event::Garbage(_, line)) => Err(RunError::Simulator(format!("at {token} it wrote {line}"))),
            Ok(Event::Ended(_)) => {
                let status = self.worker.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(RunError::Simulator(format!("it ended with {status} at {token}")))
            }
            Err(_) => {
                let seconds = SILENCE_MAX.as_secs();
                Err(RunError::Simulator(format!("it has not answered for {seconds} s at {token}")))
            }
        }
    }
}
