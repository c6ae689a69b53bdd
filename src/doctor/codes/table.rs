//! The table of the kinds of findings, with their texts.

use super::Explanation;
use crate::doctor::findings::Severity::{self, Danger, Notice, Ok, Warning};

/// One entry for each kind: its name, how bad it can be, what it is, what it means, what to do, what not to do.
macro_rules! table {
    ($(
        $code:ident, $name:literal, $severities:expr,
        $title:literal, $meaning:literal, $to_do:literal, $not:literal;
    )*) => {
        /// The kinds of findings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::doctor) enum Code {
            $($code,)*
        }

        /// In the order of `Code`.
        pub(super) static EXPLANATIONS: [Explanation; [$($name),*].len()] = [$(Explanation {
            code: $name,
            severities: {
                const SEVERITIES: &[Severity] = &$severities;
                SEVERITIES
            },
            title: $title,
            meaning: $meaning,
            to_do: $to_do,
            not_to_do: $not,
        },)*];
    };
}

table! {
    LostLocks, "lost-locks", [Danger],
    "a process uses the database and holds no lock on it",
    "SQLite keeps a lock on the database as long as a connection in WAL mode is open. A plain open and close of the \
     database file in the same process drops it (POSIX), and a forked child never has it. Other processes then take \
     themselves for the last user: their close removes the -wal that is in use, and what is committed after that is \
     in a file without a name. SQLite before 3.51.0 has no defence against it. In the other modes, a write transaction \
     has a lock: without it, the next program takes the journal for a hot one, and rolls back under the writer.",
    "In WAL mode, end the process without locks first, while all others keep their connections open. In the other \
     modes, let nothing else use the database before that transaction has ended. Mend the program: it must \
     not open the database file outside of SQLite, nor use a connection after a fork.",
    "Do not open the database with another program, not even to look: its close may remove the log. Do not end the \
     other processes first.";

    DeletedLog, "deleted-log", [Danger],
    "a process writes to a -wal that has no name any more",
    "The -wal was deleted or replaced while a connection was open. All that this connection commits goes to the \
     nameless file, and no other process can see it. As long as no other process has written to the database, a \
     normal close carries the frames into the database. If one has written, or a new -wal exists, a normal close \
     writes old pages over newer ones.",
    "First save the content: seawall doctor DB --save DIR. If nothing else has written, end the process in its usual \
     way. If something else has written, end it with SIGKILL, then compare the saved log with the database.",
    "Do not start another program on the database. Do not end the process in its usual way if another process has \
     written since.";

    DeletedButOpen, "deleted-but-open", [Danger],
    "a process works on a database, a -shm or a journal that has been deleted or replaced",
    "The process writes to a file that has no name any more: its commits are gone when it closes the file. A deleted \
     -shm is as bad: the next process makes a new one, and the two do not see each other's locks.",
    "Stop writing. Save what is only there: seawall doctor DB --save DIR. Then end the process.",
    "Do not start another program on the database before the process has ended.";

    ForeignLog, "foreign-log", [Danger, Warning],
    "the -wal does not belong to this state of the database",
    "SQLite tests whether a log is whole, but not whether it belongs to the database: it replays the log into \
     whatever has the name. After a restore by copying, with the old -wal left in place, the restored content is \
     overwritten, and integrity_check may say ok. As a danger it is certain. As a warning it cannot be told from \
     outside: the database was written or replaced after the log, and the log has pages that the database has not.",
    "Copy the database and the -wal to another place. Open a copy of the database alone, and a copy of both, and \
     compare what is in them: seawall doctor DB --fix shows both.",
    "Do not open the database where it is: the next open replays the log. Do not delete the -wal before both outcomes \
     have been compared.";

    ForeignJournal, "foreign-journal", [Danger, Warning],
    "the hot journal does not belong to this state of the database",
    "SQLite puts the old pages of a hot journal back into whatever database has the name, and cuts it to the length \
     that the journal names. A journal from before a restore destroys the restored database. As a danger it is \
     certain. As a warning it cannot be told from outside.",
    "Copy the database and the -journal to another place. Open a copy of the database alone, and a copy of both, and \
     compare what is in them: seawall doctor DB --fix shows both.",
    "Do not open the database where it is: the next open rolls back. Do not delete the journal before both outcomes \
     have been compared.";

    SecondLog, "second-log", [Danger, Warning],
    "the same database is used under two names, and each name has its own -wal",
    "SQLite looks for the -wal, the -shm and the journal by name. A hard link, a mount of the single file, or a \
     container gives a second name: the two users do not see each other's commits and locks, and each log overwrites \
     what the other has written. As a warning: the database file is a mount point of its own, so another name of it \
     exists somewhere.",
    "Stop writing under one of the names. Save both logs (seawall doctor DB --save DIR), end one process, let it \
     close, compare, and use one name from then on. Mount the directory, not the file.",
    "Do not checkpoint or close one of them while the other one writes.";

    RenamedUnderHolder, "renamed-under-holder", [Danger],
    "the database was renamed while a process had it open: its log is at the old name",
    "A rename moves the database and leaves the -wal and the -shm behind. The process goes on with the log at the old \
     name. A program that opens the database at the new name does not see what is in it, and a new database at the \
     old name would get this log. In the other modes, SQLite refuses to begin a transaction on a database that was \
     renamed (SQLITE_READONLY_DBMOVED, 1032); one that was going on has its journal at the old name, and a crash \
     then leaves a half-written database that is not rolled back.",
    "Rename the database back to its old name, then end the process in its usual way: its close carries the log over. \
     SQLite does not do that for a database that has moved. If the process has ended already, rename the -wal or the \
     -journal to the name of the database before anything opens it.",
    "Do not open the database at the new name before that. Do not create a database at the old name. \
     Do not delete the log at the old name.";

    OrphanSideFiles, "orphan-side-files", [Danger, Warning],
    "side files without their database",
    "The database is gone and its side files are not. SQLite deletes or replays them when a database of this name is \
     created. It is a danger if they have data.",
    "Find where the database went, and put it back beside its side files; or move the side files away: seawall doctor \
     DB --fix.",
    "Do not create a database of this name. Do not delete the side files.";

    WalBesideEmptyDatabase, "wal-beside-empty-database", [Danger],
    "the database is empty and has a log: SQLite deletes the log at the next open",
    "A database of 0 bytes with a -wal beside it: the file was cut, or created anew by a program. SQLite takes it for \
     a new database and deletes the -wal.",
    "Copy the -wal to another place. Find the database that it belongs to.",
    "Do not open the database.";

    NoHeader, "no-header", [Danger, Warning],
    "no SQLite header: another kind of file, or the beginning was overwritten",
    "The first bytes are not those of a database: the path may be wrong, or the beginning was overwritten. As a \
     warning, the bytes look random, as those of a database that is encrypted as a whole do (SQLCipher, SEE, \
     SQLite3MultipleCiphers). If it is meant to be encrypted, nothing is wrong with it: the doctor cannot see more.",
    "Check the path. If the database is encrypted, look at it with the application and its key. Else copy the file \
     before anything else; where only the first 16 bytes were overwritten, put them back in a copy.",
    "Do not let a program create a database in its place, and write nothing to it.";

    ShortFile, "short-file", [Danger],
    "the file is shorter than its header says",
    "It was cut off, or it is an unfinished copy. Neither a log nor a journal explains it.",
    "Get the file again from where it was copied. Else copy it with its side files, and read out of the copy what \
     can be read: .recover, or SELECT after PRAGMA writable_schema=ON, without which SQLite refuses a short file.",
    "Do not write to it.";

    WalReset, "wal-reset", [Danger],
    "the wal-index says that more was checkpointed than there is",
    "The mark of a defect of SQLite 3.7.0 to 3.51.2: a checkpoint noted its old count over a new, smaller log. Later \
     checkpoints skip frames, and commits vanish.",
    "Stop writing. Copy the database and the -wal, without the -shm: together they have all commits. Then end all \
     processes that have it open with SIGKILL: the next open reads the log from its beginning. Go on with SQLite \
     3.51.3 or later.",
    "Do not checkpoint, and do not end a process in its usual way: the last close skips the frames and removes the \
     log. Do not trust what a new connection reads: it passes the frames over.";

    WalIndexDisagrees, "wal-index-disagrees", [Danger],
    "the wal-index in use is not that of this -wal",
    "One of the two was replaced or overwritten under a connection. Readers look for pages in the wrong places.",
    "Stop writing. Copy database and -wal, without the -shm. Then end all processes that have it open with SIGKILL: \
     the next open builds the wal-index from the log. If the log itself was replaced, compare first what a copy of \
     the database alone has, and a copy of both: seawall doctor DB --fix shows both.",
    "Do not checkpoint, and do not end a process in its usual way: it would carry wrong pages over. Do not delete or \
     restore side files while a process has the database open.";

    HardLinks, "hard-links", [Warning],
    "the file has more than one name, and SQLite looks for side files by name",
    "Used under two names at once, a database gets two logs. A backup made of hard links changes together with the \
     database.",
    "Use one name in all programs. Remove the other names while no process has it open, and make backups by copying \
     through SQLite.",
    "Do not open it under the other name.";

    NoRoom, "no-room", [Warning],
    "the file system is full",
    "SQLite cannot grow the database or a log (SQLITE_FULL, 13), and cannot make the -shm (SQLITE_IOERR_SHMSIZE, \
     4874): then nothing can be read either. What is committed is safe.",
    "Make room on this file system, or raise the quota. The database then works again without a repair.",
    "Do not delete the -wal, the -shm or the journal to make room.";

    TempUnwritable, "temp-unwritable", [Warning],
    "SQLite has no place for temporary files",
    "SQLite takes SQLITE_TMPDIR, TMPDIR, /var/tmp, /usr/tmp, /tmp and the working directory, the first that it may \
     write to. Without one, large sorts and VACUUM fail with SQLITE_IOERR_GETTEMPPATH (6410).",
    "Give the process a directory that it may write to, by SQLITE_TMPDIR, or use PRAGMA temp_store = MEMORY.",
    "Do not change the rights of the database for it.";

    Rights, "rights", [Warning],
    "a user has no right to a file or the directory that SQLite needs",
    "SQLite writes to the database, its side files and its directory, and even a reader in WAL mode needs the -shm. \
     Without the rights it says READONLY (8), READONLY_CANTINIT or READONLY_DIRECTORY (1544), CANTOPEN (14), or \
     READONLY_ROLLBACK (776) beside a hot journal. Often a program was run once as root, and its side files remained.",
    "Give the file to the user of the database, with the mode of the database: chown and chmod, as the evidence says.",
    "Do not delete side files that belong to another user: they may have data.";

    ReadOnlyMedium, "read-only-medium", [Warning, Notice],
    "the file system is mounted read-only",
    "Nothing can be written, no journal can be rolled back and no log carried over. It is a warning if a log or a \
     hot journal waits, since readers then get errors or need the -shm.",
    "Mount it for writing; look into the system's log if it was not meant to be read-only. A copy on another disk, \
     with its side files, can be opened.",
    "Do not copy the database without its -wal or journal. Do not use immutable=1 beside a log or a hot journal.";

    HotJournal, "hot-journal", [Warning],
    "a transaction was interrupted: the journal is hot, and SQLite rolls it back at the next open",
    "A process ended in the middle of a transaction. The database file has pages of it, and the journal has what was \
     there before.",
    "Open it with the application, or run seawall doctor DB --fix.",
    "Never delete or move the journal: the database is damaged without it. Copy both together.";

    LongLog, "long-log", [Warning],
    "the log is long: checkpoints do not keep up, or it is never restarted",
    "A reader with an old snapshot keeps a checkpoint from its end, and as long as any reader uses the log it cannot \
     begin anew. A stopped or sleeping process pins it for ever. Reads get slower, and the disk fills.",
    "End or wake the process that pins it, then run PRAGMA wal_checkpoint(TRUNCATE). Set journal_size_limit.",
    "Do not delete the -wal: it is data.";

    WalWithoutHeader, "wal-without-header", [Warning],
    "the -wal has no valid header, so SQLite takes it for empty",
    "The beginning of the log is damaged, was never synced, or is another kind of file. SQLite overwrites it.",
    "Copy it before a process writes, in case it is not empty.",
    "Do not open the database before the -wal is copied.";

    UnknownFormat, "unknown-format", [Warning],
    "the file format is newer than SQLite knows: it will be refused or opened read-only",
    "The versions in the header are beyond 2. Either a future SQLite wrote it, or the header is damaged.",
    "Ask what wrote it. Run PRAGMA quick_check on a copy.",
    "Do not patch the header.";

    Unreadable, "unreadable", [Warning],
    "not every file could be read, so something may be hidden",
    "A file or directory could not be looked at. What is said beside it may be wrong by that.",
    "Run the doctor as the user that owns the files, or as root.",
    "Do not repair anything on this report alone.";

    StoppedHolder, "stopped-holder", [Warning],
    "a process that holds a lock is stopped",
    "A process in state T (SIGSTOP, Ctrl-Z, a debugger) keeps its locks: others get BUSY, or the log grows.",
    "Let it go on (kill -CONT PID), or end it (kill -KILL PID): SQLite recovers from that.",
    "Do not delete a journal or a log to get past it.";

    NetworkFileSystem, "network-file-system", [Warning, Notice],
    "a file system over a network or a host boundary: locks may not hold, and WAL mode works on one machine alone",
    "POSIX locks work there only as far as the protocol and both ends support them, and the -shm is shared memory of \
     one machine. The evidence says what is known of this one.",
    "Use a local disk, or let one machine alone use the database. Use journal_mode=DELETE if several machines read.",
    "Do not use WAL mode from two machines, or from a container's host and its guest.";

    FileSystem, "file-system", [Warning, Notice],
    "a file system on which something about locks, shared memory or durability is special or unknown",
    "The evidence says what is known of this one: a layered file system, one in memory alone, or one that the doctor \
     does not know.",
    "Check that it has POSIX locks and shared mmap, and that it survives a power cut as you need it to.",
    "Do not take a copy in a lower layer for the same file.";

    Copies, "copies", [Warning],
    "copies pile up beside the database",
    "Files that are named after the database, often made by an application that takes every error for damage.",
    "Bound the backups by number, and drop duplicates.",
    "Do not delete side files with them: -wal, -shm and -journal are no copies.";

    Empty, "empty", [Notice],
    "the file is empty, which SQLite takes for a new database",
    "A database of 0 bytes has no table.",
    "Nothing, unless data was expected: then find out what cut or created it.",
    "Do not assume that it was always empty.";

    PendingFrames, "pending-frames", [Notice],
    "the -wal has commits that the database file has not: it is data",
    "Usual in WAL mode. The frames are carried over by the next checkpoint.",
    "Nothing while an application has it open. Else open it with the application, or run seawall doctor DB --fix.",
    "Never delete the -wal, and copy it with the database.";

    UnfinishedTransaction, "unfinished-transaction", [Notice],
    "the -wal ends in an unfinished transaction: going on, rolled back, or interrupted; no reader sees it",
    "Frames after the last commit. SQLite passes them over.",
    "Nothing.",
    "Do not cut the -wal.";

    LeftoverShm, "leftover-shm", [Notice],
    "the -shm is a leftover: SQLite builds it anew at the next open, whatever it says",
    "No visible process uses it.",
    "Nothing.",
    "Never delete it under an open connection.";

    JournalSeen, "journal", [Notice],
    "there is a journal, and locks cannot be seen: a transaction is going on, or was interrupted",
    "Whether the journal is hot depends on a lock that the doctor cannot see here.",
    "Run the doctor where the processes are that use the database.",
    "Never delete the journal.";

    Writing, "writing", [Notice],
    "a write transaction is open",
    "One process holds the lock of the writer.",
    "Nothing, unless it lasts.",
    "Do not copy the files one by one now: use the backup API.";

    Checkpointing, "checkpointing", [Notice],
    "a checkpoint is running",
    "One process carries the log into the database.",
    "Nothing, unless it lasts.",
    "Do not copy the files one by one now: use the backup API.";

    Exclusive, "exclusive", [Notice],
    "one process has the database to itself",
    "By locking_mode=EXCLUSIVE, or for the moment of a commit or a recovery. Others get BUSY.",
    "Nothing, unless it lasts.",
    "Do not delete a lock file or a side file to get past it.";

    WalResetDefect, "wal-reset-defect", [Notice],
    "a SQLite is used that can lose commits when a checkpoint meets a restart of the log",
    "A defect of SQLite 3.7.0 to 3.51.2, mended in 3.51.3, 3.50.7 and 3.44.6, in WAL mode with two or more \
     connections. The evidence says whether a process has such a library loaded, or one wrote the header last.",
    "Move to SQLite 3.51.3 or later (or 3.50.7, 3.44.6). Until then, checkpoint with TRUNCATE and from one connection.",
    "Do not run passive checkpoints from several connections.";

    Confined, "confined", [Notice],
    "not every process can be seen from here",
    "In a PID namespace (a container), or without the rights to look at other users' processes, a process that has \
     the database open may be unseen. The kernel was asked for locks, which it answers across namespaces, but a \
     process without a lock stays unknown.",
    "Run the doctor as root on the host before anything is moved, deleted or repaired.",
    "Do not take \"no process that can be seen\" for \"no process\".";

    ReadInPart, "read-in-part", [Notice],
    "a file is so long that only its beginning was read",
    "The doctor reads a bounded number of bytes of a log or a journal. What is behind that is not judged.",
    "Nothing; see long-log.",
    "Do not take the counted frames for all of them.";

    NothingFound, "nothing-found", [Ok],
    "nothing was found",
    "What the doctor looks at from outside gave no reason to act. It does not see the pages: only PRAGMA quick_check \
     on the application's own connection does.",
    "Nothing.",
    "Do not take it for a check of the content.";
}
