//! What the template of a story's page shows.

use askama::Template;
use seawall_harness::record::Story;

use crate::story::{Part, Sentence, Telling, Tone, finding, headline};
use crate::words::{count, plain, replay_line};
use crate::{look, svg};

/// Characters of a statement at most; what is longer is hardly read to its end.
const CODE_CHARS_MAX: usize = 2_000;

/// The whole page.
#[derive(Template)]
#[template(path = "story.html")]
pub(super) struct Page {
    title: String,
    headline: String,
    lead: String,
    word: &'static str,
    finding: String,
    diagram: String,
    lines: Vec<Line>,
    replay: String,
    css: String,
    symbols: String,
}

/// An item of the list: a sentence, or what stands in for those left out.
struct Line {
    number: Option<usize>,
    who: Option<String>,
    parts: Vec<Part>,
    class: Option<String>,
    calls: String,
}

impl Page {
    pub(super) fn new(story: &Story) -> Self {
        let telling = Telling::new(story);
        let css = [
            look::properties(":root"),
            look::verdict_classes(),
            svg::TIMELINE_STYLE.to_owned(),
            svg::SEQUENCE_STYLE.to_owned(),
            include_str!("../../templates/soak.css").to_owned(),
            include_str!("../../templates/story.css").to_owned(),
        ]
        .concat();
        Self {
            title: format!("seawall story: {}", plain(&story.subject)),
            headline: headline(story),
            lead: lead(story, &telling),
            word: story.finding.verdict.word(),
            finding: finding(story),
            diagram: svg::sequence_inline(story),
            lines: lines(&telling),
            replay: replay_line(&story.token),
            css,
            symbols: look::symbols(),
        }
    }
}

fn lead(story: &Story, telling: &Telling<'_>) -> String {
    format!(
        "{} of {}: what shrinking left of the execution.",
        count(story.events.len() as u64, "event"),
        count(telling.lanes.len() as u64, "actor"),
    )
}

fn lines(telling: &Telling<'_>) -> Vec<Line> {
    let mut lines = Vec::with_capacity(telling.beats.len());
    for (i, beat) in telling.beats.iter().enumerate() {
        if !telling.skipped.contains(&i) {
            let Sentence { who, parts, tone } = Sentence::new(beat, CODE_CHARS_MAX);
            let calls = format!("after {}", count(beat.first.at, "call"));
            lines.push(Line { number: Some(i + 1), who, parts, class: class(tone), calls });
        } else if i == telling.skipped.start {
            let parts = telling.ellipsis().map(Part::Words).into_iter().collect();
            lines.push(Line { number: None, who: None, parts, class: None, calls: String::new() });
        }
    }
    lines
}

fn class(tone: Tone) -> Option<String> {
    match tone {
        Tone::Plain => None,
        Tone::Turn => Some("turn".to_owned()),
        Tone::News(verdict) => Some(format!("v-{verdict}")),
    }
}
