//! What became of the files under a connection, and of the rows in them.

use super::describe;
use std::fmt;
use std::path::PathBuf;

/// How the files at the names differ from those that a connection has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Another file has the database's name, or none has it.
    Database,
    /// The log has lost its name to another one, or altogether.
    Log,
    /// So has the wal-index.
    Index,
    /// The database has its name, and another content than its log belongs to.
    Overwritten,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::Database => "the file that was open has lost its name to another one, or altogether",
            Loss::Log => "the log (-wal) that was open has lost its name to another one, or altogether",
            Loss::Index => "the wal-index (-shm) that was open has lost its name to another one, or altogether",
            Loss::Overwritten => "the file that is open was overwritten in place with another content",
        })
    }
}

/// The state of the rows of files that have lost a name.
#[derive(Debug)]
pub(crate) enum Rescue {
    /// They are all in the file, with its log beside it: at its old name, or at the one named here.
    InFile { moved_to: Option<PathBuf> },
    /// They have been copied here. `finding` is what a check found wrong with the copy.
    Copied { to: PathBuf, finding: Option<String> },
    /// The log has been kept here. It belongs to the content that was overwritten.
    LogKept(PathBuf),
    /// They could not be copied, since what is left cannot be read as a database.
    Unreadable(rusqlite::Error),
    /// Not rescued yet: the connection is kept until the rescue works.
    Pending(rusqlite::Error),
}

impl Rescue {
    pub(super) fn told(&self) -> String {
        match self {
            Rescue::InFile { moved_to: None } => String::new(),
            Rescue::InFile { moved_to: Some(to) } => format!("; it is {} now", to.display()),
            Rescue::Copied { to, finding: None } => format!("; its rows have been copied to {}", to.display()),
            Rescue::Copied { to, finding: Some(finding) } => {
                format!("; what could be read has been copied to {}, which is damaged ({finding})", to.display())
            }
            Rescue::LogKept(to) => format!("; the log of the former content has been kept as {}", to.display()),
            Rescue::Unreadable(error) => format!("; what was only there cannot be read any more: {}", describe(error)),
            Rescue::Pending(error) => format!("; its rows are not safe yet: {}", describe(error)),
        }
    }
}
