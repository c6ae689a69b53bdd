//! What the tests share: a lab whose workers are the program under test.

use std::path::PathBuf;

use seawall_lab::run::Lab;

/// The program under test.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_seawall"))
}

/// A lab in memory, or in the folder for temporary files where there is no memory file system.
pub(crate) fn lab() -> Lab {
    let scratch = seawall_lab::scratch::default_folder();
    Lab::of_program(scratch, &program())
}
