//! Calls of threads that are no actors.
//!
//! A rig works on one thread of the system. Code of an actor may start another one by `std::thread::spawn`, and that
//! thread may open the database of the simulation: it would not be scheduled, and its calls would not repeat.

use crate::call::Call;
use parking_lot::Mutex;
use std::thread::{self, ThreadId};

/// See the module's documentation.
pub(super) struct Strangers {
    home: ThreadId,
    first: Mutex<Option<String>>,
}

impl Strangers {
    /// All threads but the calling one are strangers.
    pub(super) fn here() -> Self {
        Self { home: thread::current().id(), first: Mutex::new(None) }
    }

    /// False for a call on another thread.
    pub(super) fn admits(&self, call: &Call) -> bool {
        let thread = thread::current();
        let is_home = thread.id() == self.home;
        if !is_home {
            let name = thread.name().map_or_else(|| format!("{:?}", thread.id()), |name| format!("`{name}`"));
            self.first.lock().get_or_insert_with(|| format!("{name} called {call}"));
        }
        is_home
    }

    /// The first call of another thread, which is forgotten.
    pub(super) fn take(&self) -> Option<String> {
        self.first.lock().take()
    }
}
