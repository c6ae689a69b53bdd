//! The losing run of a cell as data for a page: each step with a picture of the files.

use super::bench::Outcome;
use super::recording::MarkKind;
use super::story::{sentence, words};
use seawall_harness::media::sim::durability::{ChangeKind, DiskState, EventKind, Fate, FileId, Name};
use seawall_harness::record::{DiskFile, DiskPart, DiskStep, DiskStepKind, LosingRun, PartState};
use std::collections::BTreeMap;

/// Steps that a page shows; of longer runs the last ones.
const STEPS_MAX: usize = 80;

impl Outcome {
    /// The run with a picture of the disk at each step; `None` if nothing was found.
    pub(super) fn losing_run(&self, replay: &str) -> Option<LosingRun> {
        let finding = self.findings.first()?.clone();
        let mut steps = self.steps()?;
        let omitted = steps.len().saturating_sub(STEPS_MAX);
        steps.drain(..omitted);
        Some(LosingRun { replay: replay.to_owned(), finding, omitted: omitted as u64, steps })
    }

    fn steps(&self) -> Option<Vec<DiskStep>> {
        let (position, state_at_cut, fates) = self.cuts.first()?;
        let mut marks = self.recorded.marks.iter().peekable();
        let mut state = self.recorded.disk.base.clone();
        let mut steps = Vec::new();
        for (at, event) in self.recorded.disk.events.iter().take(*position).enumerate() {
            while let Some(mark) = marks.next_if(|mark| mark.at <= at) {
                steps.extend(told(mark.actor.to_string(), &mark.kind));
            }
            state.apply(event);
            let (kind, text) = match &event.kind {
                EventKind::Change(change) if change.is_entry() => (DiskStepKind::Change, change.to_string()),
                EventKind::Change(change) => (DiskStepKind::Change, format!("{}: {change}", event.origin.role)),
                EventKind::Sync { .. } => (DiskStepKind::Sync, format!("sync of the {}", event.origin.role)),
                EventKind::SyncDirectory { .. } => (DiskStepKind::Sync, "sync of the directory".to_owned()),
                _ => (DiskStepKind::Sync, format!("the sync of the {} fails", event.origin.role)),
            };
            let actor = Some(event.origin.actor.to_string());
            steps.push(DiskStep { actor, kind, text, files: files(&state, None) });
        }
        while let Some(mark) = marks.next_if(|mark| mark.at <= *position) {
            steps.extend(told(mark.actor.to_string(), &mark.kind));
        }
        steps.push(DiskStep {
            actor: None,
            kind: DiskStepKind::Cut,
            text: cut_text(state_at_cut, fates),
            files: files(state_at_cut, Some(fates)),
        });
        for (_, state, fates) in &self.cuts[1..] {
            let text = format!("again, in the recovery: {}", cut_text(state, fates));
            steps.push(DiskStep { actor: None, kind: DiskStepKind::Cut, text, files: files(state, Some(fates)) });
        }
        Some(steps)
    }
}

fn told(actor: String, kind: &MarkKind) -> Option<DiskStep> {
    let (kind, text) = match kind {
        MarkKind::Statement(text) => (DiskStepKind::Statement, text.clone()),
        MarkKind::Acked(number) => (DiskStepKind::Commit, format!("commit {number} is acknowledged")),
        MarkKind::Failed(error) => (DiskStepKind::Statement, format!("failed: {error}")),
        MarkKind::Started(_) => return None,
    };
    Some(DiskStep { actor: Some(actor), kind, text, files: Vec::new() })
}

/// What the cut took, change by change.
fn cut_text(state: &DiskState, fates: &[Fate]) -> String {
    let pending = state.pending().iter().zip(fates);
    let taken = pending.filter(|(_, fate)| **fate != Fate::Kept);
    let taken: Vec<String> = taken.map(|(change, fate)| format!("{}: {}", sentence(change), words(*fate))).collect();
    if taken.is_empty() { "the power is cut, and takes nothing".to_owned() } else { taken.join("; ") }
}

/// A file while its picture is drawn.
#[derive(Default)]
struct Drawn {
    name: Option<Name>,
    notes: Vec<&'static str>,
    parts: Vec<DiskPart>,
}

