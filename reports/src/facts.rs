//! The result of a soak in a few sentences, each with its figure.

use crate::format::{count, figure, list, number};
use crate::grid::distinct;
use crate::news;
use seawall_harness::record::{Cell, SoakRecord};
use seawall_harness::verdict::Verdict;

/// The least ratio of the open rates of two strategies that is worth a sentence.
const OPENS_RATIO_MIN: f64 = 10.0;
/// Maximum number of strategies that one sentence names. If there are more, it gives their number.
const NAMES_MAX: usize = 3;

/// A sentence that begins with a figure.
pub(crate) struct Fact {
    /// The figure, formatted.
    pub(crate) figure: String,
    /// The rest of the sentence.
    pub(crate) text: String,
    /// The verdict that determines the colour.
    pub(crate) verdict: Verdict,
    /// Position in the record of the cell that shows the fact best.
    pub(crate) cell: Option<usize>,
}

/// Sums over a whole record.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) runs: u64,
    pub(crate) acked: u64,
    pub(crate) lost: u64,
    pub(crate) corrupt: u64,
    pub(crate) calls: u64,
    pub(crate) faults_fired: u64,
}

/// The cells of one strategy and their sums.
struct StrategyTotals<'a> {
    name: &'a str,
    cells: Vec<(usize, &'a Cell)>,
    runs: u64,
    acked: u64,
    lost: u64,
    lost_silently: u64,
    corrupt: u64,
}

impl StrategyTotals<'_> {
    /// The number of faults under which a cell of the strategy matches. A fault on two media counts once.
    fn faults(&self, matches: impl Fn(&Cell) -> bool) -> u64 {
        distinct(self.cells.iter().filter(|(_, c)| matches(c)).map(|(_, c)| c.fault.as_str())).len() as u64
    }

    fn is_intact(&self) -> bool {
        self.acked > 0 && self.lost == 0 && self.corrupt == 0
    }

    /// The cell with the largest value, unless all are 0.
    fn cell_with_most(&self, value: impl Fn(&Cell) -> u64) -> Option<usize> {
        self.cells.iter().filter(|(_, c)| value(c) > 0).max_by_key(|(i, c)| (value(c), usize::MAX - i)).map(|(i, _)| *i)
    }
}

/// The sums over the record.
pub(crate) fn totals(record: &SoakRecord) -> Totals {
    let mut totals = Totals::default();
    for cell in &record.matrix {
        totals.runs += cell.runs;
        totals.acked += cell.acked;
        totals.lost += cell.lost;
        totals.corrupt += cell.corrupt;
        totals.calls += cell.calls;
        totals.faults_fired += cell.faults_fired;
    }
    totals
}

fn strategies(record: &SoakRecord) -> Vec<StrategyTotals<'_>> {
    let names = distinct(record.matrix.iter().map(|c| c.strategy.as_str()));
    let of = |name| record.matrix.iter().enumerate().filter(move |(_, c)| c.strategy == name);
    let sum = |name, value: fn(&Cell) -> u64| of(name).map(|(_, c)| value(c)).sum();
    names
        .into_iter()
        .map(|name| StrategyTotals {
            name,
            cells: of(name).collect(),
            runs: sum(name, |c| c.runs),
            acked: sum(name, |c| c.acked),
            lost: sum(name, |c| c.lost),
            lost_silently: sum(name, |c| c.lost_silently),
            corrupt: sum(name, |c| c.corrupt),
        })
        .collect()
}

/// The sentence at the top.
pub(crate) fn headline(record: &SoakRecord) -> String {
    let all = strategies(record);
    let intact: Vec<_> = all.iter().filter(|s| s.is_intact()).map(|s| s.name).collect();
    let runs: u64 = all.iter().map(|s| s.runs).sum();
    let none = match intact.len() {
        0 => String::new(),
        1..=NAMES_MAX => format!(" {} lost none.", list(&intact)),
        n => format!(" {n} other strategies lost none."),
    };
    if let Some(worst) = all.iter().filter(|s| s.lost > 0).max_by_key(|s| s.lost) {
        return format!("{} lost {}.{none}", worst.name, count(worst.lost, "acknowledged transaction"));
    }
    if let Some(worst) = all.iter().filter(|s| s.corrupt > 0).max_by_key(|s| s.corrupt) {
        return format!("{} left a corrupt database in {}.", worst.name, count(worst.corrupt, "run"));
    }
    if intact.is_empty() {
        return "Nothing was measured.".to_owned();
    }
    format!("No acknowledged transaction was lost in {}.", count(runs, "run"))
}

/// The most important results, the worst first.
pub(crate) fn facts(record: &SoakRecord) -> Vec<Fact> {
    let all = strategies(record);
    let mut facts = Vec::new();
    let mut losers: Vec<_> = all.iter().filter(|s| s.lost > 0).collect();
    losers.sort_by_key(|s| u64::MAX - s.lost);
    facts.extend(losers.into_iter().map(losses));
    facts.extend(all.iter().filter(|s| s.corrupt > 0).map(corruptions));
    facts.extend(intact(&all));
    for (verdict, predicate) in [
        (Verdict::FalseAlarm, "declared a healthy database corrupt"),
        (Verdict::Wedged, "made no progress after the faults healed"),
        (Verdict::HarnessBroken, "ended without a verdict because the lab itself failed"),
    ] {
        facts.extend(all.iter().filter_map(|s| runs_that(s, verdict, predicate)));
    }
    facts.extend(worse_than_plain(record));
    facts.extend(opens(&all));
    facts.extend(expectations(record));
    facts
}

