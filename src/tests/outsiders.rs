//! What others do to the files of several processes with a store each: moved, deleted, replaced, overwritten, unlinked,
//! restored. Every row that was acknowledged is in a file afterwards.

use super::processes::Player;
use super::*;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::time::Instant;

/// Does what it is told, line by line: the other process of these tests.
pub(super) fn obey(path: &Path) {
    let open =
        || Store::builder().busy_timeout(Duration::from_secs(1)).init(|conn| conn.execute_batch(SCHEMA)).open(path);
    let mut store = open().ok();
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (order, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: i64 = number.parse().unwrap();
        let answer = match (order, &store) {
            ("open", _) => open().map(|opened| store = Some(opened)),
            ("write", Some(store)) => store.write(|tx| insert(tx, number)),
            ("close", Some(store)) => store.close(Duration::from_secs(1)).map(drop),
            ("maintain", Some(store)) => {
                store.maintain();
                Ok(())
            }
            ("touch", _) => {
                fs::File::open(path).map(drop).unwrap();
                Ok(())
            }
            _ => panic!("it cannot {line}"),
        };
        println!("{}", answer.map_or_else(|error| format!("error: {error}").replace('\n', " "), |()| "ok".to_owned()));
    }
}

/// Orders a write, and notes it if it was acknowledged.
fn write(player: &mut Player, x: i64, acknowledged: &mut BTreeSet<i64>) -> String {
    let answer = player.ask(&format!("write {x}"));
    if answer == "ok" {
        acknowledged.insert(x);
    }
    answer
}

/// The rows in all files of the directory that are databases, each read with the log beside it.
fn rows_in_files(dir: &Path) -> BTreeSet<i64> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_database = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        path.is_file() && !["-wal", "-shm", "-journal", ".lock"].iter().any(|suffix| name.ends_with(suffix))
    };
    let mut found = BTreeSet::new();
    for path in paths.filter(is_database) {
        let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        let intact: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(intact, "ok", "{}", path.display());
        found.extend(rows(&conn).unwrap_or_default());
    }
    found
}

#[track_caller]
fn check_nothing_lost(world: &World, acknowledged: &BTreeSet<i64>) {
    let lost: Vec<_> = acknowledged.difference(&rows_in_files(world.dir.path())).copied().collect();
    assert_eq!(lost, [0; 0], "of {acknowledged:?}");
}

fn players(world: &World, count: usize) -> Vec<Player> {
    (0..count).map(|_| Player::start("obey", &world.path())).collect()
}

fn old(world: &World) -> PathBuf {
    world.dir.path().join("x.old")
}

#[test]
fn a_file_that_is_moved_under_two_processes_loses_no_row() {
    let (world, mut acknowledged) = (World::new(), BTreeSet::new());
    let [mut a, mut b] = <[Player; 2]>::try_from(players(&world, 2)).ok().unwrap();
    assert_eq!(write(&mut a, 1, &mut acknowledged), "ok");
    assert_eq!(write(&mut b, 2, &mut acknowledged), "ok");
    fs::rename(world.path(), old(&world)).unwrap();
    let told = write(&mut a, 3, &mut acknowledged);
    assert!(
        told.contains("has lost its name") && told.contains(&format!("it is {} now", old(&world).display())),
        "{told}"
    );
    assert_eq!(write(&mut a, 4, &mut acknowledged), "ok", "the old log is not beside the new file any more");
    let told = write(&mut b, 5, &mut acknowledged);
    assert!(told.contains("has lost its name"), "{told}");
    assert_eq!(write(&mut b, 6, &mut acknowledged), "ok");
    a.end();
    b.end();
    check_rows(&old(&world), &[1, 2, 3, 5]);
    world.check_rows(&[4, 6]);
    check_nothing_lost(&world, &acknowledged);
}

