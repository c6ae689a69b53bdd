//! Follows the lanes of a sequence diagram from row to row and places what spans several rows: boxes of statements,
//! pauses, and the spans in which a process runs.

use super::layout::{Block, HEADER, Layout, Span, TOP};
use super::{LINE, PAD};
use crate::narrative::{Narrative, Step, actor_name, is_end, plain};
use crate::record::StoryKind;

/// The state of one lane.
#[derive(Default)]
struct Track {
    /// The open statements, the outermost first.
    open: Vec<Block>,
    /// Where the current pause began.
    paused: Option<f64>,
    /// Where the lane's process started or died.
    since: f64,
    is_dead: bool,
}

/// The states of all lanes.
pub(super) struct Tracks<'a, 'b> {
    layout: &'a mut Layout,
    narrative: &'a Narrative<'b>,
    tracks: Vec<Track>,
}

impl<'a, 'b> Tracks<'a, 'b> {
    pub(super) fn follow(layout: &'a mut Layout, narrative: &'a Narrative<'b>) {
        let tracks = narrative.lanes.iter().map(|_| Track { since: TOP + HEADER, ..Track::default() }).collect();
        layout.process_spans = narrative.lanes.iter().map(|_| Vec::new()).collect();
        let mut this = Self { layout, narrative, tracks };
        let mut row = 0;
        for (at, step) in narrative.steps.iter().enumerate() {
            if let Some(lane) = step.lane {
                this.step(step, lane, row);
            }
            // All omitted steps share one row.
            row += usize::from(!narrative.omitted.contains(&at) || at + 1 == narrative.omitted.end);
        }
        this.finish();
    }

    fn step(&mut self, step: &Step<'_>, lane: usize, row: usize) {
        let (top, bottom) = (self.layout.rows[row].top, self.layout.rows[row].bottom);
        self.revive(lane, top);
        match step.first.kind {
            StoryKind::Begin => {
                let depth = self.tracks[lane].open.len();
                let statement = plain(&step.first.text);
                let block = Block { lane, depth, from: top, to: bottom, statement, has_ended: true, row };
                self.tracks[lane].open.push(block);
            }
            StoryKind::Resumed => self.resume(lane, top),
            StoryKind::Kill => self.kill(lane, top, bottom),
            _ => {}
        }
        match step.last().kind {
            StoryKind::Paused => self.tracks[lane].paused = Some(bottom),
            kind if is_end(kind) => {
                self.resume(lane, top);
                if let Some(block) = self.tracks[lane].open.pop() {
                    self.close(block, bottom, row);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, mut block: Block, bottom: f64, row: usize) {
        block.to = bottom;
        // A statement that begins and ends among the omitted steps has no box.
        if block.row != row || self.layout.rows[row].step.is_some() {
            self.layout.blocks.push(block);
        }
    }

    fn resume(&mut self, lane: usize, top: f64) {
        let Some(from) = self.tracks[lane].paused.take() else { return };
        let name = actor_name(self.narrative.lanes[lane]);
        if top > from {
            self.layout.pauses.push(Span { lane, name, from, to: top, is_dead: false });
        }
    }

    /// An actor with a step is alive, even if the story has no start of its process.
    fn revive(&mut self, lane: usize, y: f64) {
        if self.tracks[lane].is_dead {
            for sibling in self.narrative.siblings(lane) {
                self.end_span(sibling, y);
                self.tracks[sibling].is_dead = false;
            }
        }
    }

    fn end_span(&mut self, lane: usize, to: f64) {
        let track = &mut self.tracks[lane];
        let span = Span { lane, name: String::new(), from: track.since, to, is_dead: track.is_dead };
        track.since = to;
        self.layout.process_spans[lane].push(span);
    }

    /// A kill ends the process with all its lanes and their statements.
    fn kill(&mut self, lane: usize, top: f64, bottom: f64) {
        for sibling in self.narrative.siblings(lane) {
            let end = if sibling == lane { bottom } else { top + PAD + LINE / 2.0 };
            self.resume(sibling, if sibling == lane { top } else { end });
            for mut block in std::mem::take(&mut self.tracks[sibling].open) {
                (block.to, block.has_ended) = (end, false);
                self.layout.blocks.push(block);
            }
            self.end_span(sibling, end);
            self.tracks[sibling].is_dead = true;
            if sibling != lane {
                self.layout.crosses.push((sibling, end));
            }
        }
    }

    /// Extends everything that is still open down to the finding.
    fn finish(mut self) {
        let bottom = self.layout.finding.top;
        for lane in 0..self.tracks.len() {
            self.resume(lane, bottom);
            for mut block in std::mem::take(&mut self.tracks[lane].open) {
                (block.to, block.has_ended) = (bottom, false);
                self.layout.blocks.push(block);
            }
            self.end_span(lane, bottom);
        }
        // The outer ones first, so that the inner ones are drawn over them.
        self.layout.blocks.sort_by_key(|block| block.depth);
    }
}
