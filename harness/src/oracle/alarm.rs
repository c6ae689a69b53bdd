//! `alarm`: nobody calls a healthy database corrupt.

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::oracle::{Evidence, Oracle};
use crate::verdict::Verdict;

/// Somebody called the database corrupt: an operation ended in SQLITE_CORRUPT or SQLITE_NOTADB, or the strategy said so
/// itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Who was told.
    pub actor: Actor,
    /// What was said.
    pub message: String,
}

/// See the module's documentation.
pub struct AlarmOracle;

impl Oracle for AlarmOracle {
    fn name(&self) -> &'static str {
        "alarm"
    }

    fn property(&self) -> &'static str {
        "nobody calls a healthy database corrupt"
    }

    fn judge(&self, evidence: &Evidence) -> Vec<(Verdict, String)> {
        let broken = evidence.table.is_none() || evidence.checks.iter().any(|check| !check.complaints.is_empty());
        match evidence.alarms.first() {
            Some(first) if !broken => {
                let count = evidence.alarms.len();
                let detail =
                    format!("{count} alarms over a healthy database; first, by {}: {}", first.actor, first.message);
                vec![(Verdict::FalseAlarm, detail)]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{integrity::Check, table::Table};

    fn found(alarms: usize, complaints: &[&str]) -> usize {
        let alarm = Alarm { actor: Actor { process: 1, thread: 1 }, message: "malformed".to_owned() };
        let complaints = complaints.iter().map(|s| (*s).to_owned()).collect();
        let check = Check { connection: "fresh".to_owned(), complaints, unfinished: None };
        let evidence = Evidence {
            alarms: vec![alarm; alarms],
            checks: vec![check],
            table: Some(Table::new()),
            ..Evidence::default()
        };
        AlarmOracle.judge(&evidence).len()
    }

    #[test]
    fn canary_an_alarm_over_a_healthy_database_is_caught() {
        assert_eq!(found(0, &[]), 0);
        assert_eq!(found(3, &[]), 1);
        assert_eq!(found(3, &["row 1 missing from index"]), 0, "the alarm was right");
    }
}
