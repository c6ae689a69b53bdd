//! What the layer creates beside a database belongs to the owner of the database, and is as secret.

use super::processes::play_as_unprivileged;
use super::*;
use crate::{OnCorruption, QuarantinePolicy};
use rustix::process::geteuid;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};

const SERVICE: u32 = 4711;
const GROUP: u32 = 4712;

/// Owner, group and mode of a file, the last as it is written.
fn rights(path: &Path) -> (u32, u32, String) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid(), format!("{:o}", metadata.mode() & 0o7777))
}

/// Gives the database and its directory to the service. Only root can; others are told that nothing was tested.
fn give_to_service(world: &World, mode: u32) -> bool {
    if !geteuid().is_root() {
        println!("not tested: only root can give files to another user");
        return false;
    }
    for path in [world.dir.path(), &world.path()] {
        chown(path, Some(SERVICE), Some(GROUP)).unwrap();
    }
    fs::set_permissions(world.path(), Permissions::from_mode(mode)).unwrap();
    true
}

/// A database of the service with one row, closed, and no file beside it.
fn database_of_service(mode: u32) -> Option<World> {
    let world = World::new();
    let store = world.store();
    store.write(|tx| insert(tx, 1)).unwrap();
    drop(store);
    fs::remove_file(world.side_file(".init.lock")).unwrap();
    give_to_service(&world, mode).then_some(world)
}

#[track_caller]
fn check_all(directory: &Path, owner: (u32, u32), file_mode: &str, directory_mode: &str) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let mode = if path.is_dir() { directory_mode } else { file_mode };
        assert_eq!(rights(&path), (owner.0, owner.1, mode.to_owned()), "{}", path.display());
        if path.is_dir() {
            seen.extend(check_all(&path, owner, file_mode, directory_mode));
        }
        seen.push(path);
    }
    seen.sort();
    seen
}

#[test]
fn the_files_that_root_creates_belong_to_the_service() {
    for (mode, text, directory) in [(0o600, "600", "700"), (0o640, "640", "750"), (0o664, "664", "775")] {
        let Some(world) = database_of_service(mode) else { return };
        let store = world.builder().readers(1).open(world.path()).unwrap();
        store.write(|tx| insert(tx, 2)).unwrap();
        store.read(rows).unwrap();
        let seen = check_all(world.dir.path(), (SERVICE, GROUP), text, directory);
        assert_eq!(seen.len(), 4, "database, log, wal-index and lock file: {seen:?}");
    }
}

#[test]
fn a_lock_file_with_the_wrong_rights_is_mended_by_root() {
    let Some(world) = database_of_service(0o660) else { return };
    let lock = world.side_file(".init.lock");
    fs::write(&lock, "").unwrap();
    fs::set_permissions(&lock, Permissions::from_mode(0o600)).unwrap();
    drop(world.store());
    assert_eq!(rights(&lock), (SERVICE, GROUP, "660".to_owned()));
}

#[test]
fn a_lock_file_made_before_there_is_a_database_follows_the_directory() {
    let world = World::new();
    if !geteuid().is_root() {
        return println!("not tested: only root can give files to another user");
    }
    chown(world.dir.path(), Some(SERVICE), Some(GROUP)).unwrap();
    fs::set_permissions(world.dir.path(), Permissions::from_mode(0o770)).unwrap();
    let held = world.os.try_lock_file(&world.side_file(".init.lock"), &world.path()).unwrap();
    assert!(held.is_some());
    assert_eq!(rights(&world.side_file(".init.lock")), (SERVICE, GROUP, "660".to_owned()));
}

#[test]
fn a_planted_lock_file_is_refused_and_its_target_stays_as_it_is() {
    let world = World::new();
    drop(world.store());
    let (lock, target) = (world.side_file(".init.lock"), world.dir.path().join("of-another"));
    fs::write(&target, "secret").unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o600)).unwrap();
    let before = rights(&target);
    let plants: [(&str, &dyn Fn()); 5] = [
        ("a symbolic link", &|| symlink(&target, &lock).unwrap()),
        ("a symbolic link", &|| symlink(world.dir.path().join("missing"), &lock).unwrap()),
        ("more than one name", &|| fs::hard_link(&target, &lock).unwrap()),
        ("no regular file", &|| fs::create_dir(&lock).unwrap()),
        ("no regular file", &|| drop(std::os::unix::net::UnixListener::bind(&lock).unwrap())),
    ];
    for (what, plant) in plants {
        if fs::remove_file(&lock).is_err() {
            fs::remove_dir(&lock).unwrap();
        }
        plant();
        let error = world.builder().open(world.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("x.db.init.lock: it {}", verb(what))), "{error}");
        assert_eq!((error.class(), error.operation()), (crate::Class::GiveUp, crate::Operation::FirstConnect));
        assert_eq!(rights(&target), before);
        assert!(!world.dir.path().join("missing").exists());
    }
    assert!(fs::symlink_metadata(&lock).unwrap().file_type().is_socket());
}

