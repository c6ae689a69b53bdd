//! SQLite's result codes and the system's errno values, by name and by number.

use crate::suggest::nearest;
use std::fmt;
use std::str::FromStr;

/// A primary or extended result code of SQLite. It prints as its name without `SQLITE_`, or as its number if it has
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultCode(pub i32);

/// A value of the system's `errno`. It prints as its name, or as its number if it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

/// A word that names no result code, or no errno.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no {kind}{}", nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
pub struct UnknownCode {
    /// What was given.
    pub word: String,
    /// `SQLite result code` or `errno`.
    pub kind: &'static str,
    /// The nearest name that exists, if one is near.
    pub nearest: Option<&'static str>,
}

impl ResultCode {
    /// `SQLITE_OK`.
    pub const OK: Self = Self(0);

    /// Every code that SQLite's header names, primary codes first.
    pub fn all() -> impl Iterator<Item = (&'static str, Self)> {
        RESULT_CODES.iter().map(|&(name, number)| (name, Self(number)))
    }

    /// The name, without `SQLITE_`.
    pub fn name(self) -> Option<&'static str> {
        name_of(RESULT_CODES, self.0)
    }

    /// The primary code: the low byte.
    pub const fn primary(self) -> Self {
        Self(self.0 & 0xff)
    }

    /// True if the code reports no failure: OK, ROW, DONE and their extended forms.
    pub const fn is_success(self) -> bool {
        matches!(self.primary().0, 0 | 100 | 101)
    }

    /// The known name nearest to `word`, for a suggestion.
    pub fn nearest(word: &str) -> Option<&'static str> {
        nearest(without_prefix(word), RESULT_CODES.iter().map(|&(name, _)| name))
    }

    /// The errno that a stock build of SQLite on a Unix system typically holds when it raises this code, and so the
    /// one that belongs to an injected error unless the rule names another. `None` where no system call failed: lock
    /// contention (the locking code records no errno for BUSY), protocol and content errors, and failures of SQLite's
    /// own making.
    ///
    /// | code | errno | the call that failed |
    /// |---|---|---|
    /// | FULL | ENOSPC | `write` |
    /// | CANTOPEN | EMFILE | `open`, out of descriptors: the transient reason; CANTOPEN_ISDIR has EISDIR |
    /// | CANTOPEN_FULLPATH, CANTOPEN_SYMLINK | ENAMETOOLONG, ELOOP | resolving the path |
    /// | NOMEM, IOERR_NOMEM | ENOMEM | an allocation |
    /// | IOERR_SHMSIZE | ENOSPC | growing the `-shm` by a 1-byte `pwrite` |
    /// | IOERR_SHMMAP | ENOMEM | `mmap` of the `-shm` |
    /// | IOERR_SHMOPEN | EACCES | opening or truncating the `-shm` |
    /// | IOERR_MMAP | ENOMEM | `mmap` of the database |
    /// | IOERR_DELETE_NOENT | ENOENT | `unlink` |
    /// | IOERR_SHORT_READ, IOERR_BLOCKED, IOERR_DATA, … | none | nothing failed in the system |
    /// | every other IOERR | EIO | |
    /// | PERM | EPERM | `fcntl` lock |
    /// | READONLY_DIRECTORY | EACCES | creating a journal |
    /// | NOLFS | EOVERFLOW | `fstat` |
    ///
    /// `sqlite3_system_errno` shows the errno only for the families of CANTOPEN and IOERR, IOERR_NOMEM excepted; for
    /// the other codes it stays at what the last such failure left.
    pub(crate) fn default_errno(self) -> Option<Errno> {
        // A code of the family that the table does not know yet counts as the family's own.
        let name = self.name().or_else(|| self.primary().name().filter(|&family| family == "IOERR"))?;
        let errno = match name {
            "FULL" | "IOERR_SHMSIZE" => libc::ENOSPC,
            "CANTOPEN_ISDIR" => libc::EISDIR,
            "CANTOPEN_FULLPATH" => libc::ENAMETOOLONG,
            "CANTOPEN_SYMLINK" => libc::ELOOP,
            "CANTOPEN" => libc::EMFILE,
            "NOMEM" | "IOERR_NOMEM" | "IOERR_SHMMAP" | "IOERR_MMAP" => libc::ENOMEM,
            "IOERR_SHMOPEN" | "READONLY_DIRECTORY" => libc::EACCES,
            "IOERR_DELETE_NOENT" => libc::ENOENT,
            "PERM" => libc::EPERM,
            "NOLFS" => libc::EOVERFLOW,
            // Raised by SQLite on its own account, or from content, with no failing system call behind them.
            "IOERR_SHORT_READ" | "IOERR_BLOCKED" | "IOERR_DATA" | "IOERR_AUTH" | "IOERR_BADKEY" | "IOERR_CODEC"
            | "IOERR_VNODE" | "IOERR_CONVPATH" | "IOERR_GETTEMPPATH" => return None,
            name if name.starts_with("IOERR") => libc::EIO,
            _ => return None,
        };
        Some(Errno(errno))
    }
}

