//! Removes, masks or hashes parts of a JSON payload before it goes on. What is not touched stays as it was, byte for
//! byte: order of members, spelling of numbers, doubled keys. It fails closed: a payload that is not JSON is an error.

use hookmill_plugin::{Error, Event, Outcome, Result, Transformer, debug};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::edit::{Editor, Rewritten};
use crate::pointer::Pointer;
use crate::rules::{Action, Rules};

mod edit;
mod pointer;
mod rules;

/// What to hide. Each list holds JSON pointers (RFC 6901), in which a segment `*` stands for every member or item.
/// Of several that meet in one place, removing wins over masking, and masking over hashing.
// No `Debug`: the salt.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Members and items that are taken out.
    remove: Vec<Pointer>,
    /// Values that are replaced by `maskWith`.
    mask: Vec<Pointer>,
    /// Values that are replaced by their SHA-256, in hex: equal values stay recognisably equal. Of a string its
    /// characters are hashed, of any other value its JSON text.
    hash: Vec<Pointer>,
    /// Stands for every masked value.
    #[serde(rename = "maskWith")]
    mask_with: String,
    /// Hashed before each value, so that short values can not be found by trying. Who may read the chain can read it.
    salt: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            remove: Vec::new(),
            mask: Vec::new(),
            hash: Vec::new(),
            mask_with: "[redacted]".to_owned(),
            salt: String::new(),
        }
    }
}

/// Removes, masks or hashes parts of a JSON payload.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    if config.remove.iter().any(Pointer::is_root) {
        return Err(Error::new(
            "remove: \"\" is the whole payload; drop the event instead",
        ));
    }
    let mut rules = Rules::default();
    for (action, pointers) in [
        (Action::Hash, &config.hash),
        (Action::Mask, &config.mask),
        (Action::Remove, &config.remove),
    ] {
        for pointer in pointers {
            rules.add(pointer.segments(), action);
        }
    }

    let payload: &RawValue = event.json()?;
    let mask = serde_json::to_string(&config.mask_with)?;
    let hash = |value: &RawValue| hash(&config.salt, value);
    let editor = Editor {
        mask: &mask,
        hash: &hash,
    };
    Ok(match editor.rewrite(payload, &rules)? {
        Rewritten::Unchanged => Outcome::pass(),
        Rewritten::Changed { json, places } => {
            debug!("{places} places hidden");
            event.request().payload(json).into()
        }
    })
}

/// One call natively, as the gateway makes it in the sandbox: what such a call is measured against.
pub fn call(event: &Event, config_json: &str) -> Result<Outcome> {
    <Plugin as Transformer>::call(event, config_json)
}

/// The hash of a value, as a JSON string.
fn hash(salt: &str, value: &RawValue) -> Result<String> {
    let json = value.get();
    let mut sha = Sha256::new();
    sha.update(salt);
    if json.starts_with('"') {
        sha.update(serde_json::from_str::<String>(json)?);
    } else {
        sha.update(json);
    }
    Ok(format!("\"{}\"", hex::encode(sha.finalize())))
}

#[cfg(test)]
mod tests;
