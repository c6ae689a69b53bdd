//! Reproduction: what a token or a case file names is executed again and compared call by call, shrunk, and told as a
//! story.
//!
//! There are four kinds: runs, explorations, power cuts and single errors. Each implements [`Reproduction`]; [`KINDS`]
//! is the list of them, and [`parse`] goes by it. Callers see a [`Subject`], whatever its kind.

mod answer;
mod exploration;
mod powercut;
mod recorded;
mod replay;
mod run;
mod shrink;
mod sweep;

use crate::case_file::{self, CaseFileError};
use crate::engines::ResolveError;
use crate::explore::{ExploreError, ExploreTokenError};
use crate::powercut::PowercutError;
use crate::run::{RunError, Runner};
use seawall_harness::record::{Finding, Story};
use seawall_harness::shrink::{Bench, Candidate, Limits};
use seawall_harness::token::TokenError;
use seawall_harness::trace::Entry;
use seawall_harness::verdict::Verdict;
use serde::Serialize;
use std::path::Path;

pub use answer::{Answer, Happens};
pub use recorded::Recorded;
pub use replay::{Repetition, Replayed};
pub use shrink::{Aim, Shrunk, Shrunken, Sizes, Until};

/// What can be executed, shrunk and told, of any kind.
pub trait Subject {
    /// Executes it this number of times, or once and until `until` says so, and compares the executions.
    ///
    /// # Errors
    /// If it cannot be executed in this setting, or does not repeat.
    fn replay(&self, setting: &Setting, times: u32, until: &Until<'_>) -> Result<Replayed, ReproduceError>;

    /// The token, or the path of the file.
    fn name(&self) -> &str;

    /// The version of SQLite, or `PATH#HASH` of a library, that it is executed on; `None` if only on the linked one.
    fn sqlite(&self) -> Option<&str>;

    /// What the file says that it finds; `None` for a token.
    fn expected(&self) -> Option<&Finding>;

    /// Whether it happens on another SQLite as well.
    ///
    /// # Errors
    /// If that SQLite cannot be had, or the subject cannot be executed on another one.
    fn ask(&self, setting: &Setting, sqlite: &str) -> Result<Answer, ReproduceError>;

    /// Makes it as small as possible until `until` says so, writes the case and its story, and executes it on a SQLite
    /// that is believed sound. `progress` is told of each smaller case.
    ///
    /// # Errors
    /// If it finds nothing or cannot be shrunk.
    fn shrink(
        &self,
        setting: &Setting,
        aim: &Aim<'_>,
        until: &Until<'_>,
        progress: &dyn Fn(&str),
    ) -> Result<Shrunk, ReproduceError>;
}

/// A kind of token and case file.
pub struct Kind {
    /// How its tokens begin, before the number of the format.
    prefix: &'static str,
    /// The field of its files with the number of the format.
    field: &'static str,
    token: fn(&str) -> Result<Box<dyn Subject>, ReproduceError>,
    file: fn(&Path) -> Result<Box<dyn Subject>, ReproduceError>,
}

/// All kinds. If no kind matches, the first reports the error of a token, and the last that of a file.
pub const KINDS: [Kind; 4] = [run::KIND, powercut::KIND, sweep::KIND, exploration::KIND];

/// The subject that a token or the path of a case file (`….json`) names.
///
/// # Errors
/// If there is no such token or file, it is damaged, or of another format.
pub fn parse(text: &str) -> Result<Box<dyn Subject>, ReproduceError> {
    let path = Path::new(text);
    if path.extension().is_some_and(|extension| extension == "json") {
        let kind = KINDS.iter().find(|kind| case_file::has_field(path, kind.field));
        return (kind.unwrap_or(&KINDS[KINDS.len() - 1]).file)(path);
    }
    let kind = KINDS.iter().find(|kind| text.trim_start().starts_with(kind.prefix));
    (kind.unwrap_or(&KINDS[0]).token)(text)
}

/// Where something is executed.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Starts real processes.
    pub runner: Runner,
    /// True if a case is executed by real processes on real files.
    pub is_real: bool,
}

/// What a kind of token and case file does in its own way; the rest is [`Subject`].
pub trait Reproduction {
    /// What executes it.
    type Executor;
    /// The result of one execution, as it is printed.
    type Outcome;
    /// What is shrunk.
    type Case: Candidate;
    /// What shrinks it.
    type Bench<'a>: Bench<Candidate = Self::Case, Error: Into<ReproduceError>>;
    /// The case file that is written.
    type File: Serialize;

    /// The token, or the path of the file.
    fn name(&self) -> &str;

    /// The name of the file for the shrunk case, without its ending.
    fn stem(&self) -> String;

    /// What the file says about its execution; `None` for a token, and for a file that says nothing.
    fn recorded(&self) -> Option<&Recorded>;

    /// See [`Subject::expected`].
    fn expected(&self) -> Option<&Finding>;

    /// See [`Subject::sqlite`].
    fn sqlite(&self) -> Option<&str> {
        None
    }

    /// The case as it fails on its own SQLite, and what it finds there, as far as that can be known.
    ///
    /// # Errors
    /// If it cannot be executed.
    fn candidate(&self, setting: &Setting) -> Result<(Self::Case, Option<Finding>), ReproduceError>;

    /// Whether a case that finds `wanted` does so on another SQLite.
    ///
    /// # Errors
    /// If that SQLite cannot be had, or the case cannot be executed on another one.
    fn ask_case(&self, case: &Self::Case, wanted: Option<&Finding>, sqlite: &str) -> Result<Answer, ReproduceError>;

