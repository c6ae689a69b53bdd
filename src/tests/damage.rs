//! A damaged database under a store: nothing by default, and what the caller's policy says otherwise.

use super::*;
use crate::quarantine::{OnCorruption, QuarantinePolicy};
use crate::{Error, Store};
use std::sync::Mutex;

/// A database of many pages, with rows in the log alone, as a crash leaves it behind; then a page breaks.
fn damaged_world() -> World {
    let world = World::new();
    let origin = world.dir.path().join("origin.db");
    let conn = Connection::open(&origin).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x INTEGER PRIMARY KEY);
         CREATE TABLE wide (x INTEGER PRIMARY KEY, pad TEXT);
         WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 500)
         INSERT INTO wide SELECT x, hex(zeroblob(200)) FROM n;
         PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (1), (2), (3)",
    )
    .unwrap();
    let mut bytes = std::fs::read(&origin).unwrap();
    let start = bytes.len() - 4096;
    bytes[start..start + 16].fill(0xff);
    std::fs::write(world.path(), bytes).unwrap();
    std::fs::copy(world.dir.path().join("origin.db-wal"), world.side_file("-wal")).unwrap();
    world
}

fn policy(on_corruption: OnCorruption) -> QuarantinePolicy {
    QuarantinePolicy { on_corruption, ..QuarantinePolicy::default() }
}

/// Reads the broken page.
fn trip(store: &Store) -> Error {
    store.read(|conn| conn.query_row("SELECT sum(length(pad)) FROM wide", [], |row| row.get::<_, i64>(0))).unwrap_err()
}

fn quarantined(events: &[EventKind]) -> usize {
    events.iter().filter(|kind| matches!(kind, EventKind::Quarantined { is_duplicate: false, .. })).count()
}

#[test]
fn by_default_a_damaged_database_stays_and_says_so_every_time() {
    let world = damaged_world();
    let store = world.builder().readers(2).open(world.path()).unwrap();
    for _ in 0..5 {
        let error = trip(&store);
        assert!(error.is_corruption() && !error.is_breaker_open(), "{error}");
        assert!(error.to_string().contains("quick_check"), "{error}");
        assert_eq!(error.quarantined_to(), None);
        assert_eq!(store.read(rows).unwrap(), [1, 2, 3], "what can be read is read");
    }
    assert_eq!(quarantined(&world.events()), 0);
    assert!(!world.side_file(".quarantine").exists());
}

#[test]
fn rebuild_moves_everything_away_and_begins_anew() {
    let world = damaged_world();
    let store = world.builder().readers(2).quarantine(policy(OnCorruption::Rebuild)).open(world.path()).unwrap();
    assert_eq!(store.read(rows).unwrap(), [1, 2, 3]);
    let error = loop {
        // A reader meets it first; the writer looks into it.
        let error = trip(&store);
        assert!(error.is_corruption(), "{error}");
        if error.quarantined_to().is_some() {
            break error;
        }
    };
    let bundle = error.quarantined_to().unwrap();
    assert!(error.to_string().contains("the next call begins with a new database"), "{error}");
    assert_eq!(quarantined(&world.events()), 1);

    assert_eq!(store.read(rows).unwrap(), [0; 0], "initialised and empty");
    store.write(|tx| insert(tx, 9)).unwrap();
    assert_eq!(world.inits.load(SeqCst), 2, "once for each file");
    let old = Connection::open(bundle.join("x.db")).unwrap();
    assert_eq!(rows(&old).unwrap(), [1, 2, 3], "the log has come along");
    assert_eq!(store.read(rows).unwrap(), [9]);
}

#[test]
fn salvage_fills_the_new_database_before_any_call_uses_it() {
    let world = damaged_world();
    let salvage = |bundle: &crate::quarantine::Bundle, conn: &mut Connection| {
        conn.execute("ATTACH ?1 AS old", [bundle.database.to_string_lossy()])?;
        conn.execute("INSERT INTO main.t SELECT x FROM old.t", []).map(drop)
    };
    let policy = policy(OnCorruption::Salvage(Arc::new(salvage)));
    let store = world.builder().quarantine(policy).open(world.path()).unwrap();
    assert!(trip(&store).quarantined_to().is_some());
    assert_eq!(store.read(rows).unwrap(), [1, 2, 3]);
    let events = world.events();
    assert!(events.iter().any(|kind| matches!(kind, EventKind::Salvaged { .. })), "{events:?}");
    store.write(|tx| insert(tx, 4)).unwrap();
    drop(store);
    assert_eq!(rows(&Connection::open(world.path()).unwrap()).unwrap(), [1, 2, 3, 4]);
}

