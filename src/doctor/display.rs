//! A report as text: what was seen, then the findings, the worst first, then the next step.

use super::findings::Severity;
use super::holders::HolderProcess;
use super::report::{DoctorReport, FileRole};
use super::wal_index::WalIndex;
use crate::error::{PrintablePath, count, printable};
use std::fmt::{self, Display, Formatter};

impl Display for DoctorReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", PrintablePath(&self.path), self.verdict())?;
        line(f, "database", &self.told_database())?;
        let mode = &self.journal_mode;
        line(
            f,
            "journal",
            &format!("{} configured, {} in effect", mode.configured.unwrap_or("nothing"), mode.effective),
        )?;
        self.fmt_side_files(f)?;
        if let Some(system) = &self.file_system {
            let network = if system.is_network { ", network" } else { "" };
            line(f, "on", &format!("{}{network}, {} MiB free", system.kind, system.free_bytes >> 20))?;
        }
        self.fmt_holders(f)?;
        line(f, "looked at", &self.looked_at.join(", "))?;
        for unseen in &self.unseen {
            line(f, "not seen", unseen)?;
        }
        writeln!(f)?;
        for finding in &self.findings {
            writeln!(f, "{:<8} {}: {} ({})", finding.severity.word(), finding.code, finding.text, finding.evidence)?;
        }
        write!(f, "next: {}", printable(&self.next))
    }
}

/// One line; names of files and of processes may have anything in them.
fn line(f: &mut Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {label:<9} {}", printable(text))
}

impl DoctorReport {
    /// The worst of the findings in words: "nothing found", "needs attention", "data is in danger".
    pub fn verdict(&self) -> &'static str {
        match self.severity {
            Severity::Ok | Severity::Notice => "nothing found",
            Severity::Warning => "needs attention",
            Severity::Danger => "data is in danger",
        }
    }

    fn told_database(&self) -> String {
        let Some(database) = &self.database else { return "gone".to_owned() };
        let Some(header) = &database.header else { return format!("{} bytes, no header", database.bytes) };
        let written_by = header.written_by.as_ref().map_or_else(String::new, |by| format!(", written by SQLite {by}"));
        format!(
            "{} bytes, pages of {}, change counter {}, schema {}, user version {}{written_by} (this program has {})",
            database.bytes,
            header.page_bytes,
            header.change_counter,
            header.schema_cookie,
            header.user_version,
            self.sqlite
        )
    }

    fn fmt_side_files(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(wal) = &self.wal {
            let at_most = if self.pending.is_exact { "" } else { "at most " };
            let salts = wal.header.as_ref().map_or_else(String::new, |header| told_salts(header.salts));
            let (frames, pending) = (wal.committed_frames, self.pending.frames);
            let counted = if wal.is_cut() {
                let frames = count(frames, "frame");
                format!("{frames} committed in the part that was read, {pending} or more not yet checkpointed")
            } else {
                format!("{} committed, {at_most}{pending} not yet checkpointed", count(frames, "frame"))
            };
            line(f, "-wal", &format!("{} bytes, {counted}{salts}", wal.bytes))?;
        }
        if let Some(index) = &self.wal_index {
            let live = if index.is_live { "in use" } else { "a leftover" };
            let content = index.content.as_ref().map_or_else(|| ", says nothing".to_owned(), told_index);
            line(f, "-shm", &format!("{live}{content}"))?;
        }
        if let Some(journal) = &self.journal {
            let state = match journal.is_hot {
                Some(true) => "hot",
                Some(false) => "not hot",
                None => "hot or not, which cannot be seen here",
            };
            line(f, "-journal", &format!("{} bytes, {state}", journal.bytes))?;
        }
        Ok(())
    }

    fn fmt_holders(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for pid in self.pids() {
            let of_process = || self.holders.iter().filter(|holder| holder.pid == pid);
            let command = of_process().next_back().map_or("", |holder| &holder.command);
            let process = self.holder_processes.iter().find(|process| process.pid == pid);
            let stopped = if process.is_some_and(HolderProcess::is_stopped) { " (stopped)" } else { "" };
            let name = |role: FileRole, deleted: bool| format!("{role}{}", if deleted { " (deleted)" } else { "" });
            let files: Vec<String> = of_process().map(|holder| name(holder.role, holder.deleted)).collect();
            let locks = self.locks.iter().flatten().filter(|lock| lock.pid == Some(pid));
            let locks: Vec<String> = locks
                .map(|lock| {
                    let waits = if lock.is_waiting { "waits for " } else { "" };
                    format!("{waits}{} on {} inode {}", lock.names.join("+"), lock.role, lock.inode)
                })
                .collect();
            let locks = if locks.is_empty() { "no lock".to_owned() } else { locks.join(", ") };
            line(f, "held by", &format!("{pid} {command}{stopped}: {}; {locks}", files.join(", ")))?;
        }
        if self.pids().is_empty() {
            line(f, "held by", "no process that can be seen")?;
        }
        Ok(())
    }
}

fn told_salts(salts: [u32; 2]) -> String {
    format!(", salts {:08x} {:08x}", salts[0], salts[1])
}

fn told_index(index: &WalIndex) -> String {
    let (frames, checkpointed) = (index.max_frame, index.backfilled_frames);
    let frames = count(frames.into(), "frame");
    format!(", {frames}, {checkpointed} of them checkpointed{}", told_salts(index.salts))
}
