//! The faults of the matrix: each a name, and the rules and kills that a run draws for it from its seed.
//!
//! The calls that fail are drawn for each run (the third `shmmap` in one, the first in another); a report prints the
//! rules that were drawn. The names:
//!
//! | name | what |
//! |---|---|
//! | `none` | nothing; processes are restarted in good order |
//! | `CODE-once` | one call fails |
//! | `CODE-burst` | some calls in a row fail |
//! | `CODE-healed` | all calls fail from one on, until the faults are switched off |
//! | `CODE-flaky` | each call fails with a small probability |
//! | `CODE-restart` | the only process is killed with committed rows in its `-wal`, and its next start meets the failing call |
//! | `overlapping-reads` | nothing; a snapshot of a short read is always open while others write |
//! | `drop-locks` | the process loses its POSIX locks on the files of a call |
//! | `move`, `delete`, `touch`, … | an outsider acts on the files: one row for each action of the grammar |
//! | `sigkill` | processes are killed, at calls and between them |
//! | `power-cut` | the machine loses power, once or twice, at some write or sync; simulated only |
//! | `fsync-kept`, `fsync-dropped`, `fsync-late`, `fsync-reverted`, `fsync-lie` | syncs fail or lie, and what they were to write has that fate; later the machine loses power; simulated only |
//! | `pressure` | two processes of four threads for 15 s, killed again and again; no row of the matrix |
//!
//! CODE is `shmmap`, `shmsize`, `shmopen` (the wal-index cannot be mapped, grown, opened), `truncate` or `cantopen`.

use crate::workload::Workload;
use rand::{Rng, RngExt};
use seawall_harness::fault::{self, Rule};
use seawall_harness::outsider::OutsideAction;
use seawall_harness::seed::Seed;
use seawall_harness::suggest;
use seawall_harness::token::FaultName;
use std::time::Duration;

/// The faults of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// The rules, armed for the middle part of the run.
    pub rules: Vec<Rule>,
    /// How many processes the parent kills between two steps.
    pub kills: u32,
    /// How processes end and start again.
    pub crash_pattern: CrashPattern,
    /// The strategy of the last process, where it is another one than that under test.
    pub foreign: Option<&'static str>,
    /// What the actors do.
    pub workload: Workload,
}

impl Faults {
    fn of_rules(rules: Vec<Rule>, crash_pattern: CrashPattern) -> Self {
        Self { rules, kills: 0, crash_pattern, foreign: None, workload: Workload::Mixed }
    }

    /// True if the last process opens the database by its second name, once there is one.
    pub fn has_second_name(&self) -> bool {
        self.rules.iter().any(|rule| rule.effect.outside_action() == Some(OutsideAction::SecondName))
    }

    /// True if an outsider takes rights away.
    pub fn takes_rights(&self) -> bool {
        self.rules.iter().any(|rule| rule.effect.outside_action() == Some(OutsideAction::Revoke))
    }

    /// True if what SQLite finds in the files, or its locks on them, may not be what processes left there.
    pub fn disturbs_files(&self) -> bool {
        self.rules.iter().any(|rule| rule.effect.misleads(rule.select.method)) || self.foreign.is_some()
    }

    /// True if outsiders act on the files.
    pub fn has_outsiders(&self) -> bool {
        self.foreign.is_some() || self.rules.iter().any(|rule| rule.effect.outside_action().is_some())
    }
}

/// How the processes of a run end and start again, apart from the kills that are part of the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPattern {
    /// They are restarted sometimes, each time in good order.
    Orderly,
    /// They are restarted sometimes, in good order or by a crash.
    Crashing,
    /// There is one process; it crashes once, and the rules are armed when it starts again.
    OneCrash,
    /// There is one process, and none ends before the run does.
    OverlappingReads,
    /// Two processes of four threads race for [`PRESSURE`] of wall-clock time and are killed many times.
    UnderPressure,
}

/// How long a run under pressure goes on, in wall-clock time.
pub const PRESSURE: Duration = Duration::from_secs(15);

