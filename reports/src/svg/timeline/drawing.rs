//! The lanes, the scale and the marks of a timeline.

use super::axis::Axis;
use super::merge::{Group, Placed, groups};
use super::{LANE, TOP, WIDTH};
use crate::format::{coordinate, count, cut, micros, plain, xml};
use crate::svg::{MARKS, mark};
use seawall_harness::record::{MarkKind, RunRecord, TimelineEvent};
use std::fmt::Write as _;

const RIGHT: f64 = 946.0;
const BOTTOM: f64 = 26.0;
/// Width of a character of a lane's name in pixels, at the upper end.
const CHAR: f64 = 7.4;
const ACTOR_CHARS_MAX: usize = 18;
/// Maximum number of events that the tooltip of a mark quotes.
const QUOTES_MAX: usize = 3;
const QUOTE_CHARS_MAX: usize = 72;
/// Minimum distance between the ticks of calls.
const CALL_PX: i64 = 3;
/// Minimum width of the bar of an event that took time.
const BAR_PX: f64 = 3.0;

/// A run with the position of every event.
pub(super) struct Drawing<'a> {
    lanes: Vec<&'a str>,
    left: f64,
    axis: Option<Axis>,
    events: Vec<Placed<'a>>,
}

impl<'a> Drawing<'a> {
    pub(super) fn from_run(run: &'a RunRecord) -> Self {
        let mut lanes: Vec<&str> = Vec::new();
        let mut order: Vec<&TimelineEvent> = run.timeline.iter().collect();
        order.sort_by_key(|e| e.at_us);
        for event in &order {
            // Healing concerns all actors and is drawn across all lanes.
            if event.kind != MarkKind::Heal && !lanes.contains(&event.actor.as_str()) {
                lanes.push(&event.actor);
            }
        }
        lanes.sort_by_key(|actor| natural(actor));
        let chars = lanes.iter().map(|l| l.chars().count().min(ACTOR_CHARS_MAX)).max().unwrap_or(0);
        let left = 26.0 + chars as f64 * CHAR;
        let times = order.iter().flat_map(|e| [e.at_us, e.at_us.saturating_add(e.duration_us)]).collect();
        let axis = Axis::fit(times, left, RIGHT);
        let last = order.len().saturating_sub(1).max(1) as f64;
        let place = |(i, event): (usize, &'a TimelineEvent)| {
            let (from, to) = match &axis {
                Some(axis) => (axis.x(event.at_us), axis.x(event.at_us.saturating_add(event.duration_us))),
                None => [left + (RIGHT - left) * i as f64 / last; 2].into(),
            };
            let lane = lanes.iter().position(|l| *l == event.actor).unwrap_or(0);
            Placed { event, lane, from, to }
        };
        let events = order.into_iter().enumerate().map(place).collect();
        Self { lanes, left, axis, events }
    }

    pub(super) fn height(&self) -> f64 {
        self.bottom() + BOTTOM
    }

    fn bottom(&self) -> f64 {
        lane_top(self.lanes.len().max(1))
    }

