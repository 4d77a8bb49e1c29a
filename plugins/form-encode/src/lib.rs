//! Turns a JSON object into `application/x-www-form-urlencoded`, for receivers that read forms only. Nested values get
//! names in brackets, as PHP, Rails and Stripe read them, or with dots; null is left out.
//! <https://url.spec.whatwg.org/#application/x-www-form-urlencoded>

use form_urlencoded::Serializer;
use hookmill_plugin::{Error, Event, Outcome, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// How nested values are named.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The names of an object's members below the first level.
    nesting: Nesting,
    /// The names of an array's items.
    arrays: Arrays,
    /// What stands for null; left out, nothing is written for it.
    null: Option<String>,
    /// Put the whole payload, as the JSON that it is, into one field of this name; then nothing else is heeded.
    /// GitHub and Slack send their forms so, in `payload`.
    #[serde(rename = "jsonField")]
    json_field: Option<String>,
}

/// How a member of an object in an object is named.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Nesting {
    /// `a[b]`
    #[default]
    Brackets,
    /// `a.b`
    Dots,
}

/// How an item of an array is named.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Arrays {
    /// `a[0]`, or `a.0` with dots
    #[default]
    Indexed,
    /// `a[]`, with either nesting
    Empty,
    /// `a`, once an item
    Repeated,
}

/// Turns a JSON payload into a form.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    let payload: Value = event.json()?;
    let mut form = Serializer::new(String::with_capacity(event.payload.len()));
    if let Some(name) = &config.json_field {
        form.append_pair(name, event.text()?);
    } else {
        let Value::Object(members) = &payload else {
            return Err(Error::new(
                "the payload is no JSON object, so its values have no names",
            ));
        };
        for (name, value) in members {
            append(&mut form, name, value, config);
        }
    }
    let request = event.request();
    Ok(request
        .content_type("application/x-www-form-urlencoded")
        .payload(form.finish())
        .into())
}

fn append(form: &mut Serializer<'_, String>, name: &str, value: &Value, config: &Config) {
    match value {
        Value::Null => {
            if let Some(text) = &config.null {
                form.append_pair(name, text);
            }
        }
        Value::String(text) => {
            form.append_pair(name, text);
        }
        Value::Bool(_) | Value::Number(_) => {
            form.append_pair(name, &value.to_string());
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = match config.arrays {
                    Arrays::Indexed => below(name, &index.to_string(), config.nesting),
                    Arrays::Empty => format!("{name}[]"),
                    Arrays::Repeated => name.to_owned(),
                };
                append(form, &name, item, config);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                append(form, &below(name, key, config.nesting), value, config);
            }
        }
    }
}

fn below(name: &str, key: &str, nesting: Nesting) -> String {
    match nesting {
        Nesting::Brackets => format!("{name}[{key}]"),
        Nesting::Dots => format!("{name}.{key}"),
    }
}

#[cfg(test)]
mod tests;
