//! The fields of the page of a soak. The template only places them.

use self::anchors::Anchors;
use self::cell::Detail;
use super::head::Head;
use crate::facts::{Fact, facts, headline, totals};
use crate::format::{count, number, plain, seconds};
use crate::grid::{Grid, distinct, grids, medium_heading};
use crate::news;
use crate::svg;
use askama::Template;
use seawall_harness::record::{Cell, SoakRecord};
use seawall_harness::verdict::Verdict;

mod anchors;
mod cell;
mod run;

/// The whole page.
#[derive(Template)]
#[template(path = "soak.html")]
pub(super) struct Page {
    head: Head,
    is_interrupted: bool,
    facts: Vec<LinkedFact>,
    tables: Vec<Table>,
    legend: Vec<LegendEntry>,
    key: &'static [svg::Mark],
    sections: Vec<Section>,
    scratch: String,
}

/// A fact with the anchor of the cell that shows it best.
struct LinkedFact {
    figure: String,
    text: String,
    word: &'static str,
    anchor: Option<String>,
}

/// The matrix of one medium.
struct Table {
    caption: Option<String>,
    strategies: Vec<String>,
    rows: Vec<TableRow>,
}

/// The cells of one fault.
struct TableRow {
    fault: String,
    anchor: String,
    cells: Vec<Option<Chip>>,
}

/// A cell of the matrix.
struct Chip {
    strategy: String,
    anchor: String,
    word: &'static str,
    lost: Option<String>,
    expected: Option<String>,
    worse: Option<String>,
}

/// A verdict and its meaning.
struct LegendEntry {
    word: &'static str,
    meaning: &'static str,
}

/// The details of all cells of a fault.
struct Section {
    fault: String,
    anchor: String,
    summary: String,
    cells: Vec<Detail>,
}

impl Page {
    pub(super) fn from_record(record: &SoakRecord) -> Self {
        let anchors = Anchors::from_record(record);
        let grids = grids(record);
        let has_media = grids.len() > 1;
        let title = format!("seawall soak, seed {}", record.seed);
        Self {
            head: Head::new(title, plain(&headline(record)), lead(record), &[svg::MARKS_STYLE]),
            is_interrupted: record.interrupted,
            facts: facts(record).into_iter().map(|f| linked(f, &anchors)).collect(),
            tables: grids.iter().map(|g| table(g, has_media, &anchors)).collect(),
            legend: legend(),
            key: &svg::MARKS,
            sections: sections(record, &anchors, has_media),
            scratch: plain(&record.scratch),
        }
    }
}

/// Verdicts about a strategy first, the mildest on top, then those that say nothing about it.
fn legend() -> Vec<LegendEntry> {
    let says_nothing = |v: &Verdict| matches!(v, Verdict::NotMeasured | Verdict::HarnessBroken);
    let mut verdicts = Verdict::ALL.to_vec();
    verdicts.sort_by_key(|v| (says_nothing(v), *v));
    verdicts.into_iter().map(|v| LegendEntry { word: v.word(), meaning: v.meaning() }).collect()
}

fn linked(fact: Fact, anchors: &Anchors) -> LinkedFact {
    LinkedFact {
        figure: fact.figure,
        text: plain(&fact.text),
        word: fact.verdict.word(),
        anchor: fact.cell.map(|i| anchors.cells[i].clone()),
    }
}

fn lead(record: &SoakRecord) -> String {
    let totals = totals(record);
    let strategies = distinct(record.matrix.iter().map(|c| c.strategy.as_str())).len() as u64;
    let faults = distinct(record.matrix.iter().map(|c| c.fault.as_str())).len() as u64;
    plain(&format!(
        "{} of {} under {}, on unmodified SQLite {} ({}), from seed {}, in {}: {}, {}, {} injected. \
         Each acknowledged transaction was recorded outside the database and looked up afterwards.",
        count(totals.runs, "run"),
        count(strategies, "connection strategy"),
        count(faults, "fault"),
        record.sqlite,
        record.platform,
        record.seed,
        seconds(record.seconds),
        count(totals.acked, "acknowledged transaction"),
        count(totals.calls, "file system call"),
        count(totals.faults_fired, "fault"),
    ))
}

fn table(grid: &Grid<'_>, has_media: bool, anchors: &Anchors) -> Table {
    let chip = |i: usize, c: &Cell| Chip {
        strategy: plain(&c.strategy),
        anchor: anchors.cells[i].clone(),
        word: c.verdict.word(),
        lost: (c.lost > 0).then(|| number(c.lost)),
        expected: unexpected(c),
        worse: news::worse(c),
    };
    Table {
        caption: has_media.then(|| plain(&medium_heading(grid.medium))),
        strategies: grid.strategies.iter().map(|s| plain(s)).collect(),
        rows: grid
            .rows
            .iter()
            .map(|row| TableRow {
                fault: plain(row.fault),
                anchor: anchors.fault(row.fault),
                cells: row.cells.iter().map(|cell| cell.map(|(i, c)| chip(i, c))).collect(),
            })
            .collect(),
    }
}

/// The expected verdicts, if the verdict is not among them.
fn unexpected(cell: &Cell) -> Option<String> {
    news::expected(cell).map(|expected| plain(&expected.replace('|', " or ")))
}

fn sections(record: &SoakRecord, anchors: &Anchors, has_media: bool) -> Vec<Section> {
    let section = |(fault, anchor): &(String, String)| {
        let cells = || record.matrix.iter().enumerate().filter(|(_, c)| c.fault == *fault);
        Section {
            fault: plain(fault),
            anchor: anchor.clone(),
            summary: cells().next().map(|(_, c)| plain(&c.fault_summary)).unwrap_or_default(),
            cells: cells().map(|(i, c)| Detail::from_cell(c, anchors.cells[i].clone(), has_media)).collect(),
        }
    };
    anchors.faults.iter().map(section).collect()
}
