//! The trace: every call with its ruling and its outcome, in a ring on the shared state.
//!
//! A ring of fixed size bounds the memory; the newest calls win. Entries are written without locks: the writer owns its
//! slot through the call number, and stores the number last, so that a reader can tell a whole entry from one that is
//! being overwritten or that a killed process left half-written.

use crate::actor::Actor;
use crate::call::{Call, Method, Role};
use crate::codes::ResultCode;
use crate::seed::mix;
use crate::shared_state::SharedState;
use serde::Serialize;
use std::io;
use std::sync::atomic::{Ordering, fence};

/// What the plan made of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
#[non_exhaustive]
pub enum RulingKind {
    /// The call went through.
    Proceed,
    /// It failed without being carried out.
    Fail,
    /// It was carried out in a changed way: torn, short, flipped, dropped, lied about.
    Mutate,
    /// It waited, then went through.
    Stall,
    /// The process was killed at it.
    Kill,
    /// The process lost its locks on the file, then it went through.
    DropLocks,
    /// An outsider acted on the files, then it went through.
    Outside,
    /// The machine lost power at it.
    PowerCut,
}

impl RulingKind {
    const ALL: [Self; 8] = [
        Self::Proceed,
        Self::Fail,
        Self::Mutate,
        Self::Stall,
        Self::Kill,
        Self::DropLocks,
        Self::Outside,
        Self::PowerCut,
    ];

    /// What became of the call, as the end of a sentence that begins with it: `failed`; empty if it proceeded.
    pub const fn predicate(self) -> &'static str {
        match self {
            Self::Proceed => "",
            Self::Fail => "failed",
            Self::Mutate => "altered",
            Self::Stall => "stalled",
            Self::Kill => "killed the process",
            Self::DropLocks => "lost the locks",
            Self::Outside => "met an outsider",
            Self::PowerCut => "met a power cut",
        }
    }
}

/// One call of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The call's number in the run, from 0, over all processes.
    pub number: u64,
    /// Nanoseconds since the run began: on the run's clock with `Mode::VIRTUAL`, on the wall clock otherwise.
    pub at_ns: u64,
    /// Who called.
    pub actor: Actor,
    /// What was called.
    pub call: Call,
    /// What the plan made of it.
    pub ruling: RulingKind,
    /// Position in the plan of the rule that fired.
    pub rule: Option<u8>,
    /// The result code or figure that SQLite got.
    pub outcome: i32,
}

/// In the place of a rule's position where none fired.
const NO_RULE: u8 = u8::MAX;

/// Writes an entry to the shared state's ring.
#[inline]
pub fn write(shared_state: &SharedState, entry: &Entry) {
    let words = shared_state.entry(entry.number);
    let Call { method, role, file, arg, amount } = entry.call;
    let who = u64::from(entry.actor.process) << 48 | u64::from(entry.actor.thread) << 32 | u64::from(file);
    let rule = entry.rule.unwrap_or(NO_RULE);
    let what = u64::from_be_bytes([method as u8, role as u8, entry.ruling as u8, rule, 0, 0, 0, 0])
        | u64::from(entry.outcome.cast_unsigned());
    words[0].store(0, Ordering::Relaxed);
    // Nothing of what follows may become visible before the mark is gone.
    fence(Ordering::Release);
    words[1].store(entry.at_ns, Ordering::Relaxed);
    words[2].store(who, Ordering::Relaxed);
    words[3].store(what, Ordering::Relaxed);
    words[4].store(arg.cast_unsigned(), Ordering::Relaxed);
    words[5].store(u64::from(amount.cast_unsigned()), Ordering::Relaxed);
    words[0].store(entry.number + 1, Ordering::Release);
}

/// The whole entries of the ring in the order of their numbers, oldest first.
pub fn read(shared_state: &SharedState) -> Vec<Entry> {
    let end = shared_state.calls();
    let start = end.saturating_sub(shared_state.trace_capacity() as u64);
    (start..end).filter_map(|number| read_one(shared_state, number)).collect()
}

fn read_one(shared_state: &SharedState, number: u64) -> Option<Entry> {
    let words = shared_state.entry(number);
    let load = |n: usize| words[n].load(Ordering::Relaxed);
    if words[0].load(Ordering::Acquire) != number + 1 {
        return None;
    }
    let (at_ns, who, what, arg, amount) = (load(1), load(2), load(3), load(4), load(5));
    // Nothing of what was read above may be older than this second look at the mark.
    fence(Ordering::Acquire);
    if words[0].load(Ordering::Relaxed) != number + 1 {
        return None;
    }
    let [method, role, ruling, rule, ..] = what.to_be_bytes();
    Some(Entry {
        number,
        at_ns,
        actor: Actor { process: (who >> 48) as u16, thread: (who >> 32) as u16 },
        call: Call {
            method: Method::from_number(method)?,
            role: Role::from_number(role)?,
            file: who as u32,
            arg: arg.cast_signed(),
            amount: (amount as u32).cast_signed(),
        },
        ruling: *RulingKind::ALL.get(usize::from(ruling))?,
        rule: (rule != NO_RULE).then_some(rule),
        outcome: (what as u32).cast_signed(),
    })
}

