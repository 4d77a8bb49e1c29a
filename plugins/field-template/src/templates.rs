//! Templates over an event.

use hookmill_plugin::{Error, Event, Result};
use minijinja::value::{Serde, Value as Context};
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value, json};

pub(crate) struct Templates {
    environment: Environment<'static>,
    context: Context,
}

impl Templates {
    pub(crate) fn new(event: &Event, payload: &Value, strict: bool) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(if strict {
            UndefinedBehavior::Strict
        } else {
            UndefinedBehavior::Chainable
        });
        let own = json!({
            "type": event.event_type,
            "id": event.id,
            "application": event.application_uid.as_ref().unwrap_or(&event.application_id),
            "timestampMs": event.timestamp_ms,
        });
        let mut context: Map<String, Value> = payload.as_object().cloned().unwrap_or_default();
        // The payload's own member of that name is the one that a template means.
        context.entry("event").or_insert(own);
        Self {
            environment,
            context: Serde(context).into(),
        }
    }

    pub(crate) fn render(&self, template: &str) -> Result<String> {
        self.environment
            .render_str(template, &self.context)
            .map_err(|error| {
                // The crate's own text names a file, which there is none.
                let detail = error.detail().map(|detail| format!(": {detail}"));
                Error::new(format!("{}{}", error.kind(), detail.unwrap_or_default()))
            })
    }
}
