//! Hides card numbers and IBANs wherever they stand in a JSON payload: in texts, names of members and numbers. The last
//! four characters stay. Everything else stays as it was, byte for byte. It fails closed: a payload that is not JSON is an
//! error. For fields that are known beforehand, such as a card's security code, there is `redact`.

use hookmill_plugin::{Event, Outcome, Result, debug};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

mod card;
mod iban;
mod tokens;

/// What is hidden.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Card numbers: 13 to 19 digits that begin as an issuer's do and whose check digit is right, with spaces, hyphens or
    /// dots between them or without.
    cards: bool,
    /// IBANs of every country in the registry whose check digits are right, with spaces or without.
    ibans: bool,
    /// Stands for each hidden character.
    mask: char,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cards: true,
            ibans: true,
            mask: '*',
        }
    }
}

/// Hides card numbers and IBANs wherever they stand in a JSON payload.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    // The walk below counts on well-formed JSON.
    let payload: &RawValue = event.json()?;
    let hidden = tokens::rewrite(payload.get(), |text| hide(text, config))?;
    Ok(match hidden {
        None => Outcome::pass(),
        Some((json, places)) => {
            debug!("{places} texts and numbers had something to hide");
            event.request().payload(json).into()
        }
    })
}

/// The text with what is to be hidden hidden, if there is anything.
fn hide(text: &str, config: &Config) -> Option<String> {
    let mut found = Vec::new();
    if config.ibans {
        found.extend(iban::find(text));
    }
    if config.cards {
        found.extend(card::find(text));
    }
    if found.is_empty() {
        return None;
    }
    let hidden = |at: usize| found.iter().any(|found: &Found| found.hides(at));
    let mask = |(at, character): (usize, char)| {
        if character.is_ascii_alphanumeric() && hidden(at) {
            config.mask
        } else {
            character
        }
    };
    Some(text.char_indices().map(mask).collect())
}

/// A number in a text, by its bytes there.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// The first that is hidden.
    from: usize,
    /// The first that is not any more.
    to: usize,
}

impl Found {
    fn hides(&self, at: usize) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// How many characters at the end stay.
const SHOWN: usize = 4;

#[cfg(test)]
mod tests;
