//! Where rows are found after a run in which outsiders acted on the files: the files beside the database, each with its
//! log.
//!
//! A file counts if an outsider made it by moving the database, if an error or event of the strategy named it, or if a
//! process was killed, which could name nothing any more. Which log belongs to a moved database cannot be told from the
//! names, so each pair is looked at.

use rusqlite::{Connection, OpenFlags};
use seawall_harness::oracle::integrity::{self, Check};
use seawall_harness::oracle::ledger::Place;
use seawall_harness::oracle::table::{self, Table};
use seawall_harness::outsider;
use std::path::Path;

/// The files of a run, as they are when its processes have ended.
pub trait Files {
    /// The full names of the files in the folder of the database.
    fn names(&self) -> Vec<String>;

    /// Copies a database, with a log that gets this suffix, to another folder, and calls `look` with the copy and the
    /// VFS to open it with.
    fn with_copy(&self, database: &str, log: Option<(&str, &str)>, look: &mut dyn FnMut(&Path, Option<&str>));
}

/// The other files in which rows are found. `announced` are the texts in which the strategy named files.
pub fn search(files: &dyn Files, database: &str, announced: &[String], has_deaths: bool) -> Vec<Place> {
    let names = files.names();
    let is_announced = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        has_deaths || announced.iter().any(|text| text.contains(name))
    };
    let is_moved = |name: &str| name.strip_prefix(database).is_some_and(|rest| rest.starts_with(outsider::MOVED));
    let is_known = |name: &str| is_moved(name) || (!outsider::is_outsiders(database, name) && is_announced(name));
    let logs: Vec<(&str, &str)> =
        names.iter().filter_map(|name| Some((log_suffix(database, name)?, &**name))).collect();
    let databases = names.iter().filter(|name| is_database(database, name));
    let mut places = Vec::new();
    for name in databases {
        let is_place = name == database || is_known(name);
        let own = |log: &str| log.strip_prefix(&**name).is_some_and(|rest| ["-wal", "-journal"].contains(&rest));
        // The database with its own log is what a fresh connection finds.
        let pairs =
            logs.iter().filter(|(_, log)| !(name == database && own(log)) && (own(log) || is_log(database, log)));
        let pairs = pairs.filter(|(_, log)| is_side_file(log) || is_announced(log));
        for log in std::iter::once(None).chain(pairs.map(|pair| Some(*pair))).filter(|_| is_place) {
            // A copy without rows says that they were deleted; a new database says nothing.
            if let (_, Some(table)) = look(files, name, log)
                && !(table.is_empty() && name == database)
            {
                let with = log.map(|(_, log)| format!(" with {log}")).unwrap_or_default();
                places.push(Place { name: format!("{name}{with}"), table });
            }
        }
    }
    places
}

/// What the pragmas say of a copy, and its table.
pub fn look(files: &dyn Files, database: &str, log: Option<(&str, &str)>) -> (Check, Option<Table>) {
    let name = "copy";
    let mut seen = (Check { connection: name.to_owned(), complaints: Vec::new(), unfinished: None }, None);
    files.with_copy(database, log, &mut |path, vfs| seen = examine(path, vfs, name));
    seen
}

/// What the pragmas say of a database on a new connection, which is called `name`, and its table.
pub fn examine(database: &Path, vfs: Option<&str>, name: &str) -> (Check, Option<Table>) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(database, flags, vfs),
        None => Connection::open_with_flags(database, flags),
    };
    match opened {
        Ok(opened) => (integrity::check(&opened, name), table::read(&opened).ok()),
        Err(error) => {
            let (connection, unfinished) = (name.to_owned(), Some(error.to_string()));
            (Check { connection, complaints: Vec::new(), unfinished }, None)
        }
    }
}

fn is_side_file(name: &str) -> bool {
    ["-wal", "-journal"].iter().any(|suffix| name.ends_with(suffix))
}

/// True for the log of the database, or one that was renamed: `x.db-wal.stale-1`.
fn is_log(database: &str, name: &str) -> bool {
    log_suffix(database, name).is_some() && !name.ends_with(".copy")
}

/// By which suffix SQLite finds the log, if the file is or was one.
fn log_suffix(database: &str, name: &str) -> Option<&'static str> {
    let rest = name.strip_prefix(database)?;
    ["-wal", "-journal"].into_iter().find(|suffix| rest.contains(suffix) && !rest.ends_with(".copy"))
}

fn is_database(database: &str, name: &str) -> bool {
    let rest = name.strip_prefix(database);
    rest.is_some_and(|rest| !["-wal", "-journal", "-shm", ".lock"].iter().any(|part| rest.contains(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what is looked at.
    struct Listed(Vec<&'static str>, std::cell::RefCell<Vec<String>>);

    impl Files for Listed {
        fn names(&self) -> Vec<String> {
            self.0.iter().map(|name| format!("/d/{name}")).collect()
        }

        fn with_copy(&self, database: &str, log: Option<(&str, &str)>, _: &mut dyn FnMut(&Path, Option<&str>)) {
            let log = log.map(|(suffix, log)| format!(" + {} as {suffix}", log.trim_start_matches("/d/")));
            self.1.borrow_mut().push(format!("{}{}", database.trim_start_matches("/d/"), log.unwrap_or_default()));
        }
    }

    #[track_caller]
    fn check(names: &[&'static str], announced: &str, has_deaths: bool, expected: &[&str]) {
        let files = Listed(names.to_vec(), Default::default());
        search(&files, "/d/x.db", &[announced.to_owned()], has_deaths);
        assert_eq!(files.1.into_inner(), expected);
    }

    #[test]
    fn moved_databases_are_paired_with_every_log_and_copies_must_be_announced() {
        check(&["x.db", "x.db-wal", "x.db-shm", "x.db.init.lock"], "", false, &["x.db"]);
        let moved = ["x.db-wal", "x.db.moved-1", "x.db.moved-1-wal"];
        let pairs = ["x.db.moved-1", "x.db.moved-1 + x.db-wal as -wal", "x.db.moved-1 + x.db.moved-1-wal as -wal"];
        check(&moved, "", false, &pairs);
        let copies = ["x.db", "x.db.backup", "x.db.copy", "x.db-wal.copy", "x.db.rescued-5"];
        check(&copies, "", false, &["x.db"]);
        check(&copies, "copied to /d/x.db.rescued-5", false, &["x.db", "x.db.rescued-5"]);
        check(&copies, "", true, &["x.db", "x.db.rescued-5"]);
        let aside = ["x.db", "x.db-wal", "x.db-wal.stale-1"];
        check(&aside, "kept as x.db-wal.stale-1", false, &["x.db", "x.db + x.db-wal.stale-1 as -wal"]);
    }
}
