//! A fresh process on a machine of its own: it opens an image, and hot journals and logs are recovered for real.

use super::{DATABASE, PowercutError};
use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::engine::{Db, Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError};
use seawall_harness::media::sim::durability::{Content, Device, Image, Recording};
use seawall_harness::media::sim::{Bytes, Machine, SimVfs};
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

/// Recovered databases of which is kept what was found.
const KNOWN_MAX: usize = 100_000;

/// See the module's documentation.
pub(super) struct Fresh {
    engine: Engine,
    machine: Rc<RefCell<Machine>>,
    vfs: SimVfs,
    device: Device,
    /// The pragmas of the process.
    pragmas: String,
}

/// What was found in recovered databases, by the keys that [`Fresh::visit`] gives.
pub(super) struct Known<T>(RefCell<BTreeMap<u64, T>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Clone> Known<T> {
    pub(super) fn get(&self, key: Option<u64>) -> Option<T> {
        self.0.borrow().get(&key?).cloned()
    }

    pub(super) fn keep(&self, key: Option<u64>, found: &T) {
        let Some(key) = key else { return };
        let mut known = self.0.borrow_mut();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, found.clone());
    }
}

impl Fresh {
    pub(super) fn new(engine: Engine, device: Device, pragmas: String) -> Result<Self, PowercutError> {
        let clock = Clock::new(Arc::new(SharedState::private(2)));
        clock.set_scale(0);
        let machine = Rc::new(RefCell::new(Machine::new(clock, Seed(0))));
        let name = format!("seawall-fresh-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let vfs = SimVfs::register(engine.vfs_api(), &name, Rc::clone(&machine))?;
        Ok(Self { engine, machine, vfs, device, pragmas })
    }

    /// The VFS of the machine.
    pub(super) fn vfs(&self) -> &str {
        self.vfs.name()
    }

    /// Puts the image on the disk; no process has run there before.
    pub(super) fn begin(&self, image: &Image, is_recorded: bool) {
        runtime::set_current_actor(READER);
        let mut machine = self.machine.borrow_mut();
        machine.reset(Seed(0));
        machine.set_device(self.device);
        machine.install(image);
        if is_recorded {
            machine.record_disk(true);
        }
    }

    /// What the process did to the disk, if that was recorded.
    pub(super) fn take_recording(&self) -> Option<Recording> {
        self.machine.borrow_mut().take_recording()
    }

    /// The process opens the database, recovers it, looks at it and is cut off. `look` is given a key for what is in
    /// the database after the recovery, if there is one: the same key, the same bytes for every reader.
    pub(super) fn visit<T>(&self, look: impl FnOnce(&Db, Option<u64>) -> Result<T, SqlError>) -> Result<T, SqlError> {
        let flags = OPEN_READ_WRITE_CREATE | OPEN_NO_MUTEX;
        let db = self.engine.open(DATABASE, flags, Some(self.vfs.name()))?;
        let looked = self.recover(&db).and_then(|key| look(&db, key));
        // Its close would check the log in; and a process does not clean up when it is cut off.
        self.machine.borrow_mut().kill(READER.process);
        looked
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
