//! `seawall report`: renders a saved record.

use super::args::{Format, ReportArgs};
use super::{Complaint, Exit, print, say, soak};
use seawall_harness::record::SoakRecord;
use seawall_reports as reports;
use std::fs;
use std::path::Path;

pub(super) fn run(args: &ReportArgs) -> Result<Exit, Complaint> {
    let record = read(&args.record)?;
    if let Some(earlier) = &args.compare {
        let changes = reports::changes::changes(&read(earlier)?, &record);
        print(&match args.format {
            Format::Human => changes.text(),
            Format::Json => changes.json(),
            Format::Junit => return Err(Complaint::usage("--compare has no JUnit; use --format human or json")),
        })?;
        return Ok(if changes.is_worse() { Exit::Finding } else { Exit::Expected });
    }
    if let Some(out) = &args.out {
        soak::check_out(out)?;
    }
    deliver(&record, args.out.as_deref(), args.format)?;
    Ok(Exit::Expected)
}

/// Reads a record.
pub(super) fn read(path: &Path) -> Result<SoakRecord, Complaint> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| Complaint::usage(format!("cannot read {name}: {error}")))?;
    reports::json::parse_full(&text).map_err(|error| Complaint::usage(format!("{name}: {error}")))
}

/// Writes the report into a folder, if there is one, and prints the record in any case.
pub(super) fn deliver(record: &SoakRecord, out: Option<&Path>, format: Format) -> Result<(), Complaint> {
    let written = out.map(|out| reports::write::all(out, record)).transpose();
    print(&render(record, format))?;
    if let Some(paths) = written.map_err(Complaint::usage)? {
        say(&format!("report: {}", paths.html.display()));
    }
    Ok(())
}

/// The record for standard output.
fn render(record: &SoakRecord, format: Format) -> String {
    let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
    match format {
        // With colours. anstream removes them if the terminal or the user does not want them.
        Format::Human => reports::text::matrix(record, true, width),
        Format::Json => reports::json::soak(record),
        Format::Junit => reports::junit::soak(record),
    }
}
