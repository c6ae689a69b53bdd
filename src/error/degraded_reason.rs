//! Why a database runs in exclusive mode.

use super::classify::{Operation, code_name};
use std::fmt;

/// The wal-index failure that made exclusive mode necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DegradedReason {
    /// The extended result code.
    pub code: i32,
    /// The step that met it.
    pub operation: Operation,
}

impl fmt::Display for DegradedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) in {}", code_name(self.code), self.code, self.operation)
    }
}
