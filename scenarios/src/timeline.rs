//! The timeline of a run: calls, faults and commits in the order of time, few enough to draw.

use seawall_harness::codes::ResultCode;
use seawall_harness::record::{MarkKind, TimelineEvent};
use seawall_harness::trace::{Entry, RulingKind};

/// The most plain calls in a timeline. If there are more, every n-th call is kept. All faults and marks are kept.
const CALLS_MAX: usize = 400;

/// Calls and marks together.
pub fn of(calls: &[Entry], marks: &[TimelineEvent]) -> Vec<TimelineEvent> {
    let (plain, faults): (Vec<&Entry>, Vec<&Entry>) =
        calls.iter().partition(|entry| entry.ruling == RulingKind::Proceed);
    let stride = plain.len().div_ceil(CALLS_MAX).max(1);
    let mut events: Vec<TimelineEvent> = plain.into_iter().step_by(stride).chain(faults).map(event).collect();
    events.extend_from_slice(marks);
    events.sort_by(|a, b| (a.at_us, &a.actor).cmp(&(b.at_us, &b.actor)));
    events
}

fn event(entry: &Entry) -> TimelineEvent {
    let is_fault = entry.ruling != RulingKind::Proceed;
    let mut label = format!("call {}: {}", entry.number, entry.call);
    if is_fault {
        label.push_str(&format!(" {}", entry.ruling.predicate()));
    }
    if entry.call.method.can_fail() && entry.outcome != 0 {
        label.push_str(&format!(" → {}", ResultCode(entry.outcome)));
    }
    TimelineEvent {
        at_us: entry.at_ns / 1000,
        duration_us: 0,
        actor: entry.actor.to_string(),
        kind: if is_fault { MarkKind::Fault } else { MarkKind::Call },
        label,
    }
}
