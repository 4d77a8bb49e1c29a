//! Renames, copies, makes and removes fields of a JSON payload. New values come from templates in the language of Jinja,
//! by the crate `minijinja`: `{{ customer.name | upper }}`, `{% if total > 100 %}big{% endif %}`.
//! <https://docs.rs/minijinja/latest/minijinja/syntax/>

use std::collections::BTreeMap;

use hookmill_plugin::{Error, Event, Outcome, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::place::{remove, set};
use crate::templates::Templates;

mod place;
mod templates;

/// The changes, made in the order of this list. A field is named by a dotted path (`customer.name`) or a JSON pointer
/// (`/customer/name`); on the way to a new one, objects are made as needed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Copies, by the field that is copied; what is missing is not copied.
    copy: BTreeMap<String, String>,
    /// New names, by the field that is moved; what is missing is not moved.
    rename: BTreeMap<String, String>,
    /// Texts, by the field that gets them. Templates see the payload as it came, and the event as `event` (`type`, `id`,
    /// `application`, `timestampMs`). What is missing is an empty text, unless `strict`.
    set: BTreeMap<String, String>,
    /// As `set`, for templates that give JSON: `{{ total / 100 }}`, `{{ tags | tojson }}`.
    #[serde(rename = "setJson")]
    set_json: BTreeMap<String, String>,
    /// Fields to take out.
    remove: Vec<String>,
    /// Fields to keep; if any are named, all others are taken out at the end.
    keep: Vec<String>,
    /// Whether a template that uses what is missing fails.
    strict: bool,
}

/// Renames, copies, makes and removes fields of a JSON payload.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    let came: Value = event.json()?;
    if !came.is_object() {
        return Err(Error::new(
            "the payload is no JSON object, so it has no fields",
        ));
    }
    let mut payload = came.clone();
    for (from, to) in &config.copy {
        if let Some(value) = hookmill_plugin_fields::find(&payload, from).cloned() {
            place(&mut payload, "copy", to, value)?;
        }
    }
    for (from, to) in &config.rename {
        if let Some(value) = remove(&mut payload, from) {
            place(&mut payload, "rename", to, value)?;
        }
    }
    let templates = Templates::new(event, &came, config.strict);
    for (to, template) in &config.set {
        let text = templates
            .render(template)
            .map_err(|error| error.context(format!("set/{to}")))?;
        place(&mut payload, "set", to, text.into())?;
    }
    for (to, template) in &config.set_json {
        let value = templates
            .render(template)
            .and_then(|text| Ok(serde_json::from_str(&text)?))
            .map_err(|error| error.context(format!("setJson/{to}")))?;
        place(&mut payload, "setJson", to, value)?;
    }
    for field in &config.remove {
        remove(&mut payload, field);
    }
    if !config.keep.is_empty() {
        let mut kept = Value::Object(serde_json::Map::new());
        for field in &config.keep {
            if let Some(value) = hookmill_plugin_fields::find(&payload, field) {
                place(&mut kept, "keep", field, value.clone())?;
            }
        }
        payload = kept;
    }
    let json = serde_json::to_vec(&payload)?;
    Ok(event
        .request()
        .content_type("application/json")
        .payload(json)
        .into())
}

fn place(payload: &mut Value, what: &str, field: &str, value: Value) -> Result<()> {
    set(payload, field, value).map_err(|error| Error::from(error).context(what))
}

#[cfg(test)]
mod tests;
