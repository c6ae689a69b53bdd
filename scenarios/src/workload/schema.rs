//! The application's schema: every strategy sets it up before the first caller's work.
//!
//! It has the size of the schemas in the field reports (8 tables, 15 indexes, 8 additive migrations), because the cost
//! of setting it up is a main reason for a cached connection. The two tables of the ledger are among them.

use rusqlite::Connection;
use seawall_harness::oracle::table;

/// Tables and indexes. Each statement may run again.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS documents(
  id INTEGER PRIMARY KEY, source TEXT NOT NULL, title TEXT, body TEXT, created_at INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS documents_by_source ON documents(source, created_at);
CREATE INDEX IF NOT EXISTS documents_by_title ON documents(title);
CREATE INDEX IF NOT EXISTS documents_by_time ON documents(created_at);
CREATE TABLE IF NOT EXISTS chunks(
  id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents(id),
  position INTEGER NOT NULL, text TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS chunks_by_document ON chunks(document, position);
CREATE INDEX IF NOT EXISTS chunks_by_length ON chunks(length(text));
CREATE TABLE IF NOT EXISTS nodes(
  id INTEGER PRIMARY KEY, parent INTEGER REFERENCES nodes(id), kind TEXT NOT NULL, label TEXT, weight REAL DEFAULT 0);
CREATE INDEX IF NOT EXISTS nodes_by_parent ON nodes(parent);
CREATE INDEX IF NOT EXISTS nodes_by_kind ON nodes(kind, label);
CREATE INDEX IF NOT EXISTS nodes_by_weight ON nodes(weight) WHERE weight > 0;
CREATE TABLE IF NOT EXISTS edges(
  source INTEGER NOT NULL REFERENCES nodes(id), target INTEGER NOT NULL REFERENCES nodes(id), kind TEXT NOT NULL,
  PRIMARY KEY(source, target, kind)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS edges_by_target ON edges(target, kind);
CREATE TABLE IF NOT EXISTS jobs(
  id INTEGER PRIMARY KEY, queue TEXT NOT NULL, state TEXT NOT NULL, payload BLOB, run_after INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS jobs_by_queue ON jobs(queue, state, run_after);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs(state);
CREATE TABLE IF NOT EXISTS settings(key TEXT PRIMARY KEY NOT NULL, value TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS settings_by_value ON settings(value);
";

/// Columns that migrations added: table, column, declaration.
const MIGRATIONS: [(&str, &str, &str); 8] = [
    ("documents", "language", "TEXT"),
    ("documents", "checksum", "BLOB"),
    ("chunks", "embedding", "BLOB"),
    ("chunks", "tokens", "INTEGER NOT NULL DEFAULT 0"),
    ("nodes", "updated_at", "INTEGER NOT NULL DEFAULT 0"),
    ("nodes", "summary", "TEXT"),
    ("jobs", "attempts", "INTEGER NOT NULL DEFAULT 0"),
    ("jobs", "error", "TEXT"),
];

/// Indexes on columns that migrations added.
const LATE_INDEXES: &str = "
CREATE INDEX IF NOT EXISTS documents_by_checksum ON documents(checksum);
CREATE INDEX IF NOT EXISTS jobs_by_attempts ON jobs(attempts);
CREATE INDEX IF NOT EXISTS nodes_by_update ON nodes(updated_at);
";

/// Sets the schema up, or finds that it is. Not in one transaction: the applications in the field reports do not use
/// one either.
///
/// # Errors
/// What SQLite returned. It may be called again after an error.
pub fn init(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.execute_batch(table::SCHEMA)?;
    for (table, column, declaration) in MIGRATIONS {
        let known: bool = connection
            .prepare_cached("SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2")?
            .query_row([table, column], |row| row.get(0))?;
        if known {
            continue;
        }
        match connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {declaration}")) {
            // Another connection was faster; the applications swallow this error as well.
            Err(error) if error.to_string().contains("duplicate column name") => {}
            result => result?,
        }
    }
    connection.execute_batch(LATE_INDEXES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_the_size_of_the_field_reports() {
        let connection = Connection::open_in_memory().unwrap();
        init(&connection).unwrap();
        init(&connection).unwrap();
        let count = |kind: &str| -> i64 {
            let sql = "SELECT count(*) FROM sqlite_schema WHERE type = ?1 AND name NOT LIKE 'sqlite_%'";
            connection.query_row(sql, [kind], |row| row.get(0)).unwrap()
        };
        assert_eq!(count("table"), 8);
        assert!(count("index") >= 15, "{}", count("index"));
    }
}
