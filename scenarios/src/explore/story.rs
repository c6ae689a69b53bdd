//! How an execution is told: the statements of the actors in the order in which they ran, and where one was paused in
//! the midst of its statement.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use seawall_harness::actor::Actor;
use seawall_harness::board::Board;
use seawall_harness::codes::ResultCode;
use seawall_harness::record::{Story, StoryEvent, StoryKind};
use seawall_harness::sched::{ENDED, Point, Policy};
use seawall_harness::seed::Seed;
use seawall_harness::trace::{Entry, RulingKind};
use seawall_harness::vfs::call::{Call, Role};

use super::{Case, Explorer, Outcome};

/// What an actor wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Calls made before it, by all.
    pub at: u64,
    /// Who.
    pub actor: Option<Actor>,
    /// What kind of event it is.
    pub kind: StoryKind,
    /// What happened.
    pub text: String,
}

/// An execution that was told.
#[derive(Clone, Debug)]
pub struct Told {
    /// What it came to.
    pub outcome: Outcome,
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// Every call.
    pub calls: Vec<Entry>,
}

/// What happens while an execution is told, in the order in which it happens.
pub(super) enum Event {
    /// An actor writes something down.
    Note(Note),
    /// One actor is changed for another.
    Switch(Switch),
}

/// The log of an execution that is told.
pub(super) type Log = Rc<RefCell<Vec<Event>>>;

/// A change from one actor to another.
pub(super) struct Switch {
    at: u64,
    from: usize,
    to: usize,
    call: Option<Call>,
    why: Why,
}

/// Why an actor was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Somebody chose so.
    Preempted,
    /// It sleeps, or waits for somebody.
    Waits,
    /// It has come to its end.
    Ended,
}

/// Goes by another policy, and writes down who was changed for whom.
struct Watched {
    inner: Box<dyn Policy>,
    board: Arc<Board>,
    log: Log,
}

impl Policy for Watched {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

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
            let (at, call) = (self.board.calls(), point.call.copied());
            self.log.borrow_mut().push(Event::Switch(Switch { at, from: point.current, to, call, why }));
        }
        to
    }
}

impl Explorer {
    /// Executes the case, and tells how it went.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn tell(&mut self, case: &Case) -> Result<Told, String> {
        let (inner, seed) = case.schedule.policy()?;
        self.renew()?;
        self.policy = None;
        let log = Log::default();
        let board = Arc::clone(&self.stand.board);
        self.stand.scheduler.set_policy(Box::new(Watched { inner, board, log: Rc::clone(&log) }));
        let outcome = self.perform(case, seed, Some(&log))?;
        let calls = self.calls();
        let mut notes = in_words(case, &log.take(), &calls);
        for fault in calls.iter().filter_map(fault_note) {
            // What was written down at this number was so before the call.
            let place = notes.iter().position(|note| note.at > fault.at).unwrap_or(notes.len());
            notes.insert(place, fault);
        }
        if let Some(finding) = outcome.findings.first().filter(|_| notes.iter().all(|n| n.kind != StoryKind::Observed))
        {
            let at = calls.len() as u64;
            notes.push(Note { at, actor: None, kind: StoryKind::Observed, text: finding.detail.clone() });
        }
        Ok(Told { outcome, notes, calls })
    }
}

fn fault_note(entry: &Entry) -> Option<Note> {
    let kind = match entry.ruling {
        RulingKind::Proceed => return None,
        RulingKind::Kill => StoryKind::Kill,
        _ => StoryKind::Fault,
    };
    let text = match kind {
        StoryKind::Kill => format!("the process is killed at {}", entry.call),
        _ => format!("a fault at {}: {}", entry.call, outcome_of(entry)),
    };
    Some(Note { at: entry.number, actor: Some(entry.actor), kind, text })
}

/// The notes, with the pauses in the midst of statements between them.
fn in_words(case: &Case, log: &[Event], calls: &[Entry]) -> Vec<Note> {
    // By actor: the statement that it is in, since which call; and whether it was left there.
    let mut inside: Vec<Option<(String, u64)>> = vec![None; case.actors.len()];
    let mut is_paused = vec![false; case.actors.len()];
    let mut notes = Vec::new();
    for event in log {
        match event {
            Event::Note(note) => {
                let position = case.actors.iter().position(|plan| Some(plan.actor) == note.actor);
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
                let (at, actor) = (switch.at, case.actors[switch.from].actor);
                if switch.why != Why::Ended {
                    is_paused[switch.from] = true;
                    let text = pause(switch, actor, inside[switch.from].as_ref(), calls);
                    notes.push(Note { at, actor: Some(actor), kind: StoryKind::Paused, text });
                }
                if std::mem::take(&mut is_paused[switch.to]) {
                    let statement = inside[switch.to].as_ref();
                    let text = statement.map_or_else(String::new, |(statement, _)| format!("in `{statement}`"));
                    let actor = Some(case.actors[switch.to].actor);
                    notes.push(Note { at, actor, kind: StoryKind::Resumed, text });
                }
            }
        }
    }
    notes
}

