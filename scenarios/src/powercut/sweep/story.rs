//! A single error told as a story, and as lines.

use super::super::recording::{Mark, MarkKind};
use super::execution::Executed;
use seawall_harness::record::{Finding, Story, StoryEvent, StoryKind};
use seawall_harness::story;
use seawall_harness::trace::{Entry, RulingKind};

/// What the process did and was told, with the calls at which the fault fired between, one a line.
pub fn lines(executed: &Executed) -> Vec<String> {
    let mut lines = Vec::new();
    in_order(executed, &mut |told| match told {
        Told::Mark(Mark { call, kind, .. }) => match kind {
            MarkKind::Statement(text) => lines.push(format!("  {call:4} {text}")),
            MarkKind::Acked(number) => lines.push(format!("  {call:4}   acknowledged: commit {number}")),
            MarkKind::Failed(error) => lines.push(format!("  {call:4}   failed: {error}")),
            MarkKind::Started(_) => {}
        },
        Told::Fault(entry) => lines.push(format!("  {}", story::lines(std::slice::from_ref(entry)).join(""))),
    });
    lines
}

/// The story, under this name, of a subject.
pub fn story(executed: &Executed, name: &str, subject: &str, finding: Finding) -> Story {
    let mut events: Vec<StoryEvent> = Vec::new();
    let mut actors: Vec<String> = executed.marks.iter().map(|mark| mark.actor.to_string()).collect();
    actors.sort();
    actors.dedup();
    in_order(executed, &mut |told| {
        let (at, actor, kind, text) = match told {
            Told::Mark(Mark { call, actor, kind, .. }) => {
                let (kind, text) = match kind {
                    MarkKind::Statement(text) => (StoryKind::Begin, text.clone()),
                    MarkKind::Acked(number) => (StoryKind::Commit, format!("commit {number}")),
                    MarkKind::Failed(error) => (StoryKind::Refused, error.clone()),
                    MarkKind::Started(_) => return,
                };
                (*call, actor, kind, text)
            }
            Told::Fault(Entry { number, actor, call, .. }) => (*number, actor, StoryKind::Fault, call.to_string()),
        };
        events.push(StoryEvent { at, actor: Some(actor.to_string()), kind, text });
    });
    let at = executed.trace.last().map_or(0, |entry| entry.number);
    events.push(StoryEvent { at, actor: None, kind: StoryKind::Observed, text: finding.detail.clone() });
    Story { token: name.to_owned(), subject: subject.to_owned(), finding, actors, events }
}

enum Told<'a> {
    Mark(&'a Mark),
    Fault(&'a Entry),
}

/// Marks, and calls at which the fault fired, in the order in which they happened.
fn in_order<'a>(executed: &'a Executed, tell: &mut dyn FnMut(Told<'a>)) {
    let mut faults = executed.trace.iter().filter(|entry| entry.ruling != RulingKind::Proceed).peekable();
    for mark in &executed.marks {
        while let Some(entry) = faults.next_if(|entry| entry.number < mark.call) {
            tell(Told::Fault(entry));
        }
        tell(Told::Mark(mark));
    }
    faults.for_each(|entry| tell(Told::Fault(entry)));
}
