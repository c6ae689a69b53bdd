//! What a soak came to, in a few sentences that its figures carry.

use seawall_harness::record::{Cell, SoakRecord};
use seawall_harness::verdict::Verdict;

use crate::grid::distinct;
use crate::words::{count, figure, list, number};

/// How many times as often one strategy must open the file as another before it is worth a sentence.
const OPENS_RATIO_MIN: f64 = 10.0;
/// Strategies that one sentence names; of more it says only how many they are.
const NAMES_MAX: usize = 3;

/// A sentence that begins with a figure.
pub(crate) struct Fact {
    /// The figure, formatted.
    pub(crate) figure: String,
    /// The rest of the sentence.
    pub(crate) text: String,
    /// How good or bad the news is.
    pub(crate) tone: Verdict,
    /// Position in the record of the cell that shows it best.
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

/// One strategy's cells, summed.
struct Strategy<'a> {
    name: &'a str,
    cells: Vec<(usize, &'a Cell)>,
    runs: u64,
    acked: u64,
    lost: u64,
    lost_silently: u64,
    corrupt: u64,
}

impl Strategy<'_> {
    /// Faults under which the strategy has such a cell, on whatever medium.
    fn faults(&self, such: impl Fn(&Cell) -> bool) -> u64 {
        distinct(self.cells.iter().filter(|(_, c)| such(c)).map(|(_, c)| c.fault.as_str())).len() as u64
    }

    fn measured(&self) -> bool {
        self.acked > 0
    }

    fn unhurt(&self) -> bool {
        self.measured() && self.lost == 0 && self.corrupt == 0
    }

    /// The cell with the largest value, if that is not 0.
    fn most(&self, value: impl Fn(&Cell) -> u64) -> Option<usize> {
        self.cells.iter().filter(|(_, c)| value(c) > 0).max_by_key(|(i, c)| (value(c), usize::MAX - i)).map(|(i, _)| *i)
    }
}

/// Sums over the record.
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

