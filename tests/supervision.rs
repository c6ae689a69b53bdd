//! A supervisor and a backend process that hangs, dies, answers 500 and comes back.
//!
//! The backend is this very test binary, started again with [`BACKEND_DIR`] set: a server on the loopback whose
//! behaviour is written in a file. So the tests need nothing but Rust. Whatever uses the HTTP client is in `http`.

use rusqlite::Connection;
use seawall::rusqlite;
use seawall::supervisor::{
    Attempt, BatchVerdict, ChildProcess, Decision, Failure, FailureKind, ItemResult, Probe, RunEnd, Side, StopReason,
    Supervisor, SupervisorEvent, SupervisorPolicy,
};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where the backend process finds its mode and leaves its port.
const BACKEND_DIR: &str = "SEAWALL_TEST_BACKEND_DIR";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The backend's side: serves until its standard input ends, or the mode says that it should exit.
fn serve(dir: &Path) -> io::Result<()> {
    std::thread::spawn(|| {
        // The tests hold the other end. When they are gone, so are we.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mode = || fs::read_to_string(dir.join("mode"));
    if mode()?.starts_with("stillborn") {
        std::process::exit(3);
    }
    let port = fs::read_to_string(dir.join("port")).ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = bind(port)?;
    fs::write(dir.join("port.new"), listener.local_addr()?.port().to_string())?;
    fs::rename(dir.join("port.new"), dir.join("port"))?;
    let mut hung = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream?;
        let status = match &*mode()? {
            "ok" => "200 OK",
            "unavailable" => "500 Internal Server Error",
            "moved" => "302 Found\r\nLocation: /elsewhere",
            "hang" => {
                hung.push(stream);
                continue;
            }
            "drop" => continue,
            "exit" => std::process::exit(1),
            other => return Err(io::Error::other(format!("there is no mode {other}"))),
        };
        // The request's head fits into one segment. A client that sends nothing gets no answer.
        if stream.read(&mut [0; 1024])? > 0 {
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")?;
        }
    }
    Ok(())
}

/// The port of the predecessor may be in use for a moment.
fn bind(port: u16) -> io::Result<TcpListener> {
    for _ in 0..100 {
        match TcpListener::bind(("127.0.0.1", port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => std::thread::sleep(ms(50)),
            other => return other,
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The tests' side of the backend.
struct Backend {
    dir: TempDir,
}

impl Backend {
    fn new(mode: &str) -> Backend {
        let backend = Backend { dir: tempfile::tempdir().unwrap() };
        backend.is(mode);
        backend
    }

    /// From here on it behaves like this.
    fn is(&self, mode: &str) {
        let path = self.dir.path().join("mode.new");
        fs::write(&path, mode).unwrap();
        fs::rename(path, self.dir.path().join("mode")).unwrap();
    }

    fn start(&self) -> ChildProcess {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_backend_serves", "--nocapture"]).env(BACKEND_DIR, self.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        ChildProcess::start(command).unwrap().grace(ms(2000))
    }

    /// Started, and answering connections.
    fn start_and_wait(&self) -> ChildProcess {
        let child = self.start();
        let until = Instant::now() + ms(20_000);
        while TcpStream::connect(self.address()).is_err() {
            assert!(Instant::now() < until, "the backend did not start");
            std::thread::sleep(ms(5));
        }
        child
    }

    fn address(&self) -> SocketAddr {
        let port = fs::read_to_string(self.dir.path().join("port")).unwrap_or_default();
        // No process listens on port 1 of the loopback.
        SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap_or(1)))
    }

    /// A probe that is a closure.
    fn probe(&self) -> impl FnMut() -> Probe + Send + use<> {
        let dir = self.dir.path().to_owned();
        move || probe(&dir)
    }

    /// A job that asks it for something.
    fn job(&self) -> impl FnMut(&u32, &Attempt) -> Result<u16, Failure> + use<> {
        let dir = self.dir.path().to_owned();
        move |_item, attempt| {
            let status = get(address_in(&dir), patience(&dir, attempt.timeout))?;
            if status == 200 { Ok(status) } else { Err(Failure::of_status(status)) }
        }
    }
}

fn address_in(dir: &Path) -> SocketAddr {
    let port = fs::read_to_string(dir.join("port")).unwrap_or_default();
    SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap_or(1)))
}

fn probe(dir: &Path) -> Probe {
    match get(address_in(dir), patience(dir, ms(300))) {
        Ok(200) => Probe::Alive,
        Ok(_) => Probe::Unwell,
        Err(error) => match Failure::from(error).kind() {
            FailureKind::Timeout => Probe::TimedOut,
            _ => Probe::Dead,
        },
    }
}

/// Where no answer is to come, the timeout; else long enough for a machine with other things to do.
fn patience(dir: &Path, timeout: Duration) -> Duration {
    let is_hung = fs::read_to_string(dir.join("mode")).is_ok_and(|mode| mode == "hang");
    if is_hung { timeout } else { timeout.max(PATIENCE) }
}

const PATIENCE: Duration = Duration::from_secs(20);

/// The status of one GET.
fn get(address: SocketAddr, timeout: Duration) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The knobs of the field, a thousand times faster where they can be.
fn policy() -> SupervisorPolicy {
    SupervisorPolicy {
        pause: ms(15),
        restart_wait: ms(20_000),
        restart_poll: ms(10),
        request_timeout: ms(100),
        retries: 1,
        retry_base: ms(2),
        ..SupervisorPolicy::default()
    }
}

type Events = Arc<Mutex<Vec<SupervisorEvent>>>;

fn supervisor(backend: impl seawall::supervisor::Backend + 'static) -> (Supervisor, Events) {
    let events = Events::default();
    let noted = Arc::clone(&events);
    let sink = Arc::new(move |event: &SupervisorEvent| noted.lock().unwrap().push(event.clone()));
    (Supervisor::new(backend).policy(policy()).events(sink), events)
}

/// The probes and the judgements on them, and how restarts went.
fn story(events: &Events) -> Vec<(Option<Probe>, Decision)> {
    let told = |event: &SupervisorEvent| match event {
        SupervisorEvent::Decided { probe, decision, .. } => Some((Some(*probe), *decision)),
        SupervisorEvent::Restarted { decision, .. } => Some((None, *decision)),
        _ => None,
    };
    events.lock().unwrap().iter().filter_map(told).collect()
}

const PAUSE: Decision = Decision::Pause(Duration::from_millis(15));

/// In the backend process this never returns. In the tests' process it holds the backend to its modes.
#[test]
fn the_backend_serves() {
    if let Some(dir) = std::env::var_os(BACKEND_DIR) {
        serve(&PathBuf::from(dir)).unwrap();
    }
    let backend = Backend::new("ok");
    let mut child = backend.start_and_wait();
    let mut probe = backend.probe();
    for (mode, answer) in [
        ("ok", Probe::Alive),
        ("unavailable", Probe::Unwell),
        ("moved", Probe::Unwell),
        ("hang", Probe::TimedOut),
        ("ok", Probe::Alive),
        ("exit", Probe::Dead),
    ] {
        backend.is(mode);
        assert_eq!(probe(), answer, "{mode}");
    }
    wait_for_exit(&mut child);
    assert_eq!(child.exit_status().and_then(|status| status.code()), Some(1));
    assert_eq!(probe(), Probe::Dead);
}

fn wait_for_exit(child: &mut ChildProcess) {
    let until = Instant::now() + ms(10_000);
    while child.pid().is_some() {
        assert!(Instant::now() < until, "the backend did not exit");
        std::thread::sleep(ms(5));
    }
}

#[test]
fn a_backend_that_hangs_is_paused_for_and_goes_on_when_it_wakes_up() {
    let backend = Backend::new("ok");
    let mut child = backend.start_and_wait();
    let pid = child.pid();
    let (mut supervisor, events) = supervisor(child.probed_by(backend.probe()));
    assert_eq!(supervisor.run_batch(&[0; 5], backend.job()).verdict, BatchVerdict::Continue);
    backend.is("hang");
    let report = supervisor.run_batch(&[0; 3], backend.job());
    let kinds = report.items.iter().map(|item| match item {
        ItemResult::Failed(failure) => Some(failure.kind()),
        _ => None,
    });
    assert_eq!(kinds.collect::<Vec<_>>(), [Some(FailureKind::Timeout); 3]);
    assert_eq!((report.verdict, story(&events)), (BatchVerdict::Continue, vec![(Some(Probe::TimedOut), PAUSE)]));
    backend.is("ok");
    let report = supervisor.run_batch(&[0; 5], backend.job());
    assert_eq!((report.items, report.verdict), (vec![ItemResult::Succeeded(200); 5], BatchVerdict::Continue));
    // It is the same process all the time.
    assert!(pid.is_some() && !was_restarted(&events));
}

fn was_restarted(events: &Events) -> bool {
    events.lock().unwrap().iter().any(|event| matches!(event, SupervisorEvent::Restarting { .. }))
}

#[test]
fn a_backend_that_dies_is_restarted_and_the_work_goes_on() {
    let backend = Backend::new("ok");
    let child = backend.start_and_wait();
    let (mut supervisor, events) = supervisor(child.probed_by(backend.probe()));
    backend.is("exit");
    let mut job = backend.job();
    let mut count = 0;
    let run = supervisor.run([vec![0; 20], vec![0; 5]], |item, attempt| {
        count += 1;
        let result = job(item, attempt);
        if count == 3 {
            // What made it exit is over; its successor will live.
            backend.is("ok");
        }
        result
    });
    // The circuit broke after ten items with one retry each, the ratio was high, and it came back.
    assert_eq!((run.end, run.succeeded, run.failed, run.unattempted), (RunEnd::Finished, 5, 10, 10));
    let findings = events.lock().unwrap().iter().find_map(|event| match event {
        SupervisorEvent::Decided { findings, .. } => Some(*findings),
        _ => None,
    });
    assert!(findings.is_some_and(|findings| findings.circuit_broken && findings.fail_ratio_high));
    assert_eq!(story(&events), [(Some(Probe::Dead), Decision::Restart), (None, PAUSE)]);
}

#[test]
fn a_backend_that_answers_500_is_paused_for_and_in_the_end_a_stop() {
    let backend = Backend::new("unavailable");
    let child = backend.start_and_wait();
    let (mut supervisor, events) = supervisor(child.probed_by(backend.probe()));
    // 4 failures: the ratio is high, the circuit holds. 4 more: the same. The tenth in a row breaks it.
    let run = supervisor.run([vec![0; 4], vec![0; 4], vec![0; 4]], backend.job());
    assert_eq!((run.end, run.failed), (RunEnd::Stopped(StopReason::CircuitBroken), 10));
    let unwell = Some(Probe::Unwell);
    let stop = Decision::Stop(StopReason::CircuitBroken);
    assert_eq!(story(&events), [(unwell, PAUSE), (unwell, PAUSE), (unwell, stop)]);
    // It comes back, and so does the work.
    backend.is("ok");
    assert_eq!(supervisor.run([vec![0; 4]], backend.job()).succeeded, 4);
    assert!(!was_restarted(&events));
}

#[test]
fn a_restart_that_never_comes_back_stops_when_its_budget_is_over() {
    let backend = Backend::new("ok");
    let child = backend.start_and_wait();
    let (supervisor, events) = supervisor(child.probed_by(backend.probe()));
    let mut supervisor = supervisor.policy(SupervisorPolicy { restart_wait: ms(600), ..policy() });
    // The new process takes connections and never answers.
    backend.is("exit");
    assert!(get(backend.address(), PATIENCE).is_err());
    backend.is("hang");
    let began = Instant::now();
    assert_eq!(supervisor.run_batch(&[0; 3], backend.job()).verdict, BatchVerdict::Stop(StopReason::NotRecovered));
    assert!(began.elapsed() >= ms(600) && began.elapsed() < ms(10_000), "{:?}", began.elapsed());
    let story_told = [(Some(Probe::Dead), Decision::Restart), (None, Decision::Stop(StopReason::NotRecovered))];
    assert_eq!(story(&events), story_told);
}

#[test]
fn a_restart_that_fails_at_once_is_not_waited_for_and_falls_back() {
    let (backend, spare) = (Backend::new("ok"), Backend::new("ok"));
    let (child, spare_child) = (backend.start_and_wait(), spare.start_and_wait());
    let (supervisor, events) = supervisor(child.probed_by(backend.probe()));
    let policy = SupervisorPolicy { fallback_after: 99, ..policy() };
    let mut supervisor = supervisor.policy(policy).fallback(spare_child.probed_by(spare.probe()));
    backend.is("exit");
    assert!(get(backend.address(), PATIENCE).is_err());
    backend.is("stillborn");
    let began = Instant::now();
    let (mut on_primary, mut on_fallback) = (backend.job(), spare.job());
    let mut job = |item: &u32, attempt: &Attempt| match attempt.side {
        Side::Primary => on_primary(item, attempt),
        Side::Fallback => on_fallback(item, attempt),
    };
    assert_eq!(supervisor.run_batch(&[0; 3], &mut job).verdict, BatchVerdict::Continue);
    assert!(began.elapsed() < ms(15_000), "the whole budget was waited for: {:?}", began.elapsed());
    assert_eq!(story(&events).last(), Some(&(None, Decision::FallBack)));
    assert_eq!(supervisor.run_batch(&[0; 3], &mut job).items, vec![ItemResult::Succeeded(200); 3]);
    assert_eq!(supervisor.side(), Side::Fallback);
    // It can live again: the next look restarts it, a later one goes back to it.
    backend.is("ok");
    let until = Instant::now() + ms(20_000);
    while supervisor.side() == Side::Fallback {
        assert!(Instant::now() < until, "the primary did not have its place back");
        assert_eq!(supervisor.run_batch(&[0; 3], &mut job).items, vec![ItemResult::Succeeded(200); 3]);
        std::thread::sleep(ms(20));
    }
}

#[test]
fn a_locked_database_is_not_the_backends_fault() {
    let backend = Backend::new("ok");
    let child = backend.start_and_wait();
    let path = backend.dir.path().join("results.db");
    let (holder, writer) = (Connection::open(&path).unwrap(), Connection::open(&path).unwrap());
    writer.busy_timeout(Duration::ZERO).unwrap();
    holder.execute_batch("CREATE TABLE t (x); BEGIN IMMEDIATE").unwrap();
    let (mut supervisor, events) = supervisor(child.probed_by(backend.probe()));
    let mut ask = backend.job();
    let mut job = |item: &u32, attempt: &Attempt| {
        let status = ask(item, attempt)?;
        writer.execute("INSERT INTO t VALUES (?1)", [status])?;
        Ok(())
    };
    let report = supervisor.run_batch(&[0; 30], &mut job);
    let locked =
        |item: &ItemResult<()>| matches!(item, ItemResult::Failed(failure) if failure.kind() == FailureKind::Database);
    assert!(report.items.iter().all(locked), "{:?}", report.items);
    assert_eq!((report.verdict, report.findings.any(), story(&events)), (BatchVerdict::Continue, false, vec![]));
    holder.execute_batch("COMMIT").unwrap();
    assert_eq!(supervisor.run_batch(&[0; 30], &mut job).items, vec![ItemResult::Succeeded(()); 30]);
}

#[test]
fn a_hung_client_is_a_stall_that_is_reported_while_it_hangs() {
    let (supervisor, events) = supervisor(|| Probe::Alive);
    let policy = SupervisorPolicy { stall_timeout: ms(50), heartbeat: ms(20), ..policy() };
    let mut supervisor = supervisor.policy(policy);
    let seen = Arc::clone(&events);
    let stalls = move || {
        let is_stall = |event: &&SupervisorEvent| matches!(event, SupervisorEvent::Stalled { .. });
        let is_beat = |event: &&SupervisorEvent| matches!(event, SupervisorEvent::Heartbeat { .. });
        let seen = seen.lock().unwrap();
        (seen.iter().filter(is_stall).count(), seen.iter().filter(is_beat).count())
    };
    let mut noticed = None;
    let report = supervisor.run_batch(&[0, 1], |_, _| {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && (stalls().0 == 0 || stalls().1 < 3) {
            std::thread::sleep(ms(1));
        }
        noticed = Some(stalls());
        Err::<(), _>(Failure::new(FailureKind::Timeout, "it hung"))
    });
    // The job itself has seen them while it hung.
    assert!(noticed.is_some_and(|(stalls, beats)| stalls == 1 && beats >= 3), "{noticed:?}");
    assert!(report.findings.stalled && report.items[1] == ItemResult::Unattempted);
    assert_eq!((stalls().0, story(&events)), (1, vec![(Some(Probe::Alive), PAUSE)]));
}

#[test]
fn a_child_that_ignores_sigterm_is_killed_after_its_grace_and_no_other_process_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' TERM; : > \"$0\"; exec sleep 60"]).arg(&ready);
    let mut bystander = Command::new("/bin/sh").args(["-c", "exec sleep 60"]).spawn().unwrap();
    let mut child = ChildProcess::start(command).unwrap().grace(ms(300));
    let until = Instant::now() + PATIENCE;
    while !ready.exists() {
        assert!(Instant::now() < until, "the trap was not set");
        std::thread::sleep(ms(5));
    }
    let (began, first) = (Instant::now(), child.pid().unwrap());
    child.restart().unwrap();
    assert!(began.elapsed() >= ms(300), "there was no grace: {:?}", began.elapsed());
    assert!(child.pid().is_some_and(|second| second != first));
    child.end().unwrap();
    // Once it is over, ending it again sends no signal.
    assert_eq!((child.pid(), child.end().is_ok()), (None, true));
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn a_child_that_heeds_sigterm_is_not_waited_for_longer_and_a_dropped_one_is_ended() {
    let backend = Backend::new("ok");
    let mut child = backend.start_and_wait().grace(PATIENCE);
    let began = Instant::now();
    child.end().unwrap();
    assert!(began.elapsed() < PATIENCE, "SIGTERM did not reach it");
    assert_eq!(child.exit_status().and_then(|status| status.code()), None, "it ended by a signal");
    child.restart().unwrap();
    let until = Instant::now() + PATIENCE;
    while get(backend.address(), PATIENCE).is_err() {
        assert!(Instant::now() < until, "it did not come back");
    }
    drop(child);
    assert_eq!(backend.probe()(), Probe::Dead);
}

#[test]
fn a_program_that_is_not_there_is_named_in_the_error() {
    let error = ChildProcess::start(Command::new("/nonexistent/backend")).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/backend: starting it failed"), "{error}");
}

#[cfg(feature = "http")]
mod http {
    //! The probe over HTTP, held against the same process.

    use super::*;
    use seawall::supervisor::HttpProbe;

    fn http_probe(address: SocketAddr, timeout: Duration) -> HttpProbe {
        HttpProbe::new(format!("http://{address}/health")).unwrap().timeout(timeout)
    }

    #[test]
    fn the_probe_distinguishes_alive_unwell_silent_and_dead() {
        let backend = Backend::new("ok");
        let mut child = backend.start_and_wait();
        let probe = http_probe(backend.address(), PATIENCE);
        for (mode, answer) in [
            ("ok", Probe::Alive),
            ("unavailable", Probe::Unwell),
            ("moved", Probe::Unwell),
            ("drop", Probe::Unwell),
            ("ok", Probe::Alive),
        ] {
            backend.is(mode);
            assert_eq!(probe.probe(), answer, "{mode}");
        }
        backend.is("hang");
        assert_eq!(http_probe(backend.address(), ms(300)).probe(), Probe::TimedOut);
        backend.is("ok");
        child.end().unwrap();
        assert_eq!(probe.probe(), Probe::Dead);
        child.restart().unwrap();
        let until = Instant::now() + ms(20_000);
        while probe.probe() != Probe::Alive {
            assert!(Instant::now() < until, "it did not come back");
        }
    }

    /// A listener that accepts no connection: as soon as its queue is full, the kernel lets further connects wait.
    #[test]
    fn a_connect_that_times_out_is_a_timeout_and_no_death() {
        const QUEUE_MAX: usize = 5000;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, ms(300)) {
            queue.push(stream);
            assert!(queue.len() < QUEUE_MAX, "the queue does not fill");
        }
        assert_eq!(http_probe(address, ms(300)).probe(), Probe::TimedOut);
        assert_eq!(failure(address).kind(), FailureKind::Timeout);
        // The same address without a listener is dead.
        drop((listener, queue));
        assert_eq!(http_probe(address, PATIENCE).probe(), Probe::Dead);
        assert_eq!(failure(address).kind(), FailureKind::Unreachable);
    }

    /// The failure of a job with the same client.
    fn failure(address: SocketAddr) -> Failure {
        let config = ureq::Agent::config_builder().timeout_connect(Some(ms(300))).build();
        config.new_agent().get(format!("http://{address}/")).call().unwrap_err().into()
    }

    #[test]
    fn a_dead_backend_is_restarted_and_found_again_over_http() {
        let backend = Backend::new("ok");
        let mut child = backend.start_and_wait();
        child.end().unwrap();
        let probe = http_probe(backend.address(), PATIENCE);
        let (mut supervisor, events) = supervisor(child.probed_by(move || probe.probe()));
        let run = supervisor.run([vec![0; 3], vec![0; 3]], backend.job());
        assert_eq!((run.end, run.failed, run.succeeded), (RunEnd::Finished, 3, 3));
        assert_eq!(story(&events), [(Some(Probe::Dead), Decision::Restart), (None, Decision::Continue)]);
    }
}
