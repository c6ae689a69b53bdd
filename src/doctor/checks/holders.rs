//! The processes that have the files open: on files without a name, without locks, with logs at other names, stopped.

use crate::doctor::codes::Code;
use crate::doctor::findings::{Finding, Findings, Severity, count, named, quoted};
use crate::doctor::holders::OtherLog;
use crate::doctor::report::{DoctorReport, FileRole};
use crate::error::PrintablePath;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(super) fn deleted_logs(report: &DoctorReport, findings: &mut Findings) {
    let path = quoted(report);
    let holders: BTreeSet<u32> = report.deleted_logs.iter().map(|log| log.pid).collect();
    let holders: Vec<u32> = holders.into_iter().collect();
    for log in &report.deleted_logs {
        let evidence = format!(
            "{} has it open as /proc/{}/fd/{}: {} bytes, {} in {}; {}",
            named(report, &[log.pid]),
            log.pid,
            log.descriptor,
            log.bytes,
            count(log.committed_frames, "committed frame"),
            count(log.commits, "commit"),
            log.reason
        );
        let finding = if log.others_wrote {
            let next = format!(
                "do not let process {pid} close the database: that writes old pages over newer ones. First save what \
                 it has open: seawall doctor {path} --save DIR (or cp /proc/{pid}/fd/{fd}). Then end it with kill \
                 -KILL {pid}. Then compare the saved log with the database",
                pid = log.pid,
                fd = log.descriptor
            );
            Finding::new(Code::DeletedLog, evidence, next)
        } else {
            let next = format!(
                "start no other program on the database. Stop {} in its usual way: the last close carries the log \
                 into the database. To be sure, save the log before: seawall doctor {path} --save DIR",
                named(report, &holders)
            );
            Finding::new(Code::DeletedLog, evidence, next)
        };
        findings.push(finding);
    }
}

pub(super) fn deleted_files(report: &DoctorReport, findings: &mut Findings) {
    let is_lost = |role: FileRole| !matches!(role, FileRole::InitLock | FileRole::Wal);
    let lost: Vec<_> = report.holders.iter().filter(|holder| holder.deleted && is_lost(holder.role)).collect();
    let Some(first) = lost.first() else { return };
    let told = lost.iter().map(|holder| {
        format!("{} ({}) has a deleted {} open, inode {}", holder.pid, holder.command, holder.role, holder.inode)
    });
    let is_database = lost.iter().any(|holder| holder.role == FileRole::Database);
    let path = quoted(report);
    let next = if is_database {
        format!(
            "stop writing; save what is only there: seawall doctor {path} --save DIR (or copy all of \
             /proc/{pid}/fd that is named after the database); then end process {pid} with kill -KILL {pid}, and \
             compare",
            pid = first.pid
        )
    } else if report.deleted_logs.iter().any(|log| log.others_wrote) {
        "do not let the process close the database; do what deleted-log says".to_owned()
    } else {
        let pids: BTreeSet<u32> = lost.iter().map(|holder| holder.pid).collect();
        let who = named(report, &pids.into_iter().collect::<Vec<_>>());
        format!("start no other program on the database; stop {who} in the usual way, and only then open it again")
    };
    findings.push(Finding::new(Code::DeletedButOpen, told.collect::<Vec<_>>().join("; "), next));
}

