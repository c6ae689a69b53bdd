//! The simulated disk under power cuts and failing syncs, with SQLite and with files alone.

mod cuts;
#[path = "../conformance/raw.rs"]
#[expect(dead_code, reason = "the conformance suite calls all of it")]
mod raw;
mod syncs;
mod toys;

use seawall_harness::fault::FaultPlan;
use seawall_harness::media::sim::Machine;
use seawall_harness::rig::{Rig, Simulation};
use seawall_harness::seed::Seed;

/// A file that is written without SQLite.
const FILE: &str = "/d/file";

/// A rig and a simulation that has just begun, under these rules.
fn simulation(rules: &[&str]) -> (Rig, Simulation) {
    let mut rig = Rig::builder().label("durability").build().expect("a rig");
    let rules = rules.iter().map(|rule| rule.parse().expect("a rule")).collect();
    let simulation = rig.begin(Seed(1), FaultPlan::new(rules, Seed(1)).expect("a plan")).expect("an execution");
    (rig, simulation)
}

/// Does something to the machine.
fn with<T>(simulation: &Simulation, work: impl FnOnce(&mut Machine) -> T) -> T {
    work(&mut simulation.machine().borrow_mut())
}
