//! What the crate reports: typed events, each at most once, never while a lock is held.
//!
//! While a call holds locks it only queues events. They go to the sink after the last lock is released, so a sink may
//! call back into the cache, may block, and may even panic: only the latency of its own caller suffers.
//!
//! With the feature `tracing`, each one is also an event of that crate: target `seawall`, level warn for
//! [warnings](EventKind::is_warning) and info otherwise, with the fields `database` (the canonical path), `kind` (its
//! [name](EventKind::name)), and `code`, `generation` and `error` where it has one.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("x.db");
//! use seawall::{BreakerMode, EventKind, Store};
//!
//! let store = Store::builder().events(std::sync::Arc::new(|event| eprintln!("{event}"))).open(&path)?;
//! let events = store.subscribe(64);
//! store.set_breaker_mode(BreakerMode::MetricsOnly);
//! let event = events.try_recv()?;
//! assert!(matches!(event.kind, EventKind::BreakerModeChanged { mode: BreakerMode::MetricsOnly, .. }));
//! assert_eq!((event.kind.name(), event.kind.is_warning()), ("breaker_mode_changed", true));
//! assert_eq!(store.health().events["opened"], 1);
//! # Ok(())
//! # }
//! ```

use crate::breaker::BreakerMode;
use crate::error::classify::code_name;
use crate::error::{Borrower, DegradedReason, PrintablePath, printable};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Something happened to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The canonical path of the database.
    pub path: Arc<Path>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A shared connection was opened. Exclusive ones, opened for each call while degraded, are not announced one by
    /// one.
    Opened,
    /// The init closure succeeded; at most once per process and file.
    InitCompleted,
    /// Opening failed in a way that may pass, and was tried again within the same call.
    OpenRetried {
        /// Counts from 1.
        attempt: u32,
        /// The extended result code of the failed attempt.
        code: i32,
    },
    /// SQLite did not refuse WAL with an error, but did not grant it either.
    JournalModeRefused {
        /// The mode in force.
        effective: String,
    },
    /// The circuit opened.
    BreakerTripped {
        /// The breaker's generation begun.
        generation: u64,
        /// The failure that opened it, as text.
        error: String,
    },
    /// The cooldown is over, and the first probe is on its way.
    BreakerHalfOpened {
        /// The breaker's generation begun.
        generation: u64,
    },
    /// A probe succeeded, and the circuit closed.
    BreakerRecovered {
        /// The breaker's generation begun.
        generation: u64,
    },
    /// The mode of the circuit breaker was changed.
    BreakerModeChanged {
        /// The breaker's generation begun.
        generation: u64,
        /// The mode set.
        mode: BreakerMode,
    },
    /// The wal-index does not serve; calls run one at a time in exclusive mode from here on.
    Degraded {
        /// The failure that made it necessary.
        reason: DegradedReason,
    },
    /// The wal-index serves again; back in shared mode.
    Restored {
        /// How long exclusive mode lasted.
        degraded_for: Duration,
    },
    /// A connection could not be trusted any more and was closed.
    ConnectionDiscarded {
        /// The extended result code that was the reason; `None` if a rollback failed.
        code: Option<i32>,
    },
    /// A closure left a transaction open. It was rolled back, unless a discarded connection is announced beside this.
    DanglingTransaction,
    /// A closure changed settings of the connection that the next borrower must not inherit, and the connection was
    /// closed for that.
    SettingsChanged,
    /// The schema was brought to another version.
    Migrated {
        /// The version that the file had.
        from: u32,
        /// The version that it has now.
        to: u32,
    },
    /// The file under the connections has lost its name: it was moved, replaced or deleted.
    Moved {
        /// Where its rows have been copied to, if it has no name left.
        rescued_to: Option<PathBuf>,
        /// Where it is now, if it has another name. Its log is beside it, if it has one.
        moved_to: Option<PathBuf>,
    },
    /// The log or the wal-index under the connections has lost its name: it was deleted, moved or replaced.
    LogLost {
        /// Where the rows have been copied to, if they could not be brought into the file.
        rescued_to: Option<PathBuf>,
    },
    /// The database was overwritten in place, with content that its log does not belong to.
    Overwritten {
        /// Where the log has been put.
        log_kept: PathBuf,
    },
    /// Rows that were only in a file without a name could not be read any more.
    RescueFailed {
        /// Why not, as text.
        error: String,
    },
    /// The file has lost its name, and its rows cannot be brought to safety yet. The connection is kept until they are.
    RescuePending {
        /// Why not, as text.
        error: String,
    },
    /// A write met a full disk; writes are refused for a moment.
    DiskFull,
    /// A write went through after a full disk.
    DiskHasRoom,
    /// A connection has been borrowed for longer than is allowed for.
    BorrowOverdue {
        /// Who has it.
        borrower: Borrower,
    },
    /// A reader failed and reads go through the writer for a while.
    ReadersSuspended {
        /// The extended result code.
        code: Option<i32>,
    },
    /// SQLite spoke of corruption, and then checked the whole database and found no damaged page.
    FalseAlarm {
        /// The extended result code that raised it.
        code: Option<i32>,
    },
    /// A damaged database was moved out of the way, with all that belongs to it.
    Quarantined {
        /// The directory where it is now.
        bundle: PathBuf,
        /// Whether the same content was there already.
        is_duplicate: bool,
    },
    /// A damaged database was left where it is.
    QuarantineRefused {
        /// Why, as text.
        error: String,
    },
    /// A new database was filled from a quarantined one.
    Salvaged {
        /// The directory of the old one.
        bundle: PathBuf,
    },
    /// The log is larger than the [limit](crate::Builder::wal_limit), and reads keep it from being restarted. Once,
    /// until it is below the limit again.
    LogOverLimit {
        /// Its size.
        bytes: u64,
        /// The read of this store that has been going on for longest.
        borrower: Option<Borrower>,
        /// Other processes that have the log open, if the system tells.
        pids: Vec<u32>,
    },
    /// All connections were closed on request, or by a cache that has as many databases open as it may.
    Closed,
}

