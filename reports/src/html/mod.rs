//! HTML pages of a soak and of a story. Each page is one file that loads nothing and works without a script.
//!
//! The content security policy of the page forbids every request, so even a defect in it cannot send data.

use askama::Template as _;
use seawall_harness::record::{SoakRecord, Story};

mod head;
mod soak;
mod story;

/// The page of a soak.
pub fn soak(record: &SoakRecord) -> String {
    soak::Page::from_record(record).render().expect("writing a page to memory cannot fail")
}

/// The page of one story: the finding, the sequence diagram, the steps in words, and the replay line.
pub fn story(story: &Story) -> String {
    story::Page::from_story(story).render().expect("writing a page to memory cannot fail")
}
