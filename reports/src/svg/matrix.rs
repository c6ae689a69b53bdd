//! The verdict matrix as one picture.

use super::FONT;
use crate::facts::{headline, totals};
use crate::format::{count, cut, number, plain, wrap, xml};
use crate::grid::{Grid, grids, medium_heading};
use seawall_harness::picture::theme;
use seawall_harness::record::{Cell, SoakRecord};
use std::fmt::Write as _;

const MARGIN: f64 = 24.0;
const ROW: f64 = 30.0;
/// Baseline of the first line of the headline, distance of its lines, and from the last one to the first grid.
const HEAD: f64 = 38.0;
const HEAD_LINE: f64 = 27.0;
const HEAD_FOOT: f64 = 46.0;
/// Width of a character of the headline in pixels.
const HEAD_CHAR: f64 = 12.4;
const GRID_HEAD: f64 = 34.0;
const MEDIUM: f64 = 34.0;
const FOOT: f64 = 40.0;
const FAULT_CHARS_MAX: usize = 30;
/// Width of a character of the 13 pixel text in pixels, at the upper end because the reader's font is unknown.
const CHAR: f64 = 7.6;
const COLUMN_MIN: f64 = 128.0;

const STYLE: &str = "\
.paper{fill:var(--paper)}.edge{fill:none;stroke:var(--rule)}.line{stroke:var(--rule)}\
.h{fill:var(--ink);font-size:20px;font-weight:600}.p{fill:var(--muted);font-size:13px}\
.s{fill:var(--ink);font-size:13px;font-weight:600}.f{fill:var(--ink);font-size:13px}\
.w{font-size:13px;fill:var(--vi)}.n{font-size:13px;fill:var(--vi);font-weight:600}.c{fill:var(--vg)}.g{color:var(--vi)}\
.v-not-measured .c{stroke:var(--rule)}.news{fill:none;stroke:var(--news);stroke-width:2}";

/// The matrix as a picture that follows the reader's colour scheme.
pub fn matrix(record: &SoakRecord) -> String {
    let grids = grids(record);
    let layout = Layout::from_grids(&grids);
    let mut body = String::new();
    let mut y = heading(&mut body, record, layout.width);
    for grid in &grids {
        if grids.len() > 1 {
            let medium = xml(&medium_heading(grid.medium));
            let _ = write!(body, r#"<text class="s" x="{MARGIN}" y="{}">{medium}</text>"#, y + 20.0);
            y += MEDIUM;
        }
        y = layout.grid(&mut body, grid, y);
    }
    let (width, height) = (layout.width, y + FOOT);
    let totals = totals(record);
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="title desc" font-family="{FONT}"><title id="title">{}</title><desc id="desc">{}</desc><style>{}{}{STYLE}</style><defs>{}</defs><rect class="paper" width="100%" height="100%" rx="10"/><rect class="edge" x=".5" y=".5" width="{}" height="{}" rx="10"/>"#,
        xml(&headline(record)),
        xml(&description(&grids)),
        theme::properties("svg"),
        theme::verdict_classes(),
        theme::symbols(),
        width - 1.0,
        height - 1.0,
    );
    out.push_str(&body);
    let _ = write!(
        out,
        r#"<text class="p" x="{MARGIN}" y="{}">{} · {} · seed {} · SQLite {}{}</text></svg>"#,
        height - 16.0,
        count(totals.runs, "run"),
        count(totals.faults_fired, "fault"),
        record.seed,
        xml(&record.sqlite),
        if record.matrix.iter().any(|c| !c.as_expected) { " · framed, with !: not as expected" } else { "" },
    );
    out.push('\n');
    out
}

