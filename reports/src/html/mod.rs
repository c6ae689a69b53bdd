//! HTML pages of a soak, of a story and of power cuts. Each page is one file that loads nothing and works without a
//! script.
//!
//! The content security policy of the page forbids every request, so even a defect in it cannot send data.

use askama::Template as _;
use seawall_harness::record::{PowerRecord, SoakRecord, Story};

mod head;
mod power;
mod soak;
mod story;

/// The page of a soak.
pub fn soak(record: &SoakRecord) -> String {
    soak::Page::from_record(record).render().expect("writing a page to memory cannot fail")
}

/// The page of power cuts: the table of verdicts, and for each finding the files of the shortest losing run, step by
/// step.
pub fn power(record: &PowerRecord) -> String {
    power::Page::from_record(record).render().expect("writing a page to memory cannot fail")
}

/// The page of one story: the finding, the sequence diagram, the steps in words, and the replay line.
pub fn story(story: &Story) -> String {
    story::Page::from_story(story).render().expect("writing a page to memory cannot fail")
}