/// A fault of the matrix, or rules from the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// How tokens name it.
    pub name: FaultName,
    /// How reports name it.
    pub title: String,
    /// One sentence on what it does.
    pub summary: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    None,
    Code(Code, Pattern),
    Restart(Code),
    Kill,
    OverlappingReads,
    DropLocks,
    Outside(OutsideAction),
    Pressure,
    PowerCut,
    /// What becomes of what a failing sync was to write; `lie` if the sync does not fail.
    Fsync(&'static str),
    Rules(Vec<Rule>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Code {
    ShmMap,
    ShmSize,
    ShmOpen,
    Truncate,
    CantOpen,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pattern {
    Once,
    Burst,
    Healed,
    Flaky,
}

impl Code {
    const ALL: [Self; 5] = [Self::ShmMap, Self::ShmSize, Self::ShmOpen, Self::Truncate, Self::CantOpen];

    fn word(self) -> &'static str {
        match self {
            Self::ShmMap => "shmmap",
            Self::ShmSize => "shmsize",
            Self::ShmOpen => "shmopen",
            Self::Truncate => "truncate",
            Self::CantOpen => "cantopen",
        }
    }

    /// The start of a rule.
    fn call(self) -> &'static str {
        match self {
            Self::ShmMap => "shmmap@shm:error=IOERR_SHMMAP",
            Self::ShmSize => "shmmap@shm:error=IOERR_SHMSIZE",
            Self::ShmOpen => "shmmap@shm:error=IOERR_SHMOPEN",
            Self::Truncate => "truncate@*:error=IOERR_TRUNCATE",
            Self::CantOpen => "open@*:error=CANTOPEN",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::ShmMap => "mapping the wal-index (xShmMap: IOERR_SHMMAP 5386)",
            Self::ShmSize => "growing the -shm file (xShmMap: IOERR_SHMSIZE 4874)",
            Self::ShmOpen => "opening the -shm file (xShmMap: IOERR_SHMOPEN 4618)",
            Self::Truncate => "truncating a file (xTruncate: IOERR_TRUNCATE 1546)",
            Self::CantOpen => "opening a file (xOpen: CANTOPEN 14)",
        }
    }
}

impl Pattern {
    const ALL: [Self; 4] = [Self::Once, Self::Burst, Self::Healed, Self::Flaky];

    fn word(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Burst => "burst",
            Self::Healed => "healed",
            Self::Flaky => "flaky",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Once => "fails one time",
            Self::Burst => "fails some times in a row",
            Self::Healed => "fails for good, until it heals",
            Self::Flaky => "fails at random, with a probability of 10 to 60 %",
        }
    }

    /// The modifiers of a rule.
    fn draw(self, rng: &mut impl Rng) -> String {
        let first = rng.random_range(1..=3_u32);
        match self {
            Self::Once => format!("when={first}"),
            Self::Burst => format!("when={first}..{}", first + rng.random_range(1..=12_u32)),
            Self::Healed => format!("when={first}+"),
            Self::Flaky => format!("p={}", f64::from(rng.random_range(10..=60_u32)) / 100.0),
        }
    }
}

/// The faults that have a name but no row in the matrix, because one run of them takes long.
pub fn long() -> Vec<Fault> {
    let summary = "two processes of four threads for 15 s, killed (SIGKILL) again and again".to_owned();
    vec![named("pressure", summary, Kind::Pressure)]
}

