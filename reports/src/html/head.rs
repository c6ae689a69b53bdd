//! What all pages have in common: title, headline, lead paragraph and style sheet.

use seawall_harness::picture::theme;

/// The fields of `page.html`.
pub(super) struct Head {
    pub(super) title: String,
    pub(super) headline: String,
    pub(super) lead: String,
    pub(super) css: String,
    pub(super) symbols: String,
}

impl Head {
    /// The head of a page with the given style sheets after the shared ones.
    pub(super) fn new(title: String, headline: String, lead: String, styles: &[&str]) -> Self {
        let shared = [theme::properties(":root"), theme::verdict_classes()].concat();
        let css = format!("{shared}{}{}", include_str!("../../templates/page.css"), styles.concat());
        Self { title, headline, lead, css, symbols: theme::symbols() }
    }
}