/// Adds a call to the shared state's checksum.
pub(crate) fn fold(shared_state: &SharedState, entry: &Entry) {
    let Entry { number: _, at_ns: _, actor, call, ruling, rule, outcome } = *entry;
    let who = u64::from(actor.process) << 48 | u64::from(actor.thread) << 32 | u64::from(call.file);
    let rule = rule.unwrap_or(NO_RULE);
    let what = u64::from_be_bytes([call.method as u8, call.role as u8, ruling as u8, rule, 0, 0, 0, 0]);
    let what = what | u64::from(outcome.cast_unsigned());
    let words = [who, what, call.arg.cast_unsigned(), u64::from(call.amount.cast_unsigned())];
    let sum = shared_state.digest().load(Ordering::Relaxed);
    shared_state.digest().store(words.iter().fold(sum, |sum, word| mix(sum ^ word)), Ordering::Relaxed);
}

/// A checksum over all traced calls, rulings and outcomes in their order, as 16 hexadecimal digits: equal for equal
/// executions. Times are left out. It covers also what the ring has lost. Kept in [`Mode::DIGEST`] only.
///
/// [`Mode::DIGEST`]: crate::shared_state::Mode::DIGEST
pub fn digest(shared_state: &SharedState) -> String {
    format!("{:016x}", mix(shared_state.digest().load(Ordering::Relaxed) ^ shared_state.calls()))
}

/// One line of the JSON form.
#[derive(Serialize)]
struct Line {
    call: u64,
    at_us: u64,
    actor: Actor,
    method: &'static str,
    role: &'static str,
    file: u32,
    arg: i64,
    amount: i32,
    ruling: RulingKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<u8>,
    outcome: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// Writes entries as JSON, one object a line.
///
/// # Errors
/// What the writer returned.
pub fn write_json_lines(entries: &[Entry], out: &mut dyn io::Write) -> io::Result<()> {
    for entry in entries {
        let failed = entry.call.method.can_fail() && entry.outcome != 0;
        let line = Line {
            call: entry.number,
            at_us: entry.at_ns / 1000,
            actor: entry.actor,
            method: entry.call.method.word(),
            role: entry.call.role.word(),
            file: entry.call.file,
            arg: entry.call.arg,
            amount: entry.call.amount,
            ruling: entry.ruling,
            rule: entry.rule,
            outcome: entry.outcome,
            code: failed.then(|| ResultCode(entry.outcome).to_string()),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> Entry {
        Entry {
            number,
            at_ns: 12_345_678,
            actor: Actor { process: 2, thread: 65_535 },
            call: Call { method: Method::Unfetch, role: Role::Shm, file: u32::MAX, arg: -1, amount: i32::MIN },
            ruling: RulingKind::Kill,
            rule: Some(63),
            outcome: -5,
        }
    }

    fn traced(count: u64, capacity: usize) -> SharedState {
        let shared_state = SharedState::private(capacity);
        for _ in 0..count {
            write(&shared_state, &entry(shared_state.next_call()));
        }
        shared_state
    }

    #[test]
    fn entries_come_back_as_they_were_and_the_ring_keeps_the_newest() {
        let entries = read(&traced(10, 4));
        assert_eq!(entries, (6..10).map(entry).collect::<Vec<_>>());
    }

    #[test]
    fn a_half_written_entry_is_left_out() {
        let shared_state = traced(3, 4);
        shared_state.entry(1)[0].store(0, Ordering::Relaxed);
        assert_eq!(read(&shared_state).iter().map(|e| e.number).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn the_digest_tells_executions_apart_ignores_time_and_outlives_the_ring() {
        let digest_of = |entries: &[Entry]| {
            let shared_state = SharedState::private(2);
            entries.iter().for_each(|entry| fold(&shared_state, entry));
            digest(&shared_state)
        };
        let calls: Vec<Entry> = (0..5).map(entry).collect();
        let later: Vec<Entry> = calls.iter().map(|call| Entry { at_ns: 1, ..*call }).collect();
        assert_eq!(digest_of(&calls), digest_of(&later));
        let mut other = calls.clone();
        other[0].outcome = 0;
        assert_ne!(digest_of(&calls), digest_of(&other));
        assert_ne!(digest_of(&calls), digest_of(&calls[1..]));
    }

    #[test]
    fn json_lines_name_the_code() {
        let mut out = Vec::new();
        let mut failed = entry(0);
        failed.call.method = Method::ShmMap;
        failed.outcome = 5386;
        write_json_lines(&[failed], &mut out).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["code"], "IOERR_SHMMAP");
        assert_eq!(line["actor"], "p2.t65535");
    }
}
