//! Databases at work, at rest and after a kill at every stage: nothing dangerous, and no log or journal is foreign.

use crate::world::{State, World, check};
use seawall::doctor::Severity::{Notice, Warning};

/// What none of them may be accused of.
const NONE: &[&str] =
    &["foreign-log", "foreign-journal", "lost-locks", "deleted-log", "second-log", "renamed-under-holder"];

const fn state(name: &'static str, must: &'static [&'static str], build: fn(&World)) -> State {
    State { name, build, must, must_not: NONE, worst: Notice }
}

const fn hot(name: &'static str, build: fn(&World)) -> State {
    State { name, build, must: &["hot-journal"], must_not: NONE, worst: Warning }
}

const WAL: &str =
    "c = connect(path, 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(9000))')\n";

/// A database in WAL mode, some of it checkpointed, and then a program that is killed.
fn killed(world: &World, program: &str) {
    world.killed(&format!("{WAL}c.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()\n{program}"));
}

pub(crate) const AT_WORK: &[State] = &[
    state("rollback, closed", &["nothing-found"], |w| {
        w.python_once("connect(path, 'CREATE TABLE t(x); INSERT INTO t VALUES(1)').close()")
    }),
    state("WAL, closed", &[], |w| w.python_once(&format!("{WAL}c.close()"))),
    state("WAL, a writer in a transaction and a reader", &["writing", "pending-frames"], |w| {
        w.holder(&format!("{WAL}r = connect(path, 'BEGIN; SELECT * FROM t')\nc.execute('BEGIN IMMEDIATE')\nc.execute('INSERT INTO t VALUES(1)')"));
    }),
    state("rollback, a transaction that has spilled", &["writing"], |w| {
        w.holder("c = connect(path, 'CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(200000)); PRAGMA cache_size=1; BEGIN; UPDATE t SET x=randomblob(200000)')");
    }),
    state("WAL, exclusive", &["exclusive"], |w| {
        w.holder("c = connect(path, 'PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)')");
    }),
    state("rollback, exclusive", &["exclusive"], |w| {
        w.holder("c = connect(path, 'PRAGMA locking_mode=EXCLUSIVE; CREATE TABLE t(x); INSERT INTO t VALUES(1)')");
    }),
    state("journal_mode=PERSIST, open", &[], |w| {
        w.holder("c = connect(path, 'PRAGMA journal_mode=PERSIST; CREATE TABLE t(x); INSERT INTO t VALUES(1); BEGIN; SELECT * FROM t')");
    }),
    state("journal_mode=TRUNCATE, open", &[], |w| {
        w.holder("c = connect(path, 'PRAGMA journal_mode=TRUNCATE; CREATE TABLE t(x); INSERT INTO t VALUES(1); BEGIN; SELECT * FROM t')");
    }),
    state("WAL, after VACUUM", &[], |w| {
        w.holder(&format!("{WAL}c.execute('DELETE FROM t'); c.execute('VACUUM')"));
    }),
    state("WAL, a partial checkpoint that a reader pins", &["pending-frames"], |w| {
        w.holder(&format!(
            "{WAL}r = connect(path, 'BEGIN; SELECT * FROM t')\nc.execute('INSERT INTO t VALUES(zeroblob(50000))')\nc.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchall()"
        ));
    }),
    state("two processes, one of them reads only", &[], |w| {
        w.holder(WAL);
        w.holder("c = sqlite3.connect('file:' + path + '?mode=ro', uri=True)\nc.execute('SELECT * FROM t').fetchall()");
    }),
    state("attach, a transaction over two databases", &["writing"], |w| {
        w.holder(&format!(
            "{WAL}c.execute('ATTACH ? AS b', (path + '2',)); c.execute('PRAGMA b.journal_mode=WAL'); c.execute('CREATE TABLE b.u(x)')\nc.execute('BEGIN IMMEDIATE'); c.execute('INSERT INTO t VALUES(1)'); c.execute('INSERT INTO u VALUES(1)')"
        ));
    }),
    state("a program reads all files, and is no connection", &[], |w| {
        w.holder(WAL);
        w.holder("a = open(path, 'rb'); b = open(path + '-wal', 'rb'); s = open(path + '-shm', 'rb')");
    }),
    state("a program that was started by the holder", &[], |w| {
        w.holder(&format!(
            "{WAL}p = subprocess.Popen(['cat'], stdin=subprocess.PIPE, close_fds=False); time.sleep(0.1)"
        ));
    }),
    state("attach, a transaction with a journal each", &["writing"], |w| {
        w.holder("c = connect(path, 'CREATE TABLE t(x); PRAGMA cache_size=1'); c.execute('ATTACH ? AS b', (path + '2',)); c.execute('CREATE TABLE b.u(x)'); c.execute('PRAGMA b.cache_size=1')\nc.execute('BEGIN IMMEDIATE'); c.execute('INSERT INTO t VALUES(zeroblob(90000))'); c.execute('INSERT INTO u VALUES(zeroblob(90000))')");
    }),
    state("a program writes a file that is named like a journal", &[], |w| {
        w.holder("c = connect(path, 'CREATE TABLE t(x)'); f = open(path + '.notes-journal.txt', 'w'); g = open(path + '2-journal', 'r' if False else 'w'); d = connect(path + '2', 'CREATE TABLE t(x)')");
    }),
    state("a checkpoint that is at work", &["checkpointing"], |w| {
        w.holder(&format!(
            "{WAL}import fcntl, struct\ns = os.open(path + '-shm', os.O_RDWR)\nfcntl.lockf(s, fcntl.LOCK_EX, 1, 121)"
        ));
    }),
    state("a backup that is half done", &[], |w| {
        w.holder(&format!("{WAL}c.execute('INSERT INTO t VALUES(zeroblob(400000))')\nb = connect(path + '.copy')\ndef stop(*a): raise KeyboardInterrupt\ntry: c.backup(b, pages=1, progress=stop)\nexcept KeyboardInterrupt: pass"));
    }),
    state("another database of the same process was deleted", &[], |w| {
        w.holder(&format!("{WAL}d = connect(path + '.other', 'PRAGMA journal_mode=WAL; CREATE TABLE t(x)')\nos.unlink(path + '.other'); os.unlink(path + '.other-wal')"));
    }),
    state("from WAL to DELETE and back", &[], |w| {
        w.holder(&format!("{WAL}c.execute('PRAGMA journal_mode=DELETE').fetchall(); c.execute('INSERT INTO t VALUES(1)'); c.execute('PRAGMA journal_mode=WAL').fetchall(); c.execute('INSERT INTO t VALUES(1)')"));
    }),
    state("one connection of two was closed", &[], |w| {
        w.holder(&format!("{WAL}d = connect(path); d.execute('SELECT * FROM t').fetchall(); d.close(); d = None"));
    }),
    state("a directory that was renamed", &[], |w| {
        w.shell("mkdir a");
        w.holder("c = connect(os.path.dirname(path) + '/a/x.db', 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)')");
        w.shell("mv a b; ln -s b/x.db x.db");
    }),
];

pub(crate) const AFTER_A_KILL: &[State] = &[
    state("after a commit", &["pending-frames"], |w| killed(w, "c.execute('INSERT INTO t VALUES(1)')")),
    state("after the first commit of all", &["pending-frames"], |w| w.killed(WAL)),
    state("in a transaction that has spilled", &["unfinished-transaction"], |w| {
        killed(
            w,
            "c.execute('PRAGMA cache_size=1'); c.execute('BEGIN'); c.execute('INSERT INTO t VALUES(zeroblob(200000))')",
        );
    }),
    state("after an automatic checkpoint", &["pending-frames"], |w| {
        killed(
            w,
            "c.execute('PRAGMA wal_autocheckpoint=20')\nfor i in range(50): c.execute('INSERT INTO t VALUES(zeroblob(9000))')",
        );
    }),
    state("after a passive checkpoint long after the commit", &["pending-frames"], |w| {
        killed(
            w,
            "c.execute('INSERT INTO t VALUES(zeroblob(90000))'); time.sleep(0.1); c.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchall()",
        );
    }),
    state("after the log began anew", &["pending-frames"], |w| {
        killed(
            w,
            "for i in range(9): c.execute('INSERT INTO t VALUES(zeroblob(9000))')\nc.execute('PRAGMA wal_checkpoint(RESTART)').fetchall(); c.execute('UPDATE t SET x=1 WHERE rowid=1')",
        );
    }),
    state("after pages were made and freed in one transaction", &["pending-frames"], |w| {
        killed(
            w,
            "c.execute('BEGIN'); c.execute('CREATE TABLE u(x)'); c.execute('INSERT INTO u VALUES(zeroblob(900000))'); c.execute('DROP TABLE u'); c.execute('COMMIT')",
        );
    }),
    state("after VACUUM", &["pending-frames"], |w| {
        killed(
            w,
            "c.execute('INSERT INTO t VALUES(zeroblob(900000))'); c.execute('DELETE FROM t'); c.execute('VACUUM')",
        );
    }),
    state("after an incremental vacuum", &["pending-frames"], |w| {
        w.killed("c = connect(path, 'PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(900000)); PRAGMA wal_checkpoint(TRUNCATE); DELETE FROM t; PRAGMA incremental_vacuum(50)')");
    }),
    state("after a full automatic vacuum and a checkpoint", &["pending-frames"], |w| {
        w.killed("c = connect(path, 'PRAGMA auto_vacuum=FULL; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(900000)); PRAGMA wal_checkpoint(TRUNCATE); DELETE FROM t; PRAGMA wal_checkpoint(PASSIVE); INSERT INTO t VALUES(zeroblob(9000))')");
    }),
    state("pages of 512 bytes", &["pending-frames"], |w| {
        w.killed("c = connect(path, 'PRAGMA page_size=512; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(90000)); DELETE FROM t')");
    }),
    state("pages of 65536 bytes", &["pending-frames"], |w| {
        w.killed("c = connect(path, 'PRAGMA page_size=65536; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(90000)); DELETE FROM t')");
    }),
    state("and copied with its times", &["pending-frames"], |w| {
        killed(w, "c.execute('INSERT INTO t VALUES(1)')");
        w.shell("mkdir a; sleep 0.05; cp -a x.db-wal x.db-shm a; sleep 0.05; cp -a x.db a; rm x.db*; cp -a a/x.db-wal .; sleep 0.05; cp -a a/x.db .");
    }),
    state("and all files got a new owner and mode", &["pending-frames"], |w| {
        killed(w, "c.execute('INSERT INTO t VALUES(1)')");
        w.shell("sleep 0.1; chmod 644 x.db-wal x.db-shm x.db");
    }),
    state("after many sessions at once", &["pending-frames"], |w| {
        killed(
            w,
            "d = [connect(path) for i in range(5)]\nfor i in range(30): d[i % 5].execute('CREATE TABLE u%d(x)' % i)\nc.execute('PRAGMA wal_checkpoint(RESTART)').fetchall()\nfor i in range(7): d[i % 5].execute('DROP TABLE u%d' % i)",
        );
    }),
    hot("rollback, in a transaction that has spilled", |w| {
        w.killed("c = connect(path, 'CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(200000)); PRAGMA cache_size=1; BEGIN; UPDATE t SET x=randomblob(200000)')");
    }),
    hot("rollback, in a transaction that makes the file longer", |w| {
        w.killed("c = connect(path, 'CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(20000)); PRAGMA cache_size=1; BEGIN; UPDATE t SET x=1; INSERT INTO t VALUES(zeroblob(900000))')");
    }),
    state("rollback, before anything was written", &["nothing-found"], |w| {
        w.killed("c = connect(path, 'CREATE TABLE t(x); INSERT INTO t VALUES(1); BEGIN; UPDATE t SET x=2')");
    }),
    hot("from WAL to DELETE, and killed in a transaction", |w| {
        w.killed(&format!("{WAL}c.execute('PRAGMA journal_mode=DELETE').fetchall(); c.execute('PRAGMA cache_size=1'); c.execute('BEGIN'); c.execute('INSERT INTO t VALUES(zeroblob(200000))'); c.execute('UPDATE t SET x=1')"));
    }),
];

#[test]
fn a_database_at_work_has_nothing_dangerous() {
    check(AT_WORK);
}

#[test]
fn what_a_kill_leaves_behind_is_not_foreign() {
    check(AFTER_A_KILL);
}
