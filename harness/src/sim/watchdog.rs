//! The watchdog: a check runs on a thread of its own, and the thread of the test waits for it.
//!
//! All actors run on one thread. If one of them waits for something that is not the scheduler's, such as a lock of
//! `std` that another actor holds, no actor runs any more. Such a thread cannot be stopped: it is left where it is, and
//! the test panics.

use crate::sched::Pulse;
use crate::shared_state::SharedState;
use crate::trace;
use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// How often the watchdog looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// What the watchdog sees of a check.
#[derive(Clone, Default)]
pub(super) struct Watched(Arc<OnceLock<(Arc<SharedState>, Arc<Pulse>)>>);

impl Watched {
    /// The check has a rig now.
    pub(super) fn show(&self, shared_state: &Arc<SharedState>, pulse: Arc<Pulse>) {
        let _ = self.0.set((Arc::clone(shared_state), pulse));
    }

    /// Two numbers that differ if something has happened in between.
    fn progress(&self) -> (u64, u64) {
        self.0.get().map_or((0, 0), |(shared_state, pulse)| (shared_state.calls(), pulse.turns()))
    }

    /// Where a check stands that goes on no more.
    fn place(&self) -> String {
        let Some((shared_state, pulse)) = self.0.get() else { return "the check does not begin".to_owned() };
        let running = pulse.running();
        let calls = trace::read(shared_state);
        let last = |process, thread| {
            let mut of_actor = calls.iter().rev();
            of_actor.find(|entry| (entry.actor.process, entry.actor.thread) == (process, thread))
        };
        let mut text = match last(running.process, running.thread) {
            Some(entry) => format!("{running} has not come back since its last call, {}", entry.call),
            None => format!("{running} has made no call yet"),
        };
        let mut others: Vec<_> = calls.iter().map(|entry| entry.actor).filter(|actor| *actor != running).collect();
        others.sort_unstable();
        others.dedup();
        for other in others.into_iter().filter(|other| other.process > 0) {
            if let Some(entry) = last(other.process, other.thread) {
                text.push_str(&format!("; the last call of {other} was {}", entry.call));
            }
        }
        text
    }
}

/// Where a check stands that goes on no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Blocked(String);

/// Runs a check on a thread of this name. If it neither ends nor goes on for `patience`, the error says where it
/// stands. A panic of the check is handed on.
pub(super) fn run<T: Send + 'static>(
    name: &str,
    patience: Duration,
    check: impl FnOnce(&Watched) -> T + Send + 'static,
) -> Result<T, Blocked> {
    let watched = Watched::default();
    let (sender, receiver) = mpsc::channel::<Result<T, Box<dyn Any + Send>>>();
    let (of_check, name) = (watched.clone(), name.to_owned());
    let work = move || {
        let ended = panic::catch_unwind(AssertUnwindSafe(|| check(&of_check)));
        let _ = sender.send(ended);
    };
    let thread = thread::Builder::new().name(name).spawn(work);
    thread.unwrap_or_else(|error| panic!("cannot start a thread for the check: {error}"));
    let (mut seen, mut idle) = (watched.progress(), Duration::ZERO);
    loop {
        match receiver.recv_timeout(INTERVAL) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(panic)) => panic::resume_unwind(panic),
            Err(RecvTimeoutError::Disconnected) => return Err(Blocked("the thread of the check is gone".to_owned())),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = watched.progress();
        idle = if now == seen { idle + INTERVAL } else { Duration::ZERO };
        seen = now;
        if idle >= patience {
            return Err(Blocked(watched.place()));
        }
    }
}
