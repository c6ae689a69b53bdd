//! The sample run of a cell: summary, findings, rules, timeline and events.

use crate::format::{count, cut, micros, number, plain};
use crate::svg;
use seawall_harness::record::{Finding, MarkKind, RuleRecord, RunRecord, TimelineEvent};

/// Maximum number of rows in the table of events.
const EVENTS_MAX: usize = 40;
/// Maximum length of an event's label, in characters.
const LABEL_CHARS_MAX: usize = 160;

/// The run that a cell shows.
pub(super) struct Sample {
    pub(super) summary: String,
    pub(super) findings: Vec<Finding>,
    pub(super) rules: Vec<Rule>,
    pub(super) timeline: String,
    pub(super) events: Vec<Event>,
    pub(super) events_left_out: u64,
}

/// A fault rule of the run.
pub(super) struct Rule {
    pub(super) rule: String,
    pub(super) matched: String,
    pub(super) fired: String,
    pub(super) calls: String,
}

/// An event of the timeline.
pub(super) struct Event {
    pub(super) at: String,
    pub(super) actor: String,
    pub(super) kind: &'static str,
    pub(super) label: String,
}

impl Sample {
    pub(super) fn from_run(run: &RunRecord) -> Self {
        let (events, events_left_out) = events(run);
        Self {
            summary: summary(run),
            findings: run.findings.iter().map(finding).collect(),
            rules: run.rules.iter().map(rule).collect(),
            timeline: svg::timeline_inline(run),
            events,
            events_left_out,
        }
    }
}

fn finding(finding: &Finding) -> Finding {
    Finding { oracle: plain(&finding.oracle), verdict: finding.verdict, detail: plain(&finding.detail) }
}

fn summary(run: &RunRecord) -> String {
    let schedule = match run.topology.schedule.as_str() {
        "sequential" => "one at a time",
        other => other,
    };
    let c = &run.counts;
    let integrity = if run.integrity_ok { "all integrity checks said ok" } else { "an integrity check failed" };
    let kills = match c.kills {
        0 => String::new(),
        n => format!(", {} in {}", count(n, "kill"), count(c.starts, "process start")),
    };
    let digest = run.trace_digest.as_ref().map(|d| format!(" Trace digest {d}.")).unwrap_or_default();
    plain(&format!(
        "{} with {} each, {schedule}, seed {}: {} acknowledged, {} refused, {} of unknown outcome, {} lost, {}, \
         {}{kills}. At the end {integrity}.{digest}",
        count(run.topology.processes.into(), "process"),
        count(run.topology.threads.into(), "thread"),
        run.seed,
        number(c.acked),
        number(c.refused),
        number(c.indeterminate),
        number(c.lost),
        count(c.reads, "read"),
        count(c.calls, "call"),
    ))
}

fn rule(rule: &RuleRecord) -> Rule {
    let calls: Vec<String> = rule.fired_at.iter().map(|n| number(*n)).collect();
    let more = if rule.fired > rule.fired_at.len() as u64 { ", …" } else { "" };
    Rule {
        rule: plain(&rule.rule),
        matched: number(rule.matched),
        fired: number(rule.fired),
        calls: if calls.is_empty() { "–".to_owned() } else { format!("{}{more}", calls.join(", ")) },
    }
}

/// The events in order of time. If there are too many, those of the least important kinds are omitted and counted.
fn events(run: &RunRecord) -> (Vec<Event>, u64) {
    let mut shown: Vec<&TimelineEvent> = run.timeline.iter().filter(|e| rank(e.kind).is_some()).collect();
    let all = shown.len();
    shown.sort_by_key(|e| (rank(e.kind), e.at_us));
    shown.truncate(EVENTS_MAX);
    shown.sort_by_key(|e| e.at_us);
    let event = |e: &TimelineEvent| Event {
        at: micros(e.at_us),
        actor: plain(&e.actor),
        kind: svg::mark(e.kind).word,
        label: cut(&plain(&e.label), LABEL_CHARS_MAX),
    };
    (shown.iter().map(|e| event(e)).collect(), (all - shown.len()) as u64)
}

/// The importance of a kind of event, 0 the highest; `None` if the table does not show it.
const fn rank(kind: MarkKind) -> Option<u8> {
    match kind {
        MarkKind::Kill | MarkKind::Heal | MarkKind::Outside | MarkKind::Lost => Some(0),
        MarkKind::Fault => Some(1),
        MarkKind::Indeterminate => Some(2),
        MarkKind::Refused => Some(3),
        MarkKind::Start => Some(4),
        MarkKind::Commit => Some(5),
        MarkKind::Read | MarkKind::Call => None,
    }
}
