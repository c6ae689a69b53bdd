//! A story as a sequence diagram: a lane for each actor, time runs downwards.
//!
//! A statement is a box on its actor's lane, from where it begins to where it ends; as long as it is paused it is
//! hatched. Every text stays within its lane, so nothing lies on top of anything else, however long it is: it is
//! wrapped, cut, clipped, and whole in the tooltip. Only what concerns all goes across.

use std::fmt::Write as _;

use seawall_harness::record::{Story, StoryKind};

use self::layout::{Arrow, Block, Layout, MARGIN, Row, Span};
use self::lines::Line;
use super::{FONT, timeline};
use crate::look;
use crate::story::{Sentence, Telling, headline, name};
use crate::words::{coordinate, count, cut, fit, xml};

mod layout;
mod lines;

/// Height of a line of text, and what a box leaves free around its lines.
const LINE: f64 = 16.0;
const PAD: f64 = 7.0;
const HEADLINE: f64 = 22.0;
/// Pixels of a character of the headline and of a lane's name.
const HEADLINE_CHAR: f64 = 10.8;
const NAME_CHAR: f64 = 8.0;
/// Characters of a tooltip and of a statement in the description at most.
const TITLE_CHARS_MAX: usize = 2_000;
const CODE_CHARS_MAX: usize = 120;

/// What the diagram needs beyond the marks of a timeline, for the style of the page or of the picture.
pub(crate) const STYLE: &str = "\
.q-sql{font:12px ui-monospace,'SF Mono',Menlo,Consolas,'Liberation Mono',monospace;fill:var(--ink)}\
.q-head{fill:var(--ink);font-size:16px;font-weight:600}.q-name{fill:var(--ink);font-size:13px;font-weight:600}\
.q-word,.q-kill,.q-paused,.q-commit,.q-refused,.q-fault,.q-seen,.q-more,.q-no{font-size:12px}\
.q-word{fill:var(--ink)}.q-more,.q-no{fill:var(--muted)}.q-kill{fill:var(--ink);font-weight:600}\
.q-paused{fill:var(--link)}.q-commit{fill:var(--survived-ink)}.q-refused{fill:var(--degraded-ink)}\
.q-fault{fill:var(--lost-ink);font-weight:600}.q-seen{fill:var(--degraded-ink)}\
.q-note{fill:var(--degraded-ground);stroke:var(--degraded-ink);stroke-opacity:.5}\
.q-box{fill:var(--card);stroke:var(--muted)}.q-point{fill:var(--card);stroke:var(--rule)}\
.q-band{fill:var(--card);stroke:var(--rule);stroke-dasharray:3 3}\
.q-hatch{fill:url(#q-lines)}.q-lines{stroke:var(--muted);stroke-opacity:.55}\
.q-life{stroke:var(--muted);stroke-opacity:.6}.q-gone{stroke:var(--muted);stroke-dasharray:1.5 5}\
.q-go{fill:none;stroke:var(--link);stroke-width:1.6}.q-back{stroke-dasharray:5 3}.q-on{fill:var(--link)}\
.q-halo{fill:none;stroke:var(--paper);stroke-width:5}\
.q-end{fill:var(--vg);stroke:var(--vi)}.q-found{fill:var(--vi);font-size:13.5px;font-weight:600}.q-shape{color:var(--vi)}";

/// The story's diagram as a picture by itself.
pub fn sequence(story: &Story) -> String {
    let telling = Telling::new(story);
    let layout = Layout::new(story, &telling);
    let title = headline(story);
    let lines = fit(&title, ((layout.width - 2.0 * MARGIN) / HEADLINE_CHAR) as usize, 3);
    let head = 20.0 + HEADLINE * lines.len() as f64;
    let (width, height) = (coordinate(layout.width), coordinate(head + layout.height));
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="title desc" font-family="{FONT}"><title id="title">{}</title><desc id="desc">{}</desc><style>{}{}{}{STYLE}</style><rect width="100%" height="100%" rx="8" fill="var(--paper)"/>"#,
        xml(&title),
        xml(&description(&telling)),
        look::properties("svg"),
        look::verdict_classes(),
        timeline::STYLE,
    );
    for (i, line) in lines.iter().enumerate() {
        let y = coordinate(30.0 + HEADLINE * i as f64);
        let _ = write!(out, r#"<text class="q-head" x="{MARGIN}" y="{y}">{}</text>"#, xml(line));
    }
    let _ = write!(out, r#"<g transform="translate(0 {})">"#, coordinate(head));
    draw(&mut out, &telling, &layout);
    out.push_str("</g></svg>\n");
    out
}

/// The diagram for a page that has the style and the headline already; one to a page.
pub(crate) fn sequence_inline(story: &Story) -> String {
    let telling = Telling::new(story);
    let layout = Layout::new(story, &telling);
    let (width, height) = (coordinate(layout.width), coordinate(layout.height));
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<svg class="sequence" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="Sequence diagram: {}">"#,
        xml(&headline(story)),
    );
    draw(&mut out, &telling, &layout);
    out.push_str("</svg>");
    out
}