#[test]
fn a_salvage_that_fails_is_an_error_and_is_tried_again() {
    let world = damaged_world();
    let outcomes = Mutex::new(vec![Ok(()), Err(sqlite_failure(1))]);
    let salvage = move |_: &crate::quarantine::Bundle, conn: &mut Connection| {
        insert(conn, 7)?;
        outcomes.lock().unwrap().pop().unwrap()
    };
    let policy = policy(OnCorruption::Salvage(Arc::new(salvage)));
    let store = world.builder().quarantine(policy).open(world.path()).unwrap();
    assert!(trip(&store).quarantined_to().is_some());
    let error = store.read(rows).unwrap_err();
    assert!(error.to_string().contains("salvage from") && error.to_string().contains("rolled back"), "{error}");
    assert_eq!(store.read(rows).unwrap(), [7]);
}

#[test]
fn a_false_alarm_moves_nothing() {
    let world = World::new();
    let store = world.builder().quarantine(policy(OnCorruption::Rebuild)).open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    let error = store.read(|_| Err::<(), _>(sqlite_failure(11))).unwrap_err();
    assert!(error.is_corruption() && error.quarantined_to().is_none(), "{error}");
    let events = world.events();
    assert!(events.contains(&EventKind::FalseAlarm { code: Some(11) }), "{events:?}");
    assert_eq!(quarantined(&events), 0);
    assert_eq!(store.read(rows).unwrap(), [1]);
}

#[test]
fn a_file_that_is_no_database_is_moved_away_if_the_caller_wants_that() {
    let world = World::new();
    std::fs::write(world.path(), [b'x'; 8192]).unwrap();
    let open = || world.builder().quarantine(policy(OnCorruption::Rebuild)).open(world.path());
    let error = open().unwrap_err();
    let bundle = error.quarantined_to().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(std::fs::read(bundle.join("x.db")).unwrap(), [b'x'; 8192]);
    assert_eq!(open().unwrap().read(rows).unwrap(), [0; 0]);
}

#[test]
fn a_damaged_database_that_another_process_uses_is_not_moved() {
    let world = damaged_world();
    let store = world.builder().quarantine(policy(OnCorruption::Rebuild)).open(world.path()).unwrap();
    let other = Connection::open(world.path()).unwrap();
    assert_eq!(rows(&other).unwrap(), [1, 2, 3]);
    let error = trip(&store);
    assert!(error.is_corruption() && error.quarantined_to().is_none(), "{error}");
    assert!(error.to_string().contains("has it open") || error.to_string().contains("locked"), "{error}");
    assert_eq!(rows(&other).unwrap(), [1, 2, 3]);
    drop(other);
    assert!(trip(&store).quarantined_to().is_some(), "it is tried again");
}

