//! `alarm`: no report calls a healthy database corrupt.

use crate::actor::Actor;
use crate::oracle::table::Table;
use crate::oracle::{Evidence, Oracle};
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// A report that the database is corrupt: an operation ended in SQLITE_CORRUPT or SQLITE_NOTADB, or the strategy said
/// so itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// The actor that was told.
    pub actor: Actor,
    /// What was said.
    pub message: String,
}

/// See the module's documentation.
pub const ORACLE: Oracle =
    Oracle { name: "alarm", property: "no caller is told that a healthy database is corrupt", judge, canary };

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
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

fn canary() -> Evidence {
    let alarm = Alarm { actor: Actor { process: 1, thread: 1 }, message: "malformed".to_owned() };
    Evidence { alarms: vec![alarm], table: Some(Table::new()), ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::integrity::Check;

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
        judge(&evidence).len()
    }

    #[test]
    fn canary_an_alarm_over_a_healthy_database_is_caught() {
        assert_eq!(found(0, &[]), 0);
        assert_eq!(found(3, &[]), 1);
        assert_eq!(found(3, &["row 1 missing from index"]), 0, "the alarm was right");
    }
}
