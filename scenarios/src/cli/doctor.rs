//! `seawall doctor`: what can be read of a database without disturbing its users, and what can be repaired without
//! loss.

use super::{Complaint, Exit, print};
use anstyle::{AnsiColor, Style};
use clap::Args;
use seawall::doctor::fix::{self, FixOutcome, FixPlan};
use seawall::doctor::{self, DoctorReport, Severity, WalIndexFile};
use serde::Serialize;
use std::fmt::{Display, Write};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct DoctorArgs {
    /// The database
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// Write one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Say what could be repaired without losing anything; with --yes, do it
    #[arg(long)]
    fix: bool,
    /// Do what --fix says
    #[arg(long, requires = "fix")]
    yes: bool,
}

const HELP: &str = "\
Without --fix --yes nothing is written, locked, created or checkpointed: it is safe beside a running application.\n\
--fix --yes lets SQLite roll back a hot journal and carry a left log into the database, or renames side files whose \
database is gone into a folder beside it. It deletes nothing, and refuses while a process has the database open.\n\
Exit status: 0 nothing found, or notices alone; 100 a warning or a danger was found, or a repair was refused or \
failed; 2 there is no such database.";

/// A repair, for machines.
#[derive(Serialize)]
struct Repair<'a> {
    schema: u32,
    dry_run: bool,
    plan: &'a FixPlan,
    done: &'a [String],
    failure: Option<&'a str>,
    before: &'a DoctorReport,
    after: Option<&'a DoctorReport>,
}

pub(super) fn run(args: &DoctorArgs) -> Result<Exit, Complaint> {
    if args.fix && args.yes {
        return repair(args);
    }
    let report = doctor::examine(&args.database).map_err(Complaint::usage)?;
    if args.fix {
        let outcome = (fix::plan(&report), report);
        return dry_run(args, &outcome.0, &outcome.1);
    }
    let text = if args.json { json(&report)? } else { human(&report) };
    print(&text)?;
    Ok(exit(&report))
}

fn exit(report: &DoctorReport) -> Exit {
    if report.severity >= Severity::Warning { Exit::Finding } else { Exit::Expected }
}

fn dry_run(args: &DoctorArgs, plan: &FixPlan, report: &DoctorReport) -> Result<Exit, Complaint> {
    if args.json {
        let repair = Repair { schema: 1, dry_run: true, plan, done: &[], failure: None, before: report, after: None };
        print(&json(&repair)?)?;
    } else {
        let mut out = human(report);
        out.push('\n');
        write_plan(&mut out, plan, "would");
        if !plan.steps.is_empty() {
            let _ = writeln!(out, "nothing was done; to do it: seawall doctor {} --fix --yes", quoted(&args.database));
        }
        print(&out)?;
    }
    Ok(if plan.refusals.is_empty() { Exit::Expected } else { Exit::Finding })
}

fn repair(args: &DoctorArgs) -> Result<Exit, Complaint> {
    let outcome = fix::fix(&args.database).map_err(Complaint::usage)?;
    let FixOutcome { plan, done, failure, before, after, .. } = &outcome;
    if args.json {
        let (failure, after) = (failure.as_deref(), after.as_ref());
        print(&json(&Repair { schema: 1, dry_run: false, plan, done, failure, before, after })?)?;
    } else {
        let mut out = String::new();
        let _ = writeln!(out, "{}\n", heading("before"));
        out.push_str(&human(before));
        out.push('\n');
        write_plan(&mut out, plan, "will");
        for done in done {
            let _ = writeln!(out, "done: {done}");
        }
        if let Some(failure) = failure {
            let _ = writeln!(out, "{}", paint(Severity::Danger, &format!("failed: {failure}")));
        }
        if let Some(after) = after {
            let _ = writeln!(out, "\n{}\n", heading("after"));
            out.push_str(&human(after));
        }
        print(&out)?;
    }
    let is_done = plan.refusals.is_empty() && failure.is_none();
    let left = after.as_ref().or(plan.steps.is_empty().then_some(before));
    Ok(if is_done { left.map_or(Exit::Expected, exit) } else { Exit::Finding })
}

fn write_plan(out: &mut String, plan: &FixPlan, verb: &str) {
    for refusal in &plan.refusals {
        let _ = writeln!(out, "{}", paint(Severity::Warning, &format!("refused: {refusal}")));
    }
    for step in &plan.steps {
        let _ = writeln!(out, "{verb}: {step}");
    }
    if plan.steps.is_empty() && plan.refusals.is_empty() {
        out.push_str("there is nothing to repair\n");
    }
}

fn json(value: &impl Serialize) -> Result<String, Complaint> {
    let mut text = serde_json::to_string(value).map_err(Complaint::broken)?;
    text.push('\n');
    Ok(text)
}

fn heading(text: &str) -> String {
    let bold = Style::new().bold();
    format!("{bold}{text}{bold:#}")
}

