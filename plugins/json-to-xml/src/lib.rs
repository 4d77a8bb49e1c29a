//! Turns a JSON payload into XML, for receivers that take nothing else. Order of members and spelling of numbers stay;
//! what `xml-to-json` makes of XML comes back as that XML.

use hookmill_plugin::{Event, Outcome, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::document::Document;

mod document;
mod text;

/// How names and values become elements and attributes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The name of the outermost element. Without one, an object with a single member, which is no array, names it.
    root: Option<String>,
    /// The name of an item that has none: of an array that is the payload itself or lies in an array. A member that is
    /// an array becomes one element an item, each with the member's name.
    item: String,
    /// A member whose name begins with this, and whose value is no object or array, becomes an attribute. Empty: none does.
    #[serde(rename = "attributePrefix")]
    attribute_prefix: String,
    /// The member that becomes the text of its element.
    #[serde(rename = "textName")]
    text_name: String,
    /// Whether the document begins with `<?xml version="1.0" encoding="UTF-8"?>`.
    declaration: bool,
    /// The content type to send: `application/xml`, `text/xml; charset=utf-8`.
    #[serde(rename = "contentType")]
    content_type: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: None,
            item: "item".to_owned(),
            attribute_prefix: "@".to_owned(),
            text_name: "#text".to_owned(),
            declaration: true,
            content_type: "application/xml".to_owned(),
        }
    }
}

/// Turns a JSON payload into XML.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    let payload: &RawValue = event.json()?;
    let xml = Document::new(config, event.payload.len()).write(payload)?;
    let request = event.request();
    Ok(request
        .content_type(&config.content_type)
        .payload(xml)
        .into())
}

#[cfg(test)]
mod tests;
