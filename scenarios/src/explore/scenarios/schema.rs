//! `schema`: actors create, alter and drop tables, columns and indices while other actors read and write, with VACUUM,
//! and with savepoints whose DDL is rolled back.
//!
//! Each actor has tables of its own, so the state of a table does not depend on the order in which other actors commit.
//! To the ledger a table is a transaction whose version is a checksum over its entries in `sqlite_master`: at the end
//! they must be those that the last acknowledged change left. All actors read everything, so the statements of all of
//! them have to be compiled again.

use super::{
    ActorPlan, Begin, Checkpoint, ConnectionActor, Draft, Layout, OwnStep, Query, Scenario, Settings, Step, Target,
    actor_of, ledger_table, mixed, nothing_else, pick,
};
use rand::{Rng, RngExt};
use seawall_harness::engine::SqlError;
use seawall_harness::oracle::table::{Table, TxnKey, TxnState};
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "schema",
    summary: "tables, columns and indices come and go under readers and writers, with VACUUM and savepoints around DDL",
    is_listed: true,
    draw,
    sql: mixed::SQL,
    table,
    check: nothing_else,
};

/// Tables of each actor.
const SLOTS: u8 = 2;

/// Where the numbers of tables begin among those of transactions.
const FIRST_KEY: u32 = 1_000_000;

/// A step of an actor of the scenario `schema`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum SchemaStep {
    /// A transaction that changes one of the actor's tables.
    Change {
        /// Which table.
        slot: u8,
        /// What is done if the table exists. If not, it is created.
        ddl: Ddl,
        /// How the transaction begins.
        begin: Begin,
        /// Whether it does other DDL within a savepoint and rolls that back.
        savepoint: bool,
    },
    /// `VACUUM`
    Vacuum,
    /// `PRAGMA incremental_vacuum`
    IncrementalVacuum,
}

/// What is done to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Ddl {
    AddColumn,
    RenameColumn,
    CreateIndex,
    DropIndex,
    DropTable,
    Insert,
}

fn draw(seed: Seed) -> Draft {
    let mut rng = seed.stream("schema").rng();
    let rng = &mut rng;
    let layout = Layout { page_bytes: pick(rng, [512, 1024, 4096]), auto_vacuum: pick(rng, [0, 1, 2, 2]) };
    let settings = Settings::draw(rng, seed);
    let connections = pick(rng, [2, 3_u16]);
    let processes = rng.random_range(1..=connections);
    let length = rng.random_range(6..=20_u32);
    let actors = ActorPlan::spread(connections, processes, || (0..length).map(|_| step(rng)).collect());
    Draft { layout, settings, actors }
}

fn step(rng: &mut impl Rng) -> Step {
    use Checkpoint::{Full, Passive, Restart, Truncate};
    use Ddl::{AddColumn, CreateIndex, DropIndex, DropTable, Insert, RenameColumn};
    match rng.random_range(0..20_u32) {
        0..10 => Step::Schema(SchemaStep::Change {
            slot: rng.random_range(0..SLOTS),
            ddl: pick(rng, [AddColumn, RenameColumn, CreateIndex, DropIndex, DropTable, Insert]),
            begin: pick(rng, [Begin::Immediate, Begin::Deferred]),
            savepoint: rng.random_ratio(1, 3),
        }),
        10 => Step::Schema(SchemaStep::Vacuum),
        11 => Step::Schema(SchemaStep::IncrementalVacuum),
        12..15 => Step::Write {
            changes: pick(rng, [1, 2, 5]),
            begin: pick(rng, [Begin::Immediate, Begin::Deferred]),
            savepoint: rng.random_ratio(1, 6),
            rollback: rng.random_ratio(1, 10),
            payload_bytes: pick(rng, [4, 60, 1500]),
            target: Target::Any,
        },
        15..18 => Step::Read,
        18 => Step::Checkpoint { mode: pick(rng, [Passive, Full, Restart, Truncate]) },
        _ => Step::Reopen,
    }
}

impl OwnStep for SchemaStep {
    fn take(&self, actor: &mut ConnectionActor<'_>, number: u32) -> Result<(), SqlError> {
        match *self {
            Self::Change { slot, ddl, begin, savepoint } => {
                let key = TxnKey { actor: actor.actor, txn: FIRST_KEY + u32::from(slot) };
                let mut after = TxnState::Absent;
                let result = actor.alter(key, (slot, number), ddl, begin, savepoint, &mut after);
                if let (Err(error), TxnState::Absent) = (&result, after) {
                    // It failed before the table had a new state.
                    actor.context.note_alarm(actor.actor, error);
                    actor.context.history.borrow_mut().ledger.refused_read();
                    return Ok(());
                }
                actor.settle(key, after, result, false).map(drop)
            }
            Self::Vacuum => actor.script("VACUUM"),
            Self::IncrementalVacuum => actor.script("PRAGMA incremental_vacuum(3)"),
        }
    }

