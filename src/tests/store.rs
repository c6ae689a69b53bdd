//! The store as a program holds it: snapshots, readers beside the writer, waiting, one store per file, closing.

use super::*;
use crate::health::HealthState;
use crate::{BorrowKind, CheckpointMode, Operation};
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread;

/// A borrower in another thread, until it is told to return the connection.
struct Holder {
    thread: thread::JoinHandle<()>,
    give_back: std::sync::mpsc::Sender<()>,
    line: u32,
}

impl Holder {
    fn new(store: &Store, kind: BorrowKind) -> Holder {
        let (store, (give_back, until), (told, has_it)) = (store.clone(), channel::<()>(), channel());
        let thread = thread::spawn(move || {
            let hold = |line: u32| {
                told.send(line).unwrap();
                until.recv().unwrap_err();
                Ok(())
            };
            match kind {
                BorrowKind::Writer => store.write(|_| hold(line!())).unwrap(),
                BorrowKind::Reader => store.read(|_| hold(line!())).unwrap(),
            }
        });
        Holder { thread, give_back, line: has_it.recv().unwrap() }
    }

    fn end(self) {
        drop(self.give_back);
        self.thread.join().unwrap();
    }

    fn place(&self) -> String {
        format!("{}:{}", file!(), self.line)
    }
}

#[test]
fn all_that_a_closure_reads_is_of_one_moment() {
    for readers in [0, 1] {
        let world = World::new();
        let store = world.builder().readers(readers).open(world.path()).unwrap();
        store.write(|tx| insert(tx, 1)).unwrap();
        let other = Connection::open(world.path()).unwrap();
        let (before, after) = store
            .read(|conn| {
                let before = rows(conn)?;
                insert(&other, 2)?;
                Ok((before, rows(conn)?))
            })
            .unwrap();
        assert_eq!((before, after), (vec![1], vec![1]), "with {readers} readers");
        assert_eq!(store.read(rows).unwrap(), [1, 2]);
    }
}

#[test]
fn readers_run_beside_each_other_and_beside_an_open_write_transaction() {
    const READERS: usize = 3;
    let world = World::new();
    let store = world.builder().readers(READERS).acquire_timeout(Duration::from_secs(5)).open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    let meeting = Barrier::new(READERS);
    store
        .write(|tx| {
            insert(tx, 2)?;
            thread::scope(|scope| {
                let read = || {
                    let read = store.read(|conn| {
                        meeting.wait();
                        rows(conn)
                    });
                    assert_eq!(read.unwrap(), [1], "what is not committed is not seen");
                };
                (0..READERS).for_each(|_| drop(scope.spawn(read)));
            });
            Ok(())
        })
        .unwrap();
    assert_eq!(store.read(rows).unwrap(), [1, 2]);
    let health = store.health();
    assert_eq!((health.readers_open, health.opens), (READERS as u32, READERS as u64 + 1));
}

#[test]
fn a_timed_out_caller_learns_the_borrower() {
    let world = World::new();
    let store = world.builder().readers(1).acquire_timeout(Duration::ZERO).open(world.path()).unwrap();
    for (kind, name) in [(BorrowKind::Writer, "the writer"), (BorrowKind::Reader, "a reader")] {
        let holder = Holder::new(&store, kind);
        world.os.advance(Duration::from_secs(7));
        let error = match kind {
            BorrowKind::Writer => store.write(|tx| insert(tx, 1)).unwrap_err(),
            BorrowKind::Reader => store.read(rows).map(drop).unwrap_err(),
        };
        let expected = format!("waited for 0ns: {name} borrowed at {}:", holder.place());
        assert!(error.to_string().contains(&expected), "{error}");
        assert!(error.to_string().contains(" 7s ago; see why the borrower takes so long"), "{error}");
        assert!(error.is_busy() && error.is_transient() && error.operation() == Operation::Borrow);
        let [borrower] = error.borrowers() else { panic!("{error}") };
        assert_eq!((borrower.kind, borrower.location.line()), (kind, holder.line));
        assert_eq!(borrower.age, Duration::from_secs(7));
        holder.end();
    }
    assert_eq!(store.health().calls.timed_out, 2);
    assert_eq!(store.read(rows).unwrap(), [0; 0]);
}

#[test]
fn readers_wait_while_all_are_borrowed_until_one_is_returned() {
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    let holder = Holder::new(&store, BorrowKind::Reader);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| store.read(rows));
        thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished(), "there is only one reader");
        holder.end();
        assert_eq!(waiting.join().unwrap().unwrap(), [0; 0]);
    });
}

