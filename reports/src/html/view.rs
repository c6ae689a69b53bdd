//! What the page's template shows, worked out: the template itself decides nothing.

use std::collections::HashSet;

use askama::Template;
use seawall_harness::record::{Cell, Finding, MarkKind, RuleRecord, RunRecord, SoakRecord, TimelineEvent};
use seawall_harness::verdict::Verdict;

use crate::facts::{facts, headline, totals};
use crate::grid::{Grid, distinct, grids, medium_words};
use crate::words::{count, cut, micros, number, plain, replay_line, seconds};
use crate::{look, svg};

/// Rows of the table that stands beside a timeline.
const EVENTS_MAX: usize = 40;

/// The whole page.
#[derive(Template)]
#[template(path = "soak.html")]
pub(super) struct Page {
    title: String,
    headline: String,
    lead: String,
    interrupted: bool,
    facts: Vec<FactView>,
    tables: Vec<Table>,
    legend: Vec<Meaning>,
    key: Vec<Mark>,
    sections: Vec<Section>,
    scratch: String,
    css: String,
    symbols: String,
}

struct FactView {
    figure: String,
    text: String,
    word: &'static str,
    anchor: Option<String>,
}

struct Table {
    caption: Option<String>,
    strategies: Vec<String>,
    rows: Vec<TableRow>,
}

struct TableRow {
    fault: String,
    anchor: String,
    cells: Vec<Option<Chip>>,
}

struct Chip {
    strategy: String,
    anchor: String,
    word: &'static str,
    lost: Option<String>,
    expected: Option<String>,
}

struct Meaning {
    word: &'static str,
    meaning: &'static str,
}

struct Mark {
    class: &'static str,
    shape: &'static str,
    word: &'static str,
}

/// A fault and all cells under it.
struct Section {
    fault: String,
    anchor: String,
    summary: String,
    cells: Vec<Detail>,
}

