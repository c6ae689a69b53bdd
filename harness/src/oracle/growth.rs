//! `growth`: the log stays within a multiple of what a checkpoint is due for, while checkpoints could run.
//!
//! A log that is checkpointed whole starts again at its beginning only when no snapshot reads from it. Where short
//! reads overlap, one is always open, and the log grows for as long as they go on, though each of them ends soon.

use crate::oracle::{Evidence, Oracle};
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// The log may be so many times as large as the size after which a checkpoint is due: one transaction may exceed that
/// size, and a checkpoint has to wait for the reads that are open, on a busy machine for some time. Without a bound the
/// runs of the lab get to 40 times and more.
pub const MULTIPLE: u64 = 16;

/// Bytes of a page in the log with its header, for pages of 4,096 bytes.
const FRAME_BYTES: u64 = 4096 + 24;

/// How far the log grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// The largest size after a step.
    pub log_bytes_max: u64,
    /// How large it may be; `None` if a checkpoint could not run, or if nothing is said.
    pub log_bytes_limit: Option<u64>,
}

/// How large the log may be if a checkpoint is due after so many pages.
pub const fn limit(checkpoint_pages: u32) -> u64 {
    checkpoint_pages as u64 * FRAME_BYTES * MULTIPLE
}

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "growth",
    property: "the log stays within sixteen times the size after which a checkpoint is due",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let Growth { log_bytes_max, log_bytes_limit } = evidence.growth;
    let Some(limit) = log_bytes_limit.filter(|limit| log_bytes_max > *limit) else { return Vec::new() };
    let detail = format!(
        "the log grew to {log_bytes_max} bytes; {MULTIPLE} times what a checkpoint is due for are {limit} bytes"
    );
    vec![(Verdict::Degraded, detail)]
}

fn canary() -> Evidence {
    let growth = Growth { log_bytes_max: limit(16) + 1, log_bytes_limit: Some(limit(16)) };
    Evidence { growth, ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_a_log_beyond_its_limit_is_caught() {
        let found = |log_bytes_max, log_bytes_limit| {
            let growth = Growth { log_bytes_max, log_bytes_limit };
            judge(&Evidence { growth, ..Evidence::default() }).len()
        };
        assert_eq!(limit(1000), 65_920_000);
        assert_eq!(found(limit(16), Some(limit(16))), 0);
        assert_eq!(found(limit(16) + 1, Some(limit(16))), 1);
        assert_eq!(found(u64::MAX / 8, None), 0);
    }
}
