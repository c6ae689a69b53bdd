//! A made-up soak with plausible figures, every verdict, thousands of events and hostile text.

use seawall_harness::record::{
    Cell, Comparison, Counts, ErrorCount, Finding, MarkKind, RuleRecord, RunRecord, SCHEMA, SoakRecord, TimelineEvent,
    Topology,
};
use seawall_harness::verdict::Verdict;
use std::collections::BTreeMap;

pub(crate) mod power;
pub(crate) mod story;

/// Text that would end an element, an attribute, a script or a line, or control a terminal, if it were not escaped.
pub(crate) const NASTY: &str =
    "<script>alert('x')</script> \"quoted\" & 'single' ]]> --> \u{1b}[31mred \u{0} {{ 7*7 }}";

pub(crate) const STRATEGIES: [&str; 3] = ["percall", "openhuman", "seawall"];

const FAULTS: [(&str, &str, &str); 22] = [
    ("none", "", "No fault."),
    ("shmmap-once", "shmmap@shm:error=IOERR_SHMMAP:when=3", "The third mapping of the wal-index fails."),
    ("shmmap-burst", "shmmap@shm:error=IOERR_SHMMAP:when=2..9", "Eight mappings in a row fail."),
    ("shmmap-healed", "shmmap@shm:error=IOERR_SHMMAP:until=2s", "Every mapping fails, until the fault heals."),
    ("shmmap-storm", "shmmap@shm:error=IOERR_SHMMAP:p=0.05", "One mapping in twenty fails."),
    ("shmsize-once", "shmmap@shm:error=IOERR_SHMSIZE:when=2", "The wal-index cannot grow, once."),
    ("shmsize-burst", "shmmap@shm:error=IOERR_SHMSIZE:when=2..9", "The wal-index cannot grow, eight times."),
    ("shmsize-healed", "shmmap@shm:error=IOERR_SHMSIZE:until=2s", "The wal-index cannot grow, until it heals."),
    ("shmopen-once", "shmmap@shm:error=IOERR_SHMOPEN:when=1", "The wal-index cannot be opened, once."),
    ("shmopen-burst", "shmmap@shm:error=IOERR_SHMOPEN:when=1..6", "The wal-index cannot be opened, six times."),
    ("shmopen-healed", "shmmap@shm:error=IOERR_SHMOPEN:until=2s", "The wal-index cannot be opened, until it heals."),
    ("shmopen-storm", "shmmap@shm:error=IOERR_SHMOPEN:p=0.05", "One opening of the wal-index in twenty fails."),
    ("truncate-once", "truncate@*:error=IOERR_TRUNCATE:when=1", "The first truncation fails."),
    ("truncate-burst", "truncate@*:error=IOERR_TRUNCATE:when=1..6", "Six truncations in a row fail."),
    ("truncate-healed", "truncate@*:error=IOERR_TRUNCATE:until=2s", "Truncations fail, until the fault heals."),
    ("truncate-storm", "truncate@*:error=IOERR_TRUNCATE:p=0.2", "One truncation in five fails."),
    ("cantopen-once", "open@db:error=CANTOPEN:when=2", "The second open of the database fails."),
    ("cantopen-burst", "open@db:error=CANTOPEN:when=2..5", "Four opens of the database fail in a row."),
    ("cantopen-healed", "open@*:error=CANTOPEN:until=2s", "Every open fails, until the fault heals."),
    ("cantopen-storm", "open@*:error=CANTOPEN:p=0.1", "One open in ten fails, of any file."),
    ("sigkill", "write@wal:kill:when=7", "Workers are killed at a write to the log."),
    ("sigkill-storm", "*@*:kill:p=0.0005", "Workers are killed at any call, at random."),
];

/// Three strategies under 22 faults on real files.
pub(crate) fn soak() -> SoakRecord {
    let mut matrix = Vec::new();
    for (s, strategy) in STRATEGIES.into_iter().enumerate() {
        for f in 0..FAULTS.len() {
            matrix.push(cell(strategy, s, f, "real"));
        }
    }
    record(matrix)
}

/// A few cells of two strategies on both media.
#[allow(dead_code, reason = "each test binary uses its own part of this module")]
pub(crate) fn both_media() -> SoakRecord {
    let mut matrix = Vec::new();
    for (s, strategy) in ["openhuman", "seawall"].into_iter().enumerate() {
        for medium in ["real", "sim"] {
            matrix.extend((0..6).map(|f| cell(strategy, s + 1, f, medium)));
        }
    }
    record(matrix)
}

