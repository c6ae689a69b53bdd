//! The rows of the database after each commit, kept outside of it.

use seawall_harness::seed::mix;
use std::collections::BTreeMap;

/// Spreads the choice of rows.
pub(super) const PAYLOAD_SEED: usize = 13;

/// All rows, by `id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    rows: BTreeMap<i64, Row>,
}

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The commit that wrote it.
    pub version: u32,
    /// The length of its payload.
    pub bytes: u16,
}

impl Row {
    /// The payload: one byte, which differs from row to row and from version to version, again and again.
    pub(super) fn payload(self, id: i64) -> Vec<u8> {
        vec![self.byte(id); usize::from(self.bytes)]
    }

    fn byte(self, id: i64) -> u8 {
        mix(id.cast_unsigned() ^ u64::from(self.version) << 40) as u8
    }
}

impl Model {
    /// The rows at the beginning, without row 0.
    pub(super) fn first() -> Self {
        let rows = (1..=4).map(|id| (id, Row { version: 0, bytes: 300 }));
        Self { rows: rows.collect() }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (i64, Row)> {
        self.rows.iter().map(|(id, row)| (*id, *row))
    }

    /// The rows but row 0.
    pub(super) fn ids(&self) -> Vec<i64> {
        self.rows.keys().copied().filter(|id| *id != 0).collect()
    }

    pub(super) fn put(&mut self, id: i64, row: Row) {
        self.rows.insert(id, row);
    }

    pub(super) fn remove(&mut self, id: i64) {
        self.rows.remove(&id);
    }

    /// A checksum over all rows but row 0.
    pub fn fingerprint(&self) -> u64 {
        let rows = self.rows.iter().filter(|(id, _)| **id != 0);
        rows.fold(0, |sum, (id, row)| {
            let byte = if row.bytes == 0 { 0 } else { row.byte(*id) };
            add(sum, *id, row.version.into(), (usize::from(row.bytes), byte))
        })
    }
}

/// Adds a row to a checksum; the payload has this length, and all of its bytes are this one.
pub(super) fn add(sum: u64, id: i64, version: i64, (bytes, byte): (usize, u8)) -> u64 {
    let sum = mix(sum ^ id.cast_unsigned());
    mix(mix(sum ^ version.cast_unsigned()) ^ (bytes as u64) << 8 ^ u64::from(byte))
}
