//! The lines of text in the box of one step, wrapped to the width of the lane.

use crate::narrative::{Step, detail, fit, joined};
use crate::picture::marks;
use crate::record::StoryKind;

/// Width of a character of a statement, and of other text, in pixels, at the upper end because the reader's font is
/// unknown.
const MONO_CHAR: f64 = 7.35;
const CHAR: f64 = 6.9;
/// Width of a glyph and the space after it.
const GLYPH: f64 = 17.0;
/// Lanes with room for fewer characters than this get more lines.
const NARROW_CHARS: usize = 22;
/// Maximum number of lines of a statement, and of other text, in a wide and in a narrow lane.
const SQL_LINES_MAX: [usize; 2] = [3, 6];
const WORDS_LINES_MAX: [usize; 2] = [4, 9];

/// A glyph around (0, 0): class and shape.
pub(super) type Glyph = (&'static str, &'static str);

const BOLT: Glyph = ("m-fault", r#"<path d="M2-7L-4.5 1H-.5L-2.5 7 4.5-1.5H.5z"/>"#);
const PAUSE: Glyph = ("q-go", r#"<path d="M-2.5-4.5v9M2.5-4.5v9" stroke-width="2.4"/>"#);
const RESUME: Glyph = ("q-on", r#"<path d="M-3.5-5L4.5 0-3.5 5z"/>"#);
pub(super) const CROSS: Glyph = ("m-kill", marks::KILL);
const START: Glyph = ("m-start", marks::START);
const COMMIT: Glyph = ("m-commit", marks::COMMIT);
const LOST: Glyph = ("m-lost", marks::LOST);
const OUTSIDE: Glyph = ("m-outside", marks::OUTSIDE);
const END: Glyph = ("m-start", r#"<path d="M-4 .5l3 3L4.5-3.5"/>"#);
const REFUSED: Glyph = ("m-refused", marks::REFUSED);

/// One line of text.
pub(super) struct Line {
    pub(super) class: &'static str,
    /// Before the first line of a text.
    pub(super) glyph: Option<Glyph>,
    /// Distance from the left edge of the box in pixels.
    pub(super) indent: f64,
    pub(super) text: String,
}

/// The lines of a step in a box of `room` pixels.
pub(super) fn lines(step: &Step<'_>, room: f64) -> Vec<Line> {
    let mut lines = Vec::new();
    if step.first.kind == StoryKind::Begin {
        let statement = if step.first.text.trim().is_empty() { "(a statement)" } else { &step.first.text };
        lines.extend(wrapped("q-sql", None, statement, room));
    }
    if let Some((class, glyph, words)) = outcome(step) {
        lines.extend(wrapped(class, glyph, &words, room));
    }
    lines
}

/// The lines of a text of the given class.
pub(super) fn wrapped(class: &'static str, glyph: Option<Glyph>, text: &str, room: f64) -> Vec<Line> {
    let indent = if glyph.is_some() { GLYPH } else { 0.0 };
    let (char, lines_max) = if class == "q-sql" { (MONO_CHAR, SQL_LINES_MAX) } else { (CHAR, WORDS_LINES_MAX) };
    let chars_max = ((room - indent) / char) as usize;
    let lines_max = lines_max[usize::from(chars_max < NARROW_CHARS)];
    let texts = fit(text, chars_max, lines_max).into_iter().enumerate();
    texts.map(|(i, text)| Line { class, glyph: glyph.filter(|_| i == 0), indent, text }).collect()
}

/// The outcome of the step, if there is one to show besides the statement.
fn outcome(step: &Step<'_>) -> Option<(&'static str, Option<Glyph>, String)> {
    let last = step.last();
    let text = detail(step.statement, &last.text);
    let resumed = if step.first.kind == StoryKind::Resumed && step.then.is_some() { "resumed, " } else { "" };
    let words = |verb: &str| joined(&format!("{resumed}{verb}"), text);
    Some(match last.kind {
        StoryKind::Begin => return None,
        // The box shows that the statement ended.
        StoryKind::End if step.first.kind == StoryKind::Begin && text.is_empty() => return None,
        StoryKind::End => ("q-word", Some(END), words("ended")),
        StoryKind::Commit => ("q-commit", Some(COMMIT), words("committed")),
        StoryKind::Lost => ("q-lost", Some(LOST), words("committed (lost)")),
        StoryKind::Outside => ("q-outside", Some(OUTSIDE), words("")),
        StoryKind::Refused => ("q-refused", Some(REFUSED), words("refused")),
        StoryKind::Paused => ("q-paused", Some(PAUSE), words("paused")),
        StoryKind::Resumed => ("q-paused", Some(RESUME), words("resumed")),
        StoryKind::Fault => ("q-fault", Some(BOLT), words("fault")),
        StoryKind::Kill => ("q-kill", Some(CROSS), words("killed")),
        StoryKind::Start => ("q-word", Some(START), words("started")),
        StoryKind::Observed => ("q-seen", None, words("")),
    })
}
