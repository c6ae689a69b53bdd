//! Wakes tasks whose time to wait is over.
//!
//! The timer of the runtime is not used: a runtime need not have one. A thread waits instead, which exists while calls
//! wait in a queue and for a moment after.

use crate::os::Os;
use crate::sync::{Arc, Condvar, Mutex};
use std::collections::BTreeMap;
use std::task::Waker;
use std::thread;
use std::time::Duration;

/// The clock may be another one than the thread's.
const WAIT_SLICE: Duration = Duration::from_millis(50);
/// How long the thread stays without a task.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Alarm {
    shared: Arc<Shared>,
}

struct Shared {
    os: Arc<dyn Os>,
    state: Mutex<AlarmState>,
    changed: Condvar,
}

#[derive(Default)]
struct AlarmState {
    /// By the time when they are due and a number.
    tasks: BTreeMap<(Duration, u64), Waker>,
    number: u64,
    is_running: bool,
}

/// The place of a task. Dropping it cancels.
pub(super) struct AlarmPlace {
    alarm: Alarm,
    key: (Duration, u64),
}

impl Alarm {
    pub(super) fn new(os: Arc<dyn Os>) -> Alarm {
        Alarm { shared: Arc::new(Shared { os, state: Mutex::default(), changed: Condvar::default() }) }
    }

    /// A place for a task that is to be woken at that time.
    pub(super) fn place(&self, due: Duration) -> AlarmPlace {
        let mut state = self.shared.state.lock();
        state.number += 1;
        AlarmPlace { alarm: self.clone(), key: (due, state.number) }
    }
}

impl AlarmPlace {
    pub(super) fn is_due(&self) -> bool {
        self.alarm.shared.os.now() >= self.key.0
    }

    /// Sets the task, as each poll has to.
    pub(super) fn set(&self, waker: &Waker) {
        let shared = &self.alarm.shared;
        let mut state = shared.state.lock();
        state.tasks.insert(self.key, waker.clone());
        if !state.is_running {
            let ringing = Arc::clone(shared);
            let thread = thread::Builder::new().name("seawall-alarm".to_owned()).spawn(move || ring(&ringing));
            // Without a thread the task waits for its turn, as it would anyway.
            state.is_running = thread.is_ok();
        } else if state.tasks.keys().next() == Some(&self.key) {
            shared.changed.notify_one();
        }
    }
}

impl Drop for AlarmPlace {
    fn drop(&mut self) {
        self.alarm.shared.state.lock().tasks.remove(&self.key);
    }
}

fn ring(shared: &Shared) {
    let mut state = shared.state.lock();
    loop {
        let now = shared.os.now();
        let wait = match state.tasks.first_key_value() {
            Some((&(due, _), _)) if due <= now => {
                let task = state.tasks.pop_first();
                drop(state);
                if let Some((_, waker)) = task {
                    waker.wake();
                }
                state = shared.state.lock();
                continue;
            }
            Some((&(due, _), _)) => (due - now).min(WAIT_SLICE),
            None => LINGER,
        };
        let was_idle = state.tasks.is_empty();
        let is_over = shared.changed.wait_for(&mut state, wait).timed_out();
        if was_idle && is_over && state.tasks.is_empty() {
            state.is_running = false;
            return;
        }
    }
}
