//! Fault rules on the command line: `--preset`, `--fault` and `--fault-file`.

use super::Complaint;
use crate::explore::NO_FAULT;
use clap::Args;
use seawall_harness::call::{Method, Role};
use seawall_harness::fault::{self, EFFECTS, FaultPlan, MODIFIER_SUMMARIES, Rule};
use seawall_harness::seed::Seed;
use seawall_harness::token::FaultName;
use std::fs;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct FaultArgs {
    /// A fault rule, METHOD[@ROLE]:EFFECT[:MODIFIER…]; may be repeated, all given rules make one fault
    #[arg(long, value_name = "RULE", long_help = grammar())]
    pub(super) fault: Vec<String>,
    /// A file of fault rules in TOML
    #[arg(long, value_name = "FILE")]
    pub(super) fault_file: Option<PathBuf>,
}

/// The grammar in short, for `--help`.
fn grammar() -> String {
    let effects: Vec<&str> = EFFECTS.iter().map(|effect| effect.key.word).collect();
    let modifiers: Vec<&str> = MODIFIER_SUMMARIES.iter().map(|(word, _)| *word).collect();
    let methods: Vec<String> = Method::ALL.iter().map(Method::to_string).collect();
    let roles: Vec<String> = Role::ALL.iter().map(Role::to_string).collect();
    let lines = [
        "A fault rule, METHOD[@ROLE]:EFFECT[:MODIFIER…]; may be repeated, all given rules make one fault".to_owned(),
        format!("METHOD is * or one of {}", methods.join(", ")),
        format!("ROLE is * or one of {}", roles.join(", ")),
        format!("EFFECT is one of {}", effects.join(", ")),
        format!("MODIFIER is one of {}", modifiers.join(", ")),
        "`seawall list methods|roles|effects|modifiers|actions|codes` explains them. Examples: \
         write@wal:error=FULL:when=3, shmmap@shm:error=IOERR_SHMMAP:p=0.05:times=10, sync@*:lie, \
         write@wal:outside=unlink-side-files:when=20"
            .to_owned(),
    ];
    lines.join("\n\n")
}

impl FaultArgs {
    /// True if neither option is given.
    fn is_empty(&self) -> bool {
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

/// The faults of an exploration.
pub(super) struct Faults {
    /// Their name in a token.
    pub(super) name: FaultName,
    pub(super) rules: Vec<Rule>,
    /// The seed, if they came from a file that has one.
    pub(super) seed: Option<Seed>,
}

impl Faults {
    /// The faults of these presets and of the other options, which must be possible in explorations.
    pub(super) fn read(presets: &[String], args: &FaultArgs) -> Result<Self, Complaint> {
        let mut rules: Vec<Rule> = Vec::new();
        for name in presets {
            let preset = fault::find_preset(name).map_err(Complaint::usage)?;
            rules.extend(preset.parse().map_err(Complaint::broken)?);
        }
        let (given, seed) = args.read()?;
        rules.extend(given);
        FaultPlan::new(rules.clone(), Seed(0)).map_err(Complaint::usage)?;
        let name = match presets {
            [] if rules.is_empty() => FaultName::Named(NO_FAULT.to_owned()),
            [name] if args.is_empty() => FaultName::Named(name.clone()),
            _ => FaultName::Rules(rules.iter().map(Rule::to_string).collect()),
        };
        Ok(Self { name, rules, seed })
    }
}