/// Where an actor was left: `in `COMMIT` at its 2nd write@wal`.
fn pause(switch: &Switch, actor: Actor, inside: Option<&(String, u64)>, calls: &[Entry]) -> String {
    let since = inside.map_or(0, |(_, since)| *since);
    let place = match switch.call {
        Some(call) => format!("at its {} {}", nth(position(calls, actor, since, switch.at, &call)), kind(&call)),
        None if switch.why == Why::Waits => "waiting".to_owned(),
        None => "where it takes a lock".to_owned(),
    };
    inside.map_or_else(|| place.clone(), |(statement, _)| format!("in `{statement}` {place}"))
}

/// The story in words, one sentence a line: what each actor did until another one went on.
pub fn words(story: &Story) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut ran: Vec<String> = Vec::new();
    let mut who = "";
    // The statement that `who` has just resumed.
    let mut resumed = None;
    for (index, event) in story.events.iter().enumerate() {
        let actor = event.actor.as_deref().unwrap_or("in the end");
        if actor != who {
            lines.extend(sentence(who, &mut ran));
            (who, resumed) = (actor, None);
        }
        let verb = match event.kind {
            StoryKind::Begin => continue,
            StoryKind::End | StoryKind::Commit => {
                match lines.last_mut() {
                    Some(line) if resumed.take() == Some(&event.text) => line.push_str(" and finished it"),
                    _ => ran.push(shortened(&event.text)),
                }
                continue;
            }
            StoryKind::Paused => "paused ",
            StoryKind::Resumed => "resumed ",
            StoryKind::Refused => "was refused ",
            StoryKind::Observed if event.actor.is_some() => "saw ",
            _ => "",
        };
        lines.extend(sentence(who, &mut ran));
        let colon = if event.actor.is_none() { ":" } else { "" };
        let text = event.text.split('`').map(shortened).collect::<Vec<_>>().join("`");
        lines.push(format!("{actor}{colon} {verb}{text}").trim_end().to_owned());
        resumed = None;
        if event.kind == StoryKind::Resumed {
            let mut before = story.events[..index].iter().filter(|other| other.actor == event.actor);
            resumed = before.rfind(|other| other.kind == StoryKind::Begin).map(|begin| &begin.text);
        }
    }
    lines.extend(sentence(who, &mut ran));
    lines
}

/// What an actor has got done; the same kind of statement again and again is told once.
fn sentence(actor: &str, statements: &mut Vec<String>) -> Option<String> {
    let mut done: Vec<(String, usize)> = Vec::new();
    for statement in statements.drain(..) {
        let is_like = |other: &str| other.len() > 8 && statement.chars().take(24).eq(other.chars().take(24));
        match done.last_mut() {
            Some((last, times)) if is_like(last) => *times += 1,
            _ => done.push((statement, 1)),
        }
    }
    let told = done.into_iter().map(|(statement, times)| match times {
        1 => format!("`{statement}`"),
        _ => format!("`{statement}` and {} more of the kind", times - 1),
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("{actor} ran {}", told.join(", ")))
}

/// At most so many characters of a statement.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 72;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) if text.starts_with("SELECT") || text.starts_with("INSERT") => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

/// The how-manieth call of its kind the actor is about to make since then.
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

fn nth(n: usize) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

/// The story of an execution that found something.
pub fn story(case: &Case, token: &str, told: &Told) -> Option<Story> {
    let finding = told.outcome.findings.first()?.clone();
    let mut subject = format!("{} on SQLite {}", case.scenario, case.sqlite);
    if !case.faults.is_empty() {
        let rules: Vec<String> = case.faults.iter().map(ToString::to_string).collect();
        subject = format!("{subject} under {}", rules.join(" "));
    }
    let event = |note: &Note| StoryEvent {
        at: note.at,
        actor: note.actor.map(|actor| actor.to_string()),
        kind: note.kind,
        text: note.text.clone(),
    };
    Some(Story {
        token: token.to_owned(),
        subject,
        finding,
        actors: case.actors.iter().map(|plan| plan.actor.to_string()).collect(),
        events: told.notes.iter().map(event).collect(),
    })
}

/// A call as one line: who, what, on which file, arguments, outcome.
pub fn line(entry: &Entry) -> String {
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
