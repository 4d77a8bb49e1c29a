//! What a place in a template stands for.

use std::borrow::Cow;

use hookmill_plugin::Event;
use serde_json::Value;

/// Where values come from.
pub(crate) struct Values<'a> {
    pub(crate) event: &'a Event,
    pub(crate) payload: &'a Value,
    /// Instead of what is missing, null or an empty text.
    pub(crate) missing: &'a str,
}

impl Values<'_> {
    /// The value of that name as text. Objects and arrays are their JSON.
    pub(crate) fn get(&self, name: &str) -> Cow<'_, str> {
        let text: Cow<'_, str> = if let Some(name) = name.strip_prefix('@') {
            self.of_event(name).into()
        } else {
            match self.in_payload(name) {
                None | Some(Value::Null) => "".into(),
                Some(Value::String(text)) => text.into(),
                Some(other) => other.to_string().into(),
            }
        };
        if text.is_empty() {
            self.missing.into()
        } else {
            text
        }
    }

    fn of_event(&self, name: &str) -> &str {
        match name {
            "type" => &self.event.event_type,
            "id" => &self.event.id,
            "application" => self
                .event
                .application_uid
                .as_ref()
                .unwrap_or(&self.event.application_id),
            _ => "",
        }
    }

    fn in_payload(&self, name: &str) -> Option<&Value> {
        if name.starts_with('/') {
            return self.payload.pointer(name);
        }
        name.split('.')
            .try_fold(self.payload, |value, key| match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                other => other.get(key),
            })
    }
}
