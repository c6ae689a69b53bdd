//! Colours and shapes. Each verdict has a word, a colour and a shape, so that none of them carries the meaning alone.
//!
//! Pages and stand-alone pictures share these colours. A test checks that every pair of text and background has the
//! contrast that small text needs (WCAG AA, 4.5 to 1) in both schemes.

use crate::verdict::Verdict;

/// The colours of one scheme, by the names of their custom properties.
type Scheme = &'static [(&'static str, &'static str)];

const LIGHT: Scheme = &[
    ("paper", "#fbfaf6"),
    ("card", "#ffffff"),
    ("ink", "#1b2430"),
    ("muted", "#58616e"),
    ("rule", "#ded9cd"),
    ("link", "#0a5a6c"),
    ("news", "#a3123f"),
    ("survived-ink", "#17603c"),
    ("survived-ground", "#e2f1e8"),
    ("degraded-ink", "#6a4f00"),
    ("degraded-ground", "#f7eecb"),
    ("false-alarm-ink", "#86400a"),
    ("false-alarm-ground", "#fce5d1"),
    ("wedged-ink", "#523a91"),
    ("wedged-ground", "#ebe5f8"),
    ("lost-ink", "#9a1b1b"),
    ("lost-ground", "#fbdfdc"),
    ("corrupt-ink", "#ffffff"),
    ("corrupt-ground", "#8c1127"),
    ("not-measured-ink", "#58616e"),
    ("not-measured-ground", "#fbfaf6"),
    ("harness-broken-ink", "#2b3440"),
    ("harness-broken-ground", "#dfe2e6"),
];

const DARK: Scheme = &[
    ("paper", "#11161c"),
    ("card", "#171e26"),
    ("ink", "#e7e9e6"),
    ("muted", "#9ba5b0"),
    ("rule", "#2c3641"),
    ("link", "#7fcbd9"),
    ("news", "#ff9db5"),
    ("survived-ink", "#8fd8b0"),
    ("survived-ground", "#15301f"),
    ("degraded-ink", "#e6c866"),
    ("degraded-ground", "#332a0c"),
    ("false-alarm-ink", "#f4b27c"),
    ("false-alarm-ground", "#3a2412"),
    ("wedged-ink", "#c3b1f5"),
    ("wedged-ground", "#292042"),
    ("lost-ink", "#ffa59c"),
    ("lost-ground", "#451b1b"),
    ("corrupt-ink", "#1c0207"),
    ("corrupt-ground", "#ff8a96"),
    ("not-measured-ink", "#9ba5b0"),
    ("not-measured-ground", "#11161c"),
    ("harness-broken-ink", "#dfe3e8"),
    ("harness-broken-ground", "#39424d"),
];

/// The custom properties of both schemes, on the element that `selector` names.
pub fn properties(selector: &str) -> String {
    let block =
        |scheme: Scheme| -> String { scheme.iter().map(|(name, value)| format!("--{name}:{value};")).collect() };
    format!(
        "{selector}{{color-scheme:light dark;{}}}\n@media (prefers-color-scheme:dark){{{selector}{{{}}}}}\n",
        block(LIGHT),
        block(DARK)
    )
}

/// One rule for each verdict. It sets the verdict's colours for the element and its children.
pub fn verdict_classes() -> String {
    Verdict::ALL
        .iter()
        .map(|v| format!(".v-{v}{{--vi:var(--{v}-ink);--vg:var(--{v}-ground)}}\n", v = v.word()))
        .collect()
}

/// The shape of the verdict in a box of 16 by 16, drawn in `currentColor`.
pub const fn shape(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NotMeasured => {
            r#"<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2 2.7"/>"#
        }
        Verdict::Survived => {
            r#"<circle cx="8" cy="8" r="6.2" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="M5 8.3l2.2 2.2L11.2 6" fill="none" stroke="currentColor" stroke-width="1.8"/>"#
        }
        Verdict::Degraded => {
            r#"<circle cx="8" cy="8" r="6.2" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="M2 8a6 6 0 0 0 12 0z" fill="currentColor"/>"#
        }
        Verdict::FalseAlarm => {
            r#"<path d="M8 1.8L14.8 14H1.2z" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round"/><path d="M8 6v4M8 11.2v1.6" stroke="currentColor" stroke-width="1.7"/>"#
        }
        Verdict::Wedged => {
            r#"<rect x="2" y="2" width="12" height="12" rx="2" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="M6.2 5v6M9.8 5v6" stroke="currentColor" stroke-width="2"/>"#
        }
        Verdict::Lost => r#"<path d="M8 .8L15.2 8 8 15.2.8 8z" fill="currentColor"/>"#,
        Verdict::Corrupt => r#"<path d="M3 3l10 10M13 3L3 13" stroke="currentColor" stroke-width="3.4"/>"#,
        Verdict::HarnessBroken => {
            r#"<rect x="2" y="2" width="12" height="12" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="M2 14L14 2" stroke="currentColor" stroke-width="1.6"/>"#
        }
    }
}

/// All shapes as symbols `#g-WORD`, for a `defs` element.
pub fn symbols() -> String {
    Verdict::ALL
        .iter()
        .map(|v| format!(r#"<symbol id="g-{}" viewBox="0 0 16 16">{}</symbol>"#, v.word(), shape(*v)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(hex: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn small_text_has_enough_contrast_in_both_schemes() {
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
        for scheme in [LIGHT, DARK] {
            let colour = |name: &str| scheme.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name}")).1;
            let mut pairs = Vec::new();
            for ink in ["ink", "muted", "link", "news"] {
                pairs.extend([(ink.to_owned(), "paper".to_owned()), (ink.to_owned(), "card".to_owned())]);
            }
            for verdict in Verdict::ALL {
                pairs.push((format!("{verdict}-ink"), format!("{verdict}-ground")));
            }
            // Marks of a timeline are on a card and differ in shape too. 3 to 1 would suffice; they reach more.
            for word in ["survived", "degraded", "lost", "wedged", "false-alarm"] {
                pairs.push((format!("{word}-ink"), "card".to_owned()));
            }
            for (ink, ground) in pairs {
                let ratio = contrast(colour(&ink), colour(&ground));
                assert!(ratio >= 4.5, "{ink} on {ground}: {ratio:.2}");
            }
        }
    }

    #[test]
    fn both_schemes_define_the_same_properties() {
        let names = |scheme: Scheme| scheme.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(names(LIGHT), names(DARK));
    }

    #[test]
    fn every_verdict_has_a_shape_of_its_own() {
        let mut shapes = Verdict::ALL.map(shape).to_vec();
        shapes.sort_unstable();
        shapes.dedup();
        assert_eq!(shapes.len(), Verdict::ALL.len());
    }
}
