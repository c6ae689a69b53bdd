//! Shared by the tests: a lab whose workers are the program under test.

use seawall_scenarios::run::Runner;
use std::path::PathBuf;

/// The program under test.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_seawall"))
}

/// A lab in memory, or in the folder for temporary files where there is no memory file system.
pub(crate) fn lab() -> Runner {
    let scratch = seawall_scenarios::scratch::default_folder();
    Runner::of_program(scratch, &program())
}
