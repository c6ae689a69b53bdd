//! The lab: it tests the connection layer, and other connection strategies, under faults.
//!
//! - [`strategies`]: ways to hand out connections, behind one trait;
//! - [`workload`]: what the actors do;
//! - [`faults`]: what goes wrong;
//! - [`engines`]: versions of SQLite to run on;
//! - [`run`]: one run, from a token to a record;
//! - [`soak`]: many runs, a matrix of verdicts, compared with the reviewed [`expectations`];
//! - [`properties`]: what must hold for every seed;
//! - [`cli`]: the program `seawall`.

pub mod case_file;
pub mod cli;
pub mod clocked_os;
pub mod engines;
pub mod expectations;
pub mod explore;
pub mod faults;
pub mod properties;
pub mod reproduce;
pub mod run;
pub mod scratch;
pub mod shrink;
pub mod soak;
pub mod story;
pub mod strategies;
mod timeline;
pub mod workload;
