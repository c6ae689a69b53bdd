//! A cell of the table: a journal mode and a level of `synchronous`; what SQLite promises there, and what the source of
//! SQLite lets expect.

use seawall_harness::media::sim::durability::Directory;
use seawall_harness::oracle::durability::Promise;
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `PRAGMA journal_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words of the pragma")]
pub enum JournalMode {
    Delete,
    Truncate,
    Persist,
    Wal,
    Memory,
    Off,
}

/// `PRAGMA synchronous`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words of the pragma")]
pub enum Level {
    Off,
    Normal,
    Full,
    Extra,
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellSettings {
    /// The journal mode.
    pub journal_mode: JournalMode,
    /// The level.
    pub synchronous: Level,
}

/// What is cut off: the table's own workload under some settings, or runs of a strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Subject {
    /// The workload of [`Case`](super::Case).
    Sql(CellSettings),
    /// Runs of a connection strategy.
    Strategy {
        /// Its name.
        strategy: String,
        /// The faults under which it runs, each in turn.
        faults: Vec<String>,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(settings) => settings.fmt(f),
            Self::Strategy { strategy, .. } => f.write_str(strategy),
        }
    }
}

/// A word that is none of the pragma's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no {what}: {known}")]
pub struct WordError {
    word: String,
    what: &'static str,
    known: &'static str,
}

impl JournalMode {
    /// All modes, in the order of the table.
    pub const ALL: [Self; 6] = [Self::Delete, Self::Truncate, Self::Persist, Self::Wal, Self::Memory, Self::Off];

    /// The word of the pragma.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::Persist => "PERSIST",
            Self::Wal => "WAL",
            Self::Memory => "MEMORY",
            Self::Off => "OFF",
        }
    }

    /// True if a transaction can be rolled back by what is on the disk.
    pub const fn has_log(self) -> bool {
        !matches!(self, Self::Memory | Self::Off)
    }
}

impl Level {
    /// All levels, in the order of the table.
    pub const ALL: [Self; 4] = [Self::Off, Self::Normal, Self::Full, Self::Extra];

    /// The word of the pragma.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
            Self::Extra => "EXTRA",
        }
    }
}

impl CellSettings {
    /// All cells, mode by mode.
    pub fn all() -> impl Iterator<Item = Self> {
        let levels = |journal_mode| Level::ALL.into_iter().map(move |synchronous| Self { journal_mode, synchronous });
        JournalMode::ALL.into_iter().flat_map(levels)
    }

    /// What SQLite's documentation promises about a power cut.
    pub fn promise(self) -> Promise {
        match (self.journal_mode, self.synchronous) {
            (JournalMode::Memory | JournalMode::Off, _) | (_, Level::Off) => Promise::Nothing,
            (_, Level::Normal) => Promise::Prefix,
            (_, Level::Full | Level::Extra) => Promise::Every,
        }
    }

    /// The worst that the source of SQLite lets expect; `docs/power-loss.md` explains each.
    pub fn prediction(self, directory: Directory) -> Verdict {
        match (self.journal_mode, self.synchronous) {
            (_, Level::Off) | (JournalMode::Memory | JournalMode::Off, _) => Verdict::Corrupt,
            (JournalMode::Wal, Level::Normal) => Verdict::Lost,
            // The checksum of a journal's record looks at every 200th byte only (pager.c, `pager_cksum`), so a record
            // whose page did not arrive may count. From FULL on the records are synced before the header counts them.
            (JournalMode::Delete | JournalMode::Truncate | JournalMode::Persist, Level::Normal) => Verdict::Corrupt,
            (JournalMode::Delete, Level::Full) if directory != Directory::Immediate => Verdict::Lost,
            _ => Verdict::Survived,
        }
    }

    /// The pragmas of a connection. The mode WAL is stored in the database file; the others belong to the connection.
    pub fn sql(self) -> String {
        let Self { journal_mode, synchronous } = self;
        let synchronous = format!("PRAGMA synchronous = {};", synchronous.word());
        match journal_mode {
            JournalMode::Wal => synchronous,
            mode => format!("{synchronous} PRAGMA journal_mode = {};", mode.word()),
        }
    }
}

impl fmt::Display for CellSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.journal_mode.word(), self.synchronous.word())
    }
}

impl FromStr for JournalMode {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let known = "DELETE, TRUNCATE, PERSIST, WAL, MEMORY, OFF";
        let error = || WordError { word: text.to_owned(), what: "journal mode", known };
        Self::ALL.into_iter().find(|mode| mode.word().eq_ignore_ascii_case(text)).ok_or_else(error)
    }
}

impl FromStr for Level {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let error =
            || WordError { word: text.to_owned(), what: "level of synchronous", known: "OFF, NORMAL, FULL, EXTRA" };
        Self::ALL.into_iter().find(|level| level.word().eq_ignore_ascii_case(text)).ok_or_else(error)
    }
}
