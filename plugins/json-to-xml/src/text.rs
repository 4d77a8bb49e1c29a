//! Names and texts as XML 1.0 has them. <https://www.w3.org/TR/xml/>

use hookmill_plugin::{Error, Result};

/// The text with what XML would read otherwise written as references. Line ends and tabs are among that: a reader would
/// make spaces of them in attributes, and line feeds of carriage returns everywhere.
pub(crate) fn escape(text: &str) -> Result<String> {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' => escaped.push_str("&#9;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            // Section 2.2; not even a reference may name one.
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                let number = u32::from(character);
                return Err(Error::new(format!("XML has no character U+{number:04X}")));
            }
            other => escaped.push(other),
        }
    }
    Ok(escaped)
}

/// The name of an element or attribute: what a name can not hold becomes `_`. A colon stays, for prefixes.
pub(crate) fn name(member: &str) -> String {
    let mut name: String = member
        .chars()
        .map(|character| {
            if is_in_name(character) {
                character
            } else {
                '_'
            }
        })
        .collect();
    if !name.starts_with(begins_name) {
        name.insert(0, '_');
    }
    name
}

/// Section 2.3, but for the rarer ranges, which become `_`.
fn begins_name(character: char) -> bool {
    character == '_' || character.is_alphabetic()
}

fn is_in_name(character: char) -> bool {
    begins_name(character) || character.is_ascii_digit() || matches!(character, '-' | '.' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        let cases = [
            ("order", "order"),
            ("soap:Body", "soap:Body"),
            ("2fast", "_2fast"),
            ("a b/c", "a_b_c"),
            ("", "_"),
            ("-a", "_-a"),
            (":", "_:"),
            ("größe", "größe"),
            ("<a>", "_a_"),
        ];
        for (member, expected) in cases {
            assert_eq!(name(member), expected, "{member}");
        }
    }

    #[test]
    fn texts_come_back_as_they_were() {
        let text = "a<b>&\"c\" \t\r\n]]> é\u{1F600}";
        let escaped = escape(text).unwrap();
        assert_eq!(quick_xml::escape::unescape(&escaped).unwrap(), text);
        assert!(!escaped.contains("]]>"));
        assert_eq!(
            escape("a\u{0}").unwrap_err().to_string(),
            "XML has no character U+0000"
        );
    }
}
