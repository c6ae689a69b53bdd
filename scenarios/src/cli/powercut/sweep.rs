//! `seawall powercut --sweep`: each call and each allocation of a transaction fails in turn.

use super::super::args::ReplayFormat;
use super::super::{Complaint, Exit, print, say, soak, stop_on_interrupt};
use super::{PowercutArgs, SweepWord, execute, interrupted};
use crate::powercut::pool::Work;
use crate::powercut::sweep::{self, Class, Run, Sweep, SweepResult, Target, View};
use crate::powercut::{CellSettings, JournalMode, Level};
use seawall_harness::call::{Method, Role};
use seawall_harness::fault::{Rule, When};
use seawall_harness::media::sim::durability::Device;
use seawall_harness::narrative::count;
use seawall_harness::verdict::Verdict;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

/// What is printed. Field names are a contract.
#[derive(Serialize)]
struct Output<'a> {
    schema: u32,
    #[serde(with = "seawall_harness::seed::text")]
    seed: u64,
    sqlite: &'a str,
    directory: &'a str,
    device: String,
    sweeps: &'a [SweepResult],
    syncs: Vec<SyncRow>,
}

/// A row of the table of failing syncs: a journal mode, the role of the file, and what became of the bytes.
#[derive(Clone, Debug, Default, Serialize)]
struct SyncRow {
    journal_mode: String,
    synchronous: String,
    role: String,
    fate: String,
    runs: u64,
    unnoticed: u64,
    swallowed: u64,
    failed: u64,
    false_failure: u64,
    durable: u64,
    wedged: u64,
    /// Acknowledged and gone after a restart.
    lost_restart: u64,
    /// Acknowledged and gone where only durable bytes are left.
    lost_evicted: u64,
    corrupt: u64,
}

pub(super) fn run(args: &PowercutArgs, word: SweepWord, sqlite: &str, device: Device) -> Result<Exit, Complaint> {
    let seed = args.seed.unwrap_or_else(soak::new_seed);
    let stop = stop_on_interrupt()?;
    let targets = match word {
        SweepWord::Calls => &[Target::Calls][..],
        SweepWord::Allocations => &[Target::Allocations],
        SweepWord::All => &[Target::Calls, Target::Allocations],
    };
    let cell = |settings, target| {
        let (sqlite, device) = (sqlite.to_owned(), device.to_string());
        Work::Sweep(Sweep { settings, target, sqlite, device, seed: seed.0, time_max_ms: None })
    };
    let cells: Vec<(String, Work)> = cells(args)
        .into_iter()
        .flat_map(|settings| targets.iter().map(move |target| (settings, *target)))
        .map(|(settings, target)| (format!("{settings}, {}", target.word()), cell(settings, target)))
        .collect();
    let sweeps: Vec<SweepResult> = execute(&cells, args.limits(), "faults", &stop)?;
    let (directory, device, syncs) = (device.directory.word(), device.to_string(), sync_rows(&sweeps));
    let output = Output { schema: 1, seed: seed.0, sqlite, directory, device, sweeps: &sweeps, syncs };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&output).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&output),
    })?;
    if stop.load(Ordering::Relaxed) {
        return Ok(interrupted());
    }
    let left_out: u64 = sweeps.iter().map(|sweep| sweep.left_out).sum();
    if left_out > 0 {
        say(&format!("{} left out: the time was over", count(left_out, "fault")));
    }
    exit_of(&sweeps)
}

/// All journal modes at FULL, unless it is told otherwise.
fn cells(args: &PowercutArgs) -> Vec<CellSettings> {
    let level = args.synchronous.or(if args.table { None } else { Some(Level::Full) });
    let is_wanted = |cell: &CellSettings| {
        args.journal_mode.is_none_or(|mode: JournalMode| mode == cell.journal_mode)
            && level.is_none_or(|level| level == cell.synchronous)
    };
    CellSettings::all().filter(is_wanted).collect()
}

fn exit_of(sweeps: &[SweepResult]) -> Result<Exit, Complaint> {
    if let Some(SweepResult { settings, target, skipped, .. }) = sweeps.iter().find(|sweep| sweep.skipped > 0) {
        return Err(Complaint::broken(format!("{settings}: {skipped} {} were left out of the sweep", target.word())));
    }
    Ok(if sweeps.iter().any(|sweep| sweep.news > 0) {
        Exit::Finding
    } else if sweeps.iter().all(|sweep| sweep.verdict == Verdict::NotMeasured) {
        Exit::NothingRan
    } else {
        Exit::Expected
    })
}

