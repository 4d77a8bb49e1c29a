//! Lets through the readings of a device that are out of their limits and drops the rest, so that a receiver is called
//! when something is wrong and not every minute. What goes on is a short alert, or the event as it came.

use hookmill_plugin::{Error, Event, Outcome, Request, Result};
use hookmill_plugin_fields::find;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The limits, and what is sent when one is broken.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The limits; one that is broken is enough.
    #[schemars(length(min = 1))]
    limits: Vec<Limit>,
    /// The field that names the device in an alert: a dotted path (`end_device_ids.device_id`) or a JSON pointer.
    #[serde(default)]
    device: Option<String>,
    /// What is sent.
    #[serde(default)]
    send: Send,
    /// Whether a payload that has none of the fields fails; otherwise it is dropped like a reading within its limits.
    #[serde(default)]
    required: bool,
}

/// The limits of one field. A value on a limit keeps it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// The reading: a dotted path (`uplink_message.decoded_payload.temperature`) or a JSON pointer. A number, or a text
    /// that is one.
    field: String,
    /// Broken by what is greater.
    #[serde(default)]
    max: Option<f64>,
    /// Broken by what is less.
    #[serde(default)]
    min: Option<f64>,
    /// Goes into the alert.
    #[serde(default)]
    severity: Option<String>,
}

/// What is sent for a reading out of its limits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Send {
    /// The alert: device, time and each limit that was broken.
    #[default]
    Alert,
    /// The event as it came.
    Event,
}

#[derive(Serialize)]
struct Alert<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a Value>,
    event: &'a str,
    #[serde(rename = "timestampMs")]
    timestamp_ms: u64,
    broken: Vec<Broken<'a>>,
}

#[derive(Serialize)]
struct Broken<'a> {
    field: &'a str,
    value: &'a Value,
    /// `max` or `min`.
    limit: &'static str,
    #[serde(rename = "limitValue")]
    limit_value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'a str>,
}

/// Lets through readings of devices that are out of their limits.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    if let Some(limit) = config.limits.iter().find(|limit| limit.is_none()) {
        return Err(Error::new(format!(
            "limits: {} has neither max nor min",
            limit.field
        )));
    }
    let payload: Value = event.json()?;
    let mut broken = Vec::new();
    let mut read = 0;
    for limit in &config.limits {
        let Some(value) = find(&payload, &limit.field).filter(|value| !value.is_null()) else {
            continue;
        };
        let number = number(value)
            .ok_or_else(|| Error::new(format!("{}: {value} is no number", limit.field)))?;
        read += 1;
        broken.extend(limit.judge(value, number));
    }
    if read == 0 && config.required {
        return Err(Error::new("the payload has none of the fields"));
    }
    if broken.is_empty() {
        return Ok(Outcome::drop(match read {
            0 => "no reading",
            _ => "within the limits",
        }));
    }
    if config.send == Send::Event {
        return Ok(Outcome::pass());
    }
    let alert = Alert {
        device: config.device.as_ref().and_then(|name| find(&payload, name)),
        event: &event.event_type,
        timestamp_ms: event.timestamp_ms,
        broken,
    };
    Ok(Request::json(&alert)?.into())
}

impl Limit {
    fn is_none(&self) -> bool {
        self.max.is_none() && self.min.is_none()
    }

    fn judge<'a>(&'a self, value: &'a Value, number: f64) -> Option<Broken<'a>> {
        let above = self.max.filter(|max| number > *max).map(|max| ("max", max));
        let below = self.min.filter(|min| number < *min).map(|min| ("min", min));
        let (limit, limit_value) = above.or(below)?;
        Some(Broken {
            field: &self.field,
            value,
            limit,
            limit_value,
            severity: self.severity.as_deref(),
        })
    }
}

/// A reading as a number. Devices that send text are many; what is no finite number is none.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests;
