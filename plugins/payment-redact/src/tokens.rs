//! Rewrites the strings and numbers of a JSON text and copies everything between them.

use hookmill_plugin::{Error, Result};

/// Calls `replace` with each string (names of members too) and each number, and puts in what it returns; a replaced number
/// becomes a string. The text and how many were replaced, unless none was. `json` has to be well formed.
pub(crate) fn rewrite(
    json: &str,
    replace: impl Fn(&str) -> Option<String>,
) -> Result<Option<(String, usize)>> {
    let mut out = String::with_capacity(json.len());
    let mut places = 0;
    let mut copied = 0;
    let mut at = 0;
    let bytes = json.as_bytes();
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'"' => string_end(bytes, at),
            b'-' | b'0'..=b'9' => number_end(bytes, at),
            _ => {
                at += 1;
                continue;
            }
        };
        let token = json
            .get(at..end)
            .ok_or_else(|| Error::new("the payload is cut off"))?;
        let replaced = if token.starts_with('"') {
            replace(&serde_json::from_str::<String>(token)?)
        } else {
            replace(token)
        };
        if let Some(text) = replaced {
            out.push_str(&json[copied..at]);
            out.push_str(&serde_json::to_string(&text)?);
            copied = end;
            places += 1;
        }
        at = end;
    }
    out.push_str(&json[copied..]);
    Ok((places > 0).then_some((out, places)))
}

/// The end of the string that begins here.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let in_number = |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
    let length = bytes[start..].iter().take_while(|b| in_number(b)).count();
    start + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_names_and_numbers_are_offered_and_the_rest_copied() {
        let json = r#" {"a\"b": [1.0 , -2e3,true,null, "\u0041\\"], "" : "x"}"#;
        let seen = std::cell::RefCell::new(Vec::new());
        let none = rewrite(json, |text| {
            seen.borrow_mut().push(text.to_owned());
            None
        });
        assert_eq!(none.unwrap(), None);
        assert_eq!(seen.into_inner(), ["a\"b", "1.0", "-2e3", "A\\", "", "x"]);

        let (out, places) = rewrite(json, |text| (text != "x").then(|| "ü\"".to_owned()))
            .unwrap()
            .unwrap();
        assert_eq!(
            out,
            r#" {"ü\"": ["ü\"" , "ü\"",true,null, "ü\""], "ü\"" : "x"}"#
        );
        assert_eq!(places, 5);
    }
}
