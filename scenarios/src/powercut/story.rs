//! An image told as a story, and as lines.

use super::bench::Outcome;
use super::recording::MarkKind;
use seawall_harness::media::sim::durability::{Change, DiskState, EventKind, Fate};
use seawall_harness::record::{Story, StoryEvent, StoryKind};
use std::collections::BTreeMap;

/// What became of a change, in words.
pub(super) fn words(fate: Fate) -> String {
    match fate {
        Fate::Lost => "lost".to_owned(),
        Fate::Kept => "kept".to_owned(),
        Fate::Torn { from, to } => format!("torn: only its bytes {from} to {to} are there"),
        Fate::Extended => "only its length is there".to_owned(),
        Fate::Smeared => "there, with zeroes in the rest of its sectors".to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// The files that the changes of a disk are about, by the role that each has.
pub(super) fn sentence(change: &Change) -> String {
    match change.kind.file() {
        Some(_) => format!("{} {}", change.origin.role, change.kind),
        None => change.kind.to_string(),
    }
}

impl Outcome {
    /// What was pending at each cut and what became of it, one change a line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (nth, (position, state, fates)) in self.cuts.iter().enumerate() {
            let place = if nth == 0 { "the power is cut" } else { "the power is cut again, in the recovery" };
            lines.push(format!("{place} after {position} events; pending then:"));
            for (change, fate) in state.pending().iter().zip(fates) {
                let Change { origin, .. } = &**change;
                let what = sentence(change);
                lines.push(format!("  {:4} {}  {what}: {}", origin.call, origin.actor, words(*fate)));
            }
            if state.pending().is_empty() {
                lines.push("  nothing".to_owned());
            }
            lines.extend(picture(state, fates));
        }
        lines
    }

    /// The story, under this name, of a subject.
    pub fn story(&self, name: &str, subject: &str) -> Option<Story> {
        let finding = self.findings.first()?.clone();
        let (position, state, fates) = self.cuts.first()?;
        let mut events = Vec::new();
        let mut marks = self.recorded.marks.iter().filter(|mark| mark.at <= *position).peekable();
        let event =
            |at: usize, actor: Option<String>, kind, text: String| StoryEvent { at: at as u64, actor, kind, text };
        for (at, disk) in self.recorded.disk.events.iter().take(*position).enumerate() {
            while let Some(mark) = marks.next_if(|mark| mark.at <= at) {
                events.extend(told(mark.at, mark.actor.to_string(), &mark.kind));
            }
            let actor = Some(disk.origin.actor.to_string());
            let text = match &disk.kind {
                EventKind::Sync { .. } => format!("sync of the {}", disk.origin.role),
                EventKind::SyncDirectory { .. } => "sync of the directory".to_owned(),
                _ => continue,
            };
            events.push(event(at, actor, StoryKind::Observed, text));
        }
        events.extend(marks.flat_map(|mark| told(mark.at, mark.actor.to_string(), &mark.kind)));
        events.push(event(*position, None, StoryKind::Observed, "the power is cut".to_owned()));
        for (change, fate) in state.pending().iter().zip(fates).filter(|(_, fate)| **fate != Fate::Kept) {
            let text = format!("{}: {}", sentence(change), words(*fate));
            events.push(event(*position, None, StoryKind::Observed, text));
        }
        for (position, ..) in &self.cuts[1..] {
            let text = "the power is cut again, in the recovery".to_owned();
            events.push(event(*position, None, StoryKind::Observed, text));
        }
        events.push(event(*position, None, StoryKind::Observed, finding.detail.clone()));
        let mut actors: Vec<String> = self.recorded.marks.iter().map(|mark| mark.actor.to_string()).collect();
        actors.sort();
        actors.dedup();
        Some(Story { token: name.to_owned(), subject: subject.to_owned(), finding, actors, events })
    }
}

fn told(at: usize, actor: String, kind: &MarkKind) -> Vec<StoryEvent> {
    let event = |kind, text: String| StoryEvent { at: at as u64, actor: Some(actor.clone()), kind, text };
    match kind {
        MarkKind::Statement(text) => {
            vec![event(StoryKind::Begin, text.clone()), event(StoryKind::End, text.clone())]
        }
        MarkKind::Acked(number) => vec![event(StoryKind::Commit, format!("commit {number}"))],
        MarkKind::Failed(error) => vec![event(StoryKind::Observed, error.clone())],
        MarkKind::Started(_) => Vec::new(),
    }
}

/// Bytes that one sign of the picture stands for.
const SIGN_BYTES: u64 = 512;

/// Signs of a file at most.
const SIGNS_MAX: usize = 96;

/// The files as signs, 512 bytes each: `#` durable, `+` pending and kept, `-` pending and lost, `~` in part, `.` a
/// hole.
fn picture(state: &DiskState, fates: &[Fate]) -> Vec<String> {
    let mut files: BTreeMap<u64, (String, Vec<char>)> = BTreeMap::new();
    let mut sign = |file: u64, role: String, offset: u64, length: u64, sign: char| {
        let durable = || {
            let length = state.durable(file).map_or(0, |content| content.len()).div_ceil(SIGN_BYTES);
            vec!['#'; length as usize]
        };
        let (_, signs) = files.entry(file).or_insert_with(|| (role, durable()));
        let end = (offset + length).div_ceil(SIGN_BYTES) as usize;
        if signs.len() < end {
            signs.resize(end, '.');
        }
        signs[(offset / SIGN_BYTES) as usize..end].fill(sign);
    };
    for (change, fate) in state.pending().iter().zip(fates) {
        if let seawall_harness::media::sim::durability::ChangeKind::Write { file, offset, bytes, .. } = &change.kind {
            let mark = match fate {
                Fate::Kept => '+',
                Fate::Lost => '-',
                _ => '~',
            };
            sign(*file, change.origin.role.to_string(), *offset, bytes.len() as u64, mark);
        }
    }
    let line = |(role, mut signs): (String, Vec<char>)| {
        let is_long = signs.len() > SIGNS_MAX;
        signs.truncate(SIGNS_MAX);
        format!("  {role:8}|{}{}", signs.into_iter().collect::<String>(), if is_long { "…" } else { "|" })
    };
    let mut lines: Vec<String> = files.into_values().map(line).collect();
    if !lines.is_empty() {
        lines.push("  (512 bytes a sign: # durable, + kept, - lost, ~ in part)".to_owned());
    }
    lines
}
