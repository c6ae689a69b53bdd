//! The matrix in a terminal.

use crate::markup::without_colour;
use crate::sample;
use seawall_reports::text;

fn lines_of_table(text: &str) -> Vec<&str> {
    text.lines().take_while(|l| !l.is_empty()).collect()
}

#[test]
fn the_matrix_is_a_table_of_verdicts_losses_and_unexpected_cells() {
    let record = sample::soak();
    let text = text::matrix(&record, false, 100);
    let table = lines_of_table(&text);
    assert_eq!(table.len(), 23);
    assert_eq!(table[0].split_whitespace().collect::<Vec<_>>(), ["fault", "percall", "openhuman", "seawall"]);
    let row = |fault: &str| {
        let line = table.iter().find(|l| l.starts_with(&format!("{fault} "))).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("none"), "survived survived survived");
    assert_eq!(row("shmmap-once"), "degraded lost 316 degraded");
    assert_eq!(row("shmopen-burst"), "degraded ! lost 420 ! degraded !");
    assert_eq!(row("truncate-once"), "survived not-measured survived");
    // Columns are below their names.
    let at = table[0].find("openhuman").unwrap();
    assert!(table[1..].iter().all(|l| l.as_bytes()[at - 1] == b' ' && l.as_bytes()[at] != b' '), "{text}");
}

#[test]
fn every_unexpected_cell_and_the_largest_silent_loss_have_a_replay_line() {
    let record = sample::soak();
    let text = text::matrix(&record, false, 100);
    for cell in record.matrix.iter().filter(|c| !c.as_expected) {
        assert!(text.contains(&format!("    seawall replay {}\n", cell.token)));
    }
    let loss = text.split("Replay a loss").nth(1).unwrap();
    assert!(loss.starts_with("\n  openhuman under cantopen-storm (real): lost\n    ledger: 17 of 61"), "{loss}");
    assert_eq!(text.matches("seawall replay ").count(), 6);
    assert!(text.contains("\nopenhuman lost 3,412 acknowledged transactions. percall and seawall lost none.\n"));
}

#[test]
fn colours_are_optional_and_change_no_word() {
    let record = sample::soak();
    let plain = text::matrix(&record, false, 100);
    assert!(!plain.contains('\u{1b}'));
    let coloured = text::matrix(&record, true, 100);
    assert!(coloured.contains("\u{1b}[31mlost 316"));
    assert_eq!(without_colour(&coloured), plain);
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let mut record = sample::soak();
    for cell in &mut record.matrix {
        for text in [&mut cell.strategy, &mut cell.fault, &mut cell.medium, &mut cell.expected, &mut cell.token] {
            text.push_str("\u{1b}]0;owned\u{7}\r\n");
        }
    }
    record.sqlite = "\u{9b}2J".to_owned();
    let text = text::matrix(&record, false, 200);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "a control character");
}

#[test]
fn a_narrow_terminal_shows_the_columns_in_blocks() {
    let record = sample::soak();
    for width in [0, 40, 60, 80, 120] {
        let text = text::matrix(&record, false, width);
        let headings: Vec<_> = text.lines().filter(|l| l.starts_with("fault ")).collect();
        let columns: usize = headings.iter().map(|h| h.split_whitespace().count() - 1).sum();
        assert_eq!(columns, 3, "at {width}: {headings:?}");
        let table_width = headings.iter().map(|h| h.chars().count()).max().unwrap();
        assert!(table_width <= width.max(40), "at {width}: {table_width}");
        let prose = text.split("\n! Not as expected").next().unwrap();
        let widest = prose.lines().map(|l| l.chars().count()).max().unwrap();
        assert!(widest <= width.max(40), "at {width}: {widest}");
    }
}

#[test]
fn a_long_rule_leaves_room_for_the_verdicts() {
    let mut record = sample::both_media();
    for cell in &mut record.matrix {
        cell.fault = format!("write@wal:error=IOERR_WRITE,{}:{}", "x".repeat(300), cell.fault);
    }
    let text = text::matrix(&record, false, 80);
    assert!(text.contains("On real files") && text.contains("In the simulator"));
    assert!(text.lines().filter(|l| l.starts_with("write@wal")).all(|l| l.chars().count() <= 80), "{text}");
}

#[test]
fn a_cell_in_which_plain_sqlite_did_better_says_so_and_nothing_of_the_table() {
    let text = text::matrix(&sample::with_worse_cell(), false, 100);
    let worse =
        "seawall under none (real): survived, worse than plain SQLite: 12 lost against 3, 2 corrupt runs against 0\n";
    assert!(text.contains(worse), "{text}");
    assert!(text.contains("  1 cell in which the layer did worse than plain SQLite\n"), "{text}");
    assert_eq!(text.matches("seawall replay ").count(), 7);
}
