//! Merges marks of one kind in one lane that overlap, so that no mark is dropped and the picture stays small.

use seawall_harness::record::{MarkKind, TimelineEvent};
use std::collections::BTreeMap;

/// The intended maximum number of marks in one picture. With the largest distance below there may be more.
const MARKS_MAX: usize = 120;
/// Distances below which marks of one kind are merged, tried in this order.
const MERGE_PX: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 48.0];

/// An event with its lane and its position.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) event: &'a TimelineEvent,
    pub(super) lane: usize,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// Events that one mark stands for.
pub(super) struct Group<'a> {
    pub(super) kind: MarkKind,
    pub(super) lane: usize,
    pub(super) members: Vec<Placed<'a>>,
}

impl Group<'_> {
    pub(super) fn x(&self) -> f64 {
        self.members[0].from
    }
}

/// The groups of all events that are drawn as marks, merged only as far as their number requires.
pub(super) fn groups<'a>(events: &[Placed<'a>]) -> Vec<Group<'a>> {
    let mut groups = Vec::new();
    for merge_px in MERGE_PX {
        groups = merged(events, merge_px);
        if groups.len() <= MARKS_MAX {
            break;
        }
    }
    groups
}

fn merged<'a>(events: &[Placed<'a>], merge_px: f64) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    // The last group of each kind and lane.
    let mut last: BTreeMap<(usize, MarkKind), usize> = BTreeMap::new();
    for placed in events {
        let kind = placed.event.kind;
        if matches!(kind, MarkKind::Call | MarkKind::Heal) {
            continue;
        }
        match last.get(&(placed.lane, kind)).map(|g| &mut groups[*g]) {
            Some(group) if placed.from - group.x() < merge_px => group.members.push(*placed),
            _ => {
                last.insert((placed.lane, kind), groups.len());
                groups.push(Group { kind, lane: placed.lane, members: vec![*placed] });
            }
        }
    }
    groups
}
