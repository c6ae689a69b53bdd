//! The story of an execution: what the actors did, in order, and at which calls they were paused. Explorations and
//! simulated runs share it.

use crate::actor::Actor;
use crate::call::{Call, Role};
use crate::codes::ResultCode;
use crate::fault::Rule;
use crate::record::{Finding, MarkKind, Story, StoryEvent, StoryKind, TimelineEvent};
use crate::sched::{ENDED, Point, Policy};
use crate::seed::Seed;
use crate::shared_state::SharedState;
use crate::trace::{Entry, RulingKind};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// One event of an execution, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Calls made before it, by all.
    pub at: u64,
    /// The actor, if it concerns one.
    pub actor: Option<Actor>,
    /// What kind of event it is.
    pub kind: StoryKind,
    /// What happened.
    pub text: String,
}

/// An entry of the log, in the order in which things happen.
pub enum Event {
    /// An event of an actor.
    Note(Note),
    /// Another actor runs from now on.
    Switch(Switch),
}

/// The log from which a story is made.
pub type Log = Rc<RefCell<Vec<Event>>>;

/// A change from one actor to another.
pub struct Switch {
    at: u64,
    from: usize,
    to: usize,
    call: Option<Call>,
    why: Why,
}

/// Why an actor does not run any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The policy chose another one.
    Preempted,
    /// It sleeps, or waits for a lock or another actor.
    Waits,
    /// It has ended.
    Ended,
}

/// Follows another policy, and logs each change of actors.
pub struct Watched {
    inner: Box<dyn Policy>,
    shared_state: Arc<SharedState>,
    log: Log,
}

impl Watched {
    /// Follows `inner` and writes to `log`.
    pub fn new(inner: Box<dyn Policy>, shared_state: Arc<SharedState>, log: Log) -> Self {
        Self { inner, shared_state, log }
    }
}

impl Policy for Watched {
    fn begin(&mut self, seed: Seed, actors: usize) {
        self.inner.begin(seed, actors);
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        let to = self.inner.choose(point);
        if to != point.current {
            let why = match (point.can_go_on, point.section) {
                (true, _) => Why::Preempted,
                (false, ENDED) => Why::Ended,
                (false, _) => Why::Waits,
            };
            let (at, call) = (self.shared_state.calls(), point.call.copied());
            self.log.borrow_mut().push(Event::Switch(Switch { at, from: point.current, to, call, why }));
        }
        to
    }
}

/// The events of a log, with the faults of these rules that fired at calls, and the finding at the end.
pub fn notes(actors: &[Actor], log: &[Event], calls: &[Entry], rules: &[Rule], finding: Option<&Finding>) -> Vec<Note> {
    let mut notes = in_words(actors, log, calls);
    notes.iter_mut().filter(|note| note.kind == StoryKind::Outside).for_each(|note| add_call(note, calls));
    let logged: Vec<u64> = notes.iter().filter(|note| note.kind == StoryKind::Outside).map(|note| note.at).collect();
    let is_outside = |entry: &Entry| matches!(entry.ruling, RulingKind::Outside | RulingKind::PowerCut);
    let is_told = |entry: &&Entry| is_outside(entry) && logged.contains(&entry.number);
    for entry in calls.iter().filter(|entry| !is_told(entry)) {
        let Some(fault) = fault_note(entry, rules) else { continue };
        // A note with this number was made before the call.
        let place = notes.iter().position(|note| note.at > fault.at).unwrap_or(notes.len());
        notes.insert(place, fault);
    }
    if let Some(finding) = finding.filter(|_| notes.iter().all(|note| note.kind != StoryKind::Observed)) {
        let at = calls.len() as u64;
        notes.push(Note { at, actor: None, kind: StoryKind::Observed, text: finding.detail.clone() });
    }
    notes
}

/// Marks the commits that are lost in the timeline. The n-th commit of an actor is the same in both.
pub fn mark_lost(notes: &mut [Note], timeline: &[TimelineEvent]) {
    let is_commit = |event: &&TimelineEvent| matches!(event.kind, MarkKind::Commit | MarkKind::Lost);
    let mut before: BTreeMap<String, usize> = BTreeMap::new();
    for note in notes.iter_mut().filter(|note| note.kind == StoryKind::Commit) {
        let Some(actor) = note.actor.map(|actor| actor.to_string()) else { continue };
        let nth = before.entry(actor.clone()).or_default();
        let event = timeline.iter().filter(is_commit).filter(|event| event.actor == actor).nth(*nth);
        *nth += 1;
        if event.is_some_and(|event| event.kind == MarkKind::Lost) {
            note.kind = StoryKind::Lost;
        }
    }
}

