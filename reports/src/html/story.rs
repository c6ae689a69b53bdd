//! The fields of the page of a story.

use super::head::Head;
use crate::format::{count, plain, replay_line};
use crate::svg;
use askama::Template;
use seawall_harness::narrative::{Narrative, Part, Sentence, Tone, finding, headline};
use seawall_harness::record::Story;

/// Maximum length of a statement, in characters.
const CODE_CHARS_MAX: usize = 2_000;

/// The whole page.
#[derive(Template)]
#[template(path = "story.html")]
pub(super) struct Page {
    head: Head,
    verdict: &'static str,
    finding: String,
    diagram: String,
    items: Vec<Item>,
    replay: String,
}

/// A sentence of the numbered list, or the line that stands for the omitted ones.
struct Item {
    number: Option<usize>,
    actor: Option<String>,
    parts: Vec<Part>,
    class: Option<String>,
    calls: String,
}

impl Page {
    pub(super) fn from_story(story: &Story) -> Self {
        let narrative = Narrative::from_story(story);
        let title = format!("seawall story: {}", plain(&story.subject));
        let styles = [svg::MARKS_STYLE, svg::SEQUENCE_STYLE, include_str!("../../templates/story.css")];
        Self {
            head: Head::new(title, headline(story), lead(story, &narrative), &styles),
            verdict: story.finding.verdict.word(),
            finding: finding(story),
            diagram: svg::sequence_inline(story),
            items: items(&narrative),
            replay: replay_line(&story.token),
        }
    }
}

fn lead(story: &Story, narrative: &Narrative<'_>) -> String {
    format!(
        "The execution after shrinking: {} of {}.",
        count(story.events.len() as u64, "event"),
        count(narrative.lanes.len() as u64, "actor"),
    )
}

fn items(narrative: &Narrative<'_>) -> Vec<Item> {
    let mut items = Vec::with_capacity(narrative.steps.len());
    for (i, step) in narrative.steps.iter().enumerate() {
        if !narrative.omitted.contains(&i) {
            let Sentence { actor, parts, tone } = Sentence::from_step(step, CODE_CHARS_MAX);
            let calls = format!("after {}", count(step.first.at, "call"));
            items.push(Item { number: Some(i + 1), actor, parts, class: class(tone), calls });
        } else if i == narrative.omitted.start {
            let parts = narrative.ellipsis().map(Part::Words).into_iter().collect();
            items.push(Item { number: None, actor: None, parts, class: None, calls: String::new() });
        }
    }
    items
}

fn class(tone: Tone) -> Option<String> {
    match tone {
        Tone::Plain => None,
        Tone::Switch => Some("switch".to_owned()),
        Tone::Verdict(verdict) => Some(format!("v-{verdict}")),
    }
}
