//! Planted defects, one for each thing that an exploration must notice.

use super::bank::{self, BankStep};
use super::schema::{self, Ddl, SchemaStep};
use super::{
    ActorPlan, Begin, ConnectionActor, Draft, Journal, Layout, OwnStep, Scenario, Settings, Step, Synchronous, Target,
    mixed,
};
use seawall_harness::actor::Actor;
use seawall_harness::engine::SqlError;
use seawall_harness::runtime;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

pub(super) const DEADLOCK: Scenario = Scenario {
    name: "canary-deadlock",
    summary: "the actors wait for each other: the oracle `progress` must find it",
    is_listed: false,
    draw: |_| draft(|_| vec![write(), Step::Canary(Canary::Wait)]),
    ..mixed::SCENARIO
};

pub(super) const LIVELOCK: Scenario = Scenario {
    name: "canary-livelock",
    summary: "an actor never ends: the oracle `progress` must find it",
    is_listed: false,
    draw: |_| draft(|process| if process == 1 { vec![write(), Step::Canary(Canary::Spin)] } else { vec![write()] }),
    ..mixed::SCENARIO
};

pub(super) const BANK: Scenario = Scenario {
    name: "canary-bank",
    summary: "money is taken and not given: the oracle `atomicity` must find it",
    is_listed: false,
    draw: draw_bank,
    ..bank::SCENARIO
};

pub(super) const SCHEMA: Scenario = Scenario {
    name: "canary-schema",
    summary: "a table is dropped and the ledger is not told: the oracle `ledger` must find it",
    is_listed: false,
    draw: draw_schema,
    ..schema::SCENARIO
};

/// A step with a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "defect", rename_all = "kebab-case")]
pub enum Canary {
    /// Waits for ever.
    Wait,
    /// Never ends.
    Spin,
    /// Takes money from an account and gives it to no other.
    Embezzle,
    /// Drops the actor's first table without telling the ledger.
    Drop,
}

fn draft(steps: impl Fn(u16) -> Vec<Step>) -> Draft {
    let actors = (1..=2).map(|process| ActorPlan::new(Actor { process, thread: 1 }, steps(process)));
    Draft {
        layout: Layout { page_bytes: 4096, auto_vacuum: 0 },
        settings: Settings {
            journal: Journal::Wal,
            synchronous: Synchronous::Normal,
            cache_pages: 2000,
            autocheckpoint: 1000,
            mmap_bytes: 0,
            temp_store: 0,
        },
        actors: actors.collect(),
    }
}

fn write() -> Step {
    let (begin, target) = (Begin::Immediate, Target::Any);
    Step::Write { changes: 1, begin, savepoint: false, rollback: false, payload_bytes: 4, target }
}

fn draw_bank(_: Seed) -> Draft {
    let transfer = BankStep::Transfer {
        source: 1,
        target: 2,
        amount: 5,
        begin: Begin::Immediate,
        savepoint: false,
        rollback: false,
        pad_bytes: 4,
    };
    draft(|process| match process {
        1 => vec![Step::Bank(transfer), Step::Canary(Canary::Embezzle), Step::Bank(transfer)],
        _ => vec![Step::Bank(BankStep::Audit)],
    })
}

fn draw_schema(_: Seed) -> Draft {
    let ddl = |ddl| Step::Schema(SchemaStep::Change { slot: 0, ddl, begin: Begin::Immediate, savepoint: false });
    draft(|process| match process {
        1 => vec![ddl(Ddl::AddColumn), ddl(Ddl::AddColumn), Step::Canary(Canary::Drop)],
        _ => vec![write()],
    })
}

impl OwnStep for Canary {
    fn take(&self, actor: &mut ConnectionActor<'_>, number: u32) -> Result<(), SqlError> {
        match self {
            Self::Wait => {
                while runtime::block(usize::MAX) {}
                Ok(())
            }
            Self::Spin => loop {
                actor.script("BEGIN IMMEDIATE; ROLLBACK")?;
            },
            Self::Embezzle => {
                let mut balance = 0;
                actor.query("SELECT balance FROM accounts WHERE id = ?1", &[1], |row| balance = row.int(0))?;
                let version = actor.id() * 1000 + i64::from(number);
                let values = [1, balance - 1, version];
                actor.run("UPDATE accounts SET balance = ?2, version = ?3 WHERE id = ?1", &values)
            }
            Self::Drop => {
                let id = actor.id();
                actor.script(&format!("DROP TABLE s{id}_0"))
            }
        }
    }
}
