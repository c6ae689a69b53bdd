//! Shrinking: a subject is made as small as possible, and what remains is written down as a case and as a story.

use super::{Replayed, ReproduceError, Reproduction, Setting, Subject, replay};
use crate::case_file::{self, CaseFileError};
use crate::scratch;
use seawall_harness::record::Story;
use seawall_harness::shrink::{Bench as _, Limits};
use seawall_harness::verdict::Verdict;
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

/// How big a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    fn replay(&self, setting: &Setting, times: u32, until: &Until<'_>) -> Result<Replayed, ReproduceError> {
        replay::replay(self, setting, times, until)
    }

    fn shrink(
        &self,
        setting: &Setting,
        out: &Path,
        until: &Until<'_>,
        progress: &dyn Fn(&str),
    ) -> Result<Shrunk, ReproduceError> {
        let file = out.join(format!("{}-shrunken.json", self.stem().trim_end_matches("-shrunken")));
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
        case_file::write(&file, &case)?;
        write_story(&file, &story)?;
        // Real processes must not meet the simulator's VFS.
        drop(executor);
        let on_real_files = self.confirm(setting, &case)?;
        let (before, after) = (Self::sizes(&first), Self::sizes(&best));
        Ok(Shrunk { story, file, before, after, executions, seconds, is_minimal, on_real_files })
    }
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
