//! Where everything in a sequence diagram lies: rows one below the other, and over them what spans several.

use seawall_harness::record::{Story, StoryKind};
use seawall_harness::verdict::Verdict;

use super::lines::{Line, lines, words};
use super::{LINE, PAD};
use crate::story::{Beat, Telling, ends, finding, name};
use crate::words::{fit, plain};

pub(super) const MARGIN: f64 = 16.0;
/// Left of the lanes, for the beats' numbers.
pub(super) const GUTTER: f64 = 44.0;
pub(super) const TOP: f64 = 8.0;
pub(super) const HEADER: f64 = 28.0;
const WIDTH: f64 = 800.0;
const LANE_MIN: f64 = 122.0;
const BOX_MAX: f64 = 330.0;
/// Between two boxes side by side.
const ASIDE: f64 = 14.0;
/// Between two rows, and how much more there is if an arrow passes between them.
const GAP: f64 = 10.0;
const ARROW: f64 = 22.0;
/// A statement within a statement is this much narrower at both sides, down to a limit.
const INSET: f64 = 5.0;
const DEPTH_MAX: usize = 3;
/// Pixels of a character of the finding.
const FOUND_CHAR: f64 = 8.0;
const FOUND_LINES_MAX: usize = 8;

/// One beat, or what stands in for those that are left out.
pub(super) struct Row {
    /// Position among the beats.
    pub(super) beat: Option<usize>,
    pub(super) lines: Vec<Line>,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) depth: usize,
    /// No statement's box is around it.
    pub(super) alone: bool,
}

/// A statement's box.
pub(super) struct Block {
    pub(super) lane: usize,
    pub(super) depth: usize,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) statement: String,
    pub(super) ended: bool,
    /// Row of its beginning, to tell what lies wholly in the part that is left out.
    row: usize,
}

/// A part of a lane from top to bottom.
pub(super) struct Span {
    pub(super) lane: usize,
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) dotted: bool,
}

/// The turn passes from one lane to another.
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) y: f64,
    /// Bottom of the box that it comes down from; otherwise it leaves the box at its side.
    pub(super) leaves: Option<f64>,
    /// Top of the box that it goes down into; otherwise it enters the box at its side.
    pub(super) enters: Option<f64>,
    pub(super) back: bool,
    pub(super) title: String,
}

/// The finding.
pub(super) struct Ending {
    pub(super) verdict: Verdict,
    pub(super) lines: Vec<String>,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) rows: Vec<Row>,
    pub(super) blocks: Vec<Block>,
    pub(super) pauses: Vec<Span>,
    pub(super) arrows: Vec<Arrow>,
    /// For each lane, where it lives and where it does not.
    pub(super) lives: Vec<Vec<Span>>,
    /// Crosses on lanes that end because another one's kill took their process: lane and height.
    pub(super) crosses: Vec<(usize, f64)>,
    pub(super) ending: Ending,
    lanes: usize,
    pitch: f64,
}

impl Layout {
    pub(super) fn new(story: &Story, telling: &Telling<'_>) -> Self {
        let lanes = telling.lanes.len();
        let pitch = ((WIDTH - GUTTER - MARGIN + ASIDE) / lanes.max(1) as f64).max(LANE_MIN);
        let width = (GUTTER + pitch * lanes as f64 - ASIDE + MARGIN).max(WIDTH);
        let ending = Ending { verdict: story.finding.verdict, lines: Vec::new(), top: 0.0, bottom: 0.0 };
        let mut layout = Self {
            width,
            height: 0.0,
            rows: Vec::new(),
            blocks: Vec::new(),
            pauses: Vec::new(),
            arrows: Vec::new(),
            lives: Vec::new(),
            crosses: Vec::new(),
            ending,
            lanes,
            pitch,
        };
        let bottom = layout.place(telling);
        layout.ending.top = bottom + GAP;
        let chars_max = ((layout.breadth(None) - 50.0) / FOUND_CHAR) as usize;
        layout.ending.lines = fit(&finding(story), chars_max, FOUND_LINES_MAX);
        layout.ending.bottom = layout.ending.top + 16.0 + 18.0 * layout.ending.lines.len() as f64;
        layout.height = layout.ending.bottom + MARGIN;
        Tracks::follow(&mut layout, telling);
        layout
    }

    pub(super) const fn lanes(&self) -> usize {
        self.lanes
    }

    /// The middle of a lane.
    pub(super) fn x(&self, lane: usize) -> f64 {
        GUTTER + self.pitch * (lane as f64 + 0.5) - ASIDE / 2.0
    }