/// The rule of a run.
fn rule_of(run: &Run) -> Option<Rule> {
    run.rule.parse().ok()
}

/// What becomes of the bytes of a failing sync, in the words of the grammar.
fn fate_of(rule: &Rule) -> String {
    let text = rule.to_string();
    let effect = text.split(':').nth(1).unwrap_or_default();
    let fate = effect.split_once("dirty=").map(|(_, fate)| fate);
    fate.unwrap_or(if effect == "lie" { "lie" } else { "kept" }).to_owned()
}

fn sync_rows(sweeps: &[SweepResult]) -> Vec<SyncRow> {
    let mut rows: Vec<SyncRow> = Vec::new();
    for sweep in sweeps.iter().filter(|sweep| sweep.target == Target::Calls) {
        let mut of_cell: BTreeMap<(Role, String), SyncRow> = BTreeMap::new();
        for run in &sweep.runs {
            let Some(rule) = rule_of(run).filter(|rule| rule.select.method == Some(Method::Sync)) else { continue };
            let (role, fate) = (rule.select.role.unwrap_or(Role::None), fate_of(&rule));
            let CellSettings { journal_mode, synchronous } = sweep.settings;
            let row = of_cell.entry((role, fate.clone())).or_insert_with(|| SyncRow {
                journal_mode: journal_mode.word().to_owned(),
                synchronous: synchronous.word().to_owned(),
                role: role.to_string(),
                fate,
                ..SyncRow::default()
            });
            let is_evicted = run.outcome.views == [View::Evicted];
            row.runs += 1;
            row.durable += u64::from(run.outcome.is_false_failure_durable);
            *match run.outcome.class {
                Class::Unnoticed => &mut row.unnoticed,
                Class::Swallowed => &mut row.swallowed,
                Class::Failed => &mut row.failed,
                Class::FalseFailure => &mut row.false_failure,
                Class::Wedged => &mut row.wedged,
                Class::Lost if is_evicted => &mut row.lost_evicted,
                Class::Lost => &mut row.lost_restart,
                Class::Corrupt => &mut row.corrupt,
            } += 1;
        }
        rows.extend(of_cell.into_values());
    }
    rows
}

fn human(output: &Output<'_>) -> String {
    let Output { seed, sqlite, device, sweeps, syncs, .. } = output;
    let mut out = format!("single errors on SQLite {sqlite}, device {device}, seed {seed}\n");
    let _ = writeln!(
        out,
        "{:9} {:7} {:11} {:>6} {:>6} {:>9} {:>9} {:>6} {:>13} {:>7} {:>6} {:>5} {:>7} {:>7} {:>5}",
        "mode",
        "level",
        "what",
        "calls",
        "faults",
        "unnoticed",
        "swallowed",
        "failed",
        "false failure",
        "durable",
        "wedged",
        "lost",
        "corrupt",
        "skipped",
        "news"
    );
    for sweep in *sweeps {
        let SweepResult { settings, target, calls, injected, skipped, durable, news, .. } = sweep;
        let CellSettings { journal_mode, synchronous } = settings;
        let [unnoticed, swallowed, failed, lied, wedged, lost, corrupt] = Class::ALL.map(|class| sweep.of(class));
        let _ = writeln!(
            out,
            "{:9} {:7} {:11} {calls:>6} {injected:>6} {unnoticed:>9} {swallowed:>9} {failed:>6} {lied:>13} {durable:>7} \
             {wedged:>6} {lost:>5} {corrupt:>7} {skipped:>7} {news:>5}",
            journal_mode.word(),
            synchronous.word(),
            target.word()
        );
    }
    if !syncs.is_empty() {
        human_syncs(&mut out, syncs);
    }
    for sweep in *sweeps {
        human_lists(&mut out, sweep);
    }
    out
}

