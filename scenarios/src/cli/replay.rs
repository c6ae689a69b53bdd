//! `seawall replay`: the run of a token, again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use seawall_harness::record::RunRecord;
use seawall_harness::token::{Token, TokenError};
use seawall_harness::trace::{self, Entry};
use seawall_harness::verdict::{UnknownVerdict, Verdict};

use super::args::{CaseMedium, ReplayArgs, ReplayFormat};
use super::{Complaint, Exit, explore, print, say, soak, stop_on_interrupt};
use crate::explore::difference;
use crate::run::simulated::case::RunCase;
use crate::run::simulated::{Simulated, Simulator};
use crate::run::spec::RunSpec;
use crate::run::{Executed, Runner};
use crate::story::line;

pub(super) fn run(args: ReplayArgs) -> Result<Exit, Complaint> {
    let (mut worst, mut runs) = (Exit::Expected, Vec::new());
    for text in &args.tokens {
        let path = Path::new(text);
        let is_file = path.extension().is_some_and(|extension| extension == "json") && !text.starts_with('@');
        let exit = if !is_file && text.starts_with("sx") {
            explore::replay(&args, text)?
        } else if !is_file {
            runs.push(text);
            continue;
        } else if RunCase::is_one(path) {
            replay_case(&args, path)?
        } else {
            explore::replay_file(&args, path)?
        };
        worst = worse(worst, exit);
    }
    if runs.is_empty() {
        return Ok(worst);
    }
    let tokens = tokens(&runs)?;
    if tokens.is_empty() {
        say("nothing ran: no token was given");
        return Ok(Exit::NothingRan);
    }
    // All of them are looked at before the first is executed.
    for Wanted { token, .. } in &tokens {
        RunSpec::of(token).and_then(|world| world.plan().map(drop)).map_err(Complaint::usage)?;
    }
    let runner = soak::runner(args.scratch.as_deref())?;
    if let Some(path) = &args.trace {
        check_trace(path)?;
    }
    let stop = stop_on_interrupt()?;
    for Wanted { token, verdict } in &tokens {
        let replayed = Replayed::execute(&runner, token, args.times, &stop)?;
        replayed.show(&args)?;
        worst = worse(worst, replayed.exit(*verdict));
        if stop.load(Ordering::Relaxed) {
            say("interrupted: the figures are those of the runs that were done");
            return Ok(Exit::Interrupted);
        }
    }
    Ok(worst)
}

/// The case of a run: in the simulator, call by call as it is in the file, or by real processes.
fn replay_case(args: &ReplayArgs, path: &Path) -> Result<Exit, Complaint> {
    let case = RunCase::read(path).map_err(Complaint::usage)?;
    let mut replayed = Replayed { records: Vec::new(), calls: Vec::new(), divergence: None };
    if args.medium == CaseMedium::Real {
        let runner = soak::runner(args.scratch.as_deref())?;
        for _ in 0..args.times {
            replayed.add(runner.execute_on_real_files(&case)?);
        }
    } else {
        let world = case.spec(false).map_err(Complaint::usage)?;
        let mut simulator = Simulator::new().map_err(Complaint::broken)?;
        for _ in 0..args.times {
            let Simulated { record, calls, .. } = simulator.run(&world, Some(&case.schedule), true)?;
            let lines: Vec<String> = calls.iter().map(line).collect();
            let complain = |what: &str| Complaint::broken(format!("{} does not repeat: {what}", path.display()));
            if let Some(what) = difference(&case.calls, &lines).filter(|_| !case.calls.is_empty()) {
                return Err(complain(&what));
            }
            if case.digest.is_some() && case.digest != record.trace_digest {
                let (was, is) = (&case.digest, &record.trace_digest);
                return Err(complain(&format!("its checksum over all calls was {was:?} and is {is:?}")));
            }
            if !case.findings.is_empty() && case.findings != record.findings {
                return Err(complain("the calls are the same, and what the oracles found is not"));
            }
            replayed.add(Executed { record, calls });
        }
    }
    replayed.show(args)?;
    Ok(replayed.exit(None))
}

fn worse(a: Exit, b: Exit) -> Exit {
    let rank = |exit| match exit {
        Exit::LabBroken => 2,
        Exit::Finding => 1,
        _ => 0,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// A token, and the verdict that it must come to if that is known.
struct Wanted {
    token: Token,
    verdict: Option<Verdict>,
}

/// The tokens of the arguments; an argument with `@` before it is a file of them, one a line, each with its verdict
/// behind it or without. Empty lines and lines that begin with `#` do not count.
fn tokens(arguments: &[&String]) -> Result<Vec<Wanted>, Complaint> {
    let mut tokens = Vec::new();
    for argument in arguments {
        let Some(path) = argument.strip_prefix('@') else {
            tokens.push(Wanted { token: argument.parse().map_err(Complaint::usage)?, verdict: None });
            continue;
        };
        let text =
            fs::read_to_string(path).map_err(|error| Complaint::usage(format!("cannot read @{path}: {error}")))?;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let wanted =
                    wanted(line).map_err(|error| Complaint::usage(format!("{path}, line {number}: {error}")))?;
                tokens.push(wanted);
            }
        }
    }
    Ok(tokens)
}

fn wanted(line: &str) -> Result<Wanted, String> {
    let (token, verdict) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let verdict = match verdict.trim() {
        "" => None,
        word => Some(word.parse().map_err(|error: UnknownVerdict| error.to_string())?),
    };
    Ok(Wanted { token: token.parse().map_err(|error: TokenError| error.to_string())?, verdict })
}

