//! One run as a picture: a lane for each actor, time from left to right.
//!
//! A run can have thousands of events, and a page shows dozens of runs. Calls are therefore thinned out to the ticks
//! that can be told apart. Faults, commits, kills and all other marks are never dropped: where they lie on top of each
//! other, one larger mark stands for all of them and names how many they are.

use std::fmt::Write as _;

use seawall_harness::record::{MarkKind, RunRecord, TimelineEvent};

use super::FONT;
use super::axis::Axis;
use crate::look;
use crate::words::{coordinate, count, cut, micros, plain, xml};

const WIDTH: f64 = 960.0;
const RIGHT: f64 = 946.0;
const TOP: f64 = 34.0;
const LANE: f64 = 40.0;
const BOTTOM: f64 = 26.0;
const LEGEND: f64 = 30.0;
/// Pixels of a lane label's character, generously.
const CHAR: f64 = 7.4;
const ACTOR_CHARS_MAX: usize = 18;
/// Marks in one picture at most, as long as coarser merging can bring them down to it.
const MARKS_MAX: usize = 120;
/// Distances within which marks of one kind become one, tried in this order.
const MERGE_PX: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 48.0];
/// Events that a merged mark quotes.
const QUOTES_MAX: usize = 3;
const QUOTE_CHARS_MAX: usize = 72;
/// Call ticks stand at least this far apart.
const CALL_PX: i64 = 3;