fn strategies(record: &SoakRecord) -> Vec<Strategy<'_>> {
    let names = distinct(record.matrix.iter().map(|c| c.strategy.as_str()));
    let of = |name| record.matrix.iter().enumerate().filter(move |(_, c)| c.strategy == name);
    let sum = |name, value: fn(&Cell) -> u64| of(name).map(|(_, c)| value(c)).sum();
    names
        .into_iter()
        .map(|name| Strategy {
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

/// The one sentence that goes on top.
pub(crate) fn headline(record: &SoakRecord) -> String {
    let all = strategies(record);
    let unhurt: Vec<_> = all.iter().filter(|s| s.unhurt()).map(|s| s.name).collect();
    let runs: u64 = all.iter().map(|s| s.runs).sum();
    let none = match unhurt.len() {
        0 => String::new(),
        1..=NAMES_MAX => format!(" {} lost none.", list(&unhurt)),
        n => format!(" {n} other strategies lost none."),
    };
    if let Some(worst) = all.iter().filter(|s| s.lost > 0).max_by_key(|s| s.lost) {
        return format!("{} lost {}.{none}", worst.name, count(worst.lost, "acknowledged transaction"));
    }
    if let Some(worst) = all.iter().filter(|s| s.corrupt > 0).max_by_key(|s| s.corrupt) {
        return format!("{} left a corrupt database in {}.", worst.name, count(worst.corrupt, "run"));
    }
    if unhurt.is_empty() {
        return "Nothing was measured.".to_owned();
    }
    format!("No acknowledged transaction was lost in {}.", count(runs, "run"))
}

/// The findings worth a reader's first minute, the worst first.
pub(crate) fn facts(record: &SoakRecord) -> Vec<Fact> {
    let all = strategies(record);
    let mut facts = Vec::new();
    let mut losers: Vec<_> = all.iter().filter(|s| s.lost > 0).collect();
    losers.sort_by_key(|s| u64::MAX - s.lost);
    facts.extend(losers.into_iter().map(losses));
    facts.extend(all.iter().filter(|s| s.corrupt > 0).map(corruptions));
    facts.extend(unhurt(&all));
    for (verdict, words) in [
        (Verdict::FalseAlarm, "declared a healthy database corrupt"),
        (Verdict::Wedged, "made no progress after the faults had healed"),
        (Verdict::HarnessBroken, "could not be judged, because the lab itself failed"),
    ] {
        facts.extend(all.iter().filter_map(|s| runs_that(s, verdict, words)));
    }
    facts.extend(opens(&all));
    facts.extend(expectations(record));
    facts
}

fn losses(s: &Strategy<'_>) -> Fact {
    let silent = match s.lost_silently {
        0 => String::new(),
        n => format!("; in {} every integrity check said ok", count(n, "run")),
    };
    Fact {
        figure: number(s.lost),
        text: format!(
            "acknowledged transactions lost by {}, under {} of {}{silent}",
            s.name,
            number(s.faults(|c| c.lost > 0)),
            count(s.faults(|_| true), "fault"),
        ),
        tone: Verdict::Lost,
        cell: s.most(|c| c.lost),
    }
}

fn corruptions(s: &Strategy<'_>) -> Fact {
    Fact {
        figure: number(s.corrupt),
        text: format!("of {} left {}'s database corrupt", count(s.runs, "run"), s.name),
        tone: Verdict::Corrupt,
        cell: s.most(|c| c.corrupt),
    }
}

/// One sentence for each strategy that nothing hurt, or one for all of them if they are many.
fn unhurt(all: &[Strategy<'_>]) -> Vec<Fact> {
    let unhurt: Vec<_> = all.iter().filter(|s| s.unhurt()).collect();
    let fact = |who: &str, of: &[&Strategy<'_>], more: &str| Fact {
        figure: "0".to_owned(),
        text: format!(
            "lost and 0 corrupt for {who} in {} with {}{more}",
            count(of.iter().map(|s| s.runs).sum(), "run"),
            count(of.iter().map(|s| s.acked).sum(), "acknowledged transaction"),
        ),
        tone: Verdict::Survived,
        cell: None,
    };
    if unhurt.len() > NAMES_MAX {
        let names: Vec<_> = unhurt.iter().map(|s| s.name).collect();
        return vec![fact(&list(&names), &unhurt, "")];
    }
    let degraded = |s: &Strategy<'_>| match s.faults(|c| c.verdict == Verdict::Degraded) {
        0 => String::new(),
        n => format!("; it refused some service, with clear errors, under {}", count(n, "fault")),
    };
    unhurt.into_iter().map(|s| fact(s.name, &[s], &degraded(s))).collect()
}

fn runs_that(s: &Strategy<'_>, verdict: Verdict, words: &str) -> Option<Fact> {
    let such = |c: &Cell| c.verdicts.get(&verdict).copied().unwrap_or(0);
    let runs: u64 = s.cells.iter().map(|(_, c)| such(c)).sum();
    let cell = s.most(such)?;
    let noun = if runs == 1 { "run" } else { "runs" };
    let text = format!("{noun} of {} {words}, under {}", s.name, count(s.faults(|c| such(c) > 0), "fault"));
    Some(Fact { figure: number(runs), text, tone: verdict, cell: Some(cell) })
}

/// The cost that no integrity check sees: how often the file was opened for what was done with it. Where faults fire,
/// opens are the price of recovery, so only cells without any count.
fn opens(all: &[Strategy<'_>]) -> Option<Fact> {
    let quiet = |s: &Strategy<'_>, value: fn(&Cell) -> u64| -> u64 {
        s.cells.iter().filter(|(_, c)| c.faults_fired == 0).map(|(_, c)| value(c)).sum()
    };
    let rate = |s: &Strategy<'_>| quiet(s, |c| c.opens) as f64 / quiet(s, |c| c.acked) as f64;
    let measured = || all.iter().filter(|s| quiet(s, |c| c.acked) > 0 && quiet(s, |c| c.opens) > 0);
    let most = measured().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let least = measured().min_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let ratio = rate(most) / rate(least);
    (ratio >= OPENS_RATIO_MIN).then(|| Fact {
        figure: format!("{}×", figure(ratio)),
        text: format!(
            "as many opens of the database file for each transaction in {} as in {}, where nothing fails",
            most.name, least.name
        ),
        tone: Verdict::Degraded,
        cell: most.most(|c| c.opens),
    })
}

fn expectations(record: &SoakRecord) -> Option<Fact> {
    let news: Vec<usize> = record.matrix.iter().enumerate().filter(|(_, c)| !c.as_expected).map(|(i, _)| i).collect();
    let all = record.matrix.len() as u64;
    let cells = count(all, "cell");
    match news.first() {
        None if all == 0 => None,
        None => Some(Fact {
            figure: number(all),
            text: "verdicts, every one as the expectation table has it".to_owned(),
            tone: Verdict::Survived,
            cell: None,
        }),
        Some(first) => Some(Fact {
            figure: number(news.len() as u64),
            text: format!("of {cells} differ from the expectation table"),
            tone: record.matrix[*first].verdict,
            cell: Some(*first),
        }),
    }
}
