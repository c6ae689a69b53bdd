//! The pictures: well-formed, complete, and legible for unusual clocks.

use crate::markup::{attributes, check_xml};
use crate::sample;
use seawall_harness::record::{MarkKind, RunRecord, TimelineEvent};
use seawall_reports::svg;

fn run() -> RunRecord {
    sample::soak().matrix.into_iter().find(|c| c.lost > 0).and_then(|c| c.sample).unwrap()
}

fn with_events(events: Vec<TimelineEvent>) -> RunRecord {
    RunRecord { timeline: events, ..run() }
}

/// The number of events that the marks of a class stand for.
fn marks(picture: &str, class: &str) -> u64 {
    let opening = format!("<g class=\"{class}\" transform=\"translate(");
    let groups = picture.split(&opening).skip(1);
    // The legend shows each shape once, without a title.
    let titles = groups.filter_map(|g| g.split_once("<title>").filter(|(head, _)| !head.contains('<')));
    titles.map(|(_, title)| title.split_once(" × ").and_then(|(n, _)| n.parse().ok()).unwrap_or(1)).sum()
}

#[test]
fn pictures_are_well_formed_and_stand_alone() {
    let record = sample::soak();
    for picture in [svg::matrix(&record), svg::matrix(&sample::both_media()), svg::timeline(&run())] {
        check_xml(&picture);
        assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
        assert_eq!(picture.matches("http").count(), 1, "nothing is loaded");
        assert!(picture.contains("prefers-color-scheme:dark"));
        assert!(picture.contains("<title id=\"title\">") && picture.contains("<desc id=\"desc\">"));
    }
}

#[test]
fn faults_commits_and_kills_are_never_dropped() {
    let mut run = run();
    for i in 0..20_000_u64 {
        let (kind, label) = match i % 50 {
            0 => (MarkKind::Fault, sample::NASTY),
            1 => (MarkKind::Commit, "commit"),
            2 => (MarkKind::Kill, "SIGKILL"),
            3 => (MarkKind::Indeterminate, "COMMIT failed"),
            4 => (MarkKind::Outside, "an outsider unlinks the database"),
            5 => (MarkKind::Lost, "step 3: insert a row"),
            _ => (MarkKind::Call, "read@db"),
        };
        run.timeline.push(sample::event(i * 7, &format!("p{}.t1", i % 3 + 1), kind, label));
    }
    let picture = svg::timeline(&run);
    check_xml(&picture);
    for (kind, class) in [
        (MarkKind::Fault, "m-fault"),
        (MarkKind::Commit, "m-commit"),
        (MarkKind::Kill, "m-kill"),
        (MarkKind::Indeterminate, "m-unknown"),
        (MarkKind::Refused, "m-refused"),
        (MarkKind::Outside, "m-outside"),
        (MarkKind::Lost, "m-lost"),
    ] {
        let all = run.timeline.iter().filter(|e| e.kind == kind).count() as u64;
        assert_eq!(marks(&picture, class), all, "{class}");
    }
    assert!(picture.len() < 120_000, "{} bytes", picture.len());
}

#[test]
fn without_a_running_clock_the_order_is_shown() {
    let still = (0..5).map(|i| sample::event(0, "p1.t1", MarkKind::Commit, &format!("commit {i}"))).collect();
    let picture = svg::timeline(&with_events(still));
    check_xml(&picture);
    assert!(picture.contains("in order of events"));
    assert_eq!(marks(&picture, "m-commit"), 5);
    assert!(!picture.contains("NaN") && !picture.contains("inf"));
}

#[test]
fn few_events_or_none_make_a_picture() {
    for events in [
        vec![],
        vec![sample::event(u64::MAX, "", MarkKind::Heal, "")],
        vec![sample::event(0, "p1", MarkKind::Start, "a"), sample::event(u64::MAX, "p1", MarkKind::Kill, "b")],
    ] {
        let picture = svg::timeline(&with_events(events));
        check_xml(&picture);
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }
    assert!(svg::timeline(&with_events(vec![])).contains("No timeline was kept"));
}

#[test]
fn a_long_wait_is_cut_out_and_labelled_with_its_duration() {
    let picture = svg::timeline(&run());
    assert_eq!(picture.matches("class=\"t-break\"").count(), 1);
    assert!(picture.contains("30.0 s without events, not drawn to scale"));
}

#[test]
fn lanes_are_in_natural_order() {
    let events = ["p10", "p2.t1", "run", "p2", "p10.t2", "p1.t12", "p1.t3"];
    let events = events.iter().enumerate().map(|(i, a)| sample::event(i as u64, a, MarkKind::Commit, "c")).collect();
    let picture = svg::timeline(&with_events(events));
    let lanes: Vec<_> =
        picture.split("class=\"t-name\"").skip(1).filter_map(|l| l.split('>').nth(1)?.split('<').next()).collect();
    assert_eq!(lanes, ["run", "p1.t3", "p1.t12", "p2", "p2.t1", "p10", "p10.t2"]);
}

#[test]
fn the_matrix_shows_each_verdict_by_word_colour_and_shape() {
    let record = sample::soak();
    let picture = svg::matrix(&record);
    assert_eq!(picture.matches("<rect class=\"c\"").count(), 66);
    assert_eq!(picture.matches("<rect class=\"news\"").count(), 5);
    assert_eq!(picture.matches(" !</text>").count(), 5);
    for word in record.matrix.iter().map(|c| c.verdict.word()) {
        assert!(picture.contains(&format!(">{word}</text>")) || picture.contains(&format!(">{word} !</text>")));
        assert!(
            picture.contains(&format!("<symbol id=\"g-{word}\"")) && picture.contains(&format!("href=\"#g-{word}\""))
        );
        assert!(picture.contains(&format!(".v-{word}{{--vi:")));
    }
    assert_eq!(attributes(&picture, "class=\"v-").count(), 66);
    let both = svg::matrix(&sample::both_media());
    assert!(both.contains("On real files") && both.contains("In the simulator"));
}
