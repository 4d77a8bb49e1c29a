//! Turns an event with a JSON payload into one of PagerDuty's Events API v2: it triggers an alert, acknowledges it or
//! resolves it. Events that carry the same key are about the same alert.
//! <https://developer.pagerduty.com/docs/events-api-v2-overview>

use hookmill_plugin::{Error, Event, Outcome, Request, Result};
use hookmill_plugin_fields::{Template, Values, as_it_is, find};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::alert::{Action, Alert, Details, Link, Severity};
use crate::choice::Choice;

mod alert;
mod choice;

/// The alert. In every text `{{…}}` stands for a value: a dotted path (`{{alert.name}}`) or a JSON pointer
/// (`{{/alerts/0/name}}`) into the payload, or `{{@type}}`, `{{@id}}`, `{{@application}}` of the event.
// No `Debug`: the key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The integration key of the service. Who may read the chain can read it.
    #[serde(rename = "routingKey")]
    #[schemars(length(min = 1))]
    routing_key: String,
    /// What identifies the alert over all its events, at most 255 characters.
    #[serde(rename = "dedupKey")]
    #[schemars(length(min = 1))]
    dedup_key: String,
    /// What is wrong, in a line.
    #[schemars(length(min = 1))]
    summary: String,
    /// What it is wrong with: a host, a service.
    #[schemars(length(min = 1))]
    source: String,
    /// What the event does, by the value of a field; an event whose value is not listed does `otherwise`.
    #[serde(default = "trigger")]
    action: Choice<Action>,
    /// How bad it is, by the value of a field.
    #[serde(default = "error")]
    severity: Choice<Severity>,
    /// The part of the source that is responsible.
    #[serde(default)]
    component: Option<String>,
    /// A group of sources.
    #[serde(default)]
    group: Option<String>,
    /// The kind of event.
    #[serde(default)]
    class: Option<String>,
    /// A page to open. Without an address of http or https there is none.
    #[serde(default)]
    link: Option<String>,
    /// The fields to send along, by their names there. Left out, the whole payload goes along.
    #[serde(default)]
    details: Option<std::collections::BTreeMap<String, String>>,
}

fn trigger() -> Choice<Action> {
    Choice::always(Action::Trigger)
}

fn error() -> Choice<Severity> {
    Choice::always(Severity::Error)
}

/// Turns an event into an alert for PagerDuty.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    let payload: Value = event.json()?;
    let values = Values {
        event,
        payload: &payload,
        missing: "",
    };
    let text = |place: &str, template: &str| -> Result<String> {
        Ok(Template::at(place, template)?
            .render(&values, as_it_is)
            .trim()
            .to_owned())
    };

    let action = match config.action.of(&values) {
        Action::Ignore => return Ok(Outcome::drop("the event is to be ignored")),
        action => action,
    };
    let key = text("dedupKey", &config.dedup_key)?;
    if key.is_empty() {
        // Without one PagerDuty makes a new alert of each event, and none is ever resolved.
        return Ok(Outcome::reject("dedupKey is empty"));
    }
    let mut alert = Alert::new(&config.routing_key, action, &key);
    if action == Action::Trigger {
        let optional = |place, template: &Option<String>| {
            let text = template
                .as_deref()
                .map(|template| text(place, template))
                .transpose()?;
            Ok::<_, Error>(text.filter(|text| !text.is_empty()))
        };
        let summary = text("summary", &config.summary)?;
        let source = text("source", &config.source)?;
        alert.trigger(Details {
            // PagerDuty refuses an alert without one.
            summary: if summary.is_empty() {
                event.event_type.clone()
            } else {
                summary
            },
            source: if source.is_empty() {
                event.application_id.clone()
            } else {
                source
            },
            severity: config.severity.of(&values),
            timestamp_ms: event.timestamp_ms,
            component: optional("component", &config.component)?,
            group: optional("group", &config.group)?,
            class: optional("class", &config.class)?,
            custom_details: details(&payload, config),
        })?;
        alert.links = optional("link", &config.link)?
            .and_then(Link::to)
            .into_iter()
            .collect();
    }
    Ok(Request::json(&alert)?.into())
}

fn details(payload: &Value, config: &Config) -> Value {
    match &config.details {
        None => payload.clone(),
        Some(fields) => {
            let member = |(name, field): (&String, &String)| {
                Some((name.clone(), find(payload, field)?.clone()))
            };
            Value::Object(fields.iter().filter_map(member).collect())
        }
    }
}

#[cfg(test)]
mod tests;