/// The story of a finding.
pub fn story(token: &str, subject: String, finding: &Finding, actors: &[Actor], notes: &[Note]) -> Story {
    let takes_part = |actor: &&Actor| notes.iter().any(|note| note.actor == Some(**actor));
    let event = |note: &Note| StoryEvent {
        at: note.at,
        actor: note.actor.map(|actor| actor.to_string()),
        kind: note.kind,
        text: note.text.clone(),
    };
    Story {
        token: token.to_owned(),
        subject,
        finding: finding.clone(),
        actors: actors.iter().filter(|actor| takes_part(actor)).map(Actor::to_string).collect(),
        events: notes.iter().map(event).collect(),
    }
}

/// Says at which call an outsider acted.
fn add_call(note: &mut Note, calls: &[Entry]) {
    if let Some(entry) = calls.iter().find(|entry| entry.number == note.at) {
        let by = if note.actor.is_some() { String::new() } else { format!(" of {}", entry.actor) };
        note.text.push_str(&format!(", before {}{by}", kind(&entry.call)));
    }
}

fn fault_note(entry: &Entry, rules: &[Rule]) -> Option<Note> {
    let rule = entry.rule.and_then(|rule| rules.get(usize::from(rule)));
    if let Some(action) = rule.and_then(|rule| rule.effect.outside_action()) {
        let actor = action.is_of_process().then_some(entry.actor);
        let text = action.predicate().to_owned();
        let mut note = Note { at: entry.number, actor, kind: StoryKind::Outside, text };
        add_call(&mut note, std::slice::from_ref(entry));
        return Some(note);
    }
    let kind = match entry.ruling {
        RulingKind::Proceed => return None,
        RulingKind::Kill => StoryKind::Kill,
        _ => StoryKind::Fault,
    };
    let text = match kind {
        StoryKind::Kill => format!("at {}", entry.call),
        _ => format!("{}: {}", entry.call, outcome_of(entry)),
    };
    Some(Note { at: entry.number, actor: Some(entry.actor), kind, text })
}

/// The notes, with the pauses of actors between them.
fn in_words(actors: &[Actor], log: &[Event], calls: &[Entry]) -> Vec<Note> {
    // By actor: the statement that it executes, since which call; and whether it is paused there.
    let mut inside: Vec<Option<(String, u64)>> = vec![None; actors.len()];
    let mut is_paused = vec![false; actors.len()];
    let mut notes = Vec::new();
    for event in log {
        match event {
            Event::Note(note) => {
                let position = actors.iter().position(|actor| Some(*actor) == note.actor);
                if let Some(position) = position {
                    match note.kind {
                        StoryKind::Begin => inside[position] = Some((note.text.clone(), note.at)),
                        StoryKind::End | StoryKind::Refused | StoryKind::Commit => inside[position] = None,
                        _ => {}
                    }
                }
                notes.push(note.clone());
            }
            Event::Switch(switch) => {
                let (at, actor) = (switch.at, actors[switch.from]);
                if switch.why != Why::Ended {
                    is_paused[switch.from] = true;
                    let text = pause(switch, actor, inside[switch.from].as_ref(), calls);
                    notes.push(Note { at, actor: Some(actor), kind: StoryKind::Paused, text });
                }
                if std::mem::take(&mut is_paused[switch.to]) {
                    let text = String::new();
                    let actor = Some(actors[switch.to]);
                    notes.push(Note { at, actor, kind: StoryKind::Resumed, text });
                }
            }
        }
    }
    notes
}

/// Where an actor is paused in its statement: `at its 2nd write@wal`.
fn pause(switch: &Switch, actor: Actor, inside: Option<&(String, u64)>, calls: &[Entry]) -> String {
    let since = inside.map_or(0, |(_, since)| *since);
    match switch.call {
        Some(call) => format!("at its {} {}", ordinal(position(calls, actor, since, switch.at, &call)), kind(&call)),
        None if switch.why == Why::Waits => "waiting".to_owned(),
        None => "where it takes a lock".to_owned(),
    }
}

/// The ordinal, among the actor's calls of this kind since then, of the call that it is about to make.
fn position(calls: &[Entry], actor: Actor, since: u64, at: u64, call: &Call) -> usize {
    let is_like =
        |entry: &&Entry| entry.actor == actor && (entry.call.method, entry.call.role) == (call.method, call.role);
    1 + calls.iter().filter(|entry| (since..at).contains(&entry.number)).filter(is_like).count()
}

