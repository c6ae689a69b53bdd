//! The schema's versions: each change whole or not at all, and never backwards.

use super::*;
use crate::{Class, Operation};

const FIRST: &str = "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO parent VALUES (1, 'a')";
const SECOND: &str = "CREATE TABLE child (parent REFERENCES parent (id)); INSERT INTO child VALUES (1)";
const THIRD: &str = "ALTER TABLE parent ADD COLUMN third";
const FOURTH: &str = "ALTER TABLE parent ADD COLUMN fourth";

/// A store without init, whose n-th migration runs the n-th text.
fn open(world: &World, migrations: &[&'static str]) -> Result<Store, crate::Error> {
    let events = Arc::clone(&world.events);
    let builder = Store::builder()
        .registry(Registry::new())
        .os(Arc::clone(&world.os) as Arc<dyn Os>)
        .events(Arc::new(move |event: &Event| events.lock().push(event.kind.clone())));
    let with = |builder: Builder, sql: &&'static str| {
        let sql = *sql;
        builder.migration(move |tx| tx.execute_batch(sql))
    };
    migrations.iter().fold(builder, with).open(world.path())
}

/// The version and the schema, as a plain connection reads them.
#[track_caller]
fn check(world: &World, version: i32, columns: &[&str]) {
    let conn = Connection::open(world.path()).unwrap();
    assert_eq!(pragma(&conn, "user_version").unwrap(), version.to_string());
    let sql = "SELECT name FROM pragma_table_info('parent') UNION ALL SELECT 'child:' || name FROM pragma_table_info('child')";
    let mut statement = conn.prepare(sql).unwrap();
    let found: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(found, columns);
}

#[test]
fn each_version_is_made_of_the_one_before_and_once() {
    let world = World::new();
    drop(open(&world, &[FIRST, SECOND]).unwrap());
    check(&world, 2, &["id", "name", "child:parent"]);
    drop(open(&world, &[FIRST, SECOND]).unwrap());
    drop(open(&world, &[FIRST, SECOND, THIRD, FOURTH]).unwrap());
    check(&world, 4, &["id", "name", "third", "fourth", "child:parent"]);
    let migrated: Vec<EventKind> =
        world.events().into_iter().filter(|kind| matches!(kind, EventKind::Migrated { .. })).collect();
    assert_eq!(migrated, [EventKind::Migrated { from: 0, to: 2 }, EventKind::Migrated { from: 2, to: 4 }]);
}

#[test]
fn a_migration_that_fails_leaves_the_old_schema_and_the_old_version() {
    let world = World::new();
    drop(open(&world, &[FIRST, SECOND]).unwrap());
    let error = open(&world, &[FIRST, SECOND, THIRD, "DROP TABLE no_such_table"]).unwrap_err();
    assert_eq!((error.operation(), error.class(), error.extended_code()), (Operation::Migrate, Class::GiveUp, Some(1)));
    assert!(error.to_string().contains("migrating the schema failed: version 4: ERROR (1): no such table"), "{error}");
    assert!(error.to_string().contains("the file has its old schema and all its rows: mend the migration"), "{error}");
    check(&world, 2, &["id", "name", "child:parent"]);
    drop(open(&world, &[FIRST, SECOND, THIRD, FOURTH]).unwrap());
    check(&world, 4, &["id", "name", "third", "fourth", "child:parent"]);
}

#[test]
fn a_first_migration_that_fails_leaves_an_empty_file() {
    let world = World::new();
    let error = open(&world, &[FIRST, SECOND, "DROP TABLE no_such_table", FOURTH]).unwrap_err();
    assert!(error.to_string().contains("version 3"), "{error}");
    check(&world, 0, &[]);
}

#[test]
fn a_migration_that_panics_leaves_the_old_schema() {
    let world = World::new();
    drop(open(&world, &[FIRST]).unwrap());
    let builder = world.builder().migration(|_| Ok(()));
    let panicking = builder.migration(|tx| tx.execute_batch(SECOND).map(|()| panic!("in the migration")));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panicking.open(world.path())));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"in the migration"));
    check(&world, 1, &["id", "name"]);
}

#[test]
fn a_reference_that_leads_nowhere_is_refused() {
    let world = World::new();
    drop(open(&world, &[FIRST, SECOND]).unwrap());
    let error = open(&world, &[FIRST, SECOND, "DELETE FROM parent"]).unwrap_err();
    let expected = "a row of table child would refer to a row that is not there; the file has its old schema";
    assert!(error.to_string().contains(expected), "{error}");
    check(&world, 2, &["id", "name", "child:parent"]);
}

#[test]
fn a_table_may_be_built_anew_under_the_rows_that_refer_to_it() {
    const ANEW: &str = "CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT NOT NULL); \
        INSERT INTO new SELECT * FROM parent; DROP TABLE parent; ALTER TABLE new RENAME TO parent";
    const CHILD: &str = "CREATE TABLE child (parent REFERENCES parent (id) ON DELETE CASCADE); \
        INSERT INTO child VALUES (1)";
    let world = World::new();
    drop(open(&world, &[FIRST, CHILD]).unwrap());
    let store = open(&world, &[FIRST, CHILD, ANEW]).unwrap();
    let children = |conn: &Connection| conn.query_row("SELECT count(*) FROM child", [], |row| row.get::<_, i64>(0));
    assert_eq!(store.read(children).unwrap(), 1, "not deleted along with the old table");
    assert_eq!(store.with_connection(|conn| pragma(conn, "foreign_keys")).unwrap(), "1", "enforced again");
    drop(store);
    check(&world, 3, &["id", "name", "child:parent"]);
}

#[test]
fn a_migration_that_commits_by_itself_is_no_success() {
    let world = World::new();
    let error = open(&world, &[FIRST, "COMMIT", THIRD]).unwrap_err();
    assert_eq!(error.operation(), Operation::Migrate);
    assert!(error.to_string().contains("the transaction was over before COMMIT"), "{error}");
    // What it has committed is there. The version says that it is not what it should be.
    check(&world, 0, &["id", "name"]);
}

#[test]
fn a_newer_schema_is_refused_for_readers_and_writers() {
    let world = World::new();
    drop(open(&world, &[FIRST, SECOND, THIRD]).unwrap());
    let error = open(&world, &[FIRST, SECOND]).unwrap_err();
    assert!(error.is_schema_newer() && !error.is_transient());
    let expected = "migrating the schema failed: the schema has version 3, and this program knows versions up to 2; \
        run the newer program";
    assert!(error.to_string().contains(expected), "{error}");
    let read_only = Store::builder().registry(Registry::new()).flags(OpenFlags::SQLITE_OPEN_READ_ONLY);
    assert!(read_only.migration(|_| Ok(())).open(world.path()).unwrap_err().is_schema_newer());
    Connection::open(world.path()).unwrap().execute_batch("PRAGMA user_version = -1").unwrap();
    assert!(open(&world, &[FIRST, SECOND, THIRD]).unwrap_err().is_schema_newer(), "not ours");
    check(&world, -1, &["id", "name", "third", "child:parent"]);
}

#[test]
fn init_runs_before_the_migrations() {
    let world = World::new();
    let store = world.builder().migration(|tx| insert(tx, 1)).open(world.path()).unwrap();
    assert_eq!(store.read(rows).unwrap(), [1]);
    assert_eq!(world.events(), [EventKind::Opened, EventKind::InitCompleted, EventKind::Migrated { from: 0, to: 1 }]);
}
