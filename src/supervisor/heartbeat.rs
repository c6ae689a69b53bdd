//! A heartbeat at fixed intervals, and the detection of stalls.
//!
//! The first caller of [`look`](Heartbeat::look) after an event is due announces it, so it is announced once. While an
//! item runs, that is a thread which does nothing else.

use super::event::SupervisorEvent;
use super::policy::SupervisorPolicy;
use crate::os::Os;
use crate::sync::{Condvar, Mutex};
use std::time::Duration;

/// The heartbeat of one batch.
pub(super) struct Heartbeat {
    heartbeat: Duration,
    stall_timeout: Duration,
    state: Mutex<HeartbeatState>,
    changed: Condvar,
}

struct HeartbeatState {
    total: usize,
    finished: usize,
    /// When the last item was finished, or the batch began.
    moved: Duration,
    beat_next: Duration,
    /// Whether items are being worked on; pauses and restarts are no stalls.
    is_working: bool,
    is_stalled: bool,
    is_over: bool,
}

impl Heartbeat {
    pub(super) fn new(policy: &SupervisorPolicy, total: usize, now: Duration) -> Heartbeat {
        let state = HeartbeatState {
            total,
            finished: 0,
            moved: now,
            beat_next: now.saturating_add(policy.heartbeat),
            is_working: true,
            is_stalled: false,
            is_over: false,
        };
        Heartbeat {
            heartbeat: policy.heartbeat,
            stall_timeout: policy.stall_timeout,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// What is due to be announced.
    pub(super) fn look(&self, now: Duration) -> Vec<SupervisorEvent> {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        let still = now.saturating_sub(state.moved);
        if state.is_working && !state.is_stalled && still >= self.stall_timeout {
            state.is_stalled = true;
            due.push(SupervisorEvent::Stalled { still });
        }
        if now >= state.beat_next {
            // Beats that were missed are not made up for.
            state.beat_next = now.saturating_add(self.heartbeat);
            due.push(SupervisorEvent::Heartbeat { finished: state.finished, total: state.total, still });
        }
        due
    }

    /// Whether no item was finished for too long, as of the last look.
    pub(super) fn is_stalled(&self) -> bool {
        self.state.lock().is_stalled
    }

    /// An item is finished; answers whether that ended a stall.
    pub(super) fn finish(&self, now: Duration) -> bool {
        let mut state = self.state.lock();
        state.finished += 1;
        state.moved = now;
        std::mem::take(&mut state.is_stalled)
    }

    /// No more items: from here on there are heartbeats only.
    pub(super) fn rest(&self) {
        self.state.lock().is_working = false;
    }

    /// Looks until the batch is over.
    pub(super) fn watch(&self, os: &dyn Os, announce: impl Fn(&SupervisorEvent)) {
        let pause = self.heartbeat.min(self.stall_timeout).min(WATCH_MAX).max(WATCH_MIN);
        loop {
            self.look(os.now()).iter().for_each(&announce);
            let mut state = self.state.lock();
            if !state.is_over {
                self.changed.wait_for(&mut state, pause);
            }
            if state.is_over {
                return;
            }
        }
    }

    /// Ends [`Heartbeat::watch`] when it is dropped, also if that is because of a panic.
    pub(super) fn until_dropped(&self) -> impl Drop {
        struct Over<'a>(&'a Heartbeat);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.state.lock().is_over = true;
                self.0.changed.notify_all();
            }
        }
        Over(self)
    }
}

/// How often the watcher looks at the clock: late by so much at most, and no busier than that.
const WATCH_MAX: Duration = Duration::from_millis(100);
pub(super) const WATCH_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn heartbeat() -> Heartbeat {
        Heartbeat::new(&SupervisorPolicy::default(), 10, Duration::ZERO)
    }

    #[test]
    fn a_heartbeat_comes_each_25_s_and_missed_ones_are_not_repeated() {
        let heartbeat = heartbeat();
        let mut beats = Vec::new();
        for now in [10, 24, 25, 26, 49, 50, 130, 131, 155] {
            beats.extend(heartbeat.look(secs(now)).into_iter().map(|event| (now, event)));
        }
        let beat = |still| SupervisorEvent::Heartbeat { finished: 0, total: 10, still: secs(still) };
        assert_eq!(beats, [25, 50, 130, 155].map(|now| (now, beat(now))));
    }

    #[test]
    fn a_stall_is_300_s_without_a_finished_item_and_is_announced_once() {
        let heartbeat = heartbeat();
        let stalls = |now| {
            heartbeat
                .look(secs(now))
                .into_iter()
                .filter(|event| matches!(event, SupervisorEvent::Stalled { .. }))
                .count()
        };
        assert_eq!((stalls(299), heartbeat.is_stalled()), (0, false));
        assert!(!heartbeat.finish(secs(299)));
        assert_eq!((stalls(598), heartbeat.is_stalled()), (0, false));
        assert_eq!((stalls(599), stalls(900), heartbeat.is_stalled()), (1, 0, true));
        assert!(heartbeat.finish(secs(901)), "finishing an item ends the stall, and says so");
        assert_eq!((stalls(1200), stalls(1201)), (0, 1));
        assert!(heartbeat.finish(secs(1201)));
        heartbeat.rest();
        assert_eq!((stalls(5000), heartbeat.is_stalled()), (0, false), "a pause is no stall");
    }
}
