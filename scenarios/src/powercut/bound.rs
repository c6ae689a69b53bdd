//! What `Synchronous::Normal` of the connection layer loses at most: a measured bound.
//!
//! A store makes commits of one page each on the simulated disk. What is durable changes at a sync only, and commits
//! are acknowledged all the time, so the most is lost just before a sync: there the image without anything that was
//! pending is opened by a fresh process.

use super::fresh::Fresh;
use super::{DATABASE, PowercutError};
use crate::run::simulated::SimulatedOs;
use crate::run::simulated::environment::Environment;
use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, Engine};
use seawall_harness::fault::FaultPlan;
use seawall_harness::media::sim::durability::{Device, EventKind, Recording};
use seawall_harness::rig::{Rig, Simulation};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::Mode;
use seawall_simulated::{Error, Registry, Store, Synchronous};
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use std::sync::Arc;

/// The sizes of the log after which a commit checkpoints; the last is the layer's own.
pub const CHECKPOINT_FRAMES: [u32; 3] = [20, 100, 1000];

/// The process with the store.
const WRITER: Actor = Actor { process: 1, thread: 1 };
/// The process that reads.
const READER: Actor = Actor { process: 2, thread: 1 };

/// A row of the table. Field names are a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Frames in the log after which a commit checkpoints.
    pub checkpoint_frames: u32,
    /// True if another process holds a snapshot all the time.
    pub has_reader: bool,
    /// Commits that were made.
    pub commits: u32,
    /// Acknowledged commits that are gone after a power cut, at most.
    pub lost_max: u32,
}

/// Measures all rows with so many commits each.
///
/// # Errors
/// If the lab is broken.
pub fn measure(device: Device, commits: u32) -> Result<Vec<Bound>, PowercutError> {
    let mut rig = Rig::builder().label("seawall-bound").mode(Mode::VIRTUAL).trace_capacity(2);
    rig = rig.calls_max(u64::MAX);
    let mut rig = rig.processes(|simulation| Rc::new(Environment::new(simulation))).build()?;
    let fresh = Fresh::new(Engine::linked(), device, String::new())?;
    let mut rows = Vec::new();
    for has_reader in [false, true] {
        for checkpoint_frames in CHECKPOINT_FRAMES {
            let simulation = rig.begin(Seed(0), FaultPlan::empty())?;
            rig.processes().enter(None);
            simulation.machine().borrow_mut().set_device(device);
            let worked = work(&simulation, checkpoint_frames, has_reader, commits);
            let (recording, acks) = worked.map_err(|error| PowercutError::Broken(error.to_string()))?;
            let recording = recording.ok_or_else(|| PowercutError::Broken("nothing was recorded".to_owned()))?;
            let lost_max = lost_max(&fresh, &recording, &acks)?;
            rows.push(Bound { checkpoint_frames, has_reader, commits, lost_max });
        }
    }
    Ok(rows)
}

/// The commits; what happened to the disk, and the number of events before each acknowledgement.
fn work(
    simulation: &Simulation,
    checkpoint_frames: u32,
    has_reader: bool,
    commits: u32,
) -> Result<(Option<Recording>, Vec<usize>), Error> {
    simulation.enter(WRITER);
    let store = Store::builder()
        .registry(Registry::new())
        .os(Arc::new(SimulatedOs))
        .vfs(simulation.vfs())
        .synchronous(Synchronous::Normal)
        .on_connect(move |connection| connection.pragma_update(None, "wal_autocheckpoint", checkpoint_frames))
        .init(|connection| connection.execute_batch("CREATE TABLE IF NOT EXISTS t(n); INSERT INTO t VALUES (0)"))
        .open(DATABASE)?;
    store.write(|tx| tx.execute("UPDATE t SET n = 0", []))?;
    let snapshot = has_reader.then(|| hold(simulation));
    simulation.enter(WRITER);
    let machine = simulation.machine();
    machine.borrow_mut().record_disk(true);
    let mut acks = Vec::new();
    for _ in 0..commits {
        store.write(|tx| tx.execute("UPDATE t SET n = n + 1", []))?;
        acks.push(machine.borrow().recorded_events());
    }
    let recording = machine.borrow_mut().take_recording();
    simulation.enter(READER);
    drop(snapshot);
    simulation.enter(WRITER);
    drop(store);
    Ok((recording, acks))
}

/// Another process begins to read, and does not end.
fn hold(simulation: &Simulation) -> Option<Db> {
    simulation.enter(READER);
    let db = simulation.open(DATABASE).ok()?;
    db.execute("BEGIN; SELECT n FROM t").ok()?;
    Some(db)
}

fn lost_max(fresh: &Fresh, recording: &Recording, acks: &[usize]) -> Result<u32, PowercutError> {
    let mut state = recording.base.clone();
    let mut lost_max = 0;
    for position in 0..=recording.events.len() {
        let next = recording.events.get(position);
        if next.is_none_or(|event| matches!(event.kind, EventKind::Sync { .. })) {
            fresh.begin(&state.image(&[]), false);
            let survived = fresh.visit(|db, _| db.query_int("SELECT n FROM t"));
            let broken = |what: &str| PowercutError::Broken(format!("an image after NORMAL is not whole: {what}"));
            let survived = survived.map_err(|error| broken(&error.to_string()))?;
            let survived = survived.ok_or_else(|| broken("there is no row"))?;
            let acked = acks.partition_point(|at| *at <= position) as u32;
            lost_max = lost_max.max(acked.saturating_sub(u32::try_from(survived).unwrap_or(0)));
        }
        if let Some(event) = next {
            state.apply(event);
        }
    }
    Ok(lost_max)
}