/// A database about which SQLite is not content, though no page of it is damaged: the closure meets an error of
/// corruption, or reports one.
#[track_caller]
fn check_stays(what: &str, prepare: impl Fn(&World, &mut Connection) -> rusqlite::Result<()>, sql: &str) {
    let world = World::new();
    let store = world.builder().quarantine(policy(OnCorruption::Rebuild)).open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    store.with_connection(|conn| prepare(&world, conn)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let run = |conn: &mut Connection| {
        let sql = sql.replace("{d}", &world.dir.path().display().to_string());
        conn.execute_batch(&sql)?;
        Err::<(), _>(sqlite_failure(11))
    };
    for _ in 0..3 {
        let error = store.with_connection(run).unwrap_err();
        assert!(error.is_corruption() && error.quarantined_to().is_none(), "{what}: {error}");
    }
    assert_eq!(quarantined(&world.events()), 0, "{what}");
    assert!(!world.side_file(".quarantine").exists(), "{what}");
    assert_eq!(store.read(rows).unwrap(), [1], "{what}");
    store.write(|tx| insert(tx, 2)).unwrap_or_else(|error| panic!("{what}: {error}"));
}

/// Changes the schema's table itself.
fn past_the_schema(text: &'static str) -> impl Fn(&World, &mut Connection) -> rusqlite::Result<()> {
    move |_, conn| {
        conn.execute_batch("PRAGMA writable_schema = ON")?;
        conn.execute_batch(text)?;
        conn.execute_batch("PRAGMA writable_schema = RESET")
    }
}

#[test]
fn a_sound_database_stays_whatever_else_sqlite_complains_about() {
    let sql = |text: &'static str| move |_: &World, conn: &mut Connection| conn.execute_batch(text);
    check_stays("nothing", sql(""), "");
    let out_of_step = sql("CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('one'), ('two');
        UPDATE f_content SET c0 = 'three'");
    check_stays("an FTS index out of step", out_of_step, "");
    check_stays("FTS says so itself", out_of_step, "INSERT INTO f(f) VALUES ('integrity-check')");
    let without_data = sql("CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('one'); DELETE FROM f_data");
    check_stays("FTS without its data", without_data, "SELECT * FROM f WHERE f MATCH 'one'");
    let old_fts = sql("CREATE VIRTUAL TABLE f USING fts4(x); INSERT INTO f VALUES ('one'); DELETE FROM f_segdir");
    check_stays("FTS4 out of step", old_fts, "");
    let rtree =
        sql("CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES (1, 2, 3); DELETE FROM r_rowid");
    check_stays("an R-tree out of step", rtree, "");
    let check = "CREATE TABLE c (x CHECK (x > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO c VALUES (-1)";
    check_stays("CHECK", sql(check), "");
    let not_null = "CREATE TABLE c (x); INSERT INTO c VALUES (NULL)";
    check_stays(
        "NOT NULL",
        |world: &World, conn: &mut Connection| {
            sql(not_null)(world, conn)?;
            past_the_schema("UPDATE sqlite_schema SET sql = 'CREATE TABLE c (x NOT NULL)' WHERE name = 'c'")(
                world, conn,
            )
        },
        "",
    );
    check_stays(
        "UNIQUE",
        |world: &World, conn: &mut Connection| {
            sql("CREATE TABLE c (x); INSERT INTO c VALUES (1), (1); CREATE INDEX i ON c (x)")(world, conn)?;
            past_the_schema("UPDATE sqlite_schema SET sql = 'CREATE UNIQUE INDEX i ON c (x)' WHERE name = 'i'")(
                world, conn,
            )
        },
        "",
    );
    check_stays(
        "a page that belongs to nothing",
        |world: &World, conn: &mut Connection| {
            sql("CREATE TABLE c (x); INSERT INTO c VALUES (1)")(world, conn)?;
            past_the_schema("DELETE FROM sqlite_schema WHERE name = 'c'")(world, conn)
        },
        "",
    );
}

#[test]
fn what_this_program_lacks_is_no_damage_of_the_database() {
    let sql = |text: &'static str| move |_: &World, conn: &mut Connection| conn.execute_batch(text);
    check_stays(
        "a collation that is not there",
        |_: &World, conn: &mut Connection| {
            conn.create_collation("mine", |a, b| a.cmp(b))?;
            conn.execute_batch("CREATE TABLE c (x TEXT COLLATE mine UNIQUE); INSERT INTO c VALUES ('a')")
        },
        "",
    );
    check_stays(
        "a module that is not there",
        |world: &World, conn: &mut Connection| {
            sql("CREATE TABLE c (x)")(world, conn)?;
            past_the_schema(
                "UPDATE sqlite_schema SET sql = 'CREATE VIRTUAL TABLE c USING future(x)', rootpage = 0 WHERE name = 'c'",
            )(world, conn)
        },
        "",
    );
}

#[test]
fn the_damage_of_an_attached_file_is_not_the_databases() {
    let (world, other) = (World::new(), damaged_world());
    let store = world.builder().quarantine(policy(OnCorruption::Rebuild)).open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    for _ in 0..3 {
        let error = store.with_connection(|conn| {
            conn.execute("ATTACH ?1 AS other", [other.path().to_string_lossy()])?;
            conn.query_row("SELECT sum(length(pad)) FROM other.wide", [], |row| row.get::<_, i64>(0))
        });
        let error = error.unwrap_err();
        assert!(error.extended_code() == Some(11) && error.quarantined_to().is_none(), "{error}");
    }
    assert_eq!(quarantined(&world.events()), 0);
    assert_eq!(store.read(rows).unwrap(), [1]);
}

#[test]
fn damage_beside_what_is_out_of_step_is_still_damage() {
    let world = damaged_world();
    let conn = Connection::open(world.path()).unwrap();
    conn.execute_batch(
        "CREATE TABLE c (x CHECK (x > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO c VALUES (-1);
         PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema VALUES ('view', 'v', 'v', 0, 'CREATE VIEW v AS SELECT FROM THE FUTURE')",
    )
    .unwrap();
    drop(conn);
    let open = || world.builder().init(|_| Ok(())).quarantine(policy(OnCorruption::Rebuild)).open(world.path());
    // The schema cannot be parsed, so the database cannot even be set up.
    let error = open().unwrap_err();
    assert!(error.quarantined_to().is_some(), "{error}");
}

#[test]
fn a_schema_of_a_newer_sqlite_is_no_damage() {
    let world = World::new();
    drop(world.store());
    let conn = Connection::open(world.path()).unwrap();
    conn.execute_batch(
        "INSERT INTO t VALUES (1); PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema VALUES ('view', 'v', 'v', 0, 'CREATE VIEW v AS SELECT FROM THE FUTURE')",
    )
    .unwrap();
    drop(conn);
    let open = || world.builder().quarantine(policy(OnCorruption::Rebuild)).open(world.path());
    for _ in 0..3 {
        let error = open().unwrap_err();
        assert!(error.extended_code() == Some(11) && error.quarantined_to().is_none(), "{error}");
    }
    assert!(!world.side_file(".quarantine").exists());
    let conn = Connection::open(world.path()).unwrap();
    conn.execute_batch("PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'v'").unwrap();
    drop(conn);
    assert_eq!(open().unwrap().read(rows).unwrap(), [1]);
}
