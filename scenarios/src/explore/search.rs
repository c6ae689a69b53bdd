//! The search: one case after the other, drawn from the seeds that follow from one seed, until something is found.

use super::cause::{self, Group, Museum, Sorter, Unshrunk};
use super::{Case, Coverage, ExploreError, ExploreToken, Explorer, Finding, Outcome};
use crate::case_file::CaseFileError;
use seawall_harness::engine::Engine;
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is searched, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The scenario, the engine, the policy and the faults; the seeds of the executions follow from its seed.
    #[serde(with = "token_text")]
    pub token: ExploreToken,
    /// Executions at most, those of all shares together.
    pub executions_max: u64,
    /// This is the K-th of N equal shares, from 1.
    pub share: (u64, u64),
    /// Wall-clock seconds at most.
    pub seconds_max: Option<u64>,
    /// True if the search goes on after the first finding and counts them all.
    pub is_exhaustive: bool,
    /// True if each case is executed again by its preemptions and compared call by call.
    pub is_verified: bool,
    /// Known causes: their findings are counted, and do not end the search.
    #[serde(default)]
    pub museum: Museum,
    /// How many findings, of which the oracle says the same but for numbers, are shrunk to their cause in each process.
    #[serde(default)]
    pub shrunk_max: u64,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Cases that were executed.
    pub executions: u64,
    /// Executions with a finding.
    pub findings: u64,
}

/// How often progress is told.
const PROGRESS_PERIOD: Duration = Duration::from_millis(250);

/// The result of a search, as it is printed: field names are a contract.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Cases that were executed.
    pub executions: u64,
    /// VFS and file method calls.
    pub calls: u64,
    /// Transactions that were acknowledged.
    pub acked: u64,
    /// How often faults fired.
    pub faults_fired: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The finding, of no known cause, of the execution with the lowest number.
    pub finding: Option<Found>,
    /// Executions with a finding.
    pub findings: u64,
    /// Those of them whose cause is known.
    #[serde(default)]
    pub known: u64,
    /// Findings by their cause, in the order in which they were found first.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Findings that were not shrunk, by what the oracle says.
    #[serde(default)]
    pub unshrunk: Vec<Unshrunk>,
    /// What the executions have met.
    #[serde(default)]
    pub coverage: Coverage,
}

/// An execution with a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The verdict of the worst finding.
    pub verdict: Verdict,
    /// Its oracle.
    pub oracle: String,
    /// The token of the execution.
    #[serde(with = "token_text")]
    pub token: ExploreToken,
    /// What was found, in words.
    pub detail: String,
    /// The number of the execution, from 1.
    pub execution: u64,
    /// Seconds from the beginning of the search.
    pub seconds: f64,
    /// Preemptions of the schedule.
    pub preemptions: usize,
    /// The file with the case, if it is written.
    pub file: Option<PathBuf>,
}

impl Search {
    /// Executes the cases of this share, until an end is reached or `stop` is set. `progress` is told now and then.
    ///
    /// # Errors
    /// As [`ExploreToken::case`] and [`Explorer::execute`].
    pub fn execute(
        &self,
        explorer: &mut Explorer,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Tally, ExploreError> {
        let begun = Instant::now();
        let is_late = || self.seconds_max.is_some_and(|max| begun.elapsed() >= Duration::from_secs(max));
        let rules = self.token.rules()?;
        let ExploreToken { scenario, sqlite, policy, seed, .. } = &self.token;
        let (share, shares) = self.share;
        explorer.collect_coverage();
        let mut sorter = Sorter::new(&self.museum, self.shrunk_max);
        let (mut tally, mut told) = (Tally::default(), begun);
        let mut index = share - 1;
        while index < self.executions_max && !is_late() && !stop.load(Ordering::Relaxed) {
            let token = ExploreToken { seed: seed.nth(index), ..self.token.clone() };
            let case = Case::draw(scenario, sqlite, policy, &rules, token.seed)?;
            let outcome = explorer.execute(&case)?;
            if self.is_verified {
                explorer.verify(&case)?;
            }
            tally.count(&outcome);
            if let Some(finding) = outcome.findings.first() {
                let is_known = self.is_sorted() && {
                    let case = case.with_preemptions(&outcome.execution.preemptions);
                    sorter.sort(explorer, (&case, finding), (index + 1, token.to_string()))?
                };
                tally.known += u64::from(is_known);
                let found = || Found::new(finding, token, index + 1, begun, outcome.execution.preemptions.len());
                if !is_known {
                    tally.finding.get_or_insert_with(found);
                }
                if !self.is_exhaustive && !is_known {
                    break;
                }
            }
            if told.elapsed() >= PROGRESS_PERIOD {
                told = Instant::now();
                progress(Progress { executions: tally.executions, findings: tally.findings });
            }
            index = index.saturating_add(shares);
        }
        (tally.groups, tally.unshrunk) = sorter.into_parts();
        tally.coverage = explorer.coverage();
        tally.coverage.executions = tally.executions;
        tally.seconds = begun.elapsed().as_secs_f64();
        Ok(tally)
    }

    /// True if findings are sorted by their causes.
    fn is_sorted(&self) -> bool {
        self.is_exhaustive || !self.museum.is_empty()
    }

    /// How many executions this share has at most.
    pub fn share_len(&self) -> u64 {
        let (share, shares) = self.share;
        self.executions_max.saturating_sub(share - 1).div_ceil(shares)
    }
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        self.executions += 1;
        self.calls += outcome.execution.calls;
        self.acked += outcome.acked;
        self.faults_fired += outcome.faults_fired;
        self.findings += u64::from(!outcome.findings.is_empty());
    }

