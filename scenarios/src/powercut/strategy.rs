//! Runs of connection strategies under power cuts: each one's acknowledged commits.
//!
//! A run is recorded without a cut. The ledger of the run says at each moment what was acknowledged.

use super::fresh::{self, Fresh};
use super::recording::{Known, Recorded};
use super::{DATABASE, PowercutError};
use crate::run::places;
use crate::run::simulated::{RecordedDisk, Simulator};
use crate::run::spec::{RunSpec, SIM};
use seawall_harness::engine::Engine;
use seawall_harness::media::sim::durability::{Device, Image};
use seawall_harness::oracle::durability::{AfterCut, Promise};
use seawall_harness::oracle::integrity::{self, Check};
use seawall_harness::oracle::ledger::{self, Ledger};
use seawall_harness::oracle::table::Table;
use seawall_harness::oracle::{self, Evidence, atomicity};
use seawall_harness::seed::Seed;
use seawall_harness::token::{FaultName, Token};
use seawall_harness::verdict::Verdict;
use std::collections::BTreeMap;
use std::path::Path;

/// The run of a strategy under a fault.
///
/// # Errors
/// If there is no such strategy or fault.
pub fn spec(strategy: &str, fault: &str, seed: Seed) -> Result<RunSpec, PowercutError> {
    let (strategy, fault) = (strategy.to_owned(), FaultName::Named(fault.to_owned()));
    Ok(RunSpec::of(&Token { strategy, fault, medium: SIM.to_owned(), seed })?)
}

/// Records the run; the ledgers by the number that stands for them.
///
/// # Errors
/// If it does not end.
pub fn record(
    simulator: &mut Simulator,
    spec: &RunSpec,
    device: Device,
) -> Result<(Recorded, Vec<(usize, Ledger)>), PowercutError> {
    let RecordedDisk { disk, ledgers } = simulator.record_disk(spec, device)?;
    Ok((Recorded { disk, marks: Vec::new(), models: BTreeMap::new() }, ledgers))
}

/// At each cut, the position of the ledger that holds, in both fields.
pub fn known(events: usize, ledgers: &[(usize, Ledger)]) -> Vec<Known> {
    let mut next = 0;
    let at = |position: usize| {
        while ledgers.get(next + 1).is_some_and(|(at, _)| *at <= position) {
            next += 1;
        }
        Known { acked: next as u32, started: next as u32 }
    };
    (0..=events).map(at).collect()
}

/// Opens images as a fresh process of any program does.
pub struct Opener {
    fresh: Fresh,
    known: fresh::Known<(Check, Option<Table>)>,
}

impl Opener {
    /// An opener for images of this device.
    ///
    /// # Errors
    /// If its VFS cannot be registered.
    pub fn new(device: Device) -> Result<Self, PowercutError> {
        let fresh = Fresh::new(Engine::linked(), device, String::new())?;
        Ok(Self { fresh, known: fresh::Known::default() })
    }

    /// What a fresh process finds.
    pub fn observe(&self, image: &Image) -> (Check, Option<Table>) {
        self.fresh.begin(image, false);
        let key = self.fresh.visit(|_, key| Ok(key)).ok().flatten();
        if let Some(known) = self.known.get(key) {
            return known;
        }
        self.fresh.begin(image, false);
        let found = places::examine(Path::new(DATABASE), Some(self.fresh.vfs()), "fresh");
        self.known.keep(key, &found);
        found
    }
}

/// What an observation says about the commits of a ledger.
pub fn after_cut(ledger: &Ledger, (check, table): &(Check, Option<Table>)) -> AfterCut {
    let (acked, ..) = ledger.counts();
    // A database that was never created is no loss if nothing was acknowledged.
    let is_new = acked == 0 && table.is_none();
    let table = if is_new { Some(Table::new()) } else { table.clone() };
    let complaint = check.complaints.first().or(check.unfinished.as_ref()).filter(|_| !is_new).cloned();
    let evidence = Evidence { ledger: ledger.clone(), table, ..Evidence::default() };
    let lost = ledger::lost(&evidence);
    let findings = oracle::judge_by(&[integrity::ORACLE, ledger::ORACLE, atomicity::ORACLE], &evidence);
    let is_whole = findings.iter().all(|finding| finding.verdict != Verdict::Corrupt);
    let (acked, survived) = (acked as u32, acked.saturating_sub(lost) as u32);
    AfterCut { promise: Promise::Every, acked, started: acked, survived, is_whole, complaint }
}
