//! Makes a CloudEvent 1.0 of an event, for receivers that take those (Knative, Azure Event Grid, brokers): in structured
//! mode one JSON object around the payload, in binary mode the payload as it is with `ce-…` headers.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>

use std::collections::BTreeMap;

use hookmill_plugin::{Error, Event, Outcome, Result};
use hookmill_plugin_fields::{Template, Values, as_it_is};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::attributes::{Attributes, is_name};

mod attributes;
mod mode;

/// The attributes. In every text `{{…}}` stands for a value: a dotted path (`{{order.id}}`) or a JSON pointer into the
/// payload, or `{{@type}}`, `{{@id}}`, `{{@application}}` of the event. `id` is the message's, `time` that of its
/// acceptance, `datacontenttype` the payload's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Where the attributes go.
    mode: Mode,
    /// Where the event comes from, a URI reference.
    source: String,
    /// The kind of event.
    #[serde(rename = "type")]
    kind: String,
    /// What the event is about; left out where it is empty.
    subject: Option<String>,
    /// The URI of the payload's schema.
    #[serde(rename = "dataSchema")]
    data_schema: Option<String>,
    /// Further attributes, named in lower-case letters and digits. What is empty is left out.
    extensions: BTreeMap<String, String>,
}

/// Where the attributes go.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Around the payload, in one JSON object.
    #[default]
    Structured,
    /// Into headers.
    Binary,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            source: "/applications/{{@application}}".to_owned(),
            kind: "{{@type}}".to_owned(),
            subject: None,
            data_schema: None,
            extensions: BTreeMap::new(),
        }
    }
}

/// Makes a CloudEvent of an event.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    if let Some(name) = config.extensions.keys().find(|name| !is_name(name)) {
        return Err(Error::new(format!(
            "extensions: \"{name}\" is no name of an extension: lower-case letters and digits, and none of the standard's"
        )));
    }
    // A payload that is no JSON has no values, and can be wrapped all the same.
    let payload: Value = event.json().unwrap_or_default();
    let values = Values {
        event,
        payload: &payload,
        missing: "",
    };
    let text = |place: &str, template: &str| -> Result<String> {
        Ok(Template::at(place, template)?.render(&values, as_it_is))
    };

    let mut attributes = Attributes::of(event)?;
    for (name, template) in [("source", &config.source), ("type", &config.kind)] {
        let value = text(name, template)?;
        if value.is_empty() {
            return Ok(Outcome::reject(format!("{name} is empty")));
        }
        attributes.set(name, value);
    }
    let optional = [
        ("subject", &config.subject),
        ("dataschema", &config.data_schema),
    ];
    let optional = optional
        .into_iter()
        .filter_map(|(name, template)| Some((name, template.as_ref()?)));
    let extensions = config
        .extensions
        .iter()
        .map(|(name, template)| (name.as_str(), template));
    for (name, template) in optional.chain(extensions) {
        let value = text(name, template)?;
        if !value.is_empty() {
            attributes.set(name, value);
        }
    }
    Ok(match config.mode {
        Mode::Structured => mode::structured(event, attributes)?,
        Mode::Binary => mode::binary(event, attributes),
    }
    .into())
}

#[cfg(test)]
mod tests;
