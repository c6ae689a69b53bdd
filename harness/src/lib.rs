//! seawall's lab machinery.
#![allow(missing_docs)]
pub mod vfs {
    pub mod call;
}
pub mod record;
pub mod verdict;