    fn of_kind(&self, kind: MarkKind) -> impl Iterator<Item = &Placed<'a>> {
        self.events.iter().filter(move |placed| placed.event.kind == kind)
    }

    pub(super) fn draw(&self, out: &mut String) {
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
            let y = lane_top(lane);
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
        for group in groups(&self.events) {
            self.mark(out, &group);
        }
    }

    /// Labels along the top, and breaks as bands with their duration.
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
                r#"<g><title>{label} without events, not drawn to scale</title><rect class="t-break" x="{x}" y="26" width="{width}" height="{height}"/><text class="t-time" transform="translate({middle} {half}) rotate(-90)" text-anchor="middle">{label}</text></g>"#,
                label = gap.label,
                x = coordinate(gap.x + 9.0),
                width = gap.width - 18.0,
                height = bottom - 26.0,
            );
        }
    }

    /// All calls of a lane as one path of ticks, at whole pixels and in relative steps: most of a picture's bytes are
    /// here.
    fn calls(&self, out: &mut String, lane: usize) {
        let y = lane_top(lane) + 31.0;
        let mut ticks = String::new();
        let (mut drawn, mut all) = (None, 0_u64);
        for call in self.of_kind(MarkKind::Call).filter(|call| call.lane == lane) {
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

    /// Events that took time, as bars behind the marks: one path for each kind. Calls have no bar, because it would be
    /// hidden behind their ticks; a stall is a fault and has one.
    fn bars(&self, out: &mut String) {
        for mark in MARKS.iter().filter(|mark| mark.kind != MarkKind::Call) {
            let mut d = String::new();
            for placed in self.of_kind(mark.kind).filter(|placed| placed.to - placed.from >= BAR_PX) {
                let y = lane_top(placed.lane) + height_in_lane(mark.kind);
                let _ = write!(d, "M{} {y}H{}", coordinate(placed.from), coordinate(placed.to));
            }
            if !d.is_empty() {
                let _ = write!(out, r#"<path class="{} m-bar" d="{d}"/>"#, mark.class);
            }
        }
    }

    fn heals(&self, out: &mut String) {
        for heal in self.of_kind(MarkKind::Heal) {
            let (x, bottom) = (coordinate(heal.from), self.bottom());
            let anchor = if heal.from > WIDTH / 2.0 { "end" } else { "start" };
            let _ = write!(
                out,
                r#"<g><title>{}</title><path class="m-heal" d="M{x} 26V{}"/><text class="t-time" x="{x}" y="{}" text-anchor="{anchor}" dy="17">faults off</text></g>"#,
                xml(&quote(heal.event)),
                bottom + 4.0,
                bottom,
            );
        }
    }

    fn mark(&self, out: &mut String, group: &Group<'_>) {
        let mark = mark(group.kind);
        let y = lane_top(group.lane) + height_in_lane(group.kind);
        let members = &group.members;
        let mut title = String::new();
        if members.len() > 1 {
            let _ = writeln!(title, "{} × {}", members.len(), mark.word);
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
            r#"<g class="{}" transform="translate({} {y}){scale}"><title>{}</title>{}</g>"#,
            mark.class,
            coordinate(group.x()),
            title.join("\n"),
            mark.shape,
        );
        match group.kind {
            MarkKind::Kill => self.kill_line(out, group),
            MarkKind::Outside => self.outside_line(out, group),
            _ => {}
        }
    }

    /// What an outsider does concerns all actors: a line through all lanes.
    fn outside_line(&self, out: &mut String, group: &Group<'_>) {
        let (x, bottom) = (coordinate(group.x()), self.bottom());
        let _ = write!(out, r#"<path class="t-outside" d="M{x} 26V{bottom}"/>"#);
    }

    /// The kill of a process ends all of its threads: a line through their lanes.
    fn kill_line(&self, out: &mut String, group: &Group<'_>) {
        let name = self.lanes[group.lane];
        let threads = self.lanes[group.lane + 1..].iter().take_while(|l| l.starts_with(&format!("{name}."))).count();
        if threads > 0 {
            let (x, y) = (coordinate(group.x()), lane_top(group.lane) + height_in_lane(group.kind) + 7.0);
            let to = lane_top(group.lane + threads + 1);
            let _ = write!(out, r#"<path class="t-kill" d="M{x} {y}V{to}"/>"#);
        }
    }
}

fn lane_top(lane: usize) -> f64 {
    TOP + LANE * lane as f64
}

/// Faults are at the top, operations in the middle and calls at the bottom, so different kinds seldom overlap.
const fn height_in_lane(kind: MarkKind) -> f64 {
    match kind {
        MarkKind::Fault | MarkKind::Outside => 8.0,
        MarkKind::Call => 34.0,
        _ => 21.0,
    }
}

fn quote(event: &TimelineEvent) -> String {
    let took = if event.duration_us > 0 { format!(" (took {})", micros(event.duration_us)) } else { String::new() };
    format!("{}: {}{took}", micros(event.at_us), cut(&plain(&event.label), QUOTE_CHARS_MAX))
}

/// A sort key by which `p2` comes before `p10`, a process before its threads, and `run` before all.
fn natural(actor: &str) -> Vec<(u64, String)> {
    let key = |part: &str| {
        let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
        if part == "run" {
            return (0, String::new());
        }
        (if word.is_empty() { 0 } else { part[word.len()..].parse().unwrap_or(0) }, word.to_owned())
    };
    actor.split('.').map(key).collect()
}