fn verb(what: &str) -> String {
    if what.starts_with("more") { format!("has {what}") } else { format!("is {what}") }
}

/// As a user whose lock file belongs to root.
pub(super) fn open_beside_the_lock_file_of_root(path: &Path) {
    let error = Store::open(path).unwrap_err();
    let text = "x.db.init.lock: Permission denied (os error 13) (it belongs to user 0 and group 0, and its mode is \
        0600); give it the owner, the group and the mode of the database (chown --reference, chmod --reference)";
    assert!(error.to_string().ends_with(text), "{error}");
    // A lock needs no right to write.
    let lock = PathBuf::from(format!("{}.init.lock", path.display()));
    std::env::set_current_dir(path.parent().unwrap()).unwrap();
    fs::rename(&lock, "kept").unwrap();
    fs::rename("readable", &lock).unwrap();
    Store::open(path).unwrap().write(|tx| insert(tx, 2)).unwrap();
}

#[test]
fn the_lock_file_of_another_user_is_an_error_that_says_what_to_do() {
    const UNPRIVILEGED: u32 = 65534;
    let Some(world) = database_of_service(0o600) else { return };
    chown(world.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
    for (name, mode) in [("x.db.init.lock", 0o600), ("readable", 0o644)] {
        fs::write(world.dir.path().join(name), "").unwrap();
        fs::set_permissions(world.dir.path().join(name), Permissions::from_mode(mode)).unwrap();
    }
    play_as_unprivileged("open beside the lock file of root", &world, 0o777);
    world.check_rows(&[1, 2]);
}

/// As the owner of a database without privileges. A read leaves side files with the mode of the database, and SQLite
/// takes the database for read-only for as long as they are there.
pub(super) fn write_to_a_database_that_was_read_only(path: &Path) {
    std::env::set_current_dir(path.parent().unwrap()).unwrap();
    let set_mode = |mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let count = |conn: &Connection| conn.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
    set_mode(0o444);
    let reader = Connection::open(path).unwrap();
    assert_eq!(count(&reader), 1);
    drop(reader);
    set_mode(0o644);
    let (log, index) = (PathBuf::from("x.db-wal"), PathBuf::from("x.db-shm"));
    assert_eq!([&log, &index].map(|path| rights(path).2), ["444", "444"]);
    let error = Connection::open(path).unwrap().execute("INSERT INTO t VALUES (7)", []).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ReadOnly), "without the layer");
    let store = Store::open(path).unwrap();
    store.write(|tx| insert(tx, 2)).unwrap();
    assert_eq!([&log, &index].map(|path| rights(path).2), ["644", "644"]);
    assert_ne!(store.health().state, crate::HealthState::Degraded);
}

#[test]
fn side_files_that_were_made_read_only_get_the_rights_of_the_database() {
    const UNPRIVILEGED: u32 = 65534;
    let Some(world) = database_of_service(0o644) else { return };
    chown(world.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
    play_as_unprivileged("write to a database that was read-only", &world, 0o777);
    world.check_rows(&[1, 2]);
}

#[test]
fn the_mode_of_a_link_or_of_a_file_with_a_second_name_stays() {
    let world = World::new();
    drop(world.store());
    let (index, other) = (world.side_file("-shm"), world.dir.path().join("of-another"));
    let plants: [&dyn Fn(); 2] = [&|| symlink(&other, &index).unwrap(), &|| fs::hard_link(&other, &index).unwrap()];
    for plant in plants {
        fs::write(&other, "").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o400)).unwrap();
        let _ = fs::remove_file(&index);
        plant();
        crate::open::side_files::widen_modes(&world.path(), &crate::SystemOs::new());
        assert_eq!(rights(&other).2, "400");
        fs::remove_file(&other).unwrap();
    }
}

#[test]
fn a_rescue_copy_is_as_secret_as_the_database() {
    let Some(world) = database_of_service(0o600) else { return };
    let store = world.store();
    store.write(|tx| insert(tx, 2)).unwrap();
    fs::remove_file(world.path()).unwrap();
    let error = store.write(|tx| insert(tx, 3)).unwrap_err();
    let copy = error.rescued_to().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(rights(copy), (SERVICE, GROUP, "600".to_owned()));
    check_rows(copy, &[1, 2, 3]);
    store.write(|tx| insert(tx, 4)).unwrap();
    check_all(world.dir.path(), (SERVICE, GROUP), "600", "700");
    world.check_rows(&[4]);
}

