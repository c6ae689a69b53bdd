//! One run as a picture: a lane for each actor, time from left to right.
//!
//! A run can have thousands of events, and a page shows dozens of runs. So calls are reduced to ticks that can be told
//! apart. Faults, commits, kills and all other marks are never dropped: where marks overlap, one larger mark stands for
//! all of them and gives their number.

use self::drawing::Drawing;
use super::{FONT, MARKS, MARKS_STYLE};
use crate::format::{count, micros, xml};
use seawall_harness::picture::theme;
use seawall_harness::record::{MarkKind, RunRecord};
use std::fmt::Write as _;

mod axis;
mod drawing;
mod merge;

const WIDTH: f64 = 960.0;
const TOP: f64 = 34.0;
/// Height of a lane.
const LANE: f64 = 40.0;
/// Height of a row of the legend.
const LEGEND: f64 = 24.0;
const LEGEND_LEFT: f64 = 20.0;

/// The timeline of a run as a stand-alone picture, with its legend.
pub fn timeline(run: &RunRecord) -> String {
    let name = format!("{} under {} ({}): {}", run.strategy, run.fault, run.medium, run.verdict);
    let drawing = Drawing::from_run(run);
    let (keys, rows) = legend(drawing.height() + 6.0);
    let height = drawing.height() + LEGEND * rows + 6.0;
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-labelledby="title desc" font-family="{FONT}"><title id="title">{}</title><desc id="desc">{}</desc><style>{}{MARKS_STYLE}</style><rect width="100%" height="100%" rx="8" fill="var(--card)"/>"#,
        xml(&name),
        xml(&description(run)),
        theme::properties("svg"),
    );
    drawing.draw(&mut out);
    out.push_str(&keys);
    out.push_str("</svg>\n");
    out
}

/// The timeline of a run for a page that has the style and the legend.
pub(crate) fn timeline_inline(run: &RunRecord) -> String {
    let drawing = Drawing::from_run(run);
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<svg class="timeline" viewBox="0 0 {WIDTH} {}" role="img" aria-label="{}">"#,
        drawing.height(),
        xml(&description(run))
    );
    drawing.draw(&mut out);
    out.push_str("</svg>");
    out
}

/// The picture in words.
fn description(run: &RunRecord) -> String {
    let of = |kind| run.timeline.iter().filter(|e| e.kind == kind).count() as u64;
    let lost = match of(MarkKind::Lost) {
        0 => String::new(),
        lost => format!(" ({lost} lost)"),
    };
    let outside = match of(MarkKind::Outside) {
        0 => String::new(),
        outside => format!(", {}", count(outside, "outside action")),
    };
    let end_us = run.timeline.iter().map(|e| e.at_us.saturating_add(e.duration_us)).max().unwrap_or(0);
    format!(
        "Timeline of one run over {}: {}, {}, {}{lost}, {} refused, {} of unknown outcome, {}{outside}.",
        micros(end_us),
        count(of(MarkKind::Call), "call"),
        count(of(MarkKind::Fault), "fault"),
        count(of(MarkKind::Commit) + of(MarkKind::Lost), "commit"),
        of(MarkKind::Refused),
        of(MarkKind::Indeterminate),
        count(of(MarkKind::Kill), "kill"),
    )
}

/// The legend from `y` on, and the number of its rows.
fn legend(mut y: f64) -> (String, f64) {
    let (mut x, mut rows) = (LEGEND_LEFT, 1.0);
    let mut out = String::from(r#"<g class="t-time">"#);
    for mark in &MARKS {
        let width = 34.0 + mark.word.len() as f64 * 7.2;
        if x + width > WIDTH {
            (x, y, rows) = (LEGEND_LEFT, y + LEGEND, rows + 1.0);
        }
        let _ = write!(
            out,
            r#"<g class="{}" transform="translate({x} {y})">{}</g><text x="{}" y="{}">{}</text>"#,
            mark.class,
            mark.shape,
            x + 11.0,
            y + 4.0,
            mark.word
        );
        x += width;
    }
    out.push_str("</g>");
    (out, rows)
}
