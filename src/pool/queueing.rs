//! Calls that wait in a queue before they ask for a connection.

use super::Database;
use super::lease::AcquireError;
use crate::error::Error;
use crate::events::EventQueue;
use std::panic::Location;

/// The connections that a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionNeed {
    /// It waits for none.
    None,
    /// One that reads.
    Reader,
    /// The one that writes.
    Writer,
    /// All of them.
    All,
}

impl Database {
    /// Where the calling thread has borrowed a connection, if it has.
    pub(crate) fn held_by_caller(&self) -> Option<&'static Location<'static>> {
        let os = &*self.settings.os;
        self.writer.held_by_caller(os).or_else(|| self.readers.held_by_caller(os))
    }

    /// Where the calling thread has borrowed a connection that a call needs, if it has.
    pub(crate) fn reentrant(&self, need: ConnectionNeed) -> Option<&'static Location<'static>> {
        let os = &*self.settings.os;
        match need {
            ConnectionNeed::None => None,
            ConnectionNeed::Reader if self.readers.are_enabled(os) => None,
            ConnectionNeed::Reader | ConnectionNeed::Writer => self.writer.held_by_caller(os),
            ConnectionNeed::All => self.held_by_caller(),
        }
    }

    /// The error of a call that has waited in a queue for as long as it may.
    pub(crate) fn queue_timeout(&self, need: ConnectionNeed) -> Error {
        let now = self.settings.os.now();
        let reader = || self.readers.borrowers(now).max_by_key(|borrower| borrower.age);
        let borrower = match need {
            ConnectionNeed::Reader => reader().or_else(|| self.writer.borrower(now)),
            _ => self.writer.borrower(now),
        };
        let mut events = EventQueue::default();
        let error = self.acquire_error(AcquireError::Timeout(borrower), &mut events);
        events.emit(&self.path, &self.hub);
        error
    }
}