#[test]
fn a_quarantine_bundle_and_the_new_database_are_as_secret_as_the_old_one() {
    let Some(world) = database_of_service(0o600) else { return };
    let policy = QuarantinePolicy { on_corruption: OnCorruption::Rebuild, ..QuarantinePolicy::default() };
    let store = world.builder().quarantine(policy).open(world.path()).unwrap();
    store.write(|tx| tx.execute_batch("CREATE TABLE u AS SELECT randomblob(200000) AS y")).unwrap();
    store.checkpoint(crate::CheckpointMode::Truncate).unwrap();
    damage(&world.path());
    for _ in 0..3 {
        let _ = store.with_connection(|conn| {
            conn.query_row("PRAGMA integrity_check", [], |_| Ok(())).and_then(|()| Err::<(), _>(sqlite_failure(11)))
        });
    }
    store.write(|tx| insert(tx, 7)).unwrap();
    drop(store);
    let seen = check_all(world.dir.path(), (SERVICE, GROUP), "600", "700");
    assert!(seen.iter().any(|path| path.ends_with("manifest.json")), "{seen:?}");
    assert!(seen.len() >= 6, "{seen:?}");
    world.check_rows(&[7]);
}

/// Overwrites pages in the middle, through a descriptor of another process: this one would lose its locks.
fn damage(path: &Path) {
    let script = format!("dd if=/dev/zero of='{}' bs=4096 seek=5 count=20 conv=notrunc status=none", path.display());
    assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

#[test]
fn what_the_doctor_creates_belongs_to_the_service() {
    let Some(world) = database_of_service(0o600) else { return };
    fs::remove_file(world.path()).unwrap();
    fs::set_permissions(world.dir.path(), Permissions::from_mode(0o700)).unwrap();
    let log = world.side_file("-wal");
    fs::write(&log, [0; 5000]).unwrap();
    chown(&log, Some(SERVICE), Some(GROUP)).unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o600)).unwrap();
    let outcome = crate::doctor::fix::fix(&world.path(), &Default::default()).unwrap();
    assert_eq!(outcome.failure, None, "{outcome:?}");
    let lock = world.side_file(".init.lock");
    // There is no database whose rights it could have.
    assert_eq!(rights(&lock), (SERVICE, GROUP, "600".to_owned()));
    fs::remove_file(&lock).unwrap();
    let seen = check_all(world.dir.path(), (SERVICE, GROUP), "600", "700");
    assert!(seen.iter().any(|path| path.ends_with("x.db.quarantine-1")), "{seen:?} {outcome:?}");
}

#[test]
fn a_repair_keeps_owner_mode_and_attributes() {
    for take in [crate::doctor::fix::Take::Alone, crate::doctor::fix::Take::Log] {
        let Some(world) = database_of_service(0o600) else { return };
        fs::set_permissions(world.dir.path(), Permissions::from_mode(0o700)).unwrap();
        // A log of a process that has died.
        let copy = tempfile::tempdir().unwrap();
        let names = ["", "-wal"].map(|suffix| (world.side_file(suffix), copy.path().join(format!("x{suffix}"))));
        let conn = rusqlite::Connection::open(world.path()).unwrap();
        conn.execute_batch("PRAGMA wal_autocheckpoint = 0; CREATE TABLE u AS SELECT 1").unwrap();
        for (from, to) in &names {
            assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
        }
        drop(conn);
        for (to, from) in &names {
            assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
        }
        let flags = rustix::fs::XattrFlags::empty();
        let has_attributes = rustix::fs::setxattr(world.path(), "user.kept", b"yes", flags).is_ok();
        let options = crate::doctor::fix::FixOptions::new().with_take(take);
        let outcome = crate::doctor::fix::fix(&world.path(), &options).unwrap();
        assert_eq!((&outcome.failure, outcome.taken), (&None, Some(take)), "{:?}", outcome.plan);
        let seen = check_all(world.dir.path(), (SERVICE, GROUP), "600", "700");
        assert!(seen.iter().any(|path| path.ends_with("x.db.cure-1/x.db-wal")), "{seen:?}");
        let mut value = [0; 8];
        if has_attributes {
            assert_eq!(rustix::fs::getxattr(world.path(), "user.kept", &mut value), Ok(3));
        }
    }
}
