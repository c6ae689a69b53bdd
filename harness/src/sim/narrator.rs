//! What happens in an execution: the sections of the schedule, and the log of a story.

use super::statements::Listener;
use crate::actor::Actor;
use crate::media::sim::Machine;
use crate::record::StoryKind;
use crate::rig::Simulation;
use crate::runtime::{self, current_actor};
use crate::shared_state::SharedState;
use crate::story::{Event, Log, Note};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// See the module's documentation.
pub(super) struct Narrator {
    vfs: String,
    machine: Rc<RefCell<Machine>>,
    shared_state: Arc<SharedState>,
    log: Option<Log>,
    /// By actor: how many statements it has begun.
    sections: RefCell<BTreeMap<Actor, u32>>,
    /// By connection: where the log has the end of its last statement.
    ends: RefCell<BTreeMap<usize, usize>>,
    stray: RefCell<Option<String>>,
}

impl Narrator {
    pub(super) fn new(simulation: &Simulation, log: Option<Log>) -> Self {
        let (machine, shared_state) = (Rc::clone(simulation.machine()), Arc::clone(simulation.shared_state()));
        let (sections, ends, stray) = Default::default();
        Self { vfs: simulation.vfs().to_owned(), machine, shared_state, log, sections, ends, stray }
    }

    /// Logs an event. Of a process that was killed, nothing more is told.
    pub(super) fn tell(&self, actor: Option<Actor>, kind: StoryKind, text: impl FnOnce() -> String) {
        let Some(log) = &self.log else { return };
        if actor.is_some_and(|actor| self.machine.borrow().is_dead(actor.process)) {
            return;
        }
        // The call at which an outsider acts has its number already.
        let at = self.shared_state.calls() - u64::from(kind == StoryKind::Outside);
        let note = Note { at, actor, kind, text: text() };
        log.borrow_mut().push(Event::Note(note));
    }

    /// A file that was opened outside of the simulation.
    pub(super) fn take_stray(&self) -> Option<String> {
        self.stray.take()
    }
}

impl Listener for Narrator {
    fn vfs(&self) -> &str {
        &self.vfs
    }

    fn is_telling(&self) -> bool {
        self.log.is_some()
    }

    fn begins(&self, sql: &dyn Fn() -> String) {
        let actor = current_actor();
        let section = {
            let mut sections = self.sections.borrow_mut();
            let section = sections.entry(actor).or_default();
            *section += 1;
            *section
        };
        runtime::section(section);
        self.tell(Some(actor), StoryKind::Begin, sql);
    }

    fn ended(&self, connection: usize, sql: &dyn Fn() -> String) {
        let Some(log) = &self.log else { return };
        let before = log.borrow().len();
        self.tell(Some(current_actor()), StoryKind::End, sql);
        if log.borrow().len() > before {
            self.ends.borrow_mut().insert(connection, before);
        }
    }

    fn failed(&self, connection: usize, message: &dyn Fn() -> String) {
        let end = self.ends.borrow_mut().remove(&connection);
        if let (Some(log), Some(end)) = (&self.log, end)
            && let Some(Event::Note(note)) = log.borrow_mut().get_mut(end)
        {
            note.kind = StoryKind::Refused;
            note.text = format!("{}: {}", note.text, message());
        }
    }

    fn strayed(&self, file: &str) -> String {
        let actor = current_actor();
        let complaint = format!(
            "{actor} opened {file} outside of the simulation. Open databases with `Process::open`, or with the VFS that \
             `World::vfs` names"
        );
        self.stray.borrow_mut().get_or_insert_with(|| complaint.clone());
        complaint
    }
}
