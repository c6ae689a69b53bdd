//! The log: how much of it waits, what keeps it, whether the wal-index fits.

use crate::doctor::codes::Code;
use crate::doctor::findings::{Finding, Findings, Severity, count, named_holders, quoted};
use crate::doctor::report::{DoctorReport, FileRole};

/// Logs with more frames in use are long: ten times what SQLite lets them grow to before it tries a checkpoint by
/// itself (`wal_autocheckpoint`, 1000 pages).
const FRAMES_MAX: u64 = 10_000;
/// Shorter logs are not long, however small the database is: twice what SQLite lets them grow to.
const FRAMES_SHORT: u64 = 2_000;
/// A log with this many times the pages of the database is long.
const RATIO_MAX: u64 = 10;
/// Longer files are long, whatever is in them.
const BYTES_MAX: u64 = 256 << 20;

pub(super) fn log(report: &DoctorReport, findings: &mut Findings) {
    let Some(wal) = report.wal.as_ref().filter(|_| report.database.is_some()) else { return };
    let pending = report.pending.frames;
    let at_most = if report.pending.is_exact { "" } else { "at most " };
    if pending > 0 {
        let next = if report.is_held() {
            "nothing to do; never delete the -wal, and copy it with the database"
        } else {
            "open it with the application, or run seawall doctor DB --fix; never delete the -wal"
        };
        let evidence = if wal.is_cut() {
            // What waits is counted by the wal-index in use, or in the part alone.
            format!("{} or more; the first {} of the log were read", count(pending, "frame"), wal.committed_frames)
        } else {
            format!("{at_most}{} of {} committed", count(pending, "frame"), wal.committed_frames)
        };
        findings.push(Finding::new(Code::PendingFrames, evidence, next));
    }
    long_log(report, findings);
    if wal.uncommitted_frames > 0 && !wal.is_cut() {
        let evidence = format!("{} after the last commit", count(wal.uncommitted_frames, "frame"));
        findings.push(Finding::new(Code::UnfinishedTransaction, evidence, "nothing to do"));
    }
    if wal.header.is_none() && wal.bytes > 32 && wal.is_stable {
        let next = "copy it before a process writes, in case it is not";
        findings.push(Finding::new(Code::WalWithoutHeader, count(wal.bytes, "byte"), next));
    }
    if wal.unread_bytes > 0 {
        let evidence = format!("{} of {} bytes of the -wal were not read", wal.unread_bytes, wal.bytes);
        findings.push(Finding::new(Code::ReadInPart, evidence, "nothing to do; what was counted is a part"));
    }
}

fn long_log(report: &DoctorReport, findings: &mut Findings) {
    let (Some(wal), Some(database)) = (&report.wal, &report.database) else { return };
    let Some(header) = &wal.header else {
        if wal.bytes > BYTES_MAX {
            let evidence = format!("{} bytes without a valid header", wal.bytes);
            findings.push(Finding::new(Code::LongLog, evidence, "copy it to another disk before anything writes"));
        }
        return;
    };
    let pages = database.bytes / u64::from(header.page_bytes);
    // One that was read in part is longer than `BYTES_MAX`.
    let used = wal.committed_frames;
    let is_over_ratio = used > FRAMES_SHORT && used > pages.saturating_mul(RATIO_MAX);
    if used <= FRAMES_MAX && !is_over_ratio && wal.bytes <= BYTES_MAX {
        return;
    }
    let pinned = pinned(report);
    let pending = report.pending.frames;
    let is_waiting = pending > FRAMES_MAX || is_over_ratio && pending > FRAMES_SHORT || wal.is_cut();
    let evidence = format!(
        "{} bytes, {}, of which {pending} are not in the database; the database has {pages} pages{}",
        wal.bytes,
        count(wal.committed_frames, "committed frame"),
        if pinned.is_empty() { String::new() } else { format!("; {}", pinned.join("; ")) }
    );
    let is_held = report.is_held();
    // After one large transaction a log is long, carried over, and begins anew at the next write.
    let is_passing = is_held && !is_waiting && pinned.is_empty();
    if is_passing && wal.bytes <= BYTES_MAX {
        return;
    }
    let (text, next) = match (is_held, is_waiting, pinned.is_empty()) {
        (false, ..) => (
            "the log is long and was left behind: the next open reads all of it",
            "open it with the application, which carries it over, or run seawall doctor DB --fix; keep the -wal"
                .to_owned(),
        ),
        (true, true, true) => (
            "the log is long: no checkpoint is run, or none gets to its end",
            "run PRAGMA wal_checkpoint(TRUNCATE) on a connection of the application, at a moment without readers"
                .to_owned(),
        ),
        (true, true, false) => (
            "the log is long: a reader keeps the checkpoint from its end",
            format!("end what reads there ({}), then run PRAGMA wal_checkpoint(TRUNCATE)", pinned.join("; ")),
        ),
        (true, false, false) => (
            "the log is long: all of it is carried over, and a reader keeps it from beginning anew",
            format!("end what reads there ({}), then run PRAGMA wal_checkpoint(TRUNCATE)", pinned.join("; ")),
        ),
        (true, false, true) => (
            "the file of the log is long, and little of it is in use",
            "set PRAGMA journal_size_limit, or run PRAGMA wal_checkpoint(TRUNCATE) once".to_owned(),
        ),
    };
    findings.push(Finding::new(Code::LongLog, evidence, next).with_severity(Severity::Warning).with_text(text));
}

