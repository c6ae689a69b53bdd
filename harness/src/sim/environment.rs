//! What the environment asks for. It goes before what a test sets itself.

use super::case::Case;
use super::replay::{self, ReplayError};
use crate::seed::{Seed, SeedError};
use std::env;
use std::time::Duration;

/// See the table in the documentation of [`sim`](super).
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) seed: Option<Seed>,
    pub(super) iterations: Option<u64>,
    pub(super) time: Option<Duration>,
    /// The test and the case that are repeated.
    pub(super) replay: Option<(String, Case)>,
}

/// A variable that asks for nothing that can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EnvironmentError {
    #[error("SEAWALL_SEED: {0}")]
    Seed(#[from] SeedError),
    #[error("{name}: `{value}` is not a whole number of {unit} from 1 on")]
    Number { name: &'static str, value: String, unit: &'static str },
    #[error("SEAWALL_REPLAY: {0}")]
    Replay(#[from] ReplayError),
}

impl Environment {
    /// Reads the variables.
    pub(super) fn read() -> Result<Self, EnvironmentError> {
        Self::of(&|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// An empty value is none.
    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let whole = |name, unit| match value(name).map(|value| (value.parse::<u64>(), value)) {
            None => Ok(None),
            Some((Ok(number), _)) if number > 0 => Ok(Some(number)),
            Some((_, value)) => Err(EnvironmentError::Number { name, value, unit }),
        };
        Ok(Self {
            seed: value("SEAWALL_SEED").map(|text| text.parse()).transpose()?,
            iterations: whole("SEAWALL_ITERATIONS", "executions")?,
            time: whole("SEAWALL_SECONDS", "seconds")?.map(Duration::from_secs),
            replay: value("SEAWALL_REPLAY").map(|text| replay::decode(&text)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
        Environment::of(&|name| pairs.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn good_values_are_read() {
        let all = read(&[("SEAWALL_SEED", "0x2a"), ("SEAWALL_ITERATIONS", "7"), ("SEAWALL_SECONDS", "3")]).unwrap();
        assert_eq!((all.seed, all.iterations, all.time), (Some(Seed(42)), Some(7), Some(Duration::from_secs(3))));
        let none = read(&[("SEAWALL_SEED", ""), ("SEAWALL_REPLAY", "")]).unwrap();
        assert!(none.seed.is_none() && none.iterations.is_none() && none.time.is_none() && none.replay.is_none());
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        #[track_caller]
        fn check(name: &str, value: &str, message: &str) {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: `{value}`")) && error.contains(message), "{error}");
        }
        check("SEAWALL_SEED", "yes", "is not a seed");
        check("SEAWALL_ITERATIONS", "0", "executions from 1 on");
        check("SEAWALL_ITERATIONS", "many", "executions from 1 on");
        check("SEAWALL_SECONDS", "1.5", "seconds from 1 on");
        check("SEAWALL_REPLAY", "sw1:x", "is not the string of a failure");
    }
}
