//! The positions of everything in a sequence diagram: rows from top to bottom, and what spans several rows.

use super::lines::{Line, lines, wrapped};
use super::tracks::Tracks;
use super::{LINE, PAD};
use crate::narrative::{Narrative, Step, actor_name, finding, fit, is_end};
use crate::record::{Story, StoryKind};
use crate::verdict::Verdict;

pub(super) const MARGIN: f64 = 16.0;
/// Space left of the lanes for the numbers of the steps.
pub(super) const GUTTER: f64 = 44.0;
pub(super) const TOP: f64 = 8.0;
pub(super) const HEADER: f64 = 28.0;
const WIDTH: f64 = 800.0;
const LANE_MIN: f64 = 122.0;
const BOX_MAX: f64 = 330.0;
/// Distance between two boxes side by side.
const ASIDE: f64 = 14.0;
/// Distance between two rows, and between two rows with an arrow.
const GAP: f64 = 10.0;
const ARROW: f64 = 22.0;
/// A nested statement is this much narrower at each side, up to a maximum depth.
const INSET: f64 = 5.0;
const DEPTH_MAX: usize = 3;
/// Width of a character of the finding in pixels.
const FOUND_CHAR: f64 = 8.0;
const FOUND_LINES_MAX: usize = 8;

/// One step, or the line that stands for the omitted ones.
pub(super) struct Row {
    /// Position of the step; `None` for the omitted ones.
    pub(super) step: Option<usize>,
    pub(super) lines: Vec<Line>,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) depth: usize,
    /// True if the row is not within the box of a statement.
    pub(super) is_alone: bool,
}

/// The box of a statement.
pub(super) struct Block {
    pub(super) lane: usize,
    pub(super) depth: usize,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) statement: String,
    pub(super) has_ended: bool,
    /// The row in which the statement begins.
    pub(super) row: usize,
}

/// A part of a lane.
pub(super) struct Span {
    pub(super) lane: usize,
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
    /// True if the process does not run.
    pub(super) is_dead: bool,
}

/// A switch from one lane to another.
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) y: f64,
    /// Bottom of the box at which the arrow starts; `None` if it starts at the side of the box.
    pub(super) start: Option<f64>,
    /// Top of the box at which the arrow ends; `None` if it ends at the side of the box.
    pub(super) end: Option<f64>,
    /// True if the target resumes.
    pub(super) is_resume: bool,
    pub(super) title: String,
}

/// The box of the finding.
pub(super) struct FindingBox {
    pub(super) verdict: Verdict,
    pub(super) lines: Vec<String>,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// The whole diagram.
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) rows: Vec<Row>,
    pub(super) blocks: Vec<Block>,
    pub(super) pauses: Vec<Span>,
    pub(super) arrows: Vec<Arrow>,
    /// For each lane, the spans in which its process runs or does not.
    pub(super) process_spans: Vec<Vec<Span>>,
    /// Crosses on lanes that end because a thread beside them killed the process: lane and y.
    pub(super) crosses: Vec<(usize, f64)>,
    pub(super) finding: FindingBox,
    lanes: usize,
    pitch: f64,
}

impl Layout {
    pub(super) fn from_story(story: &Story, narrative: &Narrative<'_>) -> Self {
        let lanes = narrative.lanes.len();
        let pitch = ((WIDTH - GUTTER - MARGIN + ASIDE) / lanes.max(1) as f64).max(LANE_MIN);
        let width = (GUTTER + pitch * lanes as f64 - ASIDE + MARGIN).max(WIDTH);
        let finding_box = FindingBox { verdict: story.finding.verdict, lines: Vec::new(), top: 0.0, bottom: 0.0 };
        let mut layout = Self {
            width,
            height: 0.0,
            rows: Vec::new(),
            blocks: Vec::new(),
            pauses: Vec::new(),
            arrows: Vec::new(),
            process_spans: Vec::new(),
            crosses: Vec::new(),
            finding: finding_box,
            lanes,
            pitch,
        };
        let bottom = layout.place(narrative);
        layout.finding.top = bottom + GAP;
        let chars_max = ((layout.breadth(None) - 50.0) / FOUND_CHAR) as usize;
        layout.finding.lines = fit(&finding(story), chars_max, FOUND_LINES_MAX);
        layout.finding.bottom = layout.finding.top + 16.0 + 18.0 * layout.finding.lines.len() as f64;
        layout.height = layout.finding.bottom + MARGIN;
        Tracks::follow(&mut layout, narrative);
        layout
    }

    pub(super) const fn lanes(&self) -> usize {
        self.lanes
    }

    /// The middle of a lane.
    pub(super) fn x(&self, lane: usize) -> f64 {
        GUTTER + self.pitch * (lane as f64 + 0.5) - ASIDE / 2.0
    }