#[test]
fn one_of_three_processes_may_be_killed_at_any_point_of_a_move() {
    for (killed_after, is_deleted) in (0..7).flat_map(|n| [(n, false), (n, true)]) {
        let (world, mut acknowledged) = (World::new(), BTreeSet::new());
        let mut players: Vec<Option<Player>> = players(&world, 3).into_iter().map(Some).collect();
        let mut x = 0;
        for player in players.iter_mut().flatten() {
            x += 1;
            assert_eq!(write(player, x, &mut acknowledged), "ok");
        }
        match is_deleted {
            true => fs::remove_file(world.path()).unwrap(),
            false => fs::rename(world.path(), old(&world)).unwrap(),
        }
        for step in 0..12 {
            if step == killed_after {
                players[1].take().unwrap().kill();
            }
            if let Some(player) = &mut players[step % 3] {
                x += 1;
                write(player, x, &mut acknowledged);
            }
        }
        for player in players.iter_mut().flatten() {
            x += 1;
            assert_eq!(write(player, x, &mut acknowledged), "ok", "they all go on");
        }
        players.into_iter().flatten().for_each(|player| drop(player.end()));
        check_nothing_lost(&world, &acknowledged);
    }
}

#[test]
fn rows_of_side_files_that_are_deleted_survive_a_kill_and_another_opener() {
    for (is_killed, only_index) in [(false, false), (true, false), (false, true), (true, true)] {
        let (world, mut acknowledged) = (World::new(), BTreeSet::new());
        let mut a = Player::start("obey", &world.path());
        (1..4).for_each(|x| assert_eq!(write(&mut a, x, &mut acknowledged), "ok"));
        fs::remove_file(world.side_file("-shm")).unwrap();
        if !only_index {
            fs::remove_file(world.side_file("-wal")).unwrap();
        }
        // It is told who has to let go.
        let mut b = Player::start("obey", &world.path());
        let told = b.ask("open");
        assert!(told.contains(&format!("process {}", a.id())), "{told}");
        assert!(told.contains("still has files of it open that have lost their names"), "{told}");
        let told = write(&mut a, 4, &mut acknowledged);
        assert!(told.starts_with("error: ") && told.contains(if only_index { "(-shm)" } else { "(-wal)" }), "{told}");
        assert_eq!(b.ask("open"), "ok");
        assert_eq!(write(&mut b, 5, &mut acknowledged), "ok");
        assert_eq!(write(&mut a, 6, &mut acknowledged), "ok");
        if is_killed {
            a.kill();
        } else {
            a.end();
        }
        b.end();
        check_nothing_lost(&world, &acknowledged);
    }
}

#[test]
fn side_files_may_go_in_any_way() {
    type Take = fn(&World);
    let move_log: Take = |world| fs::rename(world.side_file("-wal"), world.dir.path().join("taken-wal")).unwrap();
    let replace_log: Take = |world| {
        fs::write(world.dir.path().join("empty-wal"), "").unwrap();
        fs::rename(world.dir.path().join("empty-wal"), world.side_file("-wal")).unwrap();
    };
    let move_index: Take = |world| fs::rename(world.side_file("-shm"), world.dir.path().join("taken-shm")).unwrap();
    let copy_index: Take = |world| {
        fs::copy(world.side_file("-shm"), world.dir.path().join("copy-shm")).unwrap();
        fs::rename(world.dir.path().join("copy-shm"), world.side_file("-shm")).unwrap();
    };
    let move_both: Take = |world| {
        fs::rename(world.side_file("-wal"), world.dir.path().join("taken-wal")).unwrap();
        fs::rename(world.side_file("-shm"), world.dir.path().join("taken-shm")).unwrap();
    };
    for take in [move_log, replace_log, move_index, copy_index, move_both] {
        for readers in [0, 1] {
            let world = World::new();
            let store = world.builder().readers(readers).open(world.path()).unwrap();
            (0..3).for_each(|x| store.write(|tx| insert(tx, x)).unwrap());
            store.read(rows).unwrap();
            take(&world);
            let error = store.write(|tx| insert(tx, 3)).unwrap_err();
            assert!(error.is_moved() && error.outcome_unknown(), "{error}");
            assert!(matches!(world.events().last(), Some(EventKind::LogLost { .. })));
            store.write(|tx| insert(tx, 4)).unwrap();
            assert!(store.read(rows).unwrap().contains(&4));
            drop(store);
            check_nothing_lost(&world, &BTreeSet::from([0, 1, 2, 3, 4]));
        }
    }
}

