"""Builds one sick state of a database: states.py DIR NAME. The database is DIR/x.db."""
import os
import shutil
import signal
import sqlite3
import sys

DIR, NAME = sys.argv[1], sys.argv[2]
X = os.path.join(DIR, "x.db")


def connect(path=X):
    return sqlite3.connect(path, isolation_level=None)


def in_child(work):
    """Runs it in a child that is killed with all connections open."""
    pid = os.fork()
    if pid == 0:
        keep = work()
        assert keep is not None
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def wal(path=X, page_size=4096, rows=20):
    c = connect(path)
    c.execute(f"PRAGMA page_size = {page_size}")
    c.execute("PRAGMA journal_mode = WAL")
    c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    c.execute("CREATE INDEX i ON t (x)")
    for n in range(rows):
        c.execute("INSERT INTO t (x) VALUES (?)", (f"old {n} " * 40,))
    c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    c.execute("PRAGMA wal_autocheckpoint = 0")
    return c


def more(c, rows=30, word="new"):
    for n in range(rows):
        c.execute("INSERT INTO t (x) VALUES (?)", (f"{word} {n} " * 40,))
    return c


def left(path=X, **options):
    """A database and a log of a process that was killed."""
    in_child(lambda: more(wal(path, **options)))


def rollback(path=X, rows=200):
    c = connect(path)
    c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    c.execute("BEGIN")
    for n in range(rows):
        c.execute("INSERT INTO t (x) VALUES (?)", (f"old {n} " * 40,))
    c.execute("COMMIT")
    return c


def interrupted(path=X, rows=200):
    """A database and a hot journal of a process that was killed in a transaction."""
    def work():
        c = rollback(path, rows)
        c.execute("PRAGMA cache_size = 2")
        c.execute("BEGIN")
        c.execute("UPDATE t SET x = x || 'changed'")
        c.execute("DELETE FROM t WHERE id % 3 = 0")
        return c
    in_child(work)
    assert os.path.getsize(path + "-journal") > 512


