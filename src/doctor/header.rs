//! The first hundred bytes of a database file (file format, section 1.3).

use super::bytes::{array, be_u32, is_page_size, version_text};
use serde::Serialize;

/// How many bytes the header has.
pub(super) const HEADER_BYTES: usize = 100;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What a database file says of itself. In WAL mode the log may say it better: pages in it are newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// Page size, in bytes.
    pub page_bytes: u32,
    /// File format write version: 1 a rollback journal, 2 a write-ahead log; more is unknown to SQLite, which then
    /// reads only.
    pub write_version: u8,
    /// File format read version: 1 a rollback journal, 2 a write-ahead log; more is unknown to SQLite, which then
    /// refuses.
    pub read_version: u8,
    /// Counts the transactions; in WAL mode not all of them.
    pub change_counter: u32,
    /// Size of the database in pages, where the header's claim to know it holds (it was written together with the
    /// change counter).
    pub pages: Option<u32>,
    /// Unused pages.
    pub freelist_pages: u32,
    /// Counts the changes of the schema.
    pub schema_cookie: u32,
    /// `PRAGMA user_version`.
    pub user_version: i32,
    /// `PRAGMA application_id`.
    pub application_id: u32,
    /// The SQLite that last wrote the header, like `3.54.1`; 3.7.0 and later say so.
    pub written_by: Option<String>,
    /// The same as a number, 0 where it is not known.
    #[serde(skip)]
    pub(super) written_by_number: u32,
}

impl Header {
    /// Reads the header; `None` if the bytes are not one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
        (bytes.len() >= HEADER_BYTES && bytes.starts_with(MAGIC)).then_some(())?;
        let page_bytes = match u16::from_be_bytes(array(bytes, 16)?) {
            1 => 65536,
            bytes => u32::from(bytes),
        };
        let (change_counter, valid_for) = (be_u32(bytes, 24)?, be_u32(bytes, 92)?);
        let written_by_number = be_u32(bytes, 96)?;
        Some(Header {
            page_bytes: is_page_size(page_bytes).then_some(page_bytes)?,
            write_version: bytes[18],
            read_version: bytes[19],
            change_counter,
            pages: be_u32(bytes, 28).filter(|&pages| pages > 0 && change_counter == valid_for),
            freelist_pages: be_u32(bytes, 36)?,
            schema_cookie: be_u32(bytes, 40)?,
            user_version: be_u32(bytes, 60)?.cast_signed(),
            application_id: be_u32(bytes, 68)?,
            written_by: (written_by_number != 0).then(|| version_text(written_by_number)),
            written_by_number,
        })
    }

    /// Reads the header of a file whose first 16 bytes are something else; `None` if what follows is none that SQLite
    /// writes.
    pub(super) fn parse_behind_magic(bytes: &[u8]) -> Option<Header> {
        // The fixed fractions of the payload, at 21.
        let fractions: [u8; 3] = array(bytes, 21)?;
        let mended = [MAGIC, bytes.get(MAGIC.len()..)?].concat();
        let header = Header::parse(&mended)?;
        let is_version = |version: u8| (1..=2).contains(&version);
        let is_likely =
            fractions == [64, 32, 32] && is_version(header.read_version) && is_version(header.write_version);
        is_likely.then_some(header)
    }

    /// Whether the file asks for a write-ahead log.
    pub fn is_wal(&self) -> bool {
        self.read_version == 2
    }
}

/// Whether a SQLite of that version can lose commits when a log is restarted under a checkpoint: 3.7.0 to 3.51.2 but
/// for the corrected 3.50.7 and 3.44.6.
pub(super) fn has_wal_reset_defect(number: u32) -> bool {
    match number {
        3_044_006..3_045_000 | 3_050_007..3_051_000 => false,
        number => (3_007_000..3_051_003).contains(&number),
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::tests::Damage;
    use super::*;

    fn sample() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch(
            "PRAGMA page_size = 65536; PRAGMA user_version = -7; PRAGMA application_id = 77; CREATE TABLE t (x)",
        )
        .unwrap();
        drop(conn);
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_header_is_parsed_as_sqlite_wrote_it() {
        let header = Header::parse(&sample()).unwrap();
        assert_eq!((header.page_bytes, header.pages, header.freelist_pages), (65536, Some(2), 0));
        assert_eq!((header.read_version, header.write_version, header.is_wal()), (1, 1, false));
        assert_eq!((header.user_version, header.application_id, header.schema_cookie), (-7, 77, 1));
        assert_eq!(header.written_by.as_deref(), Some(rusqlite::version()));
        assert_eq!(header.change_counter, 3, "one for each statement");
    }

    #[test]
    fn a_size_that_is_older_than_the_counter_is_not_believed() {
        let mut bytes = sample();
        bytes[95] ^= 1;
        assert_eq!(Header::parse(&bytes).unwrap().pages, None);
    }

    #[test]
    fn anything_else_is_no_header() {
        let sample = sample();
        assert_eq!(Header::parse(&sample[..99]), None);
        assert_eq!(Header::parse(&[0; 100]), None);
        let mut odd = sample.clone();
        odd[16] = 3;
        assert_eq!(Header::parse(&odd), None, "768 is no page size");
        let mut damage = Damage(1);
        for _ in 0..2000 {
            if let Some(header) = Header::parse(&damage.of(&sample[..HEADER_BYTES])) {
                assert!(is_page_size(header.page_bytes));
            }
        }
    }

    #[test]
    fn the_versions_with_the_wal_reset_defect_are_known() {
        for (number, expected) in [
            (0, false),
            (3_006_023, false),
            (3_007_000, true),
            (3_044_005, true),
            (3_044_006, false),
            (3_045_000, true),
            (3_050_006, true),
            (3_050_007, false),
            (3_051_002, true),
            (3_051_003, false),
            (3_054_001, false),
        ] {
            assert_eq!(has_wal_reset_defect(number), expected, "{number}");
        }
    }
}
