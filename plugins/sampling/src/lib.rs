//! Lets through a share of the events and drops the rest, for receivers that want a sample: a staging system, a dashboard.
//! Whether an event belongs to the sample follows from a hash alone, so every try of a delivery decides alike, and a larger
//! share holds all that a smaller one held. By default the hash is of the message's id; of a field it keeps together
//! what belongs together, such as all events of one user.

use std::borrow::Cow;

use hookmill_plugin::{Error, Event, Outcome, Result};
use hookmill_plugin_fields::Values;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The share, and what it is a share of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How many of a hundred events go on, 0 to 100; fractions are heeded.
    #[schemars(range(min = 0, max = 100))]
    percent: f64,
    /// The field whose value decides instead of the message's id: a dotted path (`user.id`) or a JSON pointer (`/user/id`)
    /// into the payload. Events without it are dropped.
    #[serde(default)]
    by: Option<String>,
    /// Makes the sample another one than that of a chain with another seed.
    #[serde(default)]
    seed: String,
}

/// Lets through a steady share of the events.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    if !(0.0..=100.0).contains(&config.percent) {
        return Err(Error::new("percent: a number from 0 to 100 is needed"));
    }
    let payload: Value;
    let key: Cow<'_, str> = match &config.by {
        None => event.id.as_str().into(),
        Some(name) => {
            payload = event.json()?;
            let values = Values {
                event,
                payload: &payload,
                missing: "",
            };
            let value = values.get(name).into_owned();
            if value.is_empty() {
                return Ok(Outcome::drop(format!("the event has no {name}")));
            }
            value.into()
        }
    };
    Ok(if place(&config.seed, &key) < config.percent {
        Outcome::pass()
    } else {
        Outcome::drop(format!("not among the {} %", config.percent))
    })
}

/// Where the key lies between 0 (included) and 100 (not included): the first 53 bits of SHA-256 over the seed, a zero byte
/// and the key. A float holds so many bits exactly.
fn place(seed: &str, key: &str) -> f64 {
    let mut sha = Sha256::new();
    sha.update(seed);
    sha.update([0]);
    sha.update(key);
    let first = sha
        .finalize()
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    let bits = first >> (u64::BITS - f64::MANTISSA_DIGITS);
    bits as f64 * 100.0 / 2f64.powi(f64::MANTISSA_DIGITS as i32)
}

#[cfg(test)]
mod tests;
