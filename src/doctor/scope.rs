//! What was looked at, and what could not be seen.

use super::findings::count;
use super::report::DoctorReport;

/// What was looked at, in words.
pub(super) fn looked_at(report: &DoctorReport) -> Vec<String> {
    let mut list = Vec::new();
    if report.header().is_some() {
        list.push("header".to_owned());
    }
    if let Some(wal) = &report.wal {
        list.push(format!("-wal ({})", count(wal.committed_frames + wal.uncommitted_frames, "frame")));
    }
    if report.wal_index.as_ref().is_some_and(|index| index.content.is_some()) {
        list.push("-shm".to_owned());
    }
    if report.journal.is_some() {
        list.push("-journal".to_owned());
    }
    if report.processes.is_available {
        list.push(format!(
            "descriptors of {}",
            count(report.processes.looked_into.into(), "process").replace("processs", "processes")
        ));
    }
    if report.locks.is_some() {
        list.push("locks".to_owned());
    }
    if let Some(mount) = &report.evidence.surroundings.mount {
        list.push(format!("file system ({})", mount.kind));
    }
    list.push("rights".to_owned());
    list
}

/// What could not be seen, in words.
pub(super) fn unseen(report: &DoctorReport) -> Vec<String> {
    let mut list =
        vec!["the pages of the database: PRAGMA quick_check on the application's connection looks at them".to_owned()];
    if !report.processes.is_available {
        list.push("processes: there is no /proc".to_owned());
    }
    if report.locks.is_none() {
        list.push("locks: there is no /proc/locks".to_owned());
    }
    if report.processes.is_confined {
        list.push("processes outside of this PID namespace".to_owned());
    }
    if report.processes.unreadable > 0 {
        list.push(format!("the open files of {} of other users", count(report.processes.unreadable.into(), "process")));
    }
    let unread = report.wal.as_ref().map_or(0, |wal| wal.unread_bytes);
    if unread > 0 {
        list.push(format!("the last {unread} bytes of the -wal"));
    }
    let unread = report.evidence.journal.as_ref().map_or(0, |journal| journal.unread_bytes);
    if unread > 0 {
        list.push(format!("the last {unread} bytes of the -journal"));
    }
    if !report.evidence.is_header_still && report.header().is_some() {
        list.push("one state: the database changed while it was looked at".to_owned());
    }
    if report.holders.iter().any(|holder| !holder.is_self) {
        let unknown = report.holder_processes.iter().filter(|process| process.sqlite.is_none());
        let unknown: Vec<String> = unknown.map(|process| process.pid.to_string()).collect();
        if !unknown.is_empty() {
            list.push(format!("which SQLite process {} has loaded", unknown.join(", ")));
        }
    }
    list.extend(report.notes.iter().cloned());
    list
}
