//! A beat of a story in words: who did what, to which statement, and how it ended.

use seawall_harness::record::{Story, StoryKind};
use seawall_harness::verdict::Verdict;

use super::Beat;
use crate::words::{cut, plain};

/// Characters of an event's text at most, however long it is.
const TEXT_CHARS_MAX: usize = 2_000;

/// A sentence about one beat, harmless to a terminal but not yet escaped for markup.
pub(crate) struct Sentence {
    /// Who, if it does not concern all.
    pub(crate) who: Option<String>,
    /// What happened.
    pub(crate) parts: Vec<Part>,
    /// How it is said.
    pub(crate) tone: Tone,
}

/// What kind of news a sentence is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// No more than was to be expected.
    Plain,
    /// The turn passes to another actor, or comes back.
    Turn,
    /// Good or bad news, as a verdict is.
    News(Verdict),
}

/// A part of a sentence.
pub(crate) enum Part {
    Words(String),
    Code(String),
}

impl Sentence {
    /// The sentence, with statements cut to `code_chars_max` characters.
    pub(crate) fn new(beat: &Beat<'_>, code_chars_max: usize) -> Self {
        let who = beat.first.actor.as_deref().map(name);
        let (verb, link, after) = phrase(beat);
        let mut text = detail(beat.statement, &beat.last().text).to_owned();
        let mut object = beat.statement.filter(|_| has_object(beat)).map(str::to_owned);
        if object.is_none() && matches!(beat.first.kind, StoryKind::End | StoryKind::Commit) && !text.is_empty() {
            // Nothing says where the statement began, so what ended is what the event names.
            object = Some(std::mem::take(&mut text));
        }
        let verb = match (&object, beat.first.kind) {
            (Some(_), StoryKind::End | StoryKind::Commit) if beat.statement.is_none() => "ran",
            _ => verb,
        };
        let after = match beat.first.kind {
            StoryKind::Commit if verb == "ran" => " to its commit",
            _ => after,
        };
        let mut parts = Vec::with_capacity(3);
        match object.as_deref().map(str::trim).filter(|object| !object.is_empty()) {
            Some(object) => {
                parts.push(Part::Words(format!("{verb}{link} ")));
                parts.push(Part::Code(cut(&plain(object), code_chars_max)));
                parts.push(Part::Words(format!("{after}{}", tail(&text))));
            }
            None => parts.push(Part::Words(joined(verb, &text))),
        }
        parts.retain(|part| !matches!(part, Part::Words(words) if words.is_empty()));
        Self { who, parts, tone: tone(beat) }
    }

    /// What happened, with statements between backticks.
    pub(crate) fn what(&self) -> String {
        let part = |part: &Part| match part {
            Part::Words(words) => words.clone(),
            Part::Code(code) => format!("`{code}`"),
        };
        self.parts.iter().map(part).collect()
    }

    /// Who and what.
    pub(crate) fn text(&self) -> String {
        match &self.who {
            Some(who) => format!("{who} {}", self.what()),
            None => self.what(),
        }
    }
}

/// An actor's name as a reader sees it.
pub(crate) fn name(actor: &str) -> String {
    if actor.trim().is_empty() { "(unnamed)".to_owned() } else { cut(&plain(actor), 60) }
}

/// The finding in one sentence.
pub(crate) fn headline(story: &Story) -> String {
    let said = match story.finding.verdict {
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
        "" => format!("{subject} {said}"),
        detail => format!("{subject} {said}: {detail}"),
    };
    cut(&plain(&text), TEXT_CHARS_MAX)
}

/// The finding with its oracle and its verdict: `walindex (corrupt): nBackfill 95 > mxFrame 30`.
pub(crate) fn finding(story: &Story) -> String {
    let found = &story.finding;
    let oracle = if found.oracle.trim().is_empty() { "finding" } else { found.oracle.trim() };
    let text = format!("{oracle} ({}){}", found.verdict, tail(&format!(": {}", found.detail)));
    cut(&plain(text.trim_end_matches([':', ' '])), TEXT_CHARS_MAX)
}