/// The faults of the default matrix, in the order of its rows.
pub fn matrix() -> Vec<Fault> {
    let mut faults = vec![named("none", "no fault; processes come and go in good order".to_owned(), Kind::None)];
    for code in Code::ALL {
        for pattern in Pattern::ALL {
            let name = format!("{}-{}", code.word(), pattern.word());
            faults.push(named(&name, format!("{} {}", code.meaning(), pattern.meaning()), Kind::Code(code, pattern)));
        }
    }
    for code in [Code::ShmSize, Code::CantOpen] {
        let summary =
            format!("after a crash that left committed rows in the -wal, {} fails at the next start", code.meaning());
        faults.push(named(&format!("{}-restart", code.word()), summary, Kind::Restart(code)));
    }
    let summary = "no fault; reads overlap, so that a snapshot is always open while others write".to_owned();
    faults.push(named("overlapping-reads", summary, Kind::OverlappingReads));
    let summary = "the process loses its locks at a call, by code of its own that closes the file".to_owned();
    faults.push(named("drop-locks", summary, Kind::DropLocks));
    for action in OutsideAction::ALL {
        let summary = action.summary().to_owned();
        faults.push(named(action.word(), summary, Kind::Outside(action)));
    }
    faults.push(named("sigkill", "processes are killed (SIGKILL), at calls and between them".to_owned(), Kind::Kill));
    let summary = "the machine loses power, once or twice, at some write or sync".to_owned();
    faults.push(named("power-cut", summary, Kind::PowerCut));
    for (fate, meaning) in FSYNC_FATES {
        let summary = format!("a sync {meaning}; later the machine loses power");
        faults.push(named(&format!("fsync-{fate}"), summary, Kind::Fsync(fate)));
    }
    faults
}

/// The rows of failing syncs.
const FSYNC_FATES: [(&str, &str); 5] = [
    ("kept", "fails, and what it was to write stays dirty"),
    ("dropped", "fails, and what it was to write counts as clean (ext4, XFS)"),
    ("late", "drops what it was to write, and the next one fails (ext4 with data=journal)"),
    ("reverted", "fails, and what it was to write is not visible any more (btrfs)"),
    ("lie", "reports success and writes nothing"),
];

fn named(name: &str, summary: String, kind: Kind) -> Fault {
    Fault { name: FaultName::Named(name.to_owned()), title: name.to_owned(), summary, kind }
}

/// Why a name is no fault's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No fault and no preset has the name.
    #[error("unknown fault `{name}`\nhelp: {help}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name, or all names.
        help: String,
    },
    /// It is a rule that the grammar does not allow.
    #[error(transparent)]
    Rule(#[from] fault::GrammarError),
}

/// The fault that a token or the command line names: one of the matrix, or a preset of the grammar.
///
/// # Errors
/// See [`FaultError`].
pub fn find(name: &FaultName) -> Result<Fault, FaultError> {
    match name {
        FaultName::Rules(rules) => Ok(of_rules(rules.iter().map(|rule| rule.parse()).collect::<Result<_, _>>()?)),
        FaultName::Named(name) => find_named(name),
    }
}

fn find_named(name: &str) -> Result<Fault, FaultError> {
    let known: Vec<Fault> = matrix().into_iter().chain(long()).collect();
    if let Some(fault) = known.iter().find(|fault| fault.title == name) {
        return Ok(fault.clone());
    }
    if let Some(preset) = fault::preset(name) {
        return Ok(named(name, preset.summary.to_owned(), Kind::Rules(preset.parse()?)));
    }
    let presets = fault::presets::PRESETS.iter().map(|preset| preset.name);
    let names = known.iter().map(|fault| fault.title.as_str()).chain(presets);
    Err(FaultError::Unknown { name: name.to_owned(), help: suggest::help(name, "the faults are", names) })
}

/// A fault of rules from the command line.
pub fn of_rules(rules: Vec<Rule>) -> Fault {
    let texts: Vec<String> = rules.iter().map(Rule::to_string).collect();
    Fault {
        title: texts.join("  "),
        summary: "rules from the command line".to_owned(),
        name: FaultName::Rules(texts),
        kind: Kind::Rules(rules),
    }
}

