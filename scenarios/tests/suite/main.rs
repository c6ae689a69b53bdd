//! The lab's own tests, in one binary because linking SQLite many times costs more than running them.

mod acceptance;
mod canaries;
mod cli;
mod explore;
mod powercut;
mod properties;
mod shrink;
mod structure;
mod support;
mod tidy;
mod truth;
