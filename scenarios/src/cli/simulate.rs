//! `seawall simulate`: a process for simulated runs, started by the lab. It reads tokens from standard input and writes
//! records to standard output, one in each line.

use crate::run::simulated::{Reply, Request, Simulator};
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc;

pub(super) fn main() -> ExitCode {
    let mut simulator = match Simulator::new() {
        Ok(simulator) => simulator,
        Err(error) => {
            // If the lab is gone, no reply is needed.
            let _ = answer(&Reply::Broken(error.to_string()));
            return ExitCode::FAILURE;
        }
    };
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
        // The lab is gone, so the present run does not matter.
        std::process::exit(0)
    });
    for line in requests {
        let reply = match serde_json::from_str::<Request>(&line) {
            Ok(request) => simulator.reply(&request),
            Err(error) => Reply::Broken(format!("{error}: {line}")),
        };
        if answer(&reply).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn answer(reply: &Reply) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, reply)?;
    out.write_all(b"\n")?;
    out.flush()
}
