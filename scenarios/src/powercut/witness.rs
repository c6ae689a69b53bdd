//! A witness: has a fresh process open an image, and knows what must be in it.

use super::judge::{self, Judge, Observation};
use super::recording::{Known, Recorded};
use super::strategy::{self, Opener};
use seawall_harness::media::sim::durability::{Image, Recording};
use seawall_harness::oracle::durability::AfterCut;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::oracle::ledger::Ledger;
use seawall_harness::oracle::table::Table;
use std::collections::BTreeMap;

/// See the module's documentation.
pub(super) enum Witness<'a> {
    /// Of the table's workload: by the rows after each commit.
    Sql {
        /// Opens the images.
        judge: &'a Judge,
        /// The checksum of the rows after each commit.
        sums: BTreeMap<u32, u64>,
    },
    /// Of a run of a strategy.
    Strategy {
        /// Opens the images.
        opener: &'a Opener,
        /// What was known, by the number of events before.
        ledgers: &'a [(usize, Ledger)],
    },
}

/// What a fresh process found.
pub(super) enum Seen {
    /// In the table's workload.
    Sql(Observation),
    /// After a run of a strategy.
    Strategy(Check, Option<Table>),
}

impl<'a> Witness<'a> {
    pub(super) fn of_sql(judge: &'a Judge, recorded: &Recorded) -> Self {
        Self::Sql { judge, sums: recorded.fingerprints() }
    }

    /// A fresh process opens the image; with what it did to the disk, if that is to be cut off too.
    pub(super) fn observe(&self, image: &Image, is_recorded: bool) -> (Seen, Option<Recording>) {
        match self {
            Self::Sql { judge, .. } if is_recorded => {
                let (seen, recovery) = judge.observe_recovery(image);
                (Seen::Sql(seen), recovery.filter(|recovery| !recovery.events.is_empty()))
            }
            Self::Sql { judge, .. } => (Seen::Sql(judge.observe(image)), None),
            Self::Strategy { opener, .. } => {
                let (check, table) = opener.observe(image);
                (Seen::Strategy(check, table), None)
            }
        }
    }

    pub(super) fn after_cut(&self, known: Known, seen: &Seen) -> AfterCut {
        match (self, seen) {
            (Self::Sql { sums, .. }, Seen::Sql(seen)) => judge::after_cut(sums, known, seen),
            (Self::Strategy { ledgers, .. }, Seen::Strategy(check, table)) => {
                let ledger = ledgers.get(known.acked as usize).map(|(_, ledger)| ledger);
                strategy::after_cut(ledger.unwrap_or(&Ledger::default()), &(check.clone(), table.clone()))
            }
            _ => unreachable!("a witness sees what it looks for"),
        }
    }
}
