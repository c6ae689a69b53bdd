//! Fault rules on the command line: `--fault` and `--fault-file`.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use seawall_harness::fault::{self, Rule};
use seawall_harness::seed::Seed;

use super::Complaint;

#[derive(Debug, Args)]
pub(super) struct FaultArgs {
    /// A fault rule, METHOD[@ROLE]:EFFECT[:MODIFIER…]; may be repeated, all given rules make one fault
    #[arg(long, value_name = "RULE")]
    pub(super) fault: Vec<String>,
    /// A file of fault rules in TOML
    #[arg(long, value_name = "FILE")]
    pub(super) fault_file: Option<PathBuf>,
}

impl FaultArgs {
    /// True if neither option is given.
    pub(super) fn is_empty(&self) -> bool {
        self.fault.is_empty() && self.fault_file.is_none()
    }

    /// The rules of both options, and the seed if the file has one.
    pub(super) fn read(&self) -> Result<(Vec<Rule>, Option<Seed>), Complaint> {
        let rules: Result<Vec<Rule>, _> = self.fault.iter().map(|rule| fault::parse_rule(rule)).collect();
        let mut rules = rules.map_err(Complaint::usage)?;
        let Some(path) = &self.fault_file else { return Ok((rules, None)) };
        let name = path.display();
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| Complaint::usage(format!("cannot read --fault-file {name}: {error}")))?;
        let file = fault::toml::parse(&text).map_err(|error| Complaint::usage(format!("{name}: {error}")))?;
        if file.rules.is_empty() {
            return Err(Complaint::usage("the --fault-file has no [[fault]] in it"));
        }
        rules.extend(file.rules);
        Ok((rules, file.seed.map(Seed)))
    }
}
