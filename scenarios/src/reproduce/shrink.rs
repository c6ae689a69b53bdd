//! Shrinking: a subject is made as small as possible, and what remains is written down as a case and as a story.

use super::answer::{self, Answer};
use super::{Replayed, ReproduceError, Reproduction, Setting, Subject, replay};
use crate::case_file::{self, CaseFileError};
use crate::scratch;
use seawall_harness::record::{Finding, Story};
use seawall_harness::shrink::{Bench as _, Limits};
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// When to end.
#[derive(Clone, Copy, Debug)]
pub struct Until<'a> {
    begun: Instant,
    time: Option<Duration>,
    stop: &'a AtomicBool,
}

/// Where the result of shrinking goes, and what it is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// The folder for the case and its story.
    pub out: &'a Path,
    /// A SQLite that is believed sound: what fails there too is no error of the engine. `None`: no comparison.
    pub against: Option<&'a str>,
}

/// What the file of a shrunken case says beside the case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shrunken {
    /// How big the case is.
    pub sizes: Sizes,
    /// False if the time ran out before nothing more could be left out.
    pub is_minimal: bool,
    /// The answer of a SQLite that is believed sound.
    pub against: Option<Answer>,
}

/// How big a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Preemptions of its schedule.
    pub preemptions: usize,
    /// SQL statements, or steps of a run.
    pub statements: u64,
    /// Actors that take a step.
    pub actors: usize,
}

/// The result of shrinking.
#[derive(Debug)]
pub struct Shrunk {
    /// The story of the shrunk case.
    pub story: Story,
    /// Its file; the story lies beside it as data, as a picture and as a page.
    pub file: PathBuf,
    /// How big the case was.
    pub before: Sizes,
    /// How big it is.
    pub after: Sizes,
    /// Cases that were executed.
    pub executions: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// False if the time ran out before nothing more could be left out.
    pub is_minimal: bool,
    /// The verdict on real files, for the run of a strategy.
    pub on_real_files: Option<Verdict>,
    /// The answer of a SQLite that is believed sound.
    pub against: Option<Answer>,
    /// How big the case is that the file had and has: it is smaller, and this shrinking was not finished.
    pub kept: Option<Sizes>,
}

impl Sizes {
    /// Actors, preemptions and statements as one number; an actor or a preemption weighs as much as four statements.
    fn weight(self) -> u64 {
        self.statements + 4 * (self.preemptions as u64 + self.actors as u64)
    }
}

impl Shrunk {
    /// What to tell loudly: the case fails on a SQLite that is believed sound as well.
    pub fn warning(&self) -> Option<String> {
        self.against.as_ref().and_then(Answer::warning)
    }
}

impl<'a> Until<'a> {
    /// Until `stop` is set, or `time` from now is over.
    pub fn new(stop: &'a AtomicBool, time: Option<Duration>) -> Self {
        Self { begun: Instant::now(), time, stop }
    }

    /// True if it is time to end.
    pub fn is_over(&self) -> bool {
        self.time.is_some_and(|time| self.begun.elapsed() >= time) || self.stop.load(Ordering::Relaxed)
    }
}

impl<R: Reproduction> Subject for R {
    fn name(&self) -> &str {
        Reproduction::name(self)
    }

    fn sqlite(&self) -> Option<&str> {
        Reproduction::sqlite(self)
    }

    fn expected(&self) -> Option<&Finding> {
        Reproduction::expected(self)
    }

    fn ask(&self, setting: &Setting, sqlite: &str) -> Result<Answer, ReproduceError> {
        answer::ask(self, setting, sqlite)
    }

    fn replay(&self, setting: &Setting, times: u32, until: &Until<'_>) -> Result<Replayed, ReproduceError> {
        replay::replay(self, setting, times, until)
    }

    fn shrink(
        &self,
        setting: &Setting,
        aim: &Aim<'_>,
        until: &Until<'_>,
        progress: &dyn Fn(&str),
    ) -> Result<Shrunk, ReproduceError> {
        let file = aim.out.join(format!("{}-shrunken.json", self.stem().trim_end_matches("-shrunken")));
        let mut executor = self.open(setting, false)?;
        let limits = Limits {
            is_over: Box::new(|| until.is_over()),
            progress: Box::new(|best, executions| {
                let Sizes { preemptions, statements, .. } = Self::sizes(best);
                progress(&format!("{preemptions} preemptions, {statements} statements; {executions} executions"));
            }),
        };
        let (mut bench, first) = self.bench(&mut executor, limits)?;
        let best = seawall_harness::shrink::shrink(&mut bench, first.clone()).map_err(Into::into)?;
        let executions = bench.executions();
        drop(bench);
        let (seconds, is_minimal) = (until.begun.elapsed().as_secs_f64(), !until.is_over());
        let told = self.tell(&mut executor, &best, &file.display().to_string())?;
        let nothing = || ReproduceError::Broken("the shrunken case finds nothing when it is told".to_owned());
        let (case, story) = told.ok_or_else(nothing)?;
        // Real processes must not meet the simulator's VFS, nor may two engines.
        drop(executor);
        let against = match (aim.against, Reproduction::sqlite(self)) {
            (Some(against), Some(_)) => Some(self.ask_case(&best, Some(&story.finding), against)?),
            _ => None,
        };
        let (before, after) = (Self::sizes(&first), Self::sizes(&best));
        let kept = smaller_file(&file, after).filter(|_| !is_minimal);
        if kept.is_none() {
            let shrunken = Shrunken { sizes: after, is_minimal, against: against.clone() };
            case_file::write_shrunken(&file, &case, &shrunken)?;
            write_story(&file, &story)?;
        }
        let on_real_files = self.confirm(setting, &case)?;
        Ok(Shrunk { story, file, before, after, executions, seconds, is_minimal, on_real_files, against, kept })
    }
}

/// How big the case in the file is, if that is not more than these sizes.
fn smaller_file(file: &Path, sizes: Sizes) -> Option<Sizes> {
    let Shrunken { sizes: there, .. } = case_file::shrunken(file)?;
    (there.weight() <= sizes.weight()).then_some(there)
}

/// Writes the story beside the case: as data, as a picture and as a page.
fn write_story(path: &Path, story: &Story) -> Result<(), ReproduceError> {
    let json = serde_json::to_string_pretty(story).map_err(|error| ReproduceError::Broken(error.to_string()))?;
    let texts = [
        ("story.json", json + "\n"),
        ("svg", seawall_reports::svg::sequence(story)),
        ("html", seawall_reports::html::story(story)),
    ];
    for (extension, text) in texts {
        scratch::write_whole(&path.with_extension(extension), &text)
            .map_err(|error| CaseFileError::Unwritable(error.to_string()))?;
    }
    Ok(())
}