/// The verb and what is said beyond it: `paused at its 4th unfetch@db`, `was killed: SIGKILL`, `started again`.
pub(crate) fn joined(verb: &str, text: &str) -> String {
    let text = text.trim();
    let rest = text.strip_prefix(verb).filter(|rest| !rest.starts_with(char::is_alphanumeric)).unwrap_or(text);
    if verb.is_empty() { cut(&plain(rest), TEXT_CHARS_MAX) } else { format!("{verb}{}", tail(rest)) }
}

/// What an event says beyond its statement, which some events repeat.
pub(crate) fn detail<'a>(statement: Option<&str>, text: &'a str) -> &'a str {
    let text = text.trim();
    let Some(rest) = statement.map(str::trim).filter(|s| !s.is_empty()).and_then(|s| text.strip_prefix(s)) else {
        return text;
    };
    // `INSERT` begins `INSERT INTO …`, which is another statement.
    if rest.is_empty() || rest.starts_with(':') { rest.trim_start_matches([':', ' ']) } else { text }
}

/// A text as the end of a sentence: glued on if it goes on in words, after a colon otherwise.
fn tail(text: &str) -> String {
    let text = cut(plain(text).trim(), TEXT_CHARS_MAX);
    let glued = ["at ", "in ", "on ", "before ", "after ", "by ", "with ", "again"].iter().any(|w| text.starts_with(w));
    match text.as_str() {
        "" => String::new(),
        _ if glued => format!(" {text}"),
        _ if text.starts_with([':', ',']) => text,
        _ => format!(": {text}"),
    }
}

/// Verb, what links it to the statement, and what follows the statement.
fn phrase(beat: &Beat<'_>) -> (&'static str, &'static str, &'static str) {
    use StoryKind::{Begin, Commit, End, Fault, Kill, Observed, Paused, Refused, Resumed, Start};
    match (beat.first.kind, beat.then.map(|then| then.kind)) {
        (Begin, Some(End)) => ("ran", "", ""),
        (Begin, Some(Commit)) if is_commit(beat.statement) => ("ran", "", ", and it was acknowledged"),
        (Begin, Some(Commit)) => ("ran", "", " to its commit"),
        (Begin, Some(Paused)) | (Paused, _) => ("paused", " in", ""),
        (Begin, Some(Refused)) | (Refused, _) => ("was refused", "", ""),
        (Begin, _) => ("began", "", ""),
        (Resumed, Some(End)) => ("resumed and finished", "", ""),
        (Resumed, Some(Commit)) => ("resumed and committed", "", ""),
        (Resumed, Some(Refused)) => ("resumed and was refused", "", ""),
        (Resumed, Some(Paused)) => ("resumed and paused again", "", ""),
        (Resumed, _) => ("resumed", "", ""),
        (End, _) => ("finished", "", ""),
        (Commit, _) => ("committed", "", ""),
        (Fault, _) => ("met a fault", " in", ""),
        (Kill, _) => ("was killed", " in", ""),
        (Start, _) => ("started", "", ""),
        (Observed, _) if beat.first.actor.is_some() => ("saw", "", ""),
        (Observed, _) => ("", "", ""),
    }
}

fn is_commit(statement: Option<&str>) -> bool {
    let word = statement.and_then(|s| s.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty()));
    word.is_some_and(|word| word.eq_ignore_ascii_case("commit") || word.eq_ignore_ascii_case("end"))
}

/// Whether the sentence names the statement. Who resumes has been introduced with it.
fn has_object(beat: &Beat<'_>) -> bool {
    match beat.first.kind {
        StoryKind::Resumed => beat.then.is_some_and(|then| super::ends(then.kind)),
        StoryKind::Start | StoryKind::Observed => false,
        _ => true,
    }
}

fn tone(beat: &Beat<'_>) -> Tone {
    match beat.last().kind {
        StoryKind::Fault | StoryKind::Kill => Tone::News(Verdict::Lost),
        StoryKind::Refused => Tone::News(Verdict::Degraded),
        StoryKind::Commit => Tone::News(Verdict::Survived),
        StoryKind::Paused | StoryKind::Resumed => Tone::Turn,
        _ => Tone::Plain,
    }
}