fn kind(call: &Call) -> String {
    match call.role {
        Role::None => call.method.to_string(),
        role => format!("{}@{role}", call.method),
    }
}

/// `1st`, `2nd`, `3rd`, `4th`.
fn ordinal(n: usize) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

/// The calls, one a line.
pub fn lines(calls: &[Entry]) -> Vec<String> {
    calls.iter().map(line).collect()
}

/// The first call in which two executions differ, in words.
pub fn difference(one: &[String], other: &[String]) -> Option<String> {
    let none = "no further call".to_owned();
    let length = one.len().max(other.len());
    let at = (0..length).find(|at| one.get(*at) != other.get(*at))?;
    let (one, other) = (one.get(at).unwrap_or(&none), other.get(at).unwrap_or(&none));
    Some(format!("the first differing call is `{one}` in one and `{other}` in the other"))
}

/// A call as one line: actor, call, file, arguments, outcome.
fn line(entry: &Entry) -> String {
    let Entry { number, actor, call, .. } = entry;
    let Call { file, arg, amount, .. } = call;
    format!("{number} {actor} {} #{file} ({arg}, {amount}) = {}", kind(call), outcome_of(entry))
}

fn outcome_of(entry: &Entry) -> String {
    if entry.call.method.can_fail() && entry.outcome != 0 {
        ResultCode(entry.outcome).to_string()
    } else {
        entry.outcome.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Method;

    const ACTOR: Actor = Actor { process: 1, thread: 2 };

    /// A call at which the rule of this position fired.
    fn entry(number: u64, rule: u8, ruling: RulingKind) -> Entry {
        let call = Call { method: Method::Write, role: Role::Wal, file: 3, arg: 0, amount: 32 };
        Entry { number, at_ns: 0, actor: ACTOR, call, ruling, rule: Some(rule), outcome: 0 }
    }

    fn note(at: u64, kind: StoryKind, text: &str) -> Note {
        Note { at, actor: Some(ACTOR), kind, text: text.to_owned() }
    }

    #[test]
    fn what_an_outsider_does_is_one_event_and_no_fault_of_its_call() {
        let rules = ["write@wal:outside=move", "write@wal:outside=touch", "write@wal:stall=1ms"];
        let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let outside = RulingKind::Outside;
        let calls = [entry(0, 0, outside), entry(1, 0, outside), entry(2, 1, outside), entry(3, 2, RulingKind::Stall)];
        let logged = Note { actor: None, ..note(1, StoryKind::Outside, "an outsider renames a.db to a.db.moved-1") };
        let log = [Event::Note(note(0, StoryKind::Begin, "insert a row")), Event::Note(logged)];
        let told = notes(&[ACTOR], &log, &calls, &rules, None);
        let told: Vec<(StoryKind, Option<Actor>, &str)> =
            told.iter().map(|note| (note.kind, note.actor, &*note.text)).collect();
        let renamed = "an outsider renames the database; the side files keep their names, before write@wal of p1.t2";
        let touched = "opens and closes the database by plain system calls and loses its POSIX locks, before write@wal";
        let expected = [
            (StoryKind::Begin, Some(ACTOR), "insert a row"),
            (StoryKind::Outside, None, renamed),
            (StoryKind::Outside, None, "an outsider renames a.db to a.db.moved-1, before write@wal of p1.t2"),
            (StoryKind::Outside, Some(ACTOR), touched),
            (StoryKind::Fault, Some(ACTOR), "write@wal 32 bytes at 0: 0"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_commits_that_the_timeline_has_as_lost_are_lost_in_the_story() {
        use StoryKind::{Begin, Commit, Lost, Refused};
        let mut notes: Vec<Note> = [Begin, Commit, Refused, Commit, Commit].map(|kind| note(0, kind, "")).to_vec();
        let event = |actor: &str, kind| TimelineEvent {
            at_us: 0,
            duration_us: 0,
            actor: actor.to_owned(),
            kind,
            label: String::new(),
        };
        let timeline = [
            event("p2.t1", MarkKind::Lost),
            event("p1.t2", MarkKind::Commit),
            event("p1.t2", MarkKind::Refused),
            event("p1.t2", MarkKind::Lost),
            event("p1.t2", MarkKind::Commit),
        ];
        mark_lost(&mut notes, &timeline);
        let kinds: Vec<StoryKind> = notes.iter().map(|note| note.kind).collect();
        assert_eq!(kinds, [Begin, Commit, Refused, Lost, Commit]);
    }
}