impl EventKind {
    /// Its name, for metrics and filters: the variant's, in snake case. It does not change between versions.
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::Opened => "opened",
            EventKind::InitCompleted => "init_completed",
            EventKind::OpenRetried { .. } => "open_retried",
            EventKind::JournalModeRefused { .. } => "journal_mode_refused",
            EventKind::BreakerTripped { .. } => "breaker_tripped",
            EventKind::BreakerHalfOpened { .. } => "breaker_half_opened",
            EventKind::BreakerRecovered { .. } => "breaker_recovered",
            EventKind::BreakerModeChanged { .. } => "breaker_mode_changed",
            EventKind::Degraded { .. } => "degraded",
            EventKind::Restored { .. } => "restored",
            EventKind::ConnectionDiscarded { .. } => "connection_discarded",
            EventKind::DanglingTransaction => "dangling_transaction",
            EventKind::SettingsChanged => "settings_changed",
            EventKind::Migrated { .. } => "migrated",
            EventKind::Moved { .. } => "moved",
            EventKind::LogLost { .. } => "log_lost",
            EventKind::Overwritten { .. } => "overwritten",
            EventKind::RescueFailed { .. } => "rescue_failed",
            EventKind::RescuePending { .. } => "rescue_pending",
            EventKind::DiskFull => "disk_full",
            EventKind::DiskHasRoom => "disk_has_room",
            EventKind::BorrowOverdue { .. } => "borrow_overdue",
            EventKind::ReadersSuspended { .. } => "readers_suspended",
            EventKind::FalseAlarm { .. } => "false_alarm",
            EventKind::Quarantined { .. } => "quarantined",
            EventKind::QuarantineRefused { .. } => "quarantine_refused",
            EventKind::Salvaged { .. } => "salvaged",
            EventKind::LogOverLimit { .. } => "log_over_limit",
            EventKind::Closed => "closed",
        }
    }

    /// Whether it calls for attention now, rather than in a log later.
    pub fn is_warning(&self) -> bool {
        !matches!(
            self,
            EventKind::Opened
                | EventKind::InitCompleted
                | EventKind::Migrated { .. }
                | EventKind::BreakerHalfOpened { .. }
                | EventKind::BreakerRecovered { .. }
                | EventKind::Restored { .. }
                | EventKind::DiskHasRoom
                | EventKind::Closed
        )
    }
}

