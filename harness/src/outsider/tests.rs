//! What each action does to files, on both media, and through the shim.

use super::*;
use crate::actor::Actor;
use crate::clock::Clock;
use crate::fault::FaultPlan;
use crate::media::sim::Machine;
use crate::rig::Rig;
use crate::seed::Seed;
use crate::shared_state::SharedState;
use crate::vfs::FaultVfs;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Names, relative to the database's folder, and contents.
type Content = BTreeMap<String, String>;

/// A database with side files, and an early backup of all of it, is met by an outsider on both media. What is left is
/// the same; in what is expected, `=` gives the content.
#[track_caller]
fn check(action: OutsideAction, dice: u64, expected: &[&str]) {
    let mut expected: Content = expected
        .iter()
        .map(|entry| entry.split_once('=').unwrap())
        .map(|(name, content)| (format!("x.db{name}"), content.to_owned()))
        .collect();
    for copy in ["x.db.copy", "x.db-wal.copy", "x.db.backup"] {
        expected.entry(copy.to_owned()).or_insert_with(|| "early".to_owned());
    }
    let dir = tempfile::tempdir().unwrap();
    let real = format!("{}/x.db", dir.path().display());
    let write = |_: &mut SystemFiles, name: &str, content: &str| fs::write(name, content).unwrap();
    meet(&real, &mut SystemFiles, write, action, dice);
    assert_eq!(real_files(dir.path()), expected, "{action:?} on real files");

    let mut machine = Machine::new(Clock::new(Arc::new(SharedState::private(2))), Seed(1));
    let write =
        |machine: &mut Machine, name: &str, content: &str| assert!(machine.write_file(name, content.as_bytes()));
    meet("/d/x.db", &mut machine, write, action, dice);
    let simulated = machine.list().into_iter().map(|(name, _)| {
        let content = String::from_utf8(machine.file(&name).unwrap()).unwrap();
        (name.trim_start_matches("/d/").to_owned(), content)
    });
    assert_eq!(simulated.collect::<Content>(), expected, "{action:?} in the simulator");
}

fn meet<F: Files>(database: &str, files: &mut F, write: impl Fn(&mut F, &str, &str), action: OutsideAction, dice: u64) {
    for content in ["early", "late"] {
        for suffix in ["", "-wal", "-shm"] {
            write(files, &format!("{database}{suffix}"), content);
        }
        if content == "early" {
            copy_early(database, files);
            assert!(files.copy(database, &format!("{database}{BACKUP}")));
        }
    }
    change_files(&Intervention { action, database: database.to_owned(), process: 1, dice }, files);
}

fn real_files(folder: &Path) -> Content {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().to_str().unwrap().to_owned();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

#[test]
fn each_action_leaves_the_files_that_it_says() {
    let all = ["=late", "-wal=late", "-shm=late"];
    let restored = ["=early", "-wal=late", "-shm=late"];
    check(OutsideAction::UnlinkSideFiles, 0, &["=late"]);
    check(OutsideAction::Move, 0, &[".moved-1=late", "-wal=late", "-shm=late"]);
    check(OutsideAction::Delete, 0, &["-wal=late", "-shm=late"]);
    check(OutsideAction::Replace, 0, &restored);
    check(OutsideAction::Overwrite, 0, &restored);
    check(OutsideAction::RestoreStaleLog, 0, &restored);
    check(OutsideAction::RestoreStaleLog, 1, &restored);
    check(OutsideAction::TornCopy, 0, &["=early", "-wal=late"]);
    check(OutsideAction::TornCopy, 1, &["=late", "-wal=early"]);
    check(OutsideAction::SecondName, 0, &["=late", "-wal=late", "-shm=late", ".second=late"]);
    for action in [OutsideAction::Touch, OutsideAction::Foreign, OutsideAction::Suspend, OutsideAction::Fork] {
        check(action, 0, &all);
    }
}

#[test]
fn a_replaced_database_is_another_file_and_an_overwritten_one_is_the_same() {
    let inode_after = |action| {
        let mut machine = Machine::new(Clock::new(Arc::new(SharedState::private(2))), Seed(1));
        let write = |machine: &mut Machine, name: &str, content: &str| {
            machine.write_file(name, content.as_bytes());
        };
        write(&mut machine, "/d/x.db", "early");
        let before = machine.inode("/d/x.db").unwrap().0;
        meet("/d/x.db", &mut machine, write, action, 0);
        (before, machine.inode("/d/x.db").unwrap().0)
    };
    let (before, after) = inode_after(OutsideAction::Replace);
    assert_ne!(before, after);
    let (before, after) = inode_after(OutsideAction::Overwrite);
    assert_eq!(before, after);
}

#[test]
fn what_an_outsider_made_is_told_from_other_files() {
    #[track_caller]
    fn check(name: &str, expected: bool) {
        assert_eq!(is_outsiders("/d/x.db", &format!("/d/{name}")), expected, "{name}");
    }
    for name in ["x.db.moved-1", "x.db.moved-1-wal", "x.db.backup", "x.db.copy", "x.db-wal.copy", "x.db.second-shm"] {
        check(name, true);
    }
    for name in ["x.db", "x.db-wal", "x.db.init.lock", "x.db.rescued-1", "y.db.backup"] {
        check(name, false);
    }
}

#[test]
fn an_outsider_comes_at_the_call_of_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let vfs = FaultVfs::builder().fault("write@wal:outside=move:when=2").unwrap().register().unwrap();
    let connection = vfs.open(&path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x)").unwrap();
    vfs.arm();
    connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!((vfs.fired(), path.exists(), dir.path().join("x.db.moved-1").exists()), (1, false, true));
}

