//! Worker processes: real ones, which may die.
//!
//! The parent writes orders to a worker's standard input and reads reports from its standard output, one JSON object a
//! line. A report that has been written is in the pipe, so it reaches the parent even if the worker is killed right
//! after; that makes "acknowledged" mean the same to both. A worker ends when its standard input does, so none outlives
//! its parent.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

/// Names one life of one worker: after a kill the next life has the same process number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// The process number, from 1.
    pub process: u16,
    /// Which life, from 0.
    pub number: u32,
}

/// What the parent hears of a worker.
///
/// A closed list: all that a pipe and a process can tell.
#[derive(Debug)]
pub enum Event<R> {
    /// It reported.
    Report(Life, R),
    /// It wrote a line that is no report. The lab is broken.
    Garbage(Life, String),
    /// Its output has ended: it is dead or about to be. Comes after its last report.
    Ended(Life),
}

/// A running worker. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub struct Worker {
    life: Life,
    child: Child,
    orders: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts `command` as a worker in a process group of its own, so that Ctrl-C on the terminal reaches the parent
    /// alone.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn spawn<R: DeserializeOwned + Send + 'static>(
        command: &mut Command,
        life: Life,
        events: Sender<Event<R>>,
    ) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let orders = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the worker has no standard output"))?;
        let reader = std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            while let Some(line) = whole_line(&mut stdout) {
                let event = match serde_json::from_str(&line) {
                    Ok(report) => Event::Report(life, report),
                    Err(error) => Event::Garbage(life, format!("{error}: {line}")),
                };
                // The parent is not interested any more if the channel is closed.
                if events.send(event).is_err() {
                    return;
                }
            }
            let _ = events.send(Event::Ended(life));
        });
        Ok(Self { life, child, orders, reader: Some(reader) })
    }

    /// Which worker this is.
    pub fn life(&self) -> Life {
        self.life
    }

    /// Gives an order.
    ///
    /// # Errors
    /// If the worker is dead (`BrokenPipe`).
    pub fn order(&mut self, order: &impl Serialize) -> io::Result<()> {
        let pipe = self.orders.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        pipe.write_all(&line)
    }

    /// Kills the process (SIGKILL) and waits until it is gone, its locks with it, and its last report is in the
    /// channel.
    ///
    /// # Errors
    /// If the process cannot be killed or waited for.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.wait()
    }

    /// Closes the standard input of the process, which asks it to end, and does not wait.
    pub fn close_orders(&mut self) {
        self.orders = None;
    }

    /// Waits for the process's end. Its standard input is closed first.
    ///
    /// # Errors
    /// If the process cannot be waited for.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.orders = None;
        let status = self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            // The reader ends when the pipe does; a panic in it would have shown up as a missing report.
            let _ = reader.join();
        }
        Ok(status)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.wait();
    }
}

/// The next line; `None` at the end. What stands behind the last newline was cut off when its writer was killed, and
/// counts as never written.
fn whole_line(from: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line).ok()?;
    let whole = line.strip_suffix(b"\n")?;
    Some(String::from_utf8_lossy(whole).into_owned())
}

/// True if the process ended by SIGKILL.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(libc::SIGKILL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LIFE: Life = Life { process: 1, number: 0 };

    fn shell(script: &str) -> (Worker, mpsc::Receiver<Event<u32>>) {
        let (events, inbox) = mpsc::channel();
        (Worker::spawn(Command::new("sh").args(["-c", script]), LIFE, events).unwrap(), inbox)
    }

    #[test]
    fn reports_arrive_before_the_end_even_of_a_killed_worker() {
        let (mut worker, inbox) = shell("echo 1; echo 2; echo nonsense; printf 3; kill -9 $$");
        assert!(was_killed(worker.wait().unwrap()));
        let events: Vec<_> = inbox.iter().collect();
        assert!(matches!(
            events[..],
            [Event::Report(LIFE, 1), Event::Report(LIFE, 2), Event::Garbage(LIFE, _), Event::Ended(LIFE)]
        ));
    }

    #[test]
    fn a_worker_gets_orders_and_ends_with_its_input() {
        let (mut worker, inbox) = shell("while read n; do echo $((n + 1)); done");
        worker.order(&41).unwrap();
        assert!(matches!(inbox.recv().unwrap(), Event::Report(LIFE, 42)));
        assert!(worker.wait().unwrap().success());
        assert_eq!(worker.order(&1).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_dropped_worker_is_dead() {
        let (worker, inbox) = shell("exec sleep 600");
        drop(worker);
        assert!(matches!(inbox.recv().unwrap(), Event::Ended(LIFE)));
    }
}
