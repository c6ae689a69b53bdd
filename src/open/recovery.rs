//! How a connection is opened when the first attempt fails, without losing data.
//!
//! This module unlinks, renames and truncates nothing. A `-wal` with frames is data, and a `-shm` may be in use by a
//! process that cannot be seen. All repair is SQLite's own.
//!
//! The steps, in order:
//!
//! 1. Failures that may pass are met by closing and opening again, a few times, after short pauses.
//! 2. If the wal-index stays unusable, exclusive mode does without it: SQLite locks the whole file, builds the
//!    wal-index on its heap from the log, and reads and writes as always. It works only for a sole user, so an
//!    exclusive connection serves one call and is closed again, and processes that are all degraded take turns.
//! 3. If another process holds the file, either it is degraded too and will release it, or its wal-index works, and
//!    then ours may work as well. So both modes are tried in turn until one is granted or the busy timeout is over.
//!
//! Between two attempts nothing stays open. This matters: a connection that waits for the exclusive lock keeps its
//! shared one, and two of them would wait for each other for ever.

use super::{LockingMode, Opened, open};
use crate::error::classify::{is_wal_index, primary};
use crate::error::{Cause, Class, DegradedReason, Error, Operation, is_busy_code};
use crate::events::{EventKind, EventQueue};
use crate::ffi::set_busy_timeout;
use crate::settings::Settings;
use rusqlite::{Connection, ffi};
use std::path::Path;
use std::time::Duration;

const ATTEMPTS_MAX: u32 = 3;
const RETRY_PAUSES: [Duration; ATTEMPTS_MAX as usize - 1] = [Duration::from_millis(5), Duration::from_millis(25)];
const ALTERNATION_PAUSE_FIRST: Duration = Duration::from_millis(2);
const ALTERNATION_PAUSE_MAX: Duration = Duration::from_millis(50);
/// The busy timeout ends the loop much earlier; this bound holds even if the clock stands still.
const ALTERNATIONS_MAX: u32 = 1 << 16;

/// An open connection, and why it is exclusive if it is.
pub(crate) struct Recovered {
    pub(crate) opened: Opened,
    /// Set if and only if the connection is exclusive.
    pub(crate) degraded: Option<DegradedReason>,
}

/// Opens a database that is believed to be healthy: shared mode with retries, then either mode.
pub(crate) fn open_healthy(path: &Path, settings: &Settings, events: &mut EventQueue) -> Result<Recovered, Error> {
    let mut attempt = 1;
    let failure = loop {
        match open(path, LockingMode::Shared, settings.busy_timeout, settings) {
            Ok(opened) => return Ok(Recovered { opened, degraded: None }),
            Err(error) if attempt < ATTEMPTS_MAX && may_be_transient(&error) => {
                events.add(EventKind::OpenRetried { attempt, code: error.extended_code().unwrap_or_default() });
                settings.os.sleep(RETRY_PAUSES[attempt as usize - 1]);
                attempt += 1;
            }
            Err(error) => break error,
        }
    };
    match wal_index_failure(&failure) {
        Some(reason) => alternate_modes(path, LockingMode::Exclusive, reason, failure, settings),
        None => Err(failure),
    }
}

/// Opens a database whose wal-index has failed, trying `first` first.
pub(crate) fn open_degraded(
    path: &Path,
    first: LockingMode,
    reason: DegradedReason,
    settings: &Settings,
) -> Result<Recovered, Error> {
    let origin =
        Error::sqlite(path, reason.operation, rusqlite::Error::SqliteFailure(ffi::Error::new(reason.code), None));
    alternate_modes(path, first, reason, origin, settings)
}

/// Whether the failure says that the wal-index, and nothing else, is unusable.
///
/// CANTOPEN from behind a file that did open means a side file. If it is the `-wal`, exclusive mode fails as well and
/// the first error stands.
///
/// The errno may know better: a lack of descriptors passes, and a writer who meets a full disk would meet it in
/// exclusive mode too, since the log needs room as well.
pub(crate) fn wal_index_failure(error: &Error) -> Option<DegradedReason> {
    let code = error.extended_code().filter(|_| !(error.operation().is_opening() && error.is_elsewhere()))?;
    let is_side_file = primary(code) == ffi::SQLITE_CANTOPEN && error.operation() == Operation::Configure;
    let passes = error.fault() == Class::RetryLater;
    ((is_wal_index(code) || is_side_file) && !passes).then_some(DegradedReason { code, operation: error.operation() })
}

