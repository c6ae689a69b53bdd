//! The supervisor's error type: what can go wrong with a backend that is to be probed or restarted.

use std::io;

/// Why a backend could not be set up, ended or started.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error {
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(
        "this backend cannot be restarted: it was given as a probe alone; use a ChildProcess, or implement restart"
    )]
    NotRestartable,
    #[error("{program}: starting it failed: {source}; check the path and the rights")]
    Start { program: String, source: io::Error },
    #[error("process {pid}: ending it failed: {source}; end it by hand")]
    RunEnd { pid: u32, source: io::Error },
    #[error("process {pid} is still there after SIGKILL: it hangs in the kernel; look at its disk and its mounts")]
    StillThere { pid: u32 },
    #[error("{text}")]
    Restart { text: String },
    #[cfg_attr(not(feature = "http"), expect(dead_code))]
    #[error("{url}: not an address to probe: {reason}; give one like http://127.0.0.1:8080/health")]
    Url { url: String, reason: String },
}

impl Error {
    /// An error of a backend of your own.
    pub fn restart_failed(text: impl Into<String>) -> Error {
        Cause::Restart { text: text.into() }.into()
    }

    /// The backend was never meant to be restarted.
    pub fn is_not_restartable(&self) -> bool {
        matches!(self.cause, Cause::NotRestartable)
    }

    /// The address to probe is not one.
    pub fn is_bad_url(&self) -> bool {
        matches!(self.cause, Cause::Url { .. })
    }

    /// The old process could not be ended, so no new one was started.
    pub fn is_still_running(&self) -> bool {
        matches!(self.cause, Cause::RunEnd { .. } | Cause::StillThere { .. })
    }

    pub(super) fn not_restartable() -> Error {
        Cause::NotRestartable.into()
    }

    pub(super) fn start(program: String, source: io::Error) -> Error {
        Cause::Start { program, source }.into()
    }

    pub(super) fn end(pid: u32, source: io::Error) -> Error {
        Cause::RunEnd { pid, source }.into()
    }

    pub(super) fn still_there(pid: u32) -> Error {
        Cause::StillThere { pid }.into()
    }

    #[cfg(feature = "http")]
    pub(super) fn url(url: &str, reason: impl Into<String>) -> Error {
        Cause::Url { url: url.to_owned(), reason: reason.into() }.into()
    }
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Error {
        Error { cause }
    }
}
