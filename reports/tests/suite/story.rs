//! Stories: the same sentences in a picture, on a page and in a terminal, for all events.

use crate::markup::{attributes, check_xml, without_colour};
use crate::sample::NASTY;
use crate::sample::story::{event, eventful, of_length, story};
use seawall_harness::record::{Story, StoryEvent, StoryKind};
use seawall_harness::verdict::Verdict;
use seawall_reports::{html, svg, text};

const KINDS: [StoryKind; 12] = [
    StoryKind::Begin,
    StoryKind::End,
    StoryKind::Refused,
    StoryKind::Commit,
    StoryKind::Paused,
    StoryKind::Resumed,
    StoryKind::Fault,
    StoryKind::Kill,
    StoryKind::Start,
    StoryKind::Observed,
    StoryKind::Outside,
    StoryKind::Lost,
];

fn with_events(events: Vec<StoryEvent>) -> Story {
    Story { events, ..story() }
}

/// The number in an attribute of an opening tag.
fn figure(tag: &str, name: &str) -> f64 {
    let opening = format!(" {name}=\"");
    let value = attributes(tag, &opening).next().unwrap_or_else(|| panic!("no {name} in {tag}"));
    value.parse().unwrap()
}

/// The left, top, right and bottom of every rectangle of a class.
fn boxes(picture: &str, class: &str) -> Vec<[f64; 4]> {
    let opening = format!("<rect class=\"{class}\"");
    let tags = picture.split(&opening).skip(1).map(|rest| rest.split('>').next().unwrap());
    let edges = |tag: &str| {
        let (x, y) = (figure(tag, "x"), figure(tag, "y"));
        [x, y, x + figure(tag, "width"), y + figure(tag, "height")]
    };
    tags.map(edges).collect()
}

/// The texts of a class, without their tooltips.
fn texts<'a>(picture: &'a str, class: &str) -> Vec<&'a str> {
    let opening = format!("<text class=\"{class}\"");
    let shown = |rest: &'a str| rest.split("</text>").next().unwrap().rsplit('>').next().unwrap();
    picture.split(&opening).skip(1).map(shown).collect()
}

/// Renders a story in all forms, and checks what must hold for every story.
#[track_caller]
fn check_all(story: &Story) -> [String; 4] {
    let render =
        || [svg::sequence(story), html::story(story), text::story(story, false, 100), text::story(story, false, 50)];
    let all = render();
    assert_eq!(all, render(), "the same story renders to other bytes");
    let [picture, page, columns, list] = &all;
    check_xml(picture);
    assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    assert_eq!(picture.matches("http").count(), 1, "nothing is loaded");
    assert!(picture.contains("role=\"img\"") && picture.contains("prefers-color-scheme:dark"));
    assert!(picture.contains("<title id=\"title\">") && picture.contains("<desc id=\"desc\">"));
    let diagram = page.split("<svg class=\"sequence\"").nth(1).unwrap().split("</ol>").next().unwrap();
    assert!(diagram.contains("role=\"img\"") && diagram.contains("aria-label=\"Sequence diagram: "));
    assert_eq!(page.matches("<script").count(), 1);
    for output in &all {
        assert!(output.chars().all(|c| c == '\n' || !c.is_control()), "a control character");
        assert!(!output.contains("NaN") && !output.contains("inf"), "a number that is not one");
    }
    for terminal in [columns, list] {
        assert!(terminal.lines().last().unwrap().starts_with("seawall replay "));
    }
    all
}

#[test]
fn the_race_has_the_same_sentences_in_all_forms() {
    let [picture, page, _, list] = check_all(&story());
    let sentences = [
        "p1.t1 paused in `PRAGMA wal_checkpoint(PASSIVE)` at its 4th unfetch@db",
        "p2.t1 ran `BEGIN IMMEDIATE`",
        "p2.t1 ran `COMMIT`, and it was acknowledged",
        "p1.t2 ran `PRAGMA wal_checkpoint(RESTART)`: 0 | 95 | 95",
        "p1.t1 resumed and finished `PRAGMA wal_checkpoint(PASSIVE)`: 0 | 95 | 95",
        "nBackfill 95 &gt; mxFrame 30",
    ];
    for sentence in sentences {
        assert!(picture.split("</desc>").next().unwrap().contains(sentence), "{sentence}");
    }
    assert!(page.contains("<h1>mixed on SQLite 3.51.1 came out corrupt: nBackfill 95 &#62; mxFrame 30</h1>"));
    assert!(page.contains("<b>p1.t1</b> <span class=\"what\">paused in <code>PRAGMA wal_checkpoint(PASSIVE)</code>"));
    assert!(page.contains(&format!("<code>seawall replay {}</code>", story().token)));
    let bare: String = list.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in ["1 p1.t1 paused in `PRAGMA", "2 p2.t1 ran `BEGIN IMMEDIATE`", "8 nBackfill 95 > mxFrame 30"] {
        assert!(bare.contains(sentence), "{sentence} is not in\n{list}");
    }
    assert!(list.contains("\nwalindex (corrupt): nBackfill 95 > mxFrame 30\nseawall replay "));
}