#[cfg(feature = "tracing")]
impl EventKind {
    /// The extended result code behind it.
    fn code(&self) -> Option<i32> {
        match self {
            EventKind::OpenRetried { code, .. } => Some(*code),
            EventKind::Degraded { reason } => Some(reason.code),
            EventKind::ConnectionDiscarded { code }
            | EventKind::ReadersSuspended { code }
            | EventKind::FalseAlarm { code } => *code,
            _ => None,
        }
    }

    /// The breaker's generation that it began.
    fn generation(&self) -> Option<u64> {
        match self {
            EventKind::BreakerTripped { generation, .. }
            | EventKind::BreakerHalfOpened { generation }
            | EventKind::BreakerRecovered { generation }
            | EventKind::BreakerModeChanged { generation, .. } => Some(*generation),
            _ => None,
        }
    }

    /// The error behind it, as text.
    fn error(&self) -> Option<&str> {
        match self {
            EventKind::BreakerTripped { error, .. }
            | EventKind::RescuePending { error }
            | EventKind::RescueFailed { error }
            | EventKind::QuarantineRefused { error } => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", PrintablePath(&self.path), printable(&self.kind.to_string()))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventKind::Opened => f.write_str("opened"),
            EventKind::InitCompleted => f.write_str("initialised"),
            EventKind::OpenRetried { attempt, code } => {
                write!(f, "opening failed with {} ({code}), attempt {attempt}; trying again", code_name(*code))
            }
            EventKind::JournalModeRefused { effective } => write!(f, "no WAL here; the journal mode is {effective}"),
            EventKind::BreakerTripped { generation, error } => {
                write!(f, "circuit open (generation {generation}): {error}")
            }
            EventKind::BreakerHalfOpened { generation } => write!(f, "circuit half-open (generation {generation})"),
            EventKind::BreakerRecovered { generation } => write!(f, "circuit closed (generation {generation})"),
            EventKind::BreakerModeChanged { generation, mode } => {
                write!(f, "circuit breaker set to {mode} (generation {generation})")
            }
            EventKind::Degraded { reason } => write!(f, "degraded to exclusive mode: {reason}"),
            EventKind::Restored { degraded_for } => write!(f, "restored to shared mode after {degraded_for:?}"),
            EventKind::ConnectionDiscarded { code: Some(code) } => {
                write!(f, "connection discarded after {} ({code})", code_name(*code))
            }
            EventKind::ConnectionDiscarded { code: None } => {
                f.write_str("connection discarded: it would not roll back")
            }
            EventKind::DanglingTransaction => f.write_str("a closure left its transaction open"),
            EventKind::SettingsChanged => f.write_str("connection discarded: a closure changed its settings"),
            EventKind::Migrated { from, to } => write!(f, "schema migrated from version {from} to {to}"),
            EventKind::Moved { rescued_to, moved_to } => tell_moved(f, rescued_to.as_deref(), moved_to.as_deref()),
            EventKind::LogLost { rescued_to: None } => {
                f.write_str("the open log was taken away; its rows are in the file")
            }
            EventKind::LogLost { rescued_to: Some(to) } => {
                write!(f, "the open log was taken away; its rows have been copied to {}", PrintablePath(to))
            }
            EventKind::Overwritten { log_kept } => {
                write!(f, "overwritten in place; the log of the former content is kept as {}", PrintablePath(log_kept))
            }
            EventKind::RescueFailed { error } => {
                write!(f, "an open file was taken away, and what was only there cannot be read any more: {error}")
            }
            EventKind::RescuePending { error } => {
                write!(f, "the open file has lost its name, and its rows are not safe yet: {error}")
            }
            EventKind::DiskFull => f.write_str("the disk is full; writes are refused for a moment"),
            EventKind::DiskHasRoom => f.write_str("the disk has room again"),
            EventKind::BorrowOverdue { borrower } => write!(f, "not returned yet: {borrower}"),
            EventKind::ReadersSuspended { code } => {
                write!(f, "a reader failed ({}); reads go through the writer", code.map_or("no code", code_name))
            }
            EventKind::FalseAlarm { code } => {
                let code = code.map_or("no code", code_name);
                write!(f, "false alarm: SQLite said {code}, and no page is damaged")
            }
            EventKind::Quarantined { bundle, is_duplicate } => {
                let again = if *is_duplicate { ", again" } else { "" };
                write!(f, "damaged, and quarantined{again} in {}", PrintablePath(bundle))
            }
            EventKind::QuarantineRefused { error } => write!(f, "damaged, and left where it is: {error}"),
            EventKind::Salvaged { bundle } => write!(f, "filled from {}", PrintablePath(bundle)),
            EventKind::LogOverLimit { bytes, borrower, pids } => tell_over_limit(f, *bytes, borrower.as_ref(), pids),
            EventKind::Closed => f.write_str("closed"),
        }
    }
}

