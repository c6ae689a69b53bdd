//! The files of a losing run: a column for each file, a row for each step that changes the disk.
//!
//! A file is a bar, as long as its bytes. What is durable is full and solid; what processes see, but a power cut may
//! take, is half as high; what the cut has left is framed; what it has taken is an empty, dashed frame with a cross.

use crate::format::{coordinate, cut, plain, xml};
use seawall_harness::record::{DiskFile, DiskPart, DiskStep, LosingRun, PartState};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const WIDTH: f64 = 1040.0;
const TOP: f64 = 34.0;
const ROW: f64 = 34.0;
/// Height of a bar.
const BAR: f64 = 12.0;
/// Width of the column with the steps.
const STEPS: f64 = 300.0;
const GAP: f64 = 18.0;
const STEP_CHARS_MAX: usize = 40;
/// Width of a character of the 11 pixel text in pixels, at the upper end.
const NOTE_CHAR: f64 = 6.4;
/// The shortest bar for a part, in pixels, so that a single byte can be seen.
const PART_MIN: f64 = 2.5;

/// The style of the picture, for a page.
pub(crate) const STYLE: &str = "\
.disk{display:block;width:100%;min-width:46rem;height:auto;font-family:var(--sans)}\
.k-name{fill:var(--ink);font-size:13px;font-weight:600}.k-step{fill:var(--ink);font-size:12px}\
.k-no{fill:var(--muted);font-size:12px}.k-note{fill:var(--ink);font-size:11px}.k-line{stroke:var(--rule)}\
.k-cut{fill:var(--lost-ground)}.k-durable{fill:var(--muted)}\
.k-visible{fill:var(--degraded-ink)}.k-kept{fill:var(--survived-ground);stroke:var(--survived-ink);stroke-width:1.6}\
.k-lost{fill:none;stroke:var(--lost-ink);stroke-width:1.4;stroke-dasharray:4 2}\
.k-cross{stroke:var(--lost-ink);stroke-width:1.4}.cell .steps li[class=\"\"] .what{color:var(--ink)}";

/// How a state of bytes is named, and drawn in a box of 16 by 16.
pub(crate) fn key() -> [(&'static str, &'static str); 4] {
    [
        ("durable: on the disk", r#"<rect class="k-durable" y="2" width="16" height="12"/>"#),
        ("visible: seen by every process, not durable", r#"<rect class="k-visible" y="5" width="16" height="6"/>"#),
        ("kept by the cut", r#"<rect class="k-kept" x="1" y="3" width="14" height="10"/>"#),
        (
            "lost in the cut",
            r#"<rect class="k-lost" x="1" y="3" width="14" height="10"/><path class="k-cross" d="M1 3L15 13"/>"#,
        ),
    ]
}

/// The picture of a run, for a page that has the style. The numbers are those of the steps on the page.
pub(crate) fn disk_inline(run: &LosingRun) -> String {
    let rows: Vec<(u64, &DiskStep)> =
        (run.omitted + 1..).zip(&run.steps).filter(|(_, step)| !step.files.is_empty()).collect();
    let names: BTreeSet<&str> = rows.iter().flat_map(|(_, step)| &step.files).map(|file| &*file.name).collect();
    let columns = names.len().max(1) as f64;
    let column = (WIDTH - STEPS) / columns - GAP;
    let longest = rows.iter().flat_map(|(_, step)| &step.files).map(DiskFile::len).max().unwrap_or(0).max(1);
    let scale = column / longest as f64;
    let height = TOP + ROW * rows.len() as f64 + 6.0;
    let mut out = String::new();
    let label = xml(&format!("The files step by step: {}", run.finding.detail));
    let _ = write!(out, r#"<svg class="disk" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">"#);
    let left_of = |nth: usize| STEPS + (column + GAP) * nth as f64;
    for (nth, name) in names.iter().enumerate() {
        let name = xml(&cut(name, (column / 8.0) as usize));
        let _ = write!(out, r#"<text class="k-name" x="{}" y="20">{name}</text>"#, coordinate(left_of(nth)));
    }
    for (row, (number, step)) in rows.iter().enumerate() {
        let top = TOP + ROW * row as f64;
        let is_cut = step.actor.is_none();
        heading(&mut out, (*number, step), top, is_cut);
        for file in &step.files {
            let nth = names.iter().position(|name| *name == file.name).unwrap_or_default();
            bar(&mut out, file, (left_of(nth), top, column), scale);
        }
    }
    out.push_str("</svg>");
    out
}

fn heading(out: &mut String, (number, step): (u64, &DiskStep), top: f64, is_cut: bool) {
    if is_cut {
        let _ = write!(out, r#"<rect class="k-cut" y="{}" width="{WIDTH}" height="{ROW}"/>"#, coordinate(top));
    }
    let (line, base) = (coordinate(top), coordinate(top + 15.0));
    let text = if is_cut { "the power is cut".to_owned() } else { cut(&plain(&step.text), STEP_CHARS_MAX) };
    let _ = write!(
        out,
        r#"<path class="k-line" d="M0 {line}H{WIDTH}"/><text class="k-no" x="6" y="{base}">{number}</text><text class="k-step" x="36" y="{base}">{}<title>{}</title></text>"#,
        xml(&text),
        xml(&step.text),
    );
}

fn bar(out: &mut String, file: &DiskFile, (left, top, column): (f64, f64, f64), scale: f64) {
    for part in &file.parts {
        piece(out, *part, (left, top + 4.0), scale);
    }
    let size = if file.is_empty() { "empty".to_owned() } else { format!("{} B", file.len()) };
    let note = if file.note.is_empty() { size } else { format!("{size}; {}", file.note) };
    let note = cut(&note, (column / NOTE_CHAR) as usize);
    let (x, y) = (coordinate(left), coordinate(top + 28.0));
    let _ = write!(out, r#"<text class="k-note" x="{x}" y="{y}">{}</text>"#, xml(&note));
}

fn piece(out: &mut String, DiskPart { from, to, state }: DiskPart, (left, top): (f64, f64), scale: f64) {
    let (x, width) = (left + from as f64 * scale, ((to.saturating_sub(from)) as f64 * scale).max(PART_MIN));
    let (class, word, inset) = match state {
        PartState::Durable => ("k-durable", "durable", 0.0),
        PartState::Visible => ("k-visible", "visible", 3.0),
        PartState::Kept => ("k-kept", "kept", 0.8),
        PartState::Lost => ("k-lost", "lost", 0.8),
    };
    let (x, width, height) = (coordinate(x), coordinate(width), BAR - 2.0 * inset);
    let y = coordinate(top + inset);
    let _ = write!(
        out,
        r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"><title>bytes {from} to {to}: {word}</title></rect>"#
    );
    if state == PartState::Lost {
        let _ = write!(out, r#"<path class="k-cross" d="M{x} {y}l{width} {height}"/>"#);
    }
}
