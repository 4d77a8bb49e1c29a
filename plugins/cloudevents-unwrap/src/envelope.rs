//! A CloudEvent in its JSON format.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookmill_plugin::{Error, Event, Result};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What a header writes in percent: section 3.1.3.2 of the HTTP binding.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The attributes that every CloudEvent has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

#[derive(Debug, Deserialize)]
struct Parts {
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
    #[serde(flatten)]
    attributes: BTreeMap<String, Value>,
}

/// A CloudEvent whose attributes are as they have to be.
#[derive(Debug)]
pub(crate) struct Envelope {
    content_type: Option<String>,
    /// But for the content type.
    attributes: BTreeMap<String, String>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    None,
    Json(Box<RawValue>),
    Base64(String),
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum EnvelopeError {
    /// It is no JSON object.
    Unreadable(Error),
    /// It breaks the specification.
    Invalid(String),
}

impl Envelope {
    pub(crate) fn read(event: &Event) -> Result<Self, EnvelopeError> {
        let invalid = |text: String| EnvelopeError::Invalid(text);
        let parts: Parts = event.json().map_err(EnvelopeError::Unreadable)?;
        let mut attributes = BTreeMap::new();
        for (name, value) in parts.attributes {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(invalid(format!(
                        "the attribute {name} is neither text, number nor boolean"
                    )));
                }
            };
            if !name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            {
                return Err(invalid(format!("\"{name}\" is no name of an attribute")));
            }
            attributes.insert(name, text);
        }
        for name in REQUIRED {
            if attributes.get(name).is_none_or(String::is_empty) {
                return Err(invalid(format!("the CloudEvent has no {name}")));
            }
        }
        if attributes["specversion"] != "1.0" {
            let version = &attributes["specversion"];
            return Err(invalid(format!("CloudEvents {version} are not known")));
        }
        let data = match (parts.data, parts.data_base64) {
            (None, None) => Data::None,
            (Some(data), None) => Data::Json(data),
            (None, Some(base64)) => Data::Base64(base64),
            (Some(_), Some(_)) => return Err(invalid("the CloudEvent has data twice".to_owned())),
        };
        let content_type = attributes.remove("datacontenttype");
        Ok(Self {
            content_type,
            attributes,
            data,
        })
    }

    /// The data's own content type.
    pub(crate) fn content_type(&self) -> &str {
        self.content_type.as_deref().unwrap_or("application/json")
    }

    /// The data as the bytes that it stands for.
    pub(crate) fn data(&self) -> Result<Vec<u8>> {
        Ok(match &self.data {
            Data::None => Vec::new(),
            Data::Base64(base64) => BASE64
                .decode(base64)
                .map_err(|error| Error::from(error).context("data_base64"))?,
            // Of another content type a text is the text itself, not its JSON.
            Data::Json(data) if !is_json(self.content_type()) && data.get().starts_with('"') => {
                serde_json::from_str::<String>(data.get())?.into_bytes()
            }
            Data::Json(data) => data.get().as_bytes().to_vec(),
        })
    }

    /// The attributes as headers hold them, without their prefix.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.attributes.iter().map(|(name, value)| {
            (
                name.as_str(),
                utf8_percent_encode(value, IN_HEADER).to_string(),
            )
        })
    }
}

/// Whether a content type says JSON: RFC 8259, and RFC 6839 for the suffix.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}
