//! The judge: a fresh process on a machine of its own opens an image. Hot journals and logs are recovered for real.

use super::model;
use super::recording::Known;
use super::{DATABASE, PowercutError};
use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::engine::{Db, Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError, StepResult};
use seawall_harness::media::sim::durability::{Content, Device, Image, Recording};
use seawall_harness::media::sim::{Bytes, Machine, SimVfs};
use seawall_harness::oracle::durability::{AfterCut, Promise};
use seawall_harness::runtime;
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::SharedState;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// VFS names are global in a library.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The process that opens images.
const READER: Actor = Actor { process: 1, thread: 1 };

/// The checksum of a table that cannot be read.
const UNREADABLE: u64 = 0;

/// See the module's documentation.
pub struct Judge {
    engine: Engine,
    machine: Rc<RefCell<Machine>>,
    vfs: SimVfs,
    device: Device,
    /// The pragmas of the process.
    pragmas: String,
    /// What was found in recovered databases, by their bytes: those of the file with the frames of the log that count
    /// over them. After the recovery, what SQLite reads follows from them alone.
    known: RefCell<BTreeMap<u64, Observation>>,
}

/// Recovered databases that are kept.
const KNOWN_MAX: usize = 100_000;

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
        let clock = Clock::new(Arc::new(SharedState::private(2)));
        clock.set_scale(0);
        let machine = Rc::new(RefCell::new(Machine::new(clock, Seed(0))));
        let name = format!("seawall-judge-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let vfs = SimVfs::register(engine.vfs_api(), &name, Rc::clone(&machine))?;
        Ok(Self { engine, machine, vfs, device, pragmas, known: RefCell::default() })
    }

    /// A fresh process opens the image.
    pub fn observe(&self, image: &Image) -> Observation {
        self.begin(image, false);
        self.look()
    }

    /// The same, and what the process did to the disk.
    pub fn observe_recovery(&self, image: &Image) -> (Observation, Option<Recording>) {
        self.begin(image, true);
        let observation = self.look();
        let recording = self.machine.borrow_mut().take_recording();
        (observation, recording)
    }

    fn begin(&self, image: &Image, is_recorded: bool) {
        runtime::set_current_actor(READER);
        let mut machine = self.machine.borrow_mut();
        machine.reset(Seed(0));
        machine.set_device(self.device);
        machine.install(image);
        if is_recorded {
            machine.record_disk(true);
        }
    }

    /// Begins to read, by which hot journals and logs are recovered. Returns a key for what is then in the database, if
    /// there is one.
    fn recover(&self, db: &Db) -> Result<Option<u64>, SqlError> {
        if !self.pragmas.is_empty() {
            db.execute(&self.pragmas)?;
        }
        db.query_int("PRAGMA schema_version")?;
        let machine = self.machine.borrow();
        let Some(database) = machine.bytes(DATABASE) else { return Ok(None) };
        let log = machine.bytes(&format!("{DATABASE}-wal")).filter(|log| !log.is_empty());
        let bytes = match log {
            None => Some(database.to_vec()),
            Some(log) => machine.shm_region(DATABASE, 0).and_then(|index| overlaid(database, log, index)),
        };
        Ok(bytes.map(|bytes| Content::from_bytes(&bytes).hash()))
    }

    fn keep(&self, key: Option<u64>, observation: &Observation) {
        let Some(key) = key else { return };
        let mut known = self.known.borrow_mut();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, observation.clone());
    }

    fn look(&self) -> Observation {
        let flags = OPEN_READ_WRITE_CREATE | OPEN_NO_MUTEX;
        let mut observation = Observation { commit: 0, fingerprint: UNREADABLE, complaint: None };
        let opened = self.engine.open(DATABASE, flags, Some(self.vfs.name()));
        let looked = opened.and_then(|db| {
            let looked = self.recover(&db).and_then(|key| {
                let known = key.and_then(|key| self.known.borrow().get(&key).cloned());
                match known {
                    Some(known) => observation = known,
                    None => {
                        look_at(&db, &mut observation)?;
                        self.keep(key, &observation);
                    }
                }
                Ok(())
            });
            // Its close would check the log in; and a process does not clean up when it is cut off.
            self.machine.borrow_mut().kill(READER.process);
            looked
        });
        if let Err(error) = looked {
            observation.complaint = Some(error.to_string());
        }
        observation
    }
}

/// The database as a reader sees it: the file with the pages of the log over it. The header of the wal-index has the
/// size of a page, the number of the last frame and the number of pages (wal.c, `WalIndexHdr`). `None` if that makes no
/// sense.
fn overlaid(database: Bytes<'_>, log: Bytes<'_>, index: Bytes<'_>) -> Option<Vec<u8>> {
    let page = match u64::from(u16::from_ne_bytes(index.array(14))) {
        1 => 65_536,
        bytes => bytes,
    };
    let (frames, pages) = (u64::from(index.u32_native(16)), u64::from(index.u32_native(20)));
    let mut bytes = database.to_vec();
    if frames == 0 {
        return Some(bytes);
    }
    bytes.resize((pages * page) as usize, 0);
    for frame in 0..frames {
        let start = 32 + frame * (24 + page);
        let number = u64::from(u32::from_be_bytes(log.array(start)));
        // A page behind the end was cut off by a later transaction.
        let place = (number.checked_sub(1)? * page) as usize;
        if let Some(slot) = bytes.get_mut(place..place + page as usize) {
            slot.copy_from_slice(&log.region(start + 24, page)?.to_vec());
        }
    }
    Some(bytes)
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
