//! What happens at each call: number it, ask the plan, carry it out, write it down.

use crate::actor::Actor;
use crate::call::{Call, Method, Role};
use crate::clock::Clock;
use crate::fault::SyncFate;
use crate::fault::effect::{Action, Alteration};
use crate::fault::plan::{Decision, FaultPlan};
use crate::outsider::{self, Intervention, OutsideAction};
use crate::runtime::{self, current_actor};
use crate::seed::Seed;
use crate::shared_state::{Counter, Mode, SharedState};
use crate::sys;
use crate::trace::{self, Entry, RulingKind};
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rusqlite::ffi;
use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

thread_local! {
    /// The errno of this thread's last injected failure, until a genuine failure replaces it.
    static INJECTED_ERRNO: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Called before the plan, and may run other actors first: a scheduling point. If it returns false, the call fails and
/// neither plan nor trace see it; so the execution ends.
pub(crate) type Hook = Box<dyn Fn(Actor, &Call) -> bool + Send + Sync>;

/// Another program: opens the database at a path, writes to it and closes it.
pub(crate) type OutsideProgram = Box<dyn Fn(&str) + Send + Sync>;

/// How long a simulated process is stopped, at least: longer than busy timeouts and cooldowns.
const SUSPENSION: Duration = Duration::from_secs(40);

/// The injector behind one registered shim.
pub struct Injector {
    shared_state: Arc<SharedState>,
    plan: FaultPlan,
    /// Replaces `plan` in an injector whose runs have different plans.
    changing: Option<Mutex<Arc<FaultPlan>>>,
    clock: Option<Clock>,
    entropy: Option<Mutex<ChaCha8Rng>>,
    hook: Option<Hook>,
    program: Option<OutsideProgram>,
    /// True if the process that started this one carries out what an outsider does once all processes are dead.
    is_coordinated: bool,
    /// Until when simulated processes are stopped, by the run's clock.
    suspended: Mutex<BTreeMap<u16, Duration>>,
    /// The database that outsiders act on, whatever file the call is for.
    target: Option<String>,
    /// The database that was opened last.
    database: Mutex<String>,
    files: Mutex<BTreeMap<u32, Arc<OpenFile>>>,
    files_next: AtomicU32,
    panic: Mutex<Option<String>>,
}

impl fmt::Debug for Injector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injector").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// A file that is open through the shim.
#[derive(Debug)]
pub struct OpenFile {
    /// Its number in this process, from 1.
    pub number: u32,
    /// What kind of file it is.
    pub role: Role,
    /// Its name as SQLite gave it; empty for a temporary file.
    pub name: String,
    lock_level: AtomicI32,
    shm_exclusive: AtomicU16,
}

impl OpenFile {
    /// The file lock held: 0 none, 1 shared, 2 reserved, 3 pending, 4 exclusive.
    pub fn lock_level(&self) -> i32 {
        self.lock_level.load(Ordering::Relaxed)
    }

    /// The wal-index slots on which the file holds an exclusive lock, one bit each: 0 write, 1 checkpoint, 2 recover,
    /// 3.. readers.
    pub fn shm_exclusive(&self) -> u16 {
        self.shm_exclusive.load(Ordering::Relaxed)
    }
}

impl Injector {
    /// An injector that works on `shared_state` with `plan`, on the platform's own time and randomness.
    pub(crate) fn new(shared_state: Arc<SharedState>, plan: FaultPlan) -> Self {
        Self {
            shared_state,
            plan,
            changing: None,
            clock: None,
            entropy: None,
            hook: None,
            program: None,
            is_coordinated: false,
            suspended: Mutex::default(),
            target: None,
            database: Mutex::default(),
            files: Mutex::default(),
            files_next: AtomicU32::new(1),
            panic: Mutex::default(),
        }
    }

    /// Answers `xSleep` and `xCurrentTime` from the run's clock.
    #[must_use]
    pub(crate) fn with_clock(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Answers `xRandomness` from a seed.
    #[must_use]
    pub(crate) fn with_entropy(self, seed: Seed) -> Self {
        Self { entropy: Some(Mutex::new(seed.rng())), ..self }
    }

    /// Makes every call a scheduling point of the execution that runs on the calling thread, if one does.
    #[must_use]
    pub(crate) fn with_scheduling(self) -> Self {
        self.with_hook(Box::new(|_, call| runtime::before_call(call)))
    }

    /// Runs `program` where an outsider is another program.
    #[must_use]
    pub(crate) fn with_outside_program(self, program: OutsideProgram) -> Self {
        Self { program: Some(program), ..self }
    }

    /// Outsiders act on this database alone.
    #[must_use]
    pub(crate) fn with_target(self, database: String) -> Self {
        Self { target: Some(database), ..self }
    }

    /// Leaves what an outsider does between two lives of the application to the process that started this one: the
    /// action is [kept](SharedState::keep_intervention) in the shared state, and this process dies.
    #[must_use]
    pub(crate) fn with_coordination(self) -> Self {
        Self { is_coordinated: true, ..self }
    }

    /// Calls `hook` before each call.
    #[must_use]
    pub(crate) fn with_hook(self, hook: Hook) -> Self {
        Self { hook: Some(hook), ..self }
    }

    /// Lets [`Self::restart_with`] change the plan for runs with [`Mode::VIRTUAL`], at the cost of a lock at each call
    /// while it is armed. Other runs go by the plan that was given.
    #[must_use]
    pub(crate) fn with_changing_plan(self) -> Self {
        Self { changing: Some(Mutex::new(Arc::new(FaultPlan::empty()))), ..self }
    }

    /// The run's shared state.
    pub fn shared_state(&self) -> &Arc<SharedState> {
        &self.shared_state
    }

    pub(crate) fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// The files that are open now.
    pub fn open_files(&self) -> Vec<Arc<OpenFile>> {
        self.files.lock().values().cloned().collect()
    }

    /// Begins a new run: the shared state is [restarted](SharedState::restart), and files are numbered from 1 again.
    /// Nothing of the run before may be open any more.
    pub(crate) fn restart(&self) {
        self.shared_state.restart();
        self.suspended.lock().clear();
        self.database.lock().clear();
        self.files_next.store(1, Ordering::Relaxed);
    }

    /// Begins a new run, with another plan.
    ///
    /// # Panics
    /// If the plan of this injector cannot change ([`Self::with_changing_plan`]).
    pub(crate) fn restart_with(&self, plan: FaultPlan) {
        let changing = self.changing.as_ref();
        *changing.unwrap_or_else(|| panic!("the plan of this injector was to stay")).lock() = Arc::new(plan);
        self.restart();
    }

    /// The message of the first panic that was caught in a callback.
    pub fn panic_message(&self) -> Option<String> {
        self.panic.lock().clone()
    }

    /// True if calls go straight through.
    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        self.shared_state.mode() == Mode::OFF
    }

    /// The switches that [`Self::is_off`] reads, for a file that checks them at every call. The word lives as long as
    /// the injector.
    pub(crate) fn mode_word(&self) -> &AtomicU64 {
        self.shared_state.mode_word()
    }

    /// Takes one call from its number to its trace entry and returns what SQLite gets. `execute` carries the call out.
    ///
    /// A panic on the way is caught here, since it must not unwind into C. SQLite gets an I/O error, or 0 from
    /// a method that cannot fail.
    #[inline(always)]
    pub(crate) fn conduct(&self, call: &Call, mut execute: impl FnMut(Option<&Alteration>) -> i32) -> i32 {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if !self.passes_hook(call) {
                return ffi::SQLITE_IOERR;
            }
            let begun = self.begin(call);
            let outcome = match begun.ruling.as_deref() {
                None => execute(None),
                Some(Ruling { fail: Some(code), .. }) => *code,
                Some(Ruling { alteration, .. }) => execute(alteration.as_ref()),
            };
            self.finish(call, &begun, outcome);
            outcome
        }));
        match outcome {
            Ok(outcome) => outcome,
            Err(panic) => self.caught(call, &*panic),
        }
    }

    /// Runs the hook, if there is one; false if the call is to fail.
    #[inline]
    fn passes_hook(&self, call: &Call) -> bool {
        let Some(hook) = &self.hook else { return true };
        hook(current_actor(), call) || !call.method.can_fail()
    }

    // In line, as what belongs to it: a third of the instructions at a call would else be spent on handing things over.
    #[inline(always)]
    fn begin(&self, call: &Call) -> Begun {
        let actor = current_actor();
        let shared_state = &*self.shared_state;
        let mode = shared_state.mode();
        let id = CallId { number: shared_state.next_call(), actor };
        let mut ruling = None;
        if mode.has(Mode::ARMED) {
            if mode.has(Mode::VIRTUAL) {
                ruling = self.rule_by_changing_plan(call, id);
            } else if let Some(decision) =
                self.plan.decide(shared_state, || shared_state.armed_for(), actor, call, id.number)
            {
                ruling = self.apply(&decision, call, id);
            }
        }
        Begun { id, mode, ruling }
    }

    /// In a simulated run. The plan is not locked while it is carried out, since that may let other actors run.
    #[cold]
    fn rule_by_changing_plan(&self, call: &Call, id: CallId) -> Option<Box<Ruling>> {
        // Rules do not apply to the calls of a dead process.
        if runtime::is_dead(id.actor.process) {
            return None;
        }
        self.wait_while_suspended(id.actor.process);
        let changed = self.changing.as_ref().map(|plan| Arc::clone(&plan.lock()));
        let (plan, shared_state) = (changed.as_deref().unwrap_or(&self.plan), &*self.shared_state);
        let decision = plan.decide(shared_state, || shared_state.armed_for(), id.actor, call, id.number)?;
        self.apply(&decision, call, id)
    }

    /// True if a rule lets an allocation of this many bytes fail. Only one that fails is a call: it gets a number and
    /// is traced. Others are counted by their rules alone.
    pub(crate) fn fails_allocation(&self, bytes: i32) -> bool {
        let mode = self.shared_state.mode();
        if !mode.has(Mode::ARMED) {
            return false;
        }
        let call = Call { method: Method::Alloc, role: Role::None, file: 0, arg: 0, amount: bytes };
        let fails = catch_unwind(AssertUnwindSafe(|| {
            let actor = current_actor();
            let is_virtual = mode.has(Mode::VIRTUAL);
            if is_virtual && runtime::is_dead(actor.process) {
                return false;
            }
            let plan = self.changing.as_ref().filter(|_| is_virtual).map(|plan| Arc::clone(&plan.lock()));
            let (plan, shared_state) = (plan.as_deref().unwrap_or(&self.plan), &*self.shared_state);
            let decision = plan.decide(shared_state, || shared_state.armed_for(), actor, &call, shared_state.calls());
            let Some(Decision { rule, .. }) = decision else { return false };
            let ruling = Ruling { kind: RulingKind::Fail, rule, fail: None, is_failed: true, alteration: None };
            let id = CallId { number: shared_state.next_call(), actor };
            self.finish(&call, &Begun { id, mode, ruling: Some(Box::new(ruling)) }, ffi::SQLITE_NOMEM);
            true
        }));
        fails.unwrap_or_else(|panic| self.caught(&call, &*panic) != 0)
    }

    #[inline(always)]
    fn finish(&self, call: &Call, begun: &Begun, outcome: i32) {
        if outcome != 0 && begun.ruling.as_ref().is_none_or(|ruling| ruling.fail.is_none() && !ruling.is_failed) {
            failed_genuinely(call.method);
        }
        if begun.mode.has(Mode::TRACE) {
            self.record(begun.mode, call, begun.id, begun.ruling.as_deref(), outcome);
            if begun.mode.has(Mode::DIGEST) {
                self.add_to_digest(call, begun.id, begun.ruling.as_deref(), outcome);
            }
        }
    }

    #[inline(always)]
    fn record(&self, mode: Mode, call: &Call, CallId { number, actor }: CallId, ruling: Option<&Ruling>, outcome: i32) {
        let at_ns =
            if mode.has(Mode::VIRTUAL) { self.shared_state.run_time_ns() } else { self.shared_state.elapsed_ns() };
        let (ruling, rule) = ruling.map_or((RulingKind::Proceed, None), |ruling| (ruling.kind, Some(ruling.rule)));
        trace::write(&self.shared_state, &Entry { number, at_ns, actor, call: *call, ruling, rule, outcome });
    }

    // Out of line, and with an entry of its own: a call that is traced and nothing else must not pay for it.
    #[cold]
    #[inline(never)]
    fn add_to_digest(&self, call: &Call, CallId { number, actor }: CallId, ruling: Option<&Ruling>, outcome: i32) {
        let (ruling, rule) = ruling.map_or((RulingKind::Proceed, None), |ruling| (ruling.kind, Some(ruling.rule)));
        trace::fold(&self.shared_state, &Entry { number, at_ns: 0, actor, call: *call, ruling, rule, outcome });
    }

    /// Keeps the message of a panic and yields what SQLite gets instead of an outcome.
    #[cold]
    fn caught(&self, call: &Call, panic: &(dyn Any + Send)) -> i32 {
        self.shared_state.count(Counter::Panics);
        let message = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        self.panic.lock().get_or_insert(message.unwrap_or_else(|| "a panic without a message".to_owned()));
        if call.method.can_fail() { ffi::SQLITE_IOERR } else { 0 }
    }

    /// What a rule that fires makes of a call; waits and kills at once.
    #[cold]
    fn apply(&self, decision: &Decision<'_>, call: &Call, id: CallId) -> Option<Box<Ruling>> {
        let action = decision.effect.act(call, decision.dice);
        let mut ruling =
            Ruling { kind: action.kind(), rule: decision.rule, fail: None, is_failed: false, alteration: None };
        match action {
            Action::Fail(code, errno) => {
                let errno = errno.map_or(0, |errno| errno.0);
                INJECTED_ERRNO.set(Some(errno));
                sys::set_errno(errno);
                ruling.fail = Some(code.0);
            }
            Action::Alter(alteration) => {
                if let Alteration::FailSync(fate, _, errno) = alteration
                    && fate != SyncFate::Late
                {
                    let errno = errno.map_or(0, |errno| errno.0);
                    INJECTED_ERRNO.set(Some(errno));
                    sys::set_errno(errno);
                    ruling.is_failed = true;
                }
                ruling.alteration = Some(alteration);
            }
            Action::Stall(duration) => self.pause(duration),
            Action::DropLocks => self.drop_locks(call, id.actor),
            Action::Outside(action) => {
                let dies = self.intervene(action, decision.dice, call, id.actor);
                if dies && !runtime::is_simulated() {
                    self.record(self.shared_state.mode(), call, id, Some(&ruling), 0);
                    sys::kill_self()
                }
                ruling.fail = dies.then_some(ffi::SQLITE_IOERR);
            }
            Action::PowerCut(dice) => {
                // Without a disk that is recorded there is nothing to lose, and the call is made.
                if !runtime::cut_power(Seed(dice)) {
                    return None;
                }
                // The calling process may have had no file open.
                runtime::kill(id.actor.process);
                ruling.fail = Some(ffi::SQLITE_IOERR);
            }
            Action::Kill if runtime::kill(id.actor.process) => ruling.fail = Some(ffi::SQLITE_IOERR),
            Action::Kill => {
                if self.shared_state.mode().has(Mode::DIGEST) {
                    self.add_to_digest(call, id, Some(&ruling), 0);
                }
                self.record(self.shared_state.mode(), call, id, Some(&ruling), 0);
                sys::kill_self()
            }
            Action::Nothing => return None,
        }
        Some(Box::new(ruling))
    }

    /// Takes the process's locks from the files by which SQLite guards the one of this call. SQLite never locks a log
    /// or a journal: the database file stands for them, and the wal-index beside it for the log.
    fn drop_locks(&self, call: &Call, actor: Actor) {
        let Some(file) = self.files.lock().get(&call.file).map(Arc::clone) else { return };
        let database = file.database();
        if call.role != Role::Shm {
            drop_locks_on(actor, database);
        }
        if matches!(call.role, Role::Shm | Role::Wal) {
            drop_locks_on(actor, &format!("{database}-shm"));
        }
    }

    /// An outsider acts on the database of the call; true if the calling process dies by it. Where no database is known
    /// there is nothing to act on.
    fn intervene(&self, action: OutsideAction, dice: u64, call: &Call, actor: Actor) -> bool {
        let Some(database) = self.database_of(call) else { return false };
        let intervention = Intervention { action, database, process: actor.process, dice };
        if self.is_coordinated && action.ends_processes() {
            self.shared_state.keep_intervention(action, dice);
            return true;
        }
        if !runtime::intervene(&intervention) {
            outsider::system::intervene(&intervention);
        } else if action == OutsideAction::Suspend {
            let until = runtime::now() + SUSPENSION + Duration::from_secs(dice % 80);
            self.suspended.lock().insert(actor.process, until);
            self.wait_while_suspended(actor.process);
        }
        if let Some(program) = self.program.as_ref().filter(|_| action.needs_program()) {
            let second = format!("{}{}", intervention.database, outsider::SECOND);
            program(if action == OutsideAction::SecondName { &second } else { &intervention.database });
        }
        action.ends_processes()
    }

    /// The database that an outsider acts on at a call.
    fn database_of(&self, call: &Call) -> Option<String> {
        if self.target.is_some() {
            return self.target.clone();
        }
        let file = self.files.lock().get(&call.file).map(Arc::clone);
        let of_call = file.filter(|file| !matches!(file.role, Role::Temp | Role::None));
        let database = of_call.map_or_else(|| self.database.lock().clone(), |file| file.database().to_owned());
        Some(database).filter(|database| !database.is_empty())
    }

    /// In a simulated process that is stopped nothing goes on. A process that is killed meanwhile comes to its end.
    fn wait_while_suspended(&self, process: u16) {
        loop {
            let Some(until) = self.suspended.lock().get(&process).copied() else { return };
            let left = until.saturating_sub(runtime::now());
            if left.is_zero() || runtime::is_dead(process) {
                return;
            }
            self.pause(left);
        }
    }

    /// The errno that `xGetLastError` reports for an injected failure of this thread, if its last failure was injected.
    pub(crate) fn injected_errno() -> Option<i32> {
        INJECTED_ERRNO.get()
    }

    fn pause(&self, duration: Duration) {
        match &self.clock {
            Some(clock) => clock.sleep(duration),
            None => std::thread::sleep(duration),
        }
    }

    /// Sleeps by the run's clock; false if the platform is to do it.
    pub(crate) fn sleep(&self, duration: Duration) -> bool {
        let Some(clock) = &self.clock else { return false };
        clock.sleep(duration);
        true
    }

    /// The run's date as SQLite counts it, in milliseconds since the Julian epoch; `None` if the platform is to tell.
    /// Runs begin on 2026-01-01 at 00:00 UTC.
    pub(crate) fn julian_ms(&self) -> Option<i64> {
        const BEGIN_MS: i64 = 24_610_415 * 8_640_000;
        let clock = self.clock.as_ref()?;
        Some(BEGIN_MS + i64::try_from(clock.now().as_millis()).unwrap_or(0))
    }

    /// Fills `bytes` from the seed; false if the platform is to do it.
    pub(crate) fn fill_random(&self, bytes: &mut [u8]) -> bool {
        let Some(entropy) = &self.entropy else { return false };
        entropy.lock().fill_bytes(bytes);
        true
    }

    /// The number of the next file.
    pub(crate) fn next_file(&self) -> u32 {
        self.files_next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn file_opened(&self, number: u32, role: Role, name: String) -> Arc<OpenFile> {
        self.shared_state.count(Counter::FilesOpened);
        if role == Role::Db {
            self.database.lock().clone_from(&name);
            self.shared_state.count(Counter::DbOpens);
        }
        let file =
            Arc::new(OpenFile { number, role, name, lock_level: AtomicI32::new(0), shm_exclusive: AtomicU16::new(0) });
        self.files.lock().insert(number, Arc::clone(&file));
        file
    }

    pub(crate) fn file_closed(&self, file: &OpenFile) {
        self.shared_state.count(Counter::FilesClosed);
        self.files.lock().remove(&file.number);
    }
}

