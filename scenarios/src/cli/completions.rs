//! `seawall completions`: scripts that complete commands, options and the names that are their values.

use super::args::Cli;
use super::{Complaint, Exit, print};
use crate::engines::RELEASES;
use crate::powercut::{JournalMode, Level};
use crate::{explore, faults, properties, strategies};
use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory};
use seawall_harness::fault::presets::PRESETS;
use seawall_harness::media::sim::durability::Directory;
use seawall_harness::sched::POLICIES;

pub(super) fn run(shell: clap_complete::Shell) -> Result<Exit, Complaint> {
    // The generators would offer hidden commands too, so they are removed before.
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned().map(with_values);
    let mut command = Command::new("seawall").version(env!("CARGO_PKG_VERSION")).propagate_version(true);
    command = command.args(all.get_arguments().cloned()).subcommands(shown);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "seawall", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Tells the generators what values there are. The options themselves take more: rules, paths, several names.
fn with_values(command: Command) -> Command {
    let name = command.get_name().to_owned();
    command.mut_args(|arg| {
        let values = values(&name, arg.get_id().as_str());
        if values.is_empty() { arg } else { arg.value_parser(PossibleValuesParser::new(values)) }
    })
}

/// The names that an option of a command takes; none where they are not known, or clap knows them.
fn values(command: &str, option: &str) -> Vec<String> {
    let owned = |names: &mut dyn Iterator<Item = &'static str>| names.map(str::to_owned).collect();
    match (command, option) {
        (_, "strategy") => owned(&mut strategies::ALL.iter().filter(|entry| !entry.is_canary).map(|entry| entry.name)),
        ("explore", "preset") => owned(&mut PRESETS.iter().map(|preset| preset.name)),
        (_, "preset") => faults::matrix().iter().map(|fault| fault.name.to_string()).collect(),
        ("explore", "scenario") => {
            let listed = explore::SCENARIOS.iter().filter(|scenario| scenario.is_listed);
            owned(&mut listed.map(|scenario| scenario.name).chain(["all"]))
        }
        (_, "policy") => owned(&mut POLICIES.iter().map(|policy| policy.name)),
        ("explore" | "powercut" | "replay" | "shrink", "sqlite") => {
            owned(&mut RELEASES.iter().map(|release| release.sqlite).chain(["linked"]))
        }
        ("properties", "names") => owned(&mut properties::ALL.iter().map(|property| property.name)),
        (_, "journal_mode") => owned(&mut JournalMode::ALL.iter().map(|mode| mode.word())),
        (_, "synchronous") => owned(&mut Level::ALL.iter().map(|level| level.word())),
        (_, "directory") => owned(&mut Directory::ALL.iter().map(|directory| directory.word())),
        _ => Vec::new(),
    }
}
