//! Makes a flat record, as CRMs and spreadsheets take it, of an order at Shopify or an event at Stripe: who, how much,
//! when. Both give the same fields, so that one receiver serves both.
//! <https://shopify.dev/docs/api/admin-rest/latest/resources/order>, <https://docs.stripe.com/api/events/object>

use std::collections::BTreeMap;

use hookmill_plugin::{Event, Outcome, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

mod money;
mod record;
mod shopify;
mod stripe;

/// The record. Its fields: `provider`, `event`, `recordId`, `customerId`, `email`, `firstName`, `lastName`, `company`, `phone`,
/// `city`, `postalCode`, `country`, `amount` (a decimal text), `currency`, `status`, `number`, `items`, `occurredAt`. What is not
/// known is left out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The receiver's names for the fields; a field without one keeps its own.
    names: BTreeMap<String, String>,
    /// Whether only the fields with a name of the receiver's go along.
    #[serde(rename = "namedOnly")]
    named_only: bool,
    /// Fields that are the same in every record.
    constants: Map<String, Value>,
    /// Whether a record without an e-mail address is dropped.
    #[serde(rename = "emailRequired")]
    email_required: bool,
}

/// Makes a flat customer record of an order at Shopify or an event at Stripe.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    let payload: Value = event.json()?;
    let record = match (stripe::record(&payload), shopify::record(&payload)) {
        (Some(record), _) | (None, Some(record)) => record,
        (None, None) => {
            return Ok(Outcome::reject(
                "neither an order of Shopify nor an event of Stripe",
            ));
        }
    };
    if config.email_required && record.get("email").is_none() {
        return Ok(Outcome::drop("no e-mail address"));
    }
    let mut fields = config.constants.clone();
    fields.insert("event".to_owned(), event.event_type.as_str().into());
    let mut named = Map::new();
    for (field, value) in fields.into_iter().chain(record.into_fields()) {
        match config.names.get(&field) {
            Some(name) => named.insert(name.clone(), value),
            None if config.named_only && !config.constants.contains_key(&field) => None,
            None => named.insert(field, value),
        };
    }
    let json = serde_json::to_vec(&named)?;
    Ok(event
        .request()
        .content_type("application/json")
        .payload(json)
        .into())
}

#[cfg(test)]
mod tests;
