//! The fields of the page of power cuts.

use super::head::Head;
use crate::format::{count, number, plain, replay_line};
use crate::svg;
use askama::Template;
use seawall_harness::record::{DiskStep, DiskStepKind, LosingRun, PowerCell, PowerRecord};
use seawall_harness::verdict::Verdict;

/// The whole page.
#[derive(Template)]
#[template(path = "power.html")]
pub(super) struct Page {
    head: Head,
    columns: Vec<String>,
    rows: Vec<Row>,
    cells: Vec<Cell>,
    key: [(&'static str, &'static str); 4],
}

/// A row of the table.
struct Row {
    name: String,
    chips: Vec<Option<Chip>>,
}

/// A cell of the table.
struct Chip {
    column: String,
    word: &'static str,
    lost: Option<String>,
    is_news: bool,
    anchor: String,
}

/// The details of a cell.
struct Cell {
    name: String,
    word: &'static str,
    anchor: String,
    expected: Option<&'static str>,
    brief: String,
    figures: Vec<(&'static str, String)>,
    losing: Option<Losing>,
}

struct Losing {
    finding: String,
    picture: String,
    omitted: Option<String>,
    steps: Vec<Step>,
    replay: String,
}

struct Step {
    number: u64,
    actor: Option<String>,
    text: String,
    is_code: bool,
    class: &'static str,
}

impl Page {
    pub(super) fn from_record(record: &PowerRecord) -> Self {
        let (mut rows, mut columns): (Vec<String>, Vec<String>) = Default::default();
        for cell in &record.cells {
            if !rows.contains(&cell.row) {
                rows.push(cell.row.clone());
            }
            if !columns.contains(&cell.column) {
                columns.push(cell.column.clone());
            }
        }
        let row = |name: String| {
            let find =
                |column: &String| record.cells.iter().position(|cell| cell.row == name && cell.column == *column);
            let chips = columns.iter().map(|column| find(column).map(|nth| chip(nth, &record.cells[nth]))).collect();
            Row { name: plain(&name), chips }
        };
        let title = format!("seawall power cuts: SQLite {}", plain(&record.sqlite));
        let styles = [svg::DISK_STYLE, include_str!("../../templates/story.css")];
        Self {
            head: Head::new(title, headline(record), lead(record), &styles),
            rows: rows.into_iter().map(row).collect(),
            cells: record.cells.iter().enumerate().map(|(nth, cell)| details(nth, cell)).collect(),
            columns: columns.iter().map(|column| plain(column)).collect(),
            key: svg::disk_key(),
        }
    }
}

fn headline(record: &PowerRecord) -> String {
    let of = |verdict: Verdict| record.cells.iter().filter(|cell| cell.verdict == verdict).count() as u64;
    let news = record.cells.iter().filter(|cell| is_news(cell)).count() as u64;
    let words = [Verdict::Survived, Verdict::Lost, Verdict::Corrupt].map(|verdict| (of(verdict), verdict.word()));
    let words: Vec<String> =
        words.iter().filter(|(cells, _)| *cells > 0).map(|(cells, word)| format!("{cells} {word}")).collect();
    let worse = if news == 0 { "none worse than predicted".to_owned() } else { format!("{news} worse than predicted") };
    format!("{} with the power cut: {}; {worse}", count(record.cells.len() as u64, "cell"), words.join(", "))
}

fn lead(record: &PowerRecord) -> String {
    let distinct: u64 = record.cells.iter().map(|cell| cell.distinct).sum();
    format!(
        "SQLite {} on a simulated disk ({}), seed {}. {} of what the disk may hold after a cut, each opened by a fresh process.",
        plain(&record.sqlite),
        plain(&record.device),
        record.seed,
        count(distinct, "distinct image"),
    )
}

fn is_news(cell: &PowerCell) -> bool {
    cell.verdict > cell.expected
}

fn name(cell: &PowerCell) -> String {
    plain(&format!("{} {}", cell.row, cell.column)).trim_end().to_owned()
}

fn chip(nth: usize, cell: &PowerCell) -> Chip {
    Chip {
        column: plain(&cell.column),
        word: cell.verdict.word(),
        lost: (cell.lost_commits_max > 0).then(|| number(cell.lost_commits_max.into())),
        is_news: is_news(cell),
        anchor: format!("cell-{nth}"),
    }
}

fn details(nth: usize, cell: &PowerCell) -> Cell {
    Cell {
        name: name(cell),
        word: cell.verdict.word(),
        anchor: format!("cell-{nth}"),
        expected: is_news(cell).then(|| cell.expected.word()),
        brief: count(cell.distinct, "image"),
        figures: vec![
            ("cuts", number(cell.cuts)),
            ("images", number(cell.images)),
            ("distinct images", number(cell.distinct)),
            ("with commits lost", number(cell.lost)),
            ("commits lost at most", number(cell.lost_commits_max.into())),
            ("corrupt", number(cell.corrupt)),
            ("as after no commit", number(cell.torn)),
        ],
        losing: cell.losing.as_ref().map(losing),
    }
}

fn losing(run: &LosingRun) -> Losing {
    Losing {
        finding: format!("{} ({}): {}", plain(&run.finding.oracle), run.finding.verdict, plain(&run.finding.detail)),
        picture: svg::disk_inline(run),
        omitted: (run.omitted > 0).then(|| count(run.omitted, "earlier step")),
        steps: (run.omitted + 1..).zip(&run.steps).map(step).collect(),
        replay: replay_line(&run.replay),
    }
}

fn step((number, step): (u64, &DiskStep)) -> Step {
    Step {
        number,
        actor: step.actor.as_deref().map(plain),
        text: plain(&step.text),
        is_code: step.kind == DiskStepKind::Statement,
        class: match step.kind {
            DiskStepKind::Commit => "v-survived",
            DiskStepKind::Cut => "v-lost",
            _ => "",
        },
    }
}
