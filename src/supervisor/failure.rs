//! Why an item failed, and what caused it.

use super::decision::ItemOutcome;
use crate::error::{Error, extended_code, is_busy_code};
use std::{fmt, io};

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The backend's: it refuses connections or drops them.
    Unreachable,
    /// The backend's: it did not take a connection, a request, or did not answer, in time, for an unknown reason.
    Timeout,
    /// The backend's: it answered that it cannot (5xx, and 429).
    Server,
    /// The own database's: another connection held a lock, or its files did not answer. It may pass.
    Database,
    /// The item's own, or unknown: a retry changes nothing, or might do something twice.
    Item,
}

impl FailureKind {
    /// Whether it counts towards the backend's thresholds.
    pub fn is_backend(self) -> bool {
        matches!(self, FailureKind::Unreachable | FailureKind::Timeout | FailureKind::Server)
    }

    /// Whether the item is attempted again.
    pub fn is_retried(self) -> bool {
        self != FailureKind::Item
    }

    pub(super) fn outcome(self) -> ItemOutcome {
        if self.is_backend() { ItemOutcome::BackendFailure } else { ItemOutcome::Exempt }
    }
}

/// Why an item failed.
///
/// It is made from a [`seawall::Error`](Error), an error of rusqlite, an [`io::Error`] of a connection to the backend,
/// with the feature `http` also from a `ureq::Error`; or by hand, with [`Failure::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    text: String,
}

impl Failure {
    /// A failure of that kind.
    pub fn new(kind: FailureKind, text: impl fmt::Display) -> Failure {
        Failure { kind, text: text.to_string() }
    }

    /// The failure that an HTTP status stands for: 408 a timeout, 429 and 5xx the server's, all others the item's.
    pub fn of_status(status: u16) -> Failure {
        let kind = match status {
            408 => FailureKind::Timeout,
            429 | 500..=599 => FailureKind::Server,
            _ => FailureKind::Item,
        };
        Failure::new(kind, format_args!("the backend answered with status {status}"))
    }

    /// The cause.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Never caused by the backend. Unknown outcomes are the item's: they are not retried.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let is_passing = !error.outcome_unknown() && (error.is_busy() || error.is_transient());
        Failure::new(if is_passing { FailureKind::Database } else { FailureKind::Item }, error)
    }
}

/// Never caused by the backend; only locks may pass.
impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        let is_busy = extended_code(&error).is_some_and(is_busy_code);
        Failure::new(if is_busy { FailureKind::Database } else { FailureKind::Item }, error)
    }
}

/// Taken for an error of a connection to the backend. A timeout is a timeout, in whatever phase.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        // Reading a body through `io::Read` wraps the client's error.
        #[cfg(feature = "http")]
        let error = match error.downcast::<ureq::Error>() {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        let kind = match error.kind() {
            // What a socket with a timeout of its own answers.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => FailureKind::Timeout,
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotFound
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => FailureKind::Unreachable,
            _ => FailureKind::Item,
        };
        Failure::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;
    use rusqlite::ffi;
    use std::path::Path;

    fn database_error(code: i32) -> Error {
        let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        Error::sqlite(Path::new("x.db"), Operation::Begin, source)
    }

    #[track_caller]
    fn check(failure: impl Into<Failure>, kind: FailureKind, is_backend: bool, is_retried: bool) {
        let failure = failure.into();
        assert_eq!(failure.kind(), kind, "{failure}");
        assert_eq!((kind.is_backend(), kind.is_retried()), (is_backend, is_retried), "{failure}");
    }

    #[test]
    fn database_locks_are_retried_and_never_caused_by_the_backend() {
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED, ffi::SQLITE_BUSY_SNAPSHOT, ffi::SQLITE_CANTOPEN] {
            check(database_error(code), FailureKind::Database, false, true);
        }
        check(rusqlite::Error::SqliteFailure(ffi::Error::new(517), None), FailureKind::Database, false, true);
        check(rusqlite::Error::QueryReturnedNoRows, FailureKind::Item, false, false);
        check(database_error(ffi::SQLITE_CONSTRAINT), FailureKind::Item, false, false);
    }

    #[test]
    fn an_unknown_outcome_is_not_retried() {
        check(database_error(ffi::SQLITE_IOERR).with_outcome_unknown(true), FailureKind::Item, false, false);
    }

    #[test]
    fn a_timeout_of_a_socket_is_a_timeout_and_a_refusal_is_none() {
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock] {
            check(io::Error::from(kind), FailureKind::Timeout, true, true);
        }
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof] {
            check(io::Error::from(kind), FailureKind::Unreachable, true, true);
        }
        check(io::Error::from(io::ErrorKind::InvalidData), FailureKind::Item, false, false);
    }

    #[test]
    fn an_http_status_says_what_caused_the_failure() {
        for (status, kind) in [
            (400, FailureKind::Item),
            (404, FailureKind::Item),
            (408, FailureKind::Timeout),
            (429, FailureKind::Server),
            (500, FailureKind::Server),
            (503, FailureKind::Server),
        ] {
            check(Failure::of_status(status), kind, kind != FailureKind::Item, kind != FailureKind::Item);
        }
    }
}
