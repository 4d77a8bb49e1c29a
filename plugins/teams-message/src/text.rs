//! Text as cards show it.
//! <https://learn.microsoft.com/adaptive-cards/authoring-cards/text-features>

/// Appends `value` so that a card shows it as it is: no emphasis, list or link begins in it.
pub(crate) fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        if matches!(
            character,
            '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '`' | '~'
        ) {
            text.push('\\');
        }
        text.push(character);
    }
}

/// The text, or its beginning and an ellipsis, in at most so many bytes; less than an ellipsis has is none at all.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= longest {
        return text.to_owned();
    }
    let mut end = longest.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = &text[..end];
    // A backslash that escaped what is gone would escape the ellipsis.
    let backslashes = kept.len() - kept.trim_end_matches('\\').len();
    let kept = &kept[..end - backslashes % 2];
    let ellipsis = if longest < ELLIPSIS.len() {
        ""
    } else {
        ELLIPSIS
    };
    format!("{kept}{ellipsis}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits_and_ends_whole() {
        let text = r"é\*\\".repeat(20);
        for longest in 0..text.len() {
            let cut = cut(&text, longest);
            assert!(cut.len() <= longest, "{longest}");
            let kept = cut.trim_end_matches('…');
            let backslashes = kept.len() - kept.trim_end_matches('\\').len();
            assert_eq!(backslashes % 2, 0, "{cut}");
        }
    }
}
