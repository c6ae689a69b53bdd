//! Simulators in processes of their own.
//!
//! An execution in the simulator is alone in its process, because a SQLite library has one random generator and one
//! default VFS. A lab that executes several runs at once therefore keeps a pool of child processes.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use seawall_harness::record::RunRecord;
use seawall_harness::token::Token;
use serde::{Deserialize, Serialize};

use super::Simulator;
use crate::run::RunError;
use crate::run::world::World;

/// To a simulator's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Which run.
    pub token: String,
    /// True if the record is to have its timeline.
    pub timeline: bool,
}

/// From a simulator's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// What the run came to.
    Record(Box<RunRecord>),
    /// The token cannot be executed.
    Usage(String),
    /// The lab is broken, and why.
    Broken(String),
}

/// Simulators that are not at work now.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    idle: Arc<Mutex<Vec<Remote>>>,
}

#[derive(Debug)]
struct Remote {
    child: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Simulator {
    /// Executes what is asked for.
    pub fn reply(&mut self, request: &Request) -> Reply {
        let token = match request.token.parse::<Token>() {
            Ok(token) => token,
            Err(error) => return Reply::Broken(error.to_string()),
        };
        let result = World::of(&token).map_err(RunError::Usage);
        match result.and_then(|world| self.run(&world, None, request.timeline)) {
            Ok(simulated) => Reply::Record(Box::new(simulated.record)),
            Err(error) => Reply::Usage(error.to_string()),
        }
    }
}

impl Pool {
    /// Has a run executed by a simulator of the pool, or by a new one, which is `program`.
    ///
    /// # Errors
    /// [`RunError`], also if the process cannot be started or does not answer.
    pub fn execute(&self, program: &[OsString], token: &Token, timeline: bool) -> Result<RunRecord, RunError> {
        let idle = self.idle.lock().pop();
        let mut remote = match idle {
            Some(remote) => remote,
            None => Remote::start(program).map_err(|error| broken(&error))?,
        };
        let reply = remote.ask(&Request { token: token.to_string(), timeline }).map_err(|error| broken(&error))?;
        self.idle.lock().push(remote);
        match reply {
            Reply::Record(record) => Ok(*record),
            Reply::Usage(message) => Err(RunError::Usage(message)),
            Reply::Broken(message) => Err(RunError::Simulator(message)),
        }
    }
}

fn broken(error: &std::io::Error) -> RunError {
    RunError::Simulator(error.to_string())
}

impl Remote {
    fn start(program: &[OsString]) -> std::io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&program[0]);
        // In a group of its own, so that Ctrl-C reaches the lab alone.
        command.args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let requests = child.stdin.take();
        let replies = child.stdout.take().ok_or_else(|| std::io::Error::other("the simulator has no output"))?;
        Ok(Self { child, requests, replies: BufReader::new(replies) })
    }

    fn ask(&mut self, request: &Request) -> std::io::Result<Reply> {
        let requests = self.requests.as_mut().ok_or_else(|| std::io::Error::other("the simulator has no input"))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        requests.write_all(&line)?;
        let mut reply = String::new();
        if self.replies.read_line(&mut reply)? == 0 {
            let status = self.child.wait()?;
            return Err(std::io::Error::other(format!("the simulator ended with {status} at {}", request.token)));
        }
        Ok(serde_json::from_str(&reply)?)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It ends with its input.
        self.requests = None;
        let _ = self.child.wait();
    }
}
