//! A full disk: writes are spared for a moment, reads go on, and it is told once.
//!
//! The disk is a limit on the pages of the file, which SQLite answers with FULL like a disk without room. A file system
//! that refuses to let the log grow plays in `bad_input`.

use super::*;
use crate::Operation;

struct Full {
    world: World,
    store: Store,
    pages: Arc<AtomicU32>,
}

impl Full {
    fn new() -> Full {
        let (world, pages) = (World::new(), Arc::new(AtomicU32::new(1_000_000)));
        let limit = Arc::clone(&pages);
        let on_connect = move |conn: &Connection| {
            conn.query_row(&format!("PRAGMA max_page_count = {}", limit.load(SeqCst)), [], |_| Ok(()))
        };
        let pause = Duration::from_secs(3);
        let store = world.builder().readers(1).on_connect(on_connect).disk_full_pause(pause);
        let store = store.open(world.path()).unwrap();
        store.write(|tx| insert(tx, 1).and(tx.execute_batch("CREATE TABLE blob (x)"))).unwrap();
        let full = Full { world, store, pages };
        full.limit(6);
        full.world.events();
        full
    }

    /// Sets the limit, and has the connection replaced so that it knows.
    fn limit(&self, pages: u32) {
        self.pages.store(pages, SeqCst);
        self.store.with_connection(|conn| conn.execute_batch("PRAGMA read_uncommitted = ON")).unwrap();
        self.store.with_connection(|_| Ok(())).unwrap();
    }

    fn fill(&self) -> crate::Error {
        self.store.write(|tx| insert(tx, 666).and(tx.execute_batch(BIG))).unwrap_err()
    }
}

const BIG: &str = "INSERT INTO blob VALUES (zeroblob(100000))";

#[test]
fn a_full_disk_refuses_the_next_writes_for_a_moment_and_no_reads() {
    let full = Full::new();
    let error = full.fill();
    assert!(error.is_disk_full() && error.is_transient() && !error.outcome_unknown(), "{error}");
    assert_eq!((error.extended_code(), error.operation()), (Some(13), Operation::Write));
    assert_eq!(full.world.events(), [EventKind::DiskFull]);
    assert!(full.store.health().is_disk_full);

    full.world.os.advance(Duration::from_secs(1));
    let error = full.store.write(|_| -> rusqlite::Result<()> { panic!("not to be run") }).unwrap_err();
    assert!(error.is_disk_full() && error.is_transient(), "{error}");
    assert_eq!((error.retry_after(), error.extended_code()), (Some(Duration::from_secs(2)), None));
    let expected = "BEGIN IMMEDIATE failed: the disk was full a moment ago; writes are tried again in 2s; make room";
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(full.store.read(rows).unwrap(), [1], "reads go on");

    full.world.os.advance(Duration::from_secs(2));
    assert_eq!(full.fill().extended_code(), Some(13), "tried again");
    assert_eq!(full.world.events(), [], "known already");
    full.world.os.advance(Duration::from_secs(3));
    full.limit(1_000_000);
    full.world.events();
    full.store.write(|tx| insert(tx, 2).and(tx.execute_batch(BIG))).unwrap();
    assert_eq!(full.world.events(), [EventKind::DiskHasRoom]);
    let health = full.store.health();
    assert!(!health.is_disk_full && health.breaker_failures == 0, "{health:?}");
    drop(full.store);
    full.world.check_rows(&[1, 2]);
}

#[test]
fn a_full_disk_met_by_the_callers_own_transaction_counts_as_well() {
    let full = Full::new();
    let error = full.store.with_connection(|conn| conn.execute_batch(BIG)).unwrap_err();
    assert!(error.is_disk_full() && error.outcome_unknown(), "it may have been a COMMIT: {error}");
    assert_eq!(full.store.write(|tx| insert(tx, 2)).unwrap_err().retry_after(), Some(Duration::from_secs(3)));
    drop(full.store);
    full.world.check_rows(&[1]);
}

#[test]
fn a_pause_without_end_is_no_panic() {
    let world = World::new();
    world.os.advance(Duration::from_secs(1));
    let store = world.builder().disk_full_pause(Duration::MAX).open(world.path()).unwrap();
    store.write(|tx| Err::<(), _>(connection_failure(tx, 13))).unwrap_err();
    assert!(store.write(|tx| insert(tx, 1)).unwrap_err().retry_after() > Some(Duration::from_secs(1 << 33)));
}
