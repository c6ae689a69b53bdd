//! The history of a run: the ledger, the marks on the timeline, the errors that callers got.

use crate::run::protocol::StepReport;
use crate::run::step::Outcome;
use crate::strategies::Failure;
use crate::workload::Step;
use seawall_harness::actor::Actor;
use seawall_harness::codes::ResultCode;
use seawall_harness::oracle::Intervened;
use seawall_harness::oracle::alarm::Alarm;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::oracle::ledger::Ledger;
use seawall_harness::oracle::progress::ActorProgress;
use seawall_harness::oracle::table::{Table, TxnKey, TxnState};
use seawall_harness::record::{ErrorCount, MarkKind, TimelineEvent};
use std::collections::{BTreeMap, BTreeSet};

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct History {
    /// The outcomes that were reported to the callers.
    pub ledger: Ledger,
    /// Transactions that a reader saw in part.
    pub torn_reads: Vec<String>,
    /// Errors that call the database corrupt.
    pub alarms: Vec<Alarm>,
    /// Marks for the timeline, in the order in which they were reported.
    pub marks: Vec<TimelineEvent>,
    /// The probes of each actor, after the faults had healed.
    pub progress: Vec<ActorProgress>,
    /// The checks on live connections.
    pub checks: Vec<Check>,
    /// Locks that idle processes held.
    pub locks: Vec<String>,
    /// When processes are known to have had the database open, see [`Evidence`](seawall_harness::oracle::Evidence).
    pub open_spans: Vec<(u64, u64)>,
    /// What outsiders did once all processes were dead.
    pub late_interventions: Vec<Intervened>,
    /// The processes that are known to have it open now, and since which call.
    open_since: BTreeMap<u16, u64>,
    /// Files open after closing.
    pub open_files: Vec<String>,
    /// What the strategies told about files: in errors, events, and on closing.
    pub announced: Vec<String>,
    /// When processes were killed, by the number of the call that was next.
    pub deaths: Vec<u64>,
    /// The largest size of the log after a step.
    pub log_bytes_max: u64,
    /// Reads that succeeded.
    pub reads: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Processes that were started.
    pub starts: u64,
    /// The mark of the last acknowledged commit of each transaction, by its position.
    commits: BTreeMap<TxnKey, usize>,
    /// How often each error was returned.
    errors: BTreeMap<String, u64>,
}

/// The marks of a run.
#[derive(Debug, Default)]
pub struct Marks {
    events: Vec<TimelineEvent>,
    commits: BTreeMap<TxnKey, usize>,
}

impl Marks {
    /// The marks. The last acknowledged commits of the lost transactions are marked as lost.
    pub fn with_losses(mut self, lost: &BTreeSet<TxnKey>) -> Vec<TimelineEvent> {
        for position in lost.iter().filter_map(|key| self.commits.get(key)) {
            self.events[*position].kind = MarkKind::Lost;
        }
        self.events
    }
}

impl History {
    /// A step or probe has ended.
    pub fn step(&mut self, actor: Actor, index: u32, step: Step, report: &StepReport) {
        self.announced.extend(report.announced.iter().cloned());
        match report.outcome.failure() {
            // It says nothing about whether the database is open.
            None if matches!(step, Step::Pause { .. }) => {}
            None => {
                self.open_since.entry(actor.process).or_insert(report.calls);
            }
            Some(_) => self.not_open(actor.process, report.calls),
        }
        let intent = step.intent(index).map(|(txn, state)| (TxnKey { actor, txn }, state));
        let kind = match &report.outcome {
            Outcome::Acked(state) => {
                if let Some((key, _)) = intent {
                    if *state == TxnState::Torn {
                        self.ledger.observed(key, TxnState::Torn);
                    }
                    self.ledger.acked_at(key, *state, report.calls);
                    // The position of the mark that this step gets below.
                    self.commits.insert(key, self.marks.len());
                }
                MarkKind::Commit
            }
            Outcome::Missed => {
                if let Some((key, _)) = intent {
                    self.ledger.observed(key, TxnState::Absent);
                }
                MarkKind::Read
            }
            Outcome::Indeterminate(failure) => {
                if let Some((key, state)) = intent {
                    self.ledger.indeterminate(key, state);
                }
                self.failed(actor, failure);
                MarkKind::Indeterminate
            }
            Outcome::Refused(failure) => {
                match intent {
                    Some((key, state)) => self.ledger.refused(key, state),
                    None => self.ledger.refused_read(),
                }
                self.failed(actor, failure);
                MarkKind::Refused
            }
            Outcome::Read { own, torn } => {
                self.reads += 1;
                let table: Table = own.iter().map(|(txn, state)| (TxnKey { actor, txn: *txn }, *state)).collect();
                self.ledger.read(actor, &table);
                self.torn_reads.extend(torn.iter().map(|key| format!("{key}, read by {actor}")));
                MarkKind::Read
            }
            Outcome::Done => return,
        };
        let reason = report.outcome.failure().map(|failure| format!(": {}", normal_form(failure))).unwrap_or_default();
        self.marks.push(TimelineEvent {
            at_us: report.begun_us,
            duration_us: report.ended_us.saturating_sub(report.begun_us),
            actor: actor.to_string(),
            kind,
            label: format!("step {index}: {step}{reason}"),
        });
    }

