//! The judge of the table's workload: what a fresh process finds in an image, and what that says about the commits.

use super::PowercutError;
use super::fresh::{self, Fresh};
use super::model;
use super::recording::Known;
use seawall_harness::engine::{Db, Engine, SqlError, StepResult};
use seawall_harness::media::sim::durability::{Device, Image, Recording};
use seawall_harness::oracle::durability::{AfterCut, Promise};
use std::collections::BTreeMap;

/// The checksum of a table that cannot be read.
const UNREADABLE: u64 = 0;

/// See the module's documentation.
pub struct Judge {
    fresh: Fresh,
    known: fresh::Known<Observation>,
}

/// What a fresh process found in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The number of the last commit, by row 0.
    pub commit: u32,
    /// The checksum of the rows.
    pub fingerprint: u64,
    /// The first complaint of the integrity check, or the error of a statement.
    pub complaint: Option<String>,
}

impl Judge {
    /// A judge on this engine, for images of this device. The process that opens the images uses `pragmas`.
    ///
    /// # Errors
    /// If the VFS cannot be registered.
    pub fn new(engine: Engine, device: Device, pragmas: String) -> Result<Self, PowercutError> {
        Ok(Self { fresh: Fresh::new(engine, device, pragmas)?, known: fresh::Known::default() })
    }

    /// A fresh process opens the image.
    pub fn observe(&self, image: &Image) -> Observation {
        self.fresh.begin(image, false);
        self.look()
    }

    /// The same, and what the process did to the disk.
    pub fn observe_recovery(&self, image: &Image) -> (Observation, Option<Recording>) {
        self.fresh.begin(image, true);
        let observation = self.look();
        (observation, self.fresh.take_recording())
    }

    fn look(&self) -> Observation {
        let mut observation = Observation { commit: 0, fingerprint: UNREADABLE, complaint: None };
        let looked = self.fresh.visit(|db, key| {
            match self.known.get(key) {
                Some(known) => observation = known,
                None => {
                    look_at(db, &mut observation)?;
                    self.known.keep(key, &observation);
                }
            }
            Ok(())
        });
        if let Err(error) = looked {
            observation.complaint = Some(error.to_string());
        }
        observation
    }
}

fn look_at(db: &Db, observation: &mut Observation) -> Result<(), SqlError> {
    let mut rows = db.prepare("SELECT id, v, pad FROM t NOT INDEXED")?;
    let mut sum = 0;
    while rows.step()? == StepResult::Row {
        let (id, version) = (rows.int(0), rows.int(1));
        if id == 0 {
            observation.commit = u32::try_from(version).unwrap_or(u32::MAX);
            continue;
        }
        let pad = rows.blob(2);
        let byte = pad.first().copied().unwrap_or(0);
        // A payload of several bytes is none that was written.
        let byte = if pad.iter().all(|other| *other == byte) { (pad.len(), byte) } else { (usize::MAX, byte) };
        sum = model::add(sum, id, version, byte);
    }
    drop(rows);
    observation.fingerprint = sum;
    let mut check = db.prepare("PRAGMA integrity_check(1)")?;
    if check.step()? == StepResult::Row {
        let text = check.text(0).replace('\n', "; ");
        observation.complaint = Some(text).filter(|text| text != "ok");
    }
    Ok(())
}

/// What an observation says about the commits that are known at the cut.
pub fn after_cut(fingerprints: &BTreeMap<u32, u64>, known: Known, seen: &Observation) -> AfterCut {
    let Known { acked, started } = known;
    let is_whole = fingerprints.get(&seen.commit) == Some(&seen.fingerprint);
    let (survived, complaint) = (seen.commit, seen.complaint.clone());
    AfterCut { promise: Promise::Every, acked, started, survived, is_whole, complaint }
}
