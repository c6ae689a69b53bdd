//! Causes: findings that are shrunk to the same story have one.
//!
//! A cause is one line: the oracle and its verdict, and the shrunken story without numbers: in which statements an
//! actor is paused, at which call, and which statements the others execute meanwhile; where no actor is paused
//! within a statement, all statements. A museum of known causes is a file of such lines.
//!
//! Shrinking takes a thousand times as long as an execution. So it is bounded for each finding by a number of calls,
//! and among findings whose oracle says the same but for numbers only the first few are shrunk.

use super::shrink::{CaseBench, Failing};
use super::{Case, ExploreError, Explorer, story};
use seawall_harness::record::{Finding, Story, StoryEvent, StoryKind};
use seawall_harness::shrink::{self, Limits};
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Calls of the simulator that the shrinking of one finding takes at most: a few seconds.
const CALLS_MAX: u64 = 8_000_000;

/// Findings with one cause. Field names are a contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The cause.
    pub cause: String,
    /// The oracle.
    pub oracle: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// True if the museum has the cause.
    pub is_known: bool,
    /// Findings that were shrunk to it.
    pub findings: u64,
    /// The execution that found it first, from 1, and its token.
    pub execution: u64,
    /// See [`Self::execution`].
    pub token: String,
    /// SQL statements, preemptions and actors of the smallest case.
    pub sizes: (u64, usize, usize),
    /// The file with the smallest case, if it is written.
    pub file: Option<PathBuf>,
    /// What to tell loudly: a SQLite that is believed sound fails as well.
    #[serde(default)]
    pub warning: Option<String>,
    /// The smallest case, until it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Case>,
}

/// Findings that were not shrunk, by what the oracle says. Field names are a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unshrunk {
    /// What the oracle says, without numbers.
    pub pattern: String,
    /// Findings.
    pub findings: u64,
    /// The execution that has the first of them, from 1, and its token.
    pub execution: u64,
    /// See [`Self::execution`].
    pub token: String,
}

/// Known causes: one a line; `*` at the end stands for any ending. Empty lines and lines that begin with `#` do not
/// count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Museum(Vec<String>);

impl Museum {
    /// Reads a file.
    ///
    /// # Errors
    /// Those of the system.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string(path)?))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(str::to_owned).collect())
    }

    /// Adds the causes of another one.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// True if it has no cause.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if it has the cause.
    pub fn has(&self, cause: &str) -> bool {
        self.0.iter().any(|known| match known.strip_suffix('*') {
            Some(beginning) => cause.starts_with(beginning),
            None => known == cause,
        })
    }
}

/// Sorts findings.
#[derive(Debug)]
pub(super) struct Sorter<'a> {
    museum: &'a Museum,
    /// How many findings of one pattern are shrunk.
    shrunk_max: u64,
    /// By pattern: findings that were shrunk, and whether the museum has the causes of all of them.
    shrunk: BTreeMap<String, (u64, bool)>,
    groups: BTreeMap<String, Group>,
    unshrunk: BTreeMap<String, Unshrunk>,
}

impl<'a> Sorter<'a> {
    pub(super) fn new(museum: &'a Museum, shrunk_max: u64) -> Self {
        let (shrunk, groups, unshrunk) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { museum, shrunk_max, shrunk, groups, unshrunk }
    }

    /// The groups and what was not shrunk, in the order in which they were found first.
    pub(super) fn into_parts(self) -> (Vec<Group>, Vec<Unshrunk>) {
        (merged(self.groups.into_values().collect(), Vec::new()), self.unshrunk.into_values().collect())
    }

    /// Puts the finding of an execution into its group; true if the museum has its cause. A finding that is not shrunk,
    /// where all that were shrunk and of which the oracle says the same are known, is taken for known.
    pub(super) fn sort(
        &mut self,
        explorer: &mut Explorer,
        (case, finding): (&Case, &Finding),
        (execution, token): (u64, String),
    ) -> Result<bool, ExploreError> {
        let pattern = pattern(finding);
        let (shrunk, are_known) = self.shrunk.entry(pattern.clone()).or_insert((0, true));
        if *shrunk >= self.shrunk_max {
            let first = || Unshrunk { pattern: pattern.clone(), findings: 0, execution, token };
            self.unshrunk.entry(pattern.clone()).or_insert_with(first).findings += 1;
            return Ok(*are_known);
        }
        *shrunk += 1;
        let (smallest, told) = shrunken(explorer, case)?;
        let cause = told.as_ref().map_or_else(|| pattern.clone(), cause);
        let is_known = self.museum.has(&cause);
        *are_known &= is_known;
        let sizes = (smallest.statements, smallest.preemptions().len(), smallest.case.actors.len());
        let Finding { oracle, verdict, .. } = finding.clone();
        let group = Group {
            cause,
            oracle,
            verdict,
            is_known,
            findings: 1,
            execution,
            token,
            sizes,
            file: None,
            warning: None,
            case: Some(smallest.case),
        };
        add(&mut self.groups, group);
        Ok(is_known)
    }
}

