//! The store for `async` programs: how many threads it takes, what a dropped call has done, and who is told what.

use super::*;
use crate::{AsyncStore, CheckpointMode, Error, Store};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::time::timeout;

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(20);

/// A runtime with so many threads that may block.
fn runtime(blocking_threads: usize) -> Runtime {
    let mut builder = RuntimeBuilder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(blocking_threads).enable_time().build().unwrap()
}

fn store(world: &World, readers: usize) -> Store {
    world.builder().readers(readers).acquire_timeout(Duration::from_millis(50)).open(world.path()).unwrap()
}

/// A closure that says that it has begun, and ends when it may.
fn gate() -> (impl FnOnce() -> rusqlite::Result<()> + Send, Receiver<()>, Sender<()>) {
    let ((began, has_begun), (go_on, may_go_on)) = (channel(), channel());
    let wait = move || {
        began.send(()).unwrap();
        may_go_on.recv_timeout(LONG).unwrap();
        Ok(())
    };
    (wait, has_begun, go_on)
}

/// Where the future stands after one look at it.
fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn line() -> u32 {
    std::panic::Location::caller().line()
}

#[test]
fn a_slow_database_leaves_the_runtime_threads_that_may_block() {
    let world = World::new();
    let db = AsyncStore::new(store(&world, 2));
    runtime(4).block_on(async {
        db.read(rows).await.unwrap();
        let (wait, has_begun, go_on) = gate();
        let slow = tokio::spawn(db.write(|tx| {
            wait()?;
            insert(tx, 0)
        }));
        has_begun.recv_timeout(LONG).unwrap();
        let writes: Vec<_> = (1..=20).map(|x| tokio::spawn(db.write(move |tx| insert(tx, x)))).collect();
        let others = timeout(LONG, tokio::task::spawn_blocking(|| "another's work"));
        assert_eq!(others.await.expect("there is a thread left").unwrap(), "another's work");
        let read = timeout(LONG, db.read(rows)).await.expect("writes do not keep reads waiting");
        assert_eq!(read.unwrap(), [0; 0]);
        assert_eq!(timeout(LONG, db.health()).await.unwrap().unwrap().borrowers.len(), 1);
        go_on.send(()).unwrap();
        slow.await.unwrap().unwrap();
        for write in writes {
            write.await.unwrap().unwrap();
        }
        assert_eq!(db.read(rows).await.unwrap(), (0..=20).collect::<Vec<i64>>());
    });
}

#[test]
fn no_more_reads_run_than_there_are_readers_or_than_is_said() {
    let world = World::new();
    let store = store(&world, 2);
    let all = |db: AsyncStore| {
        let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        runtime(16).block_on(async {
            let read = || {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                tokio::spawn(db.read(move |conn| {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    let rows = rows(conn);
                    running.fetch_sub(1, SeqCst);
                    rows
                }))
            };
            let reads: Vec<_> = std::iter::repeat_with(read).take(12).collect();
            for read in reads {
                read.await.unwrap().unwrap();
            }
        });
        most.load(SeqCst)
    };
    assert_eq!(all(AsyncStore::new(store.clone())), 2);
    assert_eq!(all(AsyncStore::new(store.clone()).reads_max(1)), 1);
    assert_eq!(all(AsyncStore::new(store).reads_max(0)), 1);
}

#[test]
fn a_call_dropped_while_it_waits_never_runs() {
    let world = World::new();
    let db = AsyncStore::new(store(&world, 0));
    runtime(4).block_on(async {
        let (wait, has_begun, go_on) = gate();
        let first = tokio::spawn(db.write(|tx| {
            wait()?;
            insert(tx, 1)
        }));
        has_begun.recv_timeout(LONG).unwrap();
        let has_run = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&has_run);
        let second = db.write(move |tx| {
            flag.store(true, SeqCst);
            insert(tx, 2)
        });
        timeout(Duration::from_millis(20), second).await.unwrap_err();
        drop(db.write(|tx| insert(tx, 3)));
        go_on.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(db.read(rows).await.unwrap(), [1]);
        assert!(!has_run.load(SeqCst));
    });
}

#[test]
fn a_call_that_the_runtime_has_no_thread_for_can_still_be_dropped() {
    let world = World::new();
    let db = AsyncStore::new(store(&world, 0));
    runtime(1).block_on(async {
        let (wait, has_begun, go_on) = gate();
        let others = tokio::task::spawn_blocking(wait);
        has_begun.recv_timeout(LONG).unwrap();
        timeout(Duration::from_millis(20), db.write(|tx| insert(tx, 1))).await.unwrap_err();
        go_on.send(()).unwrap();
        others.await.unwrap().unwrap();
        db.write(|tx| insert(tx, 2)).await.unwrap();
        assert_eq!(db.read(rows).await.unwrap(), [2]);
    });
}

