//! A step of a story in words: the actor, the verb, the statement, and how it ended.

use super::Step;
use super::words::{cut, plain};
use crate::record::{Story, StoryKind};
use crate::verdict::Verdict;

/// Maximum length of the text of an event, in characters.
const TEXT_CHARS_MAX: usize = 2_000;

/// A sentence about one step. It is safe for a terminal, but not yet escaped for markup.
pub struct Sentence {
    /// The subject, unless the event is of no actor.
    pub actor: Option<String>,
    /// The rest of the sentence.
    pub parts: Vec<Part>,
    /// How the sentence is highlighted.
    pub tone: Tone,
}

/// How a sentence is highlighted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Not at all.
    Plain,
    /// As a switch to or from another actor.
    Switch,
    /// In the colour of a verdict.
    Verdict(Verdict),
}

/// A part of a sentence.
pub enum Part {
    /// Text.
    Words(String),
    /// A statement.
    Code(String),
}

impl Sentence {
    /// The sentence, with the statement cut to `code_chars_max` characters.
    pub fn from_step(step: &Step<'_>, code_chars_max: usize) -> Self {
        let actor = step.first.actor.as_deref().map(actor_name);
        let (verb, link, after) = phrase(step);
        let mut text = detail(step.statement, &step.last().text).to_owned();
        let mut object = step.statement.filter(|_| has_object(step)).map(str::to_owned);
        if object.is_none() && is_success(step.first.kind) && !text.is_empty() {
            // The begin of the statement is unknown, so the event's own text names what ended.
            object = Some(std::mem::take(&mut text));
        }
        let verb = match (&object, step.first.kind) {
            (Some(_), kind) if is_success(kind) && step.statement.is_none() => "ran",
            _ => verb,
        };
        let after = match step.first.kind {
            StoryKind::Commit if verb == "ran" => " to its commit",
            StoryKind::Lost if verb == "ran" => " to its commit (lost)",
            _ => after,
        };
        let mut parts = Vec::with_capacity(3);
        match object.as_deref().map(str::trim).filter(|object| !object.is_empty()) {
            Some(object) => {
                parts.push(Part::Words(format!("{verb}{link} ")));
                parts.push(Part::Code(cut(&plain(object), code_chars_max)));
                parts.push(Part::Words(format!("{after}{}", tail(&text))));
            }
            None if after == LOST => parts.push(Part::Words(format!("{}{after}", joined(verb, &text)))),
            None => parts.push(Part::Words(joined(verb, &text))),
        }
        parts.retain(|part| !matches!(part, Part::Words(words) if words.is_empty()));
        Self { actor, parts, tone: tone(step) }
    }

    /// The sentence without its subject, with the statement in backticks.
    pub fn predicate(&self) -> String {
        let part = |part: &Part| match part {
            Part::Words(words) => words.clone(),
            Part::Code(code) => format!("`{code}`"),
        };
        self.parts.iter().map(part).collect()
    }

    /// The whole sentence.
    pub fn text(&self) -> String {
        match &self.actor {
            Some(actor) => format!("{actor} {}", self.predicate()),
            None => self.predicate(),
        }
    }
}

/// The name of an actor for display.
pub fn actor_name(actor: &str) -> String {
    if actor.trim().is_empty() { "(unnamed)".to_owned() } else { cut(&plain(actor), 60) }
}

/// The finding in one sentence.
pub fn headline(story: &Story) -> String {
    let predicate = match story.finding.verdict {
        Verdict::NotMeasured => "measured nothing",
        Verdict::Survived => "survived",
        Verdict::Degraded => "refused service",
        Verdict::FalseAlarm => "declared a healthy database corrupt",
        Verdict::Wedged => "made no more progress",
        Verdict::Lost => "lost an acknowledged commit",
        Verdict::Corrupt => "came out corrupt",
        Verdict::HarnessBroken => "broke the lab itself",
    };
    let subject = if story.subject.trim().is_empty() { "An execution" } else { story.subject.trim() };
    let text = match story.finding.detail.trim() {
        "" => format!("{subject} {predicate}"),
        detail => format!("{subject} {predicate}: {detail}"),
    };
    cut(&plain(&text), TEXT_CHARS_MAX)
}

/// The finding with its oracle and its verdict: `walindex (corrupt): nBackfill 95 > mxFrame 30`.
pub fn finding(story: &Story) -> String {
    let found = &story.finding;
    let oracle = if found.oracle.trim().is_empty() { "finding" } else { found.oracle.trim() };
    let text = format!("{oracle} ({}){}", found.verdict, tail(&format!(": {}", found.detail)));
    cut(&plain(text.trim_end_matches([':', ' '])), TEXT_CHARS_MAX)
}