/// What came of executing one token several times.
struct Replayed {
    records: Vec<RunRecord>,
    /// Those of the last execution.
    calls: Vec<Entry>,
    /// The first call in which an execution was not like the one before, where they should be alike.
    divergence: Option<String>,
}

impl Replayed {
    /// Executes at least once, and `times` times unless `stop` is set.
    fn execute(runner: &Runner, token: &Token, times: u32, stop: &AtomicBool) -> Result<Self, Complaint> {
        let mut replayed = Self { records: Vec::new(), calls: Vec::new(), divergence: None };
        for time in 0..times {
            if time > 0 && stop.load(Ordering::Relaxed) {
                break;
            }
            replayed.add(runner.execute(token)?);
        }
        Ok(replayed)
    }

    fn add(&mut self, Executed { record, calls }: Executed) {
        let before = self.records.last().map(|last| &last.trace_digest);
        if self.divergence.is_none() && before.is_some_and(|digest| *digest != record.trace_digest) {
            let lines = |calls: &[Entry]| calls.iter().map(line).collect::<Vec<_>>();
            self.divergence = difference(&lines(&self.calls), &lines(&calls));
        }
        self.records.push(record);
        self.calls = calls;
    }

    /// Whether the executions came out as wanted; where nothing is wanted, anything worse than refused service is a
    /// finding.
    fn exit(&self, wanted: Option<Verdict>) -> Exit {
        let exit = |record: &RunRecord| match wanted {
            _ if record.verdict == Verdict::HarnessBroken => Exit::LabBroken,
            Some(wanted) if record.verdict == wanted => Exit::Expected,
            None if record.verdict <= Verdict::Degraded => Exit::Expected,
            _ => Exit::Finding,
        };
        self.records.iter().map(exit).fold(Exit::Expected, worse)
    }

    /// Prints what came of it, and writes the calls where they are asked for.
    fn show(&self, args: &ReplayArgs) -> Result<(), Complaint> {
        print(&match args.format {
            ReplayFormat::Human => self.human(),
            ReplayFormat::Json => self.json()?,
        })?;
        match &args.trace {
            Some(path) => write_trace(path, &self.calls),
            None => Ok(()),
        }
    }

    fn json(&self) -> Result<String, Complaint> {
        let mut out = String::new();
        for record in &self.records {
            out.push_str(&serde_json::to_string(record).map_err(Complaint::broken)?);
            out.push('\n');
        }
        Ok(out)
    }

    fn human(&self) -> String {
        let bold = anstyle::Style::new().bold();
        let mut out = String::new();
        let Some(record) = self.records.last() else { return out };
        let topology = &record.topology;
        let _ = writeln!(out, "{bold}{} under {}{bold:#}: {}", record.strategy, record.fault, record.verdict);
        let _ = writeln!(
            out,
            "  {} of {}, {}; {} started, {} killed",
            number(topology.processes, "process", "processes"),
            number(topology.threads, "thread", "threads"),
            topology.schedule,
            record.counts.starts,
            record.counts.kills
        );
        for rule in &record.rules {
            let at: Vec<String> = rule.fired_at.iter().map(u64::to_string).collect();
            let _ = writeln!(
                out,
                "  {}: fired {} of {} times, at calls {}",
                rule.rule,
                rule.fired,
                rule.matched,
                at.join(", ")
            );
        }
        let counts = record.counts;
        let _ = writeln!(
            out,
            "  {} acknowledged, {} refused, {} indeterminate, {} lost; integrity {}",
            counts.acked,
            counts.refused,
            counts.indeterminate,
            counts.lost,
            if record.integrity_ok { "ok" } else { "broken" },
        );
        for finding in &record.findings {
            let _ = writeln!(out, "  {} ({}): {}", finding.oracle, finding.verdict, finding.detail);
        }
        out.push_str(&self.agreement());
        out
    }

    /// How the executions compare.
    fn agreement(&self) -> String {
        let times = self.records.len();
        let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
        for record in &self.records {
            *verdicts.entry(record.verdict).or_default() += 1;
        }
        let verdicts: Vec<String> =
            verdicts.iter().rev().map(|(verdict, n)| format!("{verdict} {n} of {times}")).collect();
        let digests: Vec<Option<&str>> = self.records.iter().map(|record| record.trace_digest.as_deref()).collect();
        let trace = match digests.first() {
            Some(Some(digest)) if times == 1 => format!("it repeats call by call, digest {digest}"),
            Some(Some(first)) if digests.iter().all(|digest| *digest == Some(first)) => {
                format!("calls identical each time, digest {first}")
            }
            Some(Some(_)) => match &self.divergence {
                Some(what) => format!("calls differ between the executions: {what}"),
                None => "calls differ between the executions".to_owned(),
            },
            _ => "a racing run: calls are not expected to repeat".to_owned(),
        };
        format!("  {}; {trace}\n", verdicts.join(", "))
    }
}

fn number(n: u16, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Finds out before the runs that the trace has no place to go to.
pub(super) fn check_trace(path: &Path) -> Result<(), Complaint> {
    if path == Path::new("-") {
        return Ok(());
    }
    let opened = File::options().create(true).append(true).open(path);
    opened.map(drop).map_err(|error| Complaint::usage(format!("cannot write --trace {}: {error}", path.display())))
}

pub(super) fn write_trace(path: &Path, calls: &[Entry]) -> Result<(), Complaint> {
    let write = || -> io::Result<()> {
        if path == Path::new("-") {
            return trace::write_json_lines(calls, &mut io::stdout().lock());
        }
        let mut out = BufWriter::new(File::create(path)?);
        trace::write_json_lines(calls, &mut out)?;
        out.flush()
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => {
            result.map_err(|error| Complaint::broken(format!("cannot write --trace {}: {error}", path.display())))
        }
    }
}