#[test]
fn a_call_dropped_while_it_runs_commits_and_holds_its_permit_until_then() {
    let world = World::new();
    let db = AsyncStore::new(store(&world, 0));
    runtime(4).block_on(async {
        let (wait, has_begun, go_on) = gate();
        let first = tokio::spawn(db.write(|tx| {
            wait()?;
            insert(tx, 1)
        }));
        has_begun.recv_timeout(LONG).unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let mut second = Box::pin(db.write(|tx| rows(tx)));
        timeout(Duration::from_millis(100), &mut second).await.expect_err("the first one has its turn still");
        go_on.send(()).unwrap();
        assert_eq!(second.await.unwrap(), [1]);
    });
}

#[test]
fn a_panic_in_a_closure_goes_on_in_the_task_that_awaits_it() {
    let world = World::new();
    let db = AsyncStore::new(store(&world, 0));
    runtime(4).block_on(async {
        let panicking = db.write(|tx| insert(tx, 1).map(|()| panic!("in the closure")));
        let panic = tokio::spawn(panicking).await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the closure"));
        assert_eq!(db.read(rows).await.unwrap(), [0; 0]);
        db.with_connection(|conn| insert(conn, 2)).await.unwrap();
        assert!(db.checkpoint(CheckpointMode::Passive).await.unwrap().is_complete());
    });
}

#[test]
fn a_timed_out_caller_gets_the_location_of_the_async_call() {
    let world = World::new();
    let store = store(&world, 0);
    let db = AsyncStore::new(store.clone());
    runtime(4).block_on(async {
        let (wait, has_begun, go_on) = gate();
        let (writing, written_at) = (db.with_connection(|_| wait()), line());
        let writing = tokio::spawn(writing);
        has_begun.recv_timeout(LONG).unwrap();
        let error = store.write(|tx| insert(tx, 1)).unwrap_err();
        let at = error.borrowers()[0].location;
        assert!(error.is_busy() && at.file().ends_with("tests/asynchronous.rs"), "{error}");
        assert_eq!(at.line(), written_at);
        go_on.send(()).unwrap();
        writing.await.unwrap().unwrap();
        let (wait, has_begun, go_on) = gate();
        let holder = std::thread::spawn(move || store.with_connection(|_| wait()).unwrap());
        has_begun.recv_timeout(LONG).unwrap();
        let error = db.write(|tx| insert(tx, 1)).await.unwrap_err();
        assert_eq!(error.borrowers().len(), 1, "{error}");
        go_on.send(()).unwrap();
        holder.join().unwrap();
    });
}

#[test]
fn each_door_names_its_own_caller() {
    let world = World::new();
    let db = AsyncStore::new(store(&world, 1));
    runtime(4).block_on(async {
        let ((in_write, write_began, end_write), (in_read, read_began, end_read)) = (gate(), gate());
        let (write, write_line) = (db.write(|_| in_write()), line());
        let (read, read_line) = (db.read(|_| in_read()), line());
        let (write, read) = (tokio::spawn(write), tokio::spawn(read));
        write_began.recv_timeout(LONG).unwrap();
        read_began.recv_timeout(LONG).unwrap();
        let borrowers = db.health().await.unwrap().borrowers;
        let lines: Vec<u32> = borrowers.iter().map(|borrower| borrower.location.line()).collect();
        assert_eq!(lines, [write_line, read_line]);
        end_write.send(()).unwrap();
        end_read.send(()).unwrap();
        write.await.unwrap().unwrap();
        read.await.unwrap().unwrap();
    });
}

#[test]
fn without_a_runtime_there_is_a_clear_error_and_nothing_runs() {
    #[track_caller]
    fn check(ending: Poll<Result<(), Error>>) {
        let Poll::Ready(Err(error)) = ending else { panic!("{ending:?}") };
        assert!(error.to_string().contains("no tokio runtime"), "{error}");
        assert!(!error.is_transient() && !error.outcome_unknown());
    }
    let world = World::new();
    let db = AsyncStore::new(store(&world, 0));
    check(poll_once(db.write(|tx| insert(tx, 1))));
    let runtime = runtime(4);
    let handle = runtime.handle().clone();
    runtime.shutdown_timeout(LONG);
    let _entered = handle.enter();
    check(poll_once(db.write(|tx| insert(tx, 2))));
    assert_eq!(db.store().read(rows).unwrap(), [0; 0]);
}