fn human_syncs(out: &mut String, syncs: &[SyncRow]) {
    let _ = writeln!(
        out,
        "\nfailing syncs\n{:9} {:7} {:8} {:9} {:>5} {:>9} {:>9} {:>6} {:>13} {:>7} {:>12} {:>12} {:>7}",
        "mode",
        "level",
        "role",
        "dirty",
        "runs",
        "unnoticed",
        "swallowed",
        "failed",
        "false failure",
        "durable",
        "lost restart",
        "lost evicted",
        "corrupt"
    );
    for row in syncs {
        let _ = writeln!(
            out,
            "{:9} {:7} {:8} {:9} {:>5} {:>9} {:>9} {:>6} {:>13} {:>7} {:>12} {:>12} {:>7}",
            row.journal_mode,
            row.synchronous,
            row.role,
            row.fate,
            row.runs,
            row.unnoticed,
            row.swallowed,
            row.failed,
            row.false_failure,
            row.durable,
            row.lost_restart,
            row.lost_evicted,
            row.corrupt
        );
    }
}

/// Whether a run belongs to a list.
type IsIn = fn(&SweepResult, &Run) -> bool;

/// The lists behind the tables.
const LISTS: [(&str, IsIn); 6] = [
    ("COMMIT fails, and the value is there", |_, run| run.outcome.class == Class::FalseFailure),
    ("the fault is swallowed", |_, run| run.outcome.class == Class::Swallowed),
    ("the execution does not end", |_, run| run.outcome.class == Class::Wedged),
    ("an acknowledged commit is lost", |_, run| run.outcome.class == Class::Lost),
    ("the database is corrupt", |_, run| run.outcome.class == Class::Corrupt),
    ("worse than expected", |sweep, run| {
        rule_of(run).is_some_and(|rule| run.outcome.class.verdict() > sweep::expected(sweep.settings, &rule))
    }),
];

/// What the runs of a line have in common: the rule without its ordinal, once or for good, statement and views.
type Group<'a> = (String, &'static str, &'a str, String);

/// Runs that differ in the ordinal of the call alone are one line, with the token of the first.
fn human_lists(out: &mut String, sweep: &SweepResult) {
    for (title, is_in) in LISTS {
        let mut groups: BTreeMap<Group<'_>, (Vec<u64>, &str)> = BTreeMap::new();
        for run in sweep.runs.iter().filter(|run| is_in(sweep, run)) {
            let Some(rule) = rule_of(run) else { continue };
            let (nth, duration) = match rule.when {
                Some(When::From(nth)) => (nth, "for good"),
                Some(When::Nth(nth)) => (nth, "once"),
                _ => continue,
            };
            let bare = Rule { when: None, ..rule }.to_string();
            let verb = run.during.split([' ', ';']).next().unwrap_or_default();
            let views: Vec<&str> = run.outcome.views.iter().map(|view| view.word()).collect();
            let key = (bare, duration, verb, views.join(", "));
            groups.entry(key).or_insert_with(|| (Vec::new(), &run.token)).0.push(nth);
        }
        if !groups.is_empty() {
            let _ = writeln!(out, "\n{}, {}: {title}", sweep.settings, sweep.target.word());
        }
        for ((rule, duration, verb, views), (ordinals, token)) in groups {
            let views = if views.is_empty() { views } else { format!(" ({views})") };
            let calls = ranges(&ordinals);
            let _ = writeln!(out, "  {rule} {duration}, during {verb}{views}, at call {calls}");
            let _ = writeln!(out, "    seawall replay {token}");
        }
    }
}

/// Numbers in ascending order, with `N-M` for those that follow each other.
fn ranges(numbers: &[u64]) -> String {
    let run = |run: &[u64]| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.iter().map(u64::to_string).collect(),
    };
    let runs = numbers.chunk_by(|one, other| one + 1 == *other);
    runs.map(run).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_one_range() {
        assert_eq!(ranges(&[1, 2, 3, 5, 8, 9]), "1-3, 5, 8-9");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn the_fate_of_a_sync_is_the_word_of_the_grammar() {
        #[track_caller]
        fn check(rule: &str, fate: &str) {
            assert_eq!(fate_of(&rule.parse().unwrap()), fate, "{rule}");
        }
        check("sync@db:error=IOERR_FSYNC:when=2", "kept");
        check("sync@db:error=IOERR_FSYNC,dirty=late:when=2+", "late");
        check("sync@wal:lie:when=1", "lie");
    }
}
