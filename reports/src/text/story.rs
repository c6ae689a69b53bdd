//! A story for a terminal: a column for each actor if the terminal is wide enough, a list otherwise.

use super::{GAP, Pen, WIDTH_MIN};
use crate::format::{cut, fit, replay_line};
use seawall_harness::narrative::{Narrative, Sentence, Step, Tone, actor_name, finding, headline};
use seawall_harness::record::{Story, StoryKind};
use std::fmt::Write as _;

/// Minimum width of a column. If there is less room, the story is a list.
const COLUMN_MIN: usize = 24;
const COLUMN_MAX: usize = 44;
const NAME_CHARS_MAX: usize = 18;
/// Maximum length of a statement in characters, where it begins and where it is named again.
const CODE_CHARS_MAX: usize = 160;
const CODE_AGAIN_CHARS_MAX: usize = 40;
/// Maximum number of lines of a sentence.
const LINES_MAX: usize = 10;

/// The finding, the numbered steps that led to it, and the replay line. The output is at most `width` columns wide,
/// except for the replay line, which is never broken. With `color` the sentences have ANSI colours.
pub fn story(story: &Story, color: bool, width: usize) -> String {
    let narrative = Narrative::from_story(story);
    let page = Page::new(&narrative, Pen { has_color: color }, width.max(WIDTH_MIN));
    let mut out = String::new();
    for line in fit(&headline(story), page.width, LINES_MAX) {
        let _ = writeln!(out, "{}", page.pen.bold(&line));
    }
    out.push('\n');
    page.header(&mut out);
    for (i, step) in narrative.steps.iter().enumerate() {
        if !narrative.omitted.contains(&i) {
            page.step(&mut out, i, step);
        } else if i == narrative.omitted.start {
            let text = narrative.ellipsis().unwrap_or_default();
            let _ = writeln!(out, "{:1$}{text}", "", page.first + GAP);
        }
    }
    if narrative.steps.is_empty() {
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
    /// Width of the numbers.
    first: usize,
    /// Width of the names in a list.
    names: usize,
    /// Width of an actor's column; `None` in a list.
    column: Option<usize>,
}

impl<'a> Page<'a> {
    fn new(narrative: &'a Narrative<'_>, pen: Pen, width: usize) -> Self {
        let first = narrative.steps.len().to_string().len().max(3);
        let lanes = narrative.lanes.len();
        let room = width.saturating_sub(first).checked_div(lanes).unwrap_or(0).saturating_sub(GAP).min(COLUMN_MAX);
        let actors = narrative.steps.iter().filter_map(|step| step.first.actor.as_deref());
        let names = actors.map(|actor| short(actor).chars().count()).max().unwrap_or(0);
        let column = (lanes > 1 && room >= COLUMN_MIN).then_some(room);
        Self { pen, lanes: &narrative.lanes, width, first, names, column }
    }

    /// The names above the columns.
    fn header(&self, out: &mut String) {
        let Some(column) = self.column else { return };
        let mut line = " ".repeat(self.first);
        for lane in self.lanes {
            let _ = write!(line, "{:GAP$}{:column$}", "", short(lane));
        }
        let _ = writeln!(out, "{}", self.pen.bold(line.trim_end()));
    }

    fn step(&self, out: &mut String, i: usize, step: &Step<'_>) {
        let is_begin = step.first.kind == StoryKind::Begin;
        let sentence = Sentence::from_step(step, if is_begin { CODE_CHARS_MAX } else { CODE_AGAIN_CHARS_MAX });
        let mut words = sentence.predicate();
        let mut left = self.first + GAP;
        let mut room = self.width.saturating_sub(left);
        let mut actor = String::new();
        match (self.column, step.lane) {
            (Some(column), Some(lane)) => {
                left += lane * (column + GAP);
                room = column;
                // A process has no column; its events are in that of its first thread.
                if step.first.actor.as_deref() != Some(self.lanes[lane]) {
                    words = sentence.text();
                }
            }
            (None, Some(_)) => {
                actor = format!("{:1$}", short(step.first.actor.as_deref().unwrap_or_default()), self.names + GAP);
                room = room.saturating_sub(actor.chars().count());
            }
            (_, None) => {}
        }
        let lines = fit(&words, room, LINES_MAX);
        for (n, line) in lines.iter().enumerate() {
            let number = if n == 0 { (i + 1).to_string() } else { String::new() };
            let actor = if n == 0 { actor.clone() } else { " ".repeat(actor.chars().count()) };
            let indent = left.saturating_sub(self.first);
            let text = match sentence.tone {
                Tone::Verdict(verdict) => self.pen.verdict(verdict, line),
                Tone::Switch => self.pen.ansi("36", line),
                Tone::Plain if step.first.kind == StoryKind::Observed => self.pen.bold(line),
                Tone::Plain => line.clone(),
            };
            let _ = writeln!(out, "{number:>1$}{:indent$}{actor}{text}", "", self.first);
        }
    }
}

fn short(actor: &str) -> String {
    cut(&actor_name(actor), NAME_CHARS_MAX)
}
