//! `seawall explore`: executions in the simulator, until something is found.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use seawall_harness::engine::Engine;
use seawall_harness::fault::{self, FaultPlan, Rule};
use seawall_harness::record::Finding;
use seawall_harness::seed::Seed;
use seawall_harness::token::FaultName;
use seawall_harness::trace::Entry;
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};

use super::args::{CaseMedium, ExploreArgs, ReplayArgs, ReplayFormat, SHARES_MAX};
use super::replay::{check_trace, write_trace};
use super::{Complaint, Exit, print, say, soak, stop_on_interrupt};
use crate::engines;
use crate::explore::{self, Case, CaseFile, ExploreToken, Explorer, NO_FAULT, Outcome, Schedule};

/// What is printed. Field names are a contract.
#[derive(Serialize, Deserialize)]
struct Report {
    schema: u32,
    scenario: String,
    sqlite: String,
    policy: String,
    seed: u64,
    /// The fault rules that were armed.
    faults: Vec<String>,
    executions: u64,
    calls: u64,
    acked: u64,
    /// How often faults fired.
    faults_fired: u64,
    seconds: f64,
    finding: Option<Found>,
    /// How many executions an oracle found something in; more than one only with `--all`.
    findings: u64,
}

#[derive(Serialize, Deserialize)]
struct Found {
    verdict: String,
    oracle: String,
    token: String,
    detail: String,
    /// In which execution, from 1.
    execution: u64,
    /// Seconds until then.
    seconds: f64,
    preemptions: usize,
    /// Where the case is written, with its schedule as a list of preemptions.
    file: Option<PathBuf>,
}

/// What is explored.
struct Exploration {
    scenario: String,
    sqlite: String,
    policy: String,
    fault: FaultName,
    rules: Vec<Rule>,
    seed: Seed,
}

pub(super) fn run(args: &ExploreArgs) -> Result<Exit, Complaint> {
    let engine = engines::resolve(&args.sqlite).map_err(Complaint::usage)?;
    check_names(&args.scenario, &args.policy)?;
    let (fault, rules, file_seed) = faults(args)?;
    if !args.leashed {
        soak::check_out(&args.out)?;
    }
    let exploration = Exploration {
        scenario: args.scenario.clone(),
        // What is not one of the known versions has to be found again by its path.
        sqlite: if engines::resolve(engine.version()).is_ok() { engine.version() } else { &args.sqlite }.to_owned(),
        policy: args.policy.clone(),
        fault,
        rules,
        seed: args.seed.or(file_seed).unwrap_or_else(soak::new_seed),
    };
    let begun = Instant::now();
    let stop = stop_on_interrupt()?;
    if args.leashed {
        stop_when_input_ends(Arc::clone(&stop));
    }
    let mut report = exploration.report();
    let jobs = jobs(args);
    if jobs > 1 {
        exploration.share_out(args, jobs, &stop, &mut report)?;
    } else {
        let mut explorer = Explorer::new(engine.clone(), false).map_err(Complaint::broken)?;
        exploration.execute(args, &mut explorer, &stop, begun, &mut report)?;
    }
    report.seconds = begun.elapsed().as_secs_f64();
    let finding = report.finding.as_mut().filter(|_| !args.leashed);
    // What was found is printed, whatever becomes of its file.
    let written = finding.map(|found| write_case(engine, found, &args.out)).transpose();
    let exit = match report.findings {
        _ if report.executions == 0 => Exit::NothingRan,
        0 => Exit::Expected,
        _ => Exit::Finding,
    };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&report).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&report),
    })?;
    written?;
    if stop.load(Ordering::Relaxed) && !args.leashed {
        say("interrupted: the figures are those of the executions that were done");
        return Ok(Exit::Interrupted);
    }
    Ok(exit)
}

/// How many processes share the executions: never more than there are executions, or shares that one can ask for.
fn jobs(args: &ExploreArgs) -> u64 {
    let (share, shares) = args.partition;
    let executions = args.executions.saturating_sub(share - 1).div_ceil(shares);
    u64::from(args.jobs.unwrap_or(1)).min(executions).min(SHARES_MAX / shares)
}

