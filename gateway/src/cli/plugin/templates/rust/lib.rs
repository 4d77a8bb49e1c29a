//! Sends on chosen fields of a payload, and drops events that have none of them.

use hookmill_plugin::{Event, Outcome, Request, Result, info};
use serde_json::{Map, Value};

/// What a chain configures. The gateway refuses one that does not fit.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The fields that go on.
    keep: Vec<String>,
}

/// Sends on the fields that its config names.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    let mut payload: Map<String, Value> = event.json()?;
    let before = payload.len();
    payload.retain(|field, _| config.keep.contains(field));
    if payload.is_empty() {
        return Ok(Outcome::drop("none of the fields is there"));
    }
    info!("{} of {before} fields go on", payload.len());
    Ok(Outcome::deliver(Request::json(&payload)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookmill_plugin::testing::{event, run};
    use serde_json::json;

    #[test]
    fn an_event_without_the_fields_is_dropped() {
        let event = event("order.placed").json(&json!({ "note": "call first" }));
        let run = run(Plugin, event, json!({ "keep": ["id", "total"] }));
        assert_eq!(run.dropped(), "none of the fields is there");
    }
}
