//! `seawall list`: the strategies, faults, oracles and other names.

use super::args::{ListArgs, Listing, ReplayFormat};
use super::{Complaint, Exit, print};
use crate::{explore, faults, strategies};
use seawall_harness::call::{Method, Role};
use seawall_harness::codes::ResultCode;
use seawall_harness::fault::presets::PRESETS;
use seawall_harness::fault::{EFFECTS, MODIFIER_SUMMARIES};
use seawall_harness::oracle::ORACLES;
use seawall_harness::outsider::OutsideAction;
use seawall_harness::sched::POLICIES;
use seawall_harness::verdict::Verdict;
use serde::Serialize;
use std::fmt::Write;

/// One name.
#[derive(Serialize)]
struct Item {
    name: String,
    summary: String,
}

/// A heading with its names.
#[derive(Serialize)]
struct Section {
    kind: &'static str,
    items: Vec<Item>,
}

pub(super) fn run(args: &ListArgs) -> Result<Exit, Complaint> {
    let wanted = |section: &Section| {
        args.what == Listing::All
            && !matches!(section.kind, "effects" | "actions" | "modifiers" | "methods" | "roles" | "codes")
            || section.kind == kind(args.what)
    };
    let sections: Vec<Section> = sections().into_iter().filter(wanted).collect();
    match args.format {
        ReplayFormat::Json => {
            let mut text = serde_json::to_string(&sections).map_err(Complaint::broken)?;
            text.push('\n');
            print(&text)
        }
        ReplayFormat::Human => print(&human(&sections)),
    }
}

fn kind(listing: Listing) -> &'static str {
    match listing {
        Listing::All => "all",
        Listing::Strategies => "strategies",
        Listing::Faults => "faults",
        Listing::Presets => "presets",
        Listing::Oracles => "oracles",
        Listing::Verdicts => "verdicts",
        Listing::Scenarios => "scenarios",
        Listing::Policies => "policies",
        Listing::Effects => "effects",
        Listing::Actions => "actions",
        Listing::Modifiers => "modifiers",
        Listing::Methods => "methods",
        Listing::Roles => "roles",
        Listing::Codes => "codes",
    }
}

fn sections() -> Vec<Section> {
    let item = |name: &str, summary: &str| Item { name: name.to_owned(), summary: summary.to_owned() };
    let codes = ResultCode::all().map(|(name, code)| item(name, &code.0.to_string()));
    vec![
        Section { kind: "strategies", items: strategies::ALL.iter().map(|s| item(s.name, s.summary)).collect() },
        Section {
            kind: "faults",
            items: faults::matrix().iter().chain(&faults::long()).map(|f| item(&f.title, &f.summary)).collect(),
        },
        Section { kind: "presets", items: PRESETS.iter().map(|p| item(p.name, p.summary)).collect() },
        Section { kind: "oracles", items: ORACLES.iter().map(|o| item(o.name, o.property)).collect() },
        Section { kind: "effects", items: EFFECTS.iter().map(|e| item(e.key.word, &e.description())).collect() },
        Section {
            kind: "actions",
            items: OutsideAction::ALL.iter().map(|action| item(action.word(), action.predicate())).collect(),
        },
        Section { kind: "modifiers", items: MODIFIER_SUMMARIES.iter().map(|(word, what)| item(word, what)).collect() },
        Section {
            kind: "scenarios",
            items: explore::SCENARIOS.iter().filter(|s| s.is_listed).map(|s| item(s.name, s.summary)).collect(),
        },
        Section { kind: "policies", items: POLICIES.iter().map(|policy| item(policy.name, policy.summary)).collect() },
        Section { kind: "verdicts", items: Verdict::ALL.iter().map(|v| item(v.word(), v.meaning())).collect() },
        Section { kind: "methods", items: Method::ALL.iter().map(|m| item(m.word(), "")).collect() },
        Section {
            kind: "roles",
            items: Role::ALL.iter().filter(|r| **r != Role::None).map(|r| item(r.word(), "")).collect(),
        },
        Section { kind: "codes", items: codes.collect() },
    ]
}

fn human(sections: &[Section]) -> String {
    let bold = anstyle::Style::new().bold();
    let mut out = String::new();
    for (number, section) in sections.iter().enumerate() {
        if sections.len() > 1 {
            let gap = if number > 0 { "\n" } else { "" };
            let _ = writeln!(out, "{gap}{bold}{}{bold:#}", section.kind);
        }
        let width = section.items.iter().map(|item| item.name.chars().count()).max().unwrap_or(0);
        for Item { name, summary } in &section.items {
            let _ = writeln!(out, "{}", format!("{name:width$}  {summary}").trim_end());
        }
    }
    out
}
