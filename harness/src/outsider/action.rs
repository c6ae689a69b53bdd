//! The actions, by their names in rules.

/// What an outsider does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OutsideAction {
    /// `rm x.db-wal x.db-shm` under the processes that have them open.
    UnlinkSideFiles,
    /// The database alone gets another name.
    Move,
    /// The database alone loses its name.
    Delete,
    /// A backup is renamed over the database.
    Replace,
    /// A backup is copied onto the same inode.
    Overwrite,
    /// Between two lives of the application the database comes from a backup, and the old log stays.
    RestoreStaleLog,
    /// Database and log were copied at different moments, and the application is started on the copy.
    TornCopy,
    /// The process opens and closes the database, or its side files too, by plain system calls: its POSIX locks on them
    /// are gone.
    Touch,
    /// A program of another kind opens the database, writes to it and closes it.
    Foreign,
    /// The database gets a second name by a hard link, and another program writes under that name.
    SecondName,
    /// The process is stopped, and goes on much later.
    Suspend,
    /// The process has a child that inherits what it has open, and lives on for a while.
    Fork,
    /// Rights of the database or its directory are taken away.
    Revoke,
}

/// The words of [`OutsideAction::ALL`], in the same order.
pub const ACTION_WORDS: &[&str] = &[
    "unlink-side-files",
    "move",
    "delete",
    "replace",
    "overwrite",
    "restore-stale-log",
    "torn-copy",
    "touch",
    "foreign",
    "second-name",
    "suspend",
    "fork",
    "revoke",
];

impl OutsideAction {
    /// All actions.
    pub const ALL: [Self; 13] = [
        Self::UnlinkSideFiles,
        Self::Move,
        Self::Delete,
        Self::Replace,
        Self::Overwrite,
        Self::RestoreStaleLog,
        Self::TornCopy,
        Self::Touch,
        Self::Foreign,
        Self::SecondName,
        Self::Suspend,
        Self::Fork,
        Self::Revoke,
    ];

    /// The action that a rule names.
    pub fn of_word(word: &str) -> Option<Self> {
        ACTION_WORDS.iter().position(|known| *known == word).map(|position| Self::ALL[position])
    }

    /// Its name in rules.
    pub const fn word(self) -> &'static str {
        ACTION_WORDS[self as usize]
    }

    /// True if every process that has the database open dies first: the action lies between two lives of the
    /// application.
    pub const fn ends_processes(self) -> bool {
        matches!(self, Self::RestoreStaleLog | Self::TornCopy)
    }

    /// True if another program then writes to the database, under its name or a second one.
    pub const fn needs_program(self) -> bool {
        matches!(self, Self::Foreign | Self::SecondName)
    }

    /// True if SQLite is right to call a file damaged after it.
    pub const fn misleads(self) -> bool {
        !matches!(self, Self::Foreign | Self::Suspend | Self::Revoke)
    }

    /// True if the files of the database stay as they were until the action is undone by a person.
    pub const fn is_lasting(self) -> bool {
        !matches!(self, Self::Touch | Self::Foreign | Self::Suspend | Self::Fork | Self::Revoke)
    }

    /// True if the process that makes the call does it, or suffers it; else it is an outsider's act on files.
    pub const fn is_of_process(self) -> bool {
        matches!(self, Self::Touch | Self::Suspend | Self::Fork)
    }

    /// What happens, as a sentence about any database. Its subject is `a process` where the action
    /// [is of a process](Self::is_of_process).
    pub const fn summary(self) -> &'static str {
        match self {
            Self::UnlinkSideFiles => "an outsider unlinks the -wal and the -shm file while processes have them open",
            Self::Move => "an outsider renames the database; the side files keep their names",
            Self::Delete => "an outsider unlinks the database; the side files stay",
            Self::Replace => "an outsider renames a backup over the database",
            Self::Overwrite => "an outsider copies a backup onto the database, into the same inode",
            Self::RestoreStaleLog => "all processes die; the database is restored from a backup and the old log stays",
            Self::TornCopy => "all processes die; the next one finds a database and a log of different moments",
            Self::Touch => "a process opens and closes the database by plain system calls and loses its POSIX locks",
            Self::Foreign => "another program opens the database, inserts a row and closes it",
            Self::SecondName => "another program inserts a row under a second name of the database (hard link)",
            Self::Suspend => "a process is stopped in the middle of a call and goes on much later",
            Self::Fork => "a process forks; the child inherits the open files and lives on for a while",
            Self::Revoke => "an outsider takes rights of the database or its directory away",
        }
    }

    /// [`Self::summary`] without its subject where that is a process: the rest of a sentence about an actor.
    pub fn predicate(self) -> &'static str {
        let summary = self.summary();
        summary.strip_prefix("a process ").unwrap_or(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_word() {
        assert_eq!(ACTION_WORDS.len(), OutsideAction::ALL.len());
        for (action, word) in OutsideAction::ALL.into_iter().zip(ACTION_WORDS) {
            assert_eq!(action.word(), *word);
            assert_eq!(OutsideAction::of_word(word), Some(action));
            assert_eq!(action.summary() != action.predicate(), action.is_of_process(), "{word}");
        }
        assert_eq!(OutsideAction::of_word("rename"), None);
    }
}