struct Detail {
    anchor: String,
    strategy: String,
    medium: Option<String>,
    word: &'static str,
    brief: String,
    expected: Option<String>,
    figures: Vec<(&'static str, String)>,
    shares: Vec<Share>,
    shares_words: String,
    errors: Vec<(String, String)>,
    replay: String,
    sample: Option<Sample>,
}

/// One verdict's part of a cell's runs, on a bar 1000 wide.
struct Share {
    word: &'static str,
    runs: String,
    x: u64,
    width: u64,
}

/// The run that a cell shows.
struct Sample {
    sentence: String,
    findings: Vec<Finding>,
    rules: Vec<RuleView>,
    timeline: String,
    events: Vec<EventView>,
    events_left_out: u64,
}

struct RuleView {
    rule: String,
    matched: String,
    fired: String,
    calls: String,
}

struct EventView {
    at: String,
    actor: String,
    kind: &'static str,
    label: String,
}

impl Page {
    pub(super) fn new(record: &SoakRecord) -> Self {
        let anchors = Anchors::new(record);
        let grids = grids(record);
        let css = [
            look::properties(":root"),
            look::verdict_classes(),
            svg::TIMELINE_STYLE.to_owned(),
            include_str!("../../templates/soak.css").to_owned(),
        ]
        .concat();
        Self {
            title: format!("seawall soak, seed {}", record.seed),
            headline: plain(&headline(record)),
            lead: lead(record),
            interrupted: record.interrupted,
            facts: facts(record).into_iter().map(|f| fact(f, &anchors)).collect(),
            tables: grids.iter().map(|g| table(g, grids.len() > 1, &anchors)).collect(),
            legend: legend(),
            key: svg::KEY.iter().map(|(_, class, shape, word)| Mark { class, shape, word }).collect(),
            sections: sections(record, &anchors, grids.len() > 1),
            scratch: plain(&record.scratch),
            css,
            symbols: look::symbols(),
        }
    }
}

/// What says something about a strategy first, mildest first; then what says nothing about it.
fn legend() -> Vec<Meaning> {
    let says_nothing = |v: &Verdict| matches!(v, Verdict::NotMeasured | Verdict::HarnessBroken);
    let mut verdicts = Verdict::ALL.to_vec();
    verdicts.sort_by_key(|v| (says_nothing(v), *v));
    verdicts.into_iter().map(|v| Meaning { word: v.word(), meaning: v.meaning() }).collect()
}

fn fact(fact: crate::facts::Fact, anchors: &Anchors) -> FactView {
    FactView {
        figure: fact.figure,
        text: plain(&fact.text),
        word: fact.tone.word(),
        anchor: fact.cell.map(|i| anchors.cells[i].clone()),
    }
}

fn lead(record: &SoakRecord) -> String {
    let totals = totals(record);
    let strategies = distinct(record.matrix.iter().map(|c| c.strategy.as_str())).len() as u64;
    let faults = distinct(record.matrix.iter().map(|c| c.fault.as_str())).len() as u64;
    plain(&format!(
        "{} of {} under {}, on unmodified SQLite {} ({}), from seed {}, in {}: {}, {}, {} injected. \
         Each acknowledged transaction was written down outside the database, and looked for afterwards.",
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

/// The names by which the page's parts are linked; each is unique.
struct Anchors {
    cells: Vec<String>,
    faults: Vec<(String, String)>,
}

impl Anchors {
    fn new(record: &SoakRecord) -> Self {
        let mut taken = HashSet::new();
        let faults = distinct(record.matrix.iter().map(|c| c.fault.as_str()));
        let faults = faults
            .into_iter()
            .map(|fault| (fault.to_owned(), unique(format!("fault-{}", slug(fault)), &mut taken)))
            .collect();
        let name = |c: &Cell| format!("{}-{}-{}", slug(&c.strategy), slug(&c.fault), slug(&c.medium));
        let cells = record.matrix.iter().map(|c| unique(name(c), &mut taken)).collect();
        Self { cells, faults }
    }

    fn fault(&self, fault: &str) -> String {
        self.faults.iter().find(|(name, _)| name == fault).map(|(_, anchor)| anchor.clone()).unwrap_or_default()
    }
}

fn unique(base: String, taken: &mut HashSet<String>) -> String {
    let mut name = base.clone();
    let mut n = 1_u32;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{base}-{n}");
    }
    name
}

fn slug(text: &str) -> String {
    let kept = text.chars().take(60).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    kept.collect()
}

fn table(grid: &Grid<'_>, several: bool, anchors: &Anchors) -> Table {
    let chip = |i: usize, c: &Cell| Chip {
        strategy: plain(&c.strategy),
        anchor: anchors.cells[i].clone(),
        word: c.verdict.word(),
        lost: (c.lost > 0).then(|| number(c.lost)),
        expected: unexpected(c),
    };
    Table {
        caption: several.then(|| plain(&medium_words(grid.medium))),
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

/// What was expected, if it is not what happened.
fn unexpected(cell: &Cell) -> Option<String> {
    (!cell.as_expected).then(|| plain(&cell.expected.replace('|', " or ")))
}

fn sections(record: &SoakRecord, anchors: &Anchors, several: bool) -> Vec<Section> {
    anchors
        .faults
        .iter()
        .map(|(fault, anchor)| {
            let cells = || record.matrix.iter().enumerate().filter(|(_, c)| c.fault == *fault);
            Section {
                fault: plain(fault),
                anchor: anchor.clone(),
                summary: cells().next().map(|(_, c)| plain(&c.fault_summary)).unwrap_or_default(),
                cells: cells().map(|(i, c)| detail(c, anchors.cells[i].clone(), several)).collect(),
            }
        })
        .collect()
}

fn detail(cell: &Cell, anchor: String, several: bool) -> Detail {
    let shares = shares(cell);
    let words: Vec<String> = shares.iter().map(|s| format!("{} {}", s.word, s.runs)).collect();
    let brief = match cell.lost {
        0 => count(cell.runs, "run"),
        lost => format!("{} lost in {}", number(lost), count(cell.runs, "run")),
    };
    Detail {
        anchor,
        strategy: plain(&cell.strategy),
        medium: several.then(|| plain(&cell.medium)),
        word: cell.verdict.word(),
        brief,
        expected: unexpected(cell),
        figures: figures(cell),
        shares,
        shares_words: format!("Runs by verdict: {}", words.join(", ")),
        errors: cell.errors.iter().map(|e| (number(e.count), plain(&e.message))).collect(),
        replay: replay_line(&cell.token),
        sample: cell.sample.as_ref().map(sample),
    }
}

fn figures(cell: &Cell) -> Vec<(&'static str, String)> {
    [
        ("runs", cell.runs),
        ("acknowledged", cell.acked),
        ("lost", cell.lost),
        ("runs that lost silently", cell.lost_silently),
        ("corrupt runs", cell.corrupt),
        ("refused", cell.refused),
        ("outcome unknown", cell.indeterminate),
        ("faults fired", cell.faults_fired),
        ("calls", cell.calls),
        ("database opens", cell.opens),
        ("schema inits", cell.schema_inits),
    ]
    .map(|(name, value)| (name, number(value)))
    .to_vec()
}

/// Worst first, as on the page's legend. A verdict of one run in a million is still seen: no part is thinner than 6.
fn shares(cell: &Cell) -> Vec<Share> {
    const THIN: u64 = 6;
    let present: Vec<_> = cell.verdicts.iter().rev().filter(|(_, n)| **n > 0).collect();
    let total: u64 = present.iter().map(|(_, n)| **n).sum();
    let room = 1000 - THIN * present.len() as u64;
    let mut x = 0;
    let mut shares = Vec::with_capacity(present.len());
    for (verdict, runs) in present {
        let width = THIN + (room as f64 * *runs as f64 / total as f64) as u64;
        shares.push(Share { word: verdict.word(), runs: number(*runs), x, width });
        x += width;
    }
    if let Some(last) = shares.last_mut() {
        last.width = 1000 - last.x;
    }
    shares
}

fn sample(run: &RunRecord) -> Sample {
    let (events, events_left_out) = events(run);
    Sample {
        sentence: sentence(run),
        findings: run.findings.iter().map(clean).collect(),
        rules: run.rules.iter().map(rule).collect(),
        timeline: svg::timeline_inline(run),
        events,
        events_left_out,
    }
}

fn clean(finding: &Finding) -> Finding {
    Finding { oracle: plain(&finding.oracle), verdict: finding.verdict, detail: plain(&finding.detail) }
}

fn sentence(run: &RunRecord) -> String {
    let Topology { processes, threads, schedule } = Topology::of(run);
    let c = &run.counts;
    let integrity = if run.integrity_ok { "every integrity check said ok" } else { "an integrity check complained" };
    let kills = match c.kills {
        0 => String::new(),
        n => format!(", {} in {}", count(n, "kill"), count(c.starts, "process start")),
    };
    let digest = run.trace_digest.as_ref().map(|d| format!(" Trace digest {d}.")).unwrap_or_default();
    plain(&format!(
        "{processes} with {threads} each, {schedule}, seed {}: {} acknowledged, {} refused, {} of unknown outcome, {} lost, {}, \
         {}{kills}. At the end {integrity}.{digest}",
        run.seed,
        number(c.acked),
        number(c.refused),
        number(c.indeterminate),
        number(c.lost),
        count(c.reads, "read"),
        count(c.calls, "call"),
    ))
}

/// A topology in words.
struct Topology {
    processes: String,
    threads: String,
    schedule: String,
}

impl Topology {
    fn of(run: &RunRecord) -> Self {
        let t = &run.topology;
        Self {
            processes: count(t.processes.into(), "process"),
            threads: count(t.threads.into(), "thread"),
            schedule: match t.schedule.as_str() {
                "sequential" => "one at a time".to_owned(),
                other => other.to_owned(),
            },
        }
    }
}

fn rule(rule: &RuleRecord) -> RuleView {
    let calls: Vec<String> = rule.fired_at.iter().map(|n| number(*n)).collect();
    let more = if rule.fired > rule.fired_at.len() as u64 { ", …" } else { "" };
    RuleView {
        rule: plain(&rule.rule),
        matched: number(rule.matched),
        fired: number(rule.fired),
        calls: if calls.is_empty() { "–".to_owned() } else { format!("{}{more}", calls.join(", ")) },
    }
}

/// What a reader of the timeline looks for, in order of time; the less telling kinds give way first.
fn events(run: &RunRecord) -> (Vec<EventView>, u64) {
    let mut told: Vec<&TimelineEvent> = run.timeline.iter().filter(|e| rank(e.kind).is_some()).collect();
    let all = told.len();
    told.sort_by_key(|e| (rank(e.kind), e.at_us));
    told.truncate(EVENTS_MAX);
    told.sort_by_key(|e| e.at_us);
    let view = |e: &TimelineEvent| EventView {
        at: micros(e.at_us),
        actor: plain(&e.actor),
        kind: svg::KEY.iter().find(|(kind, ..)| *kind == e.kind).map_or("", |(_, _, _, word)| word),
        label: cut(&plain(&e.label), 160),
    };
    (told.iter().map(|e| view(e)).collect(), (all - told.len()) as u64)
}

const fn rank(kind: MarkKind) -> Option<u8> {
    match kind {
        MarkKind::Kill | MarkKind::Heal => Some(0),
        MarkKind::Fault => Some(1),
        MarkKind::Indeterminate => Some(2),
        MarkKind::Refused => Some(3),
        MarkKind::Start => Some(4),
        MarkKind::Commit => Some(5),
        MarkKind::Read | MarkKind::Call => None,
    }
}