#[test]
fn another_program_writes_in_the_simulator_and_needs_a_name_on_real_files() {
    let mut rig = Rig::builder().build().unwrap();
    let plan = FaultPlan::new(vec!["lock@db:outside=foreign:when=1".parse().unwrap()], Seed(1)).unwrap();
    let simulation = rig.begin(Seed(1), plan).unwrap();
    simulation.open("/x.db").unwrap().execute("PRAGMA journal_mode = WAL; CREATE TABLE t(x)").unwrap();
    simulation.arm();
    let task = {
        let simulation = simulation.clone();
        Box::new(move || simulation.open("/x.db").unwrap().execute("INSERT INTO t VALUES (1)").unwrap())
    };
    rig.run(Seed(1), vec![(Actor { process: 1, thread: 1 }, task)]);
    simulation.disarm();
    let count =
        |table: &str| simulation.open("/x.db").unwrap().query_int(&format!("SELECT count(*) FROM {table}")).unwrap();
    assert_eq!((count("t"), count("outsiders")), (Some(1), Some(1)));

    let refused = FaultVfs::builder().fault("lock@db:outside=foreign").unwrap().register().unwrap_err().to_string();
    assert!(refused.contains("lock@db:outside=foreign") && refused.contains("outside_program"), "{refused}");
}

#[test]
fn the_simulator_refuses_what_needs_real_processes() {
    let mut rig = Rig::builder().build().unwrap();
    let plan = || FaultPlan::new(vec!["write@wal:outside=fork".parse().unwrap()], Seed(1)).unwrap();
    let Err(refused) = rig.begin(Seed(1), plan()) else { panic!("it was not refused") };
    assert!(refused.to_string().contains("fork"), "{refused}");
    assert!(plan().check_real_medium().is_ok());
}

#[test]
fn a_process_that_is_stopped_goes_on_much_later_and_others_meanwhile() {
    let mut rig = Rig::builder().build().unwrap();
    let plan = FaultPlan::new(vec!["write@wal:outside=suspend:actor=p1.*:times=1".parse().unwrap()], Seed(1)).unwrap();
    let simulation = rig.begin(Seed(1), plan).unwrap();
    simulation.open("/x.db").unwrap().execute("PRAGMA journal_mode = WAL; CREATE TABLE t(x)").unwrap();
    simulation.arm();
    let actors = [1, 2].map(|process| {
        let simulation = simulation.clone();
        let sql = "PRAGMA busy_timeout = 1000; INSERT INTO t VALUES (1)";
        let insert = move || drop(simulation.open("/x.db").unwrap().execute(sql));
        (Actor { process, thread: 1 }, Box::new(insert) as crate::sched::Task)
    });
    rig.run(Seed(1), actors.into());
    assert!(simulation.clock().now() >= std::time::Duration::from_secs(40), "{:?}", simulation.clock().now());
    // The writer that was stopped holds the lock for longer than the other one waits.
    assert_eq!(simulation.open("/x.db").unwrap().query_int("SELECT count(*) FROM t").unwrap(), Some(1));
}

#[test]
fn rights_that_were_taken_away_bind_processes_until_they_are_given_back() {
    let mut rig = Rig::builder().build().unwrap();
    let simulation = rig.begin(Seed(1), FaultPlan::empty()).unwrap();
    let write = || simulation.open("/d/x.db").and_then(|db| db.execute("INSERT INTO t VALUES (1)"));
    simulation.open("/d/x.db").unwrap().execute("PRAGMA journal_mode = WAL; CREATE TABLE t(x)").unwrap();
    for what in [Revocation::ReadOnlyFile, Revocation::ClosedFile, Revocation::ReadOnlyDirectory] {
        assert!(write().is_ok(), "{what:?}");
        Files::revoke(&mut *simulation.machine().borrow_mut(), "/d/x.db", what);
        assert!(write().is_err(), "{what:?}");
        Files::restore_rights(&mut *simulation.machine().borrow_mut(), "/d/x.db");
    }
    assert!(write().is_ok());
}
