//! Confirms damage on the live connection, which opens and closes nothing for it.
//!
//! Damage is a page of the main database that cannot be right. `PRAGMA quick_check` reports more than that, and only
//! what its check of the b-trees finds counts. SQLite puts those findings into one row that begins with
//! `*** in database main ***`. What else it reports leaves the database where it is:
//!
//! - rows that violate CHECK, NOT NULL, UNIQUE or a type, indexes with a wrong number of entries, and what virtual
//!   tables say of themselves (an FTS index out of step): every page is well, and the rows can be read and mended;
//! - pages that belong to nothing (`never used`): they hold no row;
//! - failed reads, as in `Tree 5 page 9: unable to get the page. error code=266`. SQLite goes on and reports the pages
//!   below as never used, so one such line spoils the whole answer. A device that fails may also come out as malformed
//!   content; then the file has an errno;
//! - a schema that this SQLite cannot parse, a collation or a module that is not there: the check is made again without
//!   the objects that cannot be parsed.
//!
//! Attached databases are not checked at all.
//!
//! A page that was misread once sits in the connection's cache and looks damaged for ever, and a damaged page may be
//! hidden by a good cached one. So the cache is emptied first.

use super::manifest::PragmaValue;
use crate::error::classify::primary;
use crate::error::{describe, extended_code};
use crate::ffi;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::ffi::{
    SQLITE_CORRUPT, SQLITE_CORRUPT_INDEX, SQLITE_CORRUPT_SEQUENCE, SQLITE_CORRUPT_VTAB, SQLITE_NOTADB,
};

/// Findings that SQLite is asked for; the first few tell the story, and a large database could have millions.
const FINDINGS_MAX: usize = 20;
/// The beginning of the row in which SQLite puts what is wrong with the pages of a database.
const HEADING: &str = "*** in database ";

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
    /// No page is damaged, but SQLite is not content: rows, indexes or virtual tables contradict the schema.
    OutOfStep {
        /// The first finding.
        finding: String,
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
    let mut verdict = check(conn, "quick_check");
    if matches!(verdict, CheckVerdict::Damaged { .. })
        && let Some(errno) = ffi::file_errno(conn).filter(|&errno| is_device_failure(errno))
    {
        let reason = std::io::Error::from_raw_os_error(errno);
        verdict = CheckVerdict::Undecided { error: format!("a read of the file has failed: {reason}") };
    }
    if matches!(verdict, CheckVerdict::Damaged { .. })
        && let Err(error) = keep_log(conn)
    {
        verdict = CheckVerdict::Undecided { error: format!("the log cannot be protected: {}", describe(&error)) };
    }
    Examination { verdict, pragmas: pragmas(conn) }
}

/// What SQLite's full check says of a database that no other process uses.
pub(crate) fn integrity(conn: &Connection) -> CheckVerdict {
    check(conn, "integrity_check")
}

