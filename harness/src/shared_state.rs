//! The shared state of a run: one region of memory that every process of the run maps, and the only thing they share
//! besides the database.
//!
//! It holds the switches (are faults armed, are calls traced), the run's clock, the counters of the fault rules (so
//! that "the third `shmmap` in any process" means what it says), the event counters, and the trace ring (so that the
//! calls of a killed process survive it). A run in one process uses the same shared state in private memory.
//!
//! All of it is 64-bit atomics, so no process can leave another one waiting by dying: there is no lock to be held.
//!
//! ```text
//! word 0..32                    header, see `Word`
//! word 32..32+COUNTERS          event counters, see `Counter`
//! then RULES_MAX x 24 words     per rule: matched, fired, bytes, 5 spare, the numbers of the first 16 calls at which
//!                               it fired
//! then trace_capacity x 8 words the trace ring, see `trace`
//! ```

use crate::outsider::OutsideAction;
use crate::sys::{self, SharedWords};
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most rules a plan may have.
pub const RULES_MAX: usize = 64;
/// How many firings of a rule keep their call numbers.
pub const FIRED_AT_MAX: usize = 16;

/// `"SWBOARD1"`: tells a shared state from another file, and its layout from an older one.
const MAGIC: u64 = u64::from_be_bytes(*b"SWBOARD1");
const HEADER_WORDS: usize = 32;
const COUNTER_WORDS: usize = 32;
const RULE_WORDS: usize = 24;
const RULES_START: usize = HEADER_WORDS + COUNTER_WORDS;
const TRACE_START: usize = RULES_START + RULES_MAX * RULE_WORDS;
/// Words of one trace entry: a cache line.
pub(crate) const ENTRY_WORDS: usize = 8;

/// Positions in the header.
#[derive(Clone, Copy)]
enum Word {
    Magic = 0,
    TraceCapacity = 1,
    Mode = 2,
    EpochNs = 3,
    ClockOffsetNs = 4,
    ClockScale = 5,
    CallsNext = 6,
    ArmedAtNs = 7,
    Digest = 8,
    OutsideAction = 9,
    OutsideDice = 10,
}

/// What the shim does at each call. Bits of the shared state's mode word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u64);

impl Mode {
    /// Straight through to the platform's VFS: no counting, no rules, no trace.
    pub const OFF: Self = Self(0);
    /// Calls are numbered and written to the trace ring.
    pub const TRACE: Self = Self(1);
    /// The fault rules are armed; calls are numbered.
    pub const ARMED: Self = Self(2);
    /// Calls are numbered and seen by the hook, and nothing else.
    pub const NUMBER: Self = Self(4);
    /// Traced calls are added to a checksum. Right only where one actor makes calls at a time.
    pub const DIGEST: Self = Self(8);
    /// What is stamped with a time is stamped with the run's own, which does not depend on the machine.
    pub const VIRTUAL: Self = Self(16);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This one without the bits of `other`.
    #[must_use]
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Events that are counted over all processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counter {
    /// xOpen calls on a main database file that succeeded.
    DbOpens,
    /// xOpen calls that succeeded, of any role.
    FilesOpened,
    /// xClose calls on files counted above.
    FilesClosed,
    /// Schema initialisations; counted by the strategy's init function.
    SchemaInits,
    /// Panics caught in VFS callbacks. Any at all means that the lab is broken.
    Panics,
}

/// The counters of one fault rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleCounters<'a> {
    words: &'a RuleWords,
}

type RuleWords = [AtomicU64; RULE_WORDS];

impl<'a> RuleCounters<'a> {
    /// Counts one more selected call and returns its number, from 1.
    #[inline]
    pub(crate) fn count_match(self) -> u64 {
        self.words[0].fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many calls the rule has selected.
    pub fn matched(self) -> u64 {
        self.words[0].load(Ordering::Relaxed)
    }

    /// Counts a firing at the call `number`, unless the rule has fired `times` times already.
    pub fn fire(self, number: u64, times: Option<u64>) -> bool {
        let limit = times.unwrap_or(u64::MAX);
        let counted =
            self.words[1].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1));
        let Ok(before) = counted else { return false };
        if let Some(slot) = usize::try_from(before).ok().filter(|n| *n < FIRED_AT_MAX) {
            self.words[8 + slot].store(number + 1, Ordering::Relaxed);
        }
        true
    }

    /// How often the rule fired.
    pub fn fired(self) -> u64 {
        self.words[1].load(Ordering::Relaxed)
    }

    /// Adds to the bytes that passed and returns their sum.
    pub(crate) fn add_bytes(self, bytes: u64) -> u64 {
        self.words[2].fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// The numbers of the first calls at which the rule fired, at most [`FIRED_AT_MAX`].
    pub fn fired_at(self) -> Vec<u64> {
        let slots = &self.words[8..8 + FIRED_AT_MAX];
        slots.iter().map(|w| w.load(Ordering::Relaxed)).filter(|n| *n > 0).map(|n| n - 1).collect()
    }
}