    /// The left edge of the boxes of a lane, or of a box across all lanes.
    pub(super) fn left(&self, lane: Option<usize>) -> f64 {
        lane.map_or(GUTTER, |lane| self.x(lane) - self.breadth(Some(lane)) / 2.0)
    }

    /// The width of the boxes of a lane, or of a box across all lanes.
    pub(super) fn breadth(&self, lane: Option<usize>) -> f64 {
        match lane {
            Some(_) => (self.pitch - ASIDE).min(BOX_MAX),
            None => self.width - GUTTER - MARGIN,
        }
    }

    /// How much narrower a nested statement is at each side.
    pub(super) fn inset(&self, depth: usize) -> f64 {
        INSET * depth.min(DEPTH_MAX) as f64
    }

    /// Distance from the left edge of a box to its text.
    pub(super) fn pad(&self, depth: usize) -> f64 {
        8.0 + self.inset(depth)
    }

    /// Places the rows and the arrows between them, and returns the bottom of the last row.
    fn place(&mut self, narrative: &Narrative<'_>) -> f64 {
        let mut y = TOP + HEADER + GAP;
        let mut depths = vec![0_usize; self.lanes];
        // The last step that has a lane, and its row if it is the previous one.
        let mut before: Option<(&Step<'_>, Option<usize>)> = None;
        for (at, step) in narrative.steps.iter().enumerate() {
            let (depth, is_alone) = depth_of(step, &mut depths, narrative);
            if narrative.omitted.contains(&at) {
                if at == narrative.omitted.start {
                    y = self.ellipsis(narrative, y);
                }
                before = None;
                continue;
            }
            let mut switch = None;
            if let (Some((last, row)), Some(lane)) = (before, step.lane) {
                switch = self.switch(narrative, last, row, step, lane, y);
                y += if switch.is_some() { ARROW - GAP } else { 0.0 };
            }
            let top = y + if at == 0 { 0.0 } else { GAP };
            let room = self.breadth(step.lane) - 2.0 * self.pad(depth);
            let lines = lines(step, room);
            let bottom = top + 2.0 * PAD + LINE * lines.len() as f64;
            if let Some(mut arrow) = switch {
                arrow.end = arrow.end.map(|_| top);
                self.arrows.push(arrow);
            }
            self.rows.push(Row { step: Some(at), lines, top, bottom, depth, is_alone });
            y = bottom;
            before = match (step.lane, before) {
                (Some(_), _) => Some((step, Some(self.rows.len() - 1))),
                (None, last) => last.map(|(last, _)| (last, None)),
            };
        }
        y
    }

    /// Places the row that stands for the omitted steps.
    fn ellipsis(&mut self, narrative: &Narrative<'_>, y: f64) -> f64 {
        let text = narrative.ellipsis().unwrap_or_default();
        let lines = wrapped("q-more", None, &text, self.breadth(None));
        let (top, bottom) = (y + GAP, y + GAP + 2.0 * PAD + LINE);
        self.rows.push(Row { step: None, lines, top, bottom, depth: 0, is_alone: true });
        bottom
    }

    /// The arrow above a step, if another actor paused before it or the step resumes.
    fn switch(
        &self,
        narrative: &Narrative<'_>,
        last: &Step<'_>,
        row: Option<usize>,
        step: &Step<'_>,
        to: usize,
        y: f64,
    ) -> Option<Arrow> {
        let from = last.lane.filter(|from| *from != to)?;
        let is_pause = last.last().kind == StoryKind::Paused;
        let is_resume = step.first.kind == StoryKind::Resumed;
        if last.has(StoryKind::Kill) || !(is_pause || is_resume) {
            return None;
        }
        let y = y + GAP;
        let (from_name, to_name) = (actor_name(narrative.lanes[from]), actor_name(narrative.lanes[to]));
        Some(Arrow {
            from,
            to,
            y,
            start: (!is_pause).then(|| row.map_or(y - GAP + 2.0, |row| self.rows[row].bottom)),
            end: (!is_resume).then_some(y),
            is_resume,
            title: if is_resume {
                format!("{to_name} resumes")
            } else {
                format!("{from_name} is paused, {to_name} runs")
            },
        })
    }
}

/// The nesting depth of a step's row, and whether it is outside of all statements.
fn depth_of(step: &Step<'_>, depths: &mut [usize], narrative: &Narrative<'_>) -> (usize, bool) {
    let Some(lane) = step.lane else { return (0, true) };
    depths[lane] += usize::from(step.first.kind == StoryKind::Begin);
    let depth = depths[lane];
    depths[lane] = depth.saturating_sub(usize::from(is_end(step.last().kind)));
    if step.first.kind == StoryKind::Kill {
        narrative.siblings(lane).into_iter().for_each(|sibling| depths[sibling] = 0);
    }
    (depth.saturating_sub(1), depth == 0)
}
