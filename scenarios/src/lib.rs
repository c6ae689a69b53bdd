//! The scenarios: the connection layer, and other connection strategies beside it, under faults.
//!
//! - [`strategies`]: ways to hand out connections, behind one trait;
//! - [`workload`]: the steps of the actors;
//! - [`faults`]: the rows of the matrix;
//! - [`run`]: one run, from a token to a record;
//! - [`soak`]: many runs, a matrix of verdicts, compared with the reviewed [`expectations`];
//! - [`explore`]: scenarios of plain SQL in the simulator, on any of the [`engines`];
//! - [`reproduce`]: what a token or a case file names, executed again, shrunk and told as a story;
//! - [`properties`]: what must hold for every seed, by the hundred thousand;
//! - [`cli`]: the program `seawall`.

pub mod case_file;
pub mod cli;
pub mod clocked_os;
pub mod engines;
pub mod expectations;
pub mod explore;
pub mod faults;
pub mod powercut;
pub mod properties;
pub mod reproduce;
pub mod run;
pub mod scratch;
pub mod soak;
pub mod strategies;
mod timeline;
pub mod workload;