/// The verb and the event's text: `paused at its 4th unfetch@db`, `was killed: SIGKILL`, `started again`. A verb that
/// the text repeats is not repeated.
pub fn joined(verb: &str, text: &str) -> String {
    let text = text.trim();
    let rest = text.strip_prefix(verb).filter(|rest| !rest.starts_with(char::is_alphanumeric)).unwrap_or(text);
    if verb.is_empty() { cut(&plain(rest), TEXT_CHARS_MAX) } else { format!("{verb}{}", tail(rest)) }
}

/// The text of an event without its statement, which some events repeat.
pub fn detail<'a>(statement: Option<&str>, text: &'a str) -> &'a str {
    let text = text.trim();
    let Some(rest) = statement.map(str::trim).filter(|s| !s.is_empty()).and_then(|s| text.strip_prefix(s)) else {
        return text;
    };
    // `INSERT` is a prefix of `INSERT INTO …`, which is another statement.
    if rest.is_empty() || rest.starts_with(':') { rest.trim_start_matches([':', ' ']) } else { text }
}

/// A text as the end of a sentence: after a space if it continues the sentence, after a colon otherwise.
fn tail(text: &str) -> String {
    let text = cut(plain(text).trim(), TEXT_CHARS_MAX);
    let continues =
        ["at ", "in ", "on ", "before ", "after ", "by ", "with ", "again"].iter().any(|w| text.starts_with(w));
    match text.as_str() {
        "" => String::new(),
        _ if continues => format!(" {text}"),
        _ if text.starts_with([':', ',']) => text,
        _ => format!(": {text}"),
    }
}

/// The verb, the preposition before the statement, and the words after the statement.
fn phrase(step: &Step<'_>) -> (&'static str, &'static str, &'static str) {
    use StoryKind::{Begin, Commit, End, Fault, Kill, Lost, Observed, Outside, Paused, Refused, Resumed, Start};
    match (step.first.kind, step.then.map(|then| then.kind)) {
        (Begin, Some(End)) => ("ran", "", ""),
        (Begin, Some(Commit)) if is_commit(step.statement) => ("ran", "", ", and it was acknowledged"),
        (Begin, Some(Commit)) => ("ran", "", " to its commit"),
        (Begin, Some(Lost)) if is_commit(step.statement) => ("ran", "", ", and it was acknowledged (lost)"),
        (Begin, Some(Lost)) => ("ran", "", " to its commit (lost)"),
        (Begin, Some(Paused)) | (Paused, _) => ("paused", " in", ""),
        (Begin, Some(Refused)) | (Refused, _) => ("was refused", "", ""),
        (Begin, _) => ("began", "", ""),
        (Resumed, Some(End)) => ("resumed and finished", "", ""),
        (Resumed, Some(Commit)) => ("resumed and committed", "", ""),
        (Resumed, Some(Lost)) => ("resumed and committed", "", LOST),
        (Resumed, Some(Refused)) => ("resumed and was refused", "", ""),
        (Resumed, Some(Paused)) => ("resumed and paused again", "", ""),
        (Resumed, _) => ("resumed", "", ""),
        (End, _) => ("finished", "", ""),
        (Commit, _) => ("committed", "", ""),
        (Lost, _) => ("committed", "", LOST),
        (Fault, _) => ("met a fault", " in", ""),
        (Kill, _) => ("was killed", " in", ""),
        (Start, _) => ("started", "", ""),
        (Observed, _) if step.first.actor.is_some() => ("saw", "", ""),
        (Observed | Outside, _) => ("", "", ""),
    }
}

/// After the words for a commit that is nowhere at the end.
const LOST: &str = " (lost)";

/// True for the ends of a statement that its caller takes for a success.
const fn is_success(kind: StoryKind) -> bool {
    matches!(kind, StoryKind::End | StoryKind::Commit | StoryKind::Lost)
}

fn is_commit(statement: Option<&str>) -> bool {
    let word = statement.and_then(|s| s.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty()));
    word.is_some_and(|word| word.eq_ignore_ascii_case("commit") || word.eq_ignore_ascii_case("end"))
}

/// True if the sentence names the statement. An actor that resumes was mentioned with its statement before.
fn has_object(step: &Step<'_>) -> bool {
    match step.first.kind {
        StoryKind::Resumed => step.then.is_some_and(|then| super::is_end(then.kind)),
        StoryKind::Start | StoryKind::Observed | StoryKind::Outside => false,
        _ => true,
    }
}

fn tone(step: &Step<'_>) -> Tone {
    match step.last().kind {
        StoryKind::Fault | StoryKind::Kill | StoryKind::Outside | StoryKind::Lost => Tone::Verdict(Verdict::Lost),
        StoryKind::Refused => Tone::Verdict(Verdict::Degraded),
        StoryKind::Commit => Tone::Verdict(Verdict::Survived),
        StoryKind::Paused | StoryKind::Resumed => Tone::Switch,
        _ => Tone::Plain,
    }
}