fn record(matrix: Vec<Cell>) -> SoakRecord {
    SoakRecord {
        schema: SCHEMA,
        seed: 42,
        sqlite: "3.53.1".to_owned(),
        scratch: "/dev/shm/seawall <tmpfs>".to_owned(),
        platform: "linux x86_64".to_owned(),
        seconds: 603.4,
        interrupted: false,
        matrix,
        shares: Vec::new(),
    }
}

fn verdict(strategy: &str, f: usize) -> Verdict {
    match (strategy, f) {
        ("percall", 4 | 13) => Verdict::FalseAlarm,
        ("percall", 7) => Verdict::Wedged,
        ("percall", 16) => Verdict::HarnessBroken,
        ("openhuman", 20) => Verdict::Corrupt,
        ("openhuman", 1..=4 | 9 | 18 | 19) => Verdict::Lost,
        ("openhuman", 12) => Verdict::NotMeasured,
        (_, 0 | 5 | 12 | 16) => Verdict::Survived,
        _ if f.is_multiple_of(2) => Verdict::Survived,
        _ => Verdict::Degraded,
    }
}

/// The record, with a cell whose verdict is as expected and in which plain SQLite did better.
#[allow(dead_code, reason = "each test binary uses its own part of this module")]
pub(crate) fn with_worse_cell() -> SoakRecord {
    let mut record = soak();
    let cell = record.matrix.iter_mut().find(|cell| cell.as_expected && cell.strategy == "seawall").unwrap();
    cell.as_expected = false;
    let plain = "percall".to_owned();
    cell.worse_than_plain =
        Some(Comparison { plain, runs: 200, lost: 12, plain_lost: 3, corrupt: 2, plain_corrupt: 0 });
    record
}

fn cell(strategy: &str, s: usize, f: usize, medium: &str) -> Cell {
    let (fault, rule, summary) = FAULTS[f];
    let verdict = verdict(strategy, f);
    let (n, runs) = ((s * 22 + f) as u64, 200 + (f as u64 * 7) % 31);
    let lost = if verdict >= Verdict::Lost && verdict != Verdict::HarnessBroken { 17 + n * 13 } else { 0 };
    let bad = if verdict == Verdict::Survived { 0 } else { (runs / 9).max(1) };
    let as_expected = !matches!(verdict, Verdict::Wedged | Verdict::HarnessBroken) && f != 9;
    let mut verdicts = BTreeMap::from([(Verdict::Survived, runs - bad)]);
    *verdicts.entry(verdict).or_default() += bad;
    let token = format!("sw1.{strategy}.{fault}.{medium}.{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Cell {
        strategy: strategy.to_owned(),
        fault: fault.to_owned(),
        fault_summary: format!("{summary}{}", if f == 3 { NASTY } else { "" }),
        medium: medium.to_owned(),
        verdict,
        expected: if as_expected { verdict.word().to_owned() } else { "survived|degraded".to_owned() },
        as_expected,
        runs,
        acked: if verdict == Verdict::NotMeasured { 0 } else { runs * 61 },
        refused: bad * 11,
        indeterminate: bad * 2,
        lost,
        corrupt: u64::from(verdict == Verdict::Corrupt) * bad,
        lost_silently: if verdict == Verdict::Lost { bad } else { 0 },
        opens: if strategy == "percall" { runs * 97 } else { runs * 3 },
        schema_inits: if strategy == "percall" { runs * 97 } else { runs },
        calls: runs * 4_321,
        faults_fired: if f == 0 { 0 } else { runs * 6 },
        verdicts,
        errors: errors(bad),
        worse_than_plain: None,
        numbers: Vec::new(),
        harmed: Vec::new(),
        sample_number: None,
        token: token.clone(),
        sample: (verdict != Verdict::NotMeasured).then(|| run(strategy, fault, rule, medium, verdict, n, token)),
    }
}

fn errors(bad: u64) -> Vec<ErrorCount> {
    let error = |message: &str, count| ErrorCount { message: message.to_owned(), count };
    match bad {
        0 => Vec::new(),
        _ => vec![
            error("disk I/O error: xShmMap failed (code 4874, IOERR_SHMMAP) while opening DB", bad * 9),
            error(NASTY, bad * 2),
            error("database is locked", 1),
        ],
    }
}

