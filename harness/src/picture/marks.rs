//! The marks of a timeline. A sequence diagram uses the same shapes.

use crate::record::MarkKind;

/// How a kind of event is drawn and named.
pub struct Mark {
    /// The kind.
    pub kind: MarkKind,
    /// CSS class.
    pub class: &'static str,
    /// SVG elements around (0, 0).
    pub shape: &'static str,
    /// Name in the legend.
    pub word: &'static str,
}

pub(super) const KILL: &str = r#"<path d="M-5-5L5 5M5-5L-5 5"/>"#;
pub(super) const START: &str = r#"<path d="M-4-5L5 0-4 5z"/>"#;
pub(super) const COMMIT: &str = r#"<circle r="4"/>"#;
pub(super) const LOST: &str = r#"<circle r="4.6"/><path d="M-3.2-3.2L3.2 3.2M3.2-3.2L-3.2 3.2"/>"#;
pub(super) const OUTSIDE: &str = r#"<path d="M-5.6 0L-2.8-5H2.8L5.6 0 2.8 5H-2.8z"/>"#;
pub(super) const REFUSED: &str = r#"<path d="M-3.4-3.4h6.8v6.8h-6.8z"/>"#;

/// All marks, in the order of the legend.
pub static MARKS: [Mark; 11] = [
    Mark { kind: MarkKind::Fault, class: "m-fault", shape: r#"<path d="M-5-5H5L0 5z"/>"#, word: "fault" },
    Mark { kind: MarkKind::Outside, class: "m-outside", shape: OUTSIDE, word: "outsider" },
    Mark { kind: MarkKind::Commit, class: "m-commit", shape: COMMIT, word: "commit acknowledged" },
    Mark { kind: MarkKind::Lost, class: "m-lost", shape: LOST, word: "commit lost" },
    Mark { kind: MarkKind::Refused, class: "m-refused", shape: REFUSED, word: "refused" },
    Mark {
        kind: MarkKind::Indeterminate,
        class: "m-unknown",
        shape: r#"<path d="M0-5L5 0 0 5-5 0z"/>"#,
        word: "outcome unknown",
    },
    Mark { kind: MarkKind::Kill, class: "m-kill", shape: KILL, word: "killed" },
    Mark { kind: MarkKind::Start, class: "m-start", shape: START, word: "started" },
    Mark { kind: MarkKind::Read, class: "m-read", shape: r#"<circle r="2.2"/>"#, word: "read" },
    Mark { kind: MarkKind::Heal, class: "m-heal", shape: r#"<path d="M0-6V6"/>"#, word: "faults off" },
    Mark { kind: MarkKind::Call, class: "m-call", shape: r#"<path d="M0-4V4"/>"#, word: "call" },
];

/// The style of lanes and marks, for a page or a stand-alone picture.
pub const STYLE: &str = "\
.t-lane{stroke:var(--rule)}.t-name{fill:var(--ink);font-size:13px}.t-time{fill:var(--muted);font-size:12px}\
.t-grid{stroke:var(--rule);stroke-dasharray:2 4}.t-break{fill:var(--rule);fill-opacity:.55}\
.m-fault{fill:var(--lost-ink)}.m-commit{fill:var(--survived-ink)}\
.m-read{fill:none;stroke:var(--survived-ink)}.m-refused{fill:var(--card);stroke:var(--degraded-ink);stroke-width:1.8}\
.m-unknown{fill:var(--card);stroke:var(--wedged-ink);stroke-width:1.8}\
.m-kill{fill:none;stroke:var(--ink);stroke-width:2.6}.m-start{fill:none;stroke:var(--ink);stroke-width:1.5}\
.m-heal{fill:none;stroke:var(--link);stroke-width:2}.m-call{fill:none;stroke:var(--muted);stroke-opacity:.55}\
.m-outside{fill:var(--wedged-ink)}.m-lost{fill:var(--card);stroke:var(--lost-ink);stroke-width:1.8}\
.m-bar{stroke-width:3;stroke-opacity:.4;fill:none}\
.t-kill{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:1 3}\
.t-outside{stroke:var(--wedged-ink);stroke-opacity:.6;stroke-dasharray:4 3}";

/// The mark of a kind of event.
pub fn mark(kind: MarkKind) -> &'static Mark {
    MARKS.iter().find(|mark| mark.kind == kind).expect("every kind of event has a mark")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_event_has_one_mark() {
        use MarkKind::{Call, Commit, Fault, Heal, Indeterminate, Kill, Lost, Outside, Read, Refused, Start};
        for kind in [Call, Fault, Commit, Read, Refused, Indeterminate, Start, Kill, Heal, Outside, Lost] {
            assert_eq!(mark(kind).kind, kind);
        }
        assert_eq!(MARKS.len(), 11);
    }
}
