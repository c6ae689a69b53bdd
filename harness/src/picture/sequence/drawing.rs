//! Draws the elements of a sequence diagram at the positions that the layout gives.

use super::layout::{self, Arrow, Block, Layout, Row, Span};
use super::lines::{self, Line};
use super::{LINE, PAD};
use crate::narrative::{Narrative, Sentence, actor_name, count, cut};
use crate::picture::svg::{coordinate, xml};
use crate::picture::theme;
use crate::record::StoryKind;
use std::fmt::Write as _;

/// Width of a character of an actor's name in pixels.
const NAME_CHAR: f64 = 8.0;
/// Maximum length of a statement in a tooltip, in characters.
const TITLE_CHARS_MAX: usize = 2_000;

pub(super) fn draw(out: &mut String, narrative: &Narrative<'_>, layout: &Layout) {
    definitions(out, layout);
    for lane in 0..narrative.lanes.len() {
        let x = coordinate(layout.x(lane));
        for span in &layout.process_spans[lane] {
            let class = if span.is_dead { "q-gone" } else { "q-life" };
            let (from, to) = (coordinate(span.from), coordinate(span.to));
            let _ = write!(out, r#"<path class="{class}" d="M{x} {from}V{to}"/>"#);
        }
        header(out, layout, lane, narrative.lanes[lane]);
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
        self::row(out, narrative, layout, i, row);
    }
    for (lane, y) in &layout.crosses {
        let (class, shape) = lines::CROSS;
        let (x, y) = (coordinate(layout.x(*lane)), coordinate(*y));
        let _ = write!(out, r#"<g class="{class}" transform="translate({x} {y})">{shape}</g>"#);
    }
    finding(out, layout);
}

/// The hatching, and for every lane the area to which its text is clipped.
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
    let name = actor_name(actor);
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

/// A statement from its begin to its end. The box is dashed if the statement did not end.
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
        if block.has_ended { "" } else { r#" stroke-dasharray="4 3""# },
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

/// An arrow from the actor that stops to the next one: solid if the next one begins, dashed if it resumes.
fn arrow(out: &mut String, layout: &Layout, arrow: &Arrow) {
    let rightwards = if layout.x(arrow.to) > layout.x(arrow.from) { 1.0 } else { -1.0 };
    let edge = |lane: usize, side: f64| layout.x(lane) + side * (layout.breadth(Some(lane)) / 2.0);
    let y = arrow.y;
    let start = match arrow.start {
        Some(bottom) => format!("M{} {}V{}", coordinate(layout.x(arrow.from)), coordinate(bottom), coordinate(y)),
        None => format!("M{} {}", coordinate(edge(arrow.from, rightwards)), coordinate(y)),
    };
    let (line, head) = match arrow.end {
        Some(top) => (
            format!("{start}H{}V{}", coordinate(layout.x(arrow.to)), coordinate(top - 1.0)),
            format!("M{} {}l-4.5-7h9z", coordinate(layout.x(arrow.to)), coordinate(top)),
        ),
        None => {
            let x = edge(arrow.to, -rightwards);
            let head = if rightwards > 0.0 { "l-7-4.5v9z" } else { "l7-4.5v9z" };
            (format!("{start}H{}", coordinate(x - rightwards)), format!("M{} {}{head}", coordinate(x), coordinate(y)))
        }
    };
    let dashed = if arrow.is_resume { " q-back" } else { "" };
    let _ = write!(
        out,
        r#"<g><title>{}</title><path class="q-halo" d="{line}"/><path class="q-go{dashed}" d="{line}"/><path class="q-on" d="{head}"/></g>"#,
        xml(&arrow.title),
    );
}

fn row(out: &mut String, narrative: &Narrative<'_>, layout: &Layout, i: usize, row: &Row) {
    let step = row.step.map(|at| &narrative.steps[at]);
    let lane = step.and_then(|step| step.lane);
    let _ = write!(out, r#"<g clip-path="url(#q-c{})">"#, clip(lane));
    if let Some(step) = step {
        let title = cut(&Sentence::from_step(step, TITLE_CHARS_MAX).text(), 2 * TITLE_CHARS_MAX);
        let _ = write!(out, "<title>{}</title>", xml(&title));
    }
    let (left, breadth) = (layout.left(lane), layout.breadth(lane));
    let is_observation = step.is_some_and(|step| step.first.kind == StoryKind::Observed);
    let rect = match (step, lane) {
        _ if is_observation => Some("q-note"),
        (Some(step), None) if step.first.kind == StoryKind::Outside => Some("q-acts"),
        (None, _) => Some("q-band"),
        (_, None) => Some("q-point"),
        _ if row.is_alone => Some("q-point"),
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
            if is_observation { 0 } else { 4 },
        );
    }
    text(out, &row.lines, left + layout.pad(row.depth), row.top + PAD);
    out.push_str("</g>");
    if let (Some(at), Some(step)) = (row.step, step) {
        let _ = write!(
            out,
            r#"<text class="q-no" x="{}" y="{}" text-anchor="end"><title>after {}</title>{}</text>"#,
            coordinate(layout::GUTTER - 10.0),
            coordinate(layout.rows[i].top + PAD + 12.0),
            count(step.first.at, "call"),
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
fn finding(out: &mut String, layout: &Layout) {
    let end = &layout.finding;
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
        theme::shape(end.verdict),
    );
    for (i, line) in end.lines.iter().enumerate() {
        let (x, y) = (coordinate(layout.left(None) + 36.0), coordinate(end.top + 22.0 + 18.0 * i as f64));
        let _ = write!(out, r#"<text class="q-found" x="{x}" y="{y}">{}</text>"#, xml(line));
    }
    out.push_str("</g>");
}
