//! Turns an XML payload into JSON. Elements become members, those of one name an array, attributes members with a
//! prefix; all values are text, and an empty element is null. A document type is refused, so no entity of a sender's own is
//! ever expanded, and depth is bounded.

use hookmill_plugin::{Error, Event, Outcome, Result};
use schemars::JsonSchema;
use serde::Deserialize;

mod document;

/// How elements and attributes become members.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Stands before the name of an attribute.
    #[serde(rename = "attributePrefix")]
    attribute_prefix: String,
    /// The member that holds the text of an element that has attributes or elements too.
    #[serde(rename = "textName")]
    text_name: String,
    /// Elements that are an array even where there is one only, by name.
    lists: Vec<String>,
    /// Whether prefixes of namespaces are left out of names, and their declarations of attributes.
    #[serde(rename = "stripPrefixes")]
    strip_prefixes: bool,
    /// How deep elements may lie in each other.
    #[schemars(range(min = 1, max = 100))]
    depth: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            attribute_prefix: "@".to_owned(),
            text_name: "#text".to_owned(),
            lists: Vec::new(),
            strip_prefixes: false,
            depth: 32,
        }
    }
}

/// Turns an XML payload into JSON.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    if !(1..=100).contains(&config.depth) {
        return Err(Error::new("depth: a number from 1 to 100 is needed"));
    }
    let json = document::read(event.text()?, config)
        .map_err(|error| error.context("the payload is not the XML that this plugin expects"))?;
    let request = event.request();
    Ok(request
        .content_type("application/json")
        .payload(serde_json::to_vec(&json)?)
        .into())
}

#[cfg(test)]
mod tests;