fn paint(severity: Severity, text: &str) -> String {
    let color = match severity {
        Severity::Ok => AnsiColor::Green,
        Severity::Notice => AnsiColor::Cyan,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Danger => AnsiColor::Red,
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}

/// Quoted for a shell.
fn quoted(path: &std::path::Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

fn human(report: &DoctorReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}", heading(&report.path.display().to_string()), paint(report.severity, word(report)));
    let mut line = |label: &str, text: &dyn Display| {
        let _ = writeln!(out, "  {label:<9} {text}");
    };
    line("database", &database(report));
    line("journal", &journal(report));
    if let Some(wal) = &report.wal {
        let pending = &report.pending;
        let at_most = if pending.is_exact { "" } else { "at most " };
        let salts = wal
            .header
            .as_ref()
            .map_or_else(String::new, |header| format!(", salts {:08x} {:08x}", header.salts[0], header.salts[1]));
        line(
            "-wal",
            &format!(
                "{} bytes, {} frames committed, {at_most}{} not yet checkpointed{salts}",
                wal.bytes, wal.committed_frames, pending.frames
            ),
        );
    }
    if let Some(index) = &report.wal_index {
        line("-shm", &wal_index(index));
    }
    if let Some(journal) = &report.journal {
        let state = match journal.is_hot {
            Some(true) => "hot",
            Some(false) => "not hot",
            None => "hot or not, which cannot be seen here",
        };
        line("-journal", &format!("{} bytes, {state}", journal.bytes));
    }
    if let Some(system) = &report.file_system {
        let network = if system.is_network { ", network" } else { "" };
        line("on", &format!("{}{network}, {} MiB free", system.kind, system.free_bytes >> 20));
    }
    holders(report, &mut line);
    for note in &report.notes {
        line("note", note);
    }
    findings(report, &mut out);
    out
}

fn word(report: &DoctorReport) -> &'static str {
    match report.severity {
        Severity::Ok | Severity::Notice => "nothing found",
        Severity::Warning => "needs attention",
        Severity::Danger => "data is in danger",
    }
}

fn database(report: &DoctorReport) -> String {
    let Some(database) = &report.database else { return "gone".to_owned() };
    let Some(header) = &database.header else { return format!("{} bytes, no header", database.bytes) };
    let written_by = header.written_by.as_ref().map_or_else(String::new, |by| format!(", written by SQLite {by}"));
    format!(
        "{} bytes, pages of {}, change counter {}, schema {}, user version {}{written_by} (this program has {})",
        database.bytes,
        header.page_bytes,
        header.change_counter,
        header.schema_cookie,
        header.user_version,
        report.sqlite
    )
}

fn journal(report: &DoctorReport) -> String {
    let mode = &report.journal_mode;
    format!("{} configured, {} in effect", mode.configured.unwrap_or("nothing"), mode.effective)
}

fn wal_index(index: &WalIndexFile) -> String {
    let live = if index.is_live { "in use" } else { "a leftover" };
    match &index.content {
        Some(content) => format!(
            "{live}, {} frames, {} of them checkpointed, salts {:08x} {:08x}",
            content.max_frame, content.backfilled_frames, content.salts[0], content.salts[1]
        ),
        None => format!("{live}, says nothing"),
    }
}

fn holders(report: &DoctorReport, line: &mut dyn FnMut(&str, &dyn Display)) {
    for pid in report.pids() {
        let mut files: Vec<String> = Vec::new();
        let mut command = "";
        for holder in report.holders.iter().filter(|holder| holder.pid == pid) {
            command = &holder.command;
            let deleted = if holder.deleted { " (deleted)" } else { "" };
            files.push(format!("{}{deleted}", holder.role));
        }
        let locks = report.locks.iter().flatten().filter(|lock| lock.pid == Some(pid));
        let locks: Vec<String> = locks
            .map(|lock| {
                let waits = if lock.is_waiting { "waits for " } else { "" };
                format!("{waits}{} on {} inode {}", lock.names.join("+"), lock.role, lock.inode)
            })
            .collect();
        let locks = if locks.is_empty() { "no lock".to_owned() } else { locks.join(", ") };
        line("held by", &format!("{pid} {command}: {}; {locks}", files.join(", ")));
    }
    if report.pids().is_empty() {
        line("held by", &"no process that can be seen");
    }
    if report.processes.is_confined {
        line("unseen", &"processes outside of this container, and their locks");
    }
    if report.processes.unreadable > 0 {
        line("unseen", &format!("{} processes of other users, which root can see", report.processes.unreadable));
    }
}

fn findings(report: &DoctorReport, out: &mut String) {
    out.push('\n');
    for finding in &report.findings {
        let label = format!("{:<8}", finding.severity.word());
        let _ = writeln!(out, "{} {} ({})", paint(finding.severity, &label), finding.text, finding.evidence);
    }
    let _ = writeln!(out, "{} {}", heading("next:"), report.next);
}