impl Exploration {
    fn report(&self) -> Report {
        Report {
            schema: 1,
            scenario: self.scenario.clone(),
            sqlite: self.sqlite.clone(),
            policy: self.policy.clone(),
            seed: self.seed.0,
            faults: self.rules.iter().map(Rule::to_string).collect(),
            executions: 0,
            calls: 0,
            acked: 0,
            faults_fired: 0,
            seconds: 0.0,
            finding: None,
            findings: 0,
        }
    }

    /// Executes this share of the seeds.
    fn execute(
        &self,
        args: &ExploreArgs,
        explorer: &mut Explorer,
        stop: &AtomicBool,
        begun: Instant,
        report: &mut Report,
    ) -> Result<(), Complaint> {
        let (share, shares) = args.partition;
        let mut index = share - 1;
        let late = || args.max_seconds.is_some_and(|max| begun.elapsed() >= Duration::from_secs(max));
        while index < args.executions && !late() && !stop.load(Ordering::Relaxed) {
            let seed = self.seed.nth(index);
            let case = Case::draw(&self.scenario, &self.sqlite, &self.policy, &self.rules, seed);
            let case = case.map_err(Complaint::usage)?;
            let outcome = explorer.execute(&case).map_err(Complaint::broken)?;
            if args.twice {
                explorer.verify(&case).map_err(Complaint::broken)?;
            }
            report.executions += 1;
            report.calls += outcome.execution.calls;
            report.acked += outcome.acked;
            report.faults_fired += outcome.faults_fired;
            if !outcome.findings.is_empty() {
                report.findings += 1;
                let token = self.token(seed).to_string();
                report.finding.get_or_insert_with(|| found(&outcome, token, index + 1, begun));
                if !args.all {
                    break;
                }
            }
            index = index.saturating_add(shares);
        }
        Ok(())
    }

    fn token(&self, seed: Seed) -> ExploreToken {
        let Self { scenario, sqlite, policy, fault, .. } = self;
        let (scenario, sqlite, policy) = (scenario.clone(), sqlite.clone(), policy.clone());
        ExploreToken { scenario, sqlite, policy, fault: fault.clone(), seed }
    }

