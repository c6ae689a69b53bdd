//! A story as its renderers tell it: events that belong together are one beat, and a long middle is left out.
//!
//! A statement that nobody interrupted is one beat, not a beginning and an end; so is a statement up to its first
//! pause. The beats are numbered alike in the diagram, on the page and in the terminal, whatever is left out.

use std::ops::Range;

use seawall_harness::record::{Story, StoryEvent, StoryKind};

pub(crate) use self::sentence::{Part, Sentence, Tone, detail, finding, headline, joined, name};
use crate::words::count;

mod sentence;

/// Of more events than this, the middle is left out.
const EVENTS_MAX: usize = 200;

/// A story, ready to be told.
pub(crate) struct Telling<'a> {
    /// Who takes part, from left to right: those whom the story names, then whoever turns up besides.
    pub(crate) lanes: Vec<&'a str>,
    /// All beats in their order.
    pub(crate) beats: Vec<Beat<'a>>,
    /// Positions of the beats that are not told.
    pub(crate) skipped: Range<usize>,
}

/// One event, or two that say one thing together.
pub(crate) struct Beat<'a> {
    /// Position of the actor's lane; `None` for what concerns them all.
    pub(crate) lane: Option<usize>,
    /// What happened.
    pub(crate) first: &'a StoryEvent,
    /// What followed at once and by the same actor: how a statement ended, or that it paused.
    pub(crate) then: Option<&'a StoryEvent>,
    /// The statement that the actor is in.
    pub(crate) statement: Option<&'a str>,
}

impl<'a> Telling<'a> {
    pub(crate) fn new(story: &'a Story) -> Self {
        let lanes = lanes(story);
        let beats = beats(&story.events, &lanes);
        let skipped = skipped(&beats, story.events.len());
        Self { lanes, beats, skipped }
    }

    /// The beats that are told, with their positions.
    pub(crate) fn told(&self) -> impl Iterator<Item = (usize, &Beat<'a>)> {
        self.beats.iter().enumerate().filter(|(i, _)| !self.skipped.contains(i))
    }

    /// What stands in for the beats that are not told; nothing if all are.
    pub(crate) fn ellipsis(&self) -> Option<String> {
        let events: usize = self.beats[self.skipped.clone()].iter().map(Beat::events).sum();
        (events > 0).then(|| format!("… {}", count(events as u64, "more event")))
    }

    /// The lanes of one process: a kill ends all of them.
    pub(crate) fn siblings(&self, lane: usize) -> Vec<usize> {
        siblings(&self.lanes, lane)
    }
}

impl Beat<'_> {
    /// Number of events in it.
    pub(crate) fn events(&self) -> usize {
        1 + usize::from(self.then.is_some())
    }

    /// The last of its events.
    pub(crate) fn last(&self) -> &StoryEvent {
        self.then.unwrap_or(self.first)
    }

    /// Whether one of its events is of the kind.
    pub(crate) fn has(&self, kind: StoryKind) -> bool {
        self.first.kind == kind || self.last().kind == kind
    }
}

/// True for the kinds that end a statement.
pub(crate) const fn ends(kind: StoryKind) -> bool {
    matches!(kind, StoryKind::End | StoryKind::Refused | StoryKind::Commit)
}

fn lanes(story: &Story) -> Vec<&str> {
    let mut lanes: Vec<&str> = Vec::new();
    for actor in &story.actors {
        if !lanes.contains(&actor.as_str()) {
            lanes.push(actor);
        }
    }
    for actor in story.events.iter().filter_map(|e| e.actor.as_deref()) {
        if lane_of(&lanes, actor).is_none() {
            lanes.push(actor);
        }
    }
    lanes
}

/// The actor's lane. A whole process, as in a kill, has that of its first thread.
fn lane_of(lanes: &[&str], actor: &str) -> Option<usize> {
    let exact = lanes.iter().position(|lane| *lane == actor);
    exact.or_else(|| lanes.iter().position(|lane| lane.split_once('.').is_some_and(|(process, _)| process == actor)))
}

fn siblings(lanes: &[&str], lane: usize) -> Vec<usize> {
    let process = |lane: usize| lanes[lane].split('.').next();
    (0..lanes.len()).filter(|other| process(*other) == process(lane)).collect()
}

