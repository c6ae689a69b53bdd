//! What of a cell is not as expected: its verdict, or that plain SQLite did better.

use crate::format::count;
use seawall_harness::record::Cell;
use seawall_harness::verdict::Verdict;

/// The expected verdicts, as the table has them, if the verdict of the cell is not among them.
pub(crate) fn expected(cell: &Cell) -> Option<&str> {
    let is_listed = match cell.expected.as_str() {
        "" => cell.verdict <= Verdict::Degraded,
        expected => expected.split('|').any(|word| word == cell.verdict.word()),
    };
    let is_explained = cell.worse_than_plain.is_some() && is_listed;
    (!cell.as_expected && !is_explained).then_some(&cell.expected)
}

/// That plain SQLite did better, with the figures of both: `worse than plain SQLite: 12 lost against 3`.
pub(crate) fn worse(cell: &Cell) -> Option<String> {
    let worse = cell.worse_than_plain.as_ref()?;
    let lost = (worse.lost > worse.plain_lost).then(|| format!("{} lost against {}", worse.lost, worse.plain_lost));
    let corrupt = (worse.corrupt > worse.plain_corrupt)
        .then(|| format!("{} against {}", count(worse.corrupt, "corrupt run"), worse.plain_corrupt));
    let both: Vec<String> = lost.into_iter().chain(corrupt).collect();
    Some(format!("worse than plain SQLite: {}", both.join(", ")))
}
