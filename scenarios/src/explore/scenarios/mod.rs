//! The scenarios, one file each: what the database holds, what the actors do, and how it is read at the end.
//!
//! A scenario is one file in this folder and one line in the list below; `docs/contributing/scenario.md` shows how to
//! write one.

use super::case::{ActorPlan, Begin, Case, Checkpoint, Journal, Layout, Settings, Synchronous, Target};
use super::connection_actor::ConnectionActor;
use super::statements::{Query, actor_of, ledger_table};
use rand::{Rng, RngExt};
use seawall_harness::actor::Actor;
use seawall_harness::engine::SqlError;
use seawall_harness::oracle::table::Table;
use seawall_harness::seed::Seed;
use serde::{Deserialize, Serialize};

/// A scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// False for examples and for scenarios with a planted defect, which an oracle must find: they run when they are
    /// named, and no list shows them.
    pub is_listed: bool,
    pub(super) draw: fn(Seed) -> Draft,
    /// Makes the database.
    pub(super) sql: &'static str,
    /// Reads the transactions that the ledger knows.
    pub(super) table: fn(&mut Query<'_>) -> Result<Table, SqlError>,
    /// Checks everything else that must hold, in one snapshot, and returns what does not hold.
    pub(super) check: fn(&mut Query<'_>) -> Result<Vec<String>, SqlError>,
}

/// The part of a case that a scenario draws from a seed.
pub(super) struct Draft {
    pub(super) layout: Layout,
    pub(super) settings: Settings,
    pub(super) actors: Vec<ActorPlan>,
}

/// A step that only one scenario has.
pub(super) trait OwnStep {
    /// Executes the step; `number` is its number.
    fn take(&self, actor: &mut ConnectionActor<'_>, number: u32) -> Result<(), SqlError>;

    /// True if it is more than one statement: on a connection that others use at the same time, theirs would come
    /// between, and its transaction would be theirs as well.
    fn spans_statements(&self) -> bool {
        true
    }

    /// The step, simpler in one respect each.
    fn simpler(&self) -> Vec<Step> {
        Vec::new()
    }

    /// A simple step of the same kind whose row has this payload; `None` if the step writes no payload.
    fn with_payload(&self, _bytes: u16) -> Option<Step> {
        None
    }
}

/// Declares the modules of the scenarios, their steps and the list of them all. A line is `module => CONSTANT`, or
/// `module: Variant(Type) => CONSTANT` where actors have steps of their own; their variant is the value of `do` in
/// case files.
macro_rules! scenarios {
    ($($module:ident $(: $variant:ident($step:ident))? => $($scenario:ident),+;)+) => {
        $(mod $module;)+
        $($(pub use $module::$step;)?)+

        /// All scenarios.
        pub static SCENARIOS: &[Scenario] = &[$($($module::$scenario,)+)+];

        /// One step of an actor.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "do", rename_all = "kebab-case")]
        pub enum Step {
            /// A transaction with this number of changes.
            Write {
                /// Rows that are inserted, if any are.
                changes: u8,
                /// How the transaction begins.
                begin: Begin,
                /// Whether it writes within a savepoint and rolls that back.
                savepoint: bool,
                /// Whether it is rolled back at the end.
                rollback: bool,
                /// Size of a row's payload.
                payload_bytes: u16,
                /// What is changed.
                target: Target,
            },
            /// A transaction that reads everything, twice.
            Read,
            /// A checkpoint.
            Checkpoint {
                /// Its mode.
                mode: Checkpoint,
            },
            /// Closes the connection and opens it again.
            Reopen,
            $($(
                #[doc = concat!("Of the scenario `", stringify!($module), "`.")]
                $variant($step),
            )?)+
        }

        impl Step {
            /// True if it is more than one statement, see [`OwnStep::spans_statements`].
            pub(super) fn spans_statements(&self) -> bool {
                match self {
                    Self::Write { .. } | Self::Read => true,
                    Self::Checkpoint { .. } | Self::Reopen => false,
                    $($(Self::$variant(step) => step.spans_statements(),)?)+
                }
            }

            /// The step, if only one scenario has it.
            pub(super) fn own(&self) -> Option<&dyn OwnStep> {
                match self {
                    Self::Write { .. } | Self::Read | Self::Checkpoint { .. } | Self::Reopen => None,
                    $($(Self::$variant(step) => Some(step),)?)+
                }
            }
        }
    };
}

scenarios! {
    mixed => SCENARIO;
    bank: Bank(BankStep) => SCENARIO;
    schema: Schema(SchemaStep) => SCENARIO;
    shared: Shared(SharedStep) => SCENARIO;
    counter: Counter(CounterStep) => SCENARIO;
    canary: Canary(Canary) => DEADLOCK, LIVELOCK, BANK, SCHEMA;
}

pub use schema::Ddl;

/// The scenario with this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// The scenario of a case that an explorer has accepted.
pub(super) fn of(case: &Case) -> &'static Scenario {
    find(&case.scenario).unwrap_or(&SCENARIOS[0])
}

/// For scenarios whose table says everything.
fn nothing_else(_: &mut Query<'_>) -> Result<Vec<String>, SqlError> {
    Ok(Vec::new())
}

/// One of these values.
fn pick<T: Copy, const N: usize>(rng: &mut impl Rng, from: [T; N]) -> T {
    from[rng.random_range(0..N)]
}

impl Settings {
    /// Settings of a scenario with a rollback journal in one of four executions.
    fn draw(rng: &mut impl Rng, seed: Seed) -> Self {
        use Synchronous::{Full, Normal, Off};
        Self {
            journal: Journal::draw(seed, 4),
            synchronous: pick(rng, [Off, Normal, Full]),
            cache_pages: pick(rng, [4, 20, 2000]),
            autocheckpoint: pick(rng, [0, 4, 20, 1000]),
            mmap_bytes: pick(rng, [0, 65_536, 1 << 24]),
            temp_store: pick(rng, [0, 1, 2]),
        }
    }
}

impl Journal {
    /// A rollback journal in one of `one_in` executions, drawn from a stream of its own.
    fn draw(seed: Seed, one_in: u32) -> Self {
        let mut rng = seed.stream("journal").rng();
        if rng.random_ratio(1, one_in) {
            pick(&mut rng, [Self::Delete, Self::Truncate, Self::Persist])
        } else {
            Self::Wal
        }
    }
}

impl ActorPlan {
    /// This number of connections, spread over the processes, with the steps that `steps` draws for each.
    fn spread(connections: u16, processes: u16, mut steps: impl FnMut() -> Vec<Step>) -> Vec<Self> {
        let plan = |number| {
            let actor = Actor { process: 1 + number % processes, thread: 1 + number / processes };
            Self::new(actor, steps())
        };
        (0..connections).map(plan).collect()
    }
}