#[derive(Debug)]
enum Memory {
    Private(Box<[AtomicU64]>),
    Shared(SharedWords),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct SharedState {
    memory: Memory,
}

impl SharedState {
    /// A shared state for one process. `trace_capacity` is the number of calls that the ring keeps, a power of two.
    ///
    /// # Panics
    /// If the capacity is no power of two.
    pub fn private(trace_capacity: usize) -> Self {
        let words = (0..Self::words_needed(trace_capacity)).map(|_| AtomicU64::new(0)).collect();
        let shared_state = Self { memory: Memory::Private(words) };
        shared_state.initialise(trace_capacity);
        shared_state
    }

    /// Creates the file of a shared state for several processes.
    ///
    /// # Errors
    /// If the file exists already, or cannot be created, sized or mapped.
    ///
    /// # Panics
    /// If the capacity is no power of two.
    pub fn create(path: &Path, trace_capacity: usize) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        let memory = Memory::Shared(SharedWords::map(&file, Self::words_needed(trace_capacity))?);
        let shared_state = Self { memory };
        shared_state.initialise(trace_capacity);
        Ok(shared_state)
    }

    /// Maps a shared state that another process created.
    ///
    /// # Errors
    /// If the file cannot be opened or mapped; `InvalidData` if it is no shared state of this layout.
    pub fn open(path: &Path) -> io::Result<Self> {
        let invalid = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is not a shared state file of this version", path.display()),
            )
        };
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let words = usize::try_from(file.metadata()?.len()).map_err(|_| invalid())? / size_of::<AtomicU64>();
        if words < TRACE_START {
            return Err(invalid());
        }
        let shared_state = Self { memory: Memory::Shared(SharedWords::map(&file, words)?) };
        let capacity =
            usize::try_from(shared_state.word(Word::TraceCapacity).load(Ordering::Relaxed)).map_err(|_| invalid())?;
        let sound = shared_state.word(Word::Magic).load(Ordering::Acquire) == MAGIC
            && capacity.is_power_of_two()
            && Self::words_needed(capacity) == words;
        if sound { Ok(shared_state) } else { Err(invalid()) }
    }

    fn words_needed(trace_capacity: usize) -> usize {
        assert!(
            trace_capacity.is_power_of_two(),
            "the trace ring's capacity must be a power of two, not {trace_capacity}"
        );
        TRACE_START + trace_capacity * ENTRY_WORDS
    }

    fn initialise(&self, trace_capacity: usize) {
        self.word(Word::TraceCapacity).store(trace_capacity as u64, Ordering::Relaxed);
        self.word(Word::EpochNs).store(sys::monotonic_ns(), Ordering::Relaxed);
        self.word(Word::ClockScale).store(1, Ordering::Relaxed);
        self.word(Word::Magic).store(MAGIC, Ordering::Release);
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        match &self.memory {
            Memory::Private(words) => words,
            Memory::Shared(region) => region.words(),
        }
    }

    /// The words before the trace ring, whose number is known.
    #[inline]
    fn fixed_words(&self) -> &[AtomicU64; TRACE_START] {
        self.words().first_chunk().expect("no shared_state is made shorter")
    }

    #[inline]
    fn word(&self, word: Word) -> &AtomicU64 {
        &self.fixed_words()[word as usize]
    }

    /// What the shim does at each call.
    #[inline]
    pub fn mode(&self) -> Mode {
        Mode(self.word(Word::Mode).load(Ordering::Relaxed))
    }

    /// Changes what the shim does, in every process, from the next call on.
    pub fn set_mode(&self, mode: Mode) {
        if mode.has(Mode::ARMED) && !self.mode().has(Mode::ARMED) {
            self.word(Word::ArmedAtNs).store(self.run_time_ns(), Ordering::Relaxed);
        }
        self.word(Word::Mode).store(mode.0, Ordering::Release);
    }

    /// Arms the faults, in every process, from the next call on.
    pub fn arm(&self) {
        self.set_mode(self.mode().and(Mode::ARMED));
    }

    /// Disarms the faults.
    pub fn disarm(&self) {
        self.set_mode(self.mode().without(Mode::ARMED));
    }

    /// The shared state's switches as one word, for a shim that checks it at every call.
    #[inline]
    pub(crate) fn mode_word(&self) -> &AtomicU64 {
        self.word(Word::Mode)
    }

    /// Gives out the next call number, from 0.
    #[inline]
    pub(crate) fn next_call(&self) -> u64 {
        self.word(Word::CallsNext).fetch_add(1, Ordering::Relaxed)
    }

    /// Begins a new run on the same shared state: the calls and the events are counted from 0, the clock begins anew.
    /// For a run in one process, between two executions.
    pub fn restart(&self) {
        let counted = [Word::CallsNext, Word::ClockOffsetNs, Word::ArmedAtNs, Word::Digest, Word::OutsideAction];
        let counted = counted.map(|word| self.word(word));
        let events = &self.words()[HEADER_WORDS..TRACE_START];
        for word in counted.into_iter().chain(events) {
            word.store(0, Ordering::Relaxed);
        }
        self.word(Word::EpochNs).store(sys::monotonic_ns(), Ordering::Relaxed);
    }

    /// How many calls were numbered.
    pub fn calls(&self) -> u64 {
        self.word(Word::CallsNext).load(Ordering::Relaxed)
    }

    /// Wall-clock nanoseconds since the shared state was made.
    pub fn elapsed_ns(&self) -> u64 {
        sys::monotonic_ns().saturating_sub(self.word(Word::EpochNs).load(Ordering::Relaxed))
    }

    /// The run's own time since it began, in nanoseconds; see [`Clock`](crate::clock::Clock).
    pub fn run_time_ns(&self) -> u64 {
        let passed_ns = match self.clock_scale().load(Ordering::Relaxed) {
            0 => 0,
            scale => self.elapsed_ns().saturating_mul(scale),
        };
        self.clock_offset_ns().load(Ordering::Relaxed).saturating_add(passed_ns)
    }

    /// The run's own time since the fault rules were armed.
    pub(crate) fn armed_for(&self) -> std::time::Duration {
        let armed_at_ns = self.word(Word::ArmedAtNs).load(Ordering::Relaxed);
        std::time::Duration::from_nanos(self.run_time_ns().saturating_sub(armed_at_ns))
    }

    /// The checksum of the calls so far.
    pub(crate) fn digest(&self) -> &AtomicU64 {
        self.word(Word::Digest)
    }

    pub(crate) fn clock_offset_ns(&self) -> &AtomicU64 {
        self.word(Word::ClockOffsetNs)
    }

    pub(crate) fn clock_scale(&self) -> &AtomicU64 {
        self.word(Word::ClockScale)
    }

    /// Counts an event.
    pub fn count(&self, counter: Counter) {
        self.fixed_words()[HEADER_WORDS + counter as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often an event was counted.
    pub fn counted(&self, counter: Counter) -> u64 {
        self.fixed_words()[HEADER_WORDS + counter as usize].load(Ordering::Relaxed)
    }

    /// The counters of the rule at `index` in its plan.
    ///
    /// # Panics
    /// If the index is [`RULES_MAX`] or more.
    pub fn rule(&self, index: usize) -> RuleCounters<'_> {
        self.rules()(index)
    }

    /// The same for asking for one rule after the other: the table is looked up once.
    #[inline]
    pub(crate) fn rules<'a>(&'a self) -> impl Fn(usize) -> RuleCounters<'a> {
        let rules =
            self.fixed_words()[RULES_START..].as_chunks().0.first_chunk::<RULES_MAX>().expect("the room for them");
        move |index| RuleCounters { words: &rules[index] }
    }

    /// Keeps what an outsider is to do once all processes are dead, for the process that started them.
    pub(crate) fn keep_intervention(&self, action: OutsideAction, dice: u64) {
        self.word(Word::OutsideDice).store(dice, Ordering::Relaxed);
        self.word(Word::OutsideAction).store(action as u64 + 1, Ordering::Release);
    }

    /// What an outsider is to do once all processes are dead, with its dice; it is told once.
    pub fn take_intervention(&self) -> Option<(OutsideAction, u64)> {
        let number = self.word(Word::OutsideAction).swap(0, Ordering::Acquire);
        let action = usize::try_from(number).ok()?.checked_sub(1).and_then(|n| OutsideAction::ALL.get(n).copied())?;
        Some((action, self.word(Word::OutsideDice).load(Ordering::Relaxed)))
    }

    /// How many calls the trace ring keeps.
    pub fn trace_capacity(&self) -> usize {
        (self.words().len() - TRACE_START) / ENTRY_WORDS
    }

    /// The words of the trace entry for the call `number`.
    #[inline]
    pub(crate) fn entry(&self, number: u64) -> &[AtomicU64; ENTRY_WORDS] {
        let (entries, _) = self.words()[TRACE_START..].as_chunks();
        // The capacity is a power of two, so the mask leaves of the number what the ring has room for.
        &entries[number as usize & (entries.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_fires_no_more_often_than_it_may() {
        let shared_state = SharedState::private(16);
        let rule = shared_state.rule(3);
        assert_eq!((rule.count_match(), rule.count_match()), (1, 2));
        assert!(rule.fire(10, Some(2)));
        assert!(rule.fire(20, Some(2)));
        assert!(!rule.fire(30, Some(2)));
        assert_eq!((rule.fired(), rule.fired_at()), (2, vec![10, 20]));
        assert_eq!(shared_state.rule(2).fired(), 0);
    }

    #[test]
    fn processes_share_the_state_by_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shared_state");
        let parent = SharedState::create(&path, 64).unwrap();
        let child = SharedState::open(&path).unwrap();
        child.count(Counter::DbOpens);
        child.set_mode(Mode::ARMED.and(Mode::TRACE));
        assert_eq!(parent.counted(Counter::DbOpens), 1);
        assert!(parent.mode().has(Mode::TRACE));
        assert!(SharedState::create(&path, 64).is_err(), "an existing file is not taken over");
    }

    #[test]
    fn another_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shared_state");
        std::fs::write(&path, vec![0; 100]).unwrap();
        assert_eq!(SharedState::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        assert_eq!(SharedState::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