/// The groups of two shares, in the order in which they were found first.
pub(super) fn merged(groups: Vec<Group>, others: Vec<Group>) -> Vec<Group> {
    let mut all = BTreeMap::new();
    groups.into_iter().chain(others).for_each(|group| add(&mut all, group));
    let mut all: Vec<Group> = all.into_values().collect();
    all.sort_by_key(|group| group.execution);
    all
}

/// What was not shrunk in two shares.
pub(super) fn merged_unshrunk(some: Vec<Unshrunk>, others: Vec<Unshrunk>) -> Vec<Unshrunk> {
    let mut all: BTreeMap<String, Unshrunk> = BTreeMap::new();
    for other in some.into_iter().chain(others) {
        let Some(known) = all.get_mut(&other.pattern) else {
            all.insert(other.pattern.clone(), other);
            continue;
        };
        known.findings += other.findings;
        if other.execution < known.execution {
            (known.execution, known.token) = (other.execution, other.token);
        }
    }
    all.into_values().collect()
}

/// Adds findings with one cause to those that there are.
fn add(groups: &mut BTreeMap<String, Group>, other: Group) {
    let Some(group) = groups.get_mut(&other.cause) else {
        groups.insert(other.cause.clone(), other);
        return;
    };
    group.findings += other.findings;
    if other.execution < group.execution {
        (group.execution, group.token) = (other.execution, other.token);
    }
    if weight(other.sizes) < weight(group.sizes) {
        (group.sizes, group.case) = (other.sizes, other.case);
    }
}

fn weight((statements, preemptions, actors): (u64, usize, usize)) -> u64 {
    statements + 4 * (preemptions + actors) as u64
}

/// The case, shrunk as far as the budget goes, and its story.
fn shrunken(explorer: &mut Explorer, case: &Case) -> Result<(Failing, Option<Story>), ExploreError> {
    let calls: Rc<Cell<u64>> = explorer.calls_made();
    let end = calls.get() + CALLS_MAX;
    let limits = Limits { is_over: Box::new(move || calls.get() >= end), progress: Box::new(|_, _| {}) };
    let (mut bench, first) = CaseBench::new(explorer, case, limits)?;
    let best = shrink::shrink(&mut bench, first)?;
    drop(bench);
    let told = explorer.tell(&best.case)?;
    let told = story(&best.case, "", &told);
    Ok((best, told))
}

/// What the oracle says, without numbers.
fn pattern(Finding { oracle, verdict, detail }: &Finding) -> String {
    format!("{oracle} ({verdict}): {}", without_numbers(detail))
}

/// The cause that a shrunken story tells.
fn cause(story: &Story) -> String {
    let Finding { oracle, verdict, detail } = &story.finding;
    let mut pauses: BTreeSet<String> = BTreeSet::new();
    for (at, paused) in story.events.iter().enumerate().filter(|(_, event)| event.kind == StoryKind::Paused) {
        let Some(inside) = statement(&story.events[..at], paused.actor.as_deref()) else { continue };
        if paused.text == WAITING {
            continue;
        }
        let rest = &story.events[at + 1..];
        let resumed = rest.iter().position(|event| event.kind == StoryKind::Resumed && event.actor == paused.actor);
        let meanwhile = statements(&rest[..resumed.unwrap_or(rest.len())]);
        if !meanwhile.is_empty() {
            let (inside, place) = (without_numbers(inside), without_numbers(&paused.text));
            pauses.insert(format!("{inside} paused {place} while {}", Vec::from_iter(meanwhile).join(", ")));
        }
    }
    let what = match pauses.is_empty() {
        false => Vec::from_iter(pauses).join("; "),
        true => Vec::from_iter(statements(&story.events)).join(", "),
    };
    // An actor that waits for ever executes no statement.
    let what = if what.is_empty() { without_numbers(detail) } else { what };
    format!("{oracle} ({verdict}) | {what}")
}

/// How a story says that an actor is not preempted but waits.
const WAITING: &str = "waiting";

