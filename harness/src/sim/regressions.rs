//! Regressions: a file beside the test with the failures that it had. They are executed first.
//!
//! The file of `tests/wallet.rs` is `tests/seawall-regressions/wallet.txt`. Each line has the name of a test, the
//! string that repeats the execution, and after `#` what was found.

use super::case::Case;
use super::replay::{self, ReplayError};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// The folder beside the file of the test.
const FOLDER: &str = "seawall-regressions";

/// The first lines of a new file.
const HEAD: &str = "\
# Executions that once failed in tests of this folder. They are executed first. Commit this file; remove a line once
# its test has changed so much that it means nothing any more.
";

/// The file that belongs to the file of a test. See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Regressions {
    path: PathBuf,
}

/// A line that repeats nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {reason}", path.display())]
pub(super) struct RegressionError {
    path: PathBuf,
    line: u32,
    reason: ReplayError,
}

impl Regressions {
    /// Those of the file at this place. `None` if the sources are not there, as when the program runs elsewhere.
    pub(super) fn at(place: &Location<'_>) -> Option<Self> {
        // The compiler names files from the workspace's root, and tests run in their package's folder.
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)?;
        let source = package.ancestors().map(|folder| folder.join(place.file())).find(|path| path.exists())?;
        Some(Self::beside(&source))
    }

    fn beside(source: &Path) -> Self {
        let name = source.with_extension("txt");
        let name = name.file_name().unwrap_or_default();
        Self { path: source.with_file_name(FOLDER).join(name) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The cases of a test.
    pub(super) fn read(&self, test: &str) -> Result<Vec<Case>, RegressionError> {
        let Ok(text) = fs::read_to_string(&self.path) else { return Ok(Vec::new()) };
        let mut cases = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let mut words = content.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(replay)) = (words.next(), words.next()) else { continue };
            if name == test {
                let decoded = replay::decode(replay);
                let path = || self.path.clone();
                let (_, case) = decoded.map_err(|reason| RegressionError { path: path(), line, reason })?;
                cases.push(case);
            }
        }
        Ok(cases)
    }

    /// Keeps a failure, unless it is there already. False if it cannot be written.
    pub(super) fn keep(&self, test: &str, replay: &str, message: &str) -> bool {
        let before = fs::read_to_string(&self.path).unwrap_or_default();
        if before.contains(replay) {
            return true;
        }
        let head = if before.is_empty() { HEAD } else { "" };
        let message = message.lines().next().unwrap_or_default();
        let line = format!("{head}{test} {replay} # {message}\n");
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = fs::create_dir_all(folder).and_then(|()| {
            // One write, so that the lines of several processes stay whole.
            OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(line.as_bytes())
        });
        written.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn what_is_kept_is_read_by_the_test_it_belongs_to() {
        let folder = tempfile::tempdir().unwrap();
        let regressions = Regressions::beside(&folder.path().join("wallet.rs"));
        assert_eq!(regressions.path(), folder.path().join("seawall-regressions/wallet.txt"));
        assert_eq!(regressions.read("a"), Ok(Vec::new()));
        let case = |seed| Case { seed: Seed(seed), faults: Vec::new(), schedule: Some(Vec::new()), calls: 0 };
        for (test, seed) in [("a", 1), ("b", 2), ("a", 3), ("a", 1)] {
            assert!(regressions.keep(test, &replay::encode(test, &case(seed)), "lost # of coins\nat a.rs:3"));
        }
        assert_eq!(regressions.read("a"), Ok(vec![case(1), case(3)]));
        assert_eq!(regressions.read("b"), Ok(vec![case(2)]));
        let text = fs::read_to_string(regressions.path()).unwrap();
        assert_eq!(text.lines().count(), HEAD.lines().count() + 3, "{text}");
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let regressions = Regressions::beside(&folder.path().join("wallet.rs"));
        fs::create_dir_all(regressions.path().parent().unwrap()).unwrap();
        fs::write(regressions.path(), "# a comment\na sim1.x.0\n").unwrap();
        let error = regressions.read("a").unwrap_err().to_string();
        assert!(error.contains("wallet.txt:2: ") && error.contains("damaged"), "{error}");
        assert_eq!(regressions.read("b"), Ok(Vec::new()));
    }
}