#[test]
fn a_database_without_a_log_is_rescued_too() {
    for is_deleted in [false, true] {
        let world = World::new();
        let store = world.builder().journal_mode(crate::JournalMode::Keep).open(world.path()).unwrap();
        store.write(|tx| insert(tx, 1)).unwrap();
        match is_deleted {
            true => fs::remove_file(world.path()).unwrap(),
            false => fs::rename(world.path(), old(&world)).unwrap(),
        }
        // SQLite itself refuses: the journal would not be found.
        let error = store.write(|tx| insert(tx, 2)).unwrap_err();
        assert!(error.is_moved(), "{error}");
        assert_eq!((error.rescued_to().is_some(), error.moved_to().is_some()), (is_deleted, !is_deleted), "{error}");
        store.write(|tx| insert(tx, 3)).unwrap();
        drop(store);
        check_nothing_lost(&world, &BTreeSet::from([1, 3]));
    }
}

#[test]
fn a_file_that_loses_its_name_while_it_is_opened_is_rescued() {
    for is_deleted in [false, true] {
        let (world, mut acknowledged) = (World::new(), BTreeSet::new());
        let mut player = Player::start("obey", &world.path());
        (1..4).for_each(|x| assert_eq!(write(&mut player, x, &mut acknowledged), "ok"));
        player.kill();
        let (backup, path) = (backup(&world), world.path());
        let builder = world.builder().on_connect(move |_| {
            match is_deleted {
                true => drop(fs::remove_file(&path)),
                false => drop(fs::rename(&backup, &path)),
            }
            Ok(())
        });
        let error = builder.open(world.path()).unwrap_err();
        assert!(error.is_moved(), "{error}");
        check_rows(error.rescued_to().unwrap_or_else(|| panic!("{error}")), &[1, 2, 3]);
        let moved = world.events().into_iter().filter(|event| event.to_string().contains("copied to"));
        assert_eq!(moved.count(), 1);
        assert!(world.side_file("-wal").exists(), "it may be in use with the new file");
    }
}

#[test]
fn an_idle_process_that_is_maintained_lets_lost_files_go() {
    let (world, mut acknowledged) = (World::new(), BTreeSet::new());
    let [mut a, mut b] = <[Player; 2]>::try_from(players(&world, 2)).ok().unwrap();
    assert_eq!(write(&mut a, 1, &mut acknowledged), "ok");
    assert_eq!(write(&mut b, 2, &mut acknowledged), "ok");
    ["-wal", "-shm"].iter().for_each(|suffix| fs::remove_file(world.side_file(suffix)).unwrap());
    assert!(write(&mut a, 3, &mut acknowledged).contains("copied to"), "the other process may be killed");
    let told = write(&mut a, 4, &mut acknowledged);
    assert!(told.contains(&format!("process {} still has files of it open", b.id())), "{told}");
    assert_eq!(b.ask("maintain"), "ok");
    assert_eq!(write(&mut a, 5, &mut acknowledged), "ok");
    assert!(write(&mut b, 6, &mut acknowledged).contains("(-wal)"), "it is told");
    assert_eq!(write(&mut b, 7, &mut acknowledged), "ok");
    a.end();
    b.end();
    check_nothing_lost(&world, &acknowledged);
}

#[test]
fn a_close_leaves_the_log_to_a_process_that_has_lost_its_locks() {
    let (world, mut acknowledged) = (World::new(), BTreeSet::new());
    let [mut a, mut b] = <[Player; 2]>::try_from(players(&world, 2)).ok().unwrap();
    assert_eq!(write(&mut a, 1, &mut acknowledged), "ok");
    assert_eq!(write(&mut b, 2, &mut acknowledged), "ok");
    assert_eq!(a.ask("touch"), "ok");
    assert_eq!(b.ask("close"), "ok");
    assert!(world.side_file("-wal").exists());
    assert_eq!(write(&mut a, 3, &mut acknowledged), "ok");
    assert_eq!(a.ask("close"), "ok");
    assert!(!world.side_file("-wal").exists(), "it is the last one");
    b.end();
    a.end();
    world.check_rows(&[1, 2, 3]);
}

