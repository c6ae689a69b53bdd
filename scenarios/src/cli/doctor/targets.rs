//! What the arguments name: databases, and directories with databases.

use super::super::Complaint;
use seawall::doctor;
use serde::Serialize;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// What could not be looked at.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) path: String,
    pub(super) error: String,
    /// Whether the path was an argument.
    #[serde(skip)]
    pub(super) is_given: bool,
}

impl Problem {
    pub(super) fn new(path: &Path, error: impl Display) -> Problem {
        Problem { path: printable(path), error: error.to_string(), is_given: true }
    }
}

/// A path as one line.
pub(super) fn printable(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

/// A text with control characters escaped, and marks that reorder what stands beside them.
pub(super) fn one_line(text: &str) -> String {
    let is_unsafe = |char: char| {
        char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    let escape = |char: char| if is_unsafe(char) { char.escape_default().to_string() } else { char.to_string() };
    text.chars().map(escape).collect()
}

/// The databases to look at.
pub(super) struct Targets {
    pub(super) databases: Vec<PathBuf>,
    pub(super) problems: Vec<Problem>,
    /// Whether one database was named, and no directory.
    pub(super) is_single: bool,
}

impl Targets {
    pub(super) fn of(paths: &[PathBuf]) -> Result<Targets, Complaint> {
        let mut targets = Targets { databases: Vec::new(), problems: Vec::new(), is_single: paths.len() == 1 };
        for path in paths {
            if path.is_dir() {
                targets.is_single = false;
                targets.add_directory(path, paths.len() == 1)?;
            } else {
                targets.databases.push(path.clone());
            }
        }
        // The same database may be given twice, and lie in a directory as well.
        let mut seen = Vec::new();
        targets.databases.retain(|path| {
            let name = path.canonicalize().unwrap_or_else(|_| path.clone());
            let is_new = !seen.contains(&name);
            seen.push(name);
            is_new
        });
        Ok(targets)
    }

    fn add_directory(&mut self, path: &Path, is_only: bool) -> Result<(), Complaint> {
        match doctor::find(path) {
            Ok(found) => {
                self.databases.extend(found.databases);
                let unread = found.unreadable.iter();
                self.problems
                    .extend(unread.map(|(path, error)| Problem { is_given: false, ..Problem::new(path, error) }));
                if found.is_cut {
                    let error = "there are more files than are looked at";
                    self.problems.push(Problem { is_given: false, ..Problem::new(path, error) });
                }
            }
            Err(error) if is_only => return Err(Complaint::usage(error)),
            Err(error) => self.problems.push(Problem::new(path, error)),
        }
        Ok(())
    }

    /// The one database that was named; options that work on one alone need it.
    pub(super) fn single(&self, option: &str) -> Result<&Path, Complaint> {
        match &self.databases[..] {
            [path] if self.is_single => Ok(path),
            _ => Err(Complaint::usage(format!("{option} is for one database: name its file, and no other"))),
        }
    }
}