    /// Executes the share in so many processes, since a SQLite library has one random generator, and adds up what they
    /// report.
    fn share_out(
        &self,
        args: &ExploreArgs,
        jobs: u64,
        stop: &AtomicBool,
        report: &mut Report,
    ) -> Result<(), Complaint> {
        let (sender, receiver) = mpsc::channel();
        let mut children = Vec::new();
        for job in 0..jobs {
            children.push(Job::start(self, args, (job, jobs), sender.clone())?);
        }
        drop(sender);
        loop {
            if stop.load(Ordering::Relaxed) {
                children.iter_mut().for_each(Job::ask_to_end);
            }
            let output = match receiver.recv_timeout(Duration::from_millis(50)) {
                Ok(output) => output,
                Err(mpsc::RecvTimeoutError::Timeout) => continue,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            let Ok(part) = serde_json::from_str::<Report>(&output) else {
                return Err(Complaint::broken("a process of the exploration has ended without a report"));
            };
            report.add(part);
            if report.finding.is_some() && !args.all {
                children.iter_mut().for_each(Job::ask_to_end);
            }
        }
        Ok(())
    }
}

impl Report {
    /// Adds what another process has done. The finding of the lowest number stays.
    fn add(&mut self, part: Self) {
        self.executions += part.executions;
        self.calls += part.calls;
        self.acked += part.acked;
        self.faults_fired += part.faults_fired;
        self.findings += part.findings;
        let earliest = self.finding.take().into_iter().chain(part.finding).min_by_key(|found| found.execution);
        self.finding = earliest;
    }
}

/// A process that executes a share. It ends when its standard input does, so that none outlives this one.
struct Job {
    child: Child,
    leash: Option<ChildStdin>,
}

impl Job {
    fn start(
        exploration: &Exploration,
        args: &ExploreArgs,
        (job, jobs): (u64, u64),
        sender: mpsc::Sender<String>,
    ) -> Result<Self, Complaint> {
        let broken = |error| Complaint::broken(format!("cannot start a process of the exploration: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(broken)?);
        let (share, shares) = args.partition;
        command.args(["explore", &args.scenario, "--format", "json", "--leashed", "--sqlite", &args.sqlite]);
        command.args(["--policy", &args.policy, "--seed", &format!("{:#x}", exploration.seed.0)]);
        command.args(["--executions", &args.executions.to_string()]);
        // No overflow: `jobs` sees to it that all shares together are no more than there can be.
        command.args(["--partition", &format!("{}/{}", share + shares * job, shares * jobs)]);
        command.args(args.max_seconds.iter().flat_map(|max| ["--max-seconds".to_owned(), max.to_string()]));
        command.args(args.all.then_some("--all")).args(args.twice.then_some("--twice"));
        match &exploration.fault {
            FaultName::Named(name) if name == NO_FAULT => {}
            FaultName::Named(name) => drop(command.args(["--preset", name])),
            FaultName::Rules(rules) => drop(command.args(rules.iter().flat_map(|rule| ["--fault", rule]))),
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(broken)?;
        let leash = child.stdin.take();
        if let Some(mut stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut text = String::new();
                let _ = stdout.read_to_string(&mut text);
                // Whoever listened may have gone.
                let _ = sender.send(text);
            });
        }
        Ok(Self { child, leash })
    }

    fn ask_to_end(&mut self) {
        self.leash = None;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.ask_to_end();
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It has said what it had to say, or never will.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// For a process that another one has started.
fn stop_when_input_ends(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
    });
}

/// Refuses names that there are none of.
pub(super) fn check_names(scenario: &str, policy: &str) -> Result<(), Complaint> {
    if explore::find(scenario).is_none() {
        let shown = explore::SCENARIOS.iter().filter(|scenario| !scenario.canary);
        return Err(unknown("scenario", scenario, &shown.map(|scenario| scenario.name).collect::<Vec<_>>()));
    }
    if explore::policy(policy).is_none() {
        return Err(unknown("policy", policy, &explore::POLICIES.map(|(name, _)| name)));
    }
    Ok(())
}

/// The fault rules, how a token names them, and the seed if they came from a file that has one.
fn faults(args: &ExploreArgs) -> Result<(FaultName, Vec<Rule>, Option<Seed>), Complaint> {
    let mut rules: Vec<Rule> = Vec::new();
    for name in &args.preset {
        let preset = fault::find_preset(name).map_err(Complaint::usage)?;
        rules.extend(preset.parse().map_err(Complaint::broken)?);
    }
    for rule in &args.fault {
        rules.push(fault::parse_rule(rule).map_err(Complaint::usage)?);
    }
    let mut seed = None;
    if let Some(path) = &args.fault_file {
        let name = path.display();
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| Complaint::usage(format!("cannot read --fault-file {name}: {error}")))?;
        let file = fault::toml::parse(&text).map_err(|error| Complaint::usage(format!("{name}: {error}")))?;
        if file.rules.is_empty() {
            return Err(Complaint::usage("the --fault-file has no [[fault]] in it"));
        }
        rules.extend(file.rules);
        seed = file.seed.map(Seed);
    }
    let plan = FaultPlan::new(rules.clone(), Seed(0)).map_err(Complaint::usage)?;
    if let Err(error) = plan.check_real_medium() {
        let context =
            if args.preset.is_empty() { String::new() } else { format!("--preset {}: ", args.preset.join(",")) };
        return Err(Complaint::usage(format!("{context}{error}; explorations cannot do that yet")));
    }
    let name = match &args.preset[..] {
        [] if rules.is_empty() => FaultName::Named(NO_FAULT.to_owned()),
        [name] if args.fault.is_empty() && args.fault_file.is_none() => FaultName::Named(name.clone()),
        _ => FaultName::Rules(rules.iter().map(Rule::to_string).collect()),
    };
    Ok((name, rules, seed))
}

/// Writes the case of a finding, with its schedule as a list of preemptions, into the folder.
fn write_case(engine: Engine, found: &mut Found, folder: &Path) -> Result<(), Complaint> {
    let mut explorer = Explorer::new(engine, true).map_err(Complaint::broken)?;
    let token: ExploreToken = found.token.parse().map_err(Complaint::broken)?;
    let case = token.case().map_err(Complaint::broken)?;
    let file = explorer.record(&case, Some(token.to_string())).map_err(Complaint::broken)?;
    let path = folder.join(format!("{}.json", token.file_stem()));
    file.write(&path).map_err(Complaint::usage)?;
    found.file = Some(path);
    Ok(())
}

/// Executes the execution of a token again, and compares every call of the repetitions.
pub(super) fn replay(args: &ReplayArgs, text: &str) -> Result<Exit, Complaint> {
    let token: ExploreToken = text.parse().map_err(Complaint::usage)?;
    check_names(&token.scenario, &token.policy)?;
    let case = token.case().map_err(Complaint::usage)?;
    let name = Name { token: Some(token.to_string()), file: None };
    repeat(args, &case, None, name)
}

/// Executes the case of a file again, and compares what comes of it with what is recorded in the file.
pub(super) fn replay_file(args: &ReplayArgs, path: &Path) -> Result<Exit, Complaint> {
    let file = CaseFile::read(path).map_err(Complaint::usage)?;
    let name = path.display();
    if explore::find(&file.case.scenario).is_none() {
        return Err(Complaint::usage(format!("{name}: there is no scenario `{}`", file.case.scenario)));
    }
    if let Schedule::Policy { name: policy, .. } = &file.case.schedule
        && explore::policy(policy).is_none()
    {
        return Err(Complaint::usage(format!("{name}: there is no policy `{policy}`")));
    }
    let recorded = Recorded { digest: file.digest, calls: file.calls, findings: file.findings };
    repeat(args, &file.case, Some(recorded), Name { token: None, file: Some(name.to_string()) })
}

/// What is executed again: a token or a file.
#[derive(Serialize)]
struct Name {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// What an execution has to come to again.
struct Recorded {
    digest: Option<String>,
    calls: Vec<String>,
    findings: Vec<Finding>,
}

/// What is printed of a repetition. Field names are a contract.
#[derive(Serialize)]
struct Repeated {
    schema: u32,
    #[serde(flatten)]
    name: Name,
    /// That of the worst finding, if there is one.
    verdict: Option<Verdict>,
    findings: Vec<Finding>,
    calls: u64,
    preemptions: usize,
    digest: Option<String>,
    /// How often it was executed, each time the same.
    times: u32,
    /// True if it came to what a file says; null for a token, and for a file that says nothing.
    as_recorded: Option<bool>,
}

impl Recorded {
    /// False for a file that was made by hand.
    fn is_comparable(&self) -> bool {
        self.digest.is_some() || !self.calls.is_empty()
    }