impl OpenFile {
    /// The database that it belongs to. A log's or a journal's name is that of its database with a suffix.
    fn database(&self) -> &str {
        let database = ["-wal", "-journal"].iter().find_map(|suffix| self.name.strip_suffix(suffix));
        if self.role == Role::Db { &self.name } else { database.unwrap_or(&self.name) }
    }

    /// Keeps the lock state after a call that succeeded.
    pub(crate) fn note(&self, call: &Call) {
        match call.method {
            // A level at or below (above, for unlock) the present one is a no-op (os_unix.c, `unixLock`).
            Method::Lock => {
                self.lock_level.fetch_max(call.arg as i32, Ordering::Relaxed);
            }
            Method::Unlock => {
                self.lock_level.fetch_min(call.arg as i32, Ordering::Relaxed);
            }
            Method::ShmLock => {
                let (slots, flags) = (call.amount & 0xff, call.amount >> 8);
                if flags & ffi::SQLITE_SHM_EXCLUSIVE == 0 {
                    return;
                }
                // SQLITE_SHM_NLOCK is 8, so slot and count stay below 16.
                let mask = (((1_u32 << (slots & 15)) - 1) << (call.arg & 15)) as u16;
                if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
                    self.shm_exclusive.fetch_and(!mask, Ordering::Relaxed);
                } else {
                    self.shm_exclusive.fetch_or(mask, Ordering::Relaxed);
                }
            }
            Method::ShmUnmap => self.shm_exclusive.store(0, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// Does what takes all locks on a file from a process, in reality as in a simulation: opens it and closes it. A file
/// that is not there has none.
fn drop_locks_on(actor: Actor, path: &str) {
    if !runtime::drop_locks(actor.process, path) {
        drop(File::open(path));
    }
}

/// A genuine failure replaces the errno of an injected one.
#[cold]
fn failed_genuinely(method: Method) {
    if method.can_fail() {
        INJECTED_ERRNO.set(None);
    }
}

/// Which call it is and whose.
#[derive(Clone, Copy)]
struct CallId {
    number: u64,
    actor: Actor,
}

/// A call on its way.
struct Begun {
    id: CallId,
    mode: Mode,
    /// What a rule made of it; boxed, since nearly no call has one.
    ruling: Option<Box<Ruling>>,
}

/// What a rule makes of a call.
struct Ruling {
    kind: RulingKind,
    rule: u8,
    fail: Option<i32>,
    /// True if the call fails by its alteration.
    is_failed: bool,
    alteration: Option<Alteration>,
}
