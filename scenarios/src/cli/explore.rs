//! `seawall explore`: executions in the simulator, until something is found.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use seawall_harness::fault::{self, Plan, Rule};
use seawall_harness::seed::Seed;
use seawall_harness::token::FaultName;
use serde::{Deserialize, Serialize};

use super::args::{ExploreArgs, ReplayFormat};
use super::{Complaint, Exit, print, say, stop_on_interrupt};
use crate::engines;
use crate::explore::{self, Case, CaseFile, ExploreToken, Explorer, NO_FAULT, Outcome};

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
    let exploration = Exploration {
        scenario: args.scenario.clone(),
        // What is not one of the known versions has to be found again by its path.
        sqlite: if engines::resolve(engine.version()).is_ok() { engine.version() } else { &args.sqlite }.to_owned(),
        policy: args.policy.clone(),
        fault,
        rules,
        seed: args.seed.or(file_seed).unwrap_or_else(super::soak::new_seed),
    };
    let begun = Instant::now();
    let stop = stop_on_interrupt()?;
    if args.leashed {
        stop_when_input_ends(Arc::clone(&stop));
    }
    let mut report = exploration.report();
    let jobs = u64::from(args.jobs.unwrap_or(1));
    if jobs > 1 {
        exploration.share_out(args, jobs, &stop, &mut report)?;
    } else {
        let mut explorer = Explorer::new(engine.clone(), false).map_err(Complaint::broken)?;
        exploration.execute(args, &mut explorer, &stop, begun, &mut report)?;
    }
    report.seconds = begun.elapsed().as_secs_f64();
    if let Some(found) = report.finding.as_mut().filter(|_| !args.leashed) {
        let explorer = Explorer::new(engine, true).map_err(Complaint::broken)?;
        found.file = Some(write_case(explorer, &found.token, &args.out)?);
    }
    let exit = match report.findings {
        _ if report.executions == 0 => Exit::NothingRan,
        0 => Exit::Expected,
        _ => Exit::Finding,
    };
    print(&match args.format {
        ReplayFormat::Json => serde_json::to_string(&report).map_err(Complaint::broken)? + "\n",
        ReplayFormat::Human => human(&report),
    })?;
    if stop.load(Ordering::Relaxed) && !args.leashed {
        say("interrupted: the figures are those of the executions that were done");
        return Ok(Exit::Interrupted);
    }
    Ok(exit)
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
            index += shares;
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
    let plan = Plan::new(rules.clone(), Seed(0)).map_err(Complaint::usage)?;
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

/// Writes the case of a token, with its schedule as a list of preemptions, into the folder.
fn write_case(mut explorer: Explorer, token: &str, folder: &Path) -> Result<PathBuf, Complaint> {
    let token: ExploreToken = token.parse().map_err(Complaint::broken)?;
    let case = token.case().map_err(Complaint::broken)?;
    let file = explorer.record(&case, Some(token.to_string())).map_err(Complaint::broken)?;
    let path = folder.join(format!("{}.json", token.file_stem()));
    file.write(&path).map_err(Complaint::usage)?;
    Ok(path)
}

/// Executes the execution of a token again, and compares every call of the repetitions.
pub(super) fn replay(text: &str, times: u32) -> Result<Exit, Complaint> {
    let token: ExploreToken = text.parse().map_err(Complaint::usage)?;
    check_names(&token.scenario, &token.policy)?;
    let case = token.case().map_err(Complaint::usage)?;
    repeat(&case, None, &token.to_string(), times)
}

/// Executes the case of a file again, and compares every call with those in the file.
pub(super) fn replay_file(path: &Path, times: u32) -> Result<Exit, Complaint> {
    let file = CaseFile::read(path).map_err(Complaint::usage)?;
    if explore::find(&file.case.scenario).is_none() {
        return Err(Complaint::usage(format!("{}: there is no scenario `{}`", path.display(), file.case.scenario)));
    }
    repeat(&file.case, Some(&file), &path.display().to_string(), times)
}

fn repeat(case: &Case, recorded: Option<&CaseFile>, name: &str, times: u32) -> Result<Exit, Complaint> {
    let engine = engines::resolve(&case.sqlite).map_err(Complaint::usage)?;
    let mut explorer = Explorer::new(engine, true).map_err(Complaint::broken)?;
    let mut first: Option<(Outcome, Vec<String>)> = None;
    for _ in 0..times {
        let outcome = explorer.execute(case).map_err(Complaint::broken)?;
        let lines = explorer.lines();
        let expected = first.as_ref().map(|(outcome, lines)| (outcome.digest.as_ref(), lines));
        let expected = expected.or(recorded.map(|file| (file.digest.as_ref(), &file.calls)));
        if let Some((digest, calls)) = expected.filter(|(digest, _)| *digest != outcome.digest.as_ref()) {
            let what = explore::difference(calls, &lines).unwrap_or_else(|| {
                format!("the digests are {digest:?} and {:?}, the calls that were kept the same", outcome.digest)
            });
            return Err(Complaint::broken(format!("{name} does not repeat: {what}")));
        }
        first.get_or_insert((outcome, lines));
    }
    let Some((outcome, _)) = first else { return Ok(Exit::NothingRan) };
    // Policies and lists of preemptions are two ways to the same execution.
    let (again, ..) = explorer.verify(case).map_err(Complaint::broken)?;
    let mut out = String::new();
    for finding in &outcome.findings {
        let _ = writeln!(out, "{} ({}): {}", finding.oracle, finding.verdict, finding.detail);
    }
    let digest = again.digest.as_deref().unwrap_or("none");
    let (calls, preemptions) = (outcome.execution.calls, outcome.execution.preemptions.len());
    let _ = writeln!(out, "{calls} calls, {preemptions} preemptions, {times} times the same; digest {digest}");
    print(&out)?;
    Ok(if outcome.findings.is_empty() { Exit::Expected } else { Exit::Finding })
}

fn unknown(what: &str, word: &str, choices: &[&str]) -> Complaint {
    let help = seawall_harness::fault::suggest::help(word, "there are", choices.iter().copied());
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