    /// The first thing in which an execution differs from this one, in words.
    fn difference(&self, other: &Self) -> Option<String> {
        let (calls, others) = both_keep(&self.calls, &other.calls);
        let calls = if self.calls.is_empty() { None } else { explore::difference(calls, others) };
        calls.or_else(|| findings_difference(&self.findings, &other.findings)).or_else(|| {
            let (one, other) = (self.digest.as_ref()?, other.digest.as_deref().unwrap_or("none"));
            let rest = if self.calls.is_empty() { "" } else { "; the calls that both keep are the same" };
            (one != other).then(|| format!("the digest is {one} in one and {other} in the other{rest}"))
        })
    }
}

/// Of very many calls only the last ones are kept: those that begin where the later of the two lists does.
fn both_keep<'a>(one: &'a [String], other: &'a [String]) -> (&'a [String], &'a [String]) {
    let number = |line: &String| line.split(' ').next().and_then(|number| number.parse::<u64>().ok());
    let begin = one.first().and_then(number).max(other.first().and_then(number));
    let kept = |lines: &'a [String]| {
        let before = lines.iter().take_while(|line| number(line).is_some_and(|number| Some(number) < begin)).count();
        &lines[before..]
    };
    (kept(one), kept(other))
}

fn findings_difference(one: &[Finding], other: &[Finding]) -> Option<String> {
    let at = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at))?;
    let words = |finding: Option<&Finding>| match finding {
        Some(Finding { oracle, verdict, detail }) => format!("`{oracle} ({verdict}): {detail}`"),
        None => "no further finding".to_owned(),
    };
    let (one, other) = (words(one.get(at)), words(other.get(at)));
    Some(format!("the first differing finding is {one} in one and {other} in the other"))
}

