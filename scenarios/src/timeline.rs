//! The timeline of a run: calls, faults and commits in the order of time, few enough to draw.

use seawall_harness::codes::ResultCode;
use seawall_harness::fault::Rule;
use seawall_harness::outsider::OutsideAction;
use seawall_harness::record::{MarkKind, TimelineEvent};
use seawall_harness::trace::{Entry, RulingKind};

/// The most plain calls in a timeline. If there are more, every n-th call is kept. All faults and marks are kept.
const CALLS_MAX: usize = 400;

/// The actor of what an outsider does to files.
const OUTSIDER: &str = "outsider";

/// Calls and marks together. `rules` are those of the run: they tell what outsiders did.
pub fn of(calls: &[Entry], marks: &[TimelineEvent], rules: &[Rule]) -> Vec<TimelineEvent> {
    let (plain, faults): (Vec<&Entry>, Vec<&Entry>) =
        calls.iter().partition(|entry| entry.ruling == RulingKind::Proceed);
    let stride = plain.len().div_ceil(CALLS_MAX).max(1);
    let mut events: Vec<TimelineEvent> =
        plain.into_iter().step_by(stride).chain(faults).map(|entry| event(entry, rules)).collect();
    events.extend_from_slice(marks);
    events.sort_by(|a, b| (a.at_us, &a.actor).cmp(&(b.at_us, &b.actor)));
    events
}

fn event(entry: &Entry, rules: &[Rule]) -> TimelineEvent {
    let rule = entry.rule.and_then(|rule| rules.get(usize::from(rule)));
    if let Some(action) = rule.and_then(|rule| rule.effect.outside_action()) {
        return intervention(entry, action);
    }
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

/// What an outsider did, in a lane of its own; what a process did or suffered, in the lane of the actor that called.
fn intervention(entry: &Entry, action: OutsideAction) -> TimelineEvent {
    let Entry { number, call, actor, .. } = entry;
    let (lane, by) = match action.is_of_process() {
        true => (actor.to_string(), String::new()),
        false => (OUTSIDER.to_owned(), format!(" by {actor}")),
    };
    TimelineEvent {
        at_us: entry.at_ns / 1000,
        duration_us: 0,
        actor: lane,
        kind: MarkKind::Outside,
        label: format!("before call {number}, {call}{by}: {}", action.summary()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seawall_harness::actor::Actor;
    use seawall_harness::call::{Call, Method, Role};

    #[test]
    fn outsiders_have_a_lane_of_their_own_and_what_a_process_suffers_is_in_its_lane() {
        let entry = |number: u64, rule| Entry {
            number,
            at_ns: number * 1000,
            actor: Actor { process: 1, thread: 2 },
            call: Call { method: Method::Sync, role: Role::Wal, file: 3, arg: 0, amount: 0 },
            ruling: if rule < 2 { RulingKind::Outside } else { RulingKind::Fail },
            rule: Some(rule),
            outcome: 0,
        };
        let rules = ["sync@wal:outside=move", "sync@wal:outside=touch", "sync@wal:error=IOERR"];
        let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let events = of(&[entry(0, 0), entry(1, 1), entry(2, 2)], &[], &rules);
        let seen: Vec<(&str, MarkKind)> = events.iter().map(|event| (&*event.actor, event.kind)).collect();
        let expected = [("outsider", MarkKind::Outside), ("p1.t2", MarkKind::Outside), ("p1.t2", MarkKind::Fault)];
        assert_eq!(seen, expected);
        assert!(events[0].label.contains("by p1.t2: an outsider renames the database"), "{}", events[0].label);
        assert!(events[1].label.ends_with("loses its POSIX locks"), "{}", events[1].label);
    }
}