fn losses(s: &StrategyTotals<'_>) -> Fact {
    let silent = match s.lost_silently {
        0 => String::new(),
        n => format!("; in {} all integrity checks said ok", count(n, "run")),
    };
    Fact {
        figure: number(s.lost),
        text: format!(
            "acknowledged transactions lost by {}, under {} of {}{silent}",
            s.name,
            number(s.faults(|c| c.lost > 0)),
            count(s.faults(|_| true), "fault"),
        ),
        verdict: Verdict::Lost,
        cell: s.cell_with_most(|c| c.lost),
    }
}

fn corruptions(s: &StrategyTotals<'_>) -> Fact {
    Fact {
        figure: number(s.corrupt),
        text: format!("of {} left {}'s database corrupt", count(s.runs, "run"), s.name),
        verdict: Verdict::Corrupt,
        cell: s.cell_with_most(|c| c.corrupt),
    }
}

/// One sentence for each strategy without loss or corruption, or one for all of them if they are many.
fn intact(all: &[StrategyTotals<'_>]) -> Vec<Fact> {
    let intact: Vec<_> = all.iter().filter(|s| s.is_intact()).collect();
    let fact = |names: &str, of: &[&StrategyTotals<'_>], more: &str| Fact {
        figure: "0".to_owned(),
        text: format!(
            "lost and 0 corrupt for {names} in {} with {}{more}",
            count(of.iter().map(|s| s.runs).sum(), "run"),
            count(of.iter().map(|s| s.acked).sum(), "acknowledged transaction"),
        ),
        verdict: Verdict::Survived,
        cell: None,
    };
    if intact.len() > NAMES_MAX {
        let names: Vec<_> = intact.iter().map(|s| s.name).collect();
        return vec![fact(&list(&names), &intact, "")];
    }
    let degraded = |s: &StrategyTotals<'_>| match s.faults(|c| c.verdict == Verdict::Degraded) {
        0 => String::new(),
        n => format!("; it refused some service, or its log grew too large, under {}", count(n, "fault")),
    };
    intact.into_iter().map(|s| fact(s.name, &[s], &degraded(s))).collect()
}

fn runs_that(s: &StrategyTotals<'_>, verdict: Verdict, predicate: &str) -> Option<Fact> {
    let runs_of = |c: &Cell| c.verdicts.get(&verdict).copied().unwrap_or(0);
    let runs: u64 = s.cells.iter().map(|(_, c)| runs_of(c)).sum();
    let cell = s.cell_with_most(runs_of)?;
    let noun = if runs == 1 { "run" } else { "runs" };
    let text = format!("{noun} of {} {predicate}, under {}", s.name, count(s.faults(|c| runs_of(c) > 0), "fault"));
    Some(Fact { figure: number(runs), text, verdict, cell: Some(cell) })
}

/// The cost that no integrity check shows: opens of the database file per transaction. Recovery from a fault needs
/// opens too, so only cells in which no fault fired count.
fn opens(all: &[StrategyTotals<'_>]) -> Option<Fact> {
    let faultless = |s: &StrategyTotals<'_>, value: fn(&Cell) -> u64| -> u64 {
        s.cells.iter().filter(|(_, c)| c.faults_fired == 0).map(|(_, c)| value(c)).sum()
    };
    let rate = |s: &StrategyTotals<'_>| faultless(s, |c| c.opens) as f64 / faultless(s, |c| c.acked) as f64;
    let measured = || all.iter().filter(|s| faultless(s, |c| c.acked) > 0 && faultless(s, |c| c.opens) > 0);
    let most = measured().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let least = measured().min_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let ratio = rate(most) / rate(least);
    (ratio >= OPENS_RATIO_MIN).then(|| Fact {
        figure: format!("{}×", figure(ratio)),
        text: format!(
            "as many opens of the database file per transaction in {} as in {}, without faults",
            most.name, least.name
        ),
        verdict: Verdict::Degraded,
        cell: most.cell_with_most(|c| c.opens),
    })
}

fn worse_than_plain(record: &SoakRecord) -> Option<Fact> {
    let worse: Vec<usize> = (0..record.matrix.len()).filter(|i| record.matrix[*i].worse_than_plain.is_some()).collect();
    let first = worse.first()?;
    let noun = if worse.len() == 1 { "cell" } else { "cells" };
    Some(Fact {
        figure: number(worse.len() as u64),
        text: format!("{noun} in which the layer did worse than plain SQLite"),
        verdict: record.matrix[*first].verdict,
        cell: Some(*first),
    })
}

fn expectations(record: &SoakRecord) -> Option<Fact> {
    let unexpected: Vec<usize> =
        (0..record.matrix.len()).filter(|i| news::expected(&record.matrix[*i]).is_some()).collect();
    let all = record.matrix.len() as u64;
    let cells = count(all, "cell");
    match unexpected.first() {
        None if all == 0 => None,
        None => Some(Fact {
            figure: number(all),
            text: match all {
                1 => "verdict, as the expectation table says".to_owned(),
                _ => "verdicts, all as the expectation table says".to_owned(),
            },
            verdict: Verdict::Survived,
            cell: None,
        }),
        Some(first) => Some(Fact {
            figure: number(unexpected.len() as u64),
            text: format!("of {cells} differ from the expectation table"),
            verdict: record.matrix[*first].verdict,
            cell: Some(*first),
        }),
    }
}