pub(super) fn lockless(report: &DoctorReport, findings: &mut Findings) {
    let lockless = &report.lockless;
    if lockless.is_empty() {
        return;
    }
    let who = named(report, lockless);
    if super::journal::writes_without_lock(report) {
        let evidence = format!("{who} has the database and its journal open, and no lock on the database");
        let pids: Vec<String> = lockless.iter().map(u32::to_string).collect();
        let next = format!(
            "let no other program read or write the database: it would roll back what {who} is writing. Let {who} end \
             the transaction and stop; or end it with kill -KILL {}, and the next open rolls back",
            pids.join(" ")
        );
        let text = "a process is in a write transaction and holds no lock on the database";
        findings.push(Finding::new(Code::LostLocks, evidence, next).with_text(text));
        return;
    }
    let others: Vec<u32> = report.pids().into_iter().filter(|pid| !lockless.contains(pid)).collect();
    let mut evidence = format!("{who} has the database and its side files open, and no lock on the database");
    for process in report.holder_processes.iter().filter(|process| lockless.contains(&process.pid)) {
        if let Some(version) = &process.sqlite {
            let is_old = process.sqlite_number.is_some_and(|number| number < 3_051_000);
            let defence = if is_old { "no defence against this" } else { "some defence against this" };
            evidence.push_str(&format!("; process {} has SQLite {version}, which has {defence}", process.pid));
        }
    }
    let order = match (lockless.len(), others.is_empty()) {
        (1, true) => {
            format!("Stop {who} in its usual way; until it has ended, open the database with no other program")
        }
        (1, false) => format!(
            "First stop {who}, while {} keeps its connections open. Only then stop or restart the others. Until then, \
             open the database with no other program",
            named(report, &others)
        ),
        _ => {
            let pids: Vec<String> = lockless.iter().map(u32::to_string).collect();
            format!(
                "End {who} with kill -KILL {}, all at once, so that none of them closes under the others: what is \
                 committed is in the -wal. Only then open the database",
                pids.join(" ")
            )
        }
    };
    findings.push(Finding::new(Code::LostLocks, evidence, order));
}

pub(super) fn other_logs(report: &DoctorReport, findings: &mut Findings) {
    for log in report.other_logs.iter().filter(|log| !log.is_deleted) {
        let (name, database) = (PrintablePath(&log.name), PrintablePath(&log.database));
        let who = named(report, &[log.pid]);
        let kind = if log.is_journal { "journal" } else { "log" };
        let evidence = format!("{who} has the database open as {database}, with the {kind} {name}");
        let finding = if log.is_second_name {
            let next = format!(
                "stop writing under one of the two names. Save both logs: seawall doctor {} --save DIR. Then stop {who} \
                 in its usual way before anything checkpoints or closes under this name, compare, and use one name",
                quoted(report)
            );
            Finding::new(Code::SecondLog, evidence, next)
        } else if log.is_journal {
            let former = log.former.as_deref().filter(|_| !log.is_former_taken);
            let next = journal_after_rename(who, log.pid, &log.name, &log.database, former);
            Finding::new(Code::RenamedUnderHolder, evidence, next).with_text(RENAMED_IN_TRANSACTION)
        } else {
            let text = "the database or its log was renamed while a process had it open: its log is at another name";
            Finding::new(Code::RenamedUnderHolder, evidence, after_rename(report, log)).with_text(text)
        };
        findings.push(finding);
    }
    for (pid, databases) in &report.evidence.moved_to {
        if !report.holders.iter().any(|holder| holder.pid == *pid && holder.role == FileRole::WalIndex) {
            findings.push(moved_with_journal(report, *pid, databases));
            continue;
        }
        let path = PrintablePath(&report.path);
        let names: Vec<String> = databases.iter().map(|name| PrintablePath(name).to_string()).collect();
        let names = if names.is_empty() { "a file that could not be found".to_owned() } else { names.join(" or ") };
        let who = named(report, &[*pid]);
        let evidence = format!("{who} has the -shm of this name open, and as its database {names}");
        let text = "a process uses the side files of this name, and its database has another name now";
        let next = if report.database.is_none() {
            format!(
                "create and open no database at this name. Rename {names} back to {path}, then stop {who} in its usual \
                 way: its close carries the log over, which it does not do for a database that has moved. If it has \
                 ended already, rename {path}-wal to {names}-wal before anything opens the database"
            )
        } else {
            format!(
                "open neither database, and stop writing: two databases share one log. Save all files: seawall doctor \
                 {} --save DIR. Then end {who} with kill -KILL {pid}. The saved log belongs to {names}",
                quoted(report)
            )
        };
        findings.push(Finding::new(Code::RenamedUnderHolder, evidence, next).with_text(text));
    }
}

const RENAMED_IN_TRANSACTION: &str =
    "the database was renamed in the middle of a transaction: its journal is at the old name";