    /// Makes the figures of what was met; after it nothing can be added.
    pub fn settle(&mut self) {
        self.coverage.settle();
    }

    /// Adds the result of another share, which took the same time.
    pub(super) fn add(&mut self, other: Self) {
        self.executions += other.executions;
        self.calls += other.calls;
        self.acked += other.acked;
        self.faults_fired += other.faults_fired;
        self.findings += other.findings;
        self.known += other.known;
        self.seconds = self.seconds.max(other.seconds);
        self.coverage.add(other.coverage);
        self.groups = cause::merged(std::mem::take(&mut self.groups), other.groups);
        self.unshrunk = cause::merged_unshrunk(std::mem::take(&mut self.unshrunk), other.unshrunk);
        self.finding = self.finding.take().into_iter().chain(other.finding).min_by_key(|found| found.execution);
    }
}

/// Why the case of a finding is not in a file.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It cannot be executed.
    #[error(transparent)]
    Explore(#[from] ExploreError),
    /// It cannot be written.
    #[error(transparent)]
    File(#[from] CaseFileError),
}

impl Found {
    fn new(finding: &Finding, token: ExploreToken, execution: u64, begun: Instant, preemptions: usize) -> Self {
        let Finding { verdict, oracle, detail } = finding.clone();
        let seconds = begun.elapsed().as_secs_f64();
        Self { verdict, oracle, token, detail, execution, seconds, preemptions, file: None }
    }

    /// Writes the case, with its schedule as a list of preemptions, into the folder.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write(&mut self, engine: Engine, folder: &Path) -> Result<(), WriteError> {
        let mut explorer = Explorer::new(engine, true)?;
        let file = explorer.record(&self.token.case()?, Some(self.token.to_string()))?;
        let path = folder.join(format!("{}.json", self.token.file_stem()));
        file.write(&path)?;
        self.file = Some(path);
        Ok(())
    }
}

impl Group {
    /// Writes the smallest case into the folder, under this name.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write(&mut self, engine: Engine, folder: &Path, name: &str) -> Result<(), WriteError> {
        let Some(case) = self.case.take() else { return Ok(()) };
        let file = Explorer::new(engine, true)?.record(&case, None)?;
        let path = folder.join(format!("{name}.json"));
        file.write(&path)?;
        self.file = Some(path);
        Ok(())
    }
}

/// Tokens as text.
mod token_text {
    use crate::explore::ExploreToken;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(token: &ExploreToken, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(token)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ExploreToken, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seawall_harness::seed::Seed;
    use seawall_harness::token::FaultName;

    fn token(seed: u64) -> ExploreToken {
        let fault = FaultName::Named("none".to_owned());
        let (scenario, sqlite, policy) = ("bank".to_owned(), "linked".to_owned(), "rare".to_owned());
        ExploreToken { scenario, sqlite, policy, fault, seed: Seed(seed) }
    }

    #[test]
    fn the_first_finding_of_all_shares_is_kept() {
        let found = |execution: u64| {
            let (verdict, oracle, detail) = (Verdict::Lost, "ledger".to_owned(), execution.to_string());
            let token = token(execution);
            Found { verdict, oracle, token, detail, execution, seconds: 1.0, preemptions: 0, file: None }
        };
        let tally =
            |execution| Tally { executions: 2, findings: 1, finding: Some(found(execution)), ..Tally::default() };
        let mut all = Tally::default();
        for execution in [9, 4, 6] {
            all.add(tally(execution));
        }
        all.add(Tally { executions: 1, ..Tally::default() });
        assert_eq!((all.executions, all.findings, all.finding), (7, 3, Some(found(4))));
    }

    #[test]
    fn a_search_is_the_same_after_it_went_through_a_pipe() {
        let search = Search {
            token: token(u64::MAX),
            executions_max: 10,
            share: (2, 4),
            seconds_max: None,
            is_exhaustive: true,
            is_verified: false,
            museum: Museum::default(),
            shrunk_max: 8,
        };
        let text = serde_json::to_string(&search).unwrap();
        assert_eq!(serde_json::from_str::<Search>(&text).unwrap(), search);
        assert_eq!(search.share_len(), 3);
    }
}
