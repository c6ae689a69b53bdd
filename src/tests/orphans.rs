//! Files that are moved, replaced or deleted while they are open: no row is lost, and none turns up in another file.

use super::*;
use crate::Operation;
use std::fs;

/// A store with the rows 1 and 2, of which the second is in the log alone. Its file is about to be moved.
struct Taken {
    world: World,
    store: Store,
}

impl Taken {
    fn new(change: impl FnOnce(Builder) -> Builder) -> Taken {
        let world = World::new();
        let store = change(world.builder()).open(world.path()).unwrap();
        store.write(|tx| insert(tx, 1)).unwrap();
        store.checkpoint(crate::CheckpointMode::Passive).unwrap();
        store.write(|tx| insert(tx, 2)).unwrap();
        world.events();
        Taken { world, store }
    }

    fn elsewhere(&self) -> PathBuf {
        self.world.dir.path().join("elsewhere.db")
    }

    fn move_away(&self) {
        fs::rename(self.world.path(), self.elsewhere()).unwrap();
    }

    fn delete(&self) {
        fs::remove_file(self.world.path()).unwrap();
    }

    /// Another database with one row comes to stand at the path.
    fn replace(&self) {
        let other = self.world.dir.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch(&format!("{SCHEMA}; INSERT INTO t VALUES (100)")).unwrap();
        fs::rename(other, self.world.path()).unwrap();
    }

    fn moved_event(&self) -> EventKind {
        EventKind::Moved { rescued_to: None, moved_to: Some(self.elsewhere().canonicalize().unwrap()) }
    }

    /// The files with rescued rows.
    fn rescued(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(self.world.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.to_string_lossy().contains("x.db.rescued-")).collect()
    }

    fn log_bytes(&self) -> u64 {
        fs::metadata(self.world.side_file("-wal")).map_or(0, |file| file.len())
    }

    #[track_caller]
    fn check_moved(&self, error: &crate::Error, expected: &[i64]) {
        assert!(error.is_moved() && error.rescued_to().is_none(), "{error}");
        assert!(error.to_string().contains("the file that was open has lost its name to another one"), "{error}");
        assert_eq!(self.log_bytes(), 0, "no frame may be left for whatever comes to stand there");
        check_rows(&self.elsewhere(), expected);
    }

    #[track_caller]
    fn check_rescued(&self, error: &crate::Error, expected: &[i64]) {
        let to = error.rescued_to().unwrap_or_else(|| panic!("{error}"));
        assert!(error.is_moved() && error.to_string().contains("; its rows have been copied to"), "{error}");
        assert_eq!(self.rescued(), [to]);
        assert_eq!(self.log_bytes(), 0);
        check_rows(to, expected);
    }
}

fn rescued_event(to: &Path) -> EventKind {
    EventKind::Moved { rescued_to: Some(to.to_owned()), moved_to: None }
}

#[test]
fn a_moved_file_keeps_its_rows_and_leaves_no_log() {
    let taken = Taken::new(|builder| builder);
    taken.move_away();
    let error = taken.store.write(|tx| insert(tx, 3)).unwrap_err();
    assert!(error.outcome_unknown() && !error.is_transient(), "it is in the old file, and nowhere else: {error}");
    assert_eq!(error.operation(), Operation::Identity);
    assert!(error.to_string().ends_with("; the writes may or may not be durable: read before writing them again"));
    taken.check_moved(&error, &[1, 2, 3]);
    assert_eq!(taken.world.events(), [taken.moved_event()]);
    assert_eq!(error.moved_to(), Some(&*taken.elsewhere().canonicalize().unwrap()));

    taken.store.write(|tx| insert(tx, 50)).unwrap();
    assert_eq!(taken.store.read(rows).unwrap(), [50], "a new file, with its schema");
    assert_eq!((taken.world.inits.load(SeqCst), taken.store.health().calls.moved), (2, 1));
    drop(taken.store);
    taken.world.check_rows(&[50]);
    check_rows(&taken.world.dir.path().join("elsewhere.db"), &[1, 2, 3]);
}

