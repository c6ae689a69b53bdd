//! File systems, room, rights, temporary files, namespaces.

use crate::world::{State, World, check, codes};
use seawall::doctor::Severity::{self, Notice, Warning};
use std::process::Command;

const fn state(name: &'static str, worst: Severity, must: &'static [&'static str], build: fn(&World)) -> State {
    State { name, build, must, must_not: &[], worst }
}

const WAL: &str =
    "c = connect(path, 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(9000))')\n";

/// Mounts over the world's folder; false where that is not allowed.
fn mount(world: &World, arguments: &str) -> bool {
    let folder = world.path.parent().unwrap().to_owned();
    world.mount(arguments, &folder)
}

pub(crate) const STATES: &[State] = &[
    state("a full file system", Warning, &["no-room"], |w| {
        if mount(w, "-t tmpfs -o size=400k none") {
            w.python_once(&format!("{WAL}c.close()"));
            w.shell("cat /dev/zero > filler 2>/dev/null || true");
        }
    }),
    state("no inode is left", Warning, &["no-room"], |w| {
        if mount(w, "-t tmpfs -o nr_inodes=4 none") {
            w.python_once("connect(path, 'CREATE TABLE t(x)').close()");
            w.shell("touch a b c 2>/dev/null || true");
        }
    }),
    state("a file system in memory", Notice, &["file-system"], |w| {
        if mount(w, "-t ramfs none") {
            w.python_once(&format!("{WAL}c.close()"));
        }
    }),
    state("a read-only file system with a log that waits", Warning, &["read-only-medium"], |w| {
        if mount(w, "-t tmpfs none") {
            w.killed(WAL);
            let folder = w.path.parent().unwrap().to_owned();
            w.shell(&format!("mount -o remount,ro '{}'", folder.display()));
        }
    }),
    state("side files of root beside a database of another user", Warning, &["rights"], |w| {
        if w.is_root() {
            w.killed(WAL);
            w.shell("chown 12345:12345 . x.db; chmod 600 x.db-wal x.db-shm; chmod 755 .");
        }
    }),
    state("a holder that may not write to the directory", Warning, &["rights"], |w| {
        if w.is_root() {
            w.python_once(&format!("{WAL}c.close()"));
            w.shell("chown 12345:12345 x.db; chmod 755 .");
            let mut python = w.python();
            python.run("os.setgroups([]); os.setgid(12345); os.setuid(12345)\nc = sqlite3.connect(path)");
            python.try_run("c.execute('SELECT * FROM t').fetchall()");
            w.keep(python);
        }
    }),
    state("a reader that was stopped pins a long log", Warning, &["long-log", "stopped-holder"], |w| {
        w.holder("c = connect(path, 'PRAGMA page_size=512; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)')");
        let reader = w.holder("r = connect(path, 'BEGIN; SELECT * FROM t')");
        w.holder("d = connect(path, 'PRAGMA wal_autocheckpoint=0; INSERT INTO t VALUES(zeroblob(6000000)); PRAGMA wal_checkpoint(PASSIVE)')");
        w.shell(&format!("kill -STOP {reader}; sleep 0.1"));
    }),
];

#[test]
fn what_lies_around_is_found() {
    check(STATES);
}

/// Beside the code, who is in the way of the log, up to where it reads, and whether it runs.
#[test]
fn who_pins_a_long_log_is_told() {
    for is_stopped in [true, false] {
        let Some(world) = World::new() else { return };
        world.holder("c = connect(path, 'PRAGMA page_size=512; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)')");
        let reader = world.holder("r = connect(path, 'BEGIN; SELECT * FROM t')");
        world.holder("d = connect(path, 'PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; INSERT INTO t VALUES(zeroblob(1500000))')");
        if is_stopped {
            world.shell(&format!("kill -STOP {reader}; sleep 0.1"));
        }
        let report = world.examine();
        let long = report.findings.iter().find(|finding| finding.code == "long-log").unwrap();
        let state = if is_stopped { "stopped (state T)" } else { "asleep (state S)" };
        let who = format!("process {reader} (python3) reads at frame ");
        assert!(long.evidence.contains(&who) && long.evidence.contains(state), "{long:#?}");
        assert!(long.next.starts_with("end what reads there") && long.next.contains(&who), "{long:#?}");
    }
}

/// What this process finds for another test that runs it in other surroundings.
#[test]
fn a_report_for_another_test() {
    if let Some(path) = std::env::var_os("SEAWALL_EXAMINE") {
        let report = seawall::doctor::examine(path.as_ref()).unwrap();
        println!("codes: {}", codes(&report).into_iter().collect::<Vec<_>>().join(" "));
        println!("held: {}", report.is_held());
    }
}

/// Examines by this program, run with words in front; `None` where that is not allowed.
fn examined(world: &World, words: &[&str]) -> Option<String> {
    let program = std::env::current_exe().unwrap();
    let done = Command::new(words[0])
        .args(&words[1..])
        .arg(program)
        .args(["--exact", "surroundings::a_report_for_another_test", "--nocapture", "--test-threads=1"])
        .env("SEAWALL_EXAMINE", &world.path)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    if !text.contains("codes: ") {
        eprintln!("SKIPPED {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        return None;
    }
    Some(text)
}

#[test]
fn in_a_namespace_of_processes_the_kernel_is_asked_for_locks() {
    let Some(world) = World::new() else { return };
    world.holder(&format!("{WAL}c.execute('BEGIN IMMEDIATE')"));
    let words = ["unshare", "--pid", "--fork", "--mount-proc", "--"];
    let Some(text) = examined(&world, &words) else { return };
    assert!(text.contains("confined") && text.contains("held: true"), "{text}");
    let Some(idle) = World::new_beside(world) else { return };
    idle.python_once(&format!("{WAL}c.close()"));
    let text = examined(&idle, &words).unwrap();
    assert!(text.contains("confined") && text.contains("held: false"), "{text}");
}

#[test]
fn without_a_directory_for_temporary_files_that_is_told() {
    let Some(world) = World::new() else { return };
    world.python_once(&format!("{WAL}c.close()"));
    world.shell("chmod 755 .");
    // In a namespace of mounts of its own, the usual directories are read-only, and this test's folder is not.
    let script = "mkdir /tmp/seawall-ro 2>/dev/null; for d in /var/tmp /usr/tmp; do [ -d $d ] && mount -t tmpfs -o ro none $d; done; \
                  mount --bind \"$0\" \"$0\" 2>/dev/null; mount -o remount,bind,ro /tmp 2>/dev/null || { mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp; }; \
                  cd /; unset TMPDIR SQLITE_TMPDIR; exec setpriv --reuid 12345 --clear-groups \"$@\"";
    let folder = world.path.parent().unwrap().to_str().unwrap().to_owned();
    let words = ["unshare", "--mount", "--", "sh", "-c", script, folder.as_str()];
    let Some(text) = examined(&world, &words) else { return };
    assert!(text.contains("temp-unwritable"), "{text}");
}

#[test]
fn without_proc_a_journal_is_told_and_not_judged() {
    let Some(world) = World::new() else { return };
    let open = "c = connect(path, 'CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(90000)); PRAGMA cache_size=1; BEGIN; UPDATE t SET x=randomblob(90000)')";
    world.killed(open);
    let words = ["unshare", "--mount", "--", "sh", "-c", "mount -t tmpfs none /proc && exec \"$0\" \"$@\""];
    let Some(text) = examined(&world, &words) else { return };
    let codes = text.split("codes: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let has = |code: &str| codes.split(' ').any(|found| found == code);
    assert!(has("journal") && has("confined") && !has("hot-journal") && !has("nothing-found"), "{text}");
}
