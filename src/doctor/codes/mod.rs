//! The kinds of findings: one closed list, from which come the findings, `seawall doctor --explain CODE` and the page
//! `docs/doctor.md`.

mod table;

pub(super) use table::Code;

use super::findings::Severity;
use serde::Serialize;

/// What a kind of finding means, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// Its stable name, like `lost-locks`.
    pub code: &'static str,
    /// How bad it can be, worst first. A finding itself says which it is.
    pub severities: &'static [Severity],
    /// It, in one sentence.
    pub title: &'static str,
    /// What happens, and why.
    pub meaning: &'static str,
    /// What helps. The next step of a finding says what helps in its state.
    pub to_do: &'static str,
    /// What makes it worse.
    pub not_to_do: &'static str,
}

/// The kind of finding of that name; `None` if there is none.
///
/// ```
/// let kind = seawall::doctor::explain("lost-locks").unwrap();
/// assert_eq!(kind.severities, [seawall::doctor::Severity::Danger]);
/// assert!(seawall::doctor::explain("healthy").is_none());
/// ```
pub fn explain(code: &str) -> Option<&'static Explanation> {
    codes().iter().find(|kind| kind.code == code)
}

/// All kinds of findings, the dangerous ones first.
pub fn codes() -> &'static [Explanation] {
    &table::EXPLANATIONS
}

impl Code {
    /// What it means.
    pub(super) fn explanation(self) -> &'static Explanation {
        &table::EXPLANATIONS[self as usize]
    }
}

#[cfg(test)]
mod tests;