/// The files of a disk. With `fates`, as a power cut leaves them.
fn files(state: &DiskState, fates: Option<&[Fate]>) -> Vec<DiskFile> {
    let mut drawn: BTreeMap<FileId, Drawn> = BTreeMap::new();
    let mut ids: BTreeMap<Name, FileId> = BTreeMap::new();
    for (name, file) in state.names() {
        let length = state.durable(file).map_or(0, |content| content.len());
        let mut parts = Vec::new();
        paint(&mut parts, 0, length, PartState::Durable);
        drawn.insert(file, Drawn { name: Some(name.into()), notes: Vec::new(), parts });
        ids.insert(name.into(), file);
    }
    for (nth, change) in state.pending().iter().enumerate() {
        let fate = fates.map(|fates| fates.get(nth).copied().unwrap_or(Fate::Lost));
        match change.kind.file() {
            Some(file) => drawn.entry(file).or_default().change(&change.kind, fate),
            None => rename(&mut drawn, &mut ids, &change.kind, fate),
        }
    }
    let file = |Drawn { name, notes, parts }: Drawn| {
        let name = String::from_utf8_lossy(&name?).into_owned();
        let name = name.rsplit('/').next().unwrap_or_default().to_owned();
        Some(DiskFile { name, note: notes.join("; "), parts })
    };
    let mut files: Vec<DiskFile> = drawn.into_values().filter_map(file).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

impl Drawn {
    fn change(&mut self, kind: &ChangeKind, fate: Option<Fate>) {
        match kind {
            ChangeKind::Write { offset, bytes, .. } => {
                let end = offset + bytes.len() as u64;
                let state = match fate {
                    None => PartState::Visible,
                    Some(Fate::Kept | Fate::Smeared) => PartState::Kept,
                    Some(_) => PartState::Lost,
                };
                paint(&mut self.parts, *offset, end, state);
                if let Some(Fate::Torn { from, to }) = fate {
                    paint(&mut self.parts, offset + u64::from(from), offset + u64::from(to), PartState::Kept);
                }
            }
            ChangeKind::Truncate { length, .. } => {
                self.notes.push(match fate {
                    None => "truncated, not durable",
                    Some(Fate::Kept) => "truncated",
                    Some(_) => "the truncation is lost",
                });
                if fate.is_none_or(|fate| fate == Fate::Kept) {
                    self.parts.retain(|part| part.from < *length);
                    self.parts.iter_mut().for_each(|part| part.to = part.to.min(*length));
                }
            }
            _ => {}
        }
    }
}

fn rename(
    drawn: &mut BTreeMap<FileId, Drawn>,
    ids: &mut BTreeMap<Name, FileId>,
    kind: &ChangeKind,
    fate: Option<Fate>,
) {
    let note = |[pending, kept, lost]: [&'static str; 3]| match fate {
        None => pending,
        Some(Fate::Kept) => kept,
        Some(_) => lost,
    };
    match kind {
        ChangeKind::Bind { name, file } => {
            let entry = drawn.entry(*file).or_default();
            entry.name = Some(name.clone());
            entry.notes.push(note(["created, not durable", "created", "the name is lost"]));
            ids.insert(name.clone(), *file);
        }
        ChangeKind::Unbind { name } => {
            if let Some(entry) = ids.get(name).and_then(|file| drawn.get_mut(file)) {
                entry.notes.push(note(["unlinked, not durable", "unlinked", "the unlink is lost: it is there again"]));
            }
        }
        ChangeKind::Rename { from, to } => {
            let Some(file) = ids.remove(from) else { return };
            let entry = drawn.entry(file).or_default();
            entry.notes.push(note(["renamed, not durable", "renamed", "the new name is lost"]));
            if fate.is_none_or(|fate| fate == Fate::Kept) {
                entry.name = Some(to.clone());
            }
            ids.insert(to.clone(), file);
        }
        _ => {}
    }
}

/// Puts a part over what is there, and joins neighbours of one state.
fn paint(parts: &mut Vec<DiskPart>, from: u64, to: u64, state: PartState) {
    if from >= to {
        return;
    }
    let mut painted = Vec::with_capacity(parts.len() + 2);
    for part in parts.drain(..) {
        if part.from < from {
            painted.push(DiskPart { to: part.to.min(from), ..part });
        }
        if part.to > to {
            painted.push(DiskPart { from: part.from.max(to), ..part });
        }
    }
    painted.push(DiskPart { from, to, state });
    painted.sort_by_key(|part| part.from);
    for part in painted {
        match parts.last_mut() {
            Some(last) if last.to == part.from && last.state == part.state => last.to = part.to,
            _ => parts.push(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_painted_over_one_another_and_joined() {
        use PartState::{Durable, Lost, Visible};
        #[track_caller]
        fn check(strokes: &[(u64, u64, PartState)], expected: &[(u64, u64, PartState)]) {
            let mut parts = Vec::new();
            strokes.iter().for_each(|(from, to, state)| paint(&mut parts, *from, *to, *state));
            let parts: Vec<_> = parts.iter().map(|part| (part.from, part.to, part.state)).collect();
            assert_eq!(parts, expected);
        }
        check(&[(0, 0, Durable)], &[]);
        check(&[(0, 10, Durable), (10, 20, Durable)], &[(0, 20, Durable)]);
        check(&[(0, 30, Durable), (10, 20, Visible)], &[(0, 10, Durable), (10, 20, Visible), (20, 30, Durable)]);
        check(
            &[(0, 10, Visible), (20, 30, Visible), (5, 25, Lost)],
            &[(0, 5, Visible), (5, 25, Lost), (25, 30, Visible)],
        );
        check(&[(4, 8, Visible), (0, 9, Lost)], &[(0, 9, Lost)]);
    }
}
