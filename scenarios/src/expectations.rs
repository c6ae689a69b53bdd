//! The reviewed table of the verdicts that are expected of each strategy under each fault.
//!
//! Flawed strategies are *expected* to lose. A cell with another verdict, worse or better, is news. The table is
//! `scenarios/expectations.toml`, which is compiled in; its header explains the format.

use seawall_harness::verdict::{UnknownVerdict, Verdict};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The verdicts that are expected of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected(Vec<Verdict>);

impl Expected {
    /// The worst of them; `None` if nothing is expected.
    pub fn worst(&self) -> Option<Verdict> {
        self.0.iter().max().copied()
    }

    fn parse(text: &str) -> Result<Self, UnknownVerdict> {
        text.split('|').map(|word| word.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|verdict| verdict.word()).collect();
        f.write_str(&words.join("|"))
    }
}

/// Why a text is no table of expectations.
#[derive(Debug, thiserror::Error)]
pub enum ExpectationsError {
    /// It is not TOML, or not of the table's form.
    #[error(transparent)]
    Form(#[from] toml::de::Error),
    /// A cell does not hold verdicts.
    #[error("{strategy} under {fault}: {error}")]
    Verdict {
        /// The strategy of the cell.
        strategy: String,
        /// The fault of the cell.
        fault: String,
        /// What it holds instead.
        error: UnknownVerdict,
    },
}

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// Cells with fewer runs may have a milder verdict than expected, because a rare loss may not have occurred.
    runs_for_certainty: u64,
    /// Strategy, fault (or `default`), verdicts.
    cells: BTreeMap<String, BTreeMap<String, Expected>>,
    /// Strategy of the layer, faults under which plain SQLite may do better.
    worse_than_plain: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    runs_for_certainty: u64,
    strategy: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    worse_than_plain: BTreeMap<String, BTreeSet<String>>,
}

impl Expectations {
    /// The table of this project.
    ///
    /// # Panics
    /// Never: a test parses the same text.
    pub fn reviewed() -> Self {
        Self::parse(include_str!("../expectations.toml")).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// Reads a table.
    ///
    /// # Errors
    /// See [`ExpectationsError`].
    pub fn parse(text: &str) -> Result<Self, ExpectationsError> {
        let file: File = toml::from_str(text)?;
        let mut cells = BTreeMap::new();
        for (strategy, faults) in file.strategy {
            let mut row = BTreeMap::new();
            for (fault, verdicts) in faults {
                match Expected::parse(&verdicts) {
                    Ok(expected) => row.insert(fault, expected),
                    Err(error) => return Err(ExpectationsError::Verdict { strategy, fault, error }),
                };
            }
            cells.insert(strategy, row);
        }
        Ok(Self { runs_for_certainty: file.runs_for_certainty, cells, worse_than_plain: file.worse_than_plain })
    }

    /// What is expected of a strategy under a fault on a medium: the entry `FAULT@MEDIUM`, else that of the fault, else
    /// the default; nothing for a fault that the table does not know and a strategy without default.
    pub fn of(&self, strategy: &str, fault: &str, medium: &str) -> Expected {
        let Some(row) = self.cells.get(strategy) else { return Expected::default() };
        let names = [&*format!("{fault}@{medium}"), fault, "default"];
        names.iter().find_map(|name| row.get(*name)).cloned().unwrap_or_default()
    }

    /// True if the table declares that plain SQLite may do better than this strategy under this fault.
    pub fn may_be_worse_than_plain(&self, strategy: &str, fault: &str) -> bool {
        self.worse_than_plain.get(strategy).is_some_and(|faults| faults.contains(fault))
    }

    /// True if so many runs say for sure what happens in a cell.
    pub fn is_certain(&self, runs: u64) -> bool {
        runs >= self.runs_for_certainty
    }

    /// True if the verdict of a cell is no news. If nothing is expected, everything worse than refused service is news.
    pub fn is_expected(&self, expected: &Expected, verdict: Verdict, runs: u64) -> bool {
        if verdict == Verdict::NotMeasured {
            // In a few runs no fault may have fired. In many runs one must.
            return runs < self.runs_for_certainty;
        }
        let Some(worst) = expected.0.iter().max() else { return verdict <= Verdict::Degraded };
        expected.0.contains(&verdict) || (runs < self.runs_for_certainty && verdict < *worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{faults, strategies};

    #[test]
    fn the_reviewed_table_has_all_strategies_and_only_known_faults() {
        let table = Expectations::reviewed();
        let faults: Vec<String> = faults::matrix().into_iter().map(|fault| fault.title).collect();
        for (strategy, row) in &table.cells {
            assert!(strategies::find(strategy).is_ok(), "{strategy}");
            for fault in row.keys() {
                let name = fault.split_once('@').map_or(&**fault, |(name, medium)| {
                    assert!(["real", "sim"].contains(&medium), "{strategy} under {fault}");
                    name
                });
                assert!(name == "default" || faults.iter().any(|known| known == name), "{strategy} under {fault}");
            }
        }
        for (strategy, declared) in &table.worse_than_plain {
            assert!(strategies::find(strategy).is_ok_and(|entry| entry.is_layer), "{strategy}");
            for fault in declared {
                assert!(faults.contains(fault), "{strategy} under {fault}");
                let worst = table.of(strategy, fault, "sim").worst();
                assert!(
                    worst.is_some_and(|worst| worst >= Verdict::Lost),
                    "{strategy} under {fault}: nothing may be lost"
                );
            }
        }
        for entry in strategies::ALL {
            assert_ne!(
                table.of(entry.name, "none", "real"),
                Expected::default(),
                "nothing is expected of {}",
                entry.name
            );
        }
    }

    #[test]
    fn news_goes_in_both_directions() {
        let text = "runs_for_certainty = 50\n[strategy.a]\nx = 'lost|corrupt'\ny = 'survived'\n";
        let table = Expectations::parse(text).unwrap();
        #[track_caller]
        fn check(table: &Expectations, fault: &str, verdict: Verdict, runs: u64, is_expected: bool) {
            assert_eq!(
                table.is_expected(&table.of("a", fault, "real"), verdict, runs),
                is_expected,
                "{fault} {verdict} {runs}"
            );
        }
        check(&table, "x", Verdict::Lost, 50, true);
        check(&table, "x", Verdict::Degraded, 50, false);
        check(&table, "x", Verdict::Degraded, 49, true);
        check(&table, "y", Verdict::Degraded, 10, false);
        check(&table, "y", Verdict::NotMeasured, 49, true);
        check(&table, "y", Verdict::NotMeasured, 50, false);
        check(&table, "z", Verdict::Degraded, 10, true);
        check(&table, "z", Verdict::FalseAlarm, 10, false);
        let error = Expectations::parse("runs_for_certainty = 1\n[strategy.a]\nx = 'fine'\n").unwrap_err().to_string();
        assert!(error.contains("a under x") && error.contains("fine"), "{error}");
    }
}