#[test]
fn a_closure_that_calls_its_own_store_is_refused_at_once() {
    let world = World::new();
    let store = world.store();
    let line = line!() + 1;
    let errors = store.with_connection(|_| {
        let write = store.write(|tx| insert(tx, 1)).unwrap_err();
        let read = store.read(rows).unwrap_err();
        let close = store.close(Duration::MAX).unwrap_err();
        Ok([write, read, store.with_connection(|_| Ok(())).unwrap_err(), close])
    });
    for error in errors.unwrap() {
        let expected = format!("this thread has it already, borrowed at {}:{line}:", file!());
        assert!(error.to_string().contains(&expected), "{error}");
        assert!(!error.is_transient() && !error.is_closed(), "{error}");
    }
    store.write(|tx| insert(tx, 1)).unwrap();
}

#[test]
fn a_thread_that_has_all_readers_gets_no_more_and_does_not_close_them() {
    let world = World::new();
    let store = world.builder().readers(2).open(world.path()).unwrap();
    let both = store.read(|_| {
        let nested = store.read(|_| Ok(store.read(rows).unwrap_err())).unwrap();
        Ok([nested, store.close(Duration::MAX).unwrap_err()])
    });
    for error in both.unwrap() {
        let expected = format!("this thread has it already, borrowed at {}:", file!());
        assert!(error.to_string().contains(&expected), "{error}");
    }
    assert_eq!(store.read(rows).unwrap(), [0; 0]);
}

#[test]
fn two_spellings_and_a_link_are_one_store() {
    let world = World::new();
    let registry = Registry::new();
    let open = |path: PathBuf| world.builder().registry(Arc::clone(&registry)).open(path).unwrap();
    std::fs::create_dir(world.dir.path().join("sub")).unwrap();
    let stores = [open(world.path()), open(world.dir.path().join("sub/.././x.db"))];
    std::os::unix::fs::symlink(world.path(), world.dir.path().join("link.db")).unwrap();
    let link = open(world.dir.path().join("link.db"));
    link.write(|tx| insert(tx, 1)).unwrap();
    for store in &stores {
        assert_eq!((store.path(), store.health().opens), (link.path(), 1));
        assert_eq!(store.read(rows).unwrap(), [1]);
    }
    assert_eq!(registry.paths(), [std::fs::canonicalize(world.path()).unwrap()]);
    assert_eq!(world.inits.load(SeqCst), 1);
}

#[test]
fn a_link_to_a_database_that_is_not_there_yet_is_followed() {
    let (world, registry) = (World::new(), Registry::new());
    std::fs::create_dir(world.dir.path().join("data")).unwrap();
    let open = |path: PathBuf| world.builder().registry(Arc::clone(&registry)).open(path).unwrap();
    let (link, far_link) = (world.dir.path().join("link.db"), world.dir.path().join("far.db"));
    std::os::unix::fs::symlink("data/x.db", &link).unwrap();
    std::os::unix::fs::symlink(&link, &far_link).unwrap();
    let store = open(far_link);
    let path = world.dir.path().canonicalize().unwrap().join("data/x.db");
    assert_eq!(store.path(), path);
    open(link).write(|tx| insert(tx, 1)).unwrap();
    assert_eq!(open(path.clone()).health().opens, 1, "one store by all names");
    drop(store);
    check_rows(&path, &[1]);
}