#[test]
fn a_deleted_file_is_rescued_whole() {
    let taken = Taken::new(|builder| builder);
    taken.delete();
    let error = taken.store.write(|tx| insert(tx, 3)).unwrap_err();
    assert!(error.outcome_unknown(), "{error}");
    taken.check_rescued(&error, &[1, 2, 3]);
    assert_eq!(taken.world.events(), [rescued_event(error.rescued_to().unwrap())]);
    assert_eq!(taken.store.read(rows).unwrap(), [0; 0]);
}

#[test]
fn what_replaces_a_file_is_opened_and_has_nothing_of_it() {
    let taken = Taken::new(|builder| builder);
    taken.replace();
    let error = taken.store.write(|tx| insert(tx, 3)).unwrap_err();
    taken.check_rescued(&error, &[1, 2, 3]);
    assert_eq!(taken.store.read(rows).unwrap(), [100]);
    taken.store.write(|tx| insert(tx, 101)).unwrap();
    drop(taken.store);
    taken.world.check_rows(&[100, 101]);
}

#[test]
fn a_moved_directory_contains_the_log() {
    let world = World::new();
    let path = world.dir.path().join("data/x.db");
    let store = world.builder().create_directories(true).open(&path).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    fs::rename(world.dir.path().join("data"), world.dir.path().join("away")).unwrap();
    assert!(store.write(|tx| insert(tx, 2)).unwrap_err().is_moved());
    check_rows(&world.dir.path().join("away/x.db"), &[1, 2]);
}

#[test]
fn a_write_outside_of_our_transactions_is_not_acknowledged_either() {
    let taken = Taken::new(|builder| builder);
    let error = taken.store.with_connection(|conn| {
        insert(conn, 3)?;
        taken.delete();
        Ok(())
    });
    let error = error.unwrap_err();
    assert!(error.outcome_unknown() && !error.is_transient(), "{error}");
    taken.check_rescued(&error, &[1, 2, 3]);
    taken.store.with_connection(|conn| rows(conn)).unwrap();
}

/// A reader who is in the way of a COMMIT, and the file's names: taken by the busy handler below.
static IN_THE_WAY: parking_lot::Mutex<Option<(Connection, PathBuf, PathBuf)>> = parking_lot::Mutex::new(None);