fn tell_moved(f: &mut fmt::Formatter<'_>, rescued_to: Option<&Path>, moved_to: Option<&Path>) -> fmt::Result {
    match (rescued_to, moved_to) {
        (Some(to), _) => write!(f, "the open file was deleted; its rows have been copied to {}", PrintablePath(to)),
        (None, Some(to)) => write!(f, "the open file is {} by now", PrintablePath(to)),
        (None, None) => f.write_str("the open file has another name by now"),
    }
}

fn tell_over_limit(f: &mut fmt::Formatter<'_>, bytes: u64, borrower: Option<&Borrower>, pids: &[u32]) -> fmt::Result {
    write!(f, "the log has {bytes} bytes, and reads keep it from being restarted")?;
    if let Some(borrower) = borrower {
        write!(f, "; {borrower}")?;
    }
    if pids.is_empty() {
        return Ok(());
    }
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    write!(f, "; also open in process {}", pids.join(", "))
}

/// Where events go.
pub type Sink = Arc<dyn Fn(&Event) + Send + Sync>;

/// The most events that wait in one subscriber's channel.
const SUBSCRIPTION_MAX: usize = 1 << 16;

/// The senders of the channels, in the order in which they were made. The numbers ascend.
#[derive(Default)]
struct Subscribers {
    list: Mutex<Vec<(u64, SyncSender<Event>)>>,
}

/// The channel of one subscriber; see [`Store::subscribe`](crate::Store::subscribe). Dropping it ends the subscription.
pub struct Subscription {
    receiver: Receiver<Event>,
    number: u64,
    /// Weak: when the database is gone, the channel ends.
    subscribers: Weak<Subscribers>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Dropped after the lock: the events in the channel may be many.
        let Some(subscribers) = self.subscribers.upgrade() else { return };
        let sender = {
            let mut list = subscribers.list.lock();
            let place = list.iter().position(|(number, _)| *number == self.number);
            place.map(|place| list.remove(place))
        };
        drop(sender);
    }
}

impl std::ops::Deref for Subscription {
    type Target = Receiver<Event>;

