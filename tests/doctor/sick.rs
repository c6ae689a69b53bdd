//! States that destroy commits if nothing is done, or the wrong thing.

use crate::world::{State, World, check, codes};
use seawall::doctor::FileRole;
use seawall::doctor::Severity::{self, Danger, Notice, Warning};
use std::fs;

const fn state(name: &'static str, worst: Severity, must: &'static [&'static str], build: fn(&World)) -> State {
    State { name, build, must, must_not: &[], worst }
}

const WAL: &str =
    "c = connect(path, 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(9000))')\n";
/// A transaction that has written to the database and is not over.
const OPEN: &str = "c = connect(path, 'CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(zeroblob(200000)); PRAGMA cache_size=1; BEGIN; UPDATE t SET x=randomblob(200000); INSERT INTO t VALUES(randomblob(90000))')";

pub(crate) const HOLDERS: &[State] = &[
    state("the holder has opened and closed the file", Danger, &["lost-locks"], |w| {
        w.holder(&format!("{WAL}open(path, 'rb').close()"));
    }),
    state("the holder has copied the file", Danger, &["lost-locks"], |w| {
        w.holder(&format!("{WAL}shutil.copy(path, path + '.copy')"));
    }),
    state("two holders without locks", Danger, &["lost-locks"], |w| {
        w.holder(&format!("{WAL}open(path).close()"));
        w.holder("c = connect(path, 'SELECT * FROM t'); os.close(os.open(path, os.O_RDONLY))");
    }),
    state("an exclusive holder without a lock", Danger, &["lost-locks"], |w| {
        w.holder("c = connect(path, 'PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; CREATE TABLE t(x)'); open(path).close()");
    }),
    state("a child by fork", Danger, &["lost-locks"], |w| {
        w.holder(&format!(
            "{WAL}me = os.getpid()\nif os.fork() == 0:\n    while os.getppid() == me: time.sleep(0.02)\n    os._exit(0)"
        ));
    }),
    state("a transaction with a journal and without a lock", Danger, &["lost-locks"], |w| {
        w.holder(&format!("{OPEN}; open(path).close()"));
    }),
    state("a transaction that has written nothing yet, without a lock", Danger, &["lost-locks"], |w| {
        w.holder("c = connect(path, 'PRAGMA journal_mode=PERSIST; CREATE TABLE t(x); BEGIN IMMEDIATE; INSERT INTO t VALUES(1)'); open(path).close()");
    }),
    state("two logs were deleted, one after the other", Danger, &["deleted-log"], |w| {
        w.holder(WAL);
        w.shell("rm x.db-wal x.db-shm");
        w.holder("d = connect(path, 'CREATE TABLE IF NOT EXISTS u(x)')");
        w.shell("rm x.db-wal x.db-shm");
    }),
    state("the log was deleted", Danger, &["deleted-log"], |w| {
        w.holder(WAL);
        w.shell("rm x.db-wal");
    }),
    state(
        "log and wal-index were deleted under a holder that sleeps",
        Danger,
        &["deleted-log", "deleted-but-open"],
        |w| {
            w.holder(WAL);
            w.shell("rm x.db-wal x.db-shm");
        },
    ),
    state("and another process has written", Danger, &["deleted-log"], |w| {
        w.holder(WAL);
        w.shell("rm x.db-wal x.db-shm; sleep 0.1");
        w.python_once("c = connect(path, 'CREATE TABLE u(x); INSERT INTO u VALUES(1)'); c.close()");
    }),
    state("and another process has a new log", Danger, &["deleted-log"], |w| {
        w.holder(WAL);
        w.shell("rm x.db-wal x.db-shm");
        w.holder("d = connect(path, 'CREATE TABLE u(x)')");
    }),
    state("the wal-index was deleted", Danger, &["deleted-but-open"], |w| {
        w.holder(WAL);
        w.shell("rm x.db-shm");
    }),
    state("the database was deleted", Danger, &["deleted-but-open"], |w| {
        w.holder(WAL);
        w.shell("rm x.db");
    }),
    state("a backup was renamed over the database", Danger, &["deleted-but-open"], |w| {
        w.holder(WAL);
        w.shell("cp x.db y.db; mv y.db x.db");
    }),
    state("the log was renamed", Danger, &["renamed-under-holder"], |w| {
        w.holder(WAL);
        w.shell("mv x.db-wal x.db-wal.bak");
    }),
    state("the database was renamed, looked at by its new name", Danger, &["renamed-under-holder"], |w| {
        w.holder("c = connect(path + '.old', 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)')");
        w.shell("mv x.db.old x.db");
    }),
    state("the database was renamed, looked at by its old name", Danger, &["renamed-under-holder"], |w| {
        w.holder(WAL);
        w.shell("mv x.db y.db");
    }),
    state("the database was renamed, and there is a new one", Danger, &["renamed-under-holder"], |w| {
        w.holder(WAL);
        w.shell("cp x.db z.db; mv x.db y.db; mv z.db x.db");
    }),
    state(
        "renamed in the middle of a transaction, looked at by its new name",
        Danger,
        &["renamed-under-holder"],
        |w| {
            w.holder(&OPEN.replace("path,", "path + '.old',"));
            w.shell("mv x.db.old x.db");
        },
    ),
    state(
        "renamed in the middle of a transaction, looked at by its old name",
        Danger,
        &["renamed-under-holder"],
        |w| {
            w.holder(OPEN);
            w.shell("mv x.db y.db");
        },
    ),
    State {
        must_not: &["hot-journal", "foreign-journal"],
        ..state(
            "renamed in the middle of a transaction, and there is a new one",
            Danger,
            &["renamed-under-holder"],
            |w| {
                w.holder(OPEN);
                w.shell("mv x.db y.db");
                w.python_once("c = connect(path + '.new', 'CREATE TABLE t(x)'); c.close()");
                w.shell("mv x.db.new x.db");
            },
        )
    },
    state("renamed under an exclusive holder whose journal stays open", Danger, &["renamed-under-holder"], |w| {
        w.holder("c = connect(path + '.old', 'PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=PERSIST; CREATE TABLE t(x); INSERT INTO t VALUES(1)')");
        w.shell("mv x.db.old x.db");
    }),
    state("a hard link in the same directory, with a holder", Danger, &["second-log", "hard-links"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("ln x.db y.db");
        w.holder("c = connect(path[:-4] + 'y.db', 'INSERT INTO t VALUES(1)')");
    }),
    state("a hard link in another directory, with a holder", Danger, &["second-log", "hard-links"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("mkdir a; ln x.db a/x.db");
        w.holder("c = connect(path[:-4] + 'a/x.db', 'INSERT INTO t VALUES(1)')");
    }),
    state("a log that was left beside a hard link", Danger, &["second-log"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("ln x.db y.db");
        w.killed("c = connect(path[:-4] + 'y.db', 'INSERT INTO t VALUES(1)')");
    }),
    state("a mount of the file alone, with a holder", Danger, &["second-log"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("mkdir a; touch a/x.db");
        if w.mount("--bind x.db", &w.name("a/x.db")) {
            w.holder("c = connect(path[:-4] + 'a/x.db', 'INSERT INTO t VALUES(1)')");
        }
    }),
    state("the path is a mount of the file alone", Warning, &["second-log"], |w| {
        w.shell("mkdir a; touch x.db");
        w.python_once("connect(path[:-4] + 'a/x.db', 'CREATE TABLE t(x)').close()");
        w.mount("--bind a/x.db", &w.path);
    }),
    state("a stopped writer", Warning, &["stopped-holder", "writing"], |w| {
        let pid = w.holder(&format!("{WAL}c.execute('BEGIN IMMEDIATE')"));
        w.shell(&format!("kill -STOP {pid}; sleep 0.1"));
    }),
    state("the wal-index counts more than there is", Danger, &["wal-reset"], |w| {
        w.holder(WAL);
        w.shell(r"printf '\377\377\0\0' | dd of=x.db-shm bs=1 seek=96 conv=notrunc status=none");
    }),
    state("the log was overwritten under its holder", Danger, &["wal-index-disagrees"], |w| {
        w.killed(&format!("{WAL}c.execute('INSERT INTO t VALUES(zeroblob(9000))')"));
        w.shell("cp x.db-wal old; rm x.db*");
        w.holder(WAL);
        w.shell("cat old > x.db-wal");
    }),
];

pub(crate) const FILES: &[State] = &[
    state("restored by copying over it, the old log in place", Danger, &["foreign-log"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("cp x.db backup");
        w.killed("c = connect(path, 'INSERT INTO t VALUES(zeroblob(90000)); PRAGMA wal_checkpoint(RESTART); UPDATE t SET x=1 WHERE rowid=1')");
        w.shell("cp backup x.db");
    }),
    state("restored by renaming, the old log in place", Danger, &["foreign-log"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("cp x.db backup");
        w.killed("c = connect(path, 'INSERT INTO t VALUES(zeroblob(90000)); PRAGMA wal_checkpoint(RESTART); UPDATE t SET x=1 WHERE rowid=1')");
        w.shell("mv backup x.db");
    }),
    state("a newer database beside an old log", Danger, &["foreign-log"], |w| {
        w.killed(WAL);
        w.shell("cp x.db-wal old");
        w.python_once("for i in range(3): connect(path, 'INSERT INTO t VALUES(zeroblob(9000))').close()");
        w.shell("cp old x.db-wal");
    }),
    state("restored and longer, the old log has one page and not the first", Danger, &["foreign-log"], |w| {
        w.python_once(&format!("{WAL}c.execute('UPDATE t SET x=zeroblob(100)'); c.close()"));
        w.shell("cp x.db base");
        w.python_once("connect(path, 'INSERT INTO t VALUES(zeroblob(90000))').close()");
        w.shell("cp x.db longer; cp base x.db");
        w.killed("c = connect(path, 'UPDATE t SET x=zeroblob(101)')");
        w.shell("cp longer x.db");
    }),
    state("restored, of the same size and older", Warning, &["foreign-log"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("cp x.db backup");
        w.killed("c = connect(path, 'UPDATE t SET x=randomblob(9000)')");
        w.shell("sleep 0.05; cp backup x.db");
    }),
    state("restored with its times, of the same size and older", Warning, &["foreign-log"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("cp -p x.db backup");
        w.killed("c = connect(path, 'UPDATE t SET x=randomblob(9000)')");
        w.shell("sleep 0.05; cp -p backup x.db");
    }),
    state("restored, of the same size and several sessions older", Danger, &["foreign-log"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("cp -p x.db backup");
        w.python_once(
            "for i in range(4): connect(path, 'PRAGMA user_version=%d; UPDATE t SET x=randomblob(9000)' % i).close()",
        );
        w.killed("c = connect(path, 'PRAGMA user_version=9; UPDATE t SET x=randomblob(9000)')");
        w.shell("cp -p backup x.db");
    }),
    state("a log of pages of another size", Danger, &["foreign-log"], |w| {
        w.killed(&format!(
            "c = connect(path, 'PRAGMA page_size=8192')\n{}",
            WAL.replace("c = connect(path, '", "c = connect(path, 'PRAGMA page_size=8192; ")
        ));
        w.shell("cp x.db-wal old; rm x.db*");
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("cp old x.db-wal");
    }),
    state("a log beside a database that is not in WAL mode", Danger, &["foreign-log"], |w| {
        w.killed(WAL);
        w.shell("cp x.db-wal old; rm x.db*");
        w.python_once("connect(path, 'CREATE TABLE t(x)').close()");
        w.shell("cp old x.db-wal");
    }),
    state("restored and shorter, an old hot journal in place", Danger, &["foreign-journal"], |w| {
        w.python_once("connect(path, 'CREATE TABLE t(x)').close()");
        w.shell("cp x.db backup");
        w.killed(OPEN);
        w.shell("cp backup x.db");
    }),
    state("restored and longer, an old hot journal in place", Danger, &["foreign-journal"], |w| {
        w.killed(OPEN.replace("UPDATE", "CREATE TABLE v(x); UPDATE").as_str());
        w.shell("cp x.db-journal old");
        w.python_once(
            "c = connect(path)\nfor i in range(5): c.execute('INSERT INTO t VALUES(zeroblob(90000))')\nc.close()",
        );
        w.shell("cp old x.db-journal");
    }),
    state("the hot journal of another database of that size", Danger, &["foreign-journal"], |w| {
        w.killed(OPEN.replace("UPDATE", "CREATE TABLE v(x); UPDATE").as_str());
        w.shell("cp x.db-journal old; rm x.db*");
        w.python_once("c = connect(path, 'CREATE TABLE u(x); CREATE TABLE w(x); CREATE TABLE z(x); INSERT INTO u VALUES(zeroblob(500000))'); c.close()");
        w.shell("cp old x.db-journal");
    }),
    state("the hot journal of another database with as many transactions", Danger, &["foreign-journal"], |w| {
        let open = OPEN.replace("CREATE TABLE IF NOT EXISTS t(x); INSERT", "CREATE TABLE t(x); INSERT");
        w.killed(&open);
        w.shell("cp x.db-journal old; rm x.db*");
        w.python_once(
            "c = connect(path, 'CREATE TABLE u(x, y); INSERT INTO u VALUES(zeroblob(500000), 1)'); c.close()",
        );
        w.shell("cp old x.db-journal");
    }),
    state("the hot journal of a database with other pages, without the first", Danger, &["foreign-journal"], |w| {
        w.killed("c = connect(path, 'PRAGMA page_size=1024; CREATE TABLE t(x)'); c.execute('BEGIN')\nfor i in range(9000): c.execute('INSERT INTO t VALUES(?)', (i + 100000,))\nc.execute('COMMIT'); c.execute('PRAGMA cache_size=1'); c.execute('BEGIN'); c.execute('UPDATE t SET x=x+1')");
        w.shell("cp x.db-journal old; rm x.db*");
        w.python_once("c = connect(path, 'CREATE TABLE u(x); INSERT INTO u VALUES(zeroblob(900000))'); c.close()");
        w.shell("cp old x.db-journal");
    }),
    state("restored as a new file, and the hot journal fits", Warning, &["foreign-journal", "hot-journal"], |w| {
        w.killed(OPEN);
        w.shell("sleep 0.05; cp x.db copy; rm x.db; sleep 0.05; cp copy x.db");
    }),
    state("the log without its database", Danger, &["orphan-side-files"], |w| {
        w.killed(WAL);
        w.shell("rm x.db");
    }),
    state("the database was emptied beside its log", Danger, &["wal-beside-empty-database"], |w| {
        w.killed(WAL);
        w.shell(": > x.db");
    }),
    state("another kind of file", Danger, &["no-header"], |w| w.shell("head -c 8192 /usr/bin/env > x.db")),
    state("a compressed copy", Danger, &["no-header"], |w| {
        w.python_once(
            "import gzip; gzip.open(path, 'wb').write(os.urandom(40000)); os.truncate(path, 512 * (os.path.getsize(path) // 512))",
        );
    }),
    state("an encrypted database", Warning, &["no-header"], |w| w.shell("head -c 8192 /dev/urandom > x.db")),
    state("the first bytes were overwritten", Danger, &["no-header"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("printf 'not a database !' | dd of=x.db conv=notrunc status=none");
    }),
    state("an unfinished copy", Danger, &["short-file"], |w| {
        w.python_once("connect(path, 'CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(90000))').close()");
        w.shell("truncate -s 40960 x.db");
    }),
    state("a hard link as a backup", Warning, &["hard-links"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("mkdir a; ln x.db a/x.db");
    }),
    state("a hot journal in many parts", Warning, &["hot-journal"], |w| w.killed(OPEN)),
    state("a long log that was left behind", Warning, &["long-log"], |w| {
        w.killed("c = connect(path, 'PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(6000000))')");
    }),
    state("a long log beside a database that is not much shorter", Warning, &["long-log"], |w| {
        w.killed("c = connect(path, 'PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(2000000)); PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES(zeroblob(6000000))')");
    }),
    state("a log in the place of a database", Warning, &["no-header"], |w| {
        w.killed(WAL);
        w.shell("mv x.db-wal y.db-wal; rm x.db*; mv y.db-wal x.db-wal; ln -s x.db-wal x.db");
    }),
    state("a log with a damaged header", Warning, &["wal-without-header"], |w| {
        w.killed(WAL);
        w.shell("printf xxxx | dd of=x.db-wal bs=1 seek=16 conv=notrunc status=none");
    }),
    state("a format of the future", Warning, &["unknown-format"], |w| {
        w.python_once("connect(path, 'CREATE TABLE t(x)').close()");
        w.shell(r"printf '\003\003' | dd of=x.db bs=1 seek=18 conv=notrunc status=none");
    }),
    state("a directory in the place of the log", Warning, &["unreadable"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell("mkdir x.db-wal");
    }),
    state("many copies", Warning, &["copies"], |w| {
        w.python_once("connect(path, 'CREATE TABLE t(x)').close()");
        w.shell("for n in $(seq 30); do cp x.db x.db.corrupt.$n; done");
    }),
    state("an empty file", Notice, &["empty"], |w| w.shell("touch x.db")),
    state("a left wal-index", Notice, &["leftover-shm"], |w| w.killed(WAL)),
    state("written by a SQLite with a defect", Notice, &["wal-reset-defect"], |w| {
        w.python_once(&format!("{WAL}c.close()"));
        w.shell(r"printf '\000\056\200\111' | dd of=x.db bs=1 seek=96 conv=notrunc status=none");
    }),
    state("a log of 100 GB with little in it", Warning, &["read-in-part", "long-log"], |w| {
        w.killed(WAL);
        w.shell("truncate -s 100G x.db-wal");
    }),
];

#[test]
fn what_a_holder_is_in_danger_of_is_found() {
    check(HOLDERS);
}

#[test]
fn files_that_do_not_belong_together_are_found() {
    check(FILES);
}

/// Beside the code, the advice depends on whether another process has written.
#[test]
fn the_advice_for_a_deleted_log_depends_on_what_was_written_since() {
    for (is_written, others) in [(false, ""), (true, "connect(path, 'CREATE TABLE u(x)').close()")] {
        let Some(world) = World::new() else { return };
        world.holder(WAL);
        world.shell("rm x.db-wal x.db-shm; sleep 0.1");
        world.python_once(others);
        let report = world.examine();
        let [log] = &report.deleted_logs[..] else { panic!("{report:#?}") };
        assert_eq!(log.others_wrote, is_written, "{log:?}");
        assert!(log.commits == 2 && log.committed_frames > 3 && log.bytes > 4096, "{log:?}");
        let next = &report.findings.iter().find(|finding| finding.code == "deleted-log").unwrap().next;
        assert_eq!(next.contains("kill -KILL"), is_written, "{next}");
        assert!(next.contains("--save"), "{next}");
    }
}

/// A journal that a process still writes is not to be rolled back, and no two findings say the opposite.
#[test]
fn the_advice_does_not_contradict_itself() {
    let Some(world) = World::new() else { return };
    let pid = world.holder(&format!("{OPEN}; open(path).close()"));
    let report = world.examine();
    assert!(
        !codes(&report).contains("hot-journal") && report.next.contains(&format!("kill -KILL {pid}")),
        "{report:#?}"
    );
    let Some(world) = World::new_beside(world) else { return };
    world.holder(WAL);
    world.shell("rm x.db-wal x.db-shm");
    world.holder("d = connect(path, 'CREATE TABLE IF NOT EXISTS u(x)')");
    for again in ["true", "rm x.db-wal x.db-shm"] {
        world.shell(again);
        let report = world.examine();
        assert!(
            report.deleted_logs.iter().all(|log| log.others_wrote) && !report.deleted_logs.is_empty(),
            "{report:#?}"
        );
        assert!(report.findings.iter().all(|finding| !finding.next.contains("usual way")), "{report:#?}");
    }
}

/// Inputs that are no database, or too much of one.
#[test]
fn bad_input_is_bounded_and_told() {
    let Some(world) = World::new() else { return };
    world.shell("truncate -s 1T x.db");
    assert!(!world.examine().findings.is_empty());
    world.python_once("os.unlink(path); connect(path, 'PRAGMA journal_mode=WAL; CREATE TABLE t(x)').close()");
    world.shell("truncate -s 1T x.db; truncate -s 1T x.db-wal; truncate -s 1T x.db-shm; truncate -s 1T x.db-journal");
    assert!(!world.examine().findings.is_empty());
    world.shell("rm x.db*; mkfifo x.db");
    assert!(seawall::doctor::examine(&world.path).is_err());
    for path in ["/proc/self/mem", "/proc/self/maps", "/proc/self/status", "/proc/kcore", "/dev/zero", "/dev/full"] {
        if let Ok(report) = seawall::doctor::examine(path.as_ref()) {
            assert!(report.severity >= Severity::Warning, "{path}: {report:#?}");
        }
    }
    for role in [FileRole::Wal, FileRole::WalIndex, FileRole::Journal] {
        world.shell("rm -rf x.db*");
        world.python_once(&format!("{WAL}c.close()"));
        let status = std::process::Command::new("mkfifo").arg(world.file(role)).status().unwrap();
        assert!(status.success());
        assert!(!world.examine().findings.is_empty(), "{role}");
    }
    use std::os::unix::ffi::OsStrExt;
    let odd = world.name("x").with_file_name(std::ffi::OsStr::from_bytes(b"a\nb\xff\x1b[31m.db"));
    world.shell("rm -rf x.db*; touch x.db");
    fs::copy(&world.path, &odd).unwrap();
    fs::write(FileRole::Wal.path(&odd), b"x").unwrap();
    let report = seawall::doctor::examine(&odd).unwrap();
    let text: String =
        report.findings.iter().map(|finding| format!("{}{}{}", finding.text, finding.evidence, finding.next)).collect();
    assert!(!text.contains('\n') && !text.contains('\x1b'), "{text:?}");
}