impl Fault {
    /// The faults of the run with this seed.
    pub fn draw(&self, seed: Seed) -> Faults {
        let mut rng = seed.stream("faults").rng();
        match &self.kind {
            Kind::None => Faults::of_rules(Vec::new(), CrashPattern::Orderly),
            Kind::Rules(rules) => Faults::of_rules(rules.clone(), CrashPattern::Crashing),
            Kind::Code(code, pattern) => {
                let rule = format!("{}:{}", code.call(), pattern.draw(&mut rng));
                Faults::of_rules(vec![parse(&rule)], CrashPattern::Crashing)
            }
            Kind::Restart(code) => {
                let rule = format!("{}:times={}", code.call(), rng.random_range(1..=6_u32));
                Faults::of_rules(vec![parse(&rule)], CrashPattern::OneCrash)
            }
            Kind::OverlappingReads => {
                let faults = Faults::of_rules(Vec::new(), CrashPattern::OverlappingReads);
                Faults { workload: Workload::OverlappingReads, ..faults }
            }
            Kind::DropLocks => {
                let rule = draw_open_rule(&mut rng, "drop-locks", 4);
                Faults::of_rules(vec![rule], draw_crash_pattern(&mut rng))
            }
            Kind::Outside(action) => draw_outsider(&mut rng, *action),
            Kind::Kill => draw_kill(&mut rng),
            Kind::PowerCut => draw_power_cut(&mut rng),
            Kind::Fsync(fate) => draw_fsync(&mut rng, fate),
            Kind::Pressure => {
                let kills = rng.random_range(10..=20);
                Faults { kills, ..Faults::of_rules(Vec::new(), CrashPattern::UnderPressure) }
            }
        }
    }

    /// True if a run in which no rule fired says nothing about the fault.
    pub fn must_fire(&self) -> bool {
        !matches!(self.kind, Kind::None | Kind::Kill | Kind::OverlappingReads | Kind::Pressure)
    }

    fn works_in_simulator(&self) -> bool {
        let needs_real_files = match &self.kind {
            Kind::Outside(action) => *action == OutsideAction::Fork,
            Kind::Rules(rules) => rules.iter().any(|rule| rule.effect.needs_real_files().is_some()),
            _ => false,
        };
        !needs_real_files
    }

    /// True if runs in the simulator, or those on real files, can have the fault.
    pub fn works_on(&self, is_simulated: bool) -> bool {
        if is_simulated { self.works_in_simulator() } else { self.works_on_real_files() }
    }

    fn works_on_real_files(&self) -> bool {
        match &self.kind {
            Kind::Rules(rules) => rules.iter().all(|rule| rule.needs_simulation().is_none()),
            Kind::PowerCut | Kind::Fsync(_) => false,
            _ => true,
        }
    }

    /// The rules as they are known before a run draws its own; for checks of the medium.
    pub fn given_rules(&self) -> &[Rule] {
        match &self.kind {
            Kind::Rules(rules) => rules,
            _ => &[],
        }
    }
}

/// One kill is at a call, where it interrupts a commit or checkpoint; the others are between two steps.
fn draw_kill(rng: &mut impl Rng) -> Faults {
    const CALLS: [(&str, u32); 8] = [
        ("write@wal", 60),
        ("sync@wal", 20),
        ("write@db", 20),
        ("sync@db", 6),
        ("truncate@*", 4),
        ("shmlock@shm", 200),
        ("open@*", 8),
        ("unlock@db", 20),
    ];
    let (call, range) = CALLS[rng.random_range(0..CALLS.len())];
    let rule = format!("{call}:kill:when={}", rng.random_range(1..=range));
    let kills = rng.random_range(1..=3);
    Faults { kills, ..Faults::of_rules(vec![parse(&rule)], CrashPattern::Crashing) }
}

/// The power is cut at a write or a sync, where it interrupts a commit or a checkpoint; in one of three runs twice.
fn draw_power_cut(rng: &mut impl Rng) -> Faults {
    // The call, and about how many of them there are in a run.
    const CALLS: [(&str, u32); 6] =
        [("write@*", 90), ("write@*", 90), ("sync@*", 20), ("write@db", 12), ("sync@db", 6), ("truncate@*", 3)];
    let (call, range) = CALLS[rng.random_range(0..CALLS.len())];
    let first = rng.random_range(1..=range);
    let modifiers = match rng.random_range(0..3_u8) {
        0 => format!("when={first}+{}:times=2", rng.random_range(1..=range)),
        _ => format!("when={first}"),
    };
    let rule = parse(&format!("{call}:power-cut:{modifiers}"));
    Faults::of_rules(vec![rule], draw_crash_pattern(rng))
}