    /// The left edge of a lane's boxes, or of what goes across.
    pub(super) fn left(&self, lane: Option<usize>) -> f64 {
        lane.map_or(GUTTER, |lane| self.x(lane) - self.breadth(Some(lane)) / 2.0)
    }

    /// The width of a lane's boxes, or of what goes across.
    pub(super) fn breadth(&self, lane: Option<usize>) -> f64 {
        match lane {
            Some(_) => (self.pitch - ASIDE).min(BOX_MAX),
            None => self.width - GUTTER - MARGIN,
        }
    }

    /// By how much a nested statement is narrower at each side.
    pub(super) fn inset(&self, depth: usize) -> f64 {
        INSET * depth.min(DEPTH_MAX) as f64
    }

    /// From a box's left edge to its text.
    pub(super) fn pad(&self, depth: usize) -> f64 {
        8.0 + self.inset(depth)
    }

    /// Puts the rows and the arrows between them in their places, and returns where the last row ends.
    fn place(&mut self, telling: &Telling<'_>) -> f64 {
        let mut y = TOP + HEADER + GAP;
        let mut depths = vec![0_usize; self.lanes];
        // The last beat that has a lane, and its row if that is the one right above.
        let mut before: Option<(&Beat<'_>, Option<usize>)> = None;
        for (at, beat) in telling.beats.iter().enumerate() {
            let (depth, alone) = depth_of(beat, &mut depths, telling);
            if telling.skipped.contains(&at) {
                if at == telling.skipped.start {
                    y = self.more(telling, y);
                }
                before = None;
                continue;
            }
            let mut passes = None;
            if let (Some((last, row)), Some(lane)) = (before, beat.lane) {
                passes = self.passes(telling, last, row, beat, lane, y);
                y += if passes.is_some() { ARROW - GAP } else { 0.0 };
            }
            let top = y + if at == 0 { 0.0 } else { GAP };
            let room = self.breadth(beat.lane) - 2.0 * self.pad(depth);
            let lines = lines(beat, room);
            let bottom = top + 2.0 * PAD + LINE * lines.len() as f64;
            if let Some(mut arrow) = passes {
                arrow.enters = arrow.enters.map(|_| top);
                self.arrows.push(arrow);
            }
            self.rows.push(Row { beat: Some(at), lines, top, bottom, depth, alone });
            y = bottom;
            before = match (beat.lane, before) {
                (Some(_), _) => Some((beat, Some(self.rows.len() - 1))),
                (None, last) => last.map(|(last, _)| (last, None)),
            };
        }
        y
    }

    /// The row that stands in for what is left out.
    fn more(&mut self, telling: &Telling<'_>, y: f64) -> f64 {
        let text = telling.ellipsis().unwrap_or_default();
        let lines = words("q-more", &text, self.breadth(None));
        let (top, bottom) = (y + GAP, y + GAP + 2.0 * PAD + LINE);
        self.rows.push(Row { beat: None, lines, top, bottom, depth: 0, alone: true });
        bottom
    }

    /// The arrow above a beat, if the turn comes from a pause or goes back to a paused statement.
    fn passes(
        &self,
        telling: &Telling<'_>,
        last: &Beat<'_>,
        row: Option<usize>,
        beat: &Beat<'_>,
        to: usize,
        y: f64,
    ) -> Option<Arrow> {
        let from = last.lane.filter(|from| *from != to)?;
        let pauses = last.last().kind == StoryKind::Paused;
        let back = beat.first.kind == StoryKind::Resumed;
        if last.has(StoryKind::Kill) || !(pauses || back) {
            return None;
        }
        let y = y + GAP;
        let (who, whom) = (name(telling.lanes[from]), name(telling.lanes[to]));
        Some(Arrow {
            from,
            to,
            y,
            leaves: (!pauses).then(|| row.map_or(y - GAP + 2.0, |row| self.rows[row].bottom)),
            enters: (!back).then_some(y),
            back,
            title: if back { format!("{whom} goes on") } else { format!("{who} is paused, {whom} runs") },
        })
    }
}

/// How deep in statements a beat's row is, and whether it is in none at all.
fn depth_of(beat: &Beat<'_>, depths: &mut [usize], telling: &Telling<'_>) -> (usize, bool) {
    let Some(lane) = beat.lane else { return (0, true) };
    depths[lane] += usize::from(beat.first.kind == StoryKind::Begin);
    let depth = depths[lane];
    depths[lane] = depth.saturating_sub(usize::from(ends(beat.last().kind)));
    if beat.first.kind == StoryKind::Kill {
        telling.siblings(lane).into_iter().for_each(|sibling| depths[sibling] = 0);
    }
    (depth.saturating_sub(1), depth == 0)
}

/// What is under way on one lane.
#[derive(Default)]
struct Track {
    open: Vec<Block>,
    paused: Option<f64>,
    /// Since when the lane lives, or does not.
    since: f64,
    dead: bool,
}

/// Follows the lanes from row to row and draws what spans several rows.
struct Tracks<'a, 'b> {
    layout: &'a mut Layout,
    telling: &'a Telling<'b>,
    tracks: Vec<Track>,
}

impl<'a, 'b> Tracks<'a, 'b> {
    fn follow(layout: &'a mut Layout, telling: &'a Telling<'b>) {
        let begin = || Track { since: TOP + HEADER, ..Track::default() };
        let tracks = telling.lanes.iter().map(|_| begin()).collect();
        layout.lives = telling.lanes.iter().map(|_| Vec::new()).collect();
        let mut this = Self { layout, telling, tracks };
        let mut row = 0;
        for (at, beat) in telling.beats.iter().enumerate() {
            let Some(lane) = beat.lane else {
                row += usize::from(!telling.skipped.contains(&at) || at + 1 == telling.skipped.end);
                continue;
            };
            this.beat(beat, lane, row);
            // All that is left out happens in one row.
            row += usize::from(!telling.skipped.contains(&at) || at + 1 == telling.skipped.end);
        }
        this.finish();
    }

