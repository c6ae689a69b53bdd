//! Made-up stories: the WAL-reset race, and one with all other kinds of events.

use seawall_harness::record::{Finding, Story, StoryEvent, StoryKind};
use seawall_harness::verdict::Verdict;

/// An event. An empty name stands for no actor.
pub(crate) fn event(at: u64, actor: &str, kind: StoryKind, text: &str) -> StoryEvent {
    let actor = (!actor.is_empty()).then(|| actor.to_owned());
    StoryEvent { at, actor, kind, text: text.to_owned() }
}

/// A checkpoint is preempted, another one restarts the log, and the first one stores its stale progress.
pub(crate) fn story() -> Story {
    use StoryKind::{Begin, Commit, End, Observed, Paused, Resumed};
    let insert = "INSERT INTO ledger(actor, op, row, balance, checksum) VALUES ('p2.t1', 7, 0, 93, 'a41f'), \
                  ('p2.t1', 7, 1, 12, '9c02'), ('p2.t1', 7, 2, 41, '77be')";
    let events = vec![
        event(412, "p1.t1", Begin, "PRAGMA wal_checkpoint(PASSIVE)"),
        event(431, "p1.t1", Paused, "at its 4th unfetch@db"),
        event(431, "p2.t1", Begin, "BEGIN IMMEDIATE"),
        event(440, "p2.t1", End, ""),
        event(440, "p2.t1", Begin, insert),
        event(455, "p2.t1", End, "3 rows"),
        event(455, "p2.t1", Begin, "COMMIT"),
        event(478, "p2.t1", Commit, ""),
        event(478, "p1.t2", Begin, "PRAGMA wal_checkpoint(RESTART)"),
        event(519, "p1.t2", End, "0 | 95 | 95"),
        event(519, "p2.t1", Begin, insert),
        event(563, "p2.t1", Commit, ""),
        event(563, "p1.t1", Resumed, ""),
        event(570, "p1.t1", End, "0 | 95 | 95"),
        event(570, "", Observed, "nBackfill 95 > mxFrame 30"),
    ];
    Story {
        token: "x1.mixed.3-51-1.AAECAwQFBgcICQoLDA0ODw.k7".to_owned(),
        subject: "mixed on SQLite 3.51.1".to_owned(),
        finding: finding("walindex", Verdict::Corrupt, "nBackfill 95 > mxFrame 30"),
        actors: ["p1.t1", "p1.t2", "p2.t1"].map(str::to_owned).to_vec(),
        events,
    }
}

/// Six actors, faults, a kill of a process during its statements, nesting, and a statement without an end.
pub(crate) fn eventful() -> Story {
    use StoryKind::{Begin, End, Fault, Kill, Lost, Observed, Outside, Paused, Refused, Resumed, Start};
    let long = "UPDATE accounts_with_a_long_name SET balance=balance-1,checksum=hex(randomblob(16)) WHERE id=7";
    let events = vec![
        event(1, "p1.t1", Start, "started"),
        event(2, "p1.t1", Begin, "transfer of 3 rows"),
        event(3, "p1.t1", Begin, "BEGIN IMMEDIATE"),
        event(4, "p1.t1", End, ""),
        event(4, "p1.t1", Begin, long),
        event(5, "p1.t1", Paused, "at its 1st write@wal"),
        event(5, "p2.t2", Begin, "SELECT count(*) FROM ledger"),
        event(6, "p2.t2", Paused, "at its 2nd lock@shm"),
        event(6, "p3.t1", Begin, "BEGIN IMMEDIATE"),
        event(7, "p3.t1", Refused, "BUSY: database is locked"),
        event(7, "p1.t1", Resumed, ""),
        event(8, "p1.t1", Fault, "write@wal 4096 bytes at 32: IOERR_WRITE"),
        event(9, "p1.t1", Refused, "disk I/O error (code 778)"),
        event(9, "p1.t1", Refused, "transfer of 3 rows: rolled back"),
        event(9, "p2.t2", Resumed, ""),
        event(10, "p2.t2", Observed, "12 rows, and 15 are acknowledged"),
        event(11, "p2.t1", Begin, "COMMIT"),
        event(12, "p2", Kill, "SIGKILL"),
        event(13, "p2", Start, "started again"),
        event(14, "p2.t1", Begin, "PRAGMA journal_mode"),
        event(15, "p2.t1", End, "wal"),
        event(16, "p3.t2", Begin, "INSERT INTO ledger VALUES (1)"),
        event(17, "p3.t1", Begin, "INSERT INTO ledger VALUES (2)"),
        event(17, "", Outside, "an outsider renames app.db to app.db.moved-1, before write@wal of p3.t1"),
        event(18, "p3.t2", Lost, "3 rows"),
        event(19, "", Observed, "3 acknowledged rows of p1.t1 are gone, and every integrity check says ok"),
    ];
    Story {
        subject: "openhuman under cantopen-once".to_owned(),
        finding: finding("ledger", Verdict::Lost, "3 of 61 acknowledged transactions are gone: p1.t1#3 and 2 more"),
        actors: ["p1.t1", "p1.t2", "p2.t1", "p2.t2", "p3.t1", "p3.t2"].map(str::to_owned).to_vec(),
        events,
        ..story()
    }
}

fn finding(oracle: &str, verdict: Verdict, detail: &str) -> Finding {
    Finding { oracle: oracle.to_owned(), verdict, detail: detail.to_owned() }
}

/// A story of the given number of events: statements of three actors in turn.
#[allow(dead_code, reason = "each test binary uses its own part of this module")]
pub(crate) fn of_length(events: usize) -> Story {
    let actors = ["p1.t1", "p1.t2", "p2.t1"];
    let kinds = [StoryKind::Begin, StoryKind::Paused, StoryKind::Resumed, StoryKind::Commit];
    let line = |i: usize| event(i as u64, actors[i / 4 % 3], kinds[i % 4], &format!("text {}", i / 4));
    Story { events: (0..events).map(line).collect(), ..story() }
}