    fn simpler(&self) -> Vec<Step> {
        let Self::Change { slot, ddl, begin, savepoint } = *self else { return Vec::new() };
        let change = |begin, savepoint| Step::Schema(Self::Change { slot, ddl, begin, savepoint });
        vec![change(begin, false), change(Begin::Immediate, savepoint)]
    }
}

impl ConnectionActor<'_> {
    /// Changes a table; `after` is its state before the COMMIT.
    fn alter(
        &mut self,
        key: TxnKey,
        (slot, number): (u8, u32),
        ddl: Ddl,
        begin: Begin,
        savepoint: bool,
        after: &mut TxnState,
    ) -> Result<(), SqlError> {
        let name = format!("s{}_{slot}", self.id());
        self.sql(begin.sql())?;
        let before = self.table_state(key)?;
        if !self.context.is_dead(self.actor) {
            self.context.history.borrow_mut().ledger.observed(key, before);
        }
        if savepoint {
            self.sql("SAVEPOINT inner")?;
            self.script(&format!(
                "CREATE TABLE {name}_undone(a, b); CREATE INDEX {name}_undone_a ON {name}_undone(a)"
            ))?;
            self.script(&format!("DROP TABLE IF EXISTS {name}"))?;
            self.sql("ROLLBACK TO inner")?;
            self.sql("RELEASE inner")?;
        }
        match (before, ddl) {
            (TxnState::Absent, _) => {
                self.script(&format!("CREATE TABLE {name}(k INTEGER PRIMARY KEY, v, w DEFAULT {number})"))?;
                self.script(&format!("INSERT INTO {name}(k) VALUES (1), (2), (3)"))?;
            }
            (_, Ddl::AddColumn) => {
                self.script(&format!("ALTER TABLE {name} ADD COLUMN c{number} DEFAULT {number}"))?;
                self.script(&format!("UPDATE {name} SET c{number} = k"))?;
            }
            (_, Ddl::RenameColumn) => self.script(&format!("ALTER TABLE {name} RENAME COLUMN w TO w{number}"))?,
            (_, Ddl::CreateIndex) => self.script(&format!("CREATE INDEX IF NOT EXISTS {name}_by ON {name}(k, v)"))?,
            (_, Ddl::DropIndex) => self.script(&format!("DROP INDEX IF EXISTS {name}_by"))?,
            (_, Ddl::DropTable) => self.script(&format!("DROP TABLE {name}"))?,
            (_, Ddl::Insert) => self.script(&format!("INSERT INTO {name}(k) SELECT max(k) + 1 FROM {name}"))?,
        }
        *after = self.table_state(key)?;
        Ok(())
    }

    fn table_state(&mut self, key: TxnKey) -> Result<TxnState, SqlError> {
        let table = schemas(&mut |sql, each| self.query(sql, &[], each))?;
        Ok(table.get(&key).copied().unwrap_or(TxnState::Absent))
    }
}

/// The ledger's table and, as further transactions, the tables of all actors.
pub(super) fn table(query: &mut Query<'_>) -> Result<Table, SqlError> {
    let mut table = ledger_table(query)?;
    table.append(&mut schemas(query)?);
    Ok(table)
}

fn schemas(query: &mut Query<'_>) -> Result<Table, SqlError> {
    const SELECT: &str =
        "SELECT tbl_name, name, sql FROM sqlite_master WHERE tbl_name LIKE 's%' ORDER BY tbl_name, name";
    let mut table = Table::new();
    query(SELECT, &mut |row| {
        let Some(key) = key_of(&row.text(0)) else { return };
        let version = table.entry(key).or_insert(TxnState::Whole(0));
        let before = match *version {
            TxnState::Whole(version) => version,
            TxnState::Absent | TxnState::Torn => 0,
        };
        // FNV-1a over names and texts, 32 bits of it.
        let mut hash = before ^ 0x811c_9dc5;
        for column in 1..3 {
            for byte in row.text(column).bytes() {
                hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            }
        }
        *version = TxnState::Whole(hash);
    })?;
    Ok(table)
}

/// The actor and the number of a table: `s101_0`.
fn key_of(name: &str) -> Option<TxnKey> {
    let (id, slot) = name.strip_prefix('s')?.split_once('_')?;
    Some(TxnKey { actor: actor_of(id.parse().ok()?), txn: FIRST_KEY + slot.parse::<u32>().ok()? })
}
