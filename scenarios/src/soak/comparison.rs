//! The comparison oracle: a strategy of this project's layer never loses more transactions, and never leaves more
//! databases corrupt, than plain SQLite under the same fault, on the same medium, from the same seeds.
//!
//! It stands above the verdicts: where the table expects a loss of the layer because nothing can be saved, plain SQLite
//! must have lost as much. Only runs that both executed are compared, because a soak may end between two runs of the
//! same seed, and a partition may have only one of them.

use super::SoakConfig;
use crate::expectations::Expectations;
use crate::strategies;
use seawall_harness::record::{Cell, Comparison, HarmedRun};
use seawall_harness::verdict::Verdict;
use std::collections::BTreeMap;

/// The strategy that is plain SQLite: a connection for each call, and every error reported.
pub const PLAIN: &str = "percall";

/// What one run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunFigures {
    /// Acknowledged transactions that were lost.
    pub(super) lost: u64,
    /// True if the verdict is `corrupt`.
    pub(super) is_corrupt: bool,
}

/// The runs of a cell by their numbers, from which their seeds follow.
pub(super) type Runs = BTreeMap<u64, RunFigures>;

/// Runs as a cell of a record has them: sequences of numbers, and those that were harmed.
pub(super) fn to_cell(runs: &Runs) -> (Vec<(u64, u64)>, Vec<HarmedRun>) {
    let mut numbers: Vec<(u64, u64)> = Vec::new();
    for number in runs.keys().copied() {
        match numbers.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => numbers.push((number, number)),
        }
    }
    let harmed = |(number, run): (&u64, &RunFigures)| {
        let RunFigures { lost, is_corrupt: corrupt } = *run;
        (lost > 0 || corrupt).then_some(HarmedRun { number: *number, lost, corrupt })
    };
    (numbers, runs.iter().filter_map(harmed).collect())
}

/// The runs of a cell.
pub(super) fn of_cell(cell: &Cell) -> Runs {
    let unharmed = RunFigures { lost: 0, is_corrupt: false };
    let mut runs: Runs = cell.numbers.iter().flat_map(|(first, last)| *first..=*last).map(|n| (n, unharmed)).collect();
    for HarmedRun { number, lost, corrupt } in &cell.harmed {
        runs.insert(*number, RunFigures { lost: *lost, is_corrupt: *corrupt });
    }
    runs
}

/// The runs of plain SQLite, by fault and medium.
pub(super) struct Baseline(BTreeMap<(String, String), Runs>);

impl Baseline {
    /// Those of a matrix; none if plain SQLite is no part of it.
    pub(super) fn of(matrix: &[Cell]) -> Self {
        let plain = matrix.iter().filter(|cell| cell.strategy == PLAIN);
        Self(plain.map(|cell| ((cell.fault.clone(), cell.medium.clone()), of_cell(cell))).collect())
    }

    /// Marks the cell as not as expected if it is one of the layer and plain SQLite did better. Where the table
    /// declares that the layer may lose, a few runs say nothing: one more loss or one less is chance. Where it declares
    /// that plain SQLite may do better, the figures are told and are no news.
    pub(super) fn judge(&self, expectations: &Expectations, cell: &mut Cell) {
        let plain = self.0.get(&(cell.fault.clone(), cell.medium.clone()));
        let entry = strategies::ALL.iter().find(|entry| entry.name == cell.strategy);
        let (Some(plain), Some(entry)) = (plain, entry.filter(|entry| entry.is_layer)) else { return };
        let expected = expectations.of(entry.name, &cell.fault, &cell.medium);
        let may_lose = expected.worst().is_some_and(|worst| worst >= Verdict::Lost) && !entry.is_canary;
        let comparison = compare(&of_cell(cell), plain);
        cell.worse_than_plain = comparison.filter(|comparison| !may_lose || expectations.is_certain(comparison.runs));
        cell.as_expected &=
            cell.worse_than_plain.is_none() || expectations.may_be_worse_than_plain(entry.name, &cell.fault);
    }
}

impl SoakConfig {
    /// True if strategies of the layer are part of the soak and plain SQLite is not, so that nothing is compared.
    pub fn lacks_plain(&self) -> bool {
        self.strategies.iter().any(|entry| entry.is_layer) && self.strategies.iter().all(|entry| entry.name != PLAIN)
    }
}

/// The figures of both where the layer did worse.
fn compare(layer: &Runs, plain: &Runs) -> Option<Comparison> {
    let both: Vec<(RunFigures, RunFigures)> =
        layer.iter().filter_map(|(nth, run)| Some((*run, *plain.get(nth)?))).collect();
    let lost = |run: RunFigures| run.lost;
    let corrupt = |run: RunFigures| u64::from(run.is_corrupt);
    let of_layer = |figure: fn(RunFigures) -> u64| both.iter().map(|(layer, _)| figure(*layer)).sum::<u64>();
    let of_plain = |figure: fn(RunFigures) -> u64| both.iter().map(|(_, plain)| figure(*plain)).sum::<u64>();
    let comparison = Comparison {
        plain: PLAIN.to_owned(),
        runs: both.len() as u64,
        lost: of_layer(lost),
        plain_lost: of_plain(lost),
        corrupt: of_layer(corrupt),
        plain_corrupt: of_plain(corrupt),
    };
    let is_worse = comparison.lost > comparison.plain_lost || comparison.corrupt > comparison.plain_corrupt;
    is_worse.then_some(comparison)
}

