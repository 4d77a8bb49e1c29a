//! Values by their names.

use std::borrow::Cow;

use hookmill_plugin::Event;
use serde_json::Value;

/// Where values come from.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    pub event: &'a Event,
    /// The event's payload.
    pub payload: &'a Value,
    /// Instead of what is missing, null or an empty text.
    pub missing: &'a str,
}

/// The payload's value at a dotted path or a JSON pointer.
pub fn find<'v>(payload: &'v Value, name: &str) -> Option<&'v Value> {
    if name.starts_with('/') {
        return payload.pointer(name);
    }
    name.split('.').try_fold(payload, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    })
}

impl Values<'_> {
    /// The value of that name as text. Objects and arrays are their JSON.
    pub fn get(&self, name: &str) -> Cow<'_, str> {
        let text: Cow<'_, str> = if let Some(name) = name.strip_prefix('@') {
            self.of_event(name).into()
        } else {
            match find(self.payload, name) {
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
}

#[cfg(test)]
mod tests {
    use hookmill_plugin::testing::event;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_lead_into_objects_and_arrays() {
        let payload = json!({"a": {"b": [1, {"c": null}]}, "d.e": 2, "f/g": 3, "": 4});
        let found = |name| find(&payload, name).map(Value::to_string);
        assert_eq!(found("a.b.0").as_deref(), Some("1"));
        assert_eq!(found("/a/b/1/c").as_deref(), Some("null"));
        assert_eq!(found("/d.e").as_deref(), Some("2"));
        assert_eq!(found("/f~1g").as_deref(), Some("3"));
        assert_eq!(found("").as_deref(), Some("4"));
        for name in ["a.b.2", "a.b.x", "a.b.-1", "a.b.0.0", "d.e", "/a/c", "@id"] {
            assert_eq!(found(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_missing_null_or_empty_has_the_given_text() {
        let event = event("a.b").id("msg_1").build();
        let payload = json!({"null": null, "empty": "", "zero": 0, "false": false});
        let values = Values {
            event: &event,
            payload: &payload,
            missing: "-",
        };
        for name in ["null", "empty", "none", "@none"] {
            assert_eq!(values.get(name), "-", "{name}");
        }
        for (name, text) in [("zero", "0"), ("false", "false"), ("@id", "msg_1")] {
            assert_eq!(values.get(name), text, "{name}");
        }
    }
}
