//! The lab: where the connection layer, and the others that stand trial beside it, meet the faults.
//!
//! - [`strategies`]: ways to hand out connections, behind one trait;
//! - [`workload`]: what the actors do;
//! - [`faults`]: what goes wrong;
//! - [`run`]: one run, from a token to a record;
//! - [`soak`]: many runs, a matrix of verdicts, compared with the reviewed [`expectations`];
//! - [`cli`]: the program `seawall`.

pub mod strategies;
pub mod workload;
pub mod faults;
pub mod run;
mod timeline;
pub mod expectations;
pub mod soak;
mod scratch;
pub mod cli;
