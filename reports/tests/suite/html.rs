//! The page as text. The browser test checks what only a browser can tell.

use crate::markup::attributes;
use crate::sample;
use seawall_harness::record::{MarkKind, SoakRecord};
use seawall_reports::{html, json};
use std::collections::HashSet;

#[test]
fn the_page_makes_no_network_request() {
    let page = html::soak(&sample::soak());
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("//cdn"));
    for outside in ["<link rel=\"stylesheet", "src=", "@import", "url(", "@font-face", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains(r#"<html lang="en">"#));
    assert!(page.contains(r#"<meta name="viewport""#));
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("prefers-reduced-motion"));
}

#[test]
fn hostile_text_is_shown_and_not_executed() {
    let mut record = sample::soak();
    let hostile = |text: &mut String| *text = format!("{}{text}", sample::NASTY);
    hostile(&mut record.sqlite);
    hostile(&mut record.platform);
    hostile(&mut record.scratch);
    for cell in &mut record.matrix {
        hostile(&mut cell.strategy);
        hostile(&mut cell.fault);
        hostile(&mut cell.fault_summary);
        hostile(&mut cell.medium);
        hostile(&mut cell.expected);
        hostile(&mut cell.token);
        for event in cell.sample.iter_mut().flat_map(|run| &mut run.timeline) {
            hostile(&mut event.actor);
        }
    }
    let page = html::soak(&record);
    assert!(!page.contains("<script>alert"), "unescaped");
    assert!(!page.contains("\"quoted\""), "a quote that could end an attribute");
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("&lt;script&gt;alert") || page.contains("&#60;script&#62;alert"));
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "a control character");
}

#[test]
fn every_cell_has_its_section_and_every_link_a_target() {
    for record in [sample::soak(), sample::both_media(), same_names()] {
        let page = html::soak(&record);
        let ids: Vec<_> = attributes(&page, " id=\"").collect();
        let unique: HashSet<_> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "an id is used twice");
        let mut targets: Vec<_> = attributes(&page, " href=\"#").collect();
        targets.retain(|t| !t.starts_with("g-"));
        for target in &targets {
            assert!(unique.contains(target), "no section {target}");
        }
        let chips: HashSet<_> = page.split("<a class=\"chip").skip(1).map(|c| attributes(c, "#").next()).collect();
        assert_eq!(chips.len(), record.matrix.len(), "each cell has a section of its own");
        for cell in &record.matrix {
            assert!(page.contains(&format!("<code>seawall replay {}</code>", cell.token)), "{}", cell.token);
        }
    }
}

/// Faults whose names differ only in characters that a link cannot hold.
fn same_names() -> SoakRecord {
    let mut record = sample::soak();
    record.matrix.truncate(6);
    for (cell, sign) in record.matrix.iter_mut().zip("!?#+~%".chars()) {
        cell.fault = format!("write@wal:p=0.1{sign}");
    }
    record
}

#[test]
fn the_headline_follows_from_the_figures() {
    let heading = |record: &SoakRecord| {
        let page = html::soak(record);
        page.split("<h1>").nth(1).unwrap().split("</h1>").next().unwrap().to_owned()
    };
    let mut record = sample::soak();
    let lost: u64 = record.matrix.iter().filter(|c| c.strategy == "openhuman").map(|c| c.lost).sum();
    assert_eq!(lost, 3_412);
    assert_eq!(heading(&record), "openhuman lost 3,412 acknowledged transactions. percall and seawall lost none.");
    record.matrix[0].lost = 1;
    assert_eq!(heading(&record), "openhuman lost 3,412 acknowledged transactions. seawall lost none.");
    for cell in &mut record.matrix {
        cell.lost = 0;
    }
    assert_eq!(heading(&record), "openhuman left a corrupt database in 24 runs.");
    for cell in &mut record.matrix {
        cell.corrupt = 0;
    }
    assert_eq!(heading(&record), "No acknowledged transaction was lost in 14,145 runs.");
    record.matrix.clear();
    assert_eq!(heading(&record), "Nothing was measured.");
}

#[test]
fn the_facts_are_computed_and_link_to_their_cells() {
    let page = html::soak(&sample::soak());
    let facts = page.split("<ul class=\"facts\">").nth(1).unwrap().split("</ul>").next().unwrap();
    for fact in [
        "<b>3,412</b> <span>acknowledged transactions lost by openhuman, under 8 of 22 faults; in 162 runs all integrity checks said ok. <a href=\"#openhuman-sigkill-real\"",
        "<b>0</b> <span>lost and 0 corrupt for seawall in 4,715 runs",
        "<b>32×</b> <span>as many opens of the database file per transaction in percall as in openhuman, without faults",
        "<b>5</b> <span>of 66 cells differ from the expectation table",
    ] {
        assert!(facts.contains(fact), "{fact}\nis not in\n{facts}");
    }
    let both = html::soak(&sample::both_media());
    assert!(both.contains("verdicts, all as the expectation table says"));
    assert!(both.contains("lost by openhuman, under 4 of 6 faults"), "a fault on two media counts once");
}

#[test]
fn many_strategies_are_counted_rather_than_listed_in_the_headline() {
    let mut record = sample::soak();
    for i in 0..8 {
        let more = record.matrix[44..66].to_vec();
        record.matrix.extend(more.into_iter().map(|mut cell| {
            cell.strategy = format!("other-{i}");
            cell.sample = None;
            cell
        }));
    }
    let page = html::soak(&record);
    assert!(page.contains("<h1>openhuman lost 3,412 acknowledged transactions. 10 other strategies lost none.</h1>"));
    assert_eq!(page.matches("lost and 0 corrupt for").count(), 1);
}

#[test]
fn a_saved_record_gives_the_same_page_again() {
    let record = sample::soak();
    assert_eq!(html::soak(&json::parse_full(&json::full(&record)).unwrap()), html::soak(&record));
}

#[test]
fn a_page_of_66_full_timelines_stays_below_three_megabytes() {
    let mut record = sample::soak();
    for run in record.matrix.iter_mut().filter_map(|c| c.sample.as_mut()) {
        let calls = (0..4_000_u64).map(|i| sample::event(i * 3, "p1.t1", MarkKind::Call, "write@wal 4096 bytes at 32"));
        run.timeline.extend(calls);
    }
    let bytes = html::soak(&record).len();
    assert!(bytes < 3_000_000, "{bytes}");
}

#[test]
fn a_cell_in_which_plain_sqlite_did_better_is_framed_and_says_so() {
    let (before, page) = (html::soak(&sample::soak()), html::soak(&sample::with_worse_cell()));
    let frames = |page: &str| page.matches(" news\" href").count();
    assert_eq!(frames(&page), frames(&before) + 1);
    let worse = "worse than plain SQLite: 12 lost against 3, 2 corrupt runs against 0";
    assert!(page.contains(&format!("<em title=\"{worse}\">!<span class=\"unseen\"> {worse}</span></em>")));
    assert!(page.contains(&format!("<p class=\"note\">Not as expected: <strong>{worse}</strong>.</p>")));
}
