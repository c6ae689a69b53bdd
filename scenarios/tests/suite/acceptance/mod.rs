//! What the lab and the connection layer promise: losses are found and repeat exactly, and `seawall` has none.

mod fallback;
mod losses;
mod pressure;

use seawall_harness::seed::Seed;
use seawall_harness::token::{FaultName, Token};

/// The token of a run on real files.
pub(crate) fn token(strategy: &str, fault: &str, seed: Seed) -> Token {
    let (strategy, fault) = (strategy.to_owned(), FaultName::Named(fault.to_owned()));
    Token { strategy, fault, medium: "real".to_owned(), seed }
}