    /// An actor's process died before the step's end was reported.
    pub fn given_up(&mut self, actor: Actor, index: u32, step: Step) {
        if let Some((txn, state)) = step.intent(index) {
            self.ledger.indeterminate(TxnKey { actor, txn }, state);
        }
    }

    /// An outsider has acted once all processes were dead, which was after the call at which the rule fired.
    pub fn intervened_late(&mut self, intervened: Intervened) {
        self.deaths.push(intervened.at_call);
        self.late_interventions.push(intervened);
    }

    /// It is not known any more whether a process has the database open.
    pub fn not_open(&mut self, process: u16, at_call: u64) {
        self.open_spans.extend(self.open_since.remove(&process).map(|since| (since, at_call)));
    }

    /// When processes are known to have had the database open, up to the end of the run.
    pub fn take_open_spans(&mut self) -> Vec<(u64, u64)> {
        let open = std::mem::take(&mut self.open_since);
        self.open_spans.extend(open.into_values().map(|since| (since, u64::MAX)));
        std::mem::take(&mut self.open_spans)
    }

    /// The checks of one process.
    pub fn checked(&mut self, process: u16, check: Check, locks: Vec<String>) {
        self.checks.push(Check { connection: format!("live in p{process}"), ..check });
        self.locks.extend(locks.into_iter().map(|lock| format!("p{process}: {lock}")));
    }

    /// The files that a process had open after closing.
    pub fn open_files(&mut self, process: u16, files: Vec<String>) {
        self.open_files.extend(files.into_iter().map(|file| format!("p{process}: {file}")));
    }

    /// Takes the marks out.
    pub fn take_marks(&mut self) -> Marks {
        Marks { events: std::mem::take(&mut self.marks), commits: std::mem::take(&mut self.commits) }
    }

    /// A point on the timeline.
    pub fn mark(&mut self, at_us: u64, actor: &str, kind: MarkKind, label: &str) {
        self.marks.push(TimelineEvent {
            at_us,
            duration_us: 0,
            actor: actor.to_owned(),
            kind,
            label: label.to_owned(),
        });
    }

    /// The errors that callers got, most frequent first.
    pub fn errors(&self) -> Vec<ErrorCount> {
        let mut errors: Vec<_> =
            self.errors.iter().map(|(message, count)| ErrorCount { message: message.clone(), count: *count }).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        errors
    }

    fn failed(&mut self, actor: Actor, failure: &Failure) {
        *self.errors.entry(normal_form(failure)).or_default() += 1;
        if failure.message.contains('/') {
            self.announced.push(failure.message.clone());
        }
        if failure.is_alarm {
            self.alarms.push(Alarm { actor, message: failure.message.clone() });
        }
    }
}

/// An error without what differs from run to run: the name of the code, and the message with `…` for paths and `#` for
/// numbers.
fn normal_form(failure: &Failure) -> String {
    let mut text = String::new();
    for word in failure.message.split_whitespace() {
        let is_path = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/').starts_with('/');
        let word = if is_path { "…" } else { word };
        if !text.is_empty() {
            text.push(' ');
        }
        let mut in_number = false;
        for c in word.chars() {
            if !c.is_ascii_digit() {
                text.push(c);
            } else if !in_number {
                text.push('#');
            }
            in_number = c.is_ascii_digit();
        }
    }
    match failure.code {
        Some(code) => format!("{}: {text}", ResultCode(code)),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_acknowledged_commit_of_a_lost_transaction_is_marked() {
        let actor = Actor { process: 1, thread: 1 };
        let mut history = History::default();
        let steps = [
            (Step::Insert { parts: 1, payload_bytes: 8 }, TxnState::Whole(0)),
            (Step::Insert { parts: 1, payload_bytes: 8 }, TxnState::Whole(1)),
            (Step::Update { txn: 0 }, TxnState::Whole(2)),
        ];
        for (index, (step, state)) in (0..).zip(steps) {
            let (outcome, announced) = (Outcome::Acked(state), Vec::new());
            let report = StepReport { thread: 1, index, begun_us: 0, ended_us: 0, outcome, calls: 0, announced };
            history.step(actor, index, step, &report);
        }
        let lost = |txn| history_marks(&history, TxnKey { actor, txn });
        use MarkKind::{Commit, Lost};
        assert_eq!(lost(0), [Commit, Commit, Lost]);
        assert_eq!(lost(1), [Commit, Lost, Commit]);
        assert_eq!(lost(7), [Commit, Commit, Commit]);
    }

    fn history_marks(history: &History, lost: TxnKey) -> Vec<MarkKind> {
        let marks = Marks { events: history.marks.clone(), commits: history.commits.clone() };
        marks.with_losses(&BTreeSet::from([lost])).iter().map(|mark| mark.kind).collect()
    }

    #[test]
    fn errors_are_counted_without_what_varies() {
        let failure =
            |message: &str| Failure { message: message.to_owned(), code: Some(14), is_alarm: false, is_refusal: false };
        let text = normal_form(&failure("unable to open database file: /tmp/x9/a.db"));
        assert_eq!(text, "CANTOPEN: unable to open database file: …");
        assert_eq!(normal_form(&failure("retry after 29.5s")), "CANTOPEN: retry after #.#s");
    }
}
