//! What a run comes to: one closed list of verdicts, ordered by how bad the news is.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The outcome of a run, or of a cell of many runs (where it is the worst one).
///
/// The order is the order of severity: `a > b` means that `a` is worse news than `b`. `NotMeasured` stands lowest,
/// because a run that measured nothing must never hide one that did.
///
/// A closed list, by contract: renderers and expectation tables name every verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing was acknowledged, or no fault of the plan fired: the run says nothing.
    NotMeasured,
    /// Every operation succeeded and nothing was lost.
    Survived,
    /// Service was refused with clear errors; nothing was lost.
    Degraded,
    /// A healthy database was declared corrupt.
    FalseAlarm,
    /// No progress after the faults healed.
    Wedged,
    /// An acknowledged commit is gone or changed.
    Lost,
    /// Integrity or isolation is broken.
    Corrupt,
    /// The lab itself failed; the run says nothing about SQLite or the strategy.
    HarnessBroken,
}

impl Verdict {
    /// All verdicts, mildest first.
    pub const ALL: [Self; 8] = [
        Self::NotMeasured,
        Self::Survived,
        Self::Degraded,
        Self::FalseAlarm,
        Self::Wedged,
        Self::Lost,
        Self::Corrupt,
        Self::HarnessBroken,
    ];

    /// The word used in reports, JSON and the expectation table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotMeasured => "not-measured",
            Self::Survived => "survived",
            Self::Degraded => "degraded",
            Self::FalseAlarm => "false-alarm",
            Self::Wedged => "wedged",
            Self::Lost => "lost",
            Self::Corrupt => "corrupt",
            Self::HarnessBroken => "harness-broken",
        }
    }

    /// One sentence that says what the word means, for legends.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NotMeasured => "nothing was acknowledged, or no fault fired: the run says nothing",
            Self::Survived => "every operation succeeded and nothing was lost",
            Self::Degraded => "refused service with clear errors, lost nothing",
            Self::FalseAlarm => "declared a healthy database corrupt",
            Self::Wedged => "no progress after the faults healed",
            Self::Lost => "an acknowledged commit is gone or changed",
            Self::Corrupt => "integrity or isolation broken",
            Self::HarnessBroken => "the lab itself failed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The word is none of the eight verdicts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a verdict")]
pub struct UnknownVerdict(pub String);

impl FromStr for Verdict {
    type Err = UnknownVerdict;

    fn from_str(word: &str) -> Result<Self, UnknownVerdict> {
        Self::ALL.into_iter().find(|v| v.word() == word).ok_or_else(|| UnknownVerdict(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_parse_back_and_the_order_is_severity() {
        for pair in Verdict::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        for verdict in Verdict::ALL {
            assert_eq!(verdict.word().parse(), Ok(verdict));
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.word());
        }
        assert!("fine".parse::<Verdict>().is_err());
    }
}
