//! The link targets of the page. Each is unique, also where names differ only in characters that a link cannot hold.

use crate::grid::distinct;
use seawall_harness::record::{Cell, SoakRecord};
use std::collections::HashSet;

/// Maximum length of a name in an anchor, in characters.
const SLUG_CHARS_MAX: usize = 60;

/// The anchors of the cells, in the order of the record, and those of the faults.
pub(super) struct Anchors {
    pub(super) cells: Vec<String>,
    pub(super) faults: Vec<(String, String)>,
}

impl Anchors {
    pub(super) fn from_record(record: &SoakRecord) -> Self {
        let mut taken = HashSet::new();
        let faults = distinct(record.matrix.iter().map(|c| c.fault.as_str()));
        let faults = faults
            .into_iter()
            .map(|fault| (fault.to_owned(), unique(format!("fault-{}", slug(fault)), &mut taken)))
            .collect();
        let name = |c: &Cell| format!("{}-{}-{}", slug(&c.strategy), slug(&c.fault), slug(&c.medium));
        let cells = record.matrix.iter().map(|c| unique(name(c), &mut taken)).collect();
        Self { cells, faults }
    }

    pub(super) fn fault(&self, fault: &str) -> String {
        self.faults.iter().find(|(name, _)| name == fault).map(|(_, anchor)| anchor.clone()).unwrap_or_default()
    }
}

fn unique(base: String, taken: &mut HashSet<String>) -> String {
    let mut name = base.clone();
    let mut n = 1_u32;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{base}-{n}");
    }
    name
}

fn slug(text: &str) -> String {
    let kept = text.chars().take(SLUG_CHARS_MAX);
    kept.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}