#[test]
fn the_diagram_shows_the_pause_and_the_actors_that_ran_meanwhile() {
    let picture = svg::sequence(&story());
    assert_eq!(texts(&picture, "q-name"), ["p1.t1", "p1.t2", "p2.t1"]);
    assert_eq!(texts(&picture, "q-no"), ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(texts(&picture, "q-paused"), ["paused at its 4th unfetch@db"]);
    assert_eq!(texts(&picture, "q-seen"), ["nBackfill 95 &gt; mxFrame 30"]);
    assert_eq!(texts(&picture, "q-found"), ["walindex (corrupt): nBackfill 95 &gt; mxFrame 30"]);
    let hatch = boxes(&picture, "q-hatch");
    assert_eq!(hatch.len(), 1);
    let statements = &boxes(&picture, "q-box")[3..];
    assert_eq!(statements.len(), 6);
    let paused = statements.iter().find(|s| s[1] < hatch[0][1] && s[3] > hatch[0][3]).expect("the pause has its box");
    let meanwhile = statements.iter().filter(|s| s[1] > hatch[0][1] && s[3] < hatch[0][3]).count();
    assert_eq!(meanwhile, 5, "all others run while it is paused");
    assert!(statements.iter().filter(|s| *s != paused).all(|s| s[0] > paused[2]), "on other lanes");
    let arrows: Vec<_> = picture.split("<g><title>").skip(1).map(|a| a.split('<').next().unwrap()).collect();
    assert_eq!(arrows, ["p1.t1 is paused, p2.t1 runs", "p1.t1 resumes"]);
    assert_eq!(picture.matches("class=\"q-go q-back\"").count(), 1);
    // The finding spans all lanes and is below everything else.
    let band = boxes(&picture, "q-end")[0];
    assert!(statements.iter().all(|s| s[0] >= band[0] - 1.0 && s[2] <= band[2] + 1.0 && s[3] < band[1]));
    // The tooltip has the whole statement.
    assert!(picture.contains("&#39;77be&#39;)</title></rect>"));
}

#[test]
fn faults_kills_starts_and_refusals_have_marks_of_their_own() {
    let [picture, page, columns, _] = check_all(&eventful());
    assert_eq!(texts(&picture, "q-fault").first(), Some(&"fault:"));
    assert_eq!(picture.matches("<g class=\"m-fault\"").count(), 1);
    assert_eq!(picture.matches("<g class=\"m-kill\"").count(), 2, "the kill takes both threads of the process");
    assert_eq!(picture.matches("<path class=\"q-gone\"").count(), 2, "neither runs until the start");
    assert_eq!(picture.matches("<g class=\"m-refused\"").count(), 3);
    assert_eq!(picture.matches("stroke-dasharray=\"4 3\"").count(), 3, "two killed statements and one without end");
    assert!(!texts(&picture, "q-name").contains(&"p2"), "a process has no lane beside its threads");
    assert!(page.contains("<li value=\"14\" class=\"v-lost\"><b>p2</b> <span class=\"what\">was killed in"));
    assert!(columns.contains("met a fault in `UPDATE"));
}

#[test]
fn boxes_side_by_side_never_touch() {
    for lanes in 1..=9_usize {
        let actors: Vec<String> = (1..=lanes).map(|n| format!("p{n}.t1")).collect();
        let text = "SELECT * FROM a_table_with_quite_a_long_name WHERE it_matters=1";
        let events = actors.iter().flat_map(|a| [StoryKind::Begin, StoryKind::Commit].map(|k| event(1, a, k, text)));
        let picture = svg::sequence(&Story { actors: actors.clone(), events: events.collect(), ..story() });
        let all = boxes(&picture, "q-box");
        assert_eq!(all.len(), 2 * lanes);
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                let apart = a[2] + 8.0 <= b[0] || b[2] + 8.0 <= a[0] || a[3] + 8.0 <= b[1] || b[3] + 8.0 <= a[1];
                assert!(apart, "{a:?} and {b:?} with {lanes} lanes");
            }
        }
        let width = figure(picture.split('>').next().unwrap(), "width");
        assert!(all.iter().all(|b| b[0] >= 0.0 && b[2] <= width), "{lanes} lanes");
        assert!(lanes > 6 || width <= 800.0, "six lanes are {width} wide");
    }
}

#[test]
fn a_long_middle_is_omitted_and_counted() {
    let [picture, page, columns, list] = check_all(&of_length(540));
    for output in [&picture, &page, &columns, &list] {
        assert!(output.contains("… 340 more events"), "{}", output.len());
    }
    assert!(picture.len() < 150_000, "{} bytes", picture.len());
    assert_eq!(texts(&picture, "q-no").first(), Some(&"1"));
    assert_eq!(texts(&picture, "q-no").last(), Some(&"270"), "numbers count omitted steps");
    let [picture, ..] = check_all(&of_length(200));
    assert!(!picture.contains("more events"));
    assert_eq!(texts(&picture, "q-no").len(), 100);
}

