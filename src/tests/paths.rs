//! Paths, identities, processes.

use super::*;
use crate::health::State;

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
fn missing_directories_are_made_and_a_directory_is_no_database() {
    let world = World::new();
    let cache = world.cache();
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
    assert_eq!(cache.health(world.path()).state, State::Unavailable);
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
    assert_eq!(cache.health(world.path()).state, State::Unopened);
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