    /// True if two executions that differ show that the lab is broken.
    fn must_repeat(&self, setting: &Setting) -> bool;

    /// Makes what executes it. With `is_traced`, executions have calls and a digest.
    ///
    /// # Errors
    /// If it cannot be executed in this setting.
    fn open(&self, setting: &Setting, is_traced: bool) -> Result<Self::Executor, ReproduceError>;

    /// Executes it once.
    ///
    /// # Errors
    /// If that is not possible; trouble within an execution is a verdict.
    fn execute(&self, executor: &mut Self::Executor) -> Result<Executed<Self::Outcome>, ReproduceError>;

    /// Executes it once more in another way that must have the same result, if there is one.
    ///
    /// # Errors
    /// If the results differ.
    fn verify(&self, _executor: &mut Self::Executor) -> Result<Option<Executed<Self::Outcome>>, ReproduceError> {
        Ok(None)
    }

    /// The executions for people.
    fn human(&self, repetition: &Repetition<Self::Outcome>) -> String;

    /// The executions for programs: one JSON object a line.
    ///
    /// # Errors
    /// If they cannot be serialised.
    fn json(&self, repetition: &Repetition<Self::Outcome>) -> serde_json::Result<String>;

    /// What shrinks it, and the case to begin with.
    ///
    /// # Errors
    /// If it finds nothing, or cannot be shrunk.
    fn bench<'a>(
        &self,
        executor: &'a mut Self::Executor,
        limits: Limits<'a, Self::Case>,
    ) -> Result<(Self::Bench<'a>, Self::Case), ReproduceError>;

    /// How big a case is.
    fn sizes(case: &Self::Case) -> Sizes;

    /// Executes a case: its file, and its story, whose token is `name`. `None` if it finds nothing.
    ///
    /// # Errors
    /// If it cannot be executed, or does not repeat.
    fn tell(
        &self,
        executor: &mut Self::Executor,
        case: &Self::Case,
        name: &str,
    ) -> Result<Option<(Self::File, Story)>, ReproduceError>;

    /// The verdict of a case on real files, where that is possible.
    ///
    /// # Errors
    /// If real processes cannot be started.
    fn confirm(&self, _setting: &Setting, _file: &Self::File) -> Result<Option<Verdict>, ReproduceError> {
        Ok(None)
    }
}

/// The name of a case file, without its folder and ending.
fn stem_of_file(name: &str) -> String {
    Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// One execution.
#[derive(Clone, Debug)]
pub struct Executed<O> {
    /// The result, as it is printed.
    pub outcome: O,
    /// The verdict.
    pub verdict: Verdict,
    /// True if the result is no finding.
    pub is_expected: bool,
    /// The findings and the digest, as they are compared; its `calls` are empty.
    pub recorded: Recorded,
    /// The calls.
    pub calls: Vec<Entry>,
}

/// Why something cannot be reproduced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReproduceError {
    /// No token of a run.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No token of an exploration.
    #[error(transparent)]
    ExploreToken(#[from] ExploreTokenError),
    /// A case file cannot be read or written.
    #[error(transparent)]
    File(#[from] CaseFileError),
    /// The engine cannot be had.
    #[error(transparent)]
    Engine(#[from] ResolveError),
    /// A run cannot be executed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A case of an exploration cannot be executed.
    #[error(transparent)]
    Explore(#[from] ExploreError),
    /// A power cut cannot be examined.
    #[error(transparent)]
    PowerCut(#[from] PowercutError),
    /// It cannot be done with this subject.
    #[error("{0}")]
    Usage(String),
    /// Two executions that must be the same differ.
    #[error("{name} does not repeat: {what}")]
    Differs {
        /// The token, or the path of the file.
        name: String,
        /// The first difference.
        what: String,
    },
    /// The lab itself does not work.
    #[error("{0}")]
    Broken(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_none_is_refused_by_name() {
        #[track_caller]
        fn check(text: &str, message: &str) {
            let error = parse(text).err().unwrap().to_string();
            assert!(error.contains(message), "{error}");
        }
        check("sx1:mixed:3.51.1:rare:2a:00000000", "token format `sx1`");
        check("sw9:percall:none:sim:2a:00000000", "token format `sw9`");
        check("sx2:mixed:linked:rare:none:2a:00000000", "is damaged");
        check("sw1:percall:none:sim:2a:00000000", "is damaged");
        check("hello", "`hello` is not a token");
        check("sp9:WAL:FULL:linked:strict:2a:1:0:00000000", "token format `sp9`");
        check("sp1:WAL:FULL:linked:strict:2a:1:0:00000000", "is damaged");
        check("se9:WAL:FULL:linked:immediate:2a:sync@wal:lie:00000000", "token format `se9`");
        check("se1:WAL:FULL:linked:immediate:2a:sync@wal:lie:00000000", "is damaged");
        check("nothing.json", "cannot read nothing.json");
    }

    #[test]
    fn a_token_of_each_kind_is_known_by_its_prefix() {
        let single_error = "se1:WAL:FULL:linked:immediate:2a:sync@wal:lie:when=2";
        let power_cut = "sp1:WAL:FULL:linked:strict:2a:1:0";
        for body in ["sx2:bank:linked:rare:none:2a", "sw1:percall:none:sim:2a", power_cut, single_error] {
            assert!(parse(&seawall_harness::token::seal(body)).is_ok(), "{body}");
        }
    }
}
