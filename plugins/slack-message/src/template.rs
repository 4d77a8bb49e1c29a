//! A text with places for values: `{{…}}`. Nothing else is special; a text without a place is itself.

use std::fmt;

use crate::limits;
use crate::values::Values;

/// A template that is well formed.
#[derive(Debug)]
pub(crate) struct Template<'t>(Vec<Part<'t>>);

#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    Value(&'t str),
}

/// How a value is put into the text around it. The text of the template itself is the author's, markup included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// As Slack asks for text: no value can make a link or a mention.
    Slack,
    /// As it is, for addresses and identifiers.
    Nothing,
}

/// Why a text is no template; with the offset of the place in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    Unclosed(usize),
    Empty(usize),
}

impl std::error::Error for TemplateError {}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed(at) => write!(f, "the \"{{{{\" at byte {at} is not closed by \"}}}}\""),
            Self::Empty(at) => write!(f, "the \"{{{{\" at byte {at} names no value"),
        }
    }
}

impl<'t> Template<'t> {
    pub(crate) fn parse(text: &'t str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let at = text.len() - after.len() - "{{".len();
            let (name, after) = after.split_once("}}").ok_or(TemplateError::Unclosed(at))?;
            let name = name.trim();
            if name.is_empty() {
                return Err(TemplateError::Empty(at));
            }
            parts.push(Part::Text(before));
            parts.push(Part::Value(name));
            rest = after;
        }
        parts.push(Part::Text(rest));
        Ok(Self(parts))
    }

    pub(crate) fn render(&self, values: &Values<'_>, escape: Escape) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match (part, escape) {
                (Part::Text(part), _) => text.push_str(part),
                (Part::Value(name), Escape::Slack) => limits::escape(&values.get(name), &mut text),
                (Part::Value(name), Escape::Nothing) => text.push_str(&values.get(name)),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found() {
        let parts = Template::parse("a {{b.c}}{{ /d/0 }}").unwrap().0;
        let (text, value) = (Part::Text, Part::Value);
        assert_eq!(
            parts,
            [text("a "), value("b.c"), text(""), value("/d/0"), text("")]
        );
        assert_eq!(Template::parse("{a} }}").unwrap().0, [Part::Text("{a} }}")]);
    }

    #[test]
    fn broken_places_are_named() {
        assert_eq!(
            Template::parse("é {{a").unwrap_err(),
            TemplateError::Unclosed(3)
        );
        assert_eq!(
            Template::parse("{{a}}{{ }}").unwrap_err(),
            TemplateError::Empty(5)
        );
        assert_eq!(
            TemplateError::Unclosed(3).to_string(),
            "the \"{{\" at byte 3 is not closed by \"}}\""
        );
    }
}
