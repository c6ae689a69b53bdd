//! Several processes: this test binary, started again to play one role.

use super::*;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

const ROLE: &str = "SEAWALL_TEST_ROLE";
const DATABASE: &str = "SEAWALL_TEST_DATABASE";
const DONE: &str = "the role is played";

/// The command that plays a role on a database.
pub(super) fn player(program: &Path, role: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", "tests::processes::the_other_process", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(DATABASE, path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Plays a role to its end, under what the shell is told first.
#[track_caller]
pub(super) fn play(role: &str, path: &Path, limits: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let of_program = player(&program, role, path);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]).arg(program).args(of_program.get_args());
    command.env(ROLE, role).env(DATABASE, path);
    let output = command.output().unwrap();
    check_played(role, &output);
    String::from_utf8(output.stdout).unwrap()
}

/// Plays a role as a user without privileges, in a directory with these rights. If that cannot be done here, it is
/// not, and the reason is printed.
#[track_caller]
pub(super) fn play_as_unprivileged(role: &str, world: &World, mode: u32) {
    const UNPRIVILEGED_UID: u32 = 65534;
    let set_mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    // The binary may be in a folder that other users cannot enter.
    let program = tempfile::tempdir().unwrap();
    set_mode(program.path(), 0o755);
    set_mode(world.dir.path(), mode);
    let copy = program.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut player = player(&copy, role, &world.path());
    player.uid(UNPRIVILEGED_UID).gid(UNPRIVILEGED_UID).current_dir("/");
    // Children of other tests, between fork and exec, may still have the copy open for writing.
    let outputs = std::iter::repeat_with(|| player.output());
    let is_busy = |error: &std::io::Error| error.kind() == ErrorKind::ExecutableFileBusy;
    match outputs.take(1000).find(|output| !output.as_ref().is_err_and(is_busy)).unwrap() {
        Ok(output) => check_played(role, &output),
        Err(error) => println!("not tested: no process without privileges can be had here: {error}"),
    }
}

#[track_caller]
fn check_played(role: &str, output: &Output) {
    let (text, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains(DONE), "{role}: {}\n{text}{complaints}", output.status);
}

/// A process that has said that it is ready and goes on when told to. It is killed at the end, if it still runs.
pub(super) struct Player {
    child: Child,
    told: Option<ChildStdin>,
    says: BufReader<ChildStdout>,
}

impl Player {
    pub(super) fn start(role: &str, path: &Path) -> Player {
        let mut command = player(&std::env::current_exe().unwrap(), role, path);
        // Its complaints stand beside ours.
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let (told, says) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut player = Player { child, told, says };
        player.wait_for("ready");
        player
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(self.says.read_line(&mut line).unwrap(), 0, "it ended without saying {word}");
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn go_on(&mut self) {
        self.told.take().unwrap().write_all(b"go\n").unwrap();
    }

    /// Gives it an order, and returns what it answers.
    pub(super) fn ask(&mut self, order: &str) -> String {
        self.told.as_mut().unwrap().write_all(format!("{order}\n").as_bytes()).unwrap();
        let mut line = String::new();
        assert_ne!(self.says.read_line(&mut line).unwrap(), 0, "it ended at {order}");
        line.trim_end().to_owned()
    }

    /// What else it says, once it has come to its end.
    pub(super) fn end(mut self) -> String {
        self.told = None;
        let mut text = String::new();
        self.says.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success() && text.contains(DONE), "{text}");
        text
    }