/// Tells a connection neither to checkpoint nor to delete the log when it is closed.
pub(crate) fn keep_log(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Whether the code says that a page, and not the way to it, is broken. A virtual table, `sqlite_sequence` and an index
/// that are out of step have codes of the same family.
pub(super) fn is_damage(code: i32) -> bool {
    const OUT_OF_STEP: [i32; 3] = [SQLITE_CORRUPT_VTAB, SQLITE_CORRUPT_SEQUENCE, SQLITE_CORRUPT_INDEX];
    matches!(primary(code), SQLITE_CORRUPT | SQLITE_NOTADB) && !OUT_OF_STEP.contains(&code)
}

/// What the file system answers where the device fails, and SQLite may say that the content is malformed.
fn is_device_failure(errno: i32) -> bool {
    matches!(errno, libc::EIO | libc::ENXIO | libc::ENODEV | libc::ESTALE | libc::ERANGE | libc::ETIMEDOUT)
}

/// What a check of SQLite says: its rows, and the error that ended it.
struct Answer {
    rows: Vec<String>,
    error: Option<rusqlite::Error>,
}

impl Answer {
    /// The error, if it may come from a damaged page.
    fn damage(&self) -> Option<&rusqlite::Error> {
        self.error.as_ref().filter(|error| extended_code(error).is_some_and(is_damage))
    }
}

fn check(conn: &Connection, pragma: &str) -> CheckVerdict {
    let whole = format!("PRAGMA main.{pragma}({FINDINGS_MAX})");
    let mut answer = ask_rows(conn, &whole);
    if answer.damage().is_some() && !has_findings(&answer.rows) {
        // The schema may be what cannot be read. With this setting, SQLite passes over what it cannot parse.
        let _ = conn.execute_batch("PRAGMA writable_schema = ON");
        answer = ask_rows(conn, &whole);
        if answer.damage().is_some() && !has_findings(&answer.rows) {
            // The base, without the other tables and the modules: it has a page that is damaged, or the error is
            // theirs.
            let base = ask_rows(conn, &format!("PRAGMA main.{pragma}(sqlite_schema)"));
            if base.damage().is_some() || has_findings(&base.rows) {
                answer = base;
            } else {
                let error = answer.error.as_ref().map(describe).unwrap_or_default();
                answer.error = None;
                answer.rows = vec![format!("a table or a module: {error}")];
            }
        }
        let _ = conn.execute_batch("PRAGMA writable_schema = OFF");
    }
    let is_damage = answer.damage().is_some();
    match answer.error {
        Some(error) if is_damage => judge(&answer.rows, Some(describe(&error))),
        Some(error) => CheckVerdict::Undecided { error: describe(&error) },
        None => judge(&answer.rows, None),
    }
}

fn ask_rows(conn: &Connection, sql: &str) -> Answer {
    let mut rows = Vec::new();
    let ended = conn.prepare(sql).and_then(|mut check| {
        let mut found = check.query([])?;
        while let Some(row) = found.next()? {
            rows.push(row.get(0)?);
        }
        Ok(())
    });
    Answer { rows, error: ended.err() }
}

/// What the check of the b-trees has found: all lines of the rows that begin with its heading. A name with a newline in
/// another row is not mistaken for it.
fn findings(rows: &[String]) -> impl Iterator<Item = &str> {
    let of_pages = rows.iter().filter(|row| row.starts_with(HEADING));
    of_pages.flat_map(|row| row.lines()).filter(|line| !line.starts_with(HEADING))
}

fn has_findings(rows: &[String]) -> bool {
    findings(rows).next().is_some()
}

/// The verdict on the rows of a check, and on the error of a damaged page that has ended it.
fn judge(rows: &[String], error: Option<String>) -> CheckVerdict {
    if error.is_none() && rows == ["ok"] {
        return CheckVerdict::Sound;
    }
    if let Some(unread) = findings(rows).find(|finding| is_failed_read(finding)) {
        return CheckVerdict::Undecided { error: format!("the check could not read everything: {unread}") };
    }
    // A pointer map entry that cannot be read is damaged or was not read; SQLite does not say which.
    let damage = findings(rows).find(|finding| !finding.contains("read ptrmap") && !finding.ends_with(": never used"));
    if damage.is_none() && error.is_none() {
        let other = findings(rows).map(str::to_owned).chain(rows.iter().cloned()).next();
        return match other {
            Some(other) if findings(rows).any(|finding| finding.contains("read ptrmap")) => {
                CheckVerdict::Undecided { error: other }
            }
            Some(other) => CheckVerdict::OutOfStep { finding: other },
            None => CheckVerdict::Undecided { error: "no answer".to_owned() },
        };
    }
    let told = findings(rows).map(str::to_owned).take(FINDINGS_MAX).chain(error).collect();
    CheckVerdict::Damaged { findings: told }
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

    const HEAD: &str = "*** in database main ***\n";

    /// What is said of the rows: `sound`, `out of step`, `damaged` or `undecided`.
    #[track_caller]
    fn check(rows: &[&str], error: Option<&str>, expected: &str) {
        let rows: Vec<String> = rows.iter().map(|row| row.replace("{head}", HEAD)).collect();
        let verdict = judge(&rows, error.map(str::to_owned));
        let told = match &verdict {
            CheckVerdict::Sound => "sound",
            CheckVerdict::OutOfStep { .. } => "out of step",
            CheckVerdict::Damaged { .. } => "damaged",
            CheckVerdict::Undecided { .. } => "undecided",
        };
        assert_eq!(told, expected, "{rows:?}: {verdict:?}");
    }

    #[test]
    fn only_damaged_pages_are_damage() {
        check(&["ok"], None, "sound");
        check(&["{head}Tree 2 page 5: btreeInitPage() returns error code 11"], None, "damaged");
        check(&["{head}Freelist: size is 3 but should be 4"], None, "damaged");
        check(&["{head}Page 6: never used\nTree 2 page 5 cell 0: Rowid 3 out of order"], None, "damaged");
        check(&["{head}Page 6: never used\nPage 7: never used"], None, "out of step");
        check(&["CHECK constraint failed in t", "NULL value in t.x"], None, "out of step");
        check(&["malformed inverted index for FTS5 table main.f"], None, "out of step");
        check(&["wrong # of entries in index i"], None, "out of step");
        // A table may have any name.
        check(&["NULL value in a\n*** in database main ***\nTree 2 page 5: b.c"], None, "out of step");
        check(&[], Some("NOTADB (26): file is not a database"), "damaged");
        check(&["NULL value in t.x"], Some("CORRUPT (11): database disk image is malformed"), "damaged");
    }

    #[test]
    fn a_page_that_could_not_be_read_spoils_the_answer() {
        check(&["{head}Tree 2 page 5: unable to get the page. error code=11"], None, "damaged");
        check(&["{head}Tree 2 page 5: unable to get the page. error code=266"], None, "undecided");
        check(&["{head}Tree 2 page 5: unable to get the page. error code=10\nPage 6: never used"], None, "undecided");
        check(&["{head}Freelist: failed to get page 9\nPage 6: never used"], None, "undecided");
        check(&["{head}Failed to read ptrmap key=9"], None, "undecided");
        check(&["{head}Failed to read ptrmap key=9\nTree 2 page 5: free space corruption"], None, "damaged");
        check(&[], None, "undecided");
    }

    #[test]
    fn what_is_out_of_step_has_a_code_of_its_own() {
        for (code, expected) in [(11, true), (26, true), (267, false), (523, false), (779, false), (10, false)] {
            assert_eq!(is_damage(code), expected, "{code}");
        }
    }
}
