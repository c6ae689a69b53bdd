//! The cells of a record as tables: one for each medium, a row for each fault, a column for each strategy, in the order
//! of the record.

use seawall_harness::record::{Cell, SoakRecord};
use std::collections::HashMap;

/// The cells of one medium.
pub(crate) struct Grid<'a> {
    /// `real` or `sim`.
    pub(crate) medium: &'a str,
    /// The columns.
    pub(crate) strategies: Vec<&'a str>,
    /// The rows.
    pub(crate) rows: Vec<Row<'a>>,
}

/// One fault and its cell for each strategy.
pub(crate) struct Row<'a> {
    /// The fault's name.
    pub(crate) fault: &'a str,
    /// A cell for each strategy of the grid, if the record has one, with its position in the record.
    pub(crate) cells: Vec<Option<(usize, &'a Cell)>>,
}

/// The cells of the record, by medium.
pub(crate) fn grids(record: &SoakRecord) -> Vec<Grid<'_>> {
    let media = distinct(record.matrix.iter().map(|c| c.medium.as_str()));
    media.into_iter().map(|medium| grid(record, medium)).collect()
}

fn grid<'a>(record: &'a SoakRecord, medium: &'a str) -> Grid<'a> {
    let cells = || record.matrix.iter().enumerate().filter(move |(_, c)| c.medium == medium);
    let strategies = distinct(cells().map(|(_, c)| c.strategy.as_str()));
    let faults = distinct(cells().map(|(_, c)| c.fault.as_str()));
    let by_name: HashMap<_, _> = cells().map(|(i, c)| ((c.strategy.as_str(), c.fault.as_str()), (i, c))).collect();
    let rows = faults
        .into_iter()
        .map(|fault| Row { fault, cells: strategies.iter().map(|s| by_name.get(&(*s, fault)).copied()).collect() })
        .collect();
    Grid { medium, strategies, rows }
}

/// The heading of a medium.
pub(crate) fn medium_heading(medium: &str) -> String {
    match medium {
        "real" => "On real files".to_owned(),
        "sim" => "In the simulator".to_owned(),
        other => format!("On the medium {other}"),
    }
}

/// The values without repetitions, in the order of their first appearance.
pub(crate) fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut out: Vec<&str> = Vec::new();
    for value in values {
        if !out.contains(&value) {
            out.push(value);
        }
    }
    out
}