#[cfg(test)]
mod tests {
    use super::super::tally::{Heading, Tally};
    use super::*;
    use crate::faults;
    use crate::run::spec::{REAL, SIM};
    use seawall_harness::seed::Seed;
    use seawall_harness::token::FaultName;

    /// Runs by number: lost transactions, and whether the database was corrupt.
    fn runs(figures: &[(u64, u64, bool)]) -> Runs {
        figures.iter().map(|&(nth, lost, is_corrupt)| (nth, RunFigures { lost, is_corrupt })).collect()
    }

    #[track_caller]
    fn check(layer: &[(u64, u64, bool)], plain: &[(u64, u64, bool)], expected: Option<[u64; 5]>) {
        let found = compare(&runs(layer), &runs(plain));
        let figures = found.map(|it| [it.runs, it.lost, it.plain_lost, it.corrupt, it.plain_corrupt]);
        assert_eq!(figures, expected);
    }

    #[test]
    fn the_layer_may_lose_as_much_as_plain_sqlite_and_not_more() {
        check(&[(0, 3, false)], &[(0, 3, false)], None);
        check(&[(0, 3, false), (1, 0, false)], &[(0, 0, false), (1, 3, false)], None);
        check(&[(0, 4, false)], &[(0, 3, false)], Some([1, 4, 3, 0, 0]));
        check(&[], &[(0, 0, false)], None);
    }

    #[test]
    fn the_layer_may_leave_as_many_databases_corrupt_and_not_more() {
        check(&[(0, 0, true)], &[(0, 9, true)], None);
        check(&[(0, 0, true)], &[(0, 9, false)], Some([1, 0, 9, 1, 0]));
    }

    #[test]
    fn only_runs_from_the_same_seeds_are_compared() {
        check(&[(0, 9, true), (1, 1, false)], &[(1, 1, false), (2, 0, false)], None);
        check(&[(0, 9, true), (1, 2, false)], &[(1, 1, false), (2, 7, true)], Some([1, 2, 1, 0, 0]));
    }

    fn config(names: &[&str]) -> SoakConfig {
        SoakConfig {
            seed: Seed(1),
            strategies: names.iter().map(|name| strategies::find(name).unwrap()).collect(),
            faults: vec![faults::find(&FaultName::Named("none".to_owned())).unwrap()],
            media: vec![REAL, SIM],
            duration: None,
            count: Some(1),
            jobs: 1,
            partition: (1, 1),
        }
    }

    /// Whether the cells of these strategies are as expected if they lose so much in one run in the simulator.
    fn cells(table: &Expectations, strategies: &[(&str, u64)]) -> Vec<bool> {
        let names: Vec<&str> = strategies.iter().map(|(name, _)| *name).collect();
        let config = config(&names);
        let cell = |(entry, (_, lost)): (&&strategies::Entry, &(&str, u64))| {
            let mut tally = Tally::default();
            tally.by_number = runs(&[(0, *lost, false)]);
            let cell = tally.into_cell(Heading::new(entry, &config.faults[0], SIM), table);
            Cell { as_expected: true, ..cell }
        };
        let mut matrix: Vec<Cell> = config.strategies.iter().zip(strategies).map(cell).collect();
        let baseline = Baseline::of(&matrix);
        matrix.iter_mut().for_each(|cell| baseline.judge(table, cell));
        matrix.iter().map(|cell| cell.as_expected).collect()
    }

    #[test]
    fn a_cell_keeps_its_runs() {
        let runs = runs(&[(0, 0, false), (1, 3, false), (2, 0, true), (7, 0, false)]);
        let (numbers, harmed) = to_cell(&runs);
        assert_eq!((numbers.as_slice(), harmed.len()), (&[(0, 2), (7, 7)][..], 2));
        let mut tally = Tally::default();
        tally.by_number = runs.clone();
        let entry = strategies::find(PLAIN).unwrap();
        let fault = faults::find(&FaultName::Named("none".to_owned())).unwrap();
        assert_eq!(of_cell(&tally.into_cell(Heading::new(entry, &fault, SIM), &Expectations::reviewed())), runs);
    }

    #[test]
    fn cells_of_the_layer_alone_are_compared_and_only_with_plain_sqlite() {
        let cells = |strategies| cells(&Expectations::reviewed(), strategies);
        assert_eq!(cells(&[("percall", 3), ("openhuman", 9), ("seawall", 4)]), [true, true, false]);
        assert_eq!(cells(&[("seawall-store", 4), ("percall", 3)]), [false, true]);
        assert_eq!(cells(&[("seawall", 3), ("percall", 3)]), [true, true]);
        assert_eq!(cells(&[("openhuman", 3), ("seawall", 4)]), [true, true]);
    }

    #[test]
    fn where_the_table_declares_it_plain_sqlite_may_do_better() {
        let table = |declared| {
            let cells = "[strategy.seawall]\nnone = 'lost'\n[strategy.seawall-store]\nnone = 'lost'";
            Expectations::parse(&format!("runs_for_certainty = 1\n{cells}\n{declared}")).unwrap()
        };
        let runs = [("percall", 3), ("seawall", 4), ("seawall-store", 4)];
        assert_eq!(cells(&table(""), &runs), [true, false, false]);
        assert_eq!(cells(&table("[worse_than_plain]\nseawall = ['none']"), &runs), [true, true, false]);
    }

    #[test]
    fn a_soak_without_plain_sqlite_says_that_nothing_is_compared() {
        assert!(config(&["openhuman", "seawall"]).lacks_plain());
        assert!(!config(&["percall", "seawall"]).lacks_plain());
        assert!(!config(&["openhuman"]).lacks_plain());
    }
}
