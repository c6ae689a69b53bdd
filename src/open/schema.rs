//! The schema's versions: `PRAGMA user_version`, moved forward in one transaction or not at all.

use crate::error::{Cause, Error, Operation};
use crate::settings::Migration;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;

/// Migrates the schema from the version in the file to the last one. Returns both versions if anything was done.
pub(crate) fn migrate(
    path: &Path,
    conn: &mut Connection,
    migrations: &[Migration],
) -> Result<Option<(u32, u32)>, Error> {
    let sqlite = |error| Error::sqlite(path, Operation::Migrate, error);
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if check(path, conn, known)? == known {
        return Ok(None);
    }
    // Has no effect inside a transaction, so it comes before. When a migration rebuilds a table, dropping the old one
    // must not delete the rows that refer to it.
    let enforced: bool = conn.query_row("PRAGMA foreign_keys", [], |row| row.get(0)).map_err(sqlite)?;
    conn.pragma_update(None, "foreign_keys", false).map_err(sqlite)?;
    let migrated = apply_all(path, conn, migrations, known);
    conn.pragma_update(None, "foreign_keys", enforced).map_err(sqlite)?;
    migrated
}

/// The version of the file; an error if it is newer than the last one known.
pub(crate) fn check(path: &Path, conn: &Connection, known: u32) -> Result<u32, Error> {
    let found = version(conn).map_err(|error| Error::sqlite(path, Operation::Migrate, error))?;
    if found > known {
        return Err(Error::new(path, Operation::Migrate, Cause::SchemaNewer { found, known }));
    }
    Ok(found)
}

fn apply_all(
    path: &Path,
    conn: &mut Connection,
    migrations: &[Migration],
    known: u32,
) -> Result<Option<(u32, u32)>, Error> {
    let sqlite = |error| Error::sqlite(path, Operation::Migrate, error);
    let tx = Transaction::new(conn, TransactionBehavior::Immediate).map_err(sqlite)?;
    // Another process may have migrated before this one got the lock.
    let from = check(path, &tx, known)?;
    for (version, migration) in (1..).zip(migrations).skip(from as usize) {
        let failed = |error| Error::new(path, Operation::Migrate, Cause::Migration { version, error });
        migration(&tx).map_err(failed)?;
        if tx.is_autocommit() {
            return Err(Error::new(path, Operation::Migrate, Cause::TransactionOver));
        }
    }
    if let Some(table) = violated(&tx).map_err(sqlite)? {
        return Err(Error::new(path, Operation::Migrate, Cause::ForeignKeys { table }));
    }
    tx.pragma_update(None, "user_version", known).map_err(sqlite)?;
    tx.commit().map_err(sqlite)?;
    Ok((from != known).then_some((from, known)))
}

fn version(conn: &Connection) -> rusqlite::Result<u32> {
    // A negative version is another program's, and counts as newer than all known versions.
    conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i32>(0)).map(i32::cast_unsigned)
}

/// The first table with a row whose foreign key leads nowhere.
fn violated(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let mut check = conn.prepare("PRAGMA foreign_key_check")?;
    let mut rows = check.query([])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}
