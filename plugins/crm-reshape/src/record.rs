//! A record while it is put together.

use hookmill_plugin_fields::find;
use serde_json::{Map, Value};

/// Fields by name; none is null or an empty text.
#[derive(Debug)]
pub(crate) struct Record(Map<String, Value>);

impl Record {
    pub(crate) fn of(provider: &str) -> Self {
        Self(Map::from_iter([("provider".to_owned(), provider.into())]))
    }

    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    pub(crate) fn into_fields(self) -> Map<String, Value> {
        self.0
    }

    /// Sets a field, unless the value says nothing.
    pub(crate) fn set(&mut self, field: &str, value: impl Into<Value>) {
        let value = value.into();
        if !value.is_null() && value != "" {
            self.0.insert(field.to_owned(), value);
        }
    }

    /// Sets a field to the first of these places that says something. Objects and arrays do not: the record is flat.
    pub(crate) fn take(&mut self, field: &str, from: &Value, places: &[&str]) {
        let value = places.iter().filter_map(|place| find(from, place));
        let mut value = value.filter(|value| !value.is_object() && !value.is_array());
        if let Some(value) = value.find(|value| !value.is_null() && **value != "") {
            self.set(field, value.clone());
        }
    }

    /// Sets first and last name from one text: the first word, and the rest.
    pub(crate) fn set_name(&mut self, name: &str) {
        let (first, last) = name.trim().split_once(' ').unwrap_or((name.trim(), ""));
        self.set("firstName", first);
        self.set("lastName", last.trim());
    }
}