#[test]
fn a_call_at_the_end_of_the_runtime_says_whether_it_ran() {
    let world = World::new();
    let db = AsyncStore::new(store(&world, 0));
    let runtime = runtime(1);
    let (wait, has_begun, go_on) = gate();
    drop(runtime.spawn_blocking(wait));
    has_begun.recv_timeout(LONG).unwrap();
    let mut write = Box::pin(db.write(|tx| insert(tx, 1)));
    let mut context = Context::from_waker(Waker::noop());
    {
        let _entered = runtime.handle().enter();
        assert!(write.as_mut().poll(&mut context).is_pending(), "it has its turn, and no thread");
    }
    let ending = std::thread::spawn(move || runtime.shutdown_timeout(LONG));
    std::thread::sleep(Duration::from_millis(50));
    go_on.send(()).unwrap();
    ending.join().unwrap();
    // Both may be: the runtime may come to it before it looks whether it has to end.
    match write.as_mut().poll(&mut context) {
        Poll::Ready(Ok(())) => assert_eq!(db.store().read(rows).unwrap(), [1]),
        Poll::Ready(Err(error)) => {
            assert!(error.to_string().contains("the closure has not run"), "{error}");
            assert_eq!(db.store().read(rows).unwrap(), [0; 0]);
        }
        Poll::Pending => panic!("the runtime is gone"),
    }
}

#[test]
fn so_many_calls_wait_and_the_next_one_is_refused() {
    let world = World::new();
    let db = AsyncStore::new(store(&world, 0)).waiting_max(2);
    runtime(4).block_on(async {
        let (wait, has_begun, go_on) = gate();
        let running = tokio::spawn(db.with_connection(|_| wait()));
        has_begun.recv_timeout(LONG).unwrap();
        let mut waiting: Vec<_> = (0..2).map(|x| Box::pin(db.write(move |tx| insert(tx, x)))).collect();
        for call in &mut waiting {
            assert!(poll_once(call.as_mut()).is_pending());
        }
        let Poll::Ready(Err(error)) = poll_once(db.write(|tx| insert(tx, 2))) else { panic!("there is no room") };
        assert!(error.is_busy() && error.is_transient() && error.to_string().contains("2 calls wait"), "{error}");
        drop(waiting.pop());
        let in_its_place = tokio::spawn(db.write(|tx| insert(tx, 3)));
        go_on.send(()).unwrap();
        running.await.unwrap().unwrap();
        waiting.pop().unwrap().await.unwrap();
        in_its_place.await.unwrap().unwrap();
        assert_eq!(db.read(rows).await.unwrap(), [0, 3]);
    });
}

