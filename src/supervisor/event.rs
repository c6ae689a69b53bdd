//! What a supervisor tells about its work.

use super::backend::Probe;
use super::decision::{Findings, Judgement, Side, StopReason};
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
    /// All is well with the supervisor, whatever the items do.
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
    Judged {
        /// The side that the batch ran on.
        side: Side,
        /// What was found.
        findings: Findings,
        /// What the backend answered.
        probe: Probe,
        /// What is to be done.
        judgement: Judgement,
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
        judgement: Judgement,
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
            SupervisorEvent::Judged { side, findings, probe, judgement } => {
                write!(f, "the {side} ({probe:?}) had a bad batch ({findings}): {judgement}")
            }
            SupervisorEvent::Restarting { side } => write!(f, "restarting the {side}"),
            SupervisorEvent::Restarted { side, is_recovered: true, waited, judgement, .. } => {
                write!(f, "the {side} is back after {waited:?}: {judgement}")
            }
            SupervisorEvent::Restarted { side, waited, error, judgement, .. } => {
                write!(f, "the {side} is not back after {waited:?}: ")?;
                match error {
                    Some(error) => write!(f, "{error}: {judgement}"),
                    None => write!(f, "{judgement}"),
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

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Judgement::Continue => f.write_str("going on"),
            Judgement::Pause(pause) => write!(f, "pausing for {pause:?}"),
            Judgement::Restart => f.write_str("restarting it"),
            Judgement::FallBack => f.write_str("falling back"),
            Judgement::Stop(reason) => write!(f, "stopping: {reason}"),
        }
    }
}

/// Where a supervisor's events go. Heartbeats and stalls come from a thread of their own. It may block or panic; that
/// hurts nobody but the batch's latency.
pub type SupervisorSink = Arc<dyn Fn(&SupervisorEvent) + Send + Sync>;
