//! Confirms damage on the live connection, which opens and closes nothing for it.
//!
//! The answer must never be "damaged" because of a lock or a failed read. Errors are easy to tell apart. But SQLite
//! also puts failed reads among the *findings* of its check, as in `Tree 5 page 9: unable to get the page. error
//! code=266`, and goes on to report the pages below as never used. So one such line spoils the whole answer.
//!
//! A page that was misread once sits in the connection's cache and looks damaged for ever, and a damaged page may be
//! hidden by a good cached one. So the cache is emptied first.

use super::manifest::PragmaValue;
use crate::error::classify::primary;
use crate::error::{describe, extended_code};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};

/// Findings that SQLite is asked for; the first few tell the story, and a large database could have millions.
const FINDINGS_MAX: usize = 20;

/// The result of the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckVerdict {
    /// SQLite found nothing wrong.
    Sound,
    /// SQLite found this.
    Damaged {
        /// In SQLite's words, at most [`FINDINGS_MAX`] and the error that ended the check.
        findings: Vec<String>,
    },
    /// It could not be checked, so nothing may be done about it.
    Undecided {
        /// The obstacle.
        error: String,
    },
}

/// What the live connection said, for the manifest.
#[derive(Clone, Debug)]
pub(crate) struct Examination {
    pub(crate) verdict: CheckVerdict,
    pub(crate) pragmas: Vec<PragmaValue>,
}

/// Checks the database on its live connection.
///
/// If it is damaged, the connection is told to leave the log alone when it is closed. All other connections to the file
/// have to be told the same, with [`keep_log`], before the last one is closed: it would write the log into the damaged
/// file and delete it.
pub(crate) fn confirm(conn: &Connection) -> Examination {
    // Fails for no reason but a broken connection, and then the check says so.
    let _ = conn.execute_batch("PRAGMA shrink_memory");
    let mut verdict = match findings(conn) {
        (findings, None) => judge(findings),
        (mut findings, Some(error)) => match extended_code(&error) {
            Some(code) if is_damage(code) => {
                findings.push(describe(&error));
                judge(findings)
            }
            _ => CheckVerdict::Undecided { error: describe(&error) },
        },
    };
    if matches!(verdict, CheckVerdict::Damaged { .. })
        && let Err(error) = keep_log(conn)
    {
        verdict = CheckVerdict::Undecided { error: format!("the log cannot be protected: {}", describe(&error)) };
    }
    Examination { verdict, pragmas: pragmas(conn) }
}

/// Tells a connection neither to checkpoint nor to delete the log when it is closed.
pub(crate) fn keep_log(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Whether the code says that the content, and not the way to it, is broken.
pub(super) fn is_damage(code: i32) -> bool {
    matches!(primary(code), ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB)
}

fn findings(conn: &Connection) -> (Vec<String>, Option<rusqlite::Error>) {
    let mut findings = Vec::new();
    let ended = conn.prepare(&format!("PRAGMA quick_check({FINDINGS_MAX})")).and_then(|mut check| {
        let mut rows = check.query([])?;
        while let Some(row) = rows.next()? {
            // Older versions put several findings into one row.
            findings.extend(row.get::<_, String>(0)?.lines().map(str::to_owned));
        }
        Ok(())
    });
    findings.truncate(FINDINGS_MAX);
    (findings, ended.err())
}

fn judge(findings: Vec<String>) -> CheckVerdict {
    if findings == ["ok"] {
        return CheckVerdict::Sound;
    }
    if let Some(unread) = findings.iter().find(|finding| is_failed_read(finding)) {
        return CheckVerdict::Undecided { error: format!("the check could not read everything: {unread}") };
    }
    // A pointer map entry that cannot be read is damaged or was not read; SQLite does not say which.
    if findings.iter().all(|finding| finding.starts_with("*** in database") || finding.contains("read ptrmap")) {
        return CheckVerdict::Undecided { error: findings.last().cloned().unwrap_or_else(|| "no answer".to_owned()) };
    }
    CheckVerdict::Damaged { findings }
}

/// A line of SQLite's check that reports a page that could not be read, rather than one that is wrong.
fn is_failed_read(finding: &str) -> bool {
    let code = finding.split_once("unable to get the page. error code=").map(|(_, code)| code.trim().parse::<i32>());
    match code {
        Some(Ok(code)) => !is_damage(code),
        Some(Err(_)) => true,
        None => finding.contains("failed to get page"),
    }
}

fn pragmas(conn: &Connection) -> Vec<PragmaValue> {
    const NAMES: [&str; 13] = [
        "journal_mode",
        "page_size",
        "page_count",
        "freelist_count",
        "user_version",
        "application_id",
        "schema_version",
        "encoding",
        "auto_vacuum",
        "synchronous",
        "locking_mode",
        "wal_autocheckpoint",
        "data_version",
    ];
    // Older versions take an unknown kind of checkpoint for a passive one, which would write into the damaged file.
    const CHECKPOINT_NOOP_SINCE: i32 = 3_051_000;
    let mut pragmas: Vec<PragmaValue> = NAMES.iter().map(|name| ask(conn, name, &format!("PRAGMA {name}"))).collect();
    if rusqlite::version_number() >= CHECKPOINT_NOOP_SINCE {
        pragmas.push(ask(conn, "wal_checkpoint(NOOP)", "PRAGMA wal_checkpoint(NOOP)"));
    }
    pragmas
}

/// The first row of the answer, columns separated by `|` as the SQLite shell does, or the error.
fn ask(conn: &Connection, name: &str, sql: &str) -> PragmaValue {
    let answer = conn.query_row(sql, [], |row| {
        let columns = row.as_ref().column_count();
        let texts = (0..columns).map(|column| row.get::<_, rusqlite::types::Value>(column).map(text));
        texts.collect::<rusqlite::Result<Vec<String>>>()
    });
    match answer {
        Ok(texts) => PragmaValue { name: name.to_owned(), value: Some(texts.join("|")), error: None },
        Err(error) => PragmaValue { name: name.to_owned(), value: None, error: Some(describe(&error)) },
    }
}

fn text(value: rusqlite::types::Value) -> String {
    use rusqlite::types::Value;
    match value {
        Value::Null => String::new(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(findings: &[&str], is_damaged: bool) {
        let verdict = judge(findings.iter().map(|&finding| finding.to_owned()).collect());
        match (is_damaged, &verdict) {
            (true, CheckVerdict::Damaged { .. }) | (false, CheckVerdict::Undecided { .. }) => {}
            _ => panic!("{findings:?}: {verdict:?}"),
        }
    }

    #[test]
    fn a_page_that_could_not_be_read_spoils_the_answer() {
        assert_eq!(judge(vec!["ok".to_owned()]), CheckVerdict::Sound);
        check(&["Tree 2 page 5: btreeInitPage() returns error code 11"], true);
        check(&["Tree 2 page 5: unable to get the page. error code=11"], true);
        check(&["Tree 2 page 5: unable to get the page. error code=266"], false);
        check(&["Tree 2 page 5: unable to get the page. error code=10", "Page 6: never used"], false);
        check(&["Freelist: failed to get page 9", "Page 6: never used"], false);
        check(&["*** in database main ***", "Failed to read ptrmap key=9"], false);
        check(&["Failed to read ptrmap key=9", "Tree 2 page 5: free space corruption"], true);
        check(&[], false);
    }
}
