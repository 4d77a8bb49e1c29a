//! Whether JSON text is written as JavaScript would write it, so far as one look at each byte can tell.

/// Digits that every double holds.
const DIGITS: usize = 15;

/// Whether reading this JSON and writing it again gives the same bytes. `false` may be wrong, and then costs time; of
/// names that come twice in an object nothing is known.
pub(crate) fn is_canonical(json: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        at = match byte {
            b'"' => match text_end(json, at + 1) {
                Some(end) => end,
                None => return false,
            },
            b'-' | b'0'..=b'9' => match number_end(json, at) {
                Some(end) => end,
                None => return false,
            },
            b' ' | b'\n' | b'\r' | b'\t' => return false,
            _ => at + 1,
        };
    }
    true
}

/// Behind a text that holds no escape, and is no name that looks like an index: those come first in an object.
fn text_end(json: &[u8], start: usize) -> Option<usize> {
    let length = json
        .get(start..)?
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\'))?;
    let end = start + length;
    let index = json[start].is_ascii_digit() && json.get(end + 1) == Some(&b':');
    (json[end] == b'"' && !index).then_some(end + 1)
}

/// Behind a number in its shortest form, without an exponent and not so small that it would get one.
fn number_end(json: &[u8], start: usize) -> Option<usize> {
    let rest = &json[start..];
    let is_part =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let length = rest
        .iter()
        .position(|byte| !is_part(byte))
        .unwrap_or(rest.len());
    let number = &rest[..length];
    let digits = number.iter().filter(|byte| byte.is_ascii_digit()).count();
    let shortest = match number.iter().position(|byte| *byte == b'.') {
        // 0.000001 is the last one without an exponent.
        Some(point) => number.len() - point <= 7 && number.last() != Some(&b'0'),
        None => true,
    };
    let plain = !number.iter().any(|byte| matches!(byte, b'e' | b'E')) && number != b"-0";
    (digits <= DIGITS && shortest && plain).then_some(start + length)
}

#[cfg(test)]
mod tests {
    use super::is_canonical;

    #[test]
    fn what_javascript_would_write_otherwise_is_told() {
        for json in [
            r#"{"a":1,"b":[true,null,-5,12.5,0.25],"c":{"d":"ä","e f":""}}"#,
            r#""1""#,
            r#"{"a":"1","b":"2 3"}"#,
            "0",
            "0.000001",
        ] {
            assert!(is_canonical(json.as_bytes()), "{json}");
        }
        for json in [
            r#"{"a": 1}"#,
            r#"{"2":1,"1":2}"#,
            r#""\u00e4""#,
            "[1,2]\n",
            "1.0",
            "1e3",
            "-0",
            "0.0000001",
            "12345678901234567890",
        ] {
            assert!(!is_canonical(json.as_bytes()), "{json}");
        }
    }
}
