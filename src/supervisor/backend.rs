//! The backend of a supervisor: it can be probed, and restarted.

use super::error::Error;

/// The state of a backend, as its probe reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// It answered that all is well.
    Alive,
    /// It is there, but what it answered is wrong: an error status, no HTTP, a connection closed half way.
    Unwell,
    /// It did not answer in time, or did not even take the connection in time. It may be dead, hung or at work: a
    /// timeout does not tell which.
    TimedOut,
    /// It is gone: the connection was refused, or the process has ended.
    Dead,
}

/// The process that does the work, outside of this one.
///
/// A closure that probes is a backend which cannot be restarted.
pub trait Backend: Send {
    /// How it is. Answers within a few seconds; the field report allowed 5.
    fn probe(&mut self) -> Probe;

    /// Ends it, if it is there, and starts it again. Does not wait until it answers.
    ///
    /// # Errors
    /// It could not be ended or started; a backend that cannot be restarted says so.
    fn restart(&mut self) -> Result<(), Error> {
        Err(Error::not_restartable())
    }

    /// Whether it is worth while to wait for an answer after a restart.
    fn may_come_up(&mut self) -> bool {
        true
    }
}

impl<P: FnMut() -> Probe + Send> Backend for P {
    fn probe(&mut self) -> Probe {
        self()
    }
}
