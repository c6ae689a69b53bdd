//! A folder with a database, and the programs that work on it.

use seawall::doctor::{self, DoctorReport, FileRole, Severity};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tempfile::TempDir;

/// Runs each line that it reads, a Python program as JSON, and answers with what `answer` was set to.
const PYTHON: &str = r#"
import json, os, shutil, signal, sqlite3, subprocess, sys, time
def connect(path, sql=""):
    c = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
    for s in sql.split(";"):
        if s.strip(): c.execute(s).fetchall()
    return c
path = sys.argv[1]
for line in sys.stdin:
    answer = None
    try:
        exec(json.loads(line), globals())
    except BaseException as error:
        answer = "error: " + repr(error)
    print(json.dumps(answer), flush=True)
"#;

/// A Python process.
pub(crate) struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Python {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a program, and returns its answer.
    #[track_caller]
    pub(crate) fn run(&mut self, program: &str) -> serde_json::Value {
        let answer = self.try_run(program);
        assert!(!answer.as_str().is_some_and(|text| text.starts_with("error: ")), "{program}: {answer}");
        answer
    }

    /// The same, and an error is an answer.
    #[track_caller]
    pub(crate) fn try_run(&mut self, program: &str) -> serde_json::Value {
        writeln!(self.input, "{}", serde_json::to_string(program).unwrap()).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("Python ended in {program}"))
    }

    /// Ends it by a signal, so that it closes nothing.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in its usual way: it closes what it has open.
    pub(crate) fn stop(mut self) {
        let close =
            "import gc\nfor v in list(globals().values()):\n    if isinstance(v, sqlite3.Connection): v.close()";
        self.run(close);
        drop(self.input);
        self.child.wait().unwrap();
    }
}

/// One test at a time: a child that a test makes has everything open for a moment that the others have.
static TURN: Mutex<()> = Mutex::new(());

/// A folder with room for one database, and what is undone at the end.
pub(crate) struct World {
    pub(crate) path: PathBuf,
    python: String,
    pythons: RefCell<Vec<Python>>,
    mounts: RefCell<Vec<PathBuf>>,
    /// Why the state cannot be built here.
    pub(crate) skipped: RefCell<Option<String>>,
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// `None`, said loudly, on a machine without Python or `/proc`.
    pub(crate) fn new() -> Option<World> {
        static PYTHON_PATH: OnceLock<Option<String>> = OnceLock::new();
        let python = PYTHON_PATH.get_or_init(|| {
            let asked =
                Command::new("python3").args(["-c", "import sqlite3, sys; print(sys.executable)"]).output().ok();
            let asked = asked.filter(|answer| answer.status.success() && Path::new("/proc/locks").exists());
            if asked.is_none() {
                eprintln!("SKIPPED: no python3 with sqlite3, or no /proc/locks: the doctor's catalogue was NOT tested");
            }
            Some(String::from_utf8(asked?.stdout).ok()?.trim().to_owned())
        });
        let python = python.clone()?;
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("x.db");
        let (pythons, mounts, skipped) = Default::default();
        Some(World { path, python, pythons, mounts, skipped, dir, _turn: turn })
    }

    /// Another one after this one.
    pub(crate) fn new_beside(world: World) -> Option<World> {
        drop(world);
        World::new()
    }

    pub(crate) fn file(&self, role: FileRole) -> PathBuf {
        role.path(&self.path)
    }

