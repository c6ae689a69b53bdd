//! Where a call comes from.

use std::panic::Location;
use std::time::Duration;

/// The place in the program that made a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite {
    pub(crate) location: &'static Location<'static>,
    /// How long it has waited in a queue before: that counts as time to acquire a connection.
    pub(crate) waited: Duration,
}

impl From<&'static Location<'static>> for CallSite {
    fn from(location: &'static Location<'static>) -> CallSite {
        CallSite { location, waited: Duration::ZERO }
    }
}
