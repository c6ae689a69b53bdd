//! The single checks: each examines one part of a report, and adds its findings.

mod files;
mod holders;
mod journal;
mod log;
mod log_origin;
mod surroundings;

use super::findings::Findings;
use super::report::DoctorReport;

/// All of them; findings of the same severity come in this order.
pub(super) const CHECKS: [fn(&DoctorReport, &mut Findings); 14] = [
    holders::deleted_logs,
    holders::deleted_files,
    holders::lockless,
    holders::other_logs,
    files::identity,
    files::content,
    files::side_files_alone,
    log_origin::log_and_database,
    log::log,
    log::wal_index,
    journal::journal,
    holders::locks,
    surroundings::surroundings,
    surroundings::scope,
];
