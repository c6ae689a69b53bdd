//! The processes of a world: those of the machine, and the log of what happens to them.

use super::narrator::Narrator;
use crate::media::sim::Machine;
use crate::outsider::Intervention;
use crate::record::StoryKind;
use crate::rig::Simulation;
use crate::runtime::{self, Processes};
use crate::seed::Seed;
use std::cell::RefCell;
use std::rc::Rc;

/// See the module's documentation.
pub(super) struct WorldProcesses {
    machine: Rc<RefCell<Machine>>,
    /// The numbers of all processes: a power cut ends those too that have no file open.
    count: RefCell<u16>,
    narrator: RefCell<Option<Rc<Narrator>>>,
}

impl WorldProcesses {
    pub(super) fn new(simulation: &Simulation) -> Self {
        let (count, narrator) = Default::default();
        Self { machine: Rc::clone(simulation.machine()), count, narrator }
    }

    /// An execution with so many processes begins.
    pub(super) fn begin(&self, count: u16, narrator: &Rc<Narrator>) {
        *self.count.borrow_mut() = count;
        *self.narrator.borrow_mut() = Some(Rc::clone(narrator));
    }

    fn tell(&self, is_of_process: bool, text: impl FnOnce() -> String) {
        if let Some(narrator) = &*self.narrator.borrow() {
            let actor = is_of_process.then(runtime::current_actor);
            narrator.tell(actor, StoryKind::Outside, text);
        }
    }
}

impl Processes for WorldProcesses {
    fn resume(&self, process: u16) {
        self.machine.resume(process);
    }

    fn kill(&self, process: u16) {
        self.machine.kill(process);
    }

    fn is_dead(&self, process: u16) -> bool {
        self.machine.is_dead(process)
    }

    fn drop_locks(&self, process: u16, path: &str) {
        self.machine.drop_locks(process, path);
    }

    fn living(&self) -> Vec<u16> {
        (1..=*self.count.borrow()).filter(|process| !self.is_dead(*process)).collect()
    }

    fn cut_power(&self, seed: Seed) -> bool {
        if self.machine.borrow().disk_state().is_none() {
            return false;
        }
        self.tell(false, || "the power is cut: all processes die, and the disk keeps what was synced".to_owned());
        self.living().into_iter().for_each(|process| self.kill(process));
        self.machine.borrow_mut().cut_power(seed)
    }

    fn intervene(&self, intervention: &Intervention) {
        let deed = self.machine.borrow_mut().intervene(intervention);
        self.tell(intervention.action.is_of_process(), || intervention.sentence(&deed));
    }
}