/// Some syncs of a kind of file fail in this way; later the power is cut, so that it shows what they have written.
fn draw_fsync(rng: &mut impl Rng, fate: &str) -> Faults {
    let role = ["wal", "wal", "db", "journal", "*"][rng.random_range(0..5)];
    let effect = if fate == "lie" { "lie".to_owned() } else { format!("error=IOERR_FSYNC,dirty={fate}") };
    let (first, times) = (rng.random_range(1..=12_u32), rng.random_range(1..=4_u32));
    let sync = parse(&format!("sync@{role}:{effect}:when={first}+:times={times}"));
    let cut = parse(&format!("write@*:power-cut:when={}", rng.random_range(20..=120_u32)));
    Faults::of_rules(vec![sync, cut], draw_crash_pattern(rng))
}

/// A rule that fires up to `times_max` times, at calls during which the process has the database open.
fn draw_open_rule(rng: &mut impl Rng, effect: &str, times_max: u32) -> Rule {
    // The call, and about how many of them there are in a run.
    const CALLS: [(&str, u32); 6] = [
        ("write@wal", 60),
        ("write@wal", 60),
        ("shmlock@shm", 120),
        ("filecontrol@db", 60),
        ("read@wal", 12),
        ("write@db", 6),
    ];
    let (call, range) = CALLS[rng.random_range(0..CALLS.len())];
    let (first, stride) = (rng.random_range(1..=range), rng.random_range(1..=range));
    let modifiers = match rng.random_range(1..=times_max) {
        1 => format!("when={first}"),
        times => format!("when={first}+{stride}:times={times}"),
    };
    parse(&format!("{call}:{effect}:{modifiers}"))
}

/// Two of five runs have kills as well.
fn draw_crash_pattern(rng: &mut impl Rng) -> CrashPattern {
    if rng.random_bool(0.4) { CrashPattern::Crashing } else { CrashPattern::Orderly }
}

/// An outsider acts at calls; where it is a program, the last process of the run is one too, which in half of the runs
/// cleans up after failing opens.
fn draw_outsider(rng: &mut impl Rng, action: OutsideAction) -> Faults {
    let times_max = if action.ends_processes() { 1 } else { 3 };
    let rule = draw_open_rule(rng, &format!("outside={}", action.word()), times_max);
    let mut faults = Faults::of_rules(vec![rule], draw_crash_pattern(rng));
    if action == OutsideAction::Foreign {
        faults.foreign = Some(if rng.random_bool(0.5) { "percall" } else { "openhuman" });
        let cleanup = format!("open@db:error=CANTOPEN:p=0.{}:actor=p2.*", rng.random_range(1..=5_u32));
        faults.rules.extend((faults.foreign == Some("openhuman")).then(|| parse(&cleanup)));
    }
    faults
}

/// Parses a rule that this file composed.
fn parse(rule: &str) -> Rule {
    rule.parse().unwrap_or_else(|error| unreachable!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_matrix_is_found_by_name_and_draws_valid_rules() {
        let matrix = matrix();
        assert_eq!(matrix.len(), 45);
        for fault in &matrix {
            assert_eq!(find(&fault.name).as_ref(), Ok(fault));
            for seed in 0..200 {
                let drawn = fault.draw(Seed(seed));
                assert_eq!(drawn, fault.draw(Seed(seed)));
                assert_eq!(drawn.rules.is_empty(), ["none", "overlapping-reads"].contains(&&*fault.title));
            }
        }
    }

    #[test]
    fn presets_are_found_and_a_mistyped_name_gets_a_suggestion() {
        assert!(find_named("disk-full").is_ok());
        assert!(find_named("cantopen-ones").unwrap_err().to_string().contains("did you mean `cantopen-once`?"));
    }

    #[test]
    fn rules_travel_in_a_token() {
        let fault = of_rules(vec![parse("write@wal:error=FULL:after=64KiB")]);
        assert_eq!(find(&fault.name), Ok(fault));
    }
}
