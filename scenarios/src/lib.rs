//! The lab: where the connection layer, and the others that stand trial beside it, meet the faults.
//!
//! - [`strategies`]: ways to hand out connections, behind one trait;
//! - [`workload`]: what the actors do;
//! - [`faults`]: what goes wrong;
//! - [`run`]: one run, from a token to a record;
//! - [`soak`]: many runs, a matrix of verdicts, compared with the reviewed [`expectations`];
//! - [`cli`]: the program `seawall`.

pub mod cli;
pub mod expectations;
pub mod faults;
pub mod run;
pub mod scratch;
pub mod soak;
pub mod strategies;
mod timeline;
pub mod workload;
