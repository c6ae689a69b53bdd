//! What stands in the box of one beat, line by line, wrapped to the lane's width.

use seawall_harness::record::StoryKind;

use crate::story::{Beat, detail, joined};
use crate::words::fit;

/// Pixels of a character of a statement, and of other text, generously: nobody knows the reader's system font.
const MONO_CHAR: f64 = 7.35;
const CHAR: f64 = 6.9;
/// Room that a glyph takes before its words.
pub(super) const GLYPH: f64 = 17.0;
/// Lanes of fewer characters than this get more lines instead.
const NARROW_CHARS: usize = 22;
/// Lines of a statement at most, in a wide and in a narrow lane; what came of it is told at more length.
const SQL_LINES_MAX: [usize; 2] = [3, 6];
const WORDS_LINES_MAX: [usize; 2] = [4, 9];

/// A glyph around (0, 0): class and shape.
pub(super) type Glyph = (&'static str, &'static str);

const BOLT: Glyph = ("m-fault", r#"<path d="M2-7L-4.5 1H-.5L-2.5 7 4.5-1.5H.5z"/>"#);
const PAUSE: Glyph = ("q-go", r#"<path d="M-2.5-4.5v9M2.5-4.5v9" stroke-width="2.4"/>"#);
const RESUME: Glyph = ("q-on", r#"<path d="M-3.5-5L4.5 0-3.5 5z"/>"#);
pub(super) const CROSS: Glyph = ("m-kill", r#"<path d="M-5-5L5 5M5-5L-5 5"/>"#);
const START: Glyph = ("m-start", r#"<path d="M-4-5L5 0-4 5z"/>"#);
const COMMIT: Glyph = ("m-commit", r#"<circle r="4"/>"#);
const END: Glyph = ("m-start", r#"<path d="M-4 .5l3 3L4.5-3.5"/>"#);
const REFUSED: Glyph = ("m-refused", r#"<path d="M-3.4-3.4h6.8v6.8h-6.8z"/>"#);

/// One line of text.
pub(super) struct Line {
    pub(super) class: &'static str,
    /// At the first line of what it stands for.
    pub(super) glyph: Option<Glyph>,
    /// Pixels from the box's left edge.
    pub(super) indent: f64,
    pub(super) text: String,
}

/// The lines of a beat in a box that is `room` pixels wide.
pub(super) fn lines(beat: &Beat<'_>, room: f64) -> Vec<Line> {
    let mut lines = Vec::new();
    if beat.first.kind == StoryKind::Begin {
        let statement = if beat.first.text.trim().is_empty() { "(a statement)" } else { &beat.first.text };
        push(&mut lines, "q-sql", None, statement, room);
    }
    if let Some((class, glyph, words)) = outcome(beat) {
        push(&mut lines, class, glyph, &words, room);
    }
    lines
}

/// The lines of a text that has no statement.
pub(super) fn words(class: &'static str, text: &str, room: f64) -> Vec<Line> {
    let mut lines = Vec::new();
    push(&mut lines, class, None, text, room);
    lines
}

fn push(lines: &mut Vec<Line>, class: &'static str, glyph: Option<Glyph>, text: &str, room: f64) {
    let indent = if glyph.is_some() { GLYPH } else { 0.0 };
    let (char, lines_max) = if class == "q-sql" { (MONO_CHAR, SQL_LINES_MAX) } else { (CHAR, WORDS_LINES_MAX) };
    let chars_max = ((room - indent) / char) as usize;
    let lines_max = lines_max[usize::from(chars_max < NARROW_CHARS)];
    for (i, text) in fit(text, chars_max, lines_max).into_iter().enumerate() {
        lines.push(Line { class, glyph: glyph.filter(|_| i == 0), indent, text });
    }
}

/// What came of the beat, if anything is to be said beyond the statement in its box.
fn outcome(beat: &Beat<'_>) -> Option<(&'static str, Option<Glyph>, String)> {
    let last = beat.last();
    let text = detail(beat.statement, &last.text);
    let resumed = if beat.first.kind == StoryKind::Resumed && beat.then.is_some() { "resumed, " } else { "" };
    let said = |verb: &str| joined(&format!("{resumed}{verb}"), text);
    Some(match last.kind {
        StoryKind::Begin => return None,
        // That an uninterrupted statement has ended shows in its box.
        StoryKind::End if beat.first.kind == StoryKind::Begin && text.is_empty() => return None,
        StoryKind::End => ("q-word", Some(END), said("ended")),
        StoryKind::Commit => ("q-commit", Some(COMMIT), said("committed")),
        StoryKind::Refused => ("q-refused", Some(REFUSED), said("refused")),
        StoryKind::Paused => ("q-paused", Some(PAUSE), said("paused")),
        StoryKind::Resumed => ("q-paused", Some(RESUME), said("resumed")),
        StoryKind::Fault => ("q-fault", Some(BOLT), said("fault")),
        StoryKind::Kill => ("q-kill", Some(CROSS), said("killed")),
        StoryKind::Start => ("q-word", Some(START), said("started")),
        StoryKind::Observed => ("q-seen", None, said("")),
    })
}