fn beats<'a>(events: &'a [StoryEvent], lanes: &[&'a str]) -> Vec<Beat<'a>> {
    // The statements that each lane is in, outermost first.
    let mut open: Vec<Vec<&str>> = vec![Vec::new(); lanes.len()];
    let mut beats = Vec::with_capacity(events.len());
    let mut rest = events.iter().peekable();
    while let Some(first) = rest.next() {
        let then = rest.next_if(|next| belongs(first, next));
        let lane = first.actor.as_deref().and_then(|actor| lane_of(lanes, actor));
        let mut beat = Beat { lane, first, then, statement: None };
        if let Some(lane) = lane {
            if first.kind == StoryKind::Begin {
                open[lane].push(&first.text);
            }
            beat.statement = open[lane].last().copied();
            if ends(beat.last().kind) {
                open[lane].pop();
            }
            if first.kind == StoryKind::Kill {
                siblings(lanes, lane).into_iter().for_each(|sibling| open[sibling].clear());
            }
        }
        beats.push(beat);
    }
    beats
}

/// Whether the second event completes what the first one says.
fn belongs(first: &StoryEvent, next: &StoryEvent) -> bool {
    first.actor.is_some()
        && first.actor == next.actor
        && matches!(first.kind, StoryKind::Begin | StoryKind::Resumed)
        && (ends(next.kind) || next.kind == StoryKind::Paused)
}

/// The middle, so that as many events are told before it as after it.
fn skipped(beats: &[Beat<'_>], events: usize) -> Range<usize> {
    if events <= EVENTS_MAX {
        return 0..0;
    }
    let within = |events: &mut usize, beat: &Beat<'_>| {
        *events += beat.events();
        (*events <= EVENTS_MAX / 2).then_some(())
    };
    let head = beats.iter().scan(0, within).count();
    let tail = beats.iter().rev().scan(0, within).count();
    head..beats.len() - tail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(lines: &[(&str, StoryKind, &str)]) -> Vec<StoryEvent> {
        let event = |(at, (actor, kind, text)): (usize, &(&str, StoryKind, &str))| StoryEvent {
            at: at as u64,
            actor: (!actor.is_empty()).then(|| (*actor).to_owned()),
            kind: *kind,
            text: (*text).to_owned(),
        };
        lines.iter().enumerate().map(event).collect()
    }

    #[track_caller]
    fn check(lines: &[(&str, StoryKind, &str)], expected: &[&str]) {
        let events = events(lines);
        let beats = beats(&events, &["p1.t1", "p1.t2", "p2.t1"]);
        let told: Vec<String> = beats.iter().map(|beat| Sentence::new(beat, 200).text()).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_nobody_interrupted_is_one_sentence() {
        use StoryKind::{Begin, Commit, End, Paused, Refused, Resumed};
        check(&[("p1.t1", Begin, "SELECT 1"), ("p1.t1", End, "")], &["p1.t1 ran `SELECT 1`"]);
        check(
            &[("p1.t1", Begin, "INSERT"), ("p1.t1", Commit, "3 rows")],
            &["p1.t1 ran `INSERT` to its commit: 3 rows"],
        );
        check(
            &[("p1.t1", Begin, "COMMIT"), ("p1.t1", Commit, "COMMIT")],
            &["p1.t1 ran `COMMIT`, and it was acknowledged"],
        );
        check(&[("p1.t1", Begin, "INSERT"), ("p1.t1", Refused, "INSERT: BUSY")], &["p1.t1 was refused `INSERT`: BUSY"]);
        check(
            &[
                ("p1.t1", Begin, "A"),
                ("p1.t1", Paused, "at its 4th unfetch@db"),
                ("p1.t2", Begin, "B"),
                ("p1.t1", Resumed, ""),
                ("p1.t1", Paused, "at its 5th unfetch@db"),
                ("p1.t2", End, ""),
                ("p1.t1", Resumed, ""),
                ("p1.t1", End, ""),
            ],
            &[
                "p1.t1 paused in `A` at its 4th unfetch@db",
                "p1.t2 began `B`",
                "p1.t1 resumed and paused again at its 5th unfetch@db",
                "p1.t2 finished `B`",
                "p1.t1 resumed and finished `A`",
            ],
        );
    }

    #[test]
    fn every_kind_has_words_with_and_without_a_statement() {
        use StoryKind::{Begin, Commit, End, Fault, Kill, Observed, Paused, Refused, Resumed, Start};
        check(
            &[
                ("p1.t1", Begin, "A"),
                ("p1.t1", Fault, "write@wal: IOERR_WRITE"),
                ("p1.t1", Refused, "disk I/O error"),
                ("p1.t1", Resumed, ""),
                ("p2.t1", Begin, "B"),
                ("p2", Kill, "SIGKILL"),
                ("p2", Start, "started again"),
                ("p2.t1", Commit, ""),
                ("", Observed, "nBackfill 95 > mxFrame 30"),
                ("p1.t2", Observed, "0 rows"),
                ("p1.t2", Fault, "open@db"),
                ("p1.t2", End, "SELECT 2"),
                ("p1.t2", Commit, "INSERT"),
                ("p1.t2", Refused, "BUSY"),
                ("p1.t2", Paused, ""),
            ],
            &[
                "p1.t1 began `A`",
                "p1.t1 met a fault in `A`: write@wal: IOERR_WRITE",
                "p1.t1 was refused `A`: disk I/O error",
                "p1.t1 resumed",
                "p2.t1 began `B`",
                "p2 was killed in `B`: SIGKILL",
                "p2 started again",
                "p2.t1 committed",
                "nBackfill 95 > mxFrame 30",
                "p1.t2 saw: 0 rows",
                "p1.t2 met a fault: open@db",
                "p1.t2 ran `SELECT 2`",
                "p1.t2 ran `INSERT` to its commit",
                "p1.t2 was refused: BUSY",
                "p1.t2 paused",
            ],
        );
    }

    #[test]
    fn only_the_middle_is_left_out_and_every_event_is_counted() {
        use StoryKind::{Begin, End, Observed};
        for n in [0_usize, 1, 199, 200, 201, 340, 1_001] {
            let mut lines: Vec<(&str, StoryKind, &str)> = vec![("", Observed, "first")];
            for i in 1..n {
                lines.push(("p1.t1", if i % 2 == 1 { Begin } else { End }, "A"));
            }
            lines.truncate(n);
            let events = events(&lines);
            let beats = beats(&events, &["p1.t1"]);
            let range = skipped(&beats, events.len());
            let out: usize = beats[range.clone()].iter().map(Beat::events).sum();
            let told: usize = beats.iter().map(Beat::events).sum::<usize>() - out;
            assert_eq!(told + out, n);
            assert_eq!(out > 0, n > EVENTS_MAX, "{n} events, {out} left out");
            assert!(told <= EVENTS_MAX && (out == 0 || told >= EVENTS_MAX - 2), "{n} events, {told} told");
        }
    }
}
