//! What a supervisor needs of a backend: to ask how it is, and to restart it.

use super::error::Error;

/// The answer to the question how a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// It answered that all is well.
    Alive,
    /// It is there, but what it answered is wrong: an error status, no HTTP, a connection closed half way.
    Unwell,
    /// It did not answer in time, or did not even take the connection in time. It may be dead, hung or at work: a
    /// timeout tells nothing, least of all that nobody is there.
    TimedOut,
    /// Nobody is there: the connection was refused, the process is gone.
    Dead,
}

/// Somebody who does the work, outside of this process.
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
