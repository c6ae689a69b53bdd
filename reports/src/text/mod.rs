//! Text for a terminal: the verdict matrix with a summary, and the story of a finding.

use crate::facts::{facts, headline, totals};
use crate::format::{count, fit, number, plain, replay_line, seconds, wrap};
use crate::grid::{Grid, grids, medium_heading};
use crate::news;
use seawall_harness::record::{Cell, SoakRecord};
use seawall_harness::verdict::Verdict;
use std::fmt::Write as _;

pub use self::story::story;

mod story;

/// Spaces between two columns.
const GAP: usize = 2;
/// Maximum width of the column of faults. A fault given as rules can be long.
const FAULT_CHARS_MAX: usize = 40;
/// Maximum number of lines of a fault.
const FAULT_LINES_MAX: usize = 12;
/// Minimum width of the output. A narrower table is not legible.
const WIDTH_MIN: usize = 40;

/// The matrix, a summary, and the replay lines of unexpected cells; at most `width` columns wide unless a word is
/// longer. With `color` the verdicts have ANSI colours.
pub fn matrix(record: &SoakRecord, color: bool, width: usize) -> String {
    let mut out = String::new();
    let pen = Pen { has_color: color };
    let width = width.max(WIDTH_MIN);
    let grids = grids(record);
    for grid in &grids {
        if grids.len() > 1 {
            let _ = writeln!(out, "{}\n", pen.bold(&plain(&medium_heading(grid.medium))));
        }
        table(&mut out, grid, pen, width);
    }
    summary(&mut out, record, pen, width);
    replays(&mut out, record, pen);
    out
}

/// Adds ANSI colours to a text, or does not.
#[derive(Clone, Copy)]
struct Pen {
    has_color: bool,
}

impl Pen {
    fn ansi(self, code: &str, text: &str) -> String {
        if self.has_color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.ansi("1", text)
    }

    fn verdict(self, verdict: Verdict, text: &str) -> String {
        let code = match verdict {
            Verdict::NotMeasured => "2",
            Verdict::Survived => "32",
            Verdict::Degraded => "33",
            Verdict::FalseAlarm => "35",
            Verdict::Wedged => "34",
            Verdict::Lost => "31",
            Verdict::Corrupt => "1;31",
            Verdict::HarnessBroken => "7",
        };
        self.ansi(code, text)
    }
}

