//! Lets through the events whose payload a JMESPath expression is true of, and makes the result of another expression
//! the payload. <https://jmespath.org/specification.html>
//!
//! JMESPath and not JSONPath: it compares, calls functions and builds new objects, so one language both filters and
//! reshapes; a JSONPath only finds the places in a payload.

use hookmill_plugin::{Error, Event, Outcome, Result};
use jmespath::{Expression, JmespathError, Variable};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The expressions, of which one is needed at least. Both see the payload.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// An event goes on if this is true of it: neither false nor null nor an empty text, array or object.
    /// `` total > `100` && contains(['eur', 'usd'], currency) ``
    filter: Option<String>,
    /// What goes on instead of the payload; an event for which it is null is dropped.
    /// `{id: id, skus: items[].sku}`
    select: Option<String>,
}

/// Lets through events that a JMESPath expression is true of, and reshapes them by another.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    if config.filter.is_none() && config.select.is_none() {
        return Err(Error::new("neither filter nor select is given"));
    }
    // Before the payload: a mistake in the config is named whatever the event.
    let filter = config
        .filter
        .as_deref()
        .map(|text| compile("filter", text))
        .transpose()?;
    let select = config
        .select
        .as_deref()
        .map(|text| compile("select", text))
        .transpose()?;
    let payload: Value = event.json()?;
    let payload = Variable::try_from(payload)?;

    if let Some(filter) = filter {
        let verdict = filter
            .search(&payload)
            .map_err(|error| named("filter", &error))?;
        if !verdict.is_truthy() {
            return Ok(Outcome::drop(format!(
                "not true of the event: {}",
                filter.as_str()
            )));
        }
    }
    let Some(select) = select else {
        return Ok(Outcome::pass());
    };
    let selected = select
        .search(&payload)
        .map_err(|error| named("select", &error))?;
    if selected.is_null() {
        return Ok(Outcome::drop(format!(
            "null for the event: {}",
            select.as_str()
        )));
    }
    let json = serde_json::to_vec(&*selected)?;
    Ok(event
        .request()
        .content_type("application/json")
        .payload(json)
        .into())
}

fn compile(place: &str, text: &str) -> Result<Expression<'static>> {
    jmespath::compile(text).map_err(|error| named(place, &error))
}

/// The error on one line; the crate's own text draws the expression below it.
fn named(place: &str, error: &JmespathError) -> Error {
    Error::new(format!(
        "{place}: {} at character {}",
        error.reason, error.offset
    ))
}

#[cfg(test)]
mod tests;
