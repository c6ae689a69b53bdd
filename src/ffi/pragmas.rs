//! What a borrower may leave on a connection, and how it is removed.
//!
//! A transaction that is left open is rolled back. Settings that the layer relies on are set again; after a change of
//! any other setting that outlives the borrow and can change what the next one reads or writes, the connection is
//! closed: opening a new one is cheaper than checking the old one. Changes are noticed while their statements are
//! prepared, through SQLite's authorizer, so that a borrow that changes nothing costs one load of an atomic.
//!
//! Not noticed: settings changed through rusqlite's functions rather than SQL (the busy timeout is set again each
//! time), and everything after a borrower has installed its own authorizer. Functions and collations stay: they belong
//! to the connection, and the place to make them is the builder's `on_connect`. The same holds for temporary tables,
//! triggers and views that are to stay: if a borrower creates one, the connection is closed.

/// Any setting that is not named below.
pub(crate) const HARMLESS: u32 = 0;
/// `PRAGMA busy_timeout`, `foreign_keys`, `synchronous` and `query_only`: what every connection is set up with.
pub(crate) const CONFIGURED: u32 = 1 << 1;
/// Settings that are cured by a new connection.
pub(crate) const DOUBTFUL: u32 = 1;

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

/// The kind of setting that a pragma with this name and a value changes; `attach` stands for ATTACH and for temporary
/// things.
pub(crate) fn bit_of(name: &[u8]) -> u32 {
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
        for name in ["locking_mode", "journal_mode", "writable_schema", "attach", "read_uncommitted", "new_in_sqlite_4"]
        {
            check(name, DOUBTFUL);
        }
    }
}
