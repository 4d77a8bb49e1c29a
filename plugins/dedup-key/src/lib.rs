//! Sets a header that is equal for events that are equal in chosen fields, so that a receiver knows what it already has:
//! a provider that posts one change twice makes two messages, with two ids, and one key.
//!
//! The key is the SHA-256, in hex, of a JSON array without white space: the event's type if `type` is true, then each
//! field's value in the order of `fields`, with the members of objects sorted by name and null for what is missing.

use hookmill_plugin::{Error, Event, Outcome, Result};
use hookmill_plugin_fields::find;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What makes two events the same, and where the key goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The fields that count: dotted paths (`order.id`) or JSON pointers (`/order/id`) into the payload.
    #[schemars(length(min = 1))]
    fields: Vec<String>,
    /// The header that gets the key, in place of one that is there.
    #[serde(default = "header")]
    header: String,
    /// Whether the event's type counts too.
    #[serde(default = "yes", rename = "type")]
    with_type: bool,
    /// What becomes of an event that has none of the fields. An event that has some of them gets a key.
    #[serde(default)]
    missing: Missing,
}

/// What becomes of an event without any of the fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Missing {
    /// It goes on without a key.
    #[default]
    Pass,
    /// It fails for good.
    Reject,
}

fn header() -> String {
    "x-dedup-key".to_owned()
}

fn yes() -> bool {
    true
}

/// Sets a header by which a receiver knows an event that it already has.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    if config.fields.is_empty() {
        return Err(Error::new("fields: at least one is needed"));
    }
    let payload: Value = event.json()?;
    let found: Vec<Option<&Value>> = config
        .fields
        .iter()
        .map(|name| find(&payload, name))
        .collect();
    if found.iter().all(|value| value.is_none_or(Value::is_null)) {
        let fields = config.fields.join(", ");
        return Ok(match config.missing {
            Missing::Pass => Outcome::pass(),
            Missing::Reject => Outcome::reject(format!("the event has no {fields}")),
        });
    }
    let kind = config
        .with_type
        .then(|| Value::from(event.event_type.as_str()));
    let values = found
        .into_iter()
        .map(|value| value.cloned().unwrap_or_default());
    let key = key(kind.into_iter().chain(values).collect())?;
    Ok(event.request().header(&config.header, key).into())
}

fn key(mut values: Value) -> Result<String> {
    // Sorted already unless some crate in the build has serde_json keep the order of members.
    values.sort_all_objects();
    Ok(hex::encode(Sha256::digest(serde_json::to_vec(&values)?)))
}

#[cfg(test)]
mod tests;
