//! The string that repeats one execution of one test: `sim1.`, then its parts as JSON in base64url, then a checksum.

use super::case::Case;
use crate::sched::Preemption;
use crate::seed::Seed;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

/// The version of the format. It grows whenever the same parts would give another execution.
const VERSION: &str = "sim1";

/// Why a text repeats nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplayError {
    #[error("`{0}` is not the string of a failure: it looks like {VERSION}.PARTS.CHECKSUM")]
    Malformed(String),
    #[error("`{0}` is damaged: its checksum does not match. Copy it again, whole")]
    Damaged(String),
    #[error("`{0}` is of another version: {1}")]
    Unreadable(String, String),
}

/// The parts, under short names.
#[derive(Serialize, Deserialize)]
struct Parts {
    /// The test.
    t: String,
    /// The seed, as text: JSON's numbers end at 2^53.
    s: String,
    /// The rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    f: Vec<String>,
    /// The preemptions: actor, section, point, next actor.
    p: Vec<(usize, u32, u64, usize)>,
}

/// The string for an execution of this test.
pub(super) fn encode(test: &str, case: &Case) -> String {
    let preemptions = case.schedule.iter().flatten();
    let parts = Parts {
        t: test.to_owned(),
        s: case.seed.to_string(),
        f: case.faults.iter().map(ToString::to_string).collect(),
        p: preemptions.map(|p| (p.actor, p.section, p.nth, p.to)).collect(),
    };
    let json = serde_json::to_vec(&parts).unwrap_or_default();
    let body = format!("{VERSION}.{}", BASE64URL_NOPAD.encode(&json));
    format!("{body}.{:08x}", crc32fast::hash(body.as_bytes()))
}

/// The test and the case of a string.
pub(super) fn decode(text: &str) -> Result<(String, Case), ReplayError> {
    let malformed = || ReplayError::Malformed(text.to_owned());
    let (body, checksum) = text.rsplit_once('.').ok_or_else(malformed)?;
    let encoded = body.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.')).ok_or_else(malformed)?;
    if u32::from_str_radix(checksum, 16) != Ok(crc32fast::hash(body.as_bytes())) {
        return Err(ReplayError::Damaged(text.to_owned()));
    }
    let unreadable = |reason: &dyn ToString| ReplayError::Unreadable(text.to_owned(), reason.to_string());
    let json = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|error| unreadable(&error))?;
    let parts: Parts = serde_json::from_slice(&json).map_err(|error| unreadable(&error))?;
    let faults =
        parts.f.iter().map(|rule| rule.parse()).collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
    let preemption = |&(actor, section, nth, to): &(usize, u32, u64, usize)| Preemption { actor, section, nth, to };
    let schedule = Some(parts.p.iter().map(preemption).collect());
    let seed: Seed = parts.s.parse().map_err(|error| unreadable(&error))?;
    Ok((parts.t, Case { seed, faults, schedule, calls: 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        let preemptions = [(0, 3, 7, 1), (1, u32::MAX, 1, 0)];
        let preemption = |(actor, section, nth, to)| Preemption { actor, section, nth, to };
        let faults = vec!["write@wal:error=FULL:when=3".parse().unwrap(), "*@*:kill:when=17".parse().unwrap()];
        Case { seed: Seed(u64::MAX - 1), faults, schedule: Some(preemptions.map(preemption).to_vec()), calls: 0 }
    }

    #[test]
    fn a_string_gives_back_its_case() {
        let text = encode("a::test", &case());
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)), "{text}");
        assert_eq!(decode(&text), Ok(("a::test".to_owned(), case())));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let text = encode("a::test", &case());
        let mut damaged = text.clone().into_bytes();
        damaged[12] ^= 1;
        let damaged = String::from_utf8(damaged).unwrap();
        assert_eq!(decode(&damaged), Err(ReplayError::Damaged(damaged.clone())));
        for text in ["", "sim1", "17", "sim2.e30.00000000", &text[1..]] {
            assert!(matches!(decode(text), Err(ReplayError::Malformed(_))), "{text}");
        }
        let body = format!("{VERSION}.{}", BASE64URL_NOPAD.encode(b"{}"));
        let empty = format!("{body}.{:08x}", crc32fast::hash(body.as_bytes()));
        assert!(matches!(decode(&empty), Err(ReplayError::Unreadable(..))));
    }
}
