//! A soak as one page: no network, no script needed, one file to keep or to send.
//!
//! The page carries a policy that forbids every request, so that even a mistake in it could not call home.

use askama::Template as _;
use seawall_harness::record::SoakRecord;

mod view;

/// The page.
pub fn soak(record: &SoakRecord) -> String {
    view::Page::new(record).render().expect("writing a page to memory cannot fail")
}
