//! Who makes a call: one thread of one process, real or simulated, and patterns that select some of them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One thread of one process, `p1.t2`. Both are numbered from 1 in the order in which the run creates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Actor {
    /// Number of the process.
    pub process: u16,
    /// Number of the thread in its process.
    pub thread: u16,
}

/// Selects actors: `p2.*` (every thread of process 2), `*.t1` (the first thread of every process), `p1.t2`, or `*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActorPattern {
    /// The process, or any.
    pub process: Option<u16>,
    /// The thread, or any.
    pub thread: Option<u16>,
}

/// A text that is neither an actor nor a pattern of actors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no actor; an actor is written {form}")]
pub struct ActorError {
    text: String,
    form: &'static str,
}

impl ActorPattern {
    /// How patterns are written, for messages.
    pub const FORMS: &'static str = "`p1.t2`, `p2.*`, `*.t1` or `*`";

    /// True if `actor` is one of those selected.
    pub fn matches(self, actor: Actor) -> bool {
        self.process.is_none_or(|process| process == actor.process)
            && self.thread.is_none_or(|thread| thread == actor.thread)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}.t{}", self.process, self.thread)
    }
}

impl fmt::Display for ActorPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.process, self.thread) {
            (None, None) => f.write_str("*"),
            (Some(process), None) => write!(f, "p{process}.*"),
            (None, Some(thread)) => write!(f, "*.t{thread}"),
            (Some(process), Some(thread)) => write!(f, "p{process}.t{thread}"),
        }
    }
}

impl FromStr for Actor {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        match text.parse() {
            Ok(ActorPattern { process: Some(process), thread: Some(thread) }) => Ok(Self { process, thread }),
            _ => Err(ActorError { text: text.to_owned(), form: "`p1.t2`" }),
        }
    }
}

impl FromStr for ActorPattern {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        if text == "*" {
            return Ok(Self::default());
        }
        text.split_once('.')
            .and_then(|(process, thread)| {
                Some(Self { process: number_or_any(process, 'p')?, thread: number_or_any(thread, 't')? })
            })
            .ok_or_else(|| ActorError { text: text.to_owned(), form: Self::FORMS })
    }
}

/// Reads `*` as any, and the letter with a number behind it as that number. Anything else is `None`.
fn number_or_any(text: &str, letter: char) -> Option<Option<u16>> {
    if text == "*" {
        return Some(None);
    }
    let digits = text.strip_prefix(letter)?;
    // u16's own parser would take a sign too.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Some)
}

impl TryFrom<String> for Actor {
    type Error = ActorError;

    fn try_from(text: String) -> Result<Self, ActorError> {
        text.parse()
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.to_string()
    }
}

impl TryFrom<String> for ActorPattern {
    type Error = ActorError;

    fn try_from(text: String) -> Result<Self, ActorError> {
        text.parse()
    }
}

impl From<ActorPattern> for String {
    fn from(pattern: ActorPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_reads_as_it_prints() {
        let actor = Actor { process: 1, thread: 65535 };
        assert_eq!(actor.to_string(), "p1.t65535");
        assert_eq!("p1.t65535".parse(), Ok(actor));
        let json = serde_json::to_string(&actor).expect("an actor is a string");
        assert_eq!(json, "\"p1.t65535\"");
        assert_eq!(serde_json::from_str::<Actor>(&json).expect("and back"), actor);
    }

    #[test]
    fn a_pattern_selects_by_process_and_thread() {
        #[track_caller]
        fn check(pattern: &str, canonical: &str, selected: &[&str]) {
            let pattern: ActorPattern = pattern.parse().expect(pattern);
            assert_eq!(pattern.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(pattern));
            for name in ["p1.t1", "p1.t2", "p2.t1", "p2.t2"] {
                let actor = name.parse().expect(name);
                assert_eq!(pattern.matches(actor), selected.contains(&name), "{canonical} and {name}");
            }
        }
        check("*", "*", &["p1.t1", "p1.t2", "p2.t1", "p2.t2"]);
        check("*.*", "*", &["p1.t1", "p1.t2", "p2.t1", "p2.t2"]);
        check("p2.*", "p2.*", &["p2.t1", "p2.t2"]);
        check("*.t1", "*.t1", &["p1.t1", "p2.t1"]);
        check("p1.t2", "p1.t2", &["p1.t2"]);
        check("p01.t2", "p1.t2", &["p1.t2"]);
    }

    #[test]
    fn what_is_no_actor_is_refused() {
        #[track_caller]
        fn check(text: &str) {
            let error = text.parse::<ActorPattern>().expect_err(text);
            assert!(error.to_string().contains("an actor is written"), "{error}");
        }
        for text in
            ["", ".", "p", "p1", "p1.", ".t1", "t1.p1", "p+1.t1", "p1.t65536", "p1.t1.t1", " p1.t1", "pä.t1", "p.t"]
        {
            check(text);
        }
        let error = "p1.*".parse::<Actor>().expect_err("a pattern is no actor");
        assert_eq!(error.to_string(), "\"p1.*\" names no actor; an actor is written `p1.t2`");
    }
}