def patch(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        f.write(data)


def backup(c, name="backup"):
    """What a careful backup is: one file, complete."""
    b = connect(os.path.join(DIR, name))
    c.backup(b)
    b.close()
    return os.path.join(DIR, name)


def restored(change, grow):
    """The database comes from a backup, the log of the state after it stays."""
    def work():
        c = wal()
        backup(c)
        change(c)
        if grow:
            c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return more(c, 3)
    in_child(work)
    os.replace(os.path.join(DIR, "backup"), X)


def torn():
    def work():
        c = more(wal())
        shutil.copy(X, os.path.join(DIR, "copy"))
        c.execute("PRAGMA wal_checkpoint(RESTART)")
        return more(c, 5, "later")
    in_child(work)
    os.replace(os.path.join(DIR, "copy"), X)


def partial():
    def work():
        c = more(wal())
        r = connect()
        r.execute("BEGIN")
        r.execute("SELECT count(*) FROM t").fetchall()
        more(c, 10, "later")
        c.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return c, r
    in_child(work)


def in_transaction():
    def work():
        c = more(wal())
        c.execute("PRAGMA cache_size = 2")
        c.execute("BEGIN")
        return more(c, 200, "never committed")
    in_child(work)


def special():
    def work():
        c = wal()
        c.execute("CREATE TABLE k (a PRIMARY KEY, b) WITHOUT ROWID")
        c.execute("CREATE VIRTUAL TABLE f USING fts5 (text)")
        for n in range(20):
            c.execute("INSERT INTO k VALUES (?, ?)", (n, "b" * 300))
            c.execute("INSERT INTO f VALUES (?)", (f"word{n} and",))
        return c
    in_child(work)


def vacuumed():
    def work():
        c = more(wal(), 300)
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        c.execute("DELETE FROM t WHERE id % 2 = 0")
        c.execute("VACUUM")
        return c
    in_child(work)


def checkpointed():
    def work():
        c = more(wal())
        c.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return c
    in_child(work)


def other_log(**options):
    other = os.path.join(DIR, "y.db")
    left(other, **options)
    wal().close()
    os.replace(other + "-wal", X + "-wal")
    for name in ("y.db", "y.db-shm"):
        os.remove(os.path.join(DIR, name))


def beside_rollback():
    left()
    os.rename(X + "-wal", X + "-kept")
    for name in (X, X + "-shm"):
        os.remove(name)
    rollback(rows=40).close()
    os.rename(X + "-kept", X + "-wal")


def old_journal():
    def work():
        c = rollback()
        backup(c)
        more(c, 50)
        c.execute("PRAGMA cache_size = 2")
        c.execute("BEGIN")
        c.execute("UPDATE t SET x = x || 'changed'")
        return c
    in_child(work)
    os.replace(os.path.join(DIR, "backup"), X)


def other_journal():
    other = os.path.join(DIR, "y.db")
    interrupted(other, 100)
    rollback(rows=300).close()
    os.replace(other + "-journal", X + "-journal")
    os.remove(other)


def both():
    interrupted()
    other = os.path.join(DIR, "y.db")
    left(other)
    os.replace(other + "-wal", X + "-wal")
    for name in ("y.db", "y.db-shm"):
        os.remove(os.path.join(DIR, name))


def without(suffix):
    os.remove(X + suffix)


def second_name():
    left()
    os.link(X, os.path.join(DIR, "second.db"))


def link():
    real = os.path.join(DIR, "real.db")
    left(real)
    os.symlink("real.db", X)


STATES = {
    "killed-writer": left,
    "killed-writer-without-shm": lambda: (left(), without("-shm")),
    "killed-after-checkpoint": checkpointed,
    "killed-in-partial-checkpoint": partial,
    "killed-in-transaction": in_transaction,
    "killed-with-fts-and-without-rowid": special,
    "killed-after-vacuum": vacuumed,
    "copied-at-two-moments": torn,
    "restored-same-size": lambda: restored(lambda c: c.execute("UPDATE t SET x = 'changed' WHERE id = 1"), False),
    "restored-smaller": lambda: restored(lambda c: more(c, 300), True),
    "restored-larger": lambda: restored(lambda c: (c.execute("DELETE FROM t"), c.execute("VACUUM")), True),
    "log-of-another-database": lambda: other_log(rows=60),
    "log-with-another-page-size": lambda: other_log(page_size=1024),
    "log-beside-rollback-mode": beside_rollback,
    "log-cut-in-a-frame": lambda: (left(), os.truncate(X + "-wal", os.path.getsize(X + "-wal") * 2 // 3)),
    "log-with-a-flipped-bit": lambda: (left(), patch(X + "-wal", os.path.getsize(X + "-wal") // 2, b"\xa5")),
    "log-with-a-bad-header": lambda: (left(), patch(X + "-wal", 24, b"\1\2\3\4")),
    "log-of-zeros": lambda: (left(), patch(X + "-wal", 0, bytes(os.path.getsize(X + "-wal")))),
    "log-beside-damage": lambda: (left(), patch(X, 4096, b"\xff" * 64)),
    "log-beside-a-short-file": lambda: (left(rows=200), os.truncate(X, os.path.getsize(X) // 2 // 4096 * 4096)),
    "log-beside-an-empty-file": lambda: (in_child(lambda: unsaved()), os.truncate(X, 0)),
    "log-without-database": lambda: (left(), os.remove(X)),
    "log-and-a-second-name": second_name,
    "log-behind-a-link": link,
    "hot-journal": interrupted,
    "hot-journal-cut": lambda: (interrupted(), os.truncate(X + "-journal", os.path.getsize(X + "-journal") // 2)),
    "restored-with-old-journal": old_journal,
    "journal-of-another-database": other_journal,
    "journal-without-database": lambda: (interrupted(), os.remove(X)),
    "journal-and-log": both,
}


def unsaved():
    """All pages are in the log."""
    c = connect()
    c.execute("PRAGMA journal_mode = WAL")
    c.execute("PRAGMA wal_autocheckpoint = 0")
    c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    return more(c)


STATES[NAME]()
