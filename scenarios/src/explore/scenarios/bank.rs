//! `bank`: accounts, transfers between them, and audits. The sum of all balances is the same in every snapshot, and
//! each balance follows from the transfers in the same snapshot (the classic workload of isolation tests: Jepsen's
//! `bank`).
//!
//! Each transfer leaves a row; these rows are the transactions of the ledger.

use super::{
    ActorPlan, Begin, Checkpoint, ConnectionActor, Draft, Layout, OwnStep, Query, Scenario, Settings, Step, actor_of,
    pick,
};
use rand::{Rng, RngExt};
use seawall_harness::engine::SqlError;
use seawall_harness::oracle::isolation::{End, Op};
use seawall_harness::oracle::table::{Table, TxnKey, TxnState};
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "bank",
    summary: "transfers between accounts with savepoints and rollbacks, and audits: the sum is the same in every snapshot",
    is_listed: true,
    draw,
    sql: SQL,
    table: transfers,
    check: balances,
};

const ACCOUNTS: i64 = 8;
const BALANCE: i64 = 1000;

/// Added to the version of a write that is rolled back with its savepoint: no two writes may have the same version.
const UNDONE: i64 = 1_000_000_000;

/// What all accounts hold together.
const SUM: i64 = ACCOUNTS * BALANCE;

pub(super) const SQL: &str =
    "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, version INTEGER NOT NULL);
     CREATE TABLE transfers(actor INTEGER, txn INTEGER, source INTEGER, target INTEGER, amount INTEGER, pad BLOB,
                            PRIMARY KEY(actor, txn)) WITHOUT ROWID;
     CREATE INDEX transfers_by_source ON transfers(source);
     INSERT INTO accounts WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8)
                          SELECT i, 1000, 0 FROM n;";

/// A step of an actor of the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum BankStep {
    /// Moves an amount from one account to another.
    Transfer {
        /// From which account.
        source: u8,
        /// To which one.
        target: u8,
        /// How much.
        amount: u8,
        /// How the transaction begins.
        begin: Begin,
        /// Whether it writes within a savepoint and rolls that back.
        savepoint: bool,
        /// Whether it is rolled back at the end.
        rollback: bool,
        /// Size of the payload of the transfer's row.
        pad_bytes: u16,
    },
    /// Reads all balances, twice, and all transfers, in one transaction.
    Audit,
}

fn draw(seed: Seed) -> Draft {
    let mut rng = seed.stream("bank").rng();
    let rng = &mut rng;
    let layout = Layout { page_bytes: pick(rng, [512, 1024, 4096]), auto_vacuum: pick(rng, [0, 1, 2]) };
    let settings = Settings::draw(rng, seed);
    let connections = pick(rng, [2, 3, 4_u16]);
    let processes = rng.random_range(1..=connections.min(3));
    let length = rng.random_range(8..=30_u32);
    let weights = [rng.random_range(6..=14), rng.random_range(2..=8), rng.random_range(0..=4), rng.random_range(0..=2)];
    let actors = ActorPlan::spread(connections, processes, || (0..length).map(|_| step(rng, weights)).collect());
    Draft { layout, settings, actors }
}

fn step(rng: &mut impl Rng, [transfer, audit, checkpoint, reopen]: [u32; 4]) -> Step {
    use Checkpoint::{Full, Passive, Restart, Truncate};
    let n = rng.random_range(0..transfer + audit + checkpoint + reopen);
    if n < transfer {
        let source = rng.random_range(1..=ACCOUNTS as u8);
        Step::Bank(BankStep::Transfer {
            source,
            target: 1 + (source - 1 + rng.random_range(1..ACCOUNTS as u8)) % ACCOUNTS as u8,
            amount: rng.random_range(1..=100),
            begin: pick(rng, [Begin::Immediate, Begin::Deferred]),
            savepoint: rng.random_ratio(1, 4),
            rollback: rng.random_ratio(1, 8),
            pad_bytes: pick(rng, [4, 100, 1500]),
        })
    } else if n < transfer + audit {
        Step::Bank(BankStep::Audit)
    } else if n < transfer + audit + checkpoint {
        Step::Checkpoint { mode: pick(rng, [Passive, Passive, Full, Restart, Truncate]) }
    } else {
        Step::Reopen
    }
}

impl OwnStep for BankStep {
    fn take(&self, actor: &mut ConnectionActor<'_>, number: u32) -> Result<(), SqlError> {
        match *self {
            Self::Transfer { rollback, .. } => {
                let (key, state) = (TxnKey { actor: actor.actor, txn: number }, TxnState::Whole(0));
                let result = actor.transfer(number, *self);
                actor.settle(key, state, result, rollback).map(drop)
            }
            Self::Audit => actor.audit(),
        }
    }

    fn simpler(&self) -> Vec<Step> {
        let Self::Transfer { source, target, amount, begin, savepoint, rollback, pad_bytes } = *self else {
            return Vec::new();
        };
        let transfer = |amount, begin, savepoint, rollback, pad_bytes| {
            Step::Bank(Self::Transfer { source, target, amount, begin, savepoint, rollback, pad_bytes })
        };
        vec![
            transfer(amount, begin, false, rollback, pad_bytes),
            transfer(amount, begin, savepoint, false, pad_bytes),
            transfer(amount, Begin::Immediate, savepoint, rollback, pad_bytes),
            transfer(amount, begin, savepoint, rollback, 4),
            transfer(1, begin, savepoint, rollback, pad_bytes),
        ]
    }

