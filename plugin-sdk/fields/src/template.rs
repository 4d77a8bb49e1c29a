//! A text with places for values: `{{…}}`. Nothing else is special; a text without a place is itself.

use std::fmt;

use hookmill_plugin::{Error, Result};
use serde_json::Value;

use crate::Values;

/// A template that is well formed.
#[derive(Debug)]
pub struct Template<'t>(Vec<Part<'t>>);

#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    Value(&'t str),
}

/// The escape of a place where values need none: addresses and identifiers.
pub fn as_it_is(value: &str, text: &mut String) {
    text.push_str(value);
}

/// Renders every text inside a JSON value as a template; member names stay as they are.
///
/// # Errors
/// When one of the texts is no template.
pub fn render_all(
    value: &Value,
    values: &Values<'_>,
    escape: fn(&str, &mut String),
) -> Result<Value> {
    Ok(match value {
        Value::String(text) => Value::String(Template::parse(text)?.render(values, escape)),
        Value::Array(items) => {
            let items = items.iter().map(|item| render_all(item, values, escape));
            Value::Array(items.collect::<Result<_>>()?)
        }
        Value::Object(members) => {
            let render = |(key, value): (&String, &Value)| {
                Ok((key.clone(), render_all(value, values, escape)?))
            };
            Value::Object(members.iter().map(render).collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

/// Why a text is no template; with the offset of the place in bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// Braces that open and do not close.
    Unclosed(usize),
    /// Braces with no name between them.
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
    /// Reads the template at this place of a config.
    ///
    /// # Errors
    /// When a place in it is broken; with the place in the config.
    pub fn at(place: &str, text: &'t str) -> Result<Self> {
        Self::parse(text).map_err(|error| Error::from(error).context(place))
    }

    /// Reads a template.
    ///
    /// # Errors
    /// When a place in it is broken.
    pub fn parse(text: &'t str) -> Result<Self, TemplateError> {
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

    /// The text with the values in it. `escape` appends a value as it has to be written there; the text of the template
    /// itself is the author's, markup included.
    pub fn render(&self, values: &Values<'_>, escape: fn(&str, &mut String)) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value(name) => escape(&values.get(name), &mut text),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use hookmill_plugin::testing::event;
    use serde_json::json;

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

    #[test]
    fn every_text_of_a_value_is_a_template() {
        let event = event("a").build();
        let payload = json!({"b": "<c>"});
        let values = Values {
            event: &event,
            payload: &payload,
            missing: "-",
        };
        let shout = |value: &str, text: &mut String| text.push_str(&value.to_uppercase());
        let template = json!({"{{b}}": ["{{b}}", 1, null, {"d": "{{e}} {{b}}!"}]});
        assert_eq!(
            render_all(&template, &values, shout).unwrap(),
            json!({"{{b}}": ["<C>", 1, null, {"d": "- <C>!"}]})
        );
        assert!(render_all(&json!([{"a": "{{b"}]), &values, as_it_is).is_err());
    }
}
