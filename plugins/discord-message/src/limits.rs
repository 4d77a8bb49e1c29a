//! What Discord takes: lengths, in characters, and escaped text.
//! <https://docs.discord.com/developers/resources/message#embed-object-embed-limits>

/// The text of a message.
pub(crate) const CONTENT: usize = 2_000;
/// Embeds of a message.
pub(crate) const EMBEDS: usize = 10;
/// All texts of all embeds together.
pub(crate) const ALL_EMBEDS: usize = 6_000;
/// The title of an embed, the name of its author and of a field.
pub(crate) const TITLE: usize = 256;
/// The description of an embed.
pub(crate) const DESCRIPTION: usize = 4_096;
/// The value of a field.
pub(crate) const FIELD: usize = 1_024;
/// The text of a footer.
pub(crate) const FOOTER: usize = 2_048;

/// Appends `value` so that it is shown as it is: no formatting, link or mention begins in it.
pub(crate) fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        if matches!(
            character,
            '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '>' | '#' | '@' | '[' | ']' | '(' | ')'
        ) {
            text.push('\\');
        }
        text.push(character);
    }
}

/// The text, or its beginning and an ellipsis. No escaped character is cut in two.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.chars().nth(limit).is_none() {
        return text.to_owned();
    }
    let end = text.char_indices().nth(limit - 1).map_or(0, |(at, _)| at);
    let kept = &text[..end];
    let backslashes = kept.len() - kept.trim_end_matches('\\').len();
    let kept = &kept[..kept.len() - backslashes % 2];
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_in_two() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüx", 3), "äö…");
        assert_eq!(cut(r"ab\*cd", 4), "ab…");
        assert_eq!(cut(r"ab\\cd", 5), r"ab\\…");
    }

    #[test]
    fn a_cut_text_is_never_over_the_limit() {
        let text = r"a\*\\é".repeat(40);
        for limit in 1..text.chars().count() {
            assert!(cut(&text, limit).chars().count() <= limit, "{limit}");
        }
    }
}
