//! A story as numbered steps. Events that belong together are one step, and the middle of a long story is omitted.
//!
//! The begin and the end of an uninterrupted statement are one step. The begin and the first pause are one step, too.
//! The numbers are the same in the diagram, on the page and in the terminal, and they count omitted steps.

use crate::record::{Story, StoryEvent, StoryKind};
use std::ops::Range;

pub use sentence::{Part, Sentence, Tone, actor_name, detail, finding, headline, joined};
pub use words::{count, cut, fit, number, plain};

mod sentence;
mod words;

/// If there are more events than this, the middle is omitted.
const EVENTS_MAX: usize = 200;

/// A story, ready to be rendered.
pub struct Narrative<'a> {
    /// The actors, from left to right: those that the story lists, then others that occur in its events.
    pub lanes: Vec<&'a str>,
    /// All steps in their order.
    pub steps: Vec<Step<'a>>,
    /// Positions of the omitted steps.
    pub omitted: Range<usize>,
}

/// One event, or two that belong together.
pub struct Step<'a> {
    /// Position of the actor's lane; `None` for an event of no actor.
    pub lane: Option<usize>,
    /// The event.
    pub first: &'a StoryEvent,
    /// The next event, if the same actor's statement ended or paused in it.
    pub then: Option<&'a StoryEvent>,
    /// The statement that the actor executes.
    pub statement: Option<&'a str>,
}

impl<'a> Narrative<'a> {
    /// The steps of a story.
    pub fn from_story(story: &'a Story) -> Self {
        let lanes = lanes(story);
        let steps = steps(&story.events, &lanes);
        let omitted = omitted(&steps, story.events.len());
        Self { lanes, steps, omitted }
    }

    /// The steps that are not omitted, with their positions.
    pub fn shown(&self) -> impl Iterator<Item = (usize, &Step<'a>)> {
        self.steps.iter().enumerate().filter(|(i, _)| !self.omitted.contains(i))
    }

    /// The line that stands for the omitted steps, if there are any.
    pub fn ellipsis(&self) -> Option<String> {
        let events: usize = self.steps[self.omitted.clone()].iter().map(Step::events).sum();
        (events > 0).then(|| format!("… {}", count(events as u64, "more event")))
    }

    /// The lanes of the process that this lane belongs to. A kill ends all of them.
    pub fn siblings(&self, lane: usize) -> Vec<usize> {
        siblings(&self.lanes, lane)
    }
}

impl Step<'_> {
    /// The number of its events.
    pub fn events(&self) -> usize {
        1 + usize::from(self.then.is_some())
    }

    /// The last of its events.
    pub fn last(&self) -> &StoryEvent {
        self.then.unwrap_or(self.first)
    }

    /// True if one of its events is of the kind.
    pub fn has(&self, kind: StoryKind) -> bool {
        self.first.kind == kind || self.last().kind == kind
    }
}