    fn deref(&self) -> &Receiver<Event> {
        &self.receiver
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Sends the events of one database to the sink, to `tracing`, and to the subscribers.
#[derive(Default)]
pub(crate) struct EventHub {
    sink: Option<Sink>,
    subscribers: Arc<Subscribers>,
    /// Events that a subscriber had no room for.
    missed: AtomicU64,
    /// How many events of each kind there have been, by name.
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl EventHub {
    pub(crate) fn new(sink: Option<Sink>) -> EventHub {
        EventHub { sink, ..EventHub::default() }
    }

    /// A channel that gets all events from now on. One that has `capacity` of them waiting misses the next ones, which
    /// are counted.
    pub(crate) fn subscribe(&self, capacity: usize) -> Subscription {
        // The channel allocates its capacity at once.
        let (sender, receiver) = sync_channel(capacity.min(SUBSCRIPTION_MAX));
        let mut list = self.subscribers.list.lock();
        let number = list.last().map_or(0, |(number, _)| number + 1);
        list.push((number, sender));
        Subscription { receiver, number, subscribers: Arc::downgrade(&self.subscribers) }
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().clone()
    }

    fn publish(&self, event: &Event) {
        *self.counts.lock().entry(event.kind.name()).or_default() += 1;
        trace(event);
        if let Some(sink) = &self.sink {
            deliver(&**sink, event);
        }
        for (_, subscriber) in &*self.subscribers.list.lock() {
            if let Err(TrySendError::Full(_)) = subscriber.try_send(event.clone()) {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Passes an event to a sink. The caller holds no lock.
pub(crate) fn deliver<E>(sink: &(dyn Fn(&E) + Send + Sync), event: &E) {
    // A panic of the sink changes nothing: the event has happened already.
    let _ = catch_unwind(AssertUnwindSafe(|| sink(event)));
}

/// Emits to `tracing`: fields that can be filtered and counted, and a text for people.
#[cfg(feature = "tracing")]
fn trace(event: &Event) {
    // The level is part of what a call site is, so there have to be two of them.
    macro_rules! deliver {
        ($level:ident) => {
            tracing::event!(
                target: "seawall",
                tracing::Level::$level,
                database = %PrintablePath(&event.path),
                kind = event.kind.name(),
                code = event.kind.code(),
                generation = event.kind.generation(),
                error = event.kind.error(),
                "{}",
                printable(&event.kind.to_string())
            )
        };
    }
    if event.kind.is_warning() {
        deliver!(WARN);
    } else {
        deliver!(INFO);
    }
}

#[cfg(not(feature = "tracing"))]
fn trace(_: &Event) {}

/// Events of one call, waiting for its locks to be released.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    // An empty vector does not allocate, and almost every call leaves it empty.
    kinds: Vec<EventKind>,
}

impl EventQueue {
    pub(crate) fn add(&mut self, kind: EventKind) {
        self.kinds.push(kind);
    }

    /// Hands the events on. The caller holds no lock.
    pub(crate) fn emit(self, path: &Arc<Path>, hub: &EventHub) {
        for kind in self.kinds {
            hub.publish(&Event { path: Arc::clone(path), kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_subscription_leaves_nothing_behind() {
        let hub = EventHub::new(None);
        let kept = hub.subscribe(2);
        for _ in 0..1000 {
            drop(hub.subscribe(SUBSCRIPTION_MAX));
        }
        assert_eq!(hub.subscribers.list.lock().len(), 1);
        let (a, b) = (hub.subscribe(1), hub.subscribe(1));
        drop(a);
        let mut queue = EventQueue::default();
        queue.add(EventKind::Closed);
        queue.emit(&Arc::from(Path::new("/x.db")), &hub);
        assert!(
            [&kept, &b].iter().all(|channel| channel.try_recv().is_ok_and(|event| event.kind == EventKind::Closed))
        );
        drop((kept, b));
        assert_eq!(hub.subscribers.list.lock().len(), 0);
    }
}