#[test]
fn hostile_text_is_shown_and_never_run() {
    let mut story = eventful();
    let hostile = |text: &mut String| *text = format!("{NASTY}{text}\u{202e}\r\n\u{9b}2J");
    for text in [&mut story.token, &mut story.subject, &mut story.finding.oracle, &mut story.finding.detail] {
        hostile(text);
    }
    story.actors.iter_mut().for_each(hostile);
    for event in &mut story.events {
        hostile(&mut event.text);
        event.actor.iter_mut().for_each(hostile);
    }
    let [picture, page, ..] = check_all(&story);
    assert!(!page.contains("<script>alert") && !picture.contains("<script"), "unescaped");
    assert!(!page.contains("\"quoted\""), "a quote that could end an attribute");
    assert!(!page.contains('\u{202e}') && !picture.contains('\u{202e}'));
    let coloured = text::story(&story, true, 100);
    let escapes = coloured.split('\u{1b}').skip(1);
    assert!(
        escapes.into_iter().all(|e| e.starts_with('[') && e.split_once('m').is_some_and(|(code, _)| code.len() < 6))
    );
}

#[test]
fn any_order_of_events_renders() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % below
    };
    let actors = ["p1.t1", "p1.t2", "p2.t1", "p2", "p9", "", "p2.t1"];
    let long = "x".repeat(100_000);
    let texts =
        ["", " ", "SELECT 1", "SELECT 1: BUSY", "at its 1st call", "started", "宽字符的文本没有空格可以断开", &long];
    for n in 0..120 {
        let events = (0..random(if n % 10 == 0 { 400 } else { 40 })).map(|_| {
            let actor = random(8).checked_sub(1).map(|i| actors[i].to_owned());
            let text = texts[random(if n % 20 == 0 { 8 } else { 7 })].to_owned();
            StoryEvent { at: random(9) as u64, actor, kind: KINDS[random(10)], text }
        });
        let mut story = with_events(events.collect());
        story.actors.truncate(random(4));
        let [picture, ..] = check_all(&story);
        let height = figure(picture.split('>').next().unwrap(), "height");
        for class in ["q-box", "q-hatch", "q-note", "q-point", "q-end"] {
            let all = boxes(&picture, class);
            assert!(all.iter().all(|b| b[3] >= b[1] && b[3] <= height), "{class} is outside of the picture");
        }
    }
}

#[test]
fn an_empty_story_still_has_its_finding() {
    let mut empty = with_events(Vec::new());
    let [picture, page, columns, _] = check_all(&empty);
    assert!(picture.contains("Nothing happened.") && page.contains("Nothing happened."));
    assert!(columns.contains("Nothing happened.\n\nwalindex (corrupt)"));
    empty.actors.clear();
    empty.subject.clear();
    for verdict in Verdict::ALL {
        empty.finding.verdict = verdict;
        empty.finding.oracle.clear();
        empty.finding.detail.clear();
        let [picture, ..] = check_all(&empty);
        assert_eq!(texts(&picture, "q-found"), [format!("finding ({verdict})")]);
        assert!(picture.contains(&format!("<g class=\"v-{verdict}\">")));
    }
}

#[test]
fn a_terminal_gets_columns_if_it_is_wide_enough() {
    let wide = text::story(&story(), false, 100);
    let head = wide.lines().find(|l| l.trim_start().starts_with("p1.t1 ")).unwrap();
    let starts: Vec<_> = ["p1.t1", "p1.t2", "p2.t1"].iter().map(|actor| head.find(actor).unwrap()).collect();
    let at = |line: &str| wide.lines().find(|l| l.contains(line)).map(|l| l.find(line).unwrap());
    assert_eq!(at("paused in"), Some(starts[0]), "{wide}");
    assert_eq!(at("ran `PRAGMA"), Some(starts[1]), "{wide}");
    assert_eq!(at("ran `BEGIN"), Some(starts[2]), "{wide}");
    for story in [story(), eventful(), of_length(540)] {
        for width in [0, 40, 60, 80, 100, 200] {
            let text = text::story(&story, false, width);
            let widest = text.lines().filter(|l| !l.starts_with("seawall replay")).map(|l| l.chars().count()).max();
            assert!(widest.unwrap() <= width.max(40), "{} at {width}\n{text}", widest.unwrap());
            assert!(text.lines().all(|l| !l.ends_with(' ')), "blanks at the end of a line");
        }
    }
    assert!(!text::story(&story(), false, 60).lines().any(|l| l.trim() == "p1.t1"), "a list has no header");
}

#[test]
fn colours_change_no_word() {
    for width in [60, 100] {
        let plain = text::story(&eventful(), false, width);
        assert!(!plain.contains('\u{1b}'));
        let coloured = text::story(&eventful(), true, width);
        assert!(coloured.contains("\u{1b}[31mwas killed") || coloured.contains("\u{1b}[31mp2 was killed"));
        assert!(coloured.contains("\u{1b}[36mpaused in"));
        assert_eq!(without_colour(&coloured), plain);
    }
}
