//! A story for a terminal: a column for each actor if the terminal is wide enough, a list otherwise.

use std::fmt::Write as _;

use seawall_harness::record::{Story, StoryKind};

use super::{GAP, Pen, WIDTH_MIN};
use crate::story::{Beat, Sentence, Telling, Tone, finding, headline, name};
use crate::words::{cut, fit, replay_line};

/// A column narrower than this is no pleasure to read; a list is better then.
const COLUMN_MIN: usize = 24;
/// A column wider than this only moves the actors apart.
const COLUMN_MAX: usize = 44;
const NAME_CHARS_MAX: usize = 18;
/// Characters of a statement at its beginning, and where it is named again; lines of a sentence at most.
const CODE_CHARS_MAX: usize = 160;
const CODE_AGAIN_CHARS_MAX: usize = 40;
const LINES_MAX: usize = 10;

/// The finding, what led to it in numbered sentences, and the replay line; at most `width` columns wide where words
/// allow it. The replay line is never broken.
///
/// With `color` the sentences carry ANSI colours. Whether they should is the caller's to decide.
pub fn story(story: &Story, color: bool, width: usize) -> String {
    let telling = Telling::new(story);
    let page = Page::new(&telling, Pen { color }, width.max(WIDTH_MIN));
    let mut out = String::new();
    for line in fit(&headline(story), page.width, LINES_MAX) {
        let _ = writeln!(out, "{}", page.pen.bold(&line));
    }
    out.push('\n');
    page.header(&mut out);
    for (i, beat) in telling.beats.iter().enumerate() {
        if !telling.skipped.contains(&i) {
            page.beat(&mut out, i, beat);
        } else if i == telling.skipped.start {
            let text = telling.ellipsis().unwrap_or_default();
            let _ = writeln!(out, "{:1$}{text}", "", page.first + GAP);
        }
    }
    if telling.beats.is_empty() {
        let _ = writeln!(out, "Nothing happened.");
    }
    out.push('\n');
    for line in fit(&finding(story), page.width, LINES_MAX) {
        let _ = writeln!(out, "{}", page.pen.verdict(story.finding.verdict, &line));
    }
    let _ = writeln!(out, "{}", replay_line(&story.token));
    out
}

struct Page<'a> {
    pen: Pen,
    lanes: &'a [&'a str],
    width: usize,
    /// Width of the beats' numbers.
    first: usize,
    /// Width of the actors' names in a list.
    names: usize,
    /// Width of an actor's column, if every one has its own.
    column: Option<usize>,
}

impl<'a> Page<'a> {
    fn new(telling: &'a Telling<'_>, pen: Pen, width: usize) -> Self {
        let first = telling.beats.len().to_string().len().max(3);
        let lanes = telling.lanes.len();
        let room = width.saturating_sub(first).checked_div(lanes).unwrap_or(0).saturating_sub(GAP).min(COLUMN_MAX);
        let actors = telling.beats.iter().filter_map(|beat| beat.first.actor.as_deref());
        let names = actors.map(|actor| short(actor).chars().count()).max().unwrap_or(0);
        let column = (lanes > 1 && room >= COLUMN_MIN).then_some(room);
        Self { pen, lanes: &telling.lanes, width, first, names, column }
    }

    /// The names above their columns.
    fn header(&self, out: &mut String) {
        let Some(column) = self.column else { return };
        let mut line = " ".repeat(self.first);
        for lane in self.lanes {
            let _ = write!(line, "{:GAP$}{:column$}", "", short(lane));
        }
        let _ = writeln!(out, "{}", self.pen.bold(line.trim_end()));
    }

    fn beat(&self, out: &mut String, i: usize, beat: &Beat<'_>) {
        let begins = beat.first.kind == StoryKind::Begin;
        let sentence = Sentence::new(beat, if begins { CODE_CHARS_MAX } else { CODE_AGAIN_CHARS_MAX });
        let mut what = sentence.what();
        let mut left = self.first + GAP;
        let mut room = self.width.saturating_sub(left);
        let mut who = String::new();
        match (self.column, beat.lane) {
            (Some(column), Some(lane)) => {
                left += lane * (column + GAP);
                room = column;
                // A whole process stands in the column of its first thread.
                if beat.first.actor.as_deref() != Some(self.lanes[lane]) {
                    what = sentence.text();
                }
            }
            (None, Some(_)) => {
                who = format!("{:1$}", short(beat.first.actor.as_deref().unwrap_or_default()), self.names + GAP);
                room = room.saturating_sub(who.chars().count());
            }
            (_, None) => {}
        }
        let lines = fit(&what, room, LINES_MAX);
        for (n, line) in lines.iter().enumerate() {
            let number = if n == 0 { (i + 1).to_string() } else { String::new() };
            let who = if n == 0 { who.clone() } else { " ".repeat(who.chars().count()) };
            let indent = left.saturating_sub(self.first);
            let text = match sentence.tone {
                Tone::News(verdict) => self.pen.verdict(verdict, line),
                Tone::Turn => self.pen.ansi("36", line),
                Tone::Plain if beat.first.kind == StoryKind::Observed => self.pen.bold(line),
                Tone::Plain => line.clone(),
            };
            let _ = writeln!(out, "{number:>1$}{:indent$}{who}{text}", "", self.first);
        }
    }
}

fn short(actor: &str) -> String {
    cut(&name(actor), NAME_CHARS_MAX)
}
