//! Checks of markup and of coloured text.

/// The values of an attribute in a piece of markup.
pub(crate) fn attributes<'a>(markup: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    markup.split(name).skip(1).filter_map(|rest| rest.split('"').next())
}

/// The text without ANSI colours.
pub(crate) fn without_colour(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |bare, part| bare + part.split_once('m').unwrap().1)
}

/// Panics unless the text is well-formed XML: nesting, quotes and entities, which is enough for our own output.
#[track_caller]
pub(crate) fn check_xml(text: &str) {
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "a bare > before {}", &rest[at..]);
        let end = rest.find('>').expect("every < has its >");
        let tag = &rest[at + 1..end];
        assert!(!tag.contains('<'), "a bare < in {tag}");
        assert!(tag.matches('"').count().is_multiple_of(2), "quotes in {tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "at {}", &rest[at..end]);
        } else if !tag.ends_with('/') && !tag.starts_with(['!', '?']) {
            open.push(tag.split([' ', '\n']).next().unwrap());
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "left open: {open:?}");
    for entity in text.split('&').skip(1) {
        let name = entity.split(';').next().unwrap();
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "a bare & before {name}");
    }
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "a control character");
}
