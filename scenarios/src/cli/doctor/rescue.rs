//! `seawall doctor DB --save DIR`.

use super::super::{Complaint, Exit, print, say};
use super::targets::printable;
use super::{DoctorArgs, json};
use seawall::doctor::{self, SavedFile};
use seawall_harness::narrative::count;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// What was saved, for machines.
#[derive(Serialize)]
struct Saved<'a> {
    schema: u32,
    saved: &'a [SavedFile],
}

pub(super) fn run(args: &DoctorArgs, path: &Path, directory: &Path) -> Result<Exit, Complaint> {
    let report = doctor::examine(path).map_err(Complaint::usage)?;
    let saved = doctor::save(&report, directory).map_err(Complaint::usage)?;
    if args.is_json() {
        print(&json(&Saved { schema: 1, saved: &saved })?)?;
    } else {
        print(&human(&saved))?;
    }
    if saved.is_empty() {
        say("nothing was saved: no process has a deleted file of this database open, as far as can be seen");
        return Ok(Exit::NothingRan);
    }
    Ok(if saved.iter().all(|file| file.is_consistent) { Exit::Expected } else { Exit::Finding })
}

fn human(saved: &[SavedFile]) -> String {
    let mut out = String::new();
    for file in saved {
        let pids: Vec<String> = file.pids.iter().map(u32::to_string).collect();
        let deleted = if file.deleted { "deleted " } else { "" };
        let (path, role, bytes) = (printable(&file.path), file.role, file.bytes);
        let _ = write!(out, "saved {path}: the {deleted}{role} of process {}, {bytes} bytes", pids.join(", "));
        if let (Some(frames), Some(commits)) = (file.committed_frames, file.commits) {
            let _ = write!(out, ", {} in {}", count(frames, "committed frame"), count(commits, "commit"));
        }
        out.push('\n');
    }
    if !saved.iter().all(|file| file.is_consistent) {
        let why = "the files were written to while they were copied: stop the process (kill -STOP) and save again";
        let _ = writeln!(out, "{why}, into another directory");
    } else if !saved.is_empty() {
        out.push_str("to look at the copies, open them with SQLite: the database has its log beside it\n");
    }
    out
}
