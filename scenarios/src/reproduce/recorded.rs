//! The comparison of two executions.

use seawall_harness::record::Finding;
use seawall_harness::story;

/// The result of an execution, as far as it must be the same the next time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Checksum over all calls.
    pub digest: Option<String>,
    /// The calls, one a line; if there are too many, the last ones.
    pub calls: Vec<String>,
    /// The findings, worst first.
    pub findings: Vec<Finding>,
}

impl Recorded {
    /// Itself, unless it stands in a file that was made by hand and says nothing.
    pub fn if_comparable(self) -> Option<Self> {
        (self.digest.is_some() || !self.calls.is_empty()).then_some(self)
    }

    /// The first thing in which an execution differs from this one, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (calls, others) = both_keep(&self.calls, &other.calls);
        let calls = if self.calls.is_empty() { None } else { story::difference(calls, others) };
        calls.or_else(|| findings_difference(&self.findings, &other.findings)).or_else(|| {
            let (one, other) = (self.digest.as_ref()?, other.digest.as_deref().unwrap_or("none"));
            let rest = if self.calls.is_empty() { "" } else { "; the calls that both keep are the same" };
            (one != other).then(|| format!("the digest is {one} in one and {other} in the other{rest}"))
        })
    }
}

/// If there are too many calls, only the last ones are kept: the lines from where the later of the two lists begins.
fn both_keep<'a>(one: &'a [String], other: &'a [String]) -> (&'a [String], &'a [String]) {
    let number = |line: &String| line.split(' ').next().and_then(|number| number.parse::<u64>().ok());
    let begin = one.first().and_then(number).max(other.first().and_then(number));
    let kept = |lines: &'a [String]| {
        let before = lines.iter().take_while(|line| number(line).is_some_and(|number| Some(number) < begin)).count();
        &lines[before..]
    };
    (kept(one), kept(other))
}

fn findings_difference(one: &[Finding], other: &[Finding]) -> Option<String> {
    let at = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at))?;
    let words = |finding: Option<&Finding>| match finding {
        Some(Finding { oracle, verdict, detail }) => format!("`{oracle} ({verdict}): {detail}`"),
        None => "no further finding".to_owned(),
    };
    let (one, other) = (words(one.get(at)), words(other.get(at)));
    Some(format!("the first differing finding is {one} in one and {other} in the other"))
}
