//! The settings of a supervisor and their defaults.

use crate::workers::Jitter;
use std::time::Duration;

/// When to retry, to pause, to restart, to fall back, to stop.
///
/// The defaults are those of a field report, a pipeline with a local model server, unless a field says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorPolicy {
    /// So many backend failures in a row break the circuit and end the batch. 10; 0 counts as 1.
    pub breaker_failures_max: u32,
    /// So many per cent of failed items make a batch's fail ratio high; the limit itself is high. 80; above 100: never.
    pub fail_ratio_percent: u32,
    /// The wait after a bad batch of a backend that is alive. 15 s.
    pub pause: Duration,
    /// Whether a dead backend is restarted. Yes.
    pub auto_restart: bool,
    /// How long a restarted backend may take to answer its probe. 60 s.
    pub restart_wait: Duration,
    /// How often it is probed meanwhile. 1 s.
    pub restart_poll: Duration,
    /// So many restarts without a success in between, then no more. Ours: 3; the report has no bound.
    pub restarts_max: u32,
    /// How long one attempt may take. The job is told, and has to keep to it: see
    /// [`Attempt::timeout`](super::Attempt::timeout). 60 s.
    pub request_timeout: Duration,
    /// So many more attempts at an item that failed in a way that may pass. 2.
    pub retries: u32,
    /// The wait before the first of them; it doubles with each. 2 s.
    pub retry_base: Duration,
    /// The longest such wait, before the jitter. 30 s.
    pub retry_cap: Duration,
    /// Such a wait is longer by 0 to this many per cent. 30.
    pub retry_jitter_percent: u32,
    /// The time without a finished item that is a stall. 300 s.
    pub stall_timeout: Duration,
    /// How often [`SupervisorEvent::Heartbeat`](super::SupervisorEvent::Heartbeat) is sent. 25 s.
    pub heartbeat: Duration,
    /// So many backend failures in a row change over to the fallback, if there is one. 3; 0 counts as 1.
    pub fallback_after: u32,
    /// So many bad batches in a row may have a probe that timed out; the next one is taken for a hung backend, and that
    /// is treated as a dead one. Ours: 4, which with the pauses comes to a minute; the report took the first for a
    /// death.
    pub timeouts_max: u32,
}

impl Default for SupervisorPolicy {
    fn default() -> SupervisorPolicy {
        SupervisorPolicy {
            breaker_failures_max: 10,
            fail_ratio_percent: 80,
            pause: Duration::from_secs(15),
            auto_restart: true,
            restart_wait: Duration::from_secs(60),
            restart_poll: Duration::from_secs(1),
            restarts_max: 3,
            request_timeout: Duration::from_secs(60),
            retries: 2,
            retry_base: Duration::from_secs(2),
            retry_cap: Duration::from_secs(30),
            retry_jitter_percent: 30,
            stall_timeout: Duration::from_secs(300),
            heartbeat: Duration::from_secs(25),
            fallback_after: 3,
            timeouts_max: 4,
        }
    }
}

impl SupervisorPolicy {
    /// The wait before the nth retry, counted from 1.
    pub(super) fn retry_pause(&self, retry: u32, jitter: &mut Jitter) -> Duration {
        let factor = 1u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX);
        jitter.stretch(self.retry_base.saturating_mul(factor).min(self.retry_cap), self.retry_jitter_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_wait_for_a_base_that_doubles_up_to_a_cap_and_jitter_on_top() {
        let policy = SupervisorPolicy::default();
        let mut jitter = Jitter::new(1);
        for (retry, least_secs) in [(1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (6, 30), (40, 30), (u32::MAX, 30)] {
            let least = Duration::from_secs(least_secs);
            let exact = SupervisorPolicy { retry_jitter_percent: 0, ..policy.clone() };
            assert_eq!(exact.retry_pause(retry, &mut jitter), least, "retry {retry}");
            let pause = policy.retry_pause(retry, &mut jitter);
            assert!(pause >= least && pause <= least.mul_f64(1.3), "retry {retry}: {pause:?}");
        }
        let pauses: Vec<_> = (0..20).map(|_| policy.retry_pause(1, &mut jitter)).collect();
        assert!(pauses.iter().max() > pauses.iter().min(), "{pauses:?}");
    }
}
