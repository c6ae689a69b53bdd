//! `progress`: once the faults have healed, every actor commits within a bounded number of attempts.
//!
//! What an outsider has done to the files does not heal. An actor that is refused then, with an error that asks for a
//! person, is not wedged.

use crate::actor::Actor;
use crate::oracle::{Evidence, Oracle, observed};
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// How often an actor may try. Each attempt is preceded by a pause of [`PAUSE_MS`] of the run's time.
pub const ATTEMPTS_MAX: u32 = 5;

/// The pause before each attempt, in milliseconds: longer than any cooldown in the field reports (30 s), so that a
/// breaker that half-opens when it says gets its chance at every attempt.
pub const PAUSE_MS: u64 = 31_000;

/// How one actor fared after the faults had healed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorProgress {
    /// The actor.
    pub actor: Actor,
    /// True if a commit was acknowledged.
    pub committed: bool,
    /// How often it tried.
    pub attempts: u32,
    /// The last error, if any.
    pub error: Option<String>,
    /// True if the last error refuses service until a person has decided.
    #[serde(default)]
    pub is_refused: bool,
}

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "progress",
    property: "after the faults have healed, every actor commits within five attempts",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let mut findings: Vec<_> = observed(Verdict::Wedged, &evidence.stuck).into_iter().collect();
    let stuck: Vec<_> = evidence.progress.iter().filter(|p| !p.committed || p.attempts > ATTEMPTS_MAX).collect();
    let Some(first) = stuck.first() else { return findings };
    let error = first.error.as_deref().unwrap_or("no answer");
    let detail = format!(
        "{} of {} actors did not commit after the faults had healed; {} tried {} times: {error}",
        stuck.len(),
        evidence.progress.len(),
        first.actor,
        first.attempts,
    );
    let is_right = evidence.is_disturbed() && stuck.iter().all(|progress| progress.is_refused);
    findings.push((if is_right { Verdict::Degraded } else { Verdict::Wedged }, detail));
    findings
}

fn canary() -> Evidence {
    let actor = Actor { process: 1, thread: 1 };
    let stuck = ActorProgress { actor, committed: false, attempts: ATTEMPTS_MAX, error: None, is_refused: true };
    Evidence { progress: vec![stuck], ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(committed: bool, attempts: u32) -> usize {
        let actor = Actor { process: 1, thread: 1 };
        let progress = vec![ActorProgress { actor, committed, attempts, error: None, is_refused: false }];
        judge(&Evidence { progress, ..Evidence::default() }).len()
    }

    #[test]
    fn canary_an_actor_that_never_commits_again_is_caught() {
        assert_eq!(found(true, 1), 0);
        assert_eq!(found(true, ATTEMPTS_MAX), 0);
        assert_eq!(found(true, ATTEMPTS_MAX + 1), 1);
        assert_eq!(found(false, ATTEMPTS_MAX), 1);
    }
}