    fn beat(&mut self, beat: &Beat<'_>, lane: usize, row: usize) {
        let (top, bottom) = (self.layout.rows[row].top, self.layout.rows[row].bottom);
        self.revive(lane, top);
        match beat.first.kind {
            StoryKind::Begin => {
                let depth = self.tracks[lane].open.len();
                let statement = plain(&beat.first.text);
                let block = Block { lane, depth, from: top, to: bottom, statement, ended: true, row };
                self.tracks[lane].open.push(block);
            }
            StoryKind::Resumed => self.go_on(lane, top),
            StoryKind::Kill => self.kill(lane, top, bottom),
            _ => {}
        }
        match beat.last().kind {
            StoryKind::Paused => self.tracks[lane].paused = Some(bottom),
            kind if ends(kind) => {
                self.go_on(lane, top);
                if let Some(block) = self.tracks[lane].open.pop() {
                    self.close(block, bottom, row);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, mut block: Block, bottom: f64, row: usize) {
        block.to = bottom;
        // What begins and ends within the part that is left out is left out too.
        if block.row != row || self.layout.rows[row].beat.is_some() {
            self.layout.blocks.push(block);
        }
    }

    fn go_on(&mut self, lane: usize, top: f64) {
        let Some(from) = self.tracks[lane].paused.take() else { return };
        let name = name(self.telling.lanes[lane]);
        if top > from {
            self.layout.pauses.push(Span { lane, name, from, to: top, dotted: false });
        }
    }

    /// Whoever acts lives, even if the start was not told.
    fn revive(&mut self, lane: usize, y: f64) {
        if self.tracks[lane].dead {
            for sibling in self.telling.siblings(lane) {
                self.life(sibling, y);
                self.tracks[sibling].dead = false;
            }
        }
    }

    fn life(&mut self, lane: usize, to: f64) {
        let track = &mut self.tracks[lane];
        let span = Span { lane, name: String::new(), from: track.since, to, dotted: track.dead };
        track.since = to;
        self.layout.lives[lane].push(span);
    }

    /// A kill ends the whole process: each of its lanes, and every statement on them.
    fn kill(&mut self, lane: usize, top: f64, bottom: f64) {
        for sibling in self.telling.siblings(lane) {
            let end = if sibling == lane { bottom } else { top + PAD + LINE / 2.0 };
            self.go_on(sibling, if sibling == lane { top } else { end });
            for mut block in std::mem::take(&mut self.tracks[sibling].open) {
                (block.to, block.ended) = (end, false);
                self.layout.blocks.push(block);
            }
            self.life(sibling, end);
            self.tracks[sibling].dead = true;
            if sibling != lane {
                self.layout.crosses.push((sibling, end));
            }
        }
    }

    /// What is still under way goes on down to the finding.
    fn finish(mut self) {
        let bottom = self.layout.ending.top;
        for lane in 0..self.tracks.len() {
            self.go_on(lane, bottom);
            for mut block in std::mem::take(&mut self.tracks[lane].open) {
                (block.to, block.ended) = (bottom, false);
                self.layout.blocks.push(block);
            }
            self.life(lane, bottom);
        }
        // The outer ones first, so that the inner ones lie upon them.
        self.layout.blocks.sort_by_key(|block| block.depth);
    }
}