/// The kinds of marks in the order of the legend: class, shape around (0, 0), word.
pub(crate) const KEY: [(MarkKind, &str, &str, &str); 9] = [
    (MarkKind::Fault, "m-fault", r#"<path d="M-5-5H5L0 5z"/>"#, "fault"),
    (MarkKind::Commit, "m-commit", r#"<circle r="4"/>"#, "commit acknowledged"),
    (MarkKind::Refused, "m-refused", r#"<path d="M-3.4-3.4h6.8v6.8h-6.8z"/>"#, "refused"),
    (MarkKind::Indeterminate, "m-unknown", r#"<path d="M0-5L5 0 0 5-5 0z"/>"#, "outcome unknown"),
    (MarkKind::Kill, "m-kill", r#"<path d="M-5-5L5 5M5-5L-5 5"/>"#, "killed"),
    (MarkKind::Start, "m-start", r#"<path d="M-4-5L5 0-4 5z"/>"#, "started"),
    (MarkKind::Read, "m-read", r#"<circle r="2.2"/>"#, "read"),
    (MarkKind::Heal, "m-heal", r#"<path d="M0-6V6"/>"#, "faults off"),
    (MarkKind::Call, "m-call", r#"<path d="M0-4V4"/>"#, "call"),
];

/// The marks' look, for the style of the page or of the picture.
pub(crate) const STYLE: &str = "\
.t-lane{stroke:var(--rule)}.t-name{fill:var(--ink);font-size:13px}.t-time{fill:var(--muted);font-size:12px}\
.t-grid{stroke:var(--rule);stroke-dasharray:2 4}.t-break{fill:var(--rule);fill-opacity:.55}\
.m-fault{fill:var(--lost-ink)}.m-commit{fill:var(--survived-ink)}\
.m-read{fill:none;stroke:var(--survived-ink)}.m-refused{fill:var(--card);stroke:var(--degraded-ink);stroke-width:1.8}\
.m-unknown{fill:var(--card);stroke:var(--wedged-ink);stroke-width:1.8}\
.m-kill{fill:none;stroke:var(--ink);stroke-width:2.6}.m-start{fill:none;stroke:var(--ink);stroke-width:1.5}\
.m-heal{fill:none;stroke:var(--link);stroke-width:2}.m-call{fill:none;stroke:var(--muted);stroke-opacity:.55}\
.m-bar{stroke-width:3;stroke-opacity:.4;fill:none}\
.t-kill{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:1 3}";

/// The run's timeline as a picture by itself, with its legend.
pub fn timeline(run: &RunRecord) -> String {
    let name = format!("{} under {} ({}): {}", run.strategy, run.fault, run.medium, run.verdict);
    let drawing = Drawing::new(run);
    let height = drawing.height() + LEGEND;
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-labelledby="title desc" font-family="{FONT}"><title id="title">{}</title><desc id="desc">{}</desc><style>{}{STYLE}</style><rect width="100%" height="100%" rx="8" fill="var(--card)"/>"#,
        xml(&name),
        xml(&description(run)),
        look::properties("svg"),
    );
    drawing.draw(&mut out);
    legend(&mut out, drawing.height() + 6.0);
    out.push_str("</svg>\n");
    out
}

/// The run's timeline for a page that has the style and the legend already.
pub(crate) fn timeline_inline(run: &RunRecord) -> String {
    let drawing = Drawing::new(run);
    let mut out = String::new();
    let _ = write!(
        out,
        r#"<svg class="timeline" viewBox="0 0 {WIDTH} {}" role="img" aria-label="{}">"#,
        drawing.height(),
        xml(&description(run))
    );
    drawing.draw(&mut out);
    out.push_str("</svg>");
    out
}

/// The picture in words.
fn description(run: &RunRecord) -> String {
    let of = |kind| run.timeline.iter().filter(|e| e.kind == kind).count() as u64;
    let end_us = run.timeline.iter().map(|e| e.at_us.saturating_add(e.duration_us)).max().unwrap_or(0);
    format!(
        "Timeline of one run over {}: {}, {}, {}, {} refused, {} of unknown outcome, {}.",
        micros(end_us),
        count(of(MarkKind::Call), "call"),
        count(of(MarkKind::Fault), "fault"),
        count(of(MarkKind::Commit), "commit"),
        of(MarkKind::Refused),
        of(MarkKind::Indeterminate),
        count(of(MarkKind::Kill), "kill"),
    )
}

fn legend(out: &mut String, y: f64) {
    let mut x = 20.0;
    let _ = write!(out, r#"<g class="t-time">"#);
    for (_, class, shape, word) in KEY {
        let _ = write!(
            out,
            r#"<g class="{class}" transform="translate({x} {y})">{shape}</g><text x="{}" y="{}">{word}</text>"#,
            x + 11.0,
            y + 4.0
        );
        x += 34.0 + word.len() as f64 * 7.2;
    }
    out.push_str("</g>");
}

/// An event with its place in the picture.
struct Placed<'a> {
    event: &'a TimelineEvent,
    from: f64,
    to: f64,
}

/// Marks of one kind in one lane that lie on top of each other.
struct Group<'a> {
    kind: MarkKind,
    lane: usize,
    members: Vec<Placed<'a>>,
}

impl Group<'_> {
    fn x(&self) -> f64 {
        self.members[0].from
    }
}

struct Drawing<'a> {
    lanes: Vec<&'a str>,
    left: f64,
    axis: Option<Axis>,
    events: Vec<(usize, Placed<'a>)>,
}

impl<'a> Drawing<'a> {
    fn new(run: &'a RunRecord) -> Self {
        let mut lanes: Vec<&str> = Vec::new();
        let mut order: Vec<&TimelineEvent> = run.timeline.iter().collect();
        order.sort_by_key(|e| e.at_us);
        for event in &order {
            // Healing concerns everybody and is drawn across all lanes.
            if event.kind != MarkKind::Heal && !lanes.contains(&event.actor.as_str()) {
                lanes.push(&event.actor);
            }
        }
        lanes.sort_by_key(|actor| natural(actor));
        let chars = lanes.iter().map(|l| l.chars().count().min(ACTOR_CHARS_MAX)).max().unwrap_or(0);
        let left = 26.0 + chars as f64 * CHAR;
        let times = order.iter().flat_map(|e| [e.at_us, e.at_us.saturating_add(e.duration_us)]).collect();
        let axis = Axis::new(times, left, RIGHT);
        let last = order.len().saturating_sub(1).max(1) as f64;
        let place = |(i, event): (usize, &'a TimelineEvent)| {
            let (from, to) = match &axis {
                Some(axis) => (axis.x(event.at_us), axis.x(event.at_us.saturating_add(event.duration_us))),
                None => [left + (RIGHT - left) * i as f64 / last; 2].into(),
            };
            let lane = lanes.iter().position(|l| *l == event.actor).unwrap_or(0);
            (lane, Placed { event, from, to })
        };
        let events = order.into_iter().enumerate().map(place).collect();
        Self { lanes, left, axis, events }
    }

    fn height(&self) -> f64 {
        TOP + LANE * self.lanes.len().max(1) as f64 + BOTTOM
    }

    fn bottom(&self) -> f64 {
        self.height() - BOTTOM
    }

    fn draw(&self, out: &mut String) {
        if self.events.is_empty() {
            let _ = write!(
                out,
                r#"<text class="t-time" x="20" y="{}">No timeline was kept of this run.</text>"#,
                TOP + 20.0
            );
            return;
        }
        self.scale(out);
        for (lane, name) in self.lanes.iter().enumerate() {
            let y = TOP + LANE * lane as f64;
            let _ = write!(
                out,
                r#"<path class="t-lane" d="M0 {0}H{WIDTH}"/><text class="t-name" x="14" y="{1}">{2}</text>"#,
                y + LANE,
                y + 25.0,
                xml(&cut(&plain(name), ACTOR_CHARS_MAX))
            );
            self.calls(out, lane);
        }
        self.bars(out);
        self.heals(out);
        for group in self.groups() {
            self.mark(out, &group);
        }
    }

    /// Labels along the top, breaks as bands with the time they leave out.
    fn scale(&self, out: &mut String) {
        let Some(axis) = &self.axis else {
            let _ = write!(
                out,
                r#"<text class="t-time" x="{}" y="20">in order of events; no time passed on the run's clock</text>"#,
                self.left
            );
            return;
        };
        let bottom = self.bottom();
        for tick in axis.ticks() {
            let x = coordinate(tick.x);
            let anchor = if tick.x > RIGHT - 30.0 { "end" } else { "middle" };
            let _ = write!(
                out,
                r#"<path class="t-grid" d="M{x} 26V{bottom}"/><text class="t-time" x="{x}" y="20" text-anchor="{anchor}">{}</text>"#,
                tick.label
            );
        }
        for gap in axis.breaks() {
            let (middle, half) = (coordinate(gap.x + gap.width / 2.0 + 4.0), coordinate((TOP + bottom) / 2.0));
            let _ = write!(
                out,
                r#"<g><title>{label} in which nothing happened, not drawn to scale</title><rect class="t-break" x="{x}" y="26" width="{width}" height="{height}"/><text class="t-time" transform="translate({middle} {half}) rotate(-90)" text-anchor="middle">{label}</text></g>"#,
                label = gap.label,
                x = coordinate(gap.x + 9.0),
                width = gap.width - 18.0,
                height = bottom - 26.0,
            );
        }
    }

    /// All calls of a lane as one path of ticks, on whole pixels and in relative steps: this is most of a picture's
    /// text.
    fn calls(&self, out: &mut String, lane: usize) {
        let y = TOP + LANE * lane as f64 + 31.0;
        let mut ticks = String::new();
        let (mut drawn, mut all) = (None, 0_u64);
        for (_, call) in self.events.iter().filter(|(l, p)| *l == lane && p.event.kind == MarkKind::Call) {
            all += 1;
            let x = call.from.round() as i64;
            match drawn {
                None => drop(write!(ticks, "M{x} {y}v6")),
                Some(last) if x - last >= CALL_PX => drop(write!(ticks, "m{}-6v6", x - last)),
                Some(_) => continue,
            }
            drawn = Some(x);
        }
        if all > 0 {
            let _ = write!(out, r#"<path class="m-call" d="{ticks}"><title>{}</title></path>"#, count(all, "call"));
        }
    }

    /// What took time, as bars behind the marks; one path for each kind.
    fn bars(&self, out: &mut String) {
        for (kind, class, _, _) in KEY {
            let mut d = String::new();
            for (lane, p) in self.events.iter().filter(|(_, p)| p.event.kind == kind && p.to - p.from >= 3.0) {
                let y = TOP + LANE * *lane as f64 + height_in_lane(kind);
                let _ = write!(d, "M{} {y}H{}", coordinate(p.from), coordinate(p.to));
            }
            // A call's bar would lie under its tick in a colour that says nothing; stalls are faults and have their
            // own.
            if !d.is_empty() && kind != MarkKind::Call {
                let _ = write!(out, r#"<path class="{class} m-bar" d="{d}"/>"#);
            }
        }
    }

    fn heals(&self, out: &mut String) {
        for (_, p) in self.events.iter().filter(|(_, p)| p.event.kind == MarkKind::Heal) {
            let (x, bottom) = (coordinate(p.from), self.bottom());
            let anchor = if p.from > WIDTH / 2.0 { "end" } else { "start" };
            let _ = write!(
                out,
                r#"<g><title>{}</title><path class="m-heal" d="M{x} 26V{}"/><text class="t-time" x="{x}" y="{}" text-anchor="{anchor}" dy="17">faults off</text></g>"#,
                xml(&quote(p.event)),
                bottom + 4.0,
                bottom,
            );
        }
    }

    /// The marks, merged only as far as their number makes it necessary.
    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups = Vec::new();
        for merge_px in MERGE_PX {
            groups = self.merged(merge_px);
            if groups.len() <= MARKS_MAX {
                break;
            }
        }
        groups
    }

    fn merged(&self, merge_px: f64) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        // The last group of each kind and lane.
        let mut open: std::collections::BTreeMap<(usize, MarkKind), usize> = std::collections::BTreeMap::new();
        for (lane, p) in &self.events {
            let kind = p.event.kind;
            if matches!(kind, MarkKind::Call | MarkKind::Heal) {
                continue;
            }
            let placed = Placed { event: p.event, from: p.from, to: p.to };
            match open.get(&(*lane, kind)).map(|g| &mut groups[*g]) {
                Some(group) if p.from - group.x() < merge_px => group.members.push(placed),
                _ => {
                    open.insert((*lane, kind), groups.len());
                    groups.push(Group { kind, lane: *lane, members: vec![placed] });
                }
            }
        }
        groups
    }

    fn mark(&self, out: &mut String, group: &Group<'_>) {
        let Some((_, class, shape, word)) = KEY.iter().find(|(kind, ..)| *kind == group.kind) else { return };
        let y = TOP + LANE * group.lane as f64 + height_in_lane(group.kind);
        let members = &group.members;
        let mut title = String::new();
        if members.len() > 1 {
            let _ = writeln!(title, "{} × {word}", members.len());
        }
        for member in members.iter().take(QUOTES_MAX) {
            let _ = writeln!(title, "{}", quote(member.event));
        }
        if members.len() > QUOTES_MAX {
            let _ = write!(title, "… and {} more", members.len() - QUOTES_MAX);
        }
        let larger = 1.0 + (members.len() as f64).log10().min(1.5) * 0.35;
        let scale = if members.len() > 1 { format!(" scale({})", coordinate(larger)) } else { String::new() };
        let title: Vec<String> = title.trim_end().lines().map(xml).collect();
        let _ = write!(
            out,
            r#"<g class="{class}" transform="translate({} {y}){scale}"><title>{}</title>{shape}</g>"#,
            coordinate(group.x()),
            title.join("\n"),
        );
        if group.kind == MarkKind::Kill {
            self.kill_line(out, group);
        }
    }

    /// A kill of a whole process ends all of its threads: a line through their lanes.
    fn kill_line(&self, out: &mut String, group: &Group<'_>) {
        let name = self.lanes[group.lane];
        let threads = self.lanes[group.lane + 1..].iter().take_while(|l| l.starts_with(&format!("{name}."))).count();
        if threads > 0 {
            let (x, y) = (coordinate(group.x()), TOP + LANE * group.lane as f64 + height_in_lane(group.kind) + 7.0);
            let to = TOP + LANE * (group.lane + threads + 1) as f64;
            let _ = write!(out, r#"<path class="t-kill" d="M{x} {y}V{to}"/>"#);
        }
    }
}

/// Faults above, what the actor did below them, calls at the foot: marks of different kinds seldom cover each other.
const fn height_in_lane(kind: MarkKind) -> f64 {
    match kind {
        MarkKind::Fault => 8.0,
        MarkKind::Call => 34.0,
        _ => 21.0,
    }
}

fn quote(event: &TimelineEvent) -> String {
    let took = if event.duration_us > 0 { format!(" (took {})", micros(event.duration_us)) } else { String::new() };
    format!("{}: {}{took}", micros(event.at_us), cut(&plain(&event.label), QUOTE_CHARS_MAX))
}

/// A sort key by which `p2` comes before `p10`, and a process before its threads.
fn natural(actor: &str) -> Vec<(u64, String)> {
    actor
        .split('.')
        .map(|part| {
            let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
            // `run` is nobody's thread and stands on top.
            let word = if part == "run" { String::new() } else { word.to_owned() };
            (part[part.trim_end_matches(|c: char| c.is_ascii_digit()).len()..].parse().unwrap_or(0), word)
        })
        .map(|(n, word)| if word.is_empty() { (0, word) } else { (n, word) })
        .collect()
}