/// Who reads the log, up to where, and whether that process runs.
fn pinned(report: &DoctorReport) -> Vec<String> {
    let marks = report.wal_index.as_ref().and_then(|index| index.content.as_ref()).map(|content| content.read_marks);
    let mut told = Vec::new();
    for (number, name) in [(1, "READ1"), (2, "READ2"), (3, "READ3"), (4, "READ4")] {
        for pid in report.lock_owners(FileRole::WalIndex, name) {
            let process = report.holder_processes.iter().find(|process| process.pid == pid);
            let state = match process.and_then(|process| process.state) {
                Some('T' | 't') => "stopped (state T)",
                Some('S') => "asleep (state S)",
                Some('D') => "waiting for a device (state D)",
                Some('R') => "running",
                _ => "in a state that is not known",
            };
            let command = process.map_or("", |process| process.command.as_str());
            let mark =
                marks.and_then(|marks| marks[number]).map_or_else(String::new, |mark| format!(" at frame {mark}"));
            told.push(format!("process {pid} ({command}) reads{mark}, and is {state}"));
        }
    }
    told
}

/// A close in the usual way would checkpoint by a wal-index that is wrong.
fn save_and_kill(report: &DoctorReport) -> String {
    let path = quoted(report);
    let pids: Vec<String> = report.pids().iter().map(u32::to_string).collect();
    format!(
        "Copy the database and the -wal, without the -shm (cp {path} COPY; cp {path}-wal COPY-wal). Then end {} with \
         kill -KILL {}, all at once",
        named_holders(report),
        pids.join(" ")
    )
}

pub(super) fn wal_index(report: &DoctorReport, findings: &mut Findings) {
    let Some(index) = report.wal_index.as_ref().filter(|_| report.database.is_some()) else { return };
    if !index.is_live {
        let next = "nothing to do; never delete it under an open connection";
        findings.push(Finding::new(Code::LeftoverShm, count(index.bytes, "byte"), next));
        return;
    }
    let Some(content) = &index.content else { return };
    if content.backfilled_frames > content.max_frame {
        let evidence = format!("nBackfill {} > mxFrame {}", content.backfilled_frames, content.max_frame);
        let next = format!(
            "stop writing, and run no checkpoint. {}: the next open reads the log from its beginning, and a close in \
             the usual way skips frames and removes it. Then go on with SQLite 3.51.3 or later",
            save_and_kill(report)
        );
        findings.push(Finding::new(Code::WalReset, evidence, next));
    }
    if index.agrees == Some(false) {
        let committed = report.wal.as_ref().map_or(0, |wal| wal.committed_frames);
        let evidence = format!("{} frames in the wal-index, {committed} committed in the log", content.max_frame);
        let next = format!(
            "stop writing, and run no checkpoint. {}: the next open builds the wal-index from the log. If the -wal was \
             replaced, compare before that what the database is alone and with it: seawall doctor {} --fix shows both",
            save_and_kill(report),
            quoted(report)
        );
        findings.push(Finding::new(Code::WalIndexDisagrees, evidence, next));
    }
}
