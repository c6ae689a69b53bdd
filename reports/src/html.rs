//! A soak, or the story of a finding, as one page: no network, no script needed, one file to keep or to send.
//!
//! The page carries a policy that forbids every request, so that even a mistake in it could not call home.

use askama::Template as _;
use seawall_harness::record::{SoakRecord, Story};

mod story;
mod view;

/// The page of a soak.
pub fn soak(record: &SoakRecord) -> String {
    view::Page::new(record).render().expect("writing a page to memory cannot fail")
}

/// The page of one story: what was found, how it came about as a picture and in words, and how to run it again.
pub fn story(story: &Story) -> String {
    story::Page::new(story).render().expect("writing a page to memory cannot fail")
}