fn repeat(args: &ReplayArgs, case: &Case, recorded: Option<Recorded>, name: Name) -> Result<Exit, Complaint> {
    if args.medium == CaseMedium::Real {
        return Err(Complaint::usage("--medium real is for the case of a run; an exploration's is simulated only"));
    }
    if let Some(path) = &args.trace {
        check_trace(path)?;
    }
    let engine = engines::resolve(&case.sqlite).map_err(Complaint::usage)?;
    let mut explorer = Explorer::new(engine, true).map_err(Complaint::broken)?;
    let is_file = recorded.is_some();
    let mut expected = recorded.filter(Recorded::is_comparable);
    let as_recorded = expected.as_ref().map(|_| true);
    let mut check = |outcome: &Outcome, calls: &[Entry]| {
        let Outcome { digest, findings, .. } = outcome.clone();
        let executed = Recorded { digest, calls: calls.iter().map(explore::line).collect(), findings };
        if let Some(what) = expected.as_ref().and_then(|expected| expected.difference(&executed)) {
            let name = name.token.as_ref().or(name.file.as_ref()).map_or("", String::as_str);
            return Err(Complaint::broken(format!("{name} does not repeat: {what}")));
        }
        expected = Some(executed);
        Ok(())
    };
    for _ in 0..args.times {
        let outcome = explorer.execute(case).map_err(Complaint::broken)?;
        check(&outcome, &explorer.calls())?;
    }
    // Policies and lists of preemptions are two ways to the same execution.
    let (outcome, _, calls) = explorer.verify(case).map_err(Complaint::broken)?;
    check(&outcome, &calls)?;
    let repeated = Repeated {
        schema: 1,
        name,
        verdict: outcome.findings.first().map(|finding| finding.verdict),
        findings: outcome.findings,
        calls: outcome.execution.calls,
        preemptions: outcome.execution.preemptions.len(),
        digest: outcome.digest,
        times: args.times,
        as_recorded,
    };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&repeated).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => repeated.human(is_file),
    })?;
    if let Some(path) = &args.trace {
        write_trace(path, &calls)?;
    }
    Ok(if repeated.findings.is_empty() { Exit::Expected } else { Exit::Finding })
}

impl Repeated {
    fn human(&self, is_file: bool) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            let _ = writeln!(out, "{} ({}): {}", finding.oracle, finding.verdict, finding.detail);
        }
        let Self { calls, preemptions, times, .. } = self;
        let digest = self.digest.as_deref().unwrap_or("none");
        let _ = write!(out, "{calls} calls, {preemptions} preemptions, {times} times the same; digest {digest}");
        out.push_str(match self.as_recorded {
            Some(_) => "; as recorded in the file\n",
            None if is_file => "; nothing recorded to compare with\n",
            None => "\n",
        });
        out
    }
}

fn unknown(what: &str, word: &str, choices: &[&str]) -> Complaint {
    let help = seawall_harness::suggest::help(word, "there are", choices.iter().copied());
    Complaint::usage(format!("unknown {what} `{word}`\nhelp: {help}"))
}

fn found(outcome: &Outcome, token: String, execution: u64, begun: Instant) -> Found {
    let finding = &outcome.findings[0];
    Found {
        verdict: finding.verdict.to_string(),
        oracle: finding.oracle.clone(),
        token,
        detail: finding.detail.clone(),
        execution,
        seconds: begun.elapsed().as_secs_f64(),
        preemptions: outcome.execution.preemptions.len(),
        file: None,
    }
}

fn human(report: &Report) -> String {
    let mut out = String::new();
    let rate = report.calls as f64 / report.seconds.max(1e-9) / 1e6;
    let _ = writeln!(
        out,
        "{} on SQLite {}, policy {}, seed {}: {} executions, {} commits acknowledged, {} calls in {:.1} s ({rate:.2} million a second)",
        report.scenario,
        report.sqlite,
        report.policy,
        report.seed,
        report.executions,
        report.acked,
        report.calls,
        report.seconds,
    );
    if !report.faults.is_empty() {
        let _ = writeln!(out, "under {}: fired {} times", report.faults.join(" "), report.faults_fired);
    }
    match &report.finding {
        None => out.push_str("nothing found\n"),
        Some(found) => {
            let Found { verdict, oracle, token, detail, execution, seconds, preemptions, file } = found;
            let _ = writeln!(out, "{oracle} ({verdict}): {detail}");
            let _ = writeln!(out, "in execution {execution}, after {seconds:.2} s; {preemptions} preemptions");
            let _ = writeln!(out, "seawall replay {token}");
            if let Some(file) = file {
                let _ = writeln!(out, "case: {}", file.display());
            }
        }
    }
    out
}
