//! `seawall simulate`: the process in which a lab has its simulated runs executed; tokens on standard input, records on
//! standard output, one a line. Started by the lab itself.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc;

use crate::run::simulated::{Reply, Request, Simulator};

pub(super) fn main() -> ExitCode {
    let mut simulator = match Simulator::new() {
        Ok(simulator) => simulator,
        Err(message) => return answer(&Reply::Broken(message)).map_or(ExitCode::FAILURE, |()| ExitCode::FAILURE),
    };
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
        // The lab is gone, and nobody is interested in the run that is on its way.
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
