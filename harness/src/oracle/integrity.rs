//! `integrity`: integrity_check, quick_check and foreign_key_check find nothing, on a live and on a fresh connection.

use crate::oracle::{Evidence, Oracle};
use crate::verdict::Verdict;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// The pragmas that are run, in this order.
pub const PRAGMAS: [&str; 3] = ["integrity_check", "quick_check", "foreign_key_check"];

/// What the pragmas said on one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which connection: `fresh`, or `live in p1`.
    pub connection: String,
    /// The complaints; empty if all is well. At most 20 for each pragma.
    pub complaints: Vec<String>,
    /// The error that kept a pragma from running, if it was not one that itself says "corrupt".
    pub unfinished: Option<String>,
}

/// Runs the pragmas.
pub fn check(connection: &Connection, name: &str) -> Check {
    let mut check = Check { connection: name.to_owned(), complaints: Vec::new(), unfinished: None };
    for pragma in PRAGMAS {
        match complaints(connection, pragma) {
            Ok(lines) => check.complaints.extend(lines.into_iter().map(|line| format!("{pragma}: {line}"))),
            Err(error) if says_corrupt(&error) => check.complaints.push(format!("{pragma}: {error}")),
            Err(error) => check.unfinished = Some(format!("{pragma}: {error}")),
        }
    }
    check
}

fn complaints(connection: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
    let mut rows = statement.query([])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        if pragma == "foreign_key_check" {
            let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
            lines.push(format!("a row of {table} has no parent in {parent}"));
        } else {
            lines.push(row.get(0)?);
        }
        if lines.len() == 20 {
            break;
        }
    }
    lines.retain(|line| line != "ok");
    Ok(lines)
}

/// True for the two codes by which SQLite calls a file broken.
pub fn says_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "integrity",
    property: "integrity_check, quick_check and foreign_key_check find nothing, on live and fresh connections",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let broken = evidence.checks.iter().filter(|check| !check.complaints.is_empty());
    broken
        .map(|check| {
            let more = match check.complaints.len() {
                1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            (Verdict::Corrupt, format!("{} connection: {}{more}", check.connection, check.complaints[0]))
        })
        .collect()
}

fn canary() -> Evidence {
    let complaints = vec!["integrity_check: row 1 missing from index ledger_by_version".to_owned()];
    let check = Check { connection: "fresh".to_owned(), complaints, unfinished: None };
    Evidence { checks: vec![check], ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::table;
    use std::fs;

    fn found(connection: &Connection) -> Vec<String> {
        let evidence = Evidence { checks: vec![check(connection, "fresh")], ..Evidence::default() };
        judge(&evidence).into_iter().map(|(_, detail)| detail).collect()
    }

    #[test]
    fn canary_a_row_missing_from_an_index_is_caught() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(table::SCHEMA).unwrap();
        connection
            .execute_batch(
                "INSERT INTO ledger_actors VALUES('p1.t1');
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                 INSERT INTO ledger SELECT 'p1.t1', i, 0, 1, 0, zeroblob(10) FROM n;",
            )
            .unwrap();
        assert_eq!(found(&connection), Vec::<String>::new());
        let root: i64 = connection
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'ledger_by_version'", [], |row| row.get(0))
            .unwrap();
        drop(connection);
        let mut bytes = fs::read(&path).unwrap();
        // The rightmost child pointer of the index's root now points to the root of another b-tree.
        let at = (root as usize - 1) * 4096 + 8;
        bytes[at..at + 4].copy_from_slice(&2_u32.to_be_bytes());
        fs::write(&path, bytes).unwrap();
        assert!(!found(&Connection::open(&path).unwrap()).is_empty());
    }

    #[test]
    fn canary_a_row_without_its_parent_is_caught() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(table::SCHEMA).unwrap();
        connection
            .execute_batch("PRAGMA foreign_keys = OFF; INSERT INTO ledger VALUES('p1.t1', 1, 0, 1, 0, x'');")
            .unwrap();
        assert_eq!(found(&connection).len(), 1);
    }

    #[test]
    fn canary_a_file_that_is_no_database_is_caught() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        fs::write(&path, vec![7; 8192]).unwrap();
        assert_eq!(found(&Connection::open(&path).unwrap()).len(), 1);
    }
}