/// True for the kinds of events that end a statement.
pub const fn is_end(kind: StoryKind) -> bool {
    matches!(kind, StoryKind::End | StoryKind::Refused | StoryKind::Commit | StoryKind::Lost)
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

/// The lane of an actor. A process, as in a kill, has the lane of its first thread.
fn lane_of(lanes: &[&str], actor: &str) -> Option<usize> {
    let exact = lanes.iter().position(|lane| *lane == actor);
    exact.or_else(|| lanes.iter().position(|lane| lane.split_once('.').is_some_and(|(process, _)| process == actor)))
}

fn siblings(lanes: &[&str], lane: usize) -> Vec<usize> {
    let process = |lane: usize| lanes[lane].split('.').next();
    (0..lanes.len()).filter(|other| process(*other) == process(lane)).collect()
}

fn steps<'a>(events: &'a [StoryEvent], lanes: &[&'a str]) -> Vec<Step<'a>> {
    // The open statements of each lane, the outermost first.
    let mut open: Vec<Vec<&str>> = vec![Vec::new(); lanes.len()];
    let mut steps = Vec::with_capacity(events.len());
    let mut rest = events.iter().peekable();
    while let Some(first) = rest.next() {
        let then = rest.next_if(|next| belongs_to(first, next));
        let lane = first.actor.as_deref().and_then(|actor| lane_of(lanes, actor));
        let mut step = Step { lane, first, then, statement: None };
        if let Some(lane) = lane {
            if first.kind == StoryKind::Begin {
                open[lane].push(&first.text);
            }
            step.statement = open[lane].last().copied();
            if is_end(step.last().kind) {
                open[lane].pop();
            }
            if first.kind == StoryKind::Kill {
                siblings(lanes, lane).into_iter().for_each(|sibling| open[sibling].clear());
            }
        }
        steps.push(step);
    }
    steps
}

/// True if the second event belongs to the same step as the first one.
fn belongs_to(first: &StoryEvent, next: &StoryEvent) -> bool {
    first.actor.is_some()
        && first.actor == next.actor
        && matches!(first.kind, StoryKind::Begin | StoryKind::Resumed)
        && (is_end(next.kind) || next.kind == StoryKind::Paused)
}

/// The positions of the middle steps. As many events are kept before them as after them.
fn omitted(steps: &[Step<'_>], events: usize) -> Range<usize> {
    if events <= EVENTS_MAX {
        return 0..0;
    }
    let within = |events: &mut usize, step: &Step<'_>| {
        *events += step.events();
        (*events <= EVENTS_MAX / 2).then_some(())
    };
    let head = steps.iter().scan(0, within).count();
    let tail = steps.iter().rev().scan(0, within).count();
    head..steps.len() - tail
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
        let steps = steps(&events, &["p1.t1", "p1.t2", "p2.t1"]);
        let sentences: Vec<String> = steps.iter().map(|step| Sentence::from_step(step, 200).text()).collect();
        assert_eq!(sentences, expected);
    }

    #[test]
    fn a_statement_without_interruption_is_one_sentence() {
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
        use StoryKind::{Begin, Commit, End, Fault, Kill, Lost, Observed, Outside, Paused, Refused, Resumed, Start};
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
                ("p1.t2", Begin, "C"),
                ("", Outside, "an outsider renames app.db to app.db.moved-1, before write@wal of p1.t2"),
                ("p1.t2", Outside, "forks, before write@wal"),
                ("p1.t2", Lost, "C"),
                ("p1.t2", Begin, "D"),
                ("p1.t2", Lost, "D"),
                ("p1.t2", Lost, "E"),
                ("p1.t2", Begin, "COMMIT"),
                ("p1.t2", Lost, "COMMIT"),
                ("p1.t2", Begin, "F"),
                ("p1.t2", Paused, ""),
                ("p1.t2", Resumed, ""),
                ("p1.t2", Lost, "F"),
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
                "p1.t2 began `C`",
                "an outsider renames app.db to app.db.moved-1, before write@wal of p1.t2",
                "p1.t2 forks, before write@wal",
                "p1.t2 committed `C` (lost)",
                "p1.t2 ran `D` to its commit (lost)",
                "p1.t2 ran `E` to its commit (lost)",
                "p1.t2 ran `COMMIT`, and it was acknowledged (lost)",
                "p1.t2 paused in `F`",
                "p1.t2 resumed and committed `F` (lost)",
            ],
        );
    }

    #[test]
    fn only_the_middle_is_omitted_and_every_event_is_counted() {
        use StoryKind::{Begin, End, Observed};
        for n in [0_usize, 1, 199, 200, 201, 340, 1_001] {
            let mut lines: Vec<(&str, StoryKind, &str)> = vec![("", Observed, "first")];
            for i in 1..n {
                lines.push(("p1.t1", if i % 2 == 1 { Begin } else { End }, "A"));
            }
            lines.truncate(n);
            let events = events(&lines);
            let steps = steps(&events, &["p1.t1"]);
            let range = omitted(&steps, events.len());
            let out: usize = steps[range.clone()].iter().map(Step::events).sum();
            let shown: usize = steps.iter().map(Step::events).sum::<usize>() - out;
            assert_eq!(shown + out, n);
            assert_eq!(out > 0, n > EVENTS_MAX, "{n} events, {out} omitted");
            assert!(shown <= EVENTS_MAX && (out == 0 || shown >= EVENTS_MAX - 2), "{n} events, {shown} shown");
        }
    }
}