/// Whether a connection may not write because its wal-index may not be written.
///
/// SQLite does not fail where it finds that out. It continues to read, stays read-only for as long as the connection
/// lives, and answers the first write with a plain READONLY. It gives the same code for files that may not be written
/// and for connections with `query_only`.
pub(crate) fn unwritable_wal_index(error: &Error, conn: &Connection, locking: LockingMode) -> Option<DegradedReason> {
    let code = error.extended_code().filter(|&code| code == ffi::SQLITE_READONLY)?;
    let is_file_writable = matches!(conn.is_readonly(rusqlite::MAIN_DB), Ok(false));
    let may_write = matches!(conn.pragma_query_value(None, "query_only", |row| row.get(0)), Ok(0));
    let has_log =
        conn.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)).is_ok_and(|mode| mode == "wal");
    (locking == LockingMode::Shared && is_file_writable && may_write && has_log)
        .then_some(DegradedReason { code, operation: error.operation() })
}

/// Alternates between the modes until one is granted. `origin` is the first failure; it is returned if exclusive mode
/// fails by itself.
fn alternate_modes(
    path: &Path,
    first: LockingMode,
    reason: DegradedReason,
    origin: Error,
    settings: &Settings,
) -> Result<Recovered, Error> {
    let os = &*settings.os;
    let start = os.now();
    let mut mode = first;
    let mut failures = 0;
    let mut busy = None;
    for turn in 0..ALTERNATIONS_MAX {
        // Waiting happens below, with nothing open; SQLite's busy handler would wait while it holds a lock.
        match open(path, mode, Duration::ZERO, settings) {
            Ok(opened) => return Ok(settle(opened, reason, settings)),
            Err(error) if error.extended_code().is_some_and(is_busy_code) => busy = Some(error),
            Err(error) if mode == LockingMode::Exclusive => {
                failures += 1;
                if failures >= ATTEMPTS_MAX || !may_be_transient(&error) {
                    return Err(origin);
                }
            }
            Err(_) => {}
        }
        mode = match mode {
            LockingMode::Shared => LockingMode::Exclusive,
            LockingMode::Exclusive => LockingMode::Shared,
        };
        let both_tried = turn % 2 == 1;
        if both_tried && os.now().saturating_sub(start) >= settings.busy_timeout {
            break;
        }
        if both_tried {
            os.sleep(alternation_pause(turn, os.pid()));
        }
    }
    Err(busy
        .and_then(Error::into_sqlite)
        .map_or(origin, |busy| Error::new(path, Operation::Configure, Cause::HeldElsewhere { busy, reason })))
}

fn settle(opened: Opened, reason: DegradedReason, settings: &Settings) -> Recovered {
    set_busy_timeout(&opened.conn, settings.busy_timeout);
    let degraded = (opened.locking == LockingMode::Exclusive).then_some(reason);
    Recovered { opened, degraded }
}

/// Grows with the attempts and differs between processes, so that two of them do not stay synchronised.
fn alternation_pause(turn: u32, pid: u32) -> Duration {
    let step = ALTERNATION_PAUSE_FIRST * (turn / 2 + 1);
    let offset = Duration::from_micros(u64::from(pid.wrapping_mul(2_654_435_761).rotate_left(turn) % 4096));
    step.min(ALTERNATION_PAUSE_MAX) + offset
}

/// Whether opening again in a moment may help. SQLite has waited for locks already, so a busy file is left alone; a
/// lack of descriptors or memory may be over in a moment.
fn may_be_transient(error: &Error) -> bool {
    match error.fault() {
        Class::RetryNow | Class::Reopen | Class::Degrade => true,
        Class::RetryLater => !error.is_busy(),
        _ => false,
    }
}