/// The statement in which the actor is.
fn statement<'a>(events: &'a [StoryEvent], actor: Option<&str>) -> Option<&'a str> {
    use StoryKind::{Begin, Commit, End, Refused};
    let of_actor = |event: &&StoryEvent| event.actor.as_deref() == actor;
    let last = events.iter().rev().filter(of_actor).find(|it| matches!(it.kind, Begin | End | Refused | Commit))?;
    (last.kind == Begin).then_some(&*last.text)
}

/// The statements that begin, but for the opening of connections.
fn statements(events: &[StoryEvent]) -> BTreeSet<String> {
    let begun = events.iter().filter(|event| event.kind == StoryKind::Begin);
    begun.map(|event| without_numbers(&event.text)).filter(|text| text != "open" && text != "close").collect()
}

/// The text with `N` for each number, and without the endings of ordinals.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        if !char.is_ascii_digit() {
            out.push(if char.is_whitespace() { ' ' } else { char });
            continue;
        }
        while rest.next_if(char::is_ascii_digit).is_some() {}
        out.push('N');
        let ending: String = rest.clone().take(2).collect();
        let ends = rest.clone().nth(2).is_none_or(|char| !char.is_alphanumeric());
        if ends && ["st", "nd", "rd", "th"].contains(&&*ending) {
            rest.nth(1);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(actor: &str, kind: StoryKind, text: &str) -> StoryEvent {
        StoryEvent { at: 0, actor: Some(actor.to_owned()), kind, text: text.to_owned() }
    }

    fn told(events: Vec<StoryEvent>) -> String {
        let finding = Finding { oracle: "walindex".to_owned(), verdict: Verdict::Corrupt, detail: "x 3".to_owned() };
        let (token, subject, actors) = (String::new(), String::new(), Vec::new());
        cause(&Story { token, subject, finding, actors, events })
    }

    #[test]
    fn a_cause_has_no_numbers_and_no_names_of_actors() {
        use StoryKind::{Begin, Commit, End, Paused, Resumed};
        let race = |one: &str, other: &str, ordinal: &str, row: u32| {
            vec![
                event(one, Begin, "open"),
                event(one, End, "open"),
                event(one, Begin, "PRAGMA wal_checkpoint(PASSIVE)"),
                event(one, Paused, &format!("at its {ordinal} unfetch@db")),
                event(other, Begin, &format!("INSERT INTO ledger VALUES ({row})")),
                event(other, End, ""),
                event(other, Begin, "COMMIT"),
                event(other, Commit, "COMMIT"),
                event(other, Paused, "waiting"),
                event(one, Resumed, ""),
            ]
        };
        let cause = "walindex (corrupt) | PRAGMA wal_checkpoint(PASSIVE) paused at its N unfetch@db \
                     while COMMIT, INSERT INTO ledger VALUES (N)";
        assert_eq!(told(race("p1.t1", "p2.t1", "1st", 7)), cause);
        assert_eq!(told(race("p3.t2", "p1.t1", "22nd", 12)), cause);
        assert_ne!(told(race("p3.t2", "p1.t1", "22nd", 12)[..4].to_vec()), cause);
        assert_eq!(told(vec![event("p1.t1", Begin, "DELETE 5")]), "walindex (corrupt) | DELETE N");
        assert_eq!(told(Vec::new()), "walindex (corrupt) | x N");
        assert_eq!(without_numbers("a1b 22nd 3rdx 4th, 5"), "aNb N Nrdx N, N");
    }

    #[test]
    fn a_museum_has_lines_and_beginnings() {
        let museum = Museum::parse("# old\n\nwalindex (corrupt) | a\nledger (lost) | *\n");
        assert!(museum.has("walindex (corrupt) | a") && museum.has("ledger (lost) | anything"));
        assert!(!museum.has("walindex (corrupt) | ab") && !museum.has("ledger (corrupt) | x") && !museum.is_empty());
        assert!(Museum::parse("# nothing\n").is_empty());
    }

    #[test]
    fn groups_are_added_up_with_the_first_token_and_the_smallest_case() {
        let group = |execution: u64, statements: u64| Group {
            cause: "c".to_owned(),
            oracle: "ledger".to_owned(),
            verdict: Verdict::Lost,
            is_known: false,
            findings: 2,
            execution,
            token: execution.to_string(),
            sizes: (statements, 1, 1),
            file: None,
            warning: None,
            case: None,
        };
        let mut groups = BTreeMap::new();
        for (execution, statements) in [(9, 8), (4, 9), (6, 7)] {
            add(&mut groups, group(execution, statements));
        }
        let all = &groups["c"];
        assert_eq!((all.findings, all.execution, &*all.token, all.sizes.0), (6, 4, "4", 7));
    }
}
