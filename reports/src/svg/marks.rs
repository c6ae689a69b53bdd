//! The marks of a timeline. A sequence diagram uses the same shapes.

use seawall_harness::record::MarkKind;

/// How a kind of event is drawn and named.
pub(crate) struct Mark {
    pub(crate) kind: MarkKind,
    /// CSS class.
    pub(crate) class: &'static str,
    /// SVG elements around (0, 0).
    pub(crate) shape: &'static str,
    /// Name in the legend.
    pub(crate) word: &'static str,
}

pub(super) const KILL: &str = r#"<path d="M-5-5L5 5M5-5L-5 5"/>"#;
pub(super) const START: &str = r#"<path d="M-4-5L5 0-4 5z"/>"#;
pub(super) const COMMIT: &str = r#"<circle r="4"/>"#;
pub(super) const LOST: &str = r#"<circle r="4.6"/><path d="M-3.2-3.2L3.2 3.2M3.2-3.2L-3.2 3.2"/>"#;
pub(super) const OUTSIDE: &str = r#"<path d="M-5.6 0L-2.8-5H2.8L5.6 0 2.8 5H-2.8z"/>"#;
pub(super) const REFUSED: &str = r#"<path d="M-3.4-3.4h6.8v6.8h-6.8z"/>"#;

/// All marks, in the order of the legend.
pub(crate) static MARKS: [Mark; 11] = [
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

/// The mark of a kind of event.
pub(crate) fn mark(kind: MarkKind) -> &'static Mark {
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
