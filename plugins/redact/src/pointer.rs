//! A JSON pointer (RFC 6901), read once.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A pointer that is well formed. The root is the pointer without segments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pointer(Vec<String>);

/// Why a text is no pointer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PointerError {
    NoSlash(String),
    Escape(String),
}

impl std::error::Error for PointerError {}

impl std::fmt::Display for PointerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSlash(text) => write!(
                f,
                "\"{text}\" is no JSON pointer: it has to begin with \"/\""
            ),
            Self::Escape(text) => write!(
                f,
                "\"{text}\" is no JSON pointer: after \"~\" comes \"0\" or \"1\""
            ),
        }
    }
}

impl Pointer {
    pub(crate) fn segments(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for Pointer {
    type Error = PointerError;

    fn try_from(text: String) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(PointerError::NoSlash(text));
        };
        let segments: Option<Vec<String>> = rest.split('/').map(unescape).collect();
        segments.map(Self).ok_or(PointerError::Escape(text))
    }
}

fn unescape(segment: &str) -> Option<String> {
    let mut pieces = segment.split('~');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let (escaped, rest) = match piece.as_bytes().first()? {
            b'0' => ('~', &piece[1..]),
            b'1' => ('/', &piece[1..]),
            _ => return None,
        };
        text.push(escaped);
        text.push_str(rest);
    }
    Some(text)
}

impl JsonSchema for Pointer {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pointer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(/([^~/]|~[01])*)*$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_unescaped() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("/", &[""]),
            ("/a/0", &["a", "0"]),
            ("/a~1b/c~0d", &["a/b", "c~d"]),
            ("/~01", &["~1"]),
            ("//é", &["", "é"]),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Pointer::try_from(text.to_owned()).unwrap().segments(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        let parse = |text: &str| Pointer::try_from(text.to_owned()).unwrap_err();
        assert_eq!(parse("a/b"), PointerError::NoSlash("a/b".into()));
        assert_eq!(parse("/a~"), PointerError::Escape("/a~".into()));
        assert_eq!(parse("/~2"), PointerError::Escape("/~2".into()));
    }
}