/// The story in words, for readers who do not see the picture.
fn description(telling: &Telling<'_>) -> String {
    let mut sentences: Vec<String> = Vec::new();
    for (i, beat) in telling.told() {
        if i == telling.skipped.end {
            sentences.extend(telling.ellipsis());
        }
        sentences.push(format!("{}. {}", i + 1, cut(&Sentence::new(beat, CODE_CHARS_MAX).text(), 240)));
    }
    if sentences.is_empty() { "Nothing happened.".to_owned() } else { sentences.join("; ") }
}

fn draw(out: &mut String, telling: &Telling<'_>, layout: &Layout) {
    definitions(out, layout);
    for lane in 0..telling.lanes.len() {
        let x = coordinate(layout.x(lane));
        for span in &layout.lives[lane] {
            let class = if span.dotted { "q-gone" } else { "q-life" };
            let (from, to) = (coordinate(span.from), coordinate(span.to));
            let _ = write!(out, r#"<path class="{class}" d="M{x} {from}V{to}"/>"#);
        }
        header(out, layout, lane, telling.lanes[lane]);
    }
    for block in &layout.blocks {
        self::block(out, layout, block);
    }
    for pause in &layout.pauses {
        hatch(out, layout, pause);
    }
    for arrow in &layout.arrows {
        self::arrow(out, layout, arrow);
    }
    for (i, row) in layout.rows.iter().enumerate() {
        self::row(out, telling, layout, i, row);
    }
    for (lane, y) in &layout.crosses {
        let (class, shape) = lines::CROSS;
        let (x, y) = (coordinate(layout.x(*lane)), coordinate(*y));
        let _ = write!(out, r#"<g class="{class}" transform="translate({x} {y})">{shape}</g>"#);
    }
    ending(out, layout);
}

/// The hatching, and for every lane the area that its text cannot leave.
fn definitions(out: &mut String, layout: &Layout) {
    let height = coordinate(layout.height);
    out.push_str(r#"<defs><pattern id="q-lines" width="7" height="7" patternUnits="userSpaceOnUse" "#);
    out.push_str(r#"patternTransform="rotate(45)"><path class="q-lines" d="M0 0V7"/></pattern>"#);
    let all = (layout.left(None), layout.breadth(None));
    let lanes = (0..layout.lanes()).map(|lane| (layout.left(Some(lane)), layout.breadth(Some(lane))));
    for (i, (x, width)) in [all].into_iter().chain(lanes).enumerate() {
        let (x, width) = (coordinate(x), coordinate(width));
        let _ =
            write!(out, r#"<clipPath id="q-c{i}"><rect x="{x}" y="0" width="{width}" height="{height}"/></clipPath>"#);
    }
    out.push_str("</defs>");
}

fn clip(lane: Option<usize>) -> usize {
    lane.map_or(0, |lane| lane + 1)
}

fn header(out: &mut String, layout: &Layout, lane: usize, actor: &str) {
    let width = layout.breadth(Some(lane));
    let name = name(actor);
    let _ = write!(
        out,
        r#"<g clip-path="url(#q-c{})"><title>{}</title><rect class="q-box" x="{}" y="{}" width="{}" height="{}" rx="5"/><text class="q-name" x="{}" y="{}" text-anchor="middle">{}</text></g>"#,
        clip(Some(lane)),
        xml(&name),
        coordinate(layout.left(Some(lane)) + 0.5),
        coordinate(layout::TOP),
        coordinate(width - 1.0),
        coordinate(layout::HEADER),
        coordinate(layout.x(lane)),
        coordinate(layout::TOP + 19.0),
        xml(&cut(&name, ((width - 10.0) / NAME_CHAR) as usize)),
    );
}

/// A statement from its beginning to its end. What never ended stays open below.
fn block(out: &mut String, layout: &Layout, block: &Block) {
    let inset = layout.inset(block.depth) + 0.5;
    let (x, width) = (layout.left(Some(block.lane)) + inset, layout.breadth(Some(block.lane)) - 2.0 * inset);
    let (from, to) = (block.from, block.to);
    let _ = write!(
        out,
        r#"<rect class="q-box" x="{}" y="{}" width="{}" height="{}" rx="4"{}><title>{}</title></rect>"#,
        coordinate(x),
        coordinate(from),
        coordinate(width),
        coordinate(to - from),
        if block.ended { "" } else { r#" stroke-dasharray="4 3""# },
        xml(&cut(&block.statement, TITLE_CHARS_MAX)),
    );
}

fn hatch(out: &mut String, layout: &Layout, pause: &Span) {
    let _ = write!(
        out,
        r#"<rect class="q-hatch" x="{}" y="{}" width="{}" height="{}"><title>{} is paused</title></rect>"#,
        coordinate(layout.left(Some(pause.lane)) + 1.0),
        coordinate(pause.from),
        coordinate(layout.breadth(Some(pause.lane)) - 2.0),
        coordinate((pause.to - pause.from).max(0.0)),
        xml(&pause.name),
    );
}

/// From who stops to who goes on: solid into another's next box, dashed back into a paused one.
fn arrow(out: &mut String, layout: &Layout, arrow: &Arrow) {
    let rightwards = if layout.x(arrow.to) > layout.x(arrow.from) { 1.0 } else { -1.0 };
    let edge = |lane: usize, side: f64| layout.x(lane) + side * (layout.breadth(Some(lane)) / 2.0);
    let y = arrow.y;
    let start = match arrow.leaves {
        Some(bottom) => format!("M{} {}V{}", coordinate(layout.x(arrow.from)), coordinate(bottom), coordinate(y)),
        None => format!("M{} {}", coordinate(edge(arrow.from, rightwards)), coordinate(y)),
    };
    let (line, head) = match arrow.enters {
        Some(top) => (
            format!("{start}H{}V{}", coordinate(layout.x(arrow.to)), coordinate(top - 1.0)),
            format!("M{} {}l-4.5-7h9z", coordinate(layout.x(arrow.to)), coordinate(top)),
        ),
        None => {
            let x = edge(arrow.to, -rightwards);
            let turn = if rightwards > 0.0 { "l-7-4.5v9z" } else { "l7-4.5v9z" };
            (format!("{start}H{}", coordinate(x - rightwards)), format!("M{} {}{turn}", coordinate(x), coordinate(y)))
        }
    };
    let back = if arrow.back { " q-back" } else { "" };
    let _ = write!(
        out,
        r#"<g><title>{}</title><path class="q-halo" d="{line}"/><path class="q-go{back}" d="{line}"/><path class="q-on" d="{head}"/></g>"#,
        xml(&arrow.title),
    );
}

fn row(out: &mut String, telling: &Telling<'_>, layout: &Layout, i: usize, row: &Row) {
    let beat = row.beat.map(|at| &telling.beats[at]);
    let lane = beat.and_then(|beat| beat.lane);
    let _ = write!(out, r#"<g clip-path="url(#q-c{})">"#, clip(lane));
    if let Some(beat) = beat {
        let title = cut(&Sentence::new(beat, TITLE_CHARS_MAX).text(), 2 * TITLE_CHARS_MAX);
        let _ = write!(out, "<title>{}</title>", xml(&title));
    }
    let (left, breadth) = (layout.left(lane), layout.breadth(lane));
    let seen = beat.is_some_and(|beat| beat.first.kind == StoryKind::Observed);
    let rect = match (beat, lane) {
        _ if seen => Some("q-note"),
        (None, _) => Some("q-band"),
        (_, None) => Some("q-point"),
        _ if row.alone => Some("q-point"),
        _ => None,
    };
    if let Some(class) = rect {
        let _ = write!(
            out,
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}" rx="{}"/>"#,
            coordinate(left + 0.5),
            coordinate(row.top),
            coordinate(breadth - 1.0),
            coordinate(row.bottom - row.top),
            if seen { 0 } else { 4 },
        );
    }
    text(out, &row.lines, left + layout.pad(row.depth), row.top + PAD);
    out.push_str("</g>");
    if let (Some(at), Some(beat)) = (row.beat, beat) {
        let _ = write!(
            out,
            r#"<text class="q-no" x="{}" y="{}" text-anchor="end"><title>after {}</title>{}</text>"#,
            coordinate(layout::GUTTER - 10.0),
            coordinate(layout.rows[i].top + PAD + 12.0),
            count(beat.first.at, "call"),
            at + 1,
        );
    }
}

fn text(out: &mut String, lines: &[Line], left: f64, top: f64) {
    for (i, line) in lines.iter().enumerate() {
        let y = top + LINE * i as f64;
        if let Some((class, shape)) = line.glyph {
            let (x, y) = (coordinate(left + 6.0), coordinate(y + 8.0));
            let _ = write!(out, r#"<g class="{class}" transform="translate({x} {y})">{shape}</g>"#);
        }
        let (x, y) = (coordinate(left + line.indent), coordinate(y + 12.0));
        let _ = write!(out, r#"<text class="{}" x="{x}" y="{y}">{}</text>"#, line.class, xml(&line.text));
    }
}

/// The finding, across all lanes.
fn ending(out: &mut String, layout: &Layout) {
    let end = &layout.ending;
    let _ = write!(
        out,
        r#"<g class="v-{}"><rect class="q-end" x="{}" y="{}" width="{}" height="{}" rx="5"/><svg class="q-shape" x="{}" y="{}" width="16" height="16" viewBox="0 0 16 16">{}</svg>"#,
        end.verdict.word(),
        coordinate(layout.left(None) + 0.5),
        coordinate(end.top),
        coordinate(layout.breadth(None) - 1.0),
        coordinate(end.bottom - end.top),
        coordinate(layout.left(None) + 12.0),
        coordinate(end.top + 9.0),
        look::shape(end.verdict),
    );
    for (i, line) in end.lines.iter().enumerate() {
        let (x, y) = (coordinate(layout.left(None) + 36.0), coordinate(end.top + 22.0 + 18.0 * i as f64));
        let _ = write!(out, r#"<text class="q-found" x="{x}" y="{y}">{}</text>"#, xml(line));
    }
    out.push_str("</g>");
}
