//! Why power cuts cannot be examined.

use super::sweep::SweepTokenError;
use super::token::PowercutTokenError;
use crate::case_file::CaseFileError;
use crate::engines::ResolveError;
use crate::run::RunError;
use crate::run::spec::SpecError;
use seawall_harness::media::sim::durability::DeviceError;
use seawall_harness::vfs::RegisterError;

/// See the module's documentation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PowercutError {
    /// The engine cannot be had.
    #[error(transparent)]
    Engine(#[from] ResolveError),
    /// It is no device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// It is no run.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A run cannot be recorded.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It is no token.
    #[error(transparent)]
    Token(#[from] PowercutTokenError),
    /// It is no token of a single error.
    #[error(transparent)]
    SweepToken(#[from] SweepTokenError),
    /// A VFS cannot be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A case cannot be written.
    #[error(transparent)]
    File(#[from] CaseFileError),
    /// The token does not fit what its case records.
    #[error("{0}")]
    Foreign(String),
    /// The lab itself does not work.
    #[error("{0}")]
    Broken(String),
}