    /// Ends it as a power cut would, but for what the kernel has.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test by itself: what the other process does.
#[test]
fn the_other_process() {
    let (Ok(role), Some(path)) = (std::env::var(ROLE), std::env::var_os(DATABASE)) else { return };
    let path = PathBuf::from(path);
    match role.as_str() {
        "hold the first-connect lock" => hold_the_lock(&path),
        "migrate" => migrate(&path),
        "write without end" => write_without_end(&path),
        "fork" => fork(&path),
        "hold a snapshot" => bounds::hold_a_snapshot(&path),
        "serve many tenants" => bounds::serve_many_tenants(&path),
        "write to a database that was read-only" => rights::write_to_a_database_that_was_read_only(&path),
        "open beside the lock file of root" => rights::open_beside_the_lock_file_of_root(&path),
        "obey" => outsiders::obey(&path),
        "write under load" => outsiders::write_under_load(&path),
        "hold the write lock" => truth::play(&path),
        other => bad_input::play(other, &path),
    }
    println!("{DONE}");
}

pub(super) fn wait_for_word() {
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn hold_the_lock(path: &Path) {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".init.lock");
    let _held = SystemOs::new().try_lock_file(Path::new(&lock), path).unwrap().unwrap();
    wait_for_word();
}

#[test]
fn the_holder_of_the_first_connect_lock_is_named() {
    let world = World::new();
    let holder = Player::start("hold the first-connect lock", &world.path());
    let error = world.builder().first_connect_wait(Duration::from_secs(10)).open(world.path()).unwrap_err();
    let holder_told = match Path::new("/proc/locks").exists() {
        true => format!("process {}", holder.child.id()),
        false => "another process".to_owned(),
    };
    let lock = world.side_file(".init.lock").canonicalize().unwrap();
    let expected = format!(
        "waiting for the first-connect lock failed: {holder_told} has held {} for 10s; \
        look for a process that hangs while opening",
        lock.display()
    );
    assert!(error.to_string().contains(&expected), "{error}\n{expected}");
    assert!(error.is_busy() && error.is_transient());
    assert!(!world.path().exists());
    assert_eq!(world.inits.load(SeqCst), 0);
    holder.end();
    assert_eq!(world.store().read(rows).unwrap(), [0; 0]);
}

#[test]
fn a_holder_that_is_killed_holds_nothing() {
    let world = World::new();
    Player::start("hold the first-connect lock", &world.path()).kill();
    world.builder().first_connect_wait(Duration::ZERO).open(world.path()).unwrap();
}

fn migrate(path: &Path) {
    let heard = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let events = Arc::clone(&heard);
    let mut builder = Store::builder().events(Arc::new(move |event: &Event| events.lock().push(event.to_string())));
    for sql in [
        "CREATE TABLE a (x); INSERT INTO a VALUES (1)",
        "CREATE TABLE b (x)",
        "INSERT INTO a VALUES (2)",
        "ALTER TABLE a ADD COLUMN y",
    ] {
        builder = builder.migration(move |tx| {
            std::thread::sleep(Duration::from_millis(5));
            tx.execute_batch(sql)
        });
    }
    wait_for_word();
    let store = builder.open(path).unwrap();
    let sum = store.read(|conn| conn.query_row("SELECT sum(x) FROM a", [], |row| row.get::<_, i64>(0))).unwrap();
    assert_eq!(sum, 3);
    heard.lock().iter().for_each(|event| println!("{event}"));
}

#[test]
fn processes_that_race_from_version_zero_migrate_once() {
    for _ in 0..3 {
        let world = World::new();
        let mut players: Vec<Player> = (0..3).map(|_| Player::start("migrate", &world.path())).collect();
        players.iter_mut().for_each(Player::go_on);
        let texts: Vec<String> = players.into_iter().map(Player::end).collect();
        let migrated = texts.iter().filter(|text| text.contains("schema migrated from version 0 to 4")).count();
        assert_eq!(migrated, 1, "{texts:?}");
        let conn = Connection::open(world.path()).unwrap();
        assert_eq!(pragma(&conn, "user_version").unwrap(), "4");
    }
}

fn write_without_end(path: &Path) {
    let store = Store::builder().init(|conn| conn.execute_batch(SCHEMA)).open(path).unwrap();
    println!("ready");
    for x in 0.. {
        store.write(|tx| insert(tx, x)).unwrap();
        println!("acknowledged {x}");
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there() {
    let world = World::new();
    let mut player = Player::start("write without end", &world.path());
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 50 {
        let mut line = String::new();
        player.says.read_line(&mut line).unwrap();
        acknowledged.extend(line.trim().strip_prefix("acknowledged ").map(|x| x.parse::<i64>().unwrap()));
    }
    player.child.kill().unwrap();
    let mut rest = String::new();
    player.says.read_to_string(&mut rest).unwrap();
    // A line that was cut short is no acknowledgement.
    let whole = rest.rsplit_once('\n').map_or("", |(whole, _)| whole);
    acknowledged.extend(whole.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<i64>().ok()));
    player.kill();
    let found = world.store().read(rows).unwrap();
    assert!(found.starts_with(&acknowledged) && found.len() - acknowledged.len() <= 1, "{acknowledged:?} {found:?}");
}

fn fork(path: &Path) {
    let (store, cache) = (Store::open(path).unwrap(), Cache::builder().registry(Registry::new()).build());
    store.write(|tx| tx.execute_batch(SCHEMA).and(insert(tx, 1))).unwrap();
    let parent = std::process::id();
    let closed = path.with_extension("closed.db");
    cache.write(&closed, |tx| tx.execute_batch(SCHEMA).and(insert(tx, 7))).unwrap();
    cache.close(&closed).unwrap();
    let status = crate::ffi::tests::in_forked_child(|| {
        let refused = |error: crate::Error| {
            let text = error.to_string();
            text.contains(&format!("process {parent} had the database open when it forked this one"))
                && text.contains("exec first, or fork before opening")
                && !error.is_transient()
        };
        let is_refused = refused(store.read(rows).unwrap_err())
            && refused(store.write(|tx| insert(tx, 2)).unwrap_err())
            && refused(store.with_connection(|_| Ok(())).unwrap_err())
            && refused(store.close(Duration::ZERO).unwrap_err())
            && refused(Store::open(path).unwrap_err());
        let is_left_alone = store.health().state == crate::health::HealthState::Unopened;
        store.maintain();
        // The handle goes, and the connection that it led to is still the parent's.
        drop(store.clone());
        let is_fresh = cache.write(&closed, |tx| insert(tx, 8)).is_ok();
        is_refused && is_left_alone && is_fresh
    });
    assert!(status, "the child was not told, or was served");
    assert_eq!(store.read(rows).unwrap(), [1]);
    store.write(|tx| insert(tx, 3)).unwrap();
    assert_eq!(store.health().opens, 1);
    assert_eq!(cache.read(&closed, rows).unwrap(), [7, 8]);
    drop(store);
    check_rows(path, &[1, 3]);
}

#[test]
fn a_real_child_never_gets_its_parents_connection() {
    let world = World::new();
    play("fork", &world.path(), ":");
}

#[test]
fn a_child_that_drops_what_it_inherited_may_still_not_open_it() {
    let (world, registry) = (World::new(), Registry::new());
    let open = || world.builder().registry(Arc::clone(&registry)).open(world.path());
    let store = open().unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    world.os.become_process(2);
    assert_eq!(store.health().probe, crate::health::ProbeOutcome::NotOpen);
    drop(store);
    assert!(world.side_file("-wal").exists());
    let error = open().unwrap_err();
    assert!(error.to_string().contains("process 1 had the database open when it forked this one"), "{error}");
    world.os.become_process(1);
    assert_eq!(open().unwrap().read(rows).unwrap(), [1]);
}
