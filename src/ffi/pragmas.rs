//! What a borrower may leave on a connection, and how it is removed.
//!
//! A transaction that is left open is rolled back. Settings that the layer relies on are set again; after a change of
//! any other setting that outlives the borrow and can change what the next one reads or writes, the connection is
//! closed: opening a new one is cheaper than checking the old one. Changes are noticed while their statements are
//! prepared, through SQLite's authorizer, so that a borrow that changes nothing costs one load of an atomic.
//!
//! What is set through rusqlite's functions rather than SQL is looked at when the connection comes back; see
//! [`Watch`](super::Watch). docs/layer.md has the table.

use rusqlite::ffi;

/// Any setting that is not named below.
pub(crate) const HARMLESS: u32 = 0;
/// `PRAGMA busy_timeout`, `foreign_keys`, `synchronous` and `query_only`: what every connection is set up with.
pub(crate) const CONFIGURED: u32 = 1 << 1;
/// Settings that are cured by a new connection.
pub(crate) const DOUBTFUL: u32 = 1;
/// A statement that changes the schema, after which SQLite prepares all others again.
pub(crate) const SCHEMA: u32 = 1 << 2;
/// An ATTACH of a file without a name, as VACUUM makes it.
pub(crate) const NAMELESS: u32 = 1 << 3;
/// Set by the layer: a statement that was held throughout the borrow had to be prepared again.
pub(crate) const REPREPARED: u32 = 1 << 5;
/// Set by the layer: nothing has made SQLite prepare a statement again that was held throughout the borrow.
pub(crate) const CALM: u32 = 1 << 4;

const CONFIGURED_PRAGMAS: [&[u8]; 4] = [b"busy_timeout", b"foreign_keys", b"synchronous", b"query_only"];

/// Pragmas with a value that change nothing about the connection: they act at once, or in the file, or are questions.
const HARMLESS_PRAGMAS: [&[u8]; 22] = [
    b"wal_checkpoint",
    b"user_version",
    b"application_id",
    b"table_info",
    b"table_xinfo",
    b"table_list",
    b"index_info",
    b"index_xinfo",
    b"index_list",
    b"foreign_key_list",
    b"foreign_key_check",
    b"integrity_check",
    b"quick_check",
    b"incremental_vacuum",
    b"optimize",
    b"analysis_limit",
    b"defer_foreign_keys",
    b"auto_vacuum",
    b"page_size",
    b"encoding",
    b"shrink_memory",
    b"cache_size",
];

/// What an action that SQLite asks its authorizer about means: the action, its first argument, whether it has a second
/// one, and the database.
pub(super) fn bits_of(action: i32, first: Option<&[u8]>, has_second: bool, database: Option<&[u8]>) -> u32 {
    let is_temporary = database == Some(b"temp");
    match action {
        ffi::SQLITE_PRAGMA if has_second => first.map_or(DOUBTFUL, bit_of),
        ffi::SQLITE_ATTACH if first == Some(b"") => DOUBTFUL | NAMELESS,
        ffi::SQLITE_ATTACH | ffi::SQLITE_DETACH => DOUBTFUL,
        // Temporary tables, triggers and views go before those of the file: the next borrower would write into them.
        // What `on_connect` has made is missed.
        ffi::SQLITE_CREATE_TEMP_TABLE
        | ffi::SQLITE_CREATE_TEMP_TRIGGER
        | ffi::SQLITE_CREATE_TEMP_VIEW
        | ffi::SQLITE_CREATE_TEMP_INDEX
        | ffi::SQLITE_DROP_TEMP_TABLE
        | ffi::SQLITE_DROP_TEMP_TRIGGER
        | ffi::SQLITE_DROP_TEMP_VIEW
        | ffi::SQLITE_DROP_TEMP_INDEX => DOUBTFUL | SCHEMA,
        ffi::SQLITE_CREATE_VTABLE | ffi::SQLITE_DROP_VTABLE if is_temporary => DOUBTFUL | SCHEMA,
        // The first argument is the database here.
        ffi::SQLITE_ALTER_TABLE if first == Some(b"temp") => DOUBTFUL | SCHEMA,
        ffi::SQLITE_CREATE_TABLE
        | ffi::SQLITE_CREATE_INDEX
        | ffi::SQLITE_CREATE_TRIGGER
        | ffi::SQLITE_CREATE_VIEW
        | ffi::SQLITE_CREATE_VTABLE
        | ffi::SQLITE_DROP_TABLE
        | ffi::SQLITE_DROP_INDEX
        | ffi::SQLITE_DROP_TRIGGER
        | ffi::SQLITE_DROP_VIEW
        | ffi::SQLITE_DROP_VTABLE
        | ffi::SQLITE_ALTER_TABLE
        | ffi::SQLITE_REINDEX
        | ffi::SQLITE_ANALYZE => SCHEMA,
        _ => HARMLESS,
    }
}

/// The kind of setting that a pragma with this name and a value changes.
fn bit_of(name: &[u8]) -> u32 {
    let is_in = |names: &[&[u8]]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is_in(&CONFIGURED_PRAGMAS) {
        CONFIGURED
    } else if is_in(&HARMLESS_PRAGMAS) {
        HARMLESS
    } else {
        DOUBTFUL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pragmas_are_classified() {
        let check = |name: &str, bit| assert_eq!(bit_of(name.as_bytes()), bit, "{name}");
        check("foreign_keys", CONFIGURED);
        check("Busy_Timeout", CONFIGURED);
        check("table_info", HARMLESS);
        check("wal_checkpoint", HARMLESS);
        for name in ["locking_mode", "journal_mode", "writable_schema", "read_uncommitted", "new_in_sqlite_4"] {
            check(name, DOUBTFUL);
        }
    }

    #[test]
    fn actions_are_classified() {
        let check = |action, first: &str, database: &str, bits| {
            let told = bits_of(action, Some(first.as_bytes()), true, Some(database.as_bytes()));
            assert_eq!(told, bits, "{action} {first} {database}");
        };
        check(ffi::SQLITE_ATTACH, "other.db", "", DOUBTFUL);
        check(ffi::SQLITE_ATTACH, "", "", DOUBTFUL | NAMELESS);
        check(ffi::SQLITE_DETACH, "other", "", DOUBTFUL);
        check(ffi::SQLITE_CREATE_TABLE, "t", "main", SCHEMA);
        check(ffi::SQLITE_CREATE_VTABLE, "t", "temp", DOUBTFUL | SCHEMA);
        check(ffi::SQLITE_CREATE_VTABLE, "t", "main", SCHEMA);
        check(ffi::SQLITE_ALTER_TABLE, "temp", "", DOUBTFUL | SCHEMA);
        check(ffi::SQLITE_DELETE, "t", "main", HARMLESS);
        assert_eq!(bits_of(ffi::SQLITE_ATTACH, None, false, None), DOUBTFUL, "a name that is an expression");
        assert_eq!(bits_of(ffi::SQLITE_PRAGMA, Some(b"journal_mode"), false, None), HARMLESS, "a question");
    }
}
