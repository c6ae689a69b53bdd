//! Planted defects, one for each thing that an exploration must notice.

use seawall_harness::actor::Actor;
use seawall_harness::engine::SqlError;
use seawall_harness::runtime;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

use super::bank::BankStep;
use super::case::{ActorPlan, Begin, Journal, Layout, Settings, Step, Synchronous, Target};
use super::connection_actor::ConnectionActor;
use super::scenario::World;
use super::schema::{Ddl, SchemaStep};

/// A step that does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "defect", rename_all = "kebab-case")]
pub enum Canary {
    /// Waits for somebody who will never come.
    Wait,
    /// Goes on for ever.
    Spin,
    /// Takes money from an account and gives it to nobody.
    Embezzle,
    /// Drops the actor's first table and says nothing of it.
    Drop,
}

fn world(steps: impl Fn(u16) -> Vec<Step>) -> World {
    let actors = (1..=2).map(|process| ActorPlan::new(Actor { process, thread: 1 }, steps(process)));
    World {
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

pub(super) fn deadlock(_: Seed) -> World {
    world(|_| vec![write(), Step::Canary(Canary::Wait)])
}

pub(super) fn livelock(_: Seed) -> World {
    world(|process| if process == 1 { vec![write(), Step::Canary(Canary::Spin)] } else { vec![write()] })
}

pub(super) fn bank(_: Seed) -> World {
    let transfer = BankStep::Transfer {
        source: 1,
        target: 2,
        amount: 5,
        begin: Begin::Immediate,
        savepoint: false,
        rollback: false,
        pad_bytes: 4,
    };
    world(|process| match process {
        1 => vec![Step::Bank(transfer), Step::Canary(Canary::Embezzle), Step::Bank(transfer)],
        _ => vec![Step::Bank(BankStep::Audit)],
    })
}

pub(super) fn schema(_: Seed) -> World {
    let ddl = |ddl| Step::Schema(SchemaStep::Change { slot: 0, ddl, begin: Begin::Immediate, savepoint: false });
    world(|process| match process {
        1 => vec![ddl(Ddl::AddColumn), ddl(Ddl::AddColumn), Step::Canary(Canary::Drop)],
        _ => vec![write()],
    })
}

impl ConnectionActor<'_> {
    pub(super) fn canary(&mut self, number: u32, canary: Canary) -> Result<(), SqlError> {
        match canary {
            Canary::Wait => {
                while runtime::block(usize::MAX) {}
                Ok(())
            }
            Canary::Spin => loop {
                self.script("BEGIN IMMEDIATE; ROLLBACK")?;
            },
            Canary::Embezzle => {
                let mut balance = 0;
                self.query("SELECT balance FROM accounts WHERE id = ?1", &[1], |row| balance = row.int(0))?;
                let version = self.id() * 1000 + i64::from(number);
                let values = [1, balance - 1, version];
                self.run("UPDATE accounts SET balance = ?2, version = ?3 WHERE id = ?1", &values)
            }
            Canary::Drop => {
                let id = self.id();
                self.script(&format!("DROP TABLE s{id}_0"))
            }
        }
    }
}