    pub(crate) fn name(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// A new Python process.
    pub(crate) fn python(&self) -> Python {
        let mut child = Command::new(&self.python)
            .args(["-I", "-S", "-c", PYTHON])
            .arg(&self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Python { child, input, output }
    }

    /// A Python process that has run a program and lives as long as the world.
    #[track_caller]
    pub(crate) fn holder(&self, program: &str) -> u32 {
        let mut python = self.python();
        python.run(program);
        let pid = python.pid();
        self.keep(python);
        pid
    }

    /// Keeps a process as long as the world.
    pub(crate) fn keep(&self, python: Python) {
        self.pythons.borrow_mut().push(python);
    }

    /// A Python process that has run a program and ended in its usual way.
    #[track_caller]
    pub(crate) fn python_once(&self, program: &str) {
        let mut python = self.python();
        python.run(program);
        python.stop();
    }

    /// A Python process that has run a program and was killed.
    #[track_caller]
    pub(crate) fn killed(&self, program: &str) {
        let mut python = self.python();
        python.run(program);
        python.kill();
    }

    /// Runs a line of the shell in the folder.
    #[track_caller]
    pub(crate) fn shell(&self, line: &str) {
        let done = Command::new("sh").args(["-c", line]).current_dir(self.dir.path()).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Mounts something below the folder; false, with the reason kept, where that is not allowed.
    pub(crate) fn mount(&self, arguments: &str, point: &Path) -> bool {
        let line = format!("mount {arguments} '{}'", point.display());
        let done = Command::new("sh").args(["-c", &line]).current_dir(self.dir.path()).output();
        let is_done = done.is_ok_and(|done| done.status.success());
        if is_done {
            self.mounts.borrow_mut().push(point.to_owned());
        } else {
            self.skip(&format!("{line} is not allowed here"));
        }
        is_done
    }

    pub(crate) fn skip(&self, reason: &str) {
        *self.skipped.borrow_mut() = Some(reason.to_owned());
    }

    pub(crate) fn is_root(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let is_root = fs::metadata(self.dir.path()).unwrap().uid() == 0;
        if !is_root {
            self.skip("only root may do this");
        }
        is_root
    }

    pub(crate) fn examine(&self) -> DoctorReport {
        doctor::examine(&self.path).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for python in self.pythons.get_mut().drain(..) {
            // A stopped one goes on with SIGKILL.
            python.kill();
        }
        for point in self.mounts.get_mut().drain(..).rev() {
            let _ = Command::new("umount").arg("-l").arg(point).status();
        }
    }
}

/// The codes of a report.
pub(crate) fn codes(report: &DoctorReport) -> BTreeSet<&'static str> {
    report.findings.iter().map(|finding| finding.code).collect()
}

/// One state of the files.
pub(crate) struct State {
    pub(crate) name: &'static str,
    /// Makes it. What is returned is kept until it was examined.
    pub(crate) build: fn(&World),
    /// Codes that must be found.
    pub(crate) must: &'static [&'static str],
    /// Codes that must not be found.
    pub(crate) must_not: &'static [&'static str],
    /// The worst severity that is right.
    pub(crate) worst: Severity,
}

/// Builds all states and examines them; fails with all misses and false alarms at once.
#[track_caller]
pub(crate) fn check(states: &[State]) {
    let (mut misses, mut alarms, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for state in states {
        let Some(world) = World::new() else { return };
        let start = Instant::now();
        (state.build)(&world);
        let built = start.elapsed();
        if let Some(reason) = world.skipped.borrow().as_ref() {
            skipped.push(format!("{}: {reason}", state.name));
            continue;
        }
        let report = world.examine();
        let found = codes(&report);
        eprintln!("{}: {found:?}; built in {built:?}, examined in {:?}", state.name, start.elapsed() - built);
        let told: Vec<String> =
            report.findings.iter().map(|f| format!("{} {} ({})", f.severity.word(), f.code, f.evidence)).collect();
        let missing = state.must.iter().filter(|code| !found.contains(**code));
        misses.extend(missing.map(|code| format!("{}: no {code} in {told:#?}", state.name)));
        let wrong = state.must_not.iter().filter(|code| found.contains(**code));
        alarms.extend(wrong.map(|code| format!("{}: {code} in {told:#?}", state.name)));
        if report.severity > state.worst {
            alarms.push(format!("{}: {} in {told:#?}", state.name, report.severity.word()));
        } else if report.severity < state.worst && state.worst >= Severity::Warning {
            misses.push(format!("{}: only {} in {told:#?}", state.name, report.severity.word()));
        }
    }
    for reason in &skipped {
        eprintln!("SKIPPED {reason}");
    }
    eprintln!(
        "{} states, {} misses, {} false alarms, {} skipped",
        states.len(),
        misses.len(),
        alarms.len(),
        skipped.len()
    );
    assert!(misses.is_empty() && alarms.is_empty(), "\nmisses: {misses:#?}\nfalse alarms: {alarms:#?}");
}
