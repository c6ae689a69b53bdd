//! A report as text.

use super::findings::Severity;
use super::report::DoctorReport;
use crate::error::PrintablePath;
use std::fmt;

impl DoctorReport {
    /// The worst of the findings in words: "nothing found", "needs attention", "data is in danger".
    pub fn verdict(&self) -> &'static str {
        match self.severity {
            Severity::Ok | Severity::Notice => "nothing found",
            Severity::Warning => "needs attention",
            Severity::Danger => "data is in danger",
        }
    }
}

/// The path and the verdict, a line for each finding, what was looked at, what could not be seen, and the next step.
impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", PrintablePath(&self.path), self.verdict())?;
        for finding in &self.findings {
            let severity = finding.severity.word();
            writeln!(f, "{severity:<8} {}: {} ({})", finding.code, finding.text, finding.evidence)?;
        }
        writeln!(f, "looked at: {}", self.looked_at.join(", "))?;
        writeln!(f, "not seen: {}", self.unseen.join("; "))?;
        write!(f, "next: {}", self.next)
    }
}
