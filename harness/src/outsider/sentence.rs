//! What an outsider did, in words, with the names of the files.

use super::{BACKUP, Deed, Intervention, OutsideAction, Revocation, touched};

impl Intervention {
    /// What was done, as a sentence with the names of the files; without its subject where that is the calling actor.
    pub fn sentence(&self, deed: &Deed) -> String {
        let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let name = base(&self.database);
        let file = deed.file.as_deref().map(base);
        let file = file.as_deref().unwrap_or(&name);
        let what = match self.action {
            OutsideAction::UnlinkSideFiles => format!("an outsider unlinks {name}-wal and {name}-shm"),
            OutsideAction::Move if deed.file.is_none() => format!("an outsider renames {name}"),
            OutsideAction::Move => format!("an outsider renames {name} to {file}"),
            OutsideAction::Delete => format!("an outsider unlinks {name}"),
            OutsideAction::Replace => format!("an outsider renames a copy of {name}{BACKUP} over {name}"),
            OutsideAction::Overwrite => format!("an outsider copies {name}{BACKUP} onto {name}, into the same inode"),
            OutsideAction::RestoreStaleLog => {
                format!("all processes die; an outsider restores {name} from {name}{BACKUP}, and the old log stays")
            }
            OutsideAction::TornCopy => {
                format!(
                    "all processes die; an outsider replaces {file} by a copy of an earlier moment, and nothing else"
                )
            }
            OutsideAction::Foreign => format!("another program opens {name}, inserts a row and closes it"),
            OutsideAction::SecondName => {
                format!("another program inserts a row under {file}, a second name of {name} (hard link)")
            }
            OutsideAction::Revoke => format!("an outsider {}", Revocation::draw(self.dice).predicate(&name)),
            OutsideAction::Touch => {
                let names: Vec<String> = touched(self).map(|path| base(&path)).collect();
                format!("opens and closes {} by plain system calls and loses its POSIX locks", names.join(", "))
            }
            OutsideAction::Suspend | OutsideAction::Fork => self.action.predicate().to_owned(),
        };
        if deed.is_done { what } else { format!("{what} (without effect)") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Files, change_files, copy_early};
    use super::*;
    use std::collections::BTreeSet;

    /// Names of files.
    struct Names(BTreeSet<String>);

    impl Names {
        fn put(&mut self, name: &str) -> bool {
            self.0.insert(name.to_owned());
            true
        }
    }

    impl Files for Names {
        fn exists(&self, path: &str) -> bool {
            self.0.contains(path)
        }

        fn rename(&mut self, from: &str, to: &str) -> bool {
            self.0.remove(from) && self.put(to)
        }

        fn unlink(&mut self, path: &str) -> bool {
            self.0.remove(path)
        }

        fn copy(&mut self, from: &str, to: &str) -> bool {
            self.exists(from) && self.put(to)
        }

        fn link(&mut self, from: &str, to: &str) -> bool {
            self.exists(from) && self.0.insert(to.to_owned())
        }

        fn revoke(&mut self, database: &str, _: Revocation) -> bool {
            self.exists(database)
        }

        fn restore_rights(&mut self, _: &str) -> bool {
            true
        }
    }

    #[track_caller]
    fn check(action: OutsideAction, dice: u64, expected: &str, again: &str) {
        let early = ["a.db", "a.db-wal"].map(|name| format!("/d/{name}"));
        let mut files = Names(early.into());
        copy_early("/d/a.db", &mut files);
        files.0.insert("/d/a.db-shm".to_owned());
        let intervention = Intervention { action, database: "/d/a.db".to_owned(), process: 1, dice };
        let sentence = intervention.sentence(&change_files(&intervention, &mut files));
        assert_eq!(sentence, expected);
        files.0.retain(|name| name.ends_with(".moved-1"));
        let sentence = intervention.sentence(&change_files(&intervention, &mut files));
        assert_eq!(sentence, again);
    }

    #[test]
    fn a_sentence_names_the_file_that_resulted_and_says_if_nothing_was_done() {
        use OutsideAction::{Delete, Move, Revoke, SecondName, TornCopy, Touch, UnlinkSideFiles};
        let moved = "an outsider renames a.db to a.db.moved-1";
        check(Move, 0, moved, "an outsider renames a.db (without effect)");
        let unlinked = "an outsider unlinks a.db-wal and a.db-shm";
        check(UnlinkSideFiles, 0, unlinked, &format!("{unlinked} (without effect)"));
        check(Delete, 0, "an outsider unlinks a.db", "an outsider unlinks a.db (without effect)");
        let torn = |file| {
            format!("all processes die; an outsider replaces {file} by a copy of an earlier moment, and nothing else")
        };
        check(TornCopy, 0, &torn("a.db"), &format!("{} (without effect)", torn("a.db")));
        check(TornCopy, 1, &torn("a.db-wal"), &format!("{} (without effect)", torn("a.db")));
        let second = "another program inserts a row under a.db.second, a second name of a.db (hard link)";
        check(SecondName, 0, second, &format!("{second} (without effect)"));
        let revoked = "an outsider makes a.db read-only (chmod a-w)";
        check(Revoke, 0, revoked, &format!("{revoked} (without effect)"));
        let touched = |names| format!("opens and closes {names} by plain system calls and loses its POSIX locks");
        check(Touch, 0, &touched("a.db"), &touched("a.db"));
        check(Touch, 1, &touched("a.db, a.db-wal, a.db-shm"), &touched("a.db, a.db-wal, a.db-shm"));
    }
}
