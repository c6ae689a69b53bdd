//! The cuts of a recording: one at each change and at each sync, sorted so that the first ones differ the most.
//!
//! Cuts are alike if they come before the same kind of event, on the same kind of file and page, during the same kind
//! of statement. The first cut of each group comes before the second one of any.

use super::recording::{Known, Recorded};
use seawall_harness::call::Role;
use seawall_harness::media::sim::durability::{ChangeKind, DiskState, EventKind};
use std::collections::BTreeMap;

/// A moment at which the power may be cut.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Events before it.
    pub position: usize,
    /// The disk at that moment.
    pub state: DiskState,
    /// What is known of the commits.
    pub known: Known,
}

/// What cuts of one group have in common: the next event, its file and page, and the statement.
type Group = (&'static str, Option<Role>, &'static str, String);

/// All cuts of a recording, the representatives of the groups first. `known` is what is known at each.
pub fn cuts(recorded: &Recorded, known: &[Known]) -> Vec<Cut> {
    let statements = recorded.statements();
    let mut state = recorded.disk.base.clone();
    let mut members: BTreeMap<Group, usize> = BTreeMap::new();
    let mut sorted: Vec<(usize, Cut)> = Vec::new();
    for position in 0..=recorded.disk.events.len() {
        let next = recorded.disk.events.get(position);
        let (event, page) = next.map_or(("end", ""), |event| kind_of(&event.kind, event.origin.role));
        let verb = statements[position].split([' ', '(']).next().unwrap_or_default().to_owned();
        let group = (event, next.map(|event| event.origin.role), page, verb);
        let nth = members.entry(group).or_default();
        sorted.push((*nth, Cut { position, state: state.clone(), known: known[position] }));
        *nth += 1;
        if let Some(event) = next {
            state.apply(event);
        }
    }
    sorted.sort_by_key(|(nth, cut)| (*nth, cut.position));
    sorted.into_iter().map(|(_, cut)| cut).collect()
}

/// The kind of an event, and of the page that it is about.
fn kind_of(kind: &EventKind, role: Role) -> (&'static str, &'static str) {
    match kind {
        EventKind::Change(ChangeKind::Write { offset, bytes, .. }) => ("write", page_of(role, *offset, bytes.len())),
        EventKind::Change(ChangeKind::Truncate { .. }) => ("truncate", ""),
        EventKind::Change(_) => ("name", ""),
        EventKind::Sync { .. } => ("sync", ""),
        _ => ("sync directory", ""),
    }
}

fn page_of(role: Role, offset: u64, length: usize) -> &'static str {
    match (role, offset, length) {
        (Role::Wal | Role::Journal, 0, _) => "header",
        (Role::Wal, _, 24) => "frame header",
        (Role::Db, 0, _) => "first page",
        // Small writes to a journal are its header again, page numbers and checksums.
        (Role::Journal, _, 0..=16) => "number",
        _ => "page",
    }
}