#[test]
fn threads_that_open_at_the_same_time_get_one_store_and_one_init() {
    for _ in 0..5 {
        let (world, registry, meeting) = (World::new(), Registry::new(), Barrier::new(8));
        let stores: Vec<Store> = thread::scope(|scope| {
            let open = |nth: usize| {
                let name = if nth.is_multiple_of(2) { "x.db" } else { "./x.db" };
                let builder = world.builder().registry(Arc::clone(&registry));
                meeting.wait();
                builder.open(world.dir.path().join(name)).unwrap()
            };
            let threads: Vec<_> = (0..8).map(|nth| scope.spawn(move || open(nth))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((world.inits.load(SeqCst), stores[7].health().opens), (1, 1));
    }
}

#[test]
fn a_second_hard_link_to_an_open_file_is_refused() {
    let world = World::new();
    let registry = Registry::new();
    let builder = || world.builder().registry(Arc::clone(&registry));
    let store = builder().open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    let link = world.dir.path().join("second.db");
    std::fs::hard_link(world.path(), &link).unwrap();
    let error = builder().open(&link).unwrap_err();
    let expected = format!("{} is another name of the same file and open in this process", store.path().display());
    assert!(error.to_string().contains(&expected), "{error}");
    assert!(!error.is_transient());
    drop(store);
    let error = builder().open(&link).unwrap_err();
    assert!(error.to_string().contains("the file has 2 names, and another name may be in use as well"), "{error}");
    std::fs::remove_file(world.path()).unwrap();
    assert_eq!(builder().open(&link).unwrap().read(rows).unwrap(), [1], "it has one name");
}

#[test]
fn a_file_that_is_open_with_other_settings_is_refused_and_the_setting_named() {
    let world = World::new();
    let registry = Registry::new();
    let builder = || world.builder().registry(Arc::clone(&registry));
    let _store = builder().open(world.path()).unwrap();
    let check = |builder: Builder, knob: &str| {
        let error = builder.open(world.path()).unwrap_err();
        let expected = format!("this process has it open already, with another setting of `{knob}`");
        assert!(error.to_string().contains(&expected), "{error}");
    };
    let second = Duration::from_secs(1);
    check(builder().vfs("unix-none"), "vfs");
    check(builder().flags(OpenFlags::SQLITE_OPEN_READ_WRITE), "flags");
    check(builder().readers(1), "readers");
    check(builder().busy_timeout(second), "busy_timeout");
    check(builder().acquire_timeout(second), "acquire_timeout");
    check(builder().synchronous(crate::Synchronous::Normal), "synchronous");
    check(builder().journal_mode(crate::JournalMode::Keep), "journal_mode");
    check(builder().statement_cache(1), "statement_cache");
    check(builder().on_connect(|_| Ok(())), "on_connect");
    check(builder().migration(|_| Ok(())), "migration");
    check(builder().breaker(crate::BreakerPolicy { failures_max: 9, ..Default::default() }), "breaker");
    check(builder().first_connect_wait(None), "first_connect_wait");
    check(builder().max_lifetime(second), "max_lifetime");
    check(builder().max_idle(second), "max_idle");
    builder().open(world.path()).unwrap();
}

#[test]
fn dropping_the_last_handle_closes() {
    let (world, registry) = (World::new(), Registry::new());
    let store = world.builder().registry(Arc::clone(&registry)).readers(1).open(world.path()).unwrap();
    let second = store.clone();
    store.write(|tx| insert(tx, 1)).unwrap();
    second.read(rows).unwrap();
    drop(store);
    assert!(world.side_file("-wal").exists(), "another process still has it");
    drop(second);
    assert!(!world.side_file("-wal").exists() && !world.side_file("-shm").exists());
    assert!(registry.paths().is_empty());
    world.check_rows(&[1]);
}

#[test]
fn close_waits_for_calls_in_progress_and_refuses_new_ones() {
    let (world, registry) = (World::new(), Registry::new());
    let open = || world.builder().registry(Arc::clone(&registry)).readers(1).open(world.path()).unwrap();
    let store = open();
    store.read(rows).unwrap();
    let (began, has_begun) = channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let write = store.write(|tx| {
                began.send(()).unwrap();
                thread::sleep(Duration::from_millis(30));
                insert(tx, 1)
            });
            write.unwrap();
        });
        has_begun.recv().unwrap();
        let checkpoint = store.close(Duration::from_secs(5)).unwrap().unwrap();
        assert!(checkpoint.is_complete() && checkpoint.frames > 0, "{checkpoint:?}");
    });
    assert!(!world.side_file("-wal").exists(), "all readers are closed as well");
    let other = store.clone();
    for error in [other.write(|tx| insert(tx, 2)).unwrap_err(), other.read(rows).unwrap_err()] {
        assert!(error.is_closed() && !error.is_transient(), "{error}");
        assert!(error.to_string().contains("the store was closed; open a new one"), "{error}");
    }
    assert_eq!(other.close(Duration::ZERO).unwrap(), None, "twice is no harm");
    assert_eq!(other.health().state, HealthState::Unopened);
    assert_eq!(open().read(rows).unwrap(), [1]);
    assert!(world.events().contains(&EventKind::Closed));
}

