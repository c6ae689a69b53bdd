//! `economy`: a strategy that promises to keep its connections does keep them.
//!
//! Judged only where nothing failed: a strategy may spend what it needs on recovery.

use crate::oracle::{Evidence, Oracle};
use crate::verdict::Verdict;

/// What a strategy promises for a process in which nothing fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The most opens of the database file in one process.
    pub opens_max: u64,
    /// The most schema initialisations in one process.
    pub schema_inits_max: u64,
}

/// What was promised and what was spent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spending {
    /// `None` for a strategy that promises nothing.
    pub promise: Option<Promise>,
    /// How many processes were started.
    pub starts: u64,
    /// Opens of the database file by the strategy.
    pub opens: u64,
    /// Schema initialisations.
    pub schema_inits: u64,
    /// True if no fault fired, no process was killed and no operation failed.
    pub undisturbed: bool,
}

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "economy",
    property: "where nothing fails, a strategy opens and initialises no more often than it promises",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let Spending { promise, starts, opens, schema_inits, undisturbed } = evidence.economy;
    let Some(promise) = promise.filter(|_| undisturbed) else { return Vec::new() };
    let spent =
        [("opens", opens, promise.opens_max), ("schema initialisations", schema_inits, promise.schema_inits_max)];
    spent
        .into_iter()
        .filter(|(_, spent, max)| *spent > max * starts)
        .map(|(what, spent, max)| {
            (Verdict::Degraded, format!("{spent} {what} in {starts} processes, promised at most {max} in each"))
        })
        .collect()
}

fn canary() -> Evidence {
    let promise = Some(Promise { opens_max: 1, schema_inits_max: 1 });
    let economy = Spending { promise, starts: 1, opens: 2, schema_inits: 1, undisturbed: true };
    Evidence { economy, ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(opens: u64, schema_inits: u64, undisturbed: bool) -> usize {
        let promise = Some(Promise { opens_max: 2, schema_inits_max: 1 });
        let economy = Spending { promise, starts: 3, opens, schema_inits, undisturbed };
        judge(&Evidence { economy, ..Evidence::default() }).len()
    }

    #[test]
    fn canary_a_cache_that_opens_at_every_call_is_caught() {
        assert_eq!(found(6, 3, true), 0);
        assert_eq!(found(7, 3, true), 1);
        assert_eq!(found(6, 4, true), 1);
        assert_eq!(found(700, 400, false), 0, "recovery may cost");
    }
}
