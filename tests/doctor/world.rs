//! A folder with a database, and the programs that work on it.

use seawall::doctor::{self, DoctorReport, FileRole, Severity};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Makes a Python process for each connection to the socket of its first argument, by fork, so that none of them has to
/// start an interpreter. The process answers with its id. Then it runs each line that it reads, a Python program as
/// JSON, and answers with what `answer` was set to.
const PYTHON: &str = r#"
import json, os, shutil, signal, socket, sqlite3, subprocess, sys, time, random, threading
def connect(path, sql=""):
    c = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
    for s in sql.split(";"):
        if s.strip(): c.execute(s).fetchall()
    return c
def serve(lines, out):
    def tell(answer):
        out.write(json.dumps(answer) + "\n")
        out.flush()
    tell(os.getpid())
    globals()["path"] = json.loads(next(lines))
    for line in lines:
        globals()["answer"] = None
        try:
            exec(json.loads(line), globals())
        except BaseException as error:
            globals()["answer"] = "error: " + repr(error)
        tell(globals()["answer"])
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(64)
print("ready", flush=True)
parent = os.getppid()
listener.settimeout(1)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.getppid() != parent:
        os.unlink(sys.argv[1])
        break
    try: client, _ = listener.accept()
    except TimeoutError: continue
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        client.setblocking(True)
        try: serve(client.makefile("r"), client.makefile("w"))
        finally: os._exit(0)
    client.close()
"#;

/// The socket of the process that makes the others; `None`, said loudly, on a machine without Python or `/proc`.
fn socket() -> Option<&'static Path> {
    static SOCKET: OnceLock<Option<PathBuf>> = OnceLock::new();
    let start = || {
        let path = std::env::temp_dir().join(format!("seawall-python-{}", std::process::id()));
        let mut child = Command::new("python3")
            .args(["-I", "-S", "-c", PYTHON])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take()?);
        let is_ready = output.read_line(&mut line).is_ok() && line == "ready\n" && Path::new("/proc/locks").exists();
        is_ready.then_some(path)
    };
    let socket = SOCKET.get_or_init(|| {
        let socket = start();
        if socket.is_none() {
            eprintln!("SKIPPED: no python3 with sqlite3, or no /proc/locks: the doctor's catalogue was NOT tested");
        }
        socket
    });
    socket.as_deref()
}

/// A Python process.
pub(crate) struct Python {
    pid: u32,
    input: UnixStream,
    output: BufReader<UnixStream>,
}

impl Python {
    fn start(socket: &Path, path: &Path) -> Python {
        let input = UnixStream::connect(socket).unwrap();
        let mut python = Python { pid: 0, output: BufReader::new(input.try_clone().unwrap()), input };
        python.pid = serde_json::from_value(python.answer("the start")).unwrap();
        python.send(path.to_str().unwrap());
        python
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    fn send(&mut self, text: &str) {
        writeln!(self.input, "{}", serde_json::to_string(text).unwrap()).unwrap();
    }

    #[track_caller]
    fn answer(&mut self, program: &str) -> serde_json::Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("Python ended in {program}"))
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
        self.send(program);
        self.answer(program)
    }

    /// Ends it by a signal, so that it closes nothing.
    pub(crate) fn kill(self) {
        let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).status();
        self.wait();
    }

    /// Ends it in its usual way: it closes what it has open.
    pub(crate) fn stop(mut self) {
        let close =
            "import gc\nfor v in list(globals().values()):\n    if isinstance(v, sqlite3.Connection): v.close()";
        self.run(close);
        self.input.shutdown(Shutdown::Both).unwrap();
        self.wait();
    }

    /// The parent takes no notice of its end, so the process is gone at once.
    fn wait(self) {
        let process = PathBuf::from(format!("/proc/{}", self.pid));
        while process.exists() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A folder with room for one database, and what is undone at the end.
pub(crate) struct World {
    pub(crate) path: PathBuf,
    socket: &'static Path,
    pythons: RefCell<Vec<Python>>,
    mounts: RefCell<Vec<PathBuf>>,
    /// Why the state cannot be built here.
    pub(crate) skipped: RefCell<Option<String>>,
    dir: TempDir,
}

impl World {
    /// `None` on a machine without Python or `/proc`.
    pub(crate) fn new() -> Option<World> {
        let socket = socket()?;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("x.db");
        let (pythons, mounts, skipped) = Default::default();
        Some(World { path, socket, pythons, mounts, skipped, dir })
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
        Python::start(self.socket, &self.path)
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

/// What the states of a list have come to.
#[derive(Default)]
struct Results {
    misses: Vec<String>,
    alarms: Vec<String>,
    skipped: Vec<String>,
}

impl Results {
    fn add(&mut self, state: &State, report: &DoctorReport) {
        let found = codes(report);
        let told: Vec<String> =
            report.findings.iter().map(|f| format!("{} {} ({})", f.severity.word(), f.code, f.evidence)).collect();
        let missing = state.must.iter().filter(|code| !found.contains(**code));
        self.misses.extend(missing.map(|code| format!("{}: no {code} in {told:#?}", state.name)));
        let wrong = state.must_not.iter().filter(|code| found.contains(**code));
        self.alarms.extend(wrong.map(|code| format!("{}: {code} in {told:#?}", state.name)));
        if report.severity > state.worst {
            self.alarms.push(format!("{}: {} in {told:#?}", state.name, report.severity.word()));
        } else if report.severity < state.worst && state.worst >= Severity::Warning {
            self.misses.push(format!("{}: only {} in {told:#?}", state.name, report.severity.word()));
        }
    }
}

/// How many states are built at once: most of the time of each is waiting for disks and other processes.
const AT_ONCE: usize = 4;

/// Builds a state and examines it. `None` where nothing can be built.
fn try_state(state: &State, results: &Mutex<Results>) -> Option<()> {
    let world = World::new()?;
    let start = Instant::now();
    (state.build)(&world);
    let built = start.elapsed();
    if let Some(reason) = world.skipped.borrow().as_ref() {
        results.lock().unwrap().skipped.push(format!("{}: {reason}", state.name));
        return Some(());
    }
    let report = world.examine();
    let (found, examined) = (codes(&report), start.elapsed() - built);
    eprintln!("{}: {found:?}; built in {built:?}, examined in {examined:?}", state.name);
    results.lock().unwrap().add(state, &report);
    Some(())
}

/// Builds all states and examines them; fails with all misses and false alarms at once.
#[track_caller]
pub(crate) fn check(states: &[State]) {
    let results = Mutex::new(Results::default());
    let left = Mutex::new(states.iter());
    let next = || left.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(state) = next() {
                    if try_state(state, &results).is_none() {
                        break;
                    }
                }
            });
        }
    });
    let Results { misses, alarms, skipped } = results.into_inner().unwrap();
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