fn run(strategy: &str, fault: &str, rule: &str, medium: &str, verdict: Verdict, n: u64, token: String) -> RunRecord {
    let racing = n.is_multiple_of(2);
    let topology = Topology {
        processes: if racing { 2 } else { 1 },
        threads: if racing { 2 } else { 3 },
        schedule: if racing { "racing" } else { "sequential" }.to_owned(),
    };
    let finding =
        |oracle: &str, detail: &str| Finding { oracle: oracle.to_owned(), verdict, detail: detail.to_owned() };
    let findings = match verdict {
        Verdict::NotMeasured | Verdict::Survived | Verdict::Degraded => Vec::new(),
        Verdict::Lost => vec![
            finding("ledger", "17 of 61 acknowledged transactions are gone: p1.t1#3, p1.t1#4, p1.t2#2 and 14 more"),
            finding("hygiene", NASTY),
        ],
        _ => vec![finding("progress", "p1.t2 did not commit within 2,000 calls after the faults were off")],
    };
    let timeline = timeline(n, &topology);
    let fired_at: Vec<u64> = (0..16).map(|i| 40 + i * 131).collect();
    let rules = if rule.is_empty() {
        Vec::new()
    } else {
        vec![RuleRecord { rule: rule.to_owned(), matched: 1_204, fired: 23, fired_at }]
    };
    RunRecord {
        token,
        seed: n * 7919,
        strategy: strategy.to_owned(),
        fault: fault.to_owned(),
        medium: medium.to_owned(),
        trace_digest: (!racing).then(|| "9f3a1c77".to_owned()),
        topology,
        rules,
        verdict,
        findings,
        counts: Counts {
            acked: 61,
            refused: 11,
            lost: 17,
            reads: 33,
            calls: timeline.len() as u64,
            ..Counts::default()
        },
        errors: errors(1),
        integrity_ok: verdict != Verdict::Corrupt,
        timeline,
    }
}

/// Two bursts of work around a wait of 30 seconds, with all kinds of marks.
fn timeline(n: u64, topology: &Topology) -> Vec<TimelineEvent> {
    let mut state = n.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut events = Vec::new();
    for p in 1..=topology.processes {
        events.push(event(u64::from(p) * 40, &format!("p{p}"), MarkKind::Start, "started"));
    }
    let actors: Vec<String> =
        (1..=topology.processes).flat_map(|p| (1..=topology.threads).map(move |t| format!("p{p}.t{t}"))).collect();
    for burst in [300, 30_020_000] {
        for i in 0..700_u64 {
            let actor = &actors[random(actors.len() as u64) as usize];
            let at = burst + i * 17 + random(15);
            let (kind, label) = match random(100) {
                0..4 if burst < 1_000 => (MarkKind::Fault, "shmmap@shm error IOERR_SHMMAP"),
                4..9 => (MarkKind::Commit, "commit of 3 rows"),
                9..12 => (MarkKind::Read, "read 12 rows"),
                12..14 if burst < 1_000 => (MarkKind::Refused, NASTY),
                14 if burst < 1_000 => (MarkKind::Indeterminate, "COMMIT: disk I/O error"),
                _ => (MarkKind::Call, "write@wal 4096 bytes at 32"),
            };
            let mut mark = event(at, actor, kind, label);
            mark.duration_us = if kind == MarkKind::Commit { 40 + random(400) } else { 0 };
            events.push(mark);
        }
    }
    events.push(event(9_000, "p1", MarkKind::Kill, "SIGKILL"));
    events.push(event(9_800, "p1", MarkKind::Start, "started again"));
    events.push(event(10_200, "outsider", MarkKind::Outside, "an outsider renames the database"));
    events.push(event(10_400, "p2.t1", MarkKind::Lost, "step 9: insert a row"));
    events.push(event(12_600, "run", MarkKind::Heal, "the faults were switched off"));
    events.sort_by_key(|e| e.at_us);
    events
}

/// A mark without a duration.
pub(crate) fn event(at_us: u64, actor: &str, kind: MarkKind, label: &str) -> TimelineEvent {
    TimelineEvent { at_us, duration_us: 0, actor: actor.to_owned(), kind, label: label.to_owned() }
}
