//! The page of power cuts.

use crate::markup::{attributes, check_xml};
use crate::sample::NASTY;
use crate::sample::power::power;
use seawall_harness::record::PowerRecord;
use seawall_reports::{html, write};

/// The pictures of a page.
fn pictures(page: &str) -> Vec<&str> {
    let from_start = page.split("<svg class=\"disk\"").skip(1);
    from_start.map(|rest| rest.split("</svg>").next().unwrap()).collect()
}

#[test]
fn each_cell_opens_to_its_shortest_losing_run() {
    let page = html::power(&power());
    for text in [
        "<h1>2 cells with the power cut: 1 survived, 1 lost; 1 worse than predicted</h1>",
        "durability (lost): 1 of 1 acknowledged commits are gone; the last one there is 0",
        "<code>BEGIN IMMEDIATE</code>",
        "unlink /sim/app.db-journal: lost",
        "3 earlier steps are omitted.",
        "<li value=\"8\" class=\"v-lost\">",
        "<code>seawall replay out/DELETE-FULL.json</code>",
        "Nothing was lost in any image.",
        "Worse than predicted. Predicted: <strong>survived</strong>.",
    ] {
        assert!(page.contains(text), "{text} is not in\n{page}");
    }
    // Each link of the table has its target.
    let links: Vec<&str> = attributes(&page, "href=\"#cell-").collect();
    assert_eq!(links, ["0", "1"]);
    assert!(links.iter().all(|nth| page.contains(&format!("id=\"cell-{nth}\""))));
}

#[test]
fn the_picture_shows_what_was_durable_visible_kept_and_lost() {
    let page = html::power(&power());
    let [picture] = pictures(&page)[..] else { panic!("one cell has a picture") };
    check_xml(&format!("<svg{picture}</svg>"));
    let count = |class: &str| picture.matches(&format!("<rect class=\"{class}\"")).count();
    assert_eq!([count("k-durable"), count("k-visible"), count("k-kept"), count("k-lost")], [6, 1, 1, 1]);
    for text in [
        "<title>bytes 1536 to 2048: lost</title>",
        "<title>bytes 1024 to 2048: visible</title>",
        ">app.db-journal</text>",
        "the unlink is lost: it is there again",
        ">the power is cut<title>unlink /sim/app.db-journal: lost</title>",
    ] {
        assert!(picture.contains(text), "{text} is not in\n{picture}");
    }
    // A row for each step that changed the disk, with the numbers of the list.
    let numbers: Vec<&str> =
        picture.split("class=\"k-no\"").skip(1).map(|rest| rest.split(['>', '<']).nth(1).unwrap()).collect();
    assert_eq!(numbers, ["5", "6", "8"]);
}

#[test]
fn the_page_makes_no_request_and_hostile_text_is_only_shown() {
    let mut record = power();
    let hostile = |text: &mut String| *text = format!("{NASTY}{text}");
    hostile(&mut record.sqlite);
    hostile(&mut record.device);
    for cell in &mut record.cells {
        hostile(&mut cell.row);
        hostile(&mut cell.column);
        let Some(losing) = &mut cell.losing else { continue };
        hostile(&mut losing.replay);
        hostile(&mut losing.finding.detail);
        for step in &mut losing.steps {
            hostile(&mut step.text);
            step.files.iter_mut().for_each(|file| {
                hostile(&mut file.name);
                hostile(&mut file.note);
            });
        }
    }
    let page = html::power(&record);
    for outside in ["http://", "https://", "src=", "@import", "url(", "fetch(", "<script>alert"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme:dark"));
}

#[test]
fn the_record_is_written_beside_the_page() {
    let root = tempfile::tempdir().unwrap();
    let page = write::power(&root.path().join("new"), &power()).unwrap();
    assert_eq!(std::fs::read_to_string(&page).unwrap(), html::power(&power()));
    let record = std::fs::read_to_string(page.with_file_name("record.json")).unwrap();
    assert_eq!(serde_json::from_str::<PowerRecord>(&record).unwrap(), power());
}