#[test]
fn closing_refuses_waiting_calls_and_waits_for_running_ones() {
    let world = World::new();
    let db = AsyncStore::new(store(&world, 1));
    runtime(4).block_on(async {
        let (wait, has_begun, go_on) = gate();
        let running = tokio::spawn(db.write(|tx| {
            wait()?;
            insert(tx, 1)
        }));
        has_begun.recv_timeout(LONG).unwrap();
        let waiting = tokio::spawn(db.write(|tx| insert(tx, 2)));
        let impatient = db.close(Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(impatient.borrowers().len(), 1, "{impatient}");
        assert!(waiting.await.unwrap().unwrap_err().is_closed());
        go_on.send(()).unwrap();
        running.await.unwrap().unwrap();
        assert!(db.close(LONG).await.unwrap().unwrap().is_complete());
        assert!(db.read(rows).await.unwrap_err().is_closed());
    });
    let again = Store::open(world.path()).unwrap();
    assert_eq!(again.read(rows).unwrap(), [1]);
}

/// A store whose callers wait for 200 ms, by the real clock.
fn impatient(world: &World, readers: usize) -> Store {
    let builder = world.builder().os(Arc::new(SystemOs::new())).readers(readers);
    builder.acquire_timeout(Duration::from_millis(200)).open(world.path()).unwrap()
}

#[test]
fn a_call_that_would_wait_for_its_own_caller_is_refused_at_once() {
    for readers in [0, 1, 2] {
        let world = World::new();
        let db = AsyncStore::new(impatient(&world, readers)).reads_max(1);
        let runtime = RuntimeBuilder::new_multi_thread().worker_threads(2).build().unwrap();
        let handle = runtime.handle().clone();
        #[track_caller]
        fn check<T: std::fmt::Debug>(result: Result<T, Error>, line: u32) {
            let text = result.unwrap_err().to_string();
            let here = format!("{}:{line}:", file!());
            assert!(text.contains(&here) && text.contains("use the connection that the closure was given"), "{text}");
        }
        runtime.block_on(async {
            let (nested, handle) = (db.clone(), handle.clone());
            let line_of_write = line() + 1;
            db.write(move |tx| {
                check(handle.block_on(nested.write(|tx| insert(tx, 7))), line_of_write);
                check(handle.block_on(nested.with_connection(|_| Ok(()))), line_of_write);
                check(handle.block_on(nested.checkpoint(CheckpointMode::Passive)), line_of_write);
                check(handle.block_on(nested.close(LONG)), line_of_write);
                if readers == 0 {
                    check(handle.block_on(nested.read(rows)), line_of_write);
                } else {
                    assert_eq!(handle.block_on(nested.read(rows)).unwrap(), [0; 0]);
                }
                handle.block_on(nested.health()).unwrap();
                insert(tx, 1)
            })
            .await
            .unwrap();
            let nested = db.clone();
            let handle = runtime.handle().clone();
            let line_of_read = line() + 1;
            db.read(move |conn| {
                check(handle.block_on(nested.read(rows)), line_of_read);
                rows(conn)
            })
            .await
            .unwrap();
            assert_eq!(db.read(rows).await.unwrap(), [1]);
        });
    }
}

#[test]
fn a_call_that_waits_in_the_queue_times_out_and_names_the_borrower() {
    let world = World::new();
    let db = AsyncStore::new(impatient(&world, 1));
    // Without a timer of the runtime.
    let runtime = RuntimeBuilder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let (wait, has_begun, go_on) = gate();
        let line_of_slow = line() + 1;
        let slow = tokio::spawn(db.write(|tx| {
            wait()?;
            insert(tx, 0)
        }));
        has_begun.recv_timeout(LONG).unwrap();
        let start = std::time::Instant::now();
        // All of them at the same time: none waits for the timeout of another one.
        let writes: Vec<_> = (1..=20).map(|x| tokio::spawn(db.write(move |tx| insert(tx, x)))).collect();
        for write in writes {
            let error = write.await.unwrap().unwrap_err();
            assert!(error.is_busy() && !error.outcome_unknown(), "{error}");
            assert_eq!(error.borrowers()[0].location.line(), line_of_slow, "{error}");
        }
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(200) && waited < Duration::from_secs(5), "{waited:?}");
        assert_eq!(db.health().await.unwrap().calls.timed_out, 20);
        go_on.send(()).unwrap();
        slow.await.unwrap().unwrap();
        assert_eq!(db.read(rows).await.unwrap(), [0]);
        db.write(|tx| insert(tx, 1)).await.unwrap();
    });
}

#[test]
fn a_closure_that_waits_for_a_call_of_another_task_is_bounded_by_the_acquire_timeout() {
    let world = World::new();
    let db = AsyncStore::new(impatient(&world, 1));
    let runtime = RuntimeBuilder::new_multi_thread().worker_threads(2).build().unwrap();
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let nested = db.clone();
        db.write(move |tx| {
            let other = handle.spawn(nested.write(|tx| insert(tx, 7)));
            let error = handle.block_on(other).unwrap().unwrap_err();
            assert_eq!(error.borrowers().len(), 1, "{error}");
            insert(tx, 1)
        })
        .await
        .unwrap();
        assert_eq!(db.read(rows).await.unwrap(), [1]);
    });
}

#[test]
fn the_time_in_the_queue_counts_towards_the_acquire_timeout() {
    let world = World::new();
    let store = impatient(&world, 0);
    let db = AsyncStore::new(store.clone());
    let runtime = RuntimeBuilder::new_multi_thread().worker_threads(2).build().unwrap();
    // The first has the queue and waits for the writer, which is held outside of the queue.
    let (wait, has_begun, go_on) = gate();
    let holder = std::thread::spawn(move || store.with_connection(|_| wait()));
    has_begun.recv_timeout(LONG).unwrap();
    runtime.block_on(async {
        let start = std::time::Instant::now();
        let first = tokio::spawn(db.write(|tx| insert(tx, 1)));
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(100))).await.unwrap();
        let second = tokio::spawn(db.write(|tx| insert(tx, 2)));
        assert!(first.await.unwrap().unwrap_err().is_busy());
        assert!(second.await.unwrap().unwrap_err().is_busy());
        assert!(start.elapsed() < Duration::from_millis(380), "{:?}", start.elapsed());
    });
    go_on.send(()).unwrap();
    holder.join().unwrap().unwrap();
}
