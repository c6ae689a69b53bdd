//! A backend that is a child process of this one.
//!
//! Signals go to the child alone, never to a recorded number: as long as the child has not been waited for, the kernel
//! does not reuse its number, and afterwards no signal is sent any more. Processes that the child has started are not
//! signalled, so a shell as the command should `exec`.

use super::backend::{Backend, Probe};
use super::error::Error;
use crate::os::{Os, SystemOs};
use crate::sync::Arc;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// A child process that can be ended and started again. Dropping it ends it.
///
/// ```
/// use seawall::supervisor::{Backend, ChildProcess, Probe};
/// use std::process::Command;
///
/// let mut sleep = Command::new("sleep");
/// sleep.arg("60");
/// let mut backend = ChildProcess::start(sleep)?.probed_by(|| Probe::Alive);
/// assert_eq!(backend.probe(), Probe::Alive);
/// let first = backend.process().pid();
/// backend.restart()?;
/// assert_ne!(backend.process().pid(), first);
/// backend.process().end()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ChildProcess {
    os: Arc<dyn Os>,
    command: Command,
    grace: Duration,
    state: ChildState,
}

enum ChildState {
    /// Not yet waited for.
    Started(Child),
    /// Waited for; `None` if it could not be started.
    Over(Option<ExitStatus>),
}

impl ChildProcess {
    /// Starts the command. Its standard streams are as the command says; a pipe to its standard input stays open until
    /// the process is ended, so that a child which reads it notices when its parent is gone.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn start(command: Command) -> Result<ChildProcess, Error> {
        let (os, grace) = (Arc::new(SystemOs::new()), ChildProcess::GRACE);
        let mut process = ChildProcess { os, command, grace, state: ChildState::Over(None) };
        process.spawn()?;
        Ok(process)
    }

    /// How long a process has between SIGTERM and SIGKILL, unless told otherwise. Ours.
    pub const GRACE: Duration = Duration::from_secs(5);

    /// The clock, for tests.
    pub fn os(mut self, os: Arc<dyn Os>) -> ChildProcess {
        self.os = os;
        self
    }

    /// How long it has between SIGTERM and SIGKILL.
    pub fn grace(mut self, grace: Duration) -> ChildProcess {
        self.grace = grace;
        self
    }

    /// As a backend with this probe.
    pub fn probed_by<P: FnMut() -> Probe + Send>(self, probe: P) -> ChildBackend<P> {
        ChildBackend { process: self, probe }
    }

    /// Its number, as long as it runs.
    pub fn pid(&mut self) -> Option<u32> {
        self.look();
        match &self.state {
            ChildState::Started(child) => Some(child.id()),
            ChildState::Over(_) => None,
        }
    }

    /// How it ended; `None` if it runs, or could not be started.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.look();
        match self.state {
            ChildState::Started(_) => None,
            ChildState::Over(status) => status,
        }
    }

    /// Ends it: SIGTERM, and after the grace SIGKILL. Waits until it is gone.
    ///
    /// # Errors
    /// It could not be signalled, or is there even after SIGKILL and another grace.
    pub fn end(&mut self) -> Result<(), Error> {
        self.look();
        let ChildState::Started(child) = &mut self.state else { return Ok(()) };
        let pid = child.id();
        // The child has not been waited for, so the number is its own, even if it has just died.
        kill_process(Pid::from_child(child), Signal::TERM).map_err(|errno| Error::end(pid, errno.into()))?;
        if self.wait_for_end() {
            return Ok(());
        }
        let ChildState::Started(child) = &mut self.state else { return Ok(()) };
        child.kill().map_err(|error| Error::end(pid, error))?;
        if self.wait_for_end() { Ok(()) } else { Err(Error::still_there(pid)) }
    }

    /// Ends it and starts it again.
    ///
    /// # Errors
    /// It could not be ended, or not be started. It is never started beside its old self.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.end()?;
        self.spawn()
    }

    fn spawn(&mut self) -> Result<(), Error> {
        self.state = ChildState::Over(None);
        let spawned = self.command.spawn();
        let child = spawned
            .map_err(|source| Error::start(self.command.get_program().to_string_lossy().into_owned(), source))?;
        self.state = ChildState::Started(child);
        Ok(())
    }

    /// Waits for it if it has ended.
    fn look(&mut self) {
        let ChildState::Started(child) = &mut self.state else { return };
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => self.state = ChildState::Over(Some(status)),
            // Other code has waited for it: a process with that number is not this child.
            Err(_) => self.state = ChildState::Over(None),
        }
    }

    /// Whether it ended within the grace.
    fn wait_for_end(&mut self) -> bool {
        const LOOK: Duration = Duration::from_millis(10);
        let until = self.os.now().saturating_add(self.grace);
        loop {
            self.look();
            if matches!(self.state, ChildState::Over(_)) {
                return true;
            }
            let left = until.saturating_sub(self.os.now());
            if left.is_zero() {
                return false;
            }
            self.os.sleep(left.min(LOOK));
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // An error cannot be reported here.
        let _ = self.end();
    }
}

impl fmt::Debug for ChildProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildProcess").field("command", &self.command).finish_non_exhaustive()
    }
}

/// A child process and its probe.
#[derive(Debug)]
pub struct ChildBackend<P> {
    process: ChildProcess,
    probe: P,
}

impl<P> ChildBackend<P> {
    /// The process.
    pub fn process(&mut self) -> &mut ChildProcess {
        &mut self.process
    }
}

impl<P: FnMut() -> Probe + Send> Backend for ChildBackend<P> {
    fn probe(&mut self) -> Probe {
        // So that a child that has died is not left behind as a zombie.
        self.process.look();
        (self.probe)()
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.process.restart()
    }

    /// It runs, or has ended with success, as a launcher does that leaves a server behind.
    fn may_come_up(&mut self) -> bool {
        self.process.pid().is_some() || self.process.exit_status().is_some_and(|status| status.success())
    }
}
