//! What a failed check prints: the message, the story, and how to repeat it.

use crate::narrative::{Narrative, Sentence, count};
use crate::record::{Finding, Story};
use std::fmt;
use std::path::{Path, PathBuf};

/// Characters of a statement in a story.
const CODE_CHARS_MAX: usize = 160;

/// A failure of a check, shrunk. It prints as the message of the panic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The test.
    pub test: String,
    /// What was found.
    pub finding: Finding,
    /// The seed of the check.
    pub seed: u64,
    /// In which execution it was found, from 1; 0 for one that was repeated.
    pub iteration: u64,
    /// The value of `SEAWALL_REPLAY`.
    pub replay: String,
    /// What happened, in order.
    pub story: Story,
    /// Preemptions before and after shrinking.
    pub preemptions: (usize, usize),
    /// Faults that it needs.
    pub faults: Vec<String>,
    /// Executions of the shrinking.
    pub shrink_executions: u64,
    /// The first call in which two executions of this seed differ, if the test's code is not deterministic.
    pub difference: Option<String>,
    /// The file of regressions that has it.
    pub kept: Option<PathBuf>,
    /// The picture of the story (SVG), and the story as data (JSON).
    pub written: Vec<PathBuf>,
}

impl Failure {
    /// The story as numbered sentences.
    pub fn steps(&self) -> Vec<String> {
        let narrative = Narrative::from_story(&self.story);
        narrative.steps.iter().map(|step| Sentence::from_step(step, CODE_CHARS_MAX).text()).collect()
    }

    fn origin(&self) -> String {
        match self.iteration {
            0 => "in an execution that was repeated".to_owned(),
            nth => format!("in execution {nth}, seed {}", self.seed),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} failed {}", self.test, self.origin())?;
        writeln!(f, "{}", self.finding.detail)?;
        if let Some(difference) = &self.difference {
            writeln!(f, "The test is not deterministic, so this may not repeat, and is not shrunk: {difference}")?;
        }
        writeln!(f)?;
        let narrative = Narrative::from_story(&self.story);
        for (position, step) in narrative.shown() {
            let text = Sentence::from_step(step, CODE_CHARS_MAX).text();
            if position > 0 && position == narrative.omitted.end {
                writeln!(f, "     {}", narrative.ellipsis().unwrap_or_default())?;
            }
            writeln!(f, "{:>3}  {text}", position + 1)?;
        }
        writeln!(f)?;
        if !self.faults.is_empty() {
            writeln!(f, "faults: {}", self.faults.join(" "))?;
        }
        if self.difference.is_none() && self.iteration > 0 {
            let (before, after) = self.preemptions;
            let executions = count(self.shrink_executions, "execution");
            writeln!(f, "preemptions {before} -> {after}, in {executions}")?;
        }
        if let Some(kept) = &self.kept {
            writeln!(f, "kept in {}", short(kept).display())?;
        }
        if let Some(picture) = self.written.first() {
            writeln!(f, "picture: {}", short(picture).display())?;
        }
        let package = std::env::var("CARGO_PKG_NAME").map_or_else(|_| String::new(), |name| format!("-p {name} "));
        let is_plain = self.test.chars().all(|c| c.is_ascii_alphanumeric() || "_:-.".contains(c));
        let test = if is_plain { self.test.clone() } else { format!("'{}'", self.test) };
        writeln!(f, "SEAWALL_REPLAY={} cargo test {package}{test}", self.replay)
    }
}

/// The path from the present folder, if it is below.
fn short(path: &Path) -> &Path {
    let folder = std::env::current_dir().ok();
    folder.and_then(|folder| path.strip_prefix(folder).ok()).unwrap_or(path)
}
