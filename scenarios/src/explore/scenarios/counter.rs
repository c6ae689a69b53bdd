//! `counter`: the example of `docs/contributing/scenario.md`. Actors add to one counter; each addition is a transaction
//! of the ledger, and the counter must hold the number of additions in every snapshot.

use super::{ActorPlan, ConnectionActor, Draft, Layout, OwnStep, Query, Scenario, Settings, Step, actor_of, pick};
use rand::RngExt;
use seawall_harness::engine::SqlError;
use seawall_harness::oracle::table::{Table, TxnKey, TxnState};
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "counter",
    summary: "actors add to one counter: it holds the number of additions",
    is_listed: false,
    draw,
    sql: "CREATE TABLE counter(n INTEGER);
          INSERT INTO counter VALUES (0);
          CREATE TABLE additions(actor INTEGER, txn INTEGER);",
    table: additions,
    check: sum,
};

/// A step of an actor of the scenario `counter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum CounterStep {
    /// Adds one to the counter.
    Add,
}

/// Everything in a scenario follows from the seed.
fn draw(seed: Seed) -> Draft {
    let mut rng = seed.stream("counter").rng();
    let layout = Layout { page_bytes: 4096, auto_vacuum: 0 };
    let settings = Settings::draw(&mut rng, seed);
    let actors = ActorPlan::spread(3, 2, || {
        let steps = rng.random_range(5..=20_u32);
        (0..steps).map(|_| pick(&mut rng, [Step::Counter(CounterStep::Add), Step::Read])).collect()
    });
    Draft { layout, settings, actors }
}

impl OwnStep for CounterStep {
    fn take(&self, actor: &mut ConnectionActor<'_>, number: u32) -> Result<(), SqlError> {
        let key = TxnKey { actor: actor.actor, txn: number };
        let result = actor.add(number);
        // Commits, and tells the ledger whether the transaction was acknowledged.
        actor.settle(key, TxnState::Whole(0), result, false).map(drop)
    }
}

impl ConnectionActor<'_> {
    fn add(&mut self, number: u32) -> Result<(), SqlError> {
        let id = self.id();
        self.sql("BEGIN IMMEDIATE")?;
        self.sql("UPDATE counter SET n = n + 1")?;
        self.run("INSERT INTO additions VALUES (?1, ?2)", &[id, number.into()])
    }
}

/// The transactions that the ledger knows.
fn additions(query: &mut Query<'_>) -> Result<Table, SqlError> {
    let mut table = Table::new();
    query("SELECT actor, txn FROM additions", &mut |row| {
        table.insert(TxnKey { actor: actor_of(row.int(0)), txn: row.int(1) as u32 }, TxnState::Whole(0));
    })?;
    Ok(table)
}

/// What else must hold.
fn sum(query: &mut Query<'_>) -> Result<Vec<String>, SqlError> {
    let (mut counter, mut additions) = (0, 0);
    query("SELECT n, (SELECT count(*) FROM additions) FROM counter", &mut |row| {
        (counter, additions) = (row.int(0), row.int(1));
    })?;
    let is_wrong = counter != additions;
    Ok(Vec::from_iter(is_wrong.then(|| format!("the counter holds {counter} after {additions} additions"))))
}
