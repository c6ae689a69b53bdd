//! `durability`: after a power cut the database is as it was after some commit, and not before a commit that is
//! promised.

use crate::oracle::{Evidence, Oracle};
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// What a setting promises about a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Promise {
    /// Nothing at all.
    Nothing,
    /// The database is intact and has a prefix of the commits.
    Prefix,
    /// The database is intact and has every acknowledged commit.
    #[default]
    Every,
}

/// What a fresh process found after a power cut. Commits are numbered from 1, in the order of the transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AfterCut {
    /// What was promised.
    pub promise: Promise,
    /// The last commit that was acknowledged before the cut.
    pub acked: u32,
    /// The last commit that had begun.
    pub started: u32,
    /// The last commit that is there.
    pub survived: u32,
    /// True if the database is exactly as it was after that commit.
    pub is_whole: bool,
    /// What an integrity check or a read complained of.
    pub complaint: Option<String>,
}

impl AfterCut {
    /// How many acknowledged commits are not there.
    pub fn lost(&self) -> u32 {
        self.acked.saturating_sub(self.survived)
    }

    /// What became of the data, whatever was promised.
    pub fn verdict(&self) -> Verdict {
        if self.complaint.is_some() || !self.is_whole || self.survived > self.started {
            Verdict::Corrupt
        } else if self.lost() > 0 {
            Verdict::Lost
        } else {
            Verdict::Survived
        }
    }

    /// True if it is worse than promised.
    pub fn breaks_promise(&self) -> bool {
        let verdict = self.verdict();
        match self.promise {
            Promise::Nothing => false,
            Promise::Prefix => verdict == Verdict::Corrupt,
            Promise::Every => verdict != Verdict::Survived,
        }
    }

    /// It in words.
    pub fn sentence(&self) -> String {
        let Self { acked, started, survived, .. } = self;
        match (&self.complaint, self.verdict()) {
            (Some(complaint), _) => format!("a fresh process finds: {complaint}"),
            (None, Verdict::Lost) => {
                format!("{} of {acked} acknowledged commits are gone; the last one there is {survived}", self.lost())
            }
            (None, Verdict::Corrupt) if survived > started => {
                format!("commit {survived} is there, and only {started} had begun")
            }
            (None, Verdict::Corrupt) => {
                format!("the database is not as it was after commit {survived}, nor after another")
            }
            (None, _) => format!("all {acked} acknowledged commits are there"),
        }
    }
}

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "durability",
    property: "after a power cut the database is as it was after some commit, and not before a commit that is promised",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let broken = evidence.after_cuts.iter().filter(|after| after.breaks_promise());
    broken.map(|after| (after.verdict(), after.sentence())).collect()
}

fn canary() -> Evidence {
    let after = AfterCut { acked: 3, started: 3, survived: 2, is_whole: true, ..AfterCut::default() };
    Evidence { after_cuts: vec![after], ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_each_way_to_break_a_promise_is_caught() {
        #[track_caller]
        fn check(after: AfterCut, expected: [bool; 3], verdict: Verdict) {
            let broken = [Promise::Nothing, Promise::Prefix, Promise::Every]
                .map(|promise| AfterCut { promise, ..after.clone() }.breaks_promise());
            assert_eq!((broken, after.verdict()), (expected, verdict), "{after:?}");
        }
        let intact = AfterCut { acked: 3, started: 4, survived: 3, is_whole: true, ..AfterCut::default() };
        check(intact.clone(), [false; 3], Verdict::Survived);
        check(AfterCut { survived: 4, ..intact.clone() }, [false; 3], Verdict::Survived);
        check(AfterCut { survived: 1, ..intact.clone() }, [false, false, true], Verdict::Lost);
        check(AfterCut { survived: 5, ..intact.clone() }, [false, true, true], Verdict::Corrupt);
        check(AfterCut { is_whole: false, ..intact.clone() }, [false, true, true], Verdict::Corrupt);
        check(AfterCut { complaint: Some("bad".to_owned()), ..intact }, [false, true, true], Verdict::Corrupt);
    }
}