/// Draws the headline in as many lines as it needs, and the caption. Returns the top of the first grid.
fn heading(out: &mut String, record: &SoakRecord, width: f64) -> f64 {
    let mut y = HEAD;
    let lines = wrap(&headline(record), ((width - 2.0 * MARGIN) / HEAD_CHAR) as usize);
    for line in &lines {
        let _ = write!(out, r#"<text class="h" x="{MARGIN}" y="{y}">{}</text>"#, xml(line));
        y += HEAD_LINE;
    }
    let _ = write!(
        out,
        r#"<text class="p" x="{MARGIN}" y="{}">Worst verdict of each strategy under each fault, and the acknowledged transactions it lost</text>"#,
        y - 3.0
    );
    y - HEAD_LINE + HEAD_FOOT
}

/// The picture in words.
fn description(grids: &[Grid<'_>]) -> String {
    let mut out = String::new();
    for grid in grids {
        for row in &grid.rows {
            let cells = row.cells.iter().flatten().map(|(_, c)| format!("{} {}", c.strategy, words(c)));
            let _ = write!(out, "{} ({}): {}. ", row.fault, grid.medium, cells.collect::<Vec<_>>().join(", "));
        }
    }
    out.trim_end().to_owned()
}

fn words(cell: &Cell) -> String {
    let lost = if cell.lost > 0 { format!(" {}", number(cell.lost)) } else { String::new() };
    format!("{}{lost}{}", cell.verdict, if cell.as_expected { "" } else { " (not as expected)" })
}

struct Layout {
    /// Width of the column of faults.
    first: f64,
    /// Width of each of the other columns.
    column: f64,
    width: f64,
}

impl Layout {
    fn from_grids(grids: &[Grid<'_>]) -> Self {
        let faults = grids.iter().flat_map(|g| &g.rows).map(|r| r.fault.chars().count().min(FAULT_CHARS_MAX));
        let first = faults.max().unwrap_or(0) as f64 * CHAR + 20.0;
        let columns_max = grids.iter().map(|g| g.strategies.len()).max().unwrap_or(0);
        let names = grids.iter().flat_map(|g| &g.strategies).map(|s| s.chars().count());
        let cells = grids.iter().flat_map(|g| &g.rows).flat_map(|r| r.cells.iter().flatten());
        let chars = cells.map(|(_, c)| c.verdict.word().len() + number(c.lost).len() + 5).chain(names).max();
        let column = chars.map_or(0.0, |chars| chars as f64 * CHAR + 20.0).max(COLUMN_MIN);
        let width = (2.0 * MARGIN + first + column * columns_max as f64).max(640.0).ceil();
        Self { first, column, width }
    }

    /// Draws one grid from `y` on and returns its bottom.
    fn grid(&self, out: &mut String, grid: &Grid<'_>, mut y: f64) -> f64 {
        let x = |column: usize| MARGIN + self.first + self.column * column as f64;
        for (i, name) in grid.strategies.iter().enumerate() {
            let _ = write!(out, r#"<text class="s" x="{}" y="{}">{}</text>"#, x(i) + 8.0, y + 20.0, xml(name));
        }
        y += GRID_HEAD;
        for row in &grid.rows {
            let _ = write!(
                out,
                r#"<path class="line" d="M{MARGIN} {y}H{}"/><text class="f" x="{MARGIN}" y="{}">{}</text>"#,
                self.width - MARGIN,
                y + 20.0,
                xml(&cut(&plain(row.fault), FAULT_CHARS_MAX))
            );
            for (i, cell) in row.cells.iter().enumerate() {
                if let Some((_, cell)) = cell {
                    chip(out, cell, x(i), y + 2.0, self.column - 8.0);
                }
            }
            y += ROW;
        }
        y
    }
}

fn chip(out: &mut String, cell: &Cell, x: f64, y: f64, width: f64) {
    let word = cell.verdict.word();
    let height = ROW - 4.0;
    let _ = write!(
        out,
        r##"<g class="v-{word}" transform="translate({x} {y})"><rect class="c" width="{width}" height="{height}" rx="5"/><use class="g" href="#g-{word}" x="8" y="6" width="14" height="14"/><text class="w" x="28" y="18">{word}{}</text>"##,
        if cell.as_expected { "" } else { " !" },
    );
    if cell.lost > 0 {
        let _ =
            write!(out, r#"<text class="n" x="{}" y="18" text-anchor="end">{}</text>"#, width - 9.0, number(cell.lost));
    }
    if !cell.as_expected {
        let _ = write!(
            out,
            r#"<rect class="news" x="1" y="1" width="{}" height="{}" rx="4.5"/>"#,
            width - 2.0,
            height - 2.0
        );
    }
    out.push_str("</g>");
}
