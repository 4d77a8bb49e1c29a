//! What Slack takes: lengths, in characters, and escaped text.
//! <https://docs.slack.dev/reference/block-kit/blocks> and <https://docs.slack.dev/messaging/formatting-message-text>

/// `text` of a message; Slack cuts longer ones.
pub(crate) const MESSAGE: usize = 40_000;
/// Blocks of a message.
pub(crate) const BLOCKS: usize = 50;
/// The text of a section, and of whatever has no smaller limit.
pub(crate) const TEXT: usize = 3_000;
/// One of the `fields` of a section.
pub(crate) const FIELD: usize = 2_000;
/// The text of a header.
pub(crate) const HEADER: usize = 150;
/// The text on a button.
pub(crate) const BUTTON: usize = 75;

/// Appends `value` with Slack's three control characters escaped.
pub(crate) fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            other => text.push(other),
        }
    }
}

/// The text, or its beginning and an ellipsis. Neither an escaped character nor a link is cut in two.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.chars().nth(limit).is_none() {
        return text.to_owned();
    }
    let end = text.char_indices().nth(limit - 1).map_or(0, |(at, _)| at);
    let mut kept = &text[..end];
    for (opening, closing) in [('&', ';'), ('<', '>')] {
        if let Some(at) = kept.rfind(opening)
            && !kept[at..].contains(closing)
            // Only a pair that the rest would have closed: an "&" of the template's own stays.
            && text[at..].find(closing).is_some_and(|length| length <= LONGEST)
        {
            kept = &kept[..at];
        }
    }
    format!("{kept}…")
}

/// Chosen: longer than the address and label of any sensible link, so that a stray `<` costs little text.
const LONGEST: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_stay() {
        assert_eq!(cut("", 3), "");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüx", 3), "äö…");
    }

    #[test]
    fn nothing_is_cut_in_two() {
        assert_eq!(cut("ab&amp;cd", 6), "ab…");
        assert_eq!(cut("ab&amp;cd", 8), "ab&amp;…");
        assert_eq!(cut("a <https://a.example|label> b", 20), "a …");
        assert_eq!(cut("R&D is a long word", 8), "R&D is …");
    }

    #[test]
    fn a_cut_text_is_never_over_the_limit() {
        let text = "a&amp;<b|c>é".repeat(40);
        for limit in 1..text.chars().count() {
            assert!(cut(&text, limit).chars().count() <= limit, "{limit}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let mut text = String::new();
        escape("<!channel> & <@U1>", &mut text);
        assert_eq!(text, "&lt;!channel&gt; &amp; &lt;@U1&gt;");
    }
}