#[test]
fn a_log_that_is_taken_from_every_opening_is_no_log_elsewhere() {
    let world = World::new();
    let openings = Arc::new(AtomicU32::new(0));
    let (counted, log, index) = (Arc::clone(&openings), world.side_file("-wal"), world.side_file("-shm"));
    let builder = world.builder().on_connect(move |_| {
        if counted.fetch_add(1, SeqCst) < 4 {
            [&log, &index].iter().for_each(|file| drop(fs::remove_file(file)));
        }
        Ok(())
    });
    let cache = builder.build();
    for _ in 0..4 {
        let error = cache.write(world.path(), |tx| insert(tx, 1)).unwrap_err();
        assert!(error.is_moved(), "{error}");
    }
    cache.write(world.path(), |tx| insert(tx, 2)).unwrap();
    assert_eq!(openings.load(SeqCst), 5);
    drop(cache);
    world.check_rows(&[2]);
}

#[test]
fn a_log_that_is_lost_in_the_middle_of_its_checkpoints_leaves_a_whole_database() {
    let world = World::new();
    let store = world.store();
    store.write(|tx| insert(tx, 1)).unwrap();
    let reader = Connection::open(world.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    assert_eq!(rows(&reader).unwrap(), [1]);
    let error = store
        .with_connection(|conn| {
            insert(conn, 2)?;
            let query = "PRAGMA wal_checkpoint";
            let (all, done) = conn.query_row(query, [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
            assert!(0 < done && done < all, "{done} of {all}");
            drop(reader);
            ["-wal", "-shm"].iter().for_each(|suffix| fs::remove_file(world.side_file(suffix)).unwrap());
            Ok(())
        })
        .unwrap_err();
    let to = error.rescued_to().unwrap_or_else(|| panic!("{error}"));
    check_rows(to, &[1, 2]);
    assert_eq!(store.read(rows).unwrap(), [1, 2]);
    drop(store);
    world.check_rows(&[1, 2]);
    check_nothing_lost(&world, &BTreeSet::from([1, 2]));
}

#[test]
fn a_log_that_a_foreign_close_has_removed_is_not_checkpointed_over_other_rows() {
    for order in ["close", "write 9000"] {
        let (world, mut acknowledged) = (World::new(), BTreeSet::new());
        let mut a = Player::start("obey", &world.path());
        (1..4).for_each(|x| assert_eq!(write(&mut a, x, &mut acknowledged), "ok"));
        assert_eq!(a.ask("touch"), "ok");
        let other = || Connection::open(world.path()).unwrap();
        // What SQLite up to 3.50 does when it closes the last connection, as far as locks tell.
        let conn = other();
        conn.query_row("PRAGMA wal_checkpoint", [], |_| Ok(())).unwrap();
        for suffix in ["-shm", "-wal"] {
            fs::remove_file(world.side_file(suffix)).unwrap();
        }
        conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        drop(conn);
        let conn = other();
        for x in 1000..1300 {
            insert(&conn, x).unwrap();
            acknowledged.insert(x);
        }
        drop(conn);
        let told = a.ask(order);
        assert!(told.contains("the log (-wal) that was open has lost its name"), "{told}");
        a.end();
        check_nothing_lost(&world, &acknowledged);
        let found = rows(&other()).unwrap();
        assert!((1000..1300).all(|x| found.contains(&x)), "{found:?}");
    }
}

/// A backup beside the database, with one row.
fn backup(world: &World) -> PathBuf {
    let path = world.dir.path().join("backup.db");
    Connection::open(&path).unwrap().execute_batch(&format!("{SCHEMA}; INSERT INTO t VALUES (100)")).unwrap();
    path
}

#[test]
fn a_restored_file_does_not_get_the_log_of_a_process_that_was_killed() {
    let (world, mut acknowledged) = (World::new(), BTreeSet::new());
    let mut a = Player::start("obey", &world.path());
    (1..4).for_each(|x| assert_eq!(write(&mut a, x, &mut acknowledged), "ok"));
    a.kill();
    fs::rename(backup(&world), world.path()).unwrap();
    let error = world.builder().open(world.path()).unwrap_err();
    assert!(error.to_string().contains("x.db-wal has"), "{error}");
    assert!(error.to_string().contains("belongs to another file than the one that is there now"), "{error}");
    assert!(!error.is_transient());
    fs::rename(world.side_file("-wal"), world.dir.path().join("kept")).unwrap();
    assert_eq!(world.store().read(rows).unwrap(), [100]);
}

#[test]
fn a_restored_file_does_not_get_the_log_of_a_rescue_that_is_pending() {
    let world = World::new();
    let store = world.store();
    store.write(|tx| insert(tx, 1)).unwrap();
    let reader = Connection::open(world.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    store.write(|tx| insert(tx, 2)).unwrap();
    world.os.is_rename_refused.store(true, SeqCst);
    fs::rename(world.path(), old(&world)).unwrap();
    assert!(store.write(|tx| insert(tx, 3)).unwrap_err().is_moved());
    drop(store);
    fs::rename(backup(&world), world.path()).unwrap();
    let error = world.builder().open(world.path()).unwrap_err();
    assert!(error.to_string().contains("still has files of it open that have lost their names"), "{error}");
    assert!(error.is_busy() && error.is_transient());
}

#[test]
fn what_belongs_together_is_opened_however_it_came_there() {
    type Bring = fn(&World, &Path);
    let move_all: Bring = |world, to| {
        for suffix in ["", "-wal"] {
            fs::rename(world.side_file(suffix), beside(to, suffix)).unwrap();
        }
    };
    let copy_all: Bring = |world, to| {
        for suffix in ["", "-wal", ".init.lock"] {
            fs::copy(world.side_file(suffix), beside(to, suffix)).unwrap();
        }
    };
    // Each brings rows 1 to 3 of a process that was killed to another path.
    for bring in [move_all, copy_all] {
        let world = killed_with_rows(3);
        let to = world.dir.path().join("to.db");
        bring(&world, &to);
        assert_eq!(world.builder().open(&to).unwrap().read(rows).unwrap(), [1, 2, 3]);
    }
    // A snapshot of both files comes back over later ones, in place or by renaming, the log last.
    for is_renamed in [false, true] {
        let world = killed_with_rows(3);
        let to = world.dir.path().join("snapshot");
        copy_all(&world, &to);
        let mut player = Player::start("obey", &world.path());
        (4..9).for_each(|x| assert_eq!(player.ask(&format!("write {x}")), "ok"));
        player.kill();
        match is_renamed {
            true => fs::rename(&to, world.path()).unwrap(),
            false => drop(fs::copy(&to, world.path()).unwrap()),
        }
        std::thread::sleep(Duration::from_millis(20));
        fs::copy(beside(&to, "-wal"), world.side_file("-wal")).unwrap();
        assert_eq!(world.store().read(rows).unwrap(), [1, 2, 3]);
    }
    // Killed, vacuumed by another program, and opened.
    let world = killed_with_rows(3);
    Connection::open(world.path()).unwrap().execute_batch("VACUUM").unwrap();
    assert_eq!(world.store().read(rows).unwrap(), [1, 2, 3]);
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    crate::os::beside(path, suffix)
}

fn killed_with_rows(count: i64) -> World {
    let world = World::new();
    let mut player = Player::start("obey", &world.path());
    (1..=count).for_each(|x| assert_eq!(player.ask(&format!("write {x}")), "ok"));
    player.kill();
    world
}

#[test]
fn a_file_that_comes_back_gets_its_log_back() {
    let world = World::new();
    let [mut a, mut b] = <[Player; 2]>::try_from(players(&world, 2)).ok().unwrap();
    assert_eq!((a.ask("write 1"), b.ask("write 2")), ("ok".to_owned(), "ok".to_owned()));
    fs::rename(world.path(), old(&world)).unwrap();
    assert!(a.ask("write 3").contains("has lost its name"));
    // Its log is beside the new name now, and only the database is moved back.
    fs::rename(old(&world), world.path()).unwrap();
    b.kill();
    assert_eq!(a.ask("write 4"), "ok");
    a.end();
    world.check_rows(&[1, 2, 3, 4]);
}

#[test]
fn a_file_with_two_names_is_written_under_neither_by_two_processes() {
    let (world, mut acknowledged) = (World::new(), BTreeSet::new());
    let second = world.dir.path().join("second.db");
    let mut a = Player::start("obey", &world.path());
    assert_eq!(write(&mut a, 1, &mut acknowledged), "ok");
    fs::hard_link(world.path(), &second).unwrap();
    let mut b = Player::start("obey", &second);
    assert!(b.ask("open").contains("the file has 2 names"));
    for x in 2..5 {
        let told = write(&mut a, x, &mut acknowledged);
        assert!(told.contains("the file has 2 names, and another name may be in use as well"), "{told}");
    }
    fs::remove_file(&second).unwrap();
    assert_eq!(write(&mut a, 5, &mut acknowledged), "ok");
    a.end();
    b.end();
    check_nothing_lost(&world, &acknowledged);
}

#[test]
fn a_file_that_is_overwritten_in_place_keeps_the_content_that_it_was_given() {
    for is_longer in [false, true] {
        let world = World::new();
        let backup = backup(&world);
        if is_longer {
            let conn = Connection::open(&backup).unwrap();
            conn.execute_batch("CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(500000))").unwrap();
        }
        let store = world.store();
        for x in 0..306 {
            store.write(|tx| insert(tx, x)).unwrap();
        }
        fs::copy(&backup, world.path()).unwrap();
        world.events();
        let error = store.write(|tx| insert(tx, 1000)).unwrap_err();
        assert!(error.is_moved() && error.to_string().contains("was overwritten in place"), "{error}");
        let events = world.events();
        let [EventKind::Overwritten { log_kept }] = &events[..] else { panic!("{events:?}") };
        assert!(log_kept.exists());
        assert_eq!(store.read(rows).unwrap(), [100]);
        drop(store);
        world.check_rows(&[100]);
    }
}

#[test]
fn a_file_may_be_overwritten_in_place_again_and_again() {
    let world = World::new();
    let backup = backup(&world);
    let store = world.store();
    let mut kept = BTreeSet::new();
    for x in 0..3 {
        store.write(|tx| insert(tx, x)).unwrap();
        fs::copy(&backup, world.path()).unwrap();
        world.events();
        assert!(store.write(|tx| insert(tx, 1000)).unwrap_err().is_moved());
        let events = world.events();
        let [EventKind::Overwritten { log_kept }] = &events[..] else { panic!("{events:?}") };
        assert!(log_kept.exists() && kept.insert(log_kept.clone()), "{log_kept:?}");
        assert_eq!(store.read(rows).unwrap(), [100]);
    }
}

#[test]
fn checkpoints_and_touches_are_no_overwriting() {
    let world = World::new();
    let [store, other] = [(); 2].map(|()| world.store());
    for x in 0..3000 {
        store.write(|tx| insert(tx, 2 * x)).unwrap();
        if x % 500 == 0 {
            other.write(|tx| insert(tx, 2 * x + 1)).unwrap();
            other.checkpoint(crate::CheckpointMode::Truncate).unwrap();
            let file = fs::File::options().append(true).open(world.dir.path().join("x.db.init.lock")).unwrap();
            drop(file);
            rustix_touch(&world.path());
        }
    }
    other.with_connection(|conn| conn.execute_batch("DELETE FROM t WHERE x > 100; VACUUM")).unwrap();
    other.checkpoint(crate::CheckpointMode::Truncate).unwrap();
    store.write(|tx| insert(tx, -1)).unwrap();
    assert_eq!((store.health().calls.moved, other.health().calls.moved), (0, 0));
}

/// Sets the time of a file without opening it.
fn rustix_touch(path: &Path) {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
}

#[test]
fn a_status_that_cannot_be_had_is_no_move() {
    struct Blind(FakeOs, AtomicBool);
    impl Os for Blind {
        fn base(&self) -> Option<&dyn Os> {
            Some(&self.0)
        }
        fn status(&self, path: &Path) -> std::io::Result<Option<crate::os::FileStatus>> {
            match self.1.load(SeqCst) {
                true => Err(std::io::ErrorKind::PermissionDenied.into()),
                false => self.0.status(path),
            }
        }
    }
    let world = World::new();
    let os = Arc::new(Blind(FakeOs::default(), AtomicBool::new(false)));
    let store = world.builder().os(Arc::clone(&os) as Arc<dyn Os>).open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    os.1.store(true, SeqCst);
    store.write(|tx| insert(tx, 2)).unwrap();
    assert_eq!(store.health().calls.moved, 0);
    os.1.store(false, SeqCst);
    drop(store);
    world.check_rows(&[1, 2]);
}

// ------------------------------------------------------------------------------------------------
// Under load

/// Set to anything, the load test takes its full time.
const FULL_LOAD: &str = "SEAWALL_FULL_LOAD";

/// Writes until its input ends, and prints each row that is acknowledged.
pub(super) fn write_under_load(path: &Path) {
    let (is_over, first) = (Arc::new(AtomicBool::new(false)), i64::from(std::process::id()) << 32);
    println!("ready");
    let flag = Arc::clone(&is_over);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        flag.store(true, SeqCst);
    });
    let mut store = None;
    let mut out = std::io::stdout().lock();
    for x in first.. {
        if is_over.load(SeqCst) {
            break;
        }
        let opened = match &store {
            Some(store) => Ok(store),
            None => {
                Store::builder().init(|conn| conn.execute_batch(SCHEMA)).open(path).map(|opened| &*store.insert(opened))
            }
        };
        match opened.and_then(|store| store.write(|tx| insert(tx, x))) {
            Ok(()) => writeln!(out, "acknowledged {x}").unwrap(),
            Err(error) => writeln!(out, "error {x} {error}").unwrap(),
        }
    }
}

type Event = fn(&World, u32);

fn load(event: Event, rounds: u32, events: u32, pause: Duration) -> (usize, usize) {
    let (mut acknowledged, mut lost) = (0, 0);
    for _ in 0..rounds {
        let world = World::new();
        let players: Vec<Player> = (0..2).map(|_| Player::start("write under load", &world.path())).collect();
        let begun = Instant::now();
        for nth in 0..events {
            std::thread::sleep((pause * (nth + 1)).saturating_sub(begun.elapsed()));
            event(&world, nth);
        }
        std::thread::sleep(pause);
        let (mut rows, mut texts) = (BTreeSet::new(), Vec::new());
        for player in players {
            let text = player.end();
            texts.push(text.clone());
            let told = text.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<i64>().ok());
            rows.extend(told);
        }
        assert!(!rows.is_empty(), "they never wrote: {}", texts.concat().chars().take(999).collect::<String>());
        let missing = rows.difference(&rows_in_files(world.dir.path())).count();
        if missing > 0 {
            println!("lost {:?}", rows.difference(&rows_in_files(world.dir.path())).collect::<Vec<_>>());
            println!("{missing} of {} rows are in no file: {:?}", rows.len(), world.dir.keep());
            texts.iter().flat_map(|text| text.lines()).for_each(|line| println!("{line}"));
        }
        (acknowledged, lost) = (acknowledged + rows.len(), lost + missing);
    }
    (acknowledged, lost)
}

#[test]
fn under_load_no_row_is_in_no_file() {
    let (rounds, pause) = match std::env::var_os(FULL_LOAD) {
        Some(_) => (10, Duration::from_millis(500)),
        None => (1, Duration::from_millis(60)),
    };
    let move_away: Event = |world, nth| drop(fs::rename(world.path(), world.dir.path().join(format!("old-{nth}"))));
    let delete: Event = |world, _| drop(fs::remove_file(world.path()));
    let replace: Event = |world, _| drop(fs::rename(backup(world), world.path()));
    let unlink: Event = |world, _| {
        let _ = fs::remove_file(world.side_file("-wal"));
        let _ = fs::remove_file(world.side_file("-shm"));
    };
    for (name, event) in [("move", move_away), ("delete", delete), ("replace", replace), ("unlink", unlink)] {
        let (acknowledged, lost) = load(event, rounds, 8, pause);
        println!("{name}: {acknowledged} acknowledged, {lost} in no file");
        assert_eq!(lost, 0, "{name}");
    }
}
