//! A story as a sequence diagram: a lane for each actor, time runs downwards.
//!
//! A statement is a box on the lane of its actor, from its begin to its end, and hatched while it is paused. Text is
//! wrapped, cut and clipped to its lane, so nothing overlaps, and the tooltip has the whole text. Events of no actor
//! span all lanes.

use crate::narrative::{Narrative, Sentence, cut, fit, headline};
use crate::picture::svg::{FONT, coordinate, xml};
use crate::picture::{marks, theme};
use crate::record::Story;
use drawing::draw;
use layout::{Layout, MARGIN};
use std::fmt::Write as _;

mod drawing;
mod layout;
mod lines;
mod tracks;

/// Height of a line of text, and the padding of a box.
const LINE: f64 = 16.0;
const PAD: f64 = 7.0;
const HEADLINE: f64 = 22.0;
/// Width of a character of the headline in pixels.
const HEADLINE_CHAR: f64 = 10.8;
/// Maximum length of a statement and of a sentence in the description, in characters.
const CODE_CHARS_MAX: usize = 120;
const SENTENCE_CHARS_MAX: usize = 240;

/// The style of the diagram in addition to that of a timeline, for a page or a stand-alone picture.
pub const STYLE: &str = "\
.q-sql{font:12px ui-monospace,'SF Mono',Menlo,Consolas,'Liberation Mono',monospace;fill:var(--ink)}\
.q-head{fill:var(--ink);font-size:16px;font-weight:600}.q-name{fill:var(--ink);font-size:13px;font-weight:600}\
.q-word,.q-kill,.q-paused,.q-commit,.q-refused,.q-fault,.q-lost,.q-outside,.q-seen,.q-more,.q-no{font-size:12px}\
.q-word{fill:var(--ink)}.q-more,.q-no{fill:var(--muted)}.q-kill{fill:var(--ink);font-weight:600}\
.q-paused{fill:var(--link)}.q-commit{fill:var(--survived-ink)}.q-refused{fill:var(--degraded-ink)}\
.q-fault,.q-lost{fill:var(--lost-ink);font-weight:600}.q-outside{fill:var(--wedged-ink);font-weight:600}\
.q-acts{fill:var(--wedged-ground);stroke:var(--wedged-ink);stroke-opacity:.5}.q-seen{fill:var(--degraded-ink)}\
.q-note{fill:var(--degraded-ground);stroke:var(--degraded-ink);stroke-opacity:.5}\
.q-box{fill:var(--card);stroke:var(--muted)}.q-point{fill:var(--card);stroke:var(--rule)}\
.q-band{fill:var(--card);stroke:var(--rule);stroke-dasharray:3 3}\
.q-hatch{fill:url(#q-lines)}.q-lines{stroke:var(--muted);stroke-opacity:.55}\
.q-life{stroke:var(--muted);stroke-opacity:.6}.q-gone{stroke:var(--muted);stroke-dasharray:1.5 5}\
.q-go{fill:none;stroke:var(--link);stroke-width:1.6}.q-back{stroke-dasharray:5 3}.q-on{fill:var(--link)}\
.q-halo{fill:none;stroke:var(--paper);stroke-width:5}\
.q-end{fill:var(--vg);stroke:var(--vi)}.q-found{fill:var(--vi);font-size:13.5px;font-weight:600}.q-shape{color:var(--vi)}";

/// The sequence diagram of a story as a stand-alone picture.
pub fn sequence(story: &Story) -> String {
    let narrative = Narrative::from_story(story);
    let layout = Layout::from_story(story, &narrative);
    let title = headline(story);
    let lines = fit(&title, ((layout.width - 2.0 * MARGIN) / HEADLINE_CHAR) as usize, 3);
    let head = 20.0 + HEADLINE * lines.len() as f64;
    let (width, height) = (coordinate(layout.width), coordinate(head + layout.height));
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="title desc" font-family="{FONT}"><title id="title">{}</title><desc id="desc">{}</desc><style>{}{}{}{STYLE}</style><rect width="100%" height="100%" rx="8" fill="var(--paper)"/>"#,
        xml(&title),
        xml(&description(&narrative)),
        theme::properties("svg"),
        theme::verdict_classes(),
        marks::STYLE,
    );
    for (i, line) in lines.iter().enumerate() {
        let y = coordinate(30.0 + HEADLINE * i as f64);
        let _ = write!(out, r#"<text class="q-head" x="{MARGIN}" y="{y}">{}</text>"#, xml(line));
    }
    let _ = write!(out, r#"<g transform="translate(0 {})">"#, coordinate(head));
    draw(&mut out, &narrative, &layout);
    out.push_str("</g></svg>\n");
    out
}

/// The sequence diagram for a page that has the style and the headline. A page can have only one.
pub fn sequence_inline(story: &Story) -> String {
    let narrative = Narrative::from_story(story);
    let layout = Layout::from_story(story, &narrative);
    let (width, height) = (coordinate(layout.width), coordinate(layout.height));
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<svg class="sequence" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="Sequence diagram: {}">"#,
        xml(&headline(story)),
    );
    draw(&mut out, &narrative, &layout);
    out.push_str("</svg>");
    out
}

/// The picture in words.
fn description(narrative: &Narrative<'_>) -> String {
    let mut sentences: Vec<String> = Vec::new();
    for (i, step) in narrative.shown() {
        if i == narrative.omitted.end {
            sentences.extend(narrative.ellipsis());
        }
        sentences.push(format!(
            "{}. {}",
            i + 1,
            cut(&Sentence::from_step(step, CODE_CHARS_MAX).text(), SENTENCE_CHARS_MAX)
        ));
    }
    if sentences.is_empty() { "Nothing happened.".to_owned() } else { sentences.join("; ") }
}