#[test]
fn close_names_the_borrowers_and_may_be_tried_again() {
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    let (writer, reader) = (Holder::new(&store, BorrowKind::Writer), Holder::new(&store, BorrowKind::Reader));
    world.os.advance(Duration::from_secs(3));
    let error = store.close(Duration::from_millis(5)).unwrap_err();
    let lines: Vec<u32> = error.borrowers().iter().map(|borrower| borrower.location.line()).collect();
    assert_eq!(lines, [writer.line, reader.line]);
    for expected in [
        "closing the connection failed: still borrowed: the writer borrowed at".to_owned(),
        format!("{}:", writer.place()),
        format!("{}:", reader.place()),
        "3s ago; new calls are refused; call close again when these connections have been returned".to_owned(),
    ] {
        assert!(error.to_string().contains(&expected), "{error}");
    }
    assert!(store.write(|tx| insert(tx, 1)).unwrap_err().is_closed());
    writer.end();
    let error = store.close(Duration::from_millis(5)).unwrap_err();
    assert_eq!(error.borrowers().len(), 1, "{error}");
    reader.end();
    store.close(Duration::ZERO).unwrap();
    assert!(!world.side_file("-wal").exists());
}

#[test]
fn a_checkpoint_that_readers_keep_from_completing_says_so() {
    let world = World::new();
    let store = world.store();
    let reader = Connection::open(world.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    let partial = store.checkpoint(CheckpointMode::Passive).unwrap();
    assert!(!partial.is_complete() && partial.frames > partial.frames_checkpointed, "{partial:?}");
    let kept = store.checkpoint(CheckpointMode::Truncate).unwrap();
    assert!(!kept.is_complete(), "{kept:?}");
    assert_eq!(store.health().last_checkpoint.map(|last| last.checkpoint), Some(kept));
    drop(reader);
    let whole = store.checkpoint(CheckpointMode::Truncate).unwrap();
    assert!(whole.is_complete());
    assert_eq!(std::fs::metadata(world.side_file("-wal")).unwrap().len(), 0);
}

#[test]
fn a_reader_borrowed_while_the_writer_was_closed_is_closed_when_returned() {
    let world = World::new();
    let store = world.builder().readers(1).open(world.path()).unwrap();
    store.read(rows).unwrap();
    assert_eq!(store.health().readers_open, 1);
    store
        .read(|conn| {
            rows(conn)?;
            // Costs the writer its connection, and with it the readers theirs.
            store.with_connection(|conn| conn.execute_batch("PRAGMA read_uncommitted = ON")).unwrap();
            Ok(())
        })
        .unwrap();
    assert_eq!(store.health().readers_open, 0);
    store.write(|tx| insert(tx, 1)).unwrap();
    assert_eq!(store.read(rows).unwrap(), [1]);
}

#[test]
fn closing_beside_a_first_open_leaves_no_reader_behind() {
    let world = World::new();
    let (opening, is_opening) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let cache = world
        .builder()
        .readers(2)
        .init(move |conn| {
            opening.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
            conn.execute_batch(SCHEMA)
        })
        .build();
    thread::scope(|scope| {
        let opener = scope.spawn(|| cache.read(world.path(), rows).unwrap());
        is_opening.recv().unwrap();
        let closer = scope.spawn(|| cache.close(world.path()).unwrap());
        // Enough for it to have looked for readers and to wait for the writer.
        thread::sleep(Duration::from_millis(20));
        go_on.send(()).unwrap();
        opener.join().unwrap();
        scope.spawn(|| cache.read(world.path(), rows).unwrap());
        closer.join().unwrap();
    });
    cache.close(world.path()).unwrap();
    assert_eq!(cache.health(world.path()).readers_open, 0);
    assert!(!world.side_file("-wal").exists(), "nothing is open");
}

#[test]
fn a_hard_link_made_while_the_file_was_closed_is_refused_when_it_is_opened_again() {
    let world = World::new();
    let cache = world.cache();
    let link = world.dir.path().join("link.db");
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    cache.close(world.path()).unwrap();
    std::fs::hard_link(world.path(), &link).unwrap();
    for path in [&link, &world.path()] {
        let error = cache.read(path, rows).unwrap_err();
        assert!(error.to_string().contains("the file has 2 names"), "{error}");
        assert!(error.to_string().ends_with("and two logs corrupt a file"), "{error}");
    }
    std::fs::remove_file(link).unwrap();
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1]);
}

#[test]
fn health_does_not_wait_for_calls_in_progress() {
    let world = World::new();
    let store =
        Store::builder().registry(Registry::new()).journal_mode(crate::JournalMode::Keep).open(world.path()).unwrap();
    store.write(|tx| tx.execute_batch(SCHEMA)).unwrap();
    let other = Connection::open(world.path()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(store.health().probe, crate::health::ProbeOutcome::Busy);
    assert!(begun.elapsed() < Duration::from_secs(2), "the busy timeout is 5 s");
}