fn table(out: &mut String, grid: &Grid<'_>, pen: Pen, width: usize) {
    let room = FAULT_CHARS_MAX.min(width / 2);
    let faults: Vec<Vec<String>> = grid.rows.iter().map(|row| fit(row.fault, room, FAULT_LINES_MAX)).collect();
    let chars = |lines: &Vec<String>| lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let first = faults.iter().map(chars).max().unwrap_or(0).max("fault".len());
    let names: Vec<String> = grid.strategies.iter().map(|s| plain(s)).collect();
    let widths: Vec<usize> = (0..names.len())
        .map(|column| {
            let cells = grid.rows.iter().map(|r| cell_words(r.cells[column]).chars().count());
            cells.chain([names[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    for columns in blocks(&widths, width.saturating_sub(first)) {
        let mut line = format!("{:first$}", "fault");
        for &column in &columns {
            let _ = write!(line, "{:GAP$}{:2$}", "", names[column], widths[column]);
        }
        let _ = writeln!(out, "{}", pen.bold(line.trim_end()));
        for (row, fault) in grid.rows.iter().zip(&faults) {
            let mut fault = fault.iter();
            let mut line = format!("{:first$}", fault.next().map_or("", String::as_str));
            for &column in &columns {
                let words = format!("{:1$}", cell_words(row.cells[column]), widths[column]);
                let verdict = row.cells[column].map_or(Verdict::NotMeasured, |(_, c)| c.verdict);
                let kept = if columns.last() == Some(&column) { words.trim_end() } else { words.as_str() };
                let _ = write!(line, "{:GAP$}{}", "", pen.verdict(verdict, kept));
            }
            let _ = writeln!(out, "{line}");
            // Each further rule, or a part of a long one.
            for rest in fault {
                let _ = writeln!(out, "{rest}");
            }
        }
        out.push('\n');
    }
}

/// The columns in blocks that fit beside the faults. A column that is too wide has a block to itself.
fn blocks(widths: &[usize], room: usize) -> Vec<Vec<usize>> {
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    let mut used = 0;
    for (column, width) in widths.iter().enumerate() {
        match blocks.last_mut() {
            Some(block) if used + GAP + width <= room => block.push(column),
            _ => {
                blocks.push(vec![column]);
                used = 0;
            }
        }
        used += GAP + width;
    }
    blocks
}

fn cell_words(cell: Option<(usize, &Cell)>) -> String {
    let Some((_, cell)) = cell else { return "-".to_owned() };
    let mut words = cell.verdict.word().to_owned();
    if cell.lost > 0 {
        let _ = write!(words, " {}", number(cell.lost));
    }
    if !cell.as_expected {
        words.push_str(" !");
    }
    words
}

fn summary(out: &mut String, record: &SoakRecord, pen: Pen, width: usize) {
    let totals = totals(record);
    let interrupted = if record.interrupted { ", interrupted" } else { "" };
    for line in wrap(&headline(record), width) {
        let _ = writeln!(out, "{}", pen.bold(&line));
    }
    for fact in facts(record) {
        let mut lines = wrap(&format!("{} {}", fact.figure, fact.text), width - 4).into_iter();
        let first = lines.next().unwrap_or_default();
        let rest = first.strip_prefix(&fact.figure).unwrap_or_default();
        let _ = writeln!(out, "  {}{rest}", pen.verdict(fact.verdict, &fact.figure));
        for line in lines {
            let _ = writeln!(out, "    {line}");
        }
    }
    let figures = format!(
        "{}, {}, {}, {} fired; seed {}, SQLite {}, {}{interrupted}",
        count(totals.runs, "run"),
        count(totals.acked, "acknowledged transaction"),
        count(totals.calls, "call"),
        count(totals.faults_fired, "fault"),
        record.seed,
        record.sqlite,
        seconds(record.seconds),
    );
    for line in wrap(&figures, width) {
        let _ = writeln!(out, "{line}");
    }
}

fn replays(out: &mut String, record: &SoakRecord, pen: Pen) {
    let unexpected: Vec<&Cell> = record.matrix.iter().filter(|c| !c.as_expected).collect();
    if !unexpected.is_empty() {
        let _ = writeln!(out, "\n{}", pen.bold("! Not as expected"));
    }
    for cell in unexpected {
        finding(out, cell, pen);
    }
    // The largest loss during which all checks said ok: a reader may want to see it happen.
    let losses = record.matrix.iter().filter(|c| c.as_expected && c.lost > 0);
    if let Some(cell) = losses.max_by_key(|c| (c.lost_silently > 0, c.lost)) {
        let _ = writeln!(out, "\n{}", pen.bold("Replay a loss"));
        finding(out, cell, pen);
    }
}

fn finding(out: &mut String, cell: &Cell, pen: Pen) {
    let expected = news::expected(cell).map(|expected| format!(", expected {expected}"));
    let worse = news::worse(cell).map(|worse| format!(", {worse}"));
    let expected: String = expected.into_iter().chain(worse).collect();
    let _ = writeln!(
        out,
        "  {} under {} ({}): {}{}",
        plain(&cell.strategy),
        plain(&cell.fault),
        plain(&cell.medium),
        pen.verdict(cell.verdict, cell.verdict.word()),
        plain(&expected),
    );
    if let Some(finding) = cell.sample.as_ref().and_then(|run| run.findings.first()) {
        let _ = writeln!(out, "    {}: {}", plain(&finding.oracle), plain(&finding.detail));
    }
    let _ = writeln!(out, "    {}", replay_line(&cell.token));
}
