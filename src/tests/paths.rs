//! Paths, identities, processes.

use super::*;
use crate::health::HealthState;

#[test]
fn all_spellings_of_a_file_share_one_connection() {
    let world = World::new();
    let cache = world.cache();
    let (dir, path) = (world.dir.path(), world.path());
    cache.write(&path, |tx| insert(tx, 1)).unwrap();
    std::fs::create_dir(dir.join("sub")).unwrap();
    assert_eq!(cache.read(dir.join("sub/../x.db"), rows).unwrap(), [1]);
    assert_eq!(cache.read(dir.join("./x.db"), rows).unwrap(), [1]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&path, dir.join("link.db")).unwrap();
        assert_eq!(cache.read(dir.join("link.db"), rows).unwrap(), [1]);
    }
    assert_eq!(cache.health(dir.join("sub/../x.db")).opens, 1);
    assert_eq!(world.inits.load(SeqCst), 1);
}

#[test]
fn a_cache_closes_what_is_open_now_and_not_what_a_spelling_once_stood_for() {
    let world = World::new();
    let registry = Registry::new();
    let cache = world.builder().registry(Arc::clone(&registry)).build();
    let (dir, path) = (world.dir.path(), world.path());
    cache.read(&path, rows).unwrap();
    let store = world.builder().registry(registry).open(&path).unwrap();
    store.close(Duration::ZERO).unwrap();
    cache.read(dir.join("./x.db"), rows).unwrap();
    cache.close(&path).unwrap();
    assert_eq!(cache.health(&path).state, HealthState::Unopened);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_file_that_is_not_there_yet_stands_for_that_file() {
    let world = World::new();
    let cache = world.cache();
    let (dir, path) = (world.dir.path(), world.path());
    std::os::unix::fs::symlink("second", dir.join("first")).unwrap();
    std::os::unix::fs::symlink("x.db", dir.join("second")).unwrap();
    std::os::unix::fs::symlink("circle", dir.join("circle")).unwrap();
    // What lies beside the file that the link leads to counts, not what lies beside the link.
    std::fs::write(world.side_file("-wal"), "rows of a database that was moved").unwrap();
    let error = cache.read(dir.join("first"), rows).unwrap_err();
    assert!(error.to_string().contains("x.db-wal"), "{error}");
    std::fs::remove_file(world.side_file("-wal")).unwrap();

    cache.write(dir.join("first"), |tx| insert(tx, 1)).unwrap();
    assert_eq!(cache.read(&path, rows).unwrap(), [1]);
    assert_eq!(cache.health(&path).opens, 1);
    assert!(cache.read(dir.join("circle"), rows).is_err());
}

#[test]
fn missing_directories_are_made_if_asked_for_and_a_directory_is_no_database() {
    let world = World::new();
    let cache = world.builder().create_directories(true).build();
    cache.read(world.dir.path().join("a/b/x.db"), rows).unwrap();
    for path in [world.dir.path().join("a"), PathBuf::from("/")] {
        let error = cache.read(&path, rows).unwrap_err();
        assert!(error.to_string().contains("directory"), "{error}");
        assert_eq!((error.path(), error.is_transient()), (path.as_path(), false));
    }
}

#[test]
fn a_file_in_the_place_of_a_directory_is_an_error_for_good() {
    let world = World::new();
    std::fs::write(world.dir.path().join("file"), "").unwrap();
    let error = world.cache().read(world.dir.path().join("file/x.db"), rows).unwrap_err();
    assert_eq!(error.operation(), crate::Operation::Resolve);
    assert!(error.errno().is_some() && !error.is_transient(), "{error}");
}

#[test]
fn a_file_that_is_no_database_says_so_every_time() {
    let world = World::new();
    std::fs::write(world.path(), [b'x'; 8192]).unwrap();
    let cache = world.cache();
    for _ in 0..5 {
        let error = cache.read(world.path(), rows).unwrap_err();
        assert_eq!(error.extended_code(), Some(26));
        assert!(error.is_corruption() && !error.is_breaker_open() && !error.is_transient());
    }
    assert_eq!(cache.health(world.path()).state, HealthState::Unavailable);
}

#[test]
fn a_forked_child_is_refused_what_its_parent_had_open() {
    let world = World::new();
    let cache = world.cache();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();

    world.os.become_process(2);
    let error = cache.read(world.path(), rows).unwrap_err();
    assert!(error.to_string().contains("process 1"), "{error}");
    assert!(!error.is_transient());
    assert_eq!(cache.health(world.path()).state, HealthState::Unopened);
    cache.close_all().unwrap();

    world.os.become_process(1);
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1]);
    assert_eq!(cache.health(world.path()).opens, 1, "the child must not have closed it");
}

#[test]
fn a_child_that_drops_its_copy_of_the_cache_leaves_the_log_alone() {
    let world = World::new();
    let cache = world.cache();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    world.os.become_process(2);
    drop(cache);
    assert!(world.side_file("-wal").exists(), "closing would have checkpointed and removed it");
}

#[test]
fn a_forked_child_starts_afresh_with_what_its_parent_had_closed() {
    let world = World::new();
    let cache = world.cache();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    cache.close(world.path()).unwrap();
    world.os.become_process(2);
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1]);
    assert_eq!(world.inits.load(SeqCst), 2, "once per process");
    assert_eq!(cache.health(world.path()).opens, 1);
}
