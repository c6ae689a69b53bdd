//! `first-attempt`: once the faults have healed, every actor commits at its first attempt.

use crate::actor::Actor;
use crate::oracle::progress::ActorProgress;
use crate::oracle::{Evidence, Oracle};
use crate::verdict::Verdict;

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "first-attempt",
    property: "after the faults have healed, every actor commits at its first attempt",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let slow = evidence.progress.iter().find(|actor| actor.attempts > 1);
    let finding = |slow: &ActorProgress| format!("{} needed {} attempts", slow.actor, slow.attempts);
    slow.map(|slow| (Verdict::Degraded, finding(slow))).into_iter().collect()
}

fn canary() -> Evidence {
    let actor = Actor { process: 1, thread: 1 };
    let slow = ActorProgress { actor, committed: true, attempts: 2, error: None, is_refused: false };
    Evidence { progress: vec![slow], ..Evidence::default() }
}