/// The database has gone from this name, and its journal is still written here.
fn moved_with_journal(report: &DoctorReport, pid: u32, databases: &[PathBuf]) -> Finding {
    let who = named(report, &[pid]);
    let names: Vec<String> = databases.iter().map(|name| PrintablePath(name).to_string()).collect();
    let journal = FileRole::Journal.path(&report.path);
    let evidence = format!("{who} writes {}, and has as its database {}", PrintablePath(&journal), names.join(" or "));
    let former = report.database.is_none().then_some(report.path.as_path());
    let moved = databases.first().map_or(report.path.as_path(), PathBuf::as_path);
    let next = journal_after_rename(who, pid, &journal, moved, former);
    Finding::new(Code::RenamedUnderHolder, evidence, next).with_text(RENAMED_IN_TRANSACTION)
}

/// What helps a process that was in a transaction when its database was renamed. The end of the transaction needs no
/// name; a process that dies before leaves a database that only this journal can roll back.
fn journal_after_rename(who: String, pid: u32, journal: &Path, moved: &Path, former: Option<&Path>) -> String {
    let own = FileRole::Journal.path(moved);
    let (journal, moved, own) = (PrintablePath(journal), PrintablePath(moved), PrintablePath(&own));
    let back = match former {
        Some(former) => format!("Then rename {moved} back to {}", PrintablePath(former)),
        None => "Then decide which of the two databases has the name".to_owned(),
    };
    format!(
        "open the database by neither name, and let {who} end its transaction and stop. {back}. If process {pid} has \
         ended before that, rename {journal} to {own} before anything opens the database: it is rolled back from it"
    )
}

/// What helps a process whose log is at another name than its database.
///
/// SQLite does not checkpoint a database at the close that has lost the name it was opened by. So the name is given
/// back first.
fn after_rename(report: &DoctorReport, log: &OtherLog) -> String {
    let (path, name) = (PrintablePath(&report.path), PrintablePath(&log.name));
    let who = named(report, &[log.pid]);
    let ended = format!("If it has ended already, rename {name} to {path}-wal before anything opens the database");
    match &log.former {
        // Something else has written here or there since.
        _ if report.wal.is_some() || log.is_former_taken => format!(
            "open the database with no other program. Save all files: seawall doctor {} --save DIR (or cp \
             /proc/{pid}/fd/{}). Then end {who} with kill -KILL {pid}. The saved log belongs to this database: compare",
            quoted(report),
            log.descriptor,
            pid = log.pid
        ),
        Some(former) => format!(
            "do not open the database here. Rename it back to {}, then stop {who} in its usual way: its close carries \
             the log over, which it does not do for a database that has moved. {ended}",
            PrintablePath(former)
        ),
        None => format!(
            "do not open the database. Rename {name} back to {path}-wal, then stop {who} in its usual way: its close \
             carries the log over. {ended}"
        ),
    }
}

pub(super) fn locks(report: &DoctorReport, findings: &mut Findings) {
    let mut told = |role: FileRole, name: &'static str, code: Code| {
        let owners = report.lock_owners(role, name);
        if !owners.is_empty() {
            let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
            let evidence = format!("process {} holds {name} on {role}", owners.join(", "));
            findings.push(Finding::new(code, evidence, "nothing to do, unless it lasts"));
        }
    };
    told(FileRole::WalIndex, "WRITE", Code::Writing);
    told(FileRole::WalIndex, "CKPT", Code::Checkpointing);
    told(FileRole::Database, "RESERVED", Code::Writing);
    told(FileRole::Database, "EXCLUSIVE", Code::Exclusive);
    for process in report.holder_processes.iter().filter(|process| process.is_stopped()) {
        let locks = report.locks.iter().flatten().filter(|lock| lock.pid == Some(process.pid) && !lock.is_waiting);
        let names: Vec<String> = locks.map(|lock| format!("{} on {}", lock.names.join("+"), lock.role)).collect();
        if !names.is_empty() {
            let pid = process.pid;
            let evidence = format!("process {pid} ({}) is in state T and holds {}", process.command, names.join(", "));
            let next = format!("let it go on: kill -CONT {pid}; or end it: kill -KILL {pid}, which loses no commit");
            findings.push(Finding::new(Code::StoppedHolder, evidence, next).with_severity(Severity::Warning));
        }
    }
}