#[test]
fn a_file_that_is_moved_during_commit_is_of_unknown_outcome() {
    // Called by SQLite in the middle of the COMMIT: lets it go on, and the file go away.
    struct MoveAway;
    impl crate::ffi::tests::Busy for MoveAway {
        fn goes_on() -> bool {
            let taken = IN_THE_WAY.lock().take();
            taken.is_some_and(|(reader, from, to)| {
                drop(reader);
                fs::rename(from, to).is_ok()
            })
        }
    }
    let world = World::new();
    let store = world.builder().journal_mode(crate::JournalMode::Keep).open(world.path()).unwrap();
    let elsewhere = world.dir.path().join("elsewhere.db");
    let reader = Connection::open(world.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    *IN_THE_WAY.lock() = Some((reader, world.path(), elsewhere.clone()));
    let error = store.write(|tx| {
        crate::ffi::tests::when_busy::<MoveAway>(tx);
        insert(tx, 1)
    });
    let error = error.unwrap_err();
    assert!(IN_THE_WAY.lock().is_none(), "{error}");
    assert!(error.is_moved() && error.outcome_unknown() && !error.is_transient(), "{error}");
    assert!(error.to_string().ends_with("; the writes may or may not be durable: read before writing them again"));
    check_rows(&elsewhere, &[1]);
}

#[test]
fn reads_ask_now_and_then() {
    for readers in [0, 1] {
        let taken = Taken::new(|builder| builder.readers(readers).identity_check_interval(Duration::from_secs(9)));
        assert_eq!(taken.store.read(rows).unwrap(), [1, 2]);
        taken.replace();
        taken.world.os.advance(Duration::from_secs(8));
        assert_eq!(taken.store.read(rows).unwrap(), [1, 2], "not asked yet");
        taken.world.os.advance(Duration::from_secs(1));
        let error = taken.store.read(rows).unwrap_err();
        assert!(!error.outcome_unknown());
        taken.check_rescued(&error, &[1, 2]);
        assert_eq!(taken.store.read(rows).unwrap(), [100]);
        assert_eq!(taken.store.read(rows).unwrap(), [100]);
    }
    let taken = Taken::new(|builder| builder.identity_check_interval(Duration::ZERO));
    taken.delete();
    taken.check_rescued(&taken.store.read(rows).unwrap_err(), &[1, 2]);
}

#[test]
fn files_that_a_plain_program_uses_are_left_to_it_with_their_log() {
    for is_deleted in [false, true] {
        let taken = Taken::new(|builder| builder);
        let reader = Connection::open(taken.world.path()).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        assert_eq!(rows(&reader).unwrap(), [1, 2]);
        // Behind the reader's back, so that the log cannot be emptied.
        taken.store.write(|tx| insert(tx, 3)).unwrap();
        if is_deleted {
            taken.delete()
        } else {
            taken.move_away()
        }
        let error = taken.store.write(|tx| insert(tx, 4)).unwrap_err();
        assert!(error.is_moved() && error.outcome_unknown(), "{error}");
        // Nothing of it is at the path any more, so the next file is on its own.
        taken.store.write(|tx| insert(tx, 50)).unwrap();
        assert_eq!(rows(&reader).unwrap(), [1, 2]);
        reader.execute_batch("COMMIT").unwrap();
        insert(&reader, 5).unwrap();
        assert_eq!(rows(&reader).unwrap(), [1, 2, 3, 4, 5]);
        drop(reader);
        match error.rescued_to() {
            Some(to) => check_rows(to, &[1, 2, 3, 4]),
            None => check_rows(&taken.elsewhere(), &[1, 2, 3, 4, 5]),
        }
        assert_eq!(error.rescued_to().is_some(), is_deleted);
        assert_eq!(taken.store.read(rows).unwrap(), [50]);
        drop(taken.store);
        taken.world.check_rows(&[50]);
    }
}

#[test]
fn rows_that_cannot_be_rescued_yet_are_kept_until_they_can() {
    for is_deleted in [false, true] {
        let taken = Taken::new(|builder| builder);
        let reader = Connection::open(taken.world.path()).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        assert_eq!(rows(&reader).unwrap(), [1, 2]);
        taken.store.write(|tx| insert(tx, 3)).unwrap();
        taken.world.os.is_rename_refused.store(true, SeqCst);
        if is_deleted {
            taken.delete()
        } else {
            taken.move_away()
        }
        for nth in 0..3 {
            let error = taken.store.write(|tx| insert(tx, 4)).unwrap_err();
            assert!(error.is_moved() && error.rescued_to().is_none(), "{error}");
            assert_eq!(error.outcome_unknown(), nth == 0, "after the first, nothing is written: {error}");
            assert!(error.to_string().contains("its rows are not safe yet: BUSY (5)"), "{error}");
            assert!(error.to_string().contains("the connection is kept, so that nothing is lost"), "{error}");
        }
        let pending = |kind: &EventKind| matches!(kind, EventKind::RescuePending { .. });
        let events = taken.world.events();
        assert!(events.iter().all(pending), "{events:?}");
        assert_eq!(taken.rescued().len(), usize::from(is_deleted), "one copy, however often it is tried");
        assert_eq!(taken.store.health().opens, 1);
        assert!(taken.store.close(Duration::ZERO).unwrap_err().is_moved(), "nor is it closed");
        drop(reader);
        let error = taken.store.close(Duration::ZERO).unwrap_err();
        if is_deleted {
            taken.check_rescued(&error, &[1, 2, 3, 4]);
        } else {
            assert_eq!(taken.log_bytes(), 0);
            check_rows(&taken.elsewhere(), &[1, 2, 3, 4]);
        }
        taken.store.close(Duration::ZERO).unwrap();
    }
}

#[test]
fn a_copy_that_fails_leaves_no_rows_behind_and_no_name_that_a_copy_has() {
    use std::os::unix::fs::FileExt;
    let taken = Taken::new(|builder| builder);
    let fill = "CREATE TABLE b AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         SELECT i, randomblob(900) FROM n";
    taken.store.with_connection(|conn| conn.execute_batch(fill)).unwrap();
    taken.store.checkpoint(crate::CheckpointMode::Truncate).unwrap();
    let pages = fs::metadata(taken.world.path()).unwrap().len() / 4096;
    let file = fs::File::options().write(true).open(taken.world.path()).unwrap();
    file.write_all_at(&[0xff; 4096], (pages - 10) * 4096).unwrap();
    taken.delete();
    let error = taken.store.write(|tx| insert(tx, 4)).unwrap_err();
    assert!(error.is_moved() && error.rescued_to().is_none(), "{error}");
    let left = taken.rescued();
    assert!(left.iter().all(|path| path.to_string_lossy().ends_with(".partial")), "{left:?}");
    assert_eq!(left.iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>(), 0, "{left:?}");
    drop(file);
}

#[test]
fn closing_the_last_handle_or_an_expired_or_broken_connection_loses_no_rows() {
    let lifetime = Duration::from_secs(10);
    type Lose = fn(&mut Option<Store>, &World);
    let drop_handle: Lose = |store, _| drop(store.take());
    let close: Lose = |store, _| assert!(store.take().unwrap().close(Duration::ZERO).unwrap_err().is_moved());
    let outlive: Lose = |store, world| {
        world.os.advance(Duration::from_secs(12));
        assert!(store.as_ref().unwrap().read(rows).unwrap_err().is_moved(), "it is told before another is opened");
    };
    let break_it: Lose = |store, _| {
        store.as_ref().unwrap().read(|_| Err::<(), _>(sqlite_failure(266))).unwrap_err();
    };
    let change_it: Lose = |store, _| {
        store.as_ref().unwrap().with_connection(|conn| conn.execute_batch("PRAGMA read_uncommitted = ON")).unwrap();
    };
    for lose in [drop_handle, close, outlive, break_it, change_it] {
        for is_deleted in [false, true] {
            let mut taken = Taken::new(|builder| builder.max_lifetime(lifetime).identity_check_interval(lifetime * 9));
            if is_deleted {
                taken.delete()
            } else {
                taken.move_away()
            }
            let mut store = Some(std::mem::replace(&mut taken.store, World::new().store()));
            lose(&mut store, &taken.world);
            drop(store);
            let rescued = taken.rescued();
            let to = if is_deleted { rescued.last().cloned() } else { None };
            let event = to.as_deref().map_or_else(|| taken.moved_event(), rescued_event);
            assert!(taken.world.events().contains(&event));
            assert_eq!(taken.log_bytes(), 0);
            check_rows(&to.unwrap_or_else(|| taken.elsewhere()), &[1, 2]);
        }
    }
}

#[test]
fn a_file_that_comes_back_under_its_name_is_the_same_one() {
    let taken = Taken::new(|builder| builder);
    taken.move_away();
    fs::rename(taken.elsewhere(), taken.world.path()).unwrap();
    taken.store.write(|tx| insert(tx, 3)).unwrap();
    assert_eq!(taken.store.health().opens, 1);
    drop(taken.store);
    taken.world.check_rows(&[1, 2, 3]);
}

#[test]
fn a_file_that_comes_back_while_its_rescue_is_pending_goes_on() {
    let taken = Taken::new(|builder| builder);
    let reader = Connection::open(taken.world.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    taken.store.write(|tx| insert(tx, 3)).unwrap();
    taken.world.os.is_rename_refused.store(true, SeqCst);
    taken.move_away();
    assert!(taken.store.write(|tx| insert(tx, 4)).unwrap_err().to_string().contains("its rows are not safe yet"));
    fs::rename(taken.elsewhere(), taken.world.path()).unwrap();
    taken.store.write(|tx| insert(tx, 5)).unwrap();
    drop((reader, taken.store));
    taken.world.check_rows(&[1, 2, 3, 4, 5]);
}

#[test]
fn a_file_that_was_exchanged_while_closed_is_initialised_again() {
    let world = World::new();
    let cache = world.cache();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    cache.close(world.path()).unwrap();
    fs::rename(world.path(), world.dir.path().join("elsewhere.db")).unwrap();
    cache.write(world.path(), |tx| insert(tx, 2)).unwrap();
    assert_eq!(world.inits.load(SeqCst), 2);
    drop(cache);
    world.check_rows(&[2]);
}

/// A reader is out while the writer goes, and then the file loses its name.
#[test]
fn a_reader_that_is_out_does_not_let_the_old_log_get_into_a_new_file() {
    for is_deleted in [false, true] {
        let taken = Taken::new(|builder| builder.readers(1));
        let store = &taken.store;
        store.read(rows).unwrap();
        let pending = store.read(|conn| {
            rows(conn)?;
            // Costs the writer its connection.
            store.with_connection(|conn| conn.execute_batch("PRAGMA read_uncommitted = ON")).unwrap();
            if is_deleted {
                taken.delete()
            } else {
                taken.replace()
            }
            Ok(store.write(|tx| insert(tx, 3)).unwrap_err())
        });
        let pending = pending.unwrap();
        assert!(pending.is_moved() && pending.to_string().contains("a reader of this store is borrowed"), "{pending}");
        let error = store.read(rows).unwrap_err();
        taken.check_rescued(&error, &[1, 2]);
        assert_eq!(store.read(rows).unwrap(), if is_deleted { vec![] } else { vec![100] });
        taken.world.check_rows(if is_deleted { &[] } else { &[100] });
    }
}

#[test]
fn a_rescue_between_calls_is_reported_to_the_next_call() {
    let taken = Taken::new(|builder| builder);
    taken.delete();
    // The connection is given up for another reason, and its file turns out to be gone.
    taken.store.read(|_| Err::<(), _>(sqlite_failure(266))).unwrap_err();
    taken.check_rescued(&taken.store.read(rows).unwrap_err(), &[1, 2]);
    assert_eq!(taken.store.read(rows).unwrap(), [0; 0]);
}

#[test]
fn names_that_are_no_text_are_rescued_like_others() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let path = world.dir.path().join(std::ffi::OsStr::from_bytes(b"d\xff/x\xfe.db"));
    let store = world.builder().create_directories(true).open(&path).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    fs::remove_file(&path).unwrap();
    let error = store.write(|tx| insert(tx, 2)).unwrap_err();
    let to = error.rescued_to().unwrap_or_else(|| panic!("{error}"));
    assert!(to.as_os_str().as_bytes().starts_with(path.as_os_str().as_bytes()));
    check_rows(to, &[1, 2]);
}

#[test]
fn a_cache_closes_what_was_deleted_under_whatever_spelling() {
    let world = World::new();
    let cache = world.cache();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    fs::remove_file(world.path()).unwrap();
    let error = cache.close(world.dir.path().join("./x.db")).unwrap_err();
    check_rows(error.rescued_to().unwrap(), &[1]);
    assert_eq!(cache.read(world.path(), rows).unwrap(), [0; 0]);
}
