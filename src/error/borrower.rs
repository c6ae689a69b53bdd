//! The borrower of a connection, as errors, events and [`Health`](crate::Health) name it.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// The kind of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BorrowKind {
    /// The one connection that writes.
    Writer,
    /// A connection that only reads.
    Reader,
}

/// The caller that has borrowed a connection and not returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Borrower {
    /// The kind of the connection.
    pub kind: BorrowKind,
    /// Where in the source it was borrowed.
    pub location: &'static Location<'static>,
    /// For how long it has been borrowed.
    pub age: Duration,
}

impl fmt::Display for Borrower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            BorrowKind::Writer => "the writer",
            BorrowKind::Reader => "a reader",
        };
        write!(f, "{kind} borrowed at {} {:?} ago", self.location, self.age)
    }
}
