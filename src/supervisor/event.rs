//! The events of a supervisor.

use super::backend::Probe;
use super::decision::{Decision, Findings, Side, StopReason};
use super::failure::Failure;
use crate::sync::Arc;
use std::fmt;
use std::time::Duration;

/// Something happened to a batch or to its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SupervisorEvent {
    /// An item is given up on, after all of its attempts.
    ItemFailed {
        /// Its place in the batch, from 0.
        index: usize,
        /// Where it was attempted last.
        side: Side,
        /// How often it was attempted there.
        attempts: u32,
        /// The last failure.
        failure: Failure,
    },
    /// The supervisor runs, whatever the items do.
    Heartbeat {
        /// Items finished in this batch.
        finished: usize,
        /// Items in this batch.
        total: usize,
        /// For how long none was finished.
        still: Duration,
    },
    /// No item was finished for [`stall_timeout`](super::SupervisorPolicy::stall_timeout).
    Stalled {
        /// For how long.
        still: Duration,
    },
    /// A batch was found bad, the backend was probed, and this was judged.
    Decided {
        /// The side that the batch ran on.
        side: Side,
        /// What was found.
        findings: Findings,
        /// What the backend answered.
        probe: Probe,
        /// What is to be done.
        decision: Decision,
    },
    /// The backend is being restarted.
    Restarting {
        /// Which.
        side: Side,
    },
    /// The restart is over.
    Restarted {
        /// Which.
        side: Side,
        /// Whether it answers that all is well.
        is_recovered: bool,
        /// How long that took.
        waited: Duration,
        /// What was wrong with the restart itself.
        error: Option<String>,
        /// What is to be done.
        decision: Decision,
    },
    /// The other backend is in use from here on.
    Changed {
        /// Which.
        to: Side,
    },
    /// There will be no further batch.
    Stopped {
        /// Why.
        reason: StopReason,
    },
}

impl fmt::Display for SupervisorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SupervisorEvent::ItemFailed { index, side, attempts, failure } => {
                write!(f, "item {index} failed on the {side} (attempts: {attempts}): {failure}")
            }
            SupervisorEvent::Heartbeat { finished, total, still } => {
                write!(f, "{finished} of {total} items, the last one {still:?} ago")
            }
            SupervisorEvent::Stalled { still } => write!(f, "no item was finished for {still:?}"),
            SupervisorEvent::Decided { side, findings, probe, decision } => {
                write!(f, "the {side} ({probe:?}) had a bad batch ({findings}): {decision}")
            }
            SupervisorEvent::Restarting { side } => write!(f, "restarting the {side}"),
            SupervisorEvent::Restarted { side, is_recovered: true, waited, decision, .. } => {
                write!(f, "the {side} is back after {waited:?}: {decision}")
            }
            SupervisorEvent::Restarted { side, waited, error, decision, .. } => {
                write!(f, "the {side} is not back after {waited:?}: ")?;
                match error {
                    Some(error) => write!(f, "{error}: {decision}"),
                    None => write!(f, "{decision}"),
                }
            }
            SupervisorEvent::Changed { to } => write!(f, "the {to} is in use from here on"),
            SupervisorEvent::Stopped { reason } => write!(f, "stopped: {reason}"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Primary => "backend",
            Side::Fallback => "fallback",
        })
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            (self.circuit_broken, "circuit broken"),
            (self.fail_ratio_high, "fail ratio high"),
            (self.stalled, "stalled"),
        ];
        let found: Vec<&str> = named.into_iter().filter_map(|(is_found, name)| is_found.then_some(name)).collect();
        f.write_str(if found.is_empty() { "nothing found" } else { "" })?;
        f.write_str(&found.join(", "))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Continue => f.write_str("going on"),
            Decision::Pause(pause) => write!(f, "pausing for {pause:?}"),
            Decision::Restart => f.write_str("restarting it"),
            Decision::FallBack => f.write_str("falling back"),
            Decision::Stop(reason) => write!(f, "stopping: {reason}"),
        }
    }
}

/// Where a supervisor's events go. Heartbeats and stalls come from a thread of their own. It may block or panic; that
/// only the latency of the batch suffers.
pub type SupervisorSink = Arc<dyn Fn(&SupervisorEvent) + Send + Sync>;