    fn with_payload(&self, pad_bytes: u16) -> Option<Step> {
        let Self::Transfer { source, target, amount, rollback, .. } = *self else { return None };
        let begin = Begin::Immediate;
        Some(Step::Bank(Self::Transfer { source, target, amount, begin, savepoint: false, rollback, pad_bytes }))
    }
}

impl ConnectionActor<'_> {
    fn transfer(&mut self, number: u32, step: BankStep) -> Result<(), SqlError> {
        const INSERT: &str = "INSERT INTO transfers VALUES (?1, ?2, ?3, ?4, ?5, zeroblob(?6))";
        let BankStep::Transfer { source, target, amount, begin, savepoint, pad_bytes, .. } = step else {
            return Ok(());
        };
        let (source, target, amount) = (i64::from(source), i64::from(target), i64::from(amount));
        let (id, version) = (self.id(), self.id() * 1000 + i64::from(number));
        self.sql(begin.sql())?;
        self.set_balance(source, -amount, version)?;
        if savepoint {
            // This must leave no trace.
            self.sql("SAVEPOINT inner")?;
            self.set_balance(target, SUM, UNDONE + version)?;
            self.ops.pop();
            self.run(INSERT, &[id, 900_000 + i64::from(number), target, source, SUM, pad_bytes.into()])?;
            self.sql("ROLLBACK TO inner")?;
            self.sql("RELEASE inner")?;
        }
        self.set_balance(target, amount, version)?;
        self.run(INSERT, &[id, number.into(), source, target, amount, pad_bytes.into()])
    }

    /// Reads the balance and writes a new one: an outdated read would lose an update.
    fn set_balance(&mut self, account: i64, change: i64, version: i64) -> Result<(), SqlError> {
        let (mut balance, mut read) = (0, 0);
        self.query("SELECT balance, version FROM accounts WHERE id = ?1", &[account], |row| {
            (balance, read) = (row.int(0), row.int(1));
        })?;
        self.ops.push(Op::Read { key: account as u64, version: Some(read as u64) });
        self.ops.push(Op::Write { key: account as u64, version: version as u64 });
        let values = [account, balance + change, version];
        self.run("UPDATE accounts SET balance = ?2, version = ?3 WHERE id = ?1", &values)
    }

    fn audit(&mut self) -> Result<(), SqlError> {
        self.sql("BEGIN")?;
        let first = balances(&mut |sql, each| self.query(sql, &[], each))?;
        let table = transfers(&mut |sql, each| self.query(sql, &[], each))?;
        let second = balances(&mut |sql, each| self.query(sql, &[], each))?;
        let mut read = Vec::new();
        self.query("SELECT id, version FROM accounts", &[], |row| {
            read.push(Op::Read { key: row.int(0) as u64, version: Some(row.int(1) as u64) });
        })?;
        self.ops.append(&mut read);
        self.sql("COMMIT")?;
        if self.context.is_dead(self.actor) {
            return Ok(());
        }
        let mut history = self.context.history.borrow_mut();
        for complaint in &first {
            history.torn_reads.push(format!("{complaint}, read by {}", self.actor));
        }
        if first != second {
            history.unrepeatable_reads.push(format!("{} read the accounts twice in one transaction", self.actor));
        }
        history.ledger.read(self.actor, &table);
        drop(history);
        self.remember(End::Committed);
        Ok(())
    }
}

/// The transfers as the ledger knows them.
pub(super) fn transfers(query: &mut Query<'_>) -> Result<Table, SqlError> {
    let mut table = Table::new();
    query("SELECT actor, txn FROM transfers", &mut |row| {
        table.insert(TxnKey { actor: actor_of(row.int(0)), txn: row.int(1) as u32 }, TxnState::Whole(0));
    })?;
    Ok(table)
}

/// What is wrong with the balances, in one snapshot.
pub(super) fn balances(query: &mut Query<'_>) -> Result<Vec<String>, SqlError> {
    let mut complaints = Vec::new();
    let (mut balances, mut sum) = ([0; ACCOUNTS as usize + 1], 0);
    query("SELECT id, balance FROM accounts", &mut |row| {
        balances[row.int(0).clamp(0, ACCOUNTS) as usize] = row.int(1);
        sum += row.int(1);
    })?;
    if sum != SUM {
        complaints.push(format!("all accounts hold {sum}, not {SUM}"));
    }
    let mut expected = [BALANCE; ACCOUNTS as usize + 1];
    query("SELECT source, target, amount FROM transfers NOT INDEXED", &mut |row| {
        expected[row.int(0).clamp(0, ACCOUNTS) as usize] -= row.int(2);
        expected[row.int(1).clamp(0, ACCOUNTS) as usize] += row.int(2);
    })?;
    let wrong = (1..=ACCOUNTS as usize).find(|account| balances[*account] != expected[*account]);
    if let Some(account) = wrong {
        let (has, should) = (balances[account], expected[account]);
        complaints.push(format!("account {account} holds {has}, but {should} by the transfers"));
    }
    Ok(complaints)
}
