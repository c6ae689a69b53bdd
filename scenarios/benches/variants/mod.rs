//! The shim in the states that the benches compare, and the commits that they compare it by.

use rusqlite::{Connection, OpenFlags, params};
use seawall_harness::shared_state::Mode;
use seawall_harness::vfs::FaultVfs;
use seawall_scenarios::scratch;
use seawall_scenarios::workload::schema;
use tempfile::TempDir;

/// What any of this can fail with.
pub type Failure = Box<dyn std::error::Error>;

/// Twenty rules of the kinds that plans are made of, of which none ever fires. Most of them select calls that a WAL
/// commit makes, so that counting, comparing and rolling the dice are paid for.
pub const RULES: [&str; 20] = [
    "*@*:errno=EIO:when=1000000000",
    "shmlock@shm:error=IOERR_SHMLOCK:p=1e-17",
    "shmmap@shm:error=IOERR_SHMMAP:p=1e-17",
    "shmmap@shm:error=IOERR_SHMSIZE:p=1e-17:times=3",
    "shmmap@shm:error=IOERR_SHMOPEN:when=1000000000",
    "open@*:error=CANTOPEN,errno=EMFILE:p=1e-17",
    "read@*:error=IOERR_READ:p=1e-17",
    "read@db:short:when=1000000000",
    "read@db:bitflip:when=1000000000",
    "write@*:error=IOERR_WRITE:p=1e-17",
    "write@db:torn=512:when=1000000000",
    "write@wal:error=FULL:after=1TiB",
    "write@wal:kill:when=1000000000",
    "sync@*:error=IOERR_FSYNC:p=1e-17",
    "sync@wal:stall=1ms:when=1000000000",
    "truncate@*:error=IOERR_TRUNCATE,errno=EACCES:times=10:when=1000000000+",
    "filesize@*:error=IOERR_FSTAT:p=1e-17",
    "lock@db:error=BUSY:p=1e-17",
    "unlock@db:error=IOERR_UNLOCK:when=1000000000",
    "delete@wal:error=IOERR_DELETE:actor=p2.*",
];

/// What stands between SQLite and the platform's VFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Nothing.
    Bare,
    /// The shim, switched off.
    Disarmed,
    /// The shim with the rules armed.
    Armed,
    /// The shim with the rules armed and every call traced.
    Tracing,
}

impl Variant {
    /// Every variant; the first is what the others are compared with.
    pub const ALL: [Self; 4] = [Self::Bare, Self::Disarmed, Self::Armed, Self::Tracing];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Disarmed => "disarmed",
            Self::Armed => "armed",
            Self::Tracing => "armed-tracing",
        }
    }

    const fn mode(self) -> Mode {
        match self {
            Self::Bare | Self::Disarmed => Mode::OFF,
            Self::Armed => Mode::ARMED,
            Self::Tracing => Mode::ARMED.and(Mode::TRACE),
        }
    }
}

/// What is committed: one small INSERT in a transaction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Into a table of the application schema, which has four indexes, from SQL text: what a program does.
    Application,
    /// By a prepared statement into a table without an index: the least that SQLite can do between two calls, hence the
    /// greatest share that the shim can have.
    Leanest,
}

impl Workload {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Application, Self::Leanest];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Leanest => "leanest",
        }
    }

    fn init(self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Application => schema::init(connection),
            Self::Leanest => connection.execute_batch("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL)"),
        }
    }

    /// Commits number `nth`.
    fn commit(self, connection: &Connection, nth: i64) -> rusqlite::Result<usize> {
        const TEXT: &str = "forty characters of text in every row...";
        match self {
            Self::Application => {
                let sql = "INSERT INTO documents(source, title, body, created_at) VALUES (?1, ?2, ?3, ?4)";
                connection.execute(sql, params!["bench", "a title", TEXT, nth])
            }
            Self::Leanest => connection.prepare_cached("INSERT INTO note(text) VALUES (?1)")?.execute([TEXT]),
        }
    }
}

/// A new database in WAL mode, opened through a variant.
pub struct Writer {
    connection: Connection,
    workload: Workload,
    commits: i64,
    shim: Option<FaultVfs>,
    _folder: TempDir,
}

impl Writer {
    /// Sets the database up. With `synchronous = NORMAL` a commit syncs nothing, so that what the shim adds stands
    /// against SQLite's own work and not against the kernel's.
    pub fn new(workload: Workload, variant: Variant) -> Result<Self, Failure> {
        let folder = tempfile::tempdir_in(scratch::default_folder())?;
        let path = folder.path().join("commits.db");
        let shim = if variant == Variant::Bare { None } else { Some(shim(variant)?) };
        let flags = OpenFlags::default();
        let connection = match &shim {
            Some(shim) => Connection::open_with_flags_and_vfs(path, flags, shim.name())?,
            None => Connection::open_with_flags(path, flags)?,
        };
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        workload.init(&connection)?;
        Ok(Self { connection, workload, commits: 0, shim, _folder: folder })
    }

    /// Makes one commit.
    pub fn commit(&mut self) -> rusqlite::Result<usize> {
        self.commits += 1;
        self.workload.commit(&self.connection, self.commits)
    }

    /// Complains if a rule fired after all, since then the variants have not done the same.
    pub fn check(&self) -> Result<(), Failure> {
        let Some(shim) = &self.shim else { return Ok(()) };
        match shim.fired_by_rule().find(|(_, fired)| *fired > 0) {
            Some((rule, _)) => Err(format!("a rule fired that must not: {rule}").into()),
            None => Ok(()),
        }
    }
}

fn shim(variant: Variant) -> Result<FaultVfs, Failure> {
    let builder = RULES.iter().try_fold(FaultVfs::builder(), |builder, rule| builder.fault(rule))?;
    let shim = builder.seed(1).name(variant.name()).register()?;
    shim.shared_state().set_mode(variant.mode());
    Ok(shim)
}
