//! `seawall report`: renders a saved record.

use super::args::{Format, ReportArgs};
use super::{Complaint, Exit, print, say, soak};
use seawall_harness::record::SoakRecord;
use seawall_reports as reports;
use std::fs;

pub(super) fn run(args: &ReportArgs) -> Result<Exit, Complaint> {
    let path = args.record.display();
    let text =
        fs::read_to_string(&args.record).map_err(|error| Complaint::usage(format!("cannot read {path}: {error}")))?;
    let record = reports::json::parse_full(&text).map_err(|error| Complaint::usage(format!("{path}: {error}")))?;
    if let Some(out) = &args.out {
        soak::check_out(out)?;
    }
    let written = args.out.as_deref().map(|out| reports::write::all(out, &record)).transpose();
    print(&render(&record, args.format))?;
    if let Some(paths) = written.map_err(Complaint::usage)? {
        say(&format!("report: {}", paths.html.display()));
    }
    Ok(Exit::Expected)
}

/// The record for standard output.
pub(super) fn render(record: &SoakRecord, format: Format) -> String {
    let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
    match format {
        // With colours. anstream removes them if the terminal or the user does not want them.
        Format::Human => reports::text::matrix(record, true, width),
        Format::Json => reports::json::soak(record),
        Format::Junit => reports::junit::soak(record),
    }
}