impl Errno {
    /// The largest errno that Linux hands to a program.
    pub const MAX: Self = Self(4095);

    /// Every errno known by name. A number may have two names (`EWOULDBLOCK` is `EAGAIN`); the first is the one that
    /// prints.
    pub fn all() -> impl Iterator<Item = (&'static str, Self)> {
        ERRNOS.iter().map(|&(name, number)| (name, Self(number)))
    }

    /// The name.
    pub fn name(self) -> Option<&'static str> {
        name_of(ERRNOS, self.0)
    }

    /// The known name nearest to `word`, for a suggestion.
    pub fn nearest(word: &str) -> Option<&'static str> {
        nearest(word, ERRNOS.iter().map(|&(name, _)| name))
    }
}

/// `text` without a leading `SQLITE_` in any mixture of cases.
fn without_prefix(text: &str) -> &str {
    match text.split_at_checked("SQLITE_".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("SQLITE_") => rest,
        _ => text,
    }
}

fn name_of(table: &[(&'static str, i32)], number: i32) -> Option<&'static str> {
    table.iter().find(|&&(_, known)| known == number).map(|&(name, _)| name)
}

/// The number with this name, or the number itself. A sign is refused: no code is negative.
fn number_of(table: &[(&'static str, i32)], text: &str) -> Option<i32> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    table.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|&(_, number)| number)
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ResultCode {
    type Err = UnknownCode;

    /// Reads a name, with or without `SQLITE_` and in any case, or a number. A number need not be a known one.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        number_of(RESULT_CODES, without_prefix(text)).map(Self).ok_or_else(|| UnknownCode {
            word: text.to_owned(),
            kind: "SQLite result code",
            nearest: Self::nearest(text),
        })
    }
}

impl FromStr for Errno {
    type Err = UnknownCode;

    /// Reads a name in any case, or a number from 1 to 4095.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        number_of(ERRNOS, text)
            .map(Self)
            .filter(|errno| (1..=Self::MAX.0).contains(&errno.0))
            .ok_or_else(|| UnknownCode { word: text.to_owned(), kind: "errno", nearest: Self::nearest(text) })
    }
}

/// Every result code in `sqlite3.h`, in its order.
const RESULT_CODES: &[(&str, i32)] = &[
    ("OK", 0),
    ("ERROR", 1),
    ("INTERNAL", 2),
    ("PERM", 3),
    ("ABORT", 4),
    ("BUSY", 5),
    ("LOCKED", 6),
    ("NOMEM", 7),
    ("READONLY", 8),
    ("INTERRUPT", 9),
    ("IOERR", 10),
    ("CORRUPT", 11),
    ("NOTFOUND", 12),
    ("FULL", 13),
    ("CANTOPEN", 14),
    ("PROTOCOL", 15),
    ("EMPTY", 16),
    ("SCHEMA", 17),
    ("TOOBIG", 18),
    ("CONSTRAINT", 19),
    ("MISMATCH", 20),
    ("MISUSE", 21),
    ("NOLFS", 22),
    ("AUTH", 23),
    ("FORMAT", 24),
    ("RANGE", 25),
    ("NOTADB", 26),
    ("NOTICE", 27),
    ("WARNING", 28),
    ("ROW", 100),
    ("DONE", 101),
    ("ERROR_MISSING_COLLSEQ", 257),
    ("ERROR_RETRY", 513),
    ("ERROR_SNAPSHOT", 769),
    ("ERROR_RESERVESIZE", 1025),
    ("ERROR_KEY", 1281),
    ("ERROR_UNABLE", 1537),
    ("IOERR_READ", 266),
    ("IOERR_SHORT_READ", 522),
    ("IOERR_WRITE", 778),
    ("IOERR_FSYNC", 1034),
    ("IOERR_DIR_FSYNC", 1290),
    ("IOERR_TRUNCATE", 1546),
    ("IOERR_FSTAT", 1802),
    ("IOERR_UNLOCK", 2058),
    ("IOERR_RDLOCK", 2314),
    ("IOERR_DELETE", 2570),
    ("IOERR_BLOCKED", 2826),
    ("IOERR_NOMEM", 3082),
    ("IOERR_ACCESS", 3338),
    ("IOERR_CHECKRESERVEDLOCK", 3594),
    ("IOERR_LOCK", 3850),
    ("IOERR_CLOSE", 4106),
    ("IOERR_DIR_CLOSE", 4362),
    ("IOERR_SHMOPEN", 4618),
    ("IOERR_SHMSIZE", 4874),
    ("IOERR_SHMLOCK", 5130),
    ("IOERR_SHMMAP", 5386),
    ("IOERR_SEEK", 5642),
    ("IOERR_DELETE_NOENT", 5898),
    ("IOERR_MMAP", 6154),
    ("IOERR_GETTEMPPATH", 6410),
    ("IOERR_CONVPATH", 6666),
    ("IOERR_VNODE", 6922),
    ("IOERR_AUTH", 7178),
    ("IOERR_BEGIN_ATOMIC", 7434),
    ("IOERR_COMMIT_ATOMIC", 7690),
    ("IOERR_ROLLBACK_ATOMIC", 7946),
    ("IOERR_DATA", 8202),
    ("IOERR_CORRUPTFS", 8458),
    ("IOERR_IN_PAGE", 8714),
    ("IOERR_BADKEY", 8970),
    ("IOERR_CODEC", 9226),
    ("LOCKED_SHAREDCACHE", 262),
    ("LOCKED_VTAB", 518),
    ("BUSY_RECOVERY", 261),
    ("BUSY_SNAPSHOT", 517),
    ("BUSY_TIMEOUT", 773),
    ("CANTOPEN_NOTEMPDIR", 270),
    ("CANTOPEN_ISDIR", 526),
    ("CANTOPEN_FULLPATH", 782),
    ("CANTOPEN_CONVPATH", 1038),
    ("CANTOPEN_DIRTYWAL", 1294),
    ("CANTOPEN_SYMLINK", 1550),
    ("CORRUPT_VTAB", 267),
    ("CORRUPT_SEQUENCE", 523),
    ("CORRUPT_INDEX", 779),
    ("READONLY_RECOVERY", 264),
    ("READONLY_CANTLOCK", 520),
    ("READONLY_ROLLBACK", 776),
    ("READONLY_DBMOVED", 1032),
    ("READONLY_CANTINIT", 1288),
    ("READONLY_DIRECTORY", 1544),
    ("ABORT_ROLLBACK", 516),
    ("CONSTRAINT_CHECK", 275),
    ("CONSTRAINT_COMMITHOOK", 531),
    ("CONSTRAINT_FOREIGNKEY", 787),
    ("CONSTRAINT_FUNCTION", 1043),
    ("CONSTRAINT_NOTNULL", 1299),
    ("CONSTRAINT_PRIMARYKEY", 1555),
    ("CONSTRAINT_TRIGGER", 1811),
    ("CONSTRAINT_UNIQUE", 2067),
    ("CONSTRAINT_VTAB", 2323),
    ("CONSTRAINT_ROWID", 2579),
    ("CONSTRAINT_PINNED", 2835),
    ("CONSTRAINT_DATATYPE", 3091),
    ("NOTICE_RECOVER_WAL", 283),
    ("NOTICE_RECOVER_ROLLBACK", 539),
    ("NOTICE_RBU", 795),
    ("WARNING_AUTOINDEX", 284),
    ("AUTH_USER", 279),
    ("OK_LOAD_PERMANENTLY", 256),
    ("OK_SYMLINK", 512),
];

/// The errno values that file, memory and locking calls return.
const ERRNOS: &[(&str, i32)] = &[
    ("EPERM", libc::EPERM),
    ("ENOENT", libc::ENOENT),
    ("EINTR", libc::EINTR),
    ("EIO", libc::EIO),
    ("ENXIO", libc::ENXIO),
    ("EBADF", libc::EBADF),
    ("EAGAIN", libc::EAGAIN),
    ("EWOULDBLOCK", libc::EWOULDBLOCK),
    ("ENOMEM", libc::ENOMEM),
    ("EACCES", libc::EACCES),
    ("EFAULT", libc::EFAULT),
    ("EBUSY", libc::EBUSY),
    ("EEXIST", libc::EEXIST),
    ("EXDEV", libc::EXDEV),
    ("ENODEV", libc::ENODEV),
    ("ENOTDIR", libc::ENOTDIR),
    ("EISDIR", libc::EISDIR),
    ("EINVAL", libc::EINVAL),
    ("ENFILE", libc::ENFILE),
    ("EMFILE", libc::EMFILE),
    ("ENOTTY", libc::ENOTTY),
    ("ETXTBSY", libc::ETXTBSY),
    ("EFBIG", libc::EFBIG),
    ("ENOSPC", libc::ENOSPC),
    ("ESPIPE", libc::ESPIPE),
    ("EROFS", libc::EROFS),
    ("EMLINK", libc::EMLINK),
    ("EPIPE", libc::EPIPE),
    ("ERANGE", libc::ERANGE),
    ("EDEADLK", libc::EDEADLK),
    ("ENAMETOOLONG", libc::ENAMETOOLONG),
    ("ENOLCK", libc::ENOLCK),
    ("ENOSYS", libc::ENOSYS),
    ("ENOTEMPTY", libc::ENOTEMPTY),
    ("ELOOP", libc::ELOOP),
    ("ENOTSUP", libc::ENOTSUP),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("EOVERFLOW", libc::EOVERFLOW),
    ("ETIMEDOUT", libc::ETIMEDOUT),
    ("ENODATA", libc::ENODATA),
    ("EPROTO", libc::EPROTO),
    ("EBADMSG", libc::EBADMSG),
    ("ECONNRESET", libc::ECONNRESET),
    ("ENOTCONN", libc::ENOTCONN),
    ("EHOSTDOWN", libc::EHOSTDOWN),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("ESTALE", libc::ESTALE),
    ("EDQUOT", libc::EDQUOT),
    ("ECANCELED", libc::ECANCELED),
    ("EUCLEAN", libc::EUCLEAN),
    ("EREMOTEIO", libc::EREMOTEIO),
    ("ENOMEDIUM", libc::ENOMEDIUM),
    ("EKEYEXPIRED", libc::EKEYEXPIRED),
    ("EOWNERDEAD", libc::EOWNERDEAD),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_as_its_number_and_back() {
        for (name, code) in ResultCode::all() {
            assert_eq!(name.parse(), Ok(code));
            assert_eq!(format!("SQLITE_{name}").parse(), Ok(code));
            assert_eq!(name.to_lowercase().parse(), Ok(code));
            assert_eq!(code.0.to_string().parse(), Ok(code));
            assert_eq!(code.to_string(), name, "no two names share a number");
        }
        for (name, errno) in Errno::all() {
            assert_eq!(name.parse(), Ok(errno));
            assert_eq!(errno.to_string().parse(), Ok(errno));
        }
        assert_eq!(Errno(libc::EAGAIN).to_string(), "EAGAIN");
        assert_eq!(ResultCode::all().count(), 113, "the number of codes in the header of SQLite 3.54.1");
    }

    #[test]
    fn the_numbers_are_those_of_the_header() {
        #[track_caller]
        fn check(text: &str, number: i32) {
            assert_eq!(text.parse(), Ok(ResultCode(number)));
        }
        check("CANTOPEN", 14);
        check("IOERR_SHORT_READ", 522);
        check("IOERR_FSYNC", 1034);
        check("IOERR_DIR_FSYNC", 1290);
        check("IOERR_TRUNCATE", 1546);
        check("IOERR_FSTAT", 1802);
        check("IOERR_SHMOPEN", 4618);
        check("IOERR_SHMSIZE", 4874);
        check("IOERR_SHMLOCK", 5130);
        check("sqlite_ioerr_shmmap", 5386);
        check("IOERR_IN_PAGE", 8714);
        check("BUSY_SNAPSHOT", 517);
        check("BUSY_RECOVERY", 261);
        check("READONLY_DBMOVED", 1032);
        check("4874", 4874);
        check("9999", 9999);
    }

    #[test]
    fn a_word_that_is_no_code_is_refused_with_the_nearest_name() {
        #[track_caller]
        fn check(text: &str, message: &str) {
            let error = text.parse::<ResultCode>().expect_err(text);
            assert_eq!(error.to_string(), message);
        }
        check("IOERR_SHMAP", "\"IOERR_SHMAP\" is no SQLite result code; did you mean IOERR_SHMMAP?");
        check("SQLITE_CANTOPN", "\"SQLITE_CANTOPN\" is no SQLite result code; did you mean CANTOPEN?");
        check("SHMMAP", "\"SHMMAP\" is no SQLite result code; did you mean IOERR_SHMMAP?");
        check("", "\"\" is no SQLite result code");
        check("-5", "\"-5\" is no SQLite result code");
        check("99999999999", "\"99999999999\" is no SQLite result code");
        check("SQLITE_", "\"SQLITE_\" is no SQLite result code");
        check("SQLITEä", "\"SQLITEä\" is no SQLite result code");
        let error = "ENOSPACE".parse::<Errno>().expect_err("no such errno");
        assert_eq!(error.to_string(), "\"ENOSPACE\" is no errno; did you mean ENOSPC?");
        for text in ["0", "4096", "-1"] {
            assert!(text.parse::<Errno>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_code_knows_the_errno_behind_it() {
        #[track_caller]
        fn check(code: &str, errno: Option<i32>) {
            let code: ResultCode = code.parse().expect(code);
            assert_eq!(code.default_errno(), errno.map(Errno), "{code}");
        }
        check("IOERR_SHMSIZE", Some(libc::ENOSPC));
        check("IOERR_SHMMAP", Some(libc::ENOMEM));
        check("IOERR_SHMOPEN", Some(libc::EACCES));
        check("FULL", Some(libc::ENOSPC));
        check("CANTOPEN", Some(libc::EMFILE));
        check("IOERR", Some(libc::EIO));
        check("IOERR_FSYNC", Some(libc::EIO));
        check("IOERR_SHORT_READ", None);
        check("NOMEM", Some(libc::ENOMEM));
        check("BUSY", None);
        check("BUSY_SNAPSHOT", None);
        check("PROTOCOL", None);
        check("CORRUPT", None);
        check("OK", None);
        check("9999", None);
        check("65290", Some(libc::EIO));
    }

    #[test]
    fn success_is_told_from_failure() {
        for code in [0, 100, 101, 256, 512] {
            assert!(ResultCode(code).is_success(), "{code}");
        }
        for code in [1, 5, 10, 4874, 9999] {
            assert!(!ResultCode(code).is_success(), "{code}");
        }
        assert_eq!(ResultCode(4874).primary(), ResultCode(10));
    }
}
