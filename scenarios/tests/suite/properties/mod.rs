//! The properties: what must hold for every sequence of calls, every interleaving and every plan of faults.
//!
//! A failure shrinks, is written to `tests/regressions/NAME.txt`, and runs first from then on. Commit those files.
//! `PROPTEST_CASES` overrides the number of cases of each property.

mod cache;
mod classification;
mod cleanup;
mod environment;
mod models;
mod rules;
mod scenario;

use proptest::test_runner::{Config, FileFailurePersistence};

/// The file in which the failures of a property are kept. Absolute, since the tests of a workspace do not run in the
/// folder that `file!()` is relative to.
macro_rules! regressions {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/", $name, ".txt")
    };
}
use regressions;

/// This many cases, unless `PROPTEST_CASES` is set. Failures go to `regressions`.
fn config(cases: u32, regressions: &'static str) -> Config {
    let from_environment = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { from_environment.cases } else { cases };
    // The environment may also disable the file.
    let has_file = from_environment.failure_persistence.is_some();
    Config {
        cases,
        failure_persistence: has_file.then(|| Box::new(FileFailurePersistence::Direct(regressions)) as _),
        max_shrink_iters: 2000,
        max_shrink_time: 60_000,
        ..from_environment
    }
}
