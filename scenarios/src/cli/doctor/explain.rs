//! `seawall doctor --explain CODE`.

use super::super::{Complaint, Exit, print};
use super::json;
use super::show::{heading, paint};
use seawall::doctor::{codes, explain};
use seawall_harness::suggest;
use std::fmt::Write;

pub(super) fn run(code: &str, is_json: bool) -> Result<Exit, Complaint> {
    let Some(kind) = explain(code) else {
        let help = suggest::help(code, "the codes are", codes().iter().map(|kind| kind.code));
        return Err(Complaint::usage(format!("unknown code `{}`\nhelp: {help}", super::targets::one_line(code))));
    };
    if is_json {
        return print(&json(kind)?);
    }
    let mut out = String::new();
    let severities: Vec<String> = kind.severities.iter().map(|&severity| paint(severity, severity.word())).collect();
    let _ = writeln!(out, "{}: {} ({})", heading(kind.code), kind.title, severities.join(" or "));
    for (label, text) in [("meaning", kind.meaning), ("to do", kind.to_do), ("not to do", kind.not_to_do)] {
        let _ = writeln!(out, "\n{}\n{text}", heading(label));
    }
    print(&out)
}
